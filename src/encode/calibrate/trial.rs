//! Held-out texts on the original and on candidates for its place: what a candidate's vectors lose, and how much faster it
//! is. Invariant: every candidate is compared on the same texts, batch by batch as a run would plan them.

use std::path::PathBuf;

use super::{Cosines, Error};
use crate::cache::PartOrigin;
use crate::encode::composition::Composition;
use crate::encode::invariance::{Meter, Subject, Threaded, cosine};
use crate::encode::{BundleEncoder, OpenEncoder, OpenedEncoder, TokenBudget};
use crate::model::SENTENCE_EMBEDDING;
use crate::runtime::{EmbeddingMatrix, work_seconds};

/// Another graph in the place of a bundle's own.
#[derive(Debug)]
pub struct CandidateEncoder<'b> {
    /// The bundle whose tokenizer and lengths it has.
    pub bundle: &'b BundleEncoder,
    /// The ONNX file.
    pub graph: PathBuf,
}

impl OpenEncoder for CandidateEncoder<'_> {
    fn dim(&self) -> usize {
        self.bundle.dim()
    }

    fn open(&self) -> Result<OpenedEncoder, Error> {
        self.bundle.open_graph(&self.graph, &[(SENTENCE_EMBEDDING, self.dim())])
    }
}

/// Texts with their vectors on the original.
pub struct Trial {
    texts: Vec<String>,
    original: EmbeddingMatrix,
    origin: PartOrigin,
    budget: TokenBudget,
}

impl Trial {
    /// Runs `texts` on the original; `budget` is that of a batch.
    ///
    /// # Errors
    /// An encoder that cannot be opened or run.
    pub fn open(original: Threaded<'_>, texts: Vec<String>, budget: TokenBudget) -> Result<Self, Error> {
        let (original, origin) = run(original, &borrowed(&texts), budget)?;
        Ok(Self { texts, original, origin, budget })
    }

    /// The vectors of the original.
    pub fn original(&self) -> &EmbeddingMatrix {
        &self.original
    }

    /// What ran the original.
    pub fn origin(&self) -> &PartOrigin {
        &self.origin
    }

    /// The vectors of the first `texts` texts on a candidate.
    ///
    /// # Errors
    /// An encoder that cannot be opened or run.
    pub fn run(&self, candidate: Threaded<'_>, texts: usize) -> Result<EmbeddingMatrix, Error> {
        let texts = borrowed(&self.texts[..texts.min(self.texts.len())]);
        Ok(run(candidate, &texts, self.budget)?.0)
    }

    /// How near a candidate's vectors are to those of the original; at least one.
    pub fn cosines(&self, vectors: &EmbeddingMatrix) -> Cosines {
        let cosines = (0..vectors.rows).map(|row| cosine(self.original.row(row), vectors.row(row)));
        let (min, sum) = cosines.fold((1.0, 0.0), |(min, sum): (f64, f64), cosine| (min.min(cosine), sum + cosine));
        Cosines { min, mean: (sum / vectors.rows.max(1) as f64).min(1.0) }
    }

    /// How many times as many of the first `texts` texts a second a candidate makes vectors of, tokenizing included: the
    /// median over `rounds` in which both run, the one that is first in turns.
    ///
    /// # Errors
    /// An encoder that cannot be opened or run.
    pub fn speed(
        &self,
        original: Threaded<'_>,
        candidate: Threaded<'_>,
        (texts, rounds): (usize, usize),
    ) -> Result<f64, Error> {
        let texts = borrowed(&self.texts[..texts.min(self.texts.len())]);
        let open = |encoder| Subject::open(encoder, &[]);
        let mut sides = [open(original)?, open(candidate)?];
        // The first run of each makes what later ones use again.
        for side in &mut sides {
            timed(side, &texts, self.budget)?;
        }
        let mut ratios = Vec::with_capacity(rounds);
        for round in 0..rounds.max(1) {
            let mut seconds = [0.0; 2];
            for turn in 0..2 {
                let side = (round + turn) % 2;
                seconds[side] = timed(&mut sides[side], &texts, self.budget)?;
            }
            ratios.push(seconds[0] / seconds[1].max(f64::MIN_POSITIVE));
        }
        ratios.sort_unstable_by(f64::total_cmp);
        Ok(ratios[ratios.len() / 2])
    }
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn run(encoder: Threaded<'_>, texts: &[&str], budget: TokenBudget) -> Result<(EmbeddingMatrix, PartOrigin), Error> {
    let mut subject = Subject::open(encoder, texts)?;
    let vectors = vectors(&mut subject, budget)?;
    Ok((vectors, subject.origin().clone()))
}

fn vectors(subject: &mut Subject, budget: TokenBudget) -> Result<EmbeddingMatrix, Error> {
    let laid = Composition::Planned(budget).lay(&subject.lengths(), 0);
    subject.run(&laid, &mut Meter::unwatched(&mut |_| ()))
}

/// Seconds of work from the texts to their vectors.
fn timed(subject: &mut Subject, texts: &[&str], budget: TokenBudget) -> Result<f64, Error> {
    let before = work_seconds();
    subject.take(texts)?;
    vectors(subject, budget)?;
    Ok(work_seconds() - before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::StubEncoder;

    const STUB: StubEncoder = StubEncoder { dim: 8, max_length: 32 };

    fn trial() -> Trial {
        let texts = (0..20).map(|n| format!("paper {n} about reef {}", n * n)).collect();
        let original = Threaded { threads: 1, encoder: &STUB };
        Trial::open(original, texts, TokenBudget::new(64, 32).unwrap()).unwrap()
    }

    #[test]
    fn the_same_encoder_loses_nothing_and_is_as_fast() {
        let trial = trial();
        let same = Threaded { threads: 1, encoder: &STUB };
        let vectors = trial.run(same, 7).unwrap();
        assert_eq!(vectors.rows, 7);
        assert_eq!(vectors.data, trial.original().data[..7 * 8]);
        let Cosines { min, mean } = trial.cosines(&vectors);
        assert!(min > 0.999_999_9 && mean > 0.999_999_9);
        let speed = trial.speed(same, same, (20, 5)).unwrap();
        assert!(speed > 0.02 && speed < 50.0, "{speed}");
    }

    #[test]
    fn a_turned_vector_is_in_the_least_and_in_the_mean() {
        let trial = trial();
        let mut vectors = trial.original().clone();
        vectors.data[8..16].iter_mut().for_each(|value| *value = -*value);
        let found = trial.cosines(&vectors);
        assert!((found.min + 1.0).abs() < 1e-6 && (found.mean - 0.9).abs() < 1e-6, "{found:?}");
    }
}
