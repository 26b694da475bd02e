//! Whether a freshly made encoder works: built-in texts go through it alone and in a batch, and vectors that no healthy
//! encoder gives are an error. How exact the numbers are is for an oracle to say, not for this check.

use serde::{Deserialize, Serialize};

use super::composition::Composition;
use super::invariance::{Meter, Subject, Threaded, differences};
use super::texts::few_texts;
use super::{Error, OpenEncoder};
use crate::runtime::EmbeddingMatrix;

/// Norms of a normalizing encoder may differ from 1 by this much: some rounding steps of f32.
const NORM_TOLERANCE: f64 = 1e-5;

/// What the check measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderCheck {
    /// Texts that were run.
    pub texts: usize,
    /// Smallest and largest norm of a vector.
    pub norms: (f64, f64),
    /// Largest difference of a component between a text alone and in a batch.
    pub batch_delta: f64,
    /// Texts whose vector differs in at least one bit between the two.
    pub batch_rows: usize,
}

/// Runs the built-in texts.
///
/// # Errors
/// An encoder that cannot be opened or run, vectors of the wrong length, with NaN, with a norm that `normalized`
/// forbids, that are all the same, or that depend on the batch.
pub fn check_encoder(encoder: &dyn OpenEncoder, normalized: bool) -> Result<EncoderCheck, Error> {
    let check = measure_encoder(encoder, normalized)?;
    check_delta(check.batch_rows, check.batch_delta)?;
    Ok(check)
}

/// Runs the built-in texts through an encoder that need not give a text the same bits in any batch.
///
/// # Errors
/// As [`check_encoder`], but for vectors that depend on the batch.
pub fn measure_encoder(encoder: &dyn OpenEncoder, normalized: bool) -> Result<EncoderCheck, Error> {
    let texts = few_texts();
    let mut subject = Subject::open(Threaded { threads: 1, encoder }, texts)?;
    let lengths = subject.lengths();
    let mut nobody = |_| ();
    let mut meter = Meter::unwatched(&mut nobody);
    let mut run = |composition: Composition| subject.run(&composition.lay(&lengths, 0), &mut meter);
    let alone = run(Composition::Alone)?;
    let together = run(Composition::Batches(texts.len()))?;
    let norms = check_norms(&alone, normalized)?;
    check_variety(&alone)?;
    let (rows, batch_delta) = differences(&alone, &together);
    Ok(EncoderCheck { texts: texts.len(), norms, batch_delta, batch_rows: rows.len() })
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

/// An error if a vector depends on its batch: the CPU provider, which this check runs on, gives a text the same bits
/// in any batch.
fn check_delta(rows: usize, delta: f64) -> Result<(), Error> {
    if rows > 0 {
        return Err(Error::unhealthy(format!("{rows} vectors change by up to {delta:e} with their batch, allowed 0")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::StubEncoder;

    fn vectors(values: &[f32]) -> EmbeddingMatrix {
        EmbeddingMatrix { rows: values.len(), dim: 1, data: values.to_vec() }
    }

    #[test]
    fn a_healthy_encoder_passes_and_norms_are_checked_only_where_promised() {
        let stub = StubEncoder { dim: 8, max_length: 32 };
        let check = check_encoder(&stub, true).unwrap();
        assert_eq!((check.texts, check.batch_delta), (6, 0.0));
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
        assert_eq!(error, "the encoder failed its check: 2 vectors change by up to 1e-8 with their batch, allowed 0");
    }
}
