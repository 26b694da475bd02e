//! The last stage, in the caller's thread: settles how each row of a window ends, counts it, and hands the window on.
//! Knows neither tokenizer nor session. Invariant: a sink sees whole windows only, in the order of the corpus, without the
//! rows that were refused.

use std::sync::Mutex;
use std::time::Instant;

use ndarray::Array2;

use super::account::StageClock;
use super::adapters::{Caches, RowKey};
use super::infer::{Computed, row_meta};
use super::pipeline::{EmbeddedWindow, EncodeJob, Sink};
use super::prepare::{Source, Window, write_rejection};
use super::rescue::Refusals;
use super::{Account, Error};
use crate::cache::RowMeta;
use crate::paper::{Paper, Rejection, RejectsFile};
use crate::runtime::Selection;

/// A window with what was computed for it.
pub(super) struct Inferred {
    pub window: Window,
    pub computed: Computed,
    pub provider: Option<String>,
    /// How it was chosen, with the first window that it runs.
    pub selection: Option<Selection>,
}

/// The stage.
pub(super) struct Finisher<'a, 'b> {
    job: &'a EncodeJob<'a>,
    sink: Option<&'b mut dyn Sink>,
    /// Whether the sink wants embeddings.
    keeps: bool,
    rejects: &'a Mutex<RejectsFile>,
    refusals: Refusals,
    pub account: Account,
    pub write: StageClock,
    /// Whether a window was left unfinished.
    pub cut_short: bool,
}

/// How a row ends.
enum RowEnd {
    /// Its vector is where it was wanted.
    Done(RowMeta),
    /// The encoder failed on its text.
    Refused(String),
    /// The run was stopped before.
    Unfinished,
}

impl<'a, 'b> Finisher<'a, 'b> {
    pub fn new(
        job: &'a EncodeJob<'a>,
        (sink, keeps): (Option<&'b mut dyn Sink>, bool),
        rejects: &'a Mutex<RejectsFile>,
    ) -> Self {
        let (refusals, account, write) = (Refusals::default(), Account::default(), StageClock::default());
        Self { job, sink, keeps, rejects, refusals, account, write, cut_short: false }
    }

    pub fn finish(&mut self, inferred: Inferred) -> Result<(), Error> {
        let started = Instant::now();
        let Inferred { window, computed, provider, selection } = inferred;
        let dim = self.job.encoder.dim();
        let mut embeddings = vec![0.0; if self.keeps { window.papers.len() * dim } else { 0 }];
        let mut metas = Vec::with_capacity(window.papers.len());
        let mut refused = Vec::new();
        let found = self.find_cached(&window, &mut embeddings);
        let names = &self.job.options.adapters.names;
        let mut of_adapters = vec![0; names.len()];
        for row in 0..window.papers.len() {
            let into = if self.keeps { Some(&mut embeddings[row * dim..(row + 1) * dim]) } else { None };
            let end = match found[row] {
                Some(meta) => RowEnd::Done(meta),
                None => self.resolve((&window, &computed), row, into)?,
            };
            match end {
                RowEnd::Done(meta) => {
                    let is_computed = matches!(window.sources[row], Source::Compute(_));
                    self.account.add_row(is_computed, window.kinds[row], meta);
                    self.job.progress.add_found(u64::from(!is_computed));
                    metas.push(meta);
                    if let Some(rows) = of_adapters.get_mut(usize::from(window.keys[row].adapter)) {
                        *rows += 1;
                    }
                }
                RowEnd::Refused(reason) => {
                    self.reject(&window.papers[row], reason)?;
                    refused.push(row);
                }
                RowEnd::Unfinished => {}
            }
        }
        for (name, rows) in names.iter().zip(of_adapters) {
            self.account.add_adapter(name, rows);
        }
        self.account.provider = provider.or(self.account.provider.take());
        if let Some(selection) = selection {
            self.account.selection = selection;
        }
        self.account.add_rejected(window.rejected + refused.len() as u64);
        self.account.add_tokens(computed.useful_tokens, computed.padded_tokens);
        self.refusals.push(&window, computed.refused);
        let whole = metas.len() + refused.len() == window.papers.len();
        self.cut_short |= !whole;
        self.job.progress.set_bytes(window.end_bytes);
        if whole {
            self.hand_on(window, &refused, (embeddings, metas))?;
        }
        self.write.add(started.elapsed());
        Ok(())
    }

    /// Gives the sink a window without the rows that were refused, of which there are no metas.
    fn hand_on(
        &mut self,
        window: Window,
        refused: &[usize],
        (mut embeddings, metas): (Vec<f32>, Vec<RowMeta>),
    ) -> Result<(), Error> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let dim = self.job.encoder.dim();
        let (mut papers, mut keys) = (window.papers, window.keys);
        if !refused.is_empty() {
            papers = without(papers, refused);
            keys = without(keys, refused);
            embeddings = without(embeddings.chunks_exact(dim).collect(), refused).concat();
        }
        let rows = if self.keeps { papers.len() } else { 0 };
        let embeddings =
            Array2::from_shape_vec((rows, dim), embeddings).expect("one vector of dim values was made for each paper");
        sink.window(EmbeddedWindow { papers, embeddings, keys, metas }).map_err(Error::Sink)
    }

    fn reject(&self, paper: &Paper, reason: String) -> Result<(), Error> {
        let rejection = Rejection { origin: paper.origin.clone(), id: Some(paper.id.clone()), reason };
        write_rejection(self.rejects, &rejection)
    }

    /// Looks up all rows that come from the cache, and copies their vectors to their places if anybody wants vectors; what
    /// is known of each row that was found, by row.
    fn find_cached(&self, window: &Window, embeddings: &mut [f32]) -> Vec<Option<RowMeta>> {
        let mut found = vec![None; window.papers.len()];
        let cached: Vec<usize> =
            (0..found.len()).filter(|row| matches!(window.sources[*row], Source::Cached)).collect();
        let keys: Vec<RowKey> = cached.iter().map(|&row| window.keys[row]).collect();
        let metas = if self.keeps {
            let places = embeddings.chunks_exact_mut(self.job.encoder.dim()).enumerate();
            let wanted = places.filter(|(row, _)| matches!(window.sources[*row], Source::Cached));
            Caches(self.job.caches).copy_rows(&keys, wanted.map(|(_, into)| into).collect())
        } else {
            Caches(self.job.caches).row_metas(&keys)
        };
        for (row, meta) in cached.into_iter().zip(metas) {
            found[row] = meta;
        }
        found
    }

    /// What became of a row that the cache does not have; copies its vector if it is wanted and was computed.
    fn resolve(
        &self,
        (window, computed): (&Window, &Computed),
        row: usize,
        into: Option<&mut [f32]>,
    ) -> Result<RowEnd, Error> {
        match window.sources[row] {
            Source::Compute(text) | Source::Same(text) => {
                if let Some(reason) = computed.refused.get(&text) {
                    return Ok(RowEnd::Refused(reason.clone()));
                }
                if !computed.done.get(text).copied().unwrap_or(false) {
                    return Ok(RowEnd::Unfinished);
                }
                if let Some(into) = into {
                    into.copy_from_slice(&computed.vectors[text * into.len()..(text + 1) * into.len()]);
                }
                Ok(RowEnd::Done(row_meta(&window.encodings[text])))
            }
            Source::Cached => match self.refusals.reason(window.keys[row]) {
                Some(reason) => Ok(RowEnd::Refused(reason.to_owned())),
                // A stopped run may have left out the text that this row shares with an earlier window.
                None if self.job.stopped() => Ok(RowEnd::Unfinished),
                None => Err(Error::RowLost { row: window.papers[row].origin.to_string() }),
            },
        }
    }
}

/// All but the rows at these rising places.
fn without<T>(rows: Vec<T>, places: &[usize]) -> Vec<T> {
    let kept = |(place, _): &(usize, T)| places.binary_search(place).is_err();
    rows.into_iter().enumerate().filter(kept).map(|(_, row)| row).collect()
}
