//! Turns texts into embeddings: token ids, batches that cost what they pad to, and the account of every row.
//!
//! The only room that names `tokenizers`. It drives a `runtime::RunBatch` and knows neither ONNX Runtime nor the
//! shape of a corpus' files. Invariant: every text comes out once, at its place.

mod batch;
mod error;
mod tokenizer;

pub use batch::{BatchPlan, TokenBudget, assemble, plan};
pub use error::Error;
pub use tokenizer::{Encoding, Tokenizer};
