//! Whether a freshly made encoder works: built-in texts go through it alone and in a batch, and vectors that no healthy
//! encoder gives are an error. How exact the numbers are is for an oracle to say, not for this check.

use serde::{Deserialize, Serialize};

use super::{Encoding, Error, OpenEncoder, assemble};

/// Texts of very different lengths, the empty one included.
const TEXTS: [&str; 6] = [
    "",
    "Offprints",
    "A short title[SEP]",
    "Coral bleaching under repeated heat waves[SEP]We follow forty reefs over nine summers and find that recovery slows.",
    "Sparse attention for long documents[SEP]Reading a whole paper at once costs quadratic time. We keep a window around \
     every token and a few global ones, and lose little accuracy on three benchmarks of scientific text.",
    "Δίκτυα, 神经网络 and naïve façades 🙂",
];

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
}

/// Runs the built-in texts.
///
/// # Errors
/// An encoder that cannot be opened or run, vectors of the wrong length, with NaN, with a norm that `normalized`
/// forbids, that are all the same, or that depend on the batch.
pub fn check_encoder(encoder: &dyn OpenEncoder, normalized: bool) -> Result<EncoderCheck, Error> {
    let mut opened = encoder.open()?;
    let pad_id = opened.tokenizer.pad_id();
    let encodings: Vec<Encoding> =
        opened.tokenizer.encode_all(&TEXTS.map(|text| (text, 0))).into_iter().collect::<Result<_, _>>()?;
    let mut run = |texts: &[&Encoding]| -> Result<Vec<Vec<f32>>, Error> {
        let session = opened.sessions.first_mut().expect("an opened encoder has a session");
        let matrix = session.run(&assemble(texts, pad_id))?;
        if matrix.dim != encoder.dim() || matrix.rows != texts.len() {
            return Err(Error::unhealthy(format!(
                "the graph gives {} × {} numbers for {} texts, expected {} × {}",
                matrix.rows,
                matrix.dim,
                texts.len(),
                texts.len(),
                encoder.dim()
            )));
        }
        Ok(matrix.data.chunks_exact(matrix.dim).map(<[f32]>::to_vec).collect())
    };
    let together = run(&encodings.iter().collect::<Vec<_>>())?;
    let mut batch_delta: f64 = 0.0;
    let mut norms = (f64::INFINITY, 0.0_f64);
    for (encoding, vector) in encodings.iter().zip(&together) {
        let alone = &run(&[encoding])?[0];
        let norm = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        norms = (norms.0.min(norm), norms.1.max(norm));
        let delta = alone.iter().zip(vector).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
        batch_delta = batch_delta.max(delta / norm.max(f64::MIN_POSITIVE));
    }
    let check = EncoderCheck { texts: TEXTS.len(), norms, batch_delta };
    judge(&check, normalized, &together)?;
    Ok(check)
}

fn judge(check: &EncoderCheck, normalized: bool, vectors: &[Vec<f32>]) -> Result<(), Error> {
    let (least, largest) = check.norms;
    if normalized && (least - 1.0).abs().max((largest - 1.0).abs()) > NORM_TOLERANCE {
        return Err(Error::unhealthy(format!("norms are {least} to {largest}, expected 1 (the bundle normalizes)")));
    }
    if !(least > 0.0 && largest.is_finite()) {
        return Err(Error::unhealthy(format!("norms are {least} to {largest}, expected positive finite numbers")));
    }
    if vectors.windows(2).all(|pair| pair[0] == pair[1]) {
        return Err(Error::unhealthy("all texts get the same vector".into()));
    }
    // The CPU provider, which this check runs on, gives a text the same bits in any batch.
    if check.batch_delta > 0.0 {
        let delta = check.batch_delta;
        return Err(Error::unhealthy(format!("a vector changes by {delta:e} of its norm with its batch, allowed 0")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::StubEncoder;

    #[test]
    fn a_healthy_encoder_passes_and_norms_are_checked_only_where_promised() {
        let stub = StubEncoder { dim: 8, max_length: 32 };
        let check = check_encoder(&stub, true).unwrap();
        assert_eq!(check.batch_delta, 0.0);
        let long = EncoderCheck { norms: (1.0, 1.1), ..check.clone() };
        let vectors = [vec![1.0_f32], vec![2.0]];
        assert!(judge(&long, false, &vectors).is_ok());
        let error = judge(&long, true, &vectors).unwrap_err();
        assert!(error.to_string().contains("expected 1"), "{error}");
    }

    #[test]
    fn dead_vectors_and_batch_dependence_are_errors() {
        let check = EncoderCheck { texts: 2, norms: (1.0, 1.0), batch_delta: 0.0 };
        let same = [vec![1.0_f32], vec![1.0]];
        assert!(judge(&check, true, &same).unwrap_err().to_string().contains("same vector"));
        let different = [vec![1.0_f32], vec![-1.0]];
        assert!(judge(&check, true, &different).is_ok());
        let shaky = EncoderCheck { batch_delta: 1e-8, ..check };
        assert!(judge(&shaky, true, &different).unwrap_err().to_string().contains("with its batch"));
    }
}
