//! Writes encoders as ONNX: a checkpoint's config and weights become one graph, from token ids to an embedding.
//!
//! The graph is shaped for its job: pooling and normalization inside, only the rows that pooling reads in the last
//! layer, no shape arithmetic (no Shape, Size or computed Slice), so that a provider can take all of it. This room
//! knows no tokenizer and runs nothing. Its invariant: the same checkpoint and options give the same bytes.

mod adapter;
mod adapter_source;
mod attention;
mod builder;
mod columns;
mod constants;
mod embeddings;
mod encoder;
mod error;
mod export;
mod feed_forward;
pub mod foreign;
mod fuse;
mod fused_head;
mod gemm;
mod half;
mod head;
mod inspect;
mod kinds;
mod masked_lm;
mod onnx;
mod plain;
mod pooling;
pub mod quantize;
mod relative;
mod rotary;
#[cfg(test)]
mod shape_free;
mod weights;
mod window;
mod writer;

pub use adapter_source::AdapterSource;
pub use error::Error;
pub use export::{ExportOptions, MAX_GRAPH_BYTES, data_of, rewrite_manifest, write_bundle, write_graph};
pub use foreign::{ImportOptions, import_onnx, write_pooling_probe};
pub use fuse::{LinearHead, fuse, holds_f64};
pub use gemm::GemmChain;
pub use inspect::{
    CheckpointInspection, Cost, CostAt, CostLaw, Cut, InspectOptions, Inspection, Layer, NodeLine, NotCounted,
    OperatorCount, Port, TensorGroup, TypeShare, WordTable, inspect, inspect_checkpoint,
};
pub use masked_lm::write_masked_lm;
pub(crate) use onnx::ElementType;
pub(crate) use weights::{LargeWeight, large_weights};
