//! What can go wrong while a bundle is written.

use std::io;
use std::path::PathBuf;

use crate::model;

use super::foreign;

/// Errors of this room; [`Error::hint`] gives the way out where one is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint is not what it should be.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// An ONNX file is not what it should be.
    #[error(transparent)]
    Foreign(#[from] foreign::Error),
    /// No table of word embeddings can be told from a graph.
    #[error("`{path}` has no table of word embeddings that its token ids read from")]
    NoWordTable {
        /// The ONNX file.
        path: PathBuf,
    },
    /// A table of word embeddings of another type than is read.
    #[error("the word embeddings `{tensor}` in `{path}` are {got}, expected floats, int8 or uint8")]
    WordTableType {
        /// The ONNX file.
        path: PathBuf,
        /// The table.
        tensor: String,
        /// Its type.
        got: String,
    },
    /// A file of the bundle could not be written.
    #[error("could not write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// One ONNX file can't hold the weights.
    #[error("the graph of `{folder}` would take {bytes} bytes, one ONNX file holds at most {limit}")]
    TooLarge {
        /// The checkpoint.
        folder: PathBuf,
        /// Size of the file.
        bytes: u64,
        /// The largest size that is written.
        limit: u64,
    },
}

impl Error {
    /// The way out, where one is known to apply.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint(),
            Self::Foreign(error) => error.hint(),
            _ => None,
        }
    }
}
