//! How far the vectors of a new encoder are from those of its original: the same texts go through both, window by
//! window. Knows no head and no thresholds, and asks nobody where the texts come from.
//!
//! Memory beside the two sessions: the vectors of one window, 8 bytes a text for its cosine, and both vectors of at
//! most [`NEIGHBOUR_TEXTS`] texts. Invariant: every text that was taken is in every figure but those of the neighbours,
//! which go by a sample that depends on the texts alone and not on their order.

use std::collections::BTreeMap;

use super::check::check_norms;
use super::composition::Composition;
use super::invariance::{Meter, Subject, Threaded, cosine, differences};
use super::neighbours::kept;
use super::{Error, OpenEncoder, TokenBudget};
use crate::cache::PartOrigin;
use crate::model::MeasuredQuality;
use crate::runtime::EmbeddingMatrix;

/// Texts of which neighbours are compared, at most: all against all takes time by its square.
pub const NEIGHBOUR_TEXTS: usize = 2_000;

/// Separates these hashes from every other use of a text's hash.
const CONTEXT: &str = "offprint 2026 sample of texts for neighbours";

/// An encoder and what its bundle promises.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// What is opened.
    pub encoder: &'a dyn OpenEncoder,
    /// Whether its vectors are to have the length 1.
    pub normalized: bool,
    /// Threads of its session.
    pub threads: usize,
}

/// Two opened encoders and what was measured between them so far.
pub struct Comparison {
    original: (Subject, bool),
    new: (Subject, bool),
    budget: TokenBudget,
    figures: Figures,
}

/// The vectors of one window of texts, row by row.
pub struct WindowPair {
    /// Of the original.
    pub original: EmbeddingMatrix,
    /// Of the new encoder.
    pub new: EmbeddingMatrix,
}

impl Comparison {
    /// Opens both; `budget` is that of a batch and holds the longest text of either.
    ///
    /// # Errors
    /// An encoder that cannot be opened, or vectors of different lengths.
    pub fn open(original: Side<'_>, new: Side<'_>, budget: TokenBudget) -> Result<Self, Error> {
        let (got, expected) = (new.encoder.dim(), original.encoder.dim());
        if got != expected {
            return Err(Error::unhealthy(format!("its vectors have {got} numbers, those of the original {expected}")));
        }
        let open = |side: Side<'_>| {
            let threaded = Threaded { threads: side.threads, encoder: side.encoder };
            Ok::<_, Error>((Subject::open(threaded, &[])?, side.normalized))
        };
        Ok(Self { original: open(original)?, new: open(new)?, budget, figures: Figures::new(NEIGHBOUR_TEXTS) })
    }

    /// Runs a window of texts on both and takes them into the figures.
    ///
    /// # Errors
    /// A batch that fails, or vectors with a norm that no healthy encoder gives.
    pub fn window(&mut self, texts: &[&str]) -> Result<WindowPair, Error> {
        let pair = WindowPair {
            original: run(&mut self.original, texts, self.budget)?,
            new: run(&mut self.new, texts, self.budget)?,
        };
        self.figures.take(texts, &pair);
        Ok(pair)
    }

    /// What was measured on all windows; `corpus` is what the texts are called.
    ///
    /// # Errors
    /// Fewer than two texts.
    pub fn finish(self, corpus: &str) -> Result<MeasuredQuality, Error> {
        self.figures.finish(corpus, self.new.0.origin())
    }
}

fn run(
    (subject, normalized): &mut (Subject, bool),
    texts: &[&str],
    budget: TokenBudget,
) -> Result<EmbeddingMatrix, Error> {
    subject.take(texts)?;
    let laid = Composition::Planned(budget).lay(&subject.lengths(), 0);
    let vectors = subject.run(&laid, &mut Meter::unwatched(&mut |_| ()))?;
    if !texts.is_empty() {
        check_norms(&vectors, *normalized)?;
    }
    Ok(vectors)
}

/// What adds up over windows.
struct Figures {
    cosines: Vec<f64>,
    max_delta: f64,
    /// Both vectors of the texts with the smallest hashes.
    sample: BTreeMap<[u8; 32], (Vec<f32>, Vec<f32>)>,
    sample_size: usize,
    dim: usize,
}

impl Figures {
    fn new(sample_size: usize) -> Self {
        Self { cosines: Vec::new(), max_delta: 0.0, sample: BTreeMap::new(), sample_size, dim: 0 }
    }

    fn take(&mut self, texts: &[&str], pair: &WindowPair) {
        let (original, new) = (&pair.original, &pair.new);
        self.dim = original.dim;
        let (differ, max_delta) = differences(original, new);
        self.max_delta = self.max_delta.max(max_delta);
        let start = self.cosines.len();
        self.cosines.resize(start + original.rows, 1.0);
        for row in differ {
            self.cosines[start + row] = cosine(original.row(row), new.row(row));
        }
        for (row, text) in texts.iter().enumerate() {
            let hash = blake3::derive_key(CONTEXT, text.as_bytes());
            let beyond = self.sample.len() >= self.sample_size
                && self.sample.last_key_value().is_none_or(|(last, _)| hash > *last);
            if beyond || self.sample.contains_key(&hash) {
                continue;
            }
            self.sample.insert(hash, (original.row(row).to_vec(), new.row(row).to_vec()));
            if self.sample.len() > self.sample_size {
                self.sample.pop_last();
            }
        }
    }

    fn finish(mut self, corpus: &str, origin: &PartOrigin) -> Result<MeasuredQuality, Error> {
        let texts = self.cosines.len();
        let rows = self.sample.len();
        if rows < 2 {
            return Err(Error::FewTexts { got: rows });
        }
        let mean = self.cosines.iter().sum::<f64>() / texts as f64;
        self.cosines.sort_unstable_by(f64::total_cmp);
        let (original, new): (Vec<Vec<f32>>, Vec<Vec<f32>>) = self.sample.into_values().unzip();
        let matrix = |vectors: Vec<Vec<f32>>| EmbeddingMatrix { rows, dim: self.dim, data: vectors.concat() };
        let kept = kept(&matrix(original), &matrix(new));
        Ok(MeasuredQuality {
            corpus: corpus.to_owned(),
            texts: texts as u64,
            cosine_min: self.cosines[0],
            cosine_1_percent: quantile(&self.cosines, 0.01),
            cosine_median: quantile(&self.cosines, 0.5),
            // A sum of numbers that are at most 1 may come out a little above their count.
            cosine_mean: mean.min(1.0),
            max_delta: self.max_delta,
            neighbour_texts: rows as u64,
            neighbours: kept.neighbours as u64,
            neighbours_kept: kept.share,
            first_neighbour_kept: kept.first,
            provider: origin.provider.clone(),
            onnxruntime: origin.runtime_version.clone(),
            cpu: origin.cpu.clone(),
        })
    }
}

/// The value below which the share `share` of `sorted` lies, linear between two of them (numpy's default, the seventh of
/// Hyndman and Fan, "Sample quantiles in statistical packages", 1996).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - place.floor())
}

#[cfg(test)]
#[path = "quality_tests.rs"]
mod tests;
