//! What can be wrong with an ONNX file that another program wrote.

use std::io;
use std::path::PathBuf;

use prost::DecodeError;

/// Errors of reading an ONNX file and the files beside it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("could not read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The bytes are no ONNX model, or only a part of one.
    #[error("`{path}` is not a whole ONNX model: {problem}")]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place in the file.
        problem: String,
    },
    /// A field holds something else than the standard says.
    #[error("`{path}` is not an ONNX model")]
    Decode {
        /// The file.
        path: PathBuf,
        /// Which field.
        #[source]
        source: DecodeError,
    },
    /// More of something than is read.
    #[error("`{path}` holds more than {limit} {what}, which no encoder needs")]
    Limit {
        /// The file.
        path: PathBuf,
        /// Of what.
        what: &'static str,
        /// The most that is read.
        limit: u64,
    },
    /// A tensor's bytes are not what its shape and type ask for, or not to be had.
    #[error("tensor `{tensor}` in `{path}` {problem}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    /// The way out, where one is known to apply.
    pub fn hint(&self) -> Option<String> {
        None
    }
}
