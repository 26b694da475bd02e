//! Turns corpora of scientific papers into embeddings and labels through ONNX Runtime.
//!
//! The rooms, in the order of their dependencies (each uses only those before it):
//! [`paper`] reads corpora, [`model`] knows bundles and checkpoints, [`graph`] writes ONNX, [`runtime`] runs it,
//! [`cache`] keeps embeddings, [`encode`] turns papers into embeddings, [`heads`] trains and applies light heads,
//! [`evaluate`] measures answers, [`mod@bench`] measures speed, [`output`] writes results and [`report`] writes pages. The
//! program in `src/cli` only parses arguments, makes one library call and prints.

pub mod bench;
pub mod cache;
pub mod causes;
pub mod contained;
pub mod durable;
pub mod encode;
pub mod evaluate;
pub mod graph;
pub mod heads;
pub mod model;
pub mod output;
pub mod paper;
pub mod report;
pub mod runtime;

#[cfg(test)]
mod fault_tests;
