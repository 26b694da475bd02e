//! What goes out: embeddings and predictions, streamed row by row in input order.
//!
//! Knows file formats and what a head's numbers say; knows no model and no cache. Its invariant: a file under its real name is complete. Until
//! `finish` everything lies under temporary names, and memory is bounded by one row group, whatever the corpus.

mod answers;
mod compression;
mod counting;
mod embeddings;
mod error;
mod export;
mod file;
mod jsonl;
mod matrix;
mod matrix_header;
mod parquet;
mod prediction_sink;
mod prediction_table;
#[cfg(test)]
mod prediction_tests;
mod prediction_text;
mod predictions;
#[cfg(test)]
mod round_trip_tests;
mod sinks;
#[cfg(test)]
mod tests;

pub use answers::{Answer, AnswerRules, HeadReader, UNKNOWN};
pub use compression::{Codec, Compression, CompressionError};
pub use counting::{AnswerCounts, HeadOutcome, Measured};
pub use embeddings::{
    EmbeddingFormat, EmbeddingOutputOptions, EmbeddingRow, WriteEmbeddings, Written, embedding_writer,
};
pub use error::Error;
pub use export::export_rows;
pub use matrix::ids_path;
pub use prediction_sink::{PredictedHead, PredictionOutcome, PredictionSink, Preview};
pub use predictions::{
    AnswerColumns, AnswerKind, Prediction, PredictionFormat, PredictionOptions, WritePredictions, prediction_writer,
};
pub use sinks::EmbeddingSink;
