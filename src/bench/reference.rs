//! The vectors that all others are compared with: fp32 on the CPU provider. Measures nothing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Error;
use super::grid::Batching;
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
        let batches = Batching::Tokens(TokenBudget::of_provider(max_length).tokens());
        let ready = Ready::of(&encodings, batches, (machine.pad_id(), max_length, machine.selection.choice()), None)?;
        match ready.vectors(&machine)? {
            Some(vectors) => write_vectors(&self.vectors, &vectors),
            None => Err(Error::NoTexts),
        }
    }
}
