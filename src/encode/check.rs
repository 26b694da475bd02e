//! Whether a freshly made encoder and the heads in its graph work: built-in texts go through them alone and in a batch,
//! and vectors or answers that no healthy graph gives are an error. How exact the numbers are is for an oracle to say, not
//! for this check.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::composition::Composition;
use super::invariance::{Meter, Subject, Threaded, differences};
use super::texts::few_texts;
use super::{Error, OpenEncoder};
use crate::model::{GraphHead, Task};
use crate::runtime::EmbeddingMatrix;

/// Norms of a normalizing encoder may differ from 1 by this much: some rounding steps of f32.
const NORM_TOLERANCE: f64 = 1e-5;
/// A softmax may sum to something this far from 1: f32 rounds each of thousands of labels.
const SUM_TOLERANCE: f64 = 1e-4;

/// What the check measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderCheck {
    /// Texts that were run.
    pub texts: usize,
    /// Smallest and largest norm of a vector.
    pub norms: (f64, f64),
    /// Largest difference of a component, or of a head's answer, between a text alone and in a batch.
    pub batch_delta: f64,
    /// Heads whose answers were looked at as well.
    #[serde(default)]
    pub heads: usize,
    /// Texts for which one of these numbers differs in at least one bit.
    pub batch_rows: usize,
}

impl EncoderCheck {
    /// Both checks as one: of an encoder that was run in several ways.
    pub fn and(self, other: &Self) -> Self {
        Self {
            texts: self.texts + other.texts,
            norms: (self.norms.0.min(other.norms.0), self.norms.1.max(other.norms.1)),
            batch_delta: self.batch_delta.max(other.batch_delta),
            heads: self.heads.max(other.heads),
            batch_rows: self.batch_rows + other.batch_rows,
        }
    }
}

/// Runs the built-in texts. The rows of `encoder` hold an embedding and behind it the answers of `heads`, in their order.
///
/// # Errors
/// An encoder that cannot be opened or run, vectors of the wrong length, with NaN, with a norm that `normalized`
/// forbids, that are all the same, or that depend on the batch; a head whose answers are no probabilities (scores and
/// numbers of a regression: not finite), that don't sum to 1 where one label is right, or that depend on the batch.
pub fn check_encoder(encoder: &dyn OpenEncoder, heads: &[GraphHead], normalized: bool) -> Result<EncoderCheck, Error> {
    let check = measure_encoder(encoder, heads, normalized)?;
    check_delta(check.batch_rows, check.batch_delta)?;
    Ok(check)
}

/// Runs the built-in texts through an encoder that need not give a text the same bits in any batch.
///
/// # Errors
/// As [`check_encoder`], but for numbers that depend on the batch.
pub fn measure_encoder(
    encoder: &dyn OpenEncoder,
    heads: &[GraphHead],
    normalized: bool,
) -> Result<EncoderCheck, Error> {
    let texts = few_texts();
    let (alone, together) = run_alone_and_together(encoder, texts)?;
    let answers: usize = heads.iter().map(|head| head.labels.len()).sum();
    let too_few = || Error::unhealthy(format!("its rows have {} numbers, its heads {answers}", encoder.dim()));
    let mut start = encoder.dim().checked_sub(answers).ok_or_else(too_few)?;
    let vectors = columns(&alone, 0..start);
    let norms = check_norms(&vectors, normalized)?;
    check_variety(&vectors)?;
    for head in heads {
        let own = start..start + head.labels.len();
        start = own.end;
        check_answers(head, &columns(&alone, own))?;
    }
    let (rows, batch_delta) = differences(&alone, &together);
    Ok(EncoderCheck { texts: texts.len(), norms, batch_delta, batch_rows: rows.len(), heads: heads.len() })
}

/// Some of the columns of every row.
fn columns(rows: &EmbeddingMatrix, range: Range<usize>) -> EmbeddingMatrix {
    let data = (0..rows.rows).flat_map(|row| &rows.row(row)[range.clone()]).copied().collect();
    EmbeddingMatrix { rows: rows.rows, dim: range.len(), data }
}

/// An error unless the rows are what the head's task promises.
fn check_answers(head: &GraphHead, answers: &EmbeddingMatrix) -> Result<(), Error> {
    let wrong = |got: &str, expected: &str| {
        Err(Error::unhealthy(format!("head `{}` gives {got}, expected {expected}", head.name)))
    };
    for row in 0..answers.rows {
        let row = answers.row(row);
        if head.probabilities.is_none() {
            match row.iter().find(|value| !value.is_finite()) {
                Some(value) => return wrong(&value.to_string(), "finite numbers"),
                None => continue,
            }
        }
        if let Some(value) = row.iter().find(|value| !(0.0..=1.0).contains(*value)) {
            return wrong(&value.to_string(), "probabilities from 0 to 1");
        }
        let sum: f64 = row.iter().map(|value| f64::from(*value)).sum();
        if head.task == Task::Classification && (sum - 1.0).abs() > SUM_TOLERANCE {
            return wrong(&format!("probabilities that sum to {sum}"), "1 (one label is right)");
        }
    }
    Ok(())
}

/// The rows of all texts, in their order: each text alone, and all in one batch. On one thread.
///
/// # Errors
/// An encoder that cannot be opened or run, or that gives rows of another length than it says.
pub fn run_alone_and_together(
    encoder: &dyn OpenEncoder,
    texts: &[&str],
) -> Result<(EmbeddingMatrix, EmbeddingMatrix), Error> {
    let mut subject = Subject::open(Threaded { threads: 1, encoder }, texts)?;
    let lengths = subject.lengths();
    let mut nobody = |_| ();
    let mut meter = Meter::unwatched(&mut nobody);
    let mut run = |composition: Composition| subject.run(&composition.lay(&lengths, 0), &mut meter);
    Ok((run(Composition::Alone)?, run(Composition::Batches(texts.len()))?))
}

/// The smallest and the largest norm; an error where they are none, or are not 1 where `normalized` promises it.
pub(super) fn check_norms(vectors: &EmbeddingMatrix, normalized: bool) -> Result<(f64, f64), Error> {
    let norm = |row: usize| vectors.row(row).iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let norms = (0..vectors.rows).map(norm);
    let (least, largest) =
        norms.fold((f64::INFINITY, 0.0_f64), |(least, largest), norm| (least.min(norm), largest.max(norm)));
    if normalized && (least - 1.0).abs().max((largest - 1.0).abs()) > NORM_TOLERANCE {
        return Err(Error::unhealthy(format!("norms are {least} to {largest}, expected 1 (the bundle normalizes)")));
    }
    if !(least > 0.0 && largest.is_finite()) {
        return Err(Error::unhealthy(format!("norms are {least} to {largest}, expected positive finite numbers")));
    }
    Ok((least, largest))
}

/// An error if all texts have the same vector.
fn check_variety(vectors: &EmbeddingMatrix) -> Result<(), Error> {
    if (1..vectors.rows).all(|row| vectors.row(row) == vectors.row(0)) {
        return Err(Error::unhealthy("all texts get the same vector".into()));
    }
    Ok(())
}

/// An error if a vector or a head's answer depends on its batch: the CPU provider, which this check runs on, gives a text
/// the same bits in any batch.
fn check_delta(rows: usize, delta: f64) -> Result<(), Error> {
    if rows > 0 {
        let what = format!("the numbers of {rows} texts change by up to {delta:e} with their batch, allowed 0");
        return Err(Error::unhealthy(what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::OpenedEncoder;
    use crate::encode::StubEncoder;
    use crate::model::Classification;
    use crate::runtime::{self, Batch, RunBatch};

    const STUB: StubEncoder = StubEncoder { dim: 8, max_length: 32 };

    fn vectors(values: &[f32]) -> EmbeddingMatrix {
        EmbeddingMatrix { rows: values.len(), dim: 1, data: values.to_vec() }
    }

    #[test]
    fn a_healthy_encoder_passes_and_norms_are_checked_only_where_promised() {
        let check = check_encoder(&STUB, &[], true).unwrap();
        assert_eq!((check.texts, check.batch_delta, check.heads), (6, 0.0, 0));
        assert_eq!(check_norms(&vectors(&[1.0, -1.1]), false).unwrap(), (1.0, f64::from(1.1_f32)));
        let error = check_norms(&vectors(&[1.0, -1.1]), true).unwrap_err();
        assert!(error.to_string().contains("expected 1"), "{error}");
        let error = check_norms(&vectors(&[1.0, 0.0]), false).unwrap_err();
        assert!(error.to_string().ends_with("norms are 0 to 1, expected positive finite numbers"), "{error}");
    }

    #[test]
    fn dead_vectors_and_batch_dependence_are_errors() {
        assert!(check_variety(&vectors(&[1.0, 1.0])).unwrap_err().to_string().contains("same vector"));
        assert!(check_variety(&vectors(&[1.0, -1.0])).is_ok());
        assert!(check_delta(0, 0.0).is_ok());
        let error = check_delta(2, 1e-8).unwrap_err().to_string();
        let expected =
            "the encoder failed its check: the numbers of 2 texts change by up to 1e-8 with their batch, allowed 0";
        assert_eq!(error, expected);
    }

    /// A stub with a head for one label of two and a regression: what they answer depends on the rows of the batch.
    struct Headed {
        answers: fn(usize) -> [f32; 3],
    }

    struct HeadedSession {
        stub: Box<dyn RunBatch>,
        answers: fn(usize) -> [f32; 3],
    }

    impl RunBatch for HeadedSession {
        fn run(&mut self, batch: &Batch) -> Result<EmbeddingMatrix, runtime::Error> {
            let vectors = self.stub.run(batch)?;
            let answers = (self.answers)(batch.rows);
            let rows = (0..vectors.rows).flat_map(|row| vectors.row(row).iter().copied().chain(answers));
            Ok(EmbeddingMatrix { rows: vectors.rows, dim: vectors.dim + 3, data: rows.collect() })
        }
    }

    impl OpenEncoder for Headed {
        fn dim(&self) -> usize {
            STUB.dim + 3
        }

        fn open(&self) -> Result<OpenedEncoder, Error> {
            let mut opened = STUB.open()?;
            let answers = self.answers;
            let wrap = |stub| Box::new(HeadedSession { stub, answers }) as Box<dyn RunBatch>;
            opened.sessions = opened.sessions.into_iter().map(wrap).collect();
            Ok(opened)
        }
    }

    fn check_heads(answers: fn(usize) -> [f32; 3]) -> Result<EncoderCheck, String> {
        let head = |name: &str, task, labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            GraphHead { name: name.to_owned(), ..GraphHead::of_checkpoint(&Classification { task, labels }) }
        };
        let heads = [head("topic", Task::Classification, &["a", "b"]), head("year", Task::Regression, &["year"])];
        let error = |error: Error| error.to_string().replace("the encoder failed its check: ", "");
        check_encoder(&Headed { answers }, &heads, true).map_err(error)
    }

    #[test]
    fn answers_that_no_head_can_mean_are_errors() {
        assert_eq!(check_heads(|_| [0.25, 0.75, 1990.0]).unwrap().heads, 2);
        let message = |answers| check_heads(answers).unwrap_err();
        assert_eq!(
            message(|_| [0.25, 0.5, 1.0]),
            "head `topic` gives probabilities that sum to 0.75, expected 1 (one label is right)"
        );
        assert_eq!(message(|_| [1.5, -0.5, 1.0]), "head `topic` gives 1.5, expected probabilities from 0 to 1");
        assert_eq!(message(|_| [f32::NAN, 1.0, 1.0]), "head `topic` gives NaN, expected probabilities from 0 to 1");
        assert_eq!(message(|_| [0.0, 1.0, f32::INFINITY]), "head `year` gives inf, expected finite numbers");
        assert_eq!(
            message(|rows| [0.0, 1.0, rows.min(2) as f32]),
            "the numbers of 6 texts change by up to 1e0 with their batch, allowed 0"
        );
    }
}
