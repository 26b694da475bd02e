//! The vectors that all others are compared with: fp32 on the CPU provider. Measures nothing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Error;
use super::grid::{Batching, Shape};
use super::machine::{Machine, one_adapter};
use super::ready::Ready;
use super::texts::{read_texts, write_vectors};
use crate::encode::{BundleEncoder, TokenBudget};
use crate::model::Bundle;

/// Which vectors are wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceJob {
    /// Folder of an fp32 bundle.
    pub bundle: PathBuf,
    /// The ONNX Runtime library, where one was named.
    pub ort_lib: Option<PathBuf>,
    /// The texts, a JSON object with `id` and `text` a line.
    pub texts: PathBuf,
    /// The shape of the batches that are compared; none where they are of whole texts.
    pub shape: Option<Shape>,
    /// Threads of the session.
    pub threads: usize,
    /// Where the vectors are to be written.
    pub vectors: PathBuf,
}

impl ReferenceJob {
    /// Writes the vectors.
    pub(super) fn run(&self) -> Result<(), Error> {
        let bundle = Bundle::open(&self.bundle)?;
        let max_length = bundle.manifest.max_length;
        let encoder = BundleEncoder {
            ort_lib: self.ort_lib.clone(),
            adapter: one_adapter(&bundle),
            ..BundleEncoder::on_cpu(bundle, self.threads)
        };
        let machine = Machine::open(&encoder)?;
        let encodings = machine.encode(&read_texts(&self.texts)?)?;
        let sizes = (machine.pad_id(), max_length, machine.selection.choice());
        let whole_texts = Batching::Tokens(TokenBudget::of_provider(max_length).tokens());
        let batches = self.shape.map_or(whole_texts, Batching::Fixed);
        let ready = Ready::of(&encodings, batches, sizes, None)?;
        let ready = if self.shape.is_some() { ready.row_by_row() } else { ready };
        write_vectors(&self.vectors, &ready.vectors(&machine)?)
    }
}
