//! Runs the graph of an encoder with a masked-LM head on one text at a time. Knows nothing of tokenizers or of what its
//! columns stand for. Invariant: what comes out is one finite row of logits for each mask, or an error.

use ort::session::Session;
use ort::value::TensorRef;

use super::EmbeddingMatrix;
use super::error::Error;
use super::library::OnnxRuntime;
use super::opening::open_session;
use super::session::{SessionOptions, check_finite};
use crate::model::{ATTENTION_MASK, INPUT_IDS, LOGITS, MASK_PLACES};

/// A masked-LM graph ready to run.
#[derive(Debug)]
pub struct MaskedLmSession {
    session: Session,
}

impl MaskedLmSession {
    /// Opens a graph that [`crate::graph::write_masked_lm`] wrote.
    ///
    /// # Errors
    /// No threads, no such file, a provider that is not there, a file that ONNX Runtime cannot open.
    pub fn open(runtime: &OnnxRuntime, options: &SessionOptions) -> Result<Self, Error> {
        Ok(Self { session: open_session(runtime, options)? })
    }

    /// The logits of every word piece at each of `places` in the text with these token ids: a row for each place.
    ///
    /// # Errors
    /// The run failed, as for an id or place that does not exist, or gave another shape or numbers that aren't finite.
    pub fn logits(&mut self, ids: &[i64], places: &[i64]) -> Result<EmbeddingMatrix, Error> {
        let failed = |source| Error::Run { rows: 1, columns: ids.len(), source };
        let mask = vec![1_i64; ids.len()];
        let ids = TensorRef::from_array_view(([1, ids.len()], ids)).map_err(failed)?;
        let mask = TensorRef::from_array_view(([1, mask.len()], mask.as_slice())).map_err(failed)?;
        let asked = TensorRef::from_array_view(([places.len()], places)).map_err(failed)?;
        let inputs = ort::inputs![INPUT_IDS => ids, ATTENTION_MASK => mask, MASK_PLACES => asked];
        let outputs = self.session.run(inputs).map_err(failed)?;
        let (shape, data) = outputs[LOGITS].try_extract_tensor::<f32>().map_err(failed)?;
        let rows = places.len();
        let dim = data.len().checked_div(rows).unwrap_or_default();
        if !shape.iter().copied().eq([rows as i64, dim as i64]) {
            let expected = [rows, dim];
            return Err(Error::OutputShape { output: LOGITS.to_owned(), got: shape.to_vec(), expected });
        }
        check_finite(data, [rows, dim], LOGITS)?;
        Ok(EmbeddingMatrix { rows, dim, data: data.to_vec() })
    }
}
