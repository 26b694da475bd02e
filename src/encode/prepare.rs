//! The first stage: reads a window of rows, renders and hashes them, asks the cache, tokenizes what it lacks and plans
//! the batches. It decides where each row's vector will come from; it computes and writes none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::account::{RowKind, StageClock};
use super::adapters::{Caches, RowKey};
use super::encoder::{OpenedEncoder, Tokenize};
use super::pipeline::EncodeJob;
use super::rescue::RunBudget;
use super::turns::Turns;
use super::{BatchPlan, Encoding, Error, plan};
use crate::cache::{Key, PartOrigin};
use crate::paper::{Duplicate, Duplicates, Paper, Rejection, RejectsFile, Rendered, Row, Rows};
use crate::runtime::{RunBatch, Selection};

/// A window grows to this many papers; the first ones are smaller, so that the first result comes soon.
const FIRST_WINDOW: usize = 512;
/// Texts that are tokenized in one turn, in which no batch is run: some hundredths of a second.
const TEXTS_A_TURN: usize = 256;
/// Text bytes at which a window is closed, however few papers it has.
pub(super) const WINDOW_BYTES: usize = 32 << 20;
/// Windows before this one whose vectors may not be in the cache yet: one is computed while this one is read, and those
/// before it may still be written.
pub(super) const WINDOWS_UNDER_WAY: usize = 3;
/// The shortest text with a token of its own: a session that fails at this one fails at everything.
const LETTER: (&str, usize) = ("a", 1);

/// Where the vector of a row comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// Computed in this window, as its n-th text.
    Compute(usize),
    /// The same text as the n-th computed one of this window.
    Same(usize),
    /// In the cache by the time this window is finished.
    Cached,
}

/// The sessions, handed to the second stage with the first window that needs them.
pub(super) struct Machinery {
    pub sessions: Vec<Box<dyn RunBatch>>,
    pub origin: PartOrigin,
    pub selection: Selection,
    pub pad_id: u32,
    pub letter: Encoding,
}

/// What goes to the second stage.
pub(super) struct Prepared {
    pub window: Window,
    pub machinery: Option<Machinery>,
}

/// Rows ready to be run.
#[derive(Default)]
pub(super) struct Window {
    pub papers: Vec<Paper>,
    pub kinds: Vec<RowKind>,
    pub keys: Vec<RowKey>,
    pub sources: Vec<Source>,
    /// Encodings and keys of the texts to compute, by their number in [`Source::Compute`].
    pub encodings: Vec<Encoding>,
    pub compute_keys: Vec<RowKey>,
    pub plan: BatchPlan,
    pub rejected: u64,
    /// Corpus bytes on disk that were read when the window was opened and closed.
    pub start_bytes: u64,
    pub end_bytes: u64,
}

/// Enough of a text's hash to tell whether two rows with one id have the same text.
fn text_hash(key: &Key) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = key.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Reads a corpus window by window.
pub(super) struct Preparer<'a> {
    job: &'a EncodeJob<'a>,
    rows: Rows,
    bytes: Arc<AtomicU64>,
    duplicates: Duplicates,
    tokenizer: Option<Box<dyn Tokenize>>,
    /// Keys of the windows that may still be under way, newest last: they count as cached.
    under_way: Vec<Vec<RowKey>>,
    next_window: usize,
    cut_short: bool,
    shared: PrepareContext<'a>,
}

/// What this stage shares with the others.
#[derive(Clone, Copy)]
pub(super) struct PrepareContext<'a> {
    pub clocks: &'a PrepareClocks,
    pub turns: &'a Turns,
    pub budget: &'a RunBudget,
    pub rejects: &'a Mutex<RejectsFile>,
}

/// Time of the parts of this stage.
#[derive(Debug, Default)]
pub(super) struct PrepareClocks {
    pub read: StageClock,
    pub tokenize: StageClock,
    pub open: StageClock,
}

impl<'a> Preparer<'a> {
    pub(super) fn new(job: &'a EncodeJob<'a>, shared: PrepareContext<'a>) -> Self {
        let rows = job.corpus.rows();
        Self {
            job,
            bytes: rows.progress(),
            rows,
            duplicates: Duplicates::new(),
            tokenizer: None,
            under_way: Vec::new(),
            next_window: FIRST_WINDOW.min(job.options.window),
            cut_short: false,
            shared,
        }
    }

    /// The next window, or none at the end of the corpus or once the run was asked to stop. The first one with texts to
    /// compute brings the sessions that compute them.
    pub(super) fn next_window(&mut self) -> Result<Option<Prepared>, Error> {
        let started = Instant::now();
        let mut window = Window::default();
        let texts = self.read(&mut window)?;
        self.shared.clocks.read.add(started.elapsed());
        if window.papers.is_empty() && window.rejected == 0 && !self.job.stopped() {
            return Ok(None);
        }
        if self.job.stopped() {
            self.cut_short = true;
            return Ok(None);
        }
        let machinery = self.tokenize(&mut window, &texts)?;
        self.next_window = (self.next_window * 2).min(self.job.options.window);
        Ok(Some(Prepared { window, machinery }))
    }

    /// Whether the run was stopped before the end of the corpus.
    pub(super) fn cut_short(&self) -> bool {
        self.cut_short
    }

    /// Fills the window with papers and says where each vector comes from. Gives the texts to compute.
    fn read(&mut self, window: &mut Window) -> Result<Vec<Rendered>, Error> {
        window.start_bytes = self.bytes.load(Ordering::Relaxed);
        let mut rendered_texts = Vec::new();
        let mut text_bytes = 0;
        while window.papers.len() < self.next_window && text_bytes < WINDOW_BYTES && !self.job.stopped() {
            let paper = match self.rows.next().transpose()? {
                Some(Row::Paper(paper)) => paper,
                Some(Row::Rejected(rejection)) => {
                    self.reject(window, &rejection)?;
                    continue;
                }
                None => break,
            };
            let rendered = self.job.options.template.render(&paper.text, &self.job.options.sep);
            let key = Key::of_text(&rendered.text);
            let adapter = match self.job.options.adapters.place_of(&paper) {
                Ok(adapter) => adapter,
                Err(reason) => {
                    self.reject(window, &Rejection { origin: paper.origin, id: Some(paper.id), reason })?;
                    continue;
                }
            };
            let before = self.duplicates.check(&paper.id, adapter, text_hash(&key));
            if before == Duplicate::OtherText {
                let reason = format!("id `{}` came before with another text", paper.id);
                self.reject(window, &Rejection { origin: paper.origin, id: Some(paper.id), reason })?;
                continue;
            }
            text_bytes += rendered.text.len();
            let repeated = before == Duplicate::SameText;
            window.kinds.push(RowKind { title_only: rendered.title_only, empty: rendered.empty, repeated });
            window.keys.push(RowKey { adapter, key });
            window.papers.push(paper);
            rendered_texts.push(rendered);
        }
        let texts = self.choose_sources(window, rendered_texts);
        window.end_bytes = self.bytes.load(Ordering::Relaxed);
        self.job.progress.add_read(window.papers.len() as u64 + window.rejected, window.end_bytes);
        if !self.caches().is_none() {
            let mut keys = window.compute_keys.clone();
            keys.sort_unstable();
            self.under_way.push(keys);
            if self.under_way.len() > WINDOWS_UNDER_WAY {
                self.under_way.remove(0);
            }
        }
        Ok(texts)
    }

    /// Says where each vector of the window comes from; the texts to compute.
    fn choose_sources(&self, window: &mut Window, rendered: Vec<Rendered>) -> Vec<Rendered> {
        let held = self.caches().contains_all(&window.keys);
        let mut texts = Vec::new();
        let mut slots: HashMap<RowKey, usize> = HashMap::new();
        for (row, rendered) in rendered.into_iter().enumerate() {
            let key = window.keys[row];
            window.sources.push(match slots.get(&key) {
                Some(&slot) => Source::Same(slot),
                None if held[row] || self.is_under_way(&key) => Source::Cached,
                None => {
                    slots.insert(key, texts.len());
                    window.compute_keys.push(key);
                    texts.push(rendered);
                    Source::Compute(texts.len() - 1)
                }
            });
        }
        texts
    }

    fn caches(&self) -> Caches<'a> {
        Caches(self.job.caches)
    }

    fn is_under_way(&self, key: &RowKey) -> bool {
        self.under_way.iter().any(|keys| keys.binary_search(key).is_ok())
    }

    fn reject(&mut self, window: &mut Window, rejection: &Rejection) -> Result<(), Error> {
        write_rejection(self.shared.rejects, rejection)?;
        window.rejected += 1;
        Ok(())
    }

    fn tokenize(&mut self, window: &mut Window, texts: &[Rendered]) -> Result<Option<Machinery>, Error> {
        if texts.is_empty() {
            return Ok(None);
        }
        let mut machinery = None;
        if self.tokenizer.is_none() {
            let started = Instant::now();
            let OpenedEncoder { tokenizer, sessions, origin, selection, .. } = self.job.encoder.open()?;
            if let Some(provider) = &selection.provider {
                self.shared.budget.on(provider.choice);
                self.shared.turns.on(provider.choice);
            }
            let letter = tokenizer.encode_all(&[LETTER]).swap_remove(0)?;
            machinery = Some(Machinery { sessions, origin, selection, pad_id: tokenizer.pad_id(), letter });
            self.tokenizer = Some(tokenizer);
            self.shared.clocks.open.add(started.elapsed());
        }
        let Some(tokenizer) = &self.tokenizer else { return Ok(machinery) };
        let borrowed: Vec<(&str, usize)> = texts.iter().map(|text| (text.text.as_str(), text.title_end)).collect();
        for some in borrowed.chunks(TEXTS_A_TURN) {
            let _turn = self.shared.turns.of_tokenizer();
            let started = Instant::now();
            for encoding in tokenizer.encode_all(some) {
                window.encodings.push(encoding?);
            }
            self.shared.clocks.tokenize.add(started.elapsed());
        }
        let started = Instant::now();
        let lengths: Vec<usize> = window.encodings.iter().map(|encoding| encoding.ids.len()).collect();
        window.plan = plan(&lengths, self.shared.budget.now());
        self.shared.clocks.tokenize.add(started.elapsed());
        Ok(machinery)
    }
}

/// Adds a row to the rejects file, which the first stage and the last one share.
pub(super) fn write_rejection(rejects: &Mutex<RejectsFile>, rejection: &Rejection) -> Result<(), Error> {
    Ok(rejects.lock().unwrap_or_else(PoisonError::into_inner).write(rejection)?)
}
