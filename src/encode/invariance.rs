//! Whether an embedding depends on anything but its text: the same texts go through an encoder in several compositions
//! and on several numbers of threads, and every vector is compared with the one that the text gets alone.
//!
//! The one place that puts texts together in different ways to compare them: the self check of a new bundle is made of
//! the same parts. Invariant: a difference of one bit in one vector is a row that differs.

use serde::{Deserialize, Serialize};

use super::check::check_norms;
use super::composition::{Composition, Laid};
use super::neighbours::{NEIGHBOURS, Neighbours};
use super::{Encoding, Error, OpenEncoder, OpenedEncoder, TokenBudget, assemble};
use crate::cache::PartOrigin;
use crate::model::Precision;
use crate::runtime::{Batch, EmbeddingMatrix, Selection, tolerance};

/// An encoder as it is opened for a number of threads.
#[derive(Clone, Copy)]
pub struct Threaded<'a> {
    /// The number, for the report.
    pub threads: usize,
    /// What is opened.
    pub encoder: &'a dyn OpenEncoder,
}

/// What an encoder is checked with beside its texts.
#[derive(Debug, Clone)]
pub struct InvarianceOptions {
    /// Padded tokens of a planned batch.
    pub budget: TokenBudget,
    /// Longest text in tokens: no batch is padded beyond it.
    pub max_length: usize,
    /// Whether vectors are to have the length 1.
    pub normalized: bool,
    /// What the graph computes in: a provider may differ by more in half the bits.
    pub precision: Precision,
    /// Of a bundle with several adapters, the place of each text's; empty where there is nothing to choose, or where the
    /// encoders know.
    pub adapters: Vec<i64>,
}

/// How far a check has come.
#[derive(Debug, Clone, Copy)]
pub struct CheckStep {
    /// What is run now.
    pub composition: Composition,
    /// On so many threads.
    pub threads: usize,
    /// Texts run so far, each as often as it was run.
    pub texts: u64,
    /// Padded tokens run so far, and in all.
    pub tokens: (u64, u64),
}

/// How the vectors of one composition differ from those that the texts get alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// How the texts were put together.
    pub composition: String,
    /// Threads of the session.
    pub threads: usize,
    /// Texts whose vector differs in at least one bit.
    pub rows_differ: usize,
    /// Largest difference of a component.
    pub max_delta: f64,
    /// Least cosine between a text's two vectors; exactly 1 where no bit differs.
    pub worst_cosine: f64,
    /// Places among the nearest neighbours of all texts that another text has taken.
    pub neighbours_changed: usize,
}

/// What a check measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InvarianceReport {
    /// Texts that were run.
    pub texts: usize,
    /// Length of a vector.
    pub dim: usize,
    /// Tokens of the shortest and of the longest text, as they were run.
    pub tokens: (usize, usize),
    /// Texts that were cut to the maximum length.
    pub truncated: usize,
    /// Neighbours of a text that were compared, by cosine among the texts themselves.
    pub neighbours: usize,
    /// What the texts alone were run on: threads of the session.
    pub reference_threads: usize,
    /// Execution provider.
    pub provider: String,
    /// How it was chosen, and which nodes of the graph it runs.
    #[serde(flatten)]
    pub selection: Selection,
    /// Version of ONNX Runtime.
    pub runtime_version: String,
    /// Processor and its instruction sets.
    pub cpu: String,
    /// Smallest and largest norm of a vector.
    pub norms: (f64, f64),
    /// How far a component may differ on this provider; 0: not in a bit.
    pub allowed: f64,
    /// One for each composition and number of threads.
    pub compositions: Vec<Compared>,
}

impl InvarianceReport {
    /// Whether every vector was the same in every composition, on every number of threads: to the bit, or within what
    /// the provider is allowed.
    pub fn is_invariant(&self) -> bool {
        self.compositions.iter().all(|compared| self.allows(compared))
    }

    /// Whether the vectors of one composition are what they have to be.
    pub fn allows(&self, compared: &Compared) -> bool {
        compared.rows_differ == 0 || (self.allowed > 0.0 && compared.max_delta <= self.allowed)
    }
}

/// Runs `texts` in every composition on the first of `encoders`, and in those that lie furthest apart on each further
/// one, each opened anew; compares all of them with the texts alone on the first. Keeps two vectors a text in memory.
///
/// # Errors
/// An encoder that cannot be opened or run, or that gives vectors of the wrong length or norm.
pub fn check_invariance(
    encoders: &[Threaded<'_>],
    texts: &[String],
    options: &InvarianceOptions,
    watch: &mut dyn FnMut(CheckStep),
) -> Result<InvarianceReport, Error> {
    let [first, further @ ..] = encoders else {
        return Err(Error::unhealthy("no encoder was given to check".into()));
    };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut subject = Subject::open(*first, &texts)?.with_adapters(&options.adapters);
    let provider = subject.opened.selection.provider.as_ref();
    let budget = provider.map_or(options.budget, |provider| options.budget.on(provider.choice));
    let full = Composition::all(budget);
    let brief = Composition::furthest_apart(budget);
    let [full, brief] = [full, brief].map(|list| Composition::lay_all(&list, &subject.lengths(), options.max_length));
    let tokens = |laid: &[Laid]| laid.iter().map(|laid| laid.padded_tokens).sum::<u64>();
    let all = tokens(&full) + tokens(&brief) * further.len() as u64;
    let mut meter = Meter { watch, texts: 0, done: 0, all };

    let reference = subject.run(&full[0], &mut meter)?;
    let norms = check_norms(&reference, options.normalized)?;
    let mut neighbours = Neighbours::of(&reference);
    let mut compositions = Vec::new();
    for laid in &full[1..] {
        let vectors = subject.run(laid, &mut meter)?;
        compositions.push(compare(&reference, &vectors, &mut neighbours, (laid, first.threads)));
    }
    let mut report = subject.describe(&reference, norms, options.precision);
    drop(subject);
    for threaded in further {
        let mut subject = Subject::open(*threaded, &texts)?.with_adapters(&options.adapters);
        for laid in &brief {
            let vectors = subject.run(laid, &mut meter)?;
            compositions.push(compare(&reference, &vectors, &mut neighbours, (laid, threaded.threads)));
        }
    }
    report.compositions = compositions;
    Ok(report)
}

/// Counts what was run and tells the watcher.
pub(super) struct Meter<'a> {
    watch: &'a mut dyn FnMut(CheckStep),
    texts: u64,
    done: u64,
    all: u64,
}

impl<'a> Meter<'a> {
    /// For a check that nobody watches.
    pub(super) fn unwatched(watch: &'a mut dyn FnMut(CheckStep)) -> Self {
        Self { watch, texts: 0, done: 0, all: 0 }
    }
}

/// An opened encoder with texts to run on it.
pub(super) struct Subject {
    opened: OpenedEncoder,
    encodings: Vec<Encoding>,
    /// The place of each text's adapter; empty where they don't say.
    adapters: Vec<i64>,
    dim: usize,
    threads: usize,
}

impl Subject {
    pub(super) fn open(threaded: Threaded<'_>, texts: &[&str]) -> Result<Self, Error> {
        let opened = threaded.encoder.open()?;
        let mut subject = Self {
            opened,
            encodings: Vec::new(),
            adapters: Vec::new(),
            dim: threaded.encoder.dim(),
            threads: threaded.threads,
        };
        subject.take(texts)?;
        Ok(subject)
    }

    /// Says which adapter each of its texts goes through; nothing for none.
    fn with_adapters(mut self, adapters: &[i64]) -> Self {
        self.adapters = adapters.to_vec();
        self
    }

    /// Takes these texts in the place of those that it has.
    pub(super) fn take(&mut self, texts: &[&str]) -> Result<(), Error> {
        let titled: Vec<(&str, usize)> = texts.iter().map(|&text| (text, 0)).collect();
        self.encodings = self.opened.tokenizer.encode_all(&titled).into_iter().collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Where its vectors come from.
    pub(super) fn origin(&self) -> &PartOrigin {
        &self.opened.origin
    }

    /// Tokens of each text.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.encodings.iter().map(|encoding| encoding.ids.len()).collect()
    }

    /// The vectors of all texts, in the order of the texts.
    pub(super) fn run(&mut self, laid: &Laid, meter: &mut Meter<'_>) -> Result<EmbeddingMatrix, Error> {
        let pad_id = self.opened.tokenizer.pad_id();
        let (rows, dim) = (self.encodings.len(), self.dim);
        let mut vectors = EmbeddingMatrix { rows, dim, data: vec![0.0; rows * dim] };
        let session = self.opened.sessions.first_mut().expect("an opened encoder has a session");
        for (positions, columns) in &laid.batches {
            let encodings: Vec<&Encoding> = positions.iter().map(|&position| &self.encodings[position]).collect();
            let mut batch = widened(&assemble(&encodings, pad_id), *columns, pad_id);
            if !self.adapters.is_empty() {
                batch.adapters = positions.iter().map(|&position| self.adapters[position]).collect();
            }
            let matrix = session.run(&batch)?;
            if (matrix.rows, matrix.dim) != (positions.len(), dim) {
                let what = format!(
                    "the graph gives {} × {} numbers for {} texts, expected {} × {dim}",
                    matrix.rows,
                    matrix.dim,
                    positions.len(),
                    positions.len(),
                );
                return Err(Error::unhealthy(what));
            }
            for (row, &position) in positions.iter().enumerate() {
                vectors.data[position * dim..(position + 1) * dim].copy_from_slice(matrix.row(row));
            }
            meter.texts += positions.len() as u64;
            meter.done += (batch.rows * batch.columns) as u64;
            let tokens = (meter.done, meter.all);
            let (composition, threads) = (laid.composition, self.threads);
            (meter.watch)(CheckStep { composition, threads, texts: meter.texts, tokens });
        }
        Ok(vectors)
    }

    /// The report without what is compared.
    fn describe(&self, reference: &EmbeddingMatrix, norms: (f64, f64), precision: Precision) -> InvarianceReport {
        let lengths = self.lengths();
        let (least, most) = (lengths.iter().min(), lengths.iter().max());
        let origin = self.origin();
        InvarianceReport {
            texts: reference.rows,
            dim: reference.dim,
            tokens: (least.copied().unwrap_or(0), most.copied().unwrap_or(0)),
            truncated: self.encodings.iter().filter(|encoding| encoding.n_dropped > 0).count(),
            neighbours: NEIGHBOURS.min(reference.rows.saturating_sub(1)),
            reference_threads: self.threads,
            provider: origin.provider.clone(),
            selection: self.opened.selection.clone(),
            runtime_version: origin.runtime_version.clone(),
            cpu: origin.cpu.clone(),
            norms,
            allowed: tolerance(&origin.provider, precision) * norms.1,
            compositions: Vec::new(),
        }
    }
}

/// The batch with columns of padding behind it, until it has `columns`.
fn widened(batch: &Batch, columns: usize, pad_id: u32) -> Batch {
    let more = columns.saturating_sub(batch.columns);
    if more == 0 {
        return batch.clone();
    }
    let widen = |values: &[i64], fill: i64| -> Vec<i64> {
        let rows = values.chunks(batch.columns);
        rows.flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(fill, more))).collect()
    };
    let (ids, mask) = (widen(&batch.ids, pad_id.into()), widen(&batch.mask, 0));
    Batch { ids, mask, columns: batch.columns + more, ..batch.clone() }
}

/// Texts whose vectors differ in a bit, and the largest difference of a component.
pub(super) fn differences(reference: &EmbeddingMatrix, vectors: &EmbeddingMatrix) -> (Vec<usize>, f64) {
    let differ = |row: &usize| {
        let (one, other) = (reference.row(*row), vectors.row(*row));
        one.iter().zip(other).any(|(a, b)| a.to_bits() != b.to_bits())
    };
    let rows: Vec<usize> = (0..reference.rows).filter(differ).collect();
    let components = rows.iter().flat_map(|&row| reference.row(row).iter().zip(vectors.row(row)));
    let max_delta = components.map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).fold(0.0, f64::max);
    (rows, max_delta)
}

fn compare(
    reference: &EmbeddingMatrix,
    vectors: &EmbeddingMatrix,
    neighbours: &mut Neighbours<'_>,
    (laid, threads): (&Laid, usize),
) -> Compared {
    let (rows, max_delta) = differences(reference, vectors);
    let cosines = rows.iter().map(|&row| cosine(reference.row(row), vectors.row(row)));
    Compared {
        composition: laid.name(),
        threads,
        rows_differ: rows.len(),
        max_delta,
        worst_cosine: cosines.fold(1.0, f64::min),
        neighbours_changed: if rows.is_empty() { 0 } else { neighbours.changed_in(vectors) },
    }
}

/// Of vectors that are not both without length; at most 1.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { (dot(a, b) / norms).min(1.0) } else { 0.0 }
}

#[cfg(test)]
#[path = "invariance_tests.rs"]
mod tests;
