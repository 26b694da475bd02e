//! Writes encoders as ONNX: a checkpoint's config and weights become one graph, from token ids to an embedding.
//!
//! The graph is shaped for its job: pooling and normalization inside, only the rows that pooling reads in the last
//! layer, no shape arithmetic (no Shape, Size or computed Slice), so that a provider can take all of it. This room
//! knows no tokenizer and runs nothing. Its invariant: the same checkpoint and options give the same bytes.

mod attention;
mod builder;
mod constants;
mod embeddings;
mod encoder;
mod error;
mod export;
pub mod foreign;
mod head;
mod onnx;
mod pooling;
mod relative;
mod writer;

pub use error::Error;
pub use export::{ExportOptions, rewrite_manifest, write_bundle};
pub use foreign::{ImportOptions, import_onnx};
