//! What goes out: embeddings and predictions, streamed row by row in input order.
//!
//! Knows file formats; knows no model, cache or head. Its invariant: a file under its real name is complete. Until
//! `finish` everything lies under temporary names, and memory is bounded by one row group, whatever the corpus.

mod embeddings;
mod error;
mod jsonl;
mod npy;
mod parquet;
mod predictions;
mod sinks;
#[cfg(test)]
mod tests;

pub use embeddings::{EmbeddingFormat, EmbeddingOutputOptions, EmbeddingRow, WriteEmbeddings, embedding_writer};
pub use error::Error;
pub use npy::ids_path;
pub use predictions::{Prediction, PredictionFormat, PredictionOptions, WritePredictions, prediction_writer};
pub use sinks::{EmbeddingSink, Labeller, PredictionOutcome, PredictionSink, UNKNOWN};
