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
    /// A plan for int8 names what is no matrix of a layer.
    #[error("the int8 plan names `{matrix}`, which is no matrix of a layer of `{folder}`")]
    UnknownMatrix {
        /// The checkpoint.
        folder: PathBuf,
        /// The name.
        matrix: String,
    },
    /// A plan for int8 was made for a matrix of another size.
    #[error("the int8 plan for `{matrix}` has {got} numbers of `{list}`, expected {expected}")]
    PlanLength {
        /// The matrix.
        matrix: String,
        /// Which list.
        list: &'static str,
        /// Its length.
        got: usize,
        /// Channels of the matrix's input.
        expected: usize,
    },
    /// A number in a plan for int8 that nothing can be computed with.
    #[error("the int8 plan for `{matrix}` has {value} in `{list}`, expected finite numbers, and scales above 0")]
    PlanNumber {
        /// The matrix.
        matrix: String,
        /// Which list.
        list: &'static str,
        /// The number.
        value: f32,
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
    /// A weight that half precision can't hold.
    #[error("the constant `{tensor}` holds {value}, in half precision numbers end at 65504")]
    BeyondHalf {
        /// The constant's name: that of the checkpoint's tensor.
        tensor: String,
        /// The first such number, as it would stand in the graph.
        value: f32,
    },
    /// Two heads of a bundle under one name.
    #[error("two heads of the bundle would be called `{head}`")]
    HeadNameTaken {
        /// The name.
        head: String,
    },
    /// An output or another value of a new head under a name that the graph has in use.
    #[error("head `{head}` needs the name `{value}`, which something else in the graph has")]
    ValueNameTaken {
        /// The head.
        head: String,
        /// The name.
        value: String,
    },
    /// Heads that a bundle can't carry.
    #[error("`{field}` of the new bundle would be {got}, expected {expected}")]
    Heads {
        /// The field of `bundle.toml`.
        field: String,
        /// What would be there.
        got: String,
        /// What can be there.
        expected: String,
    },
    /// A head for other vectors, or one that is not whole.
    #[error(
        "head `{head}` has {} weights and {} biases, {labels} labels on {dim} dimensions ask for {} and {labels}",
        got.0, got.1, dim * labels
    )]
    HeadSize {
        /// The head.
        head: String,
        /// Its weights and biases.
        got: (usize, usize),
        /// Length of an embedding.
        dim: usize,
        /// Its labels.
        labels: usize,
    },
    /// Coefficients that leave the numbers when they are multiplied with their scale.
    #[error("head `{head}` has the coefficient {value} in the units of its target, expected finite numbers")]
    HeadNotFinite {
        /// The head.
        head: String,
        /// The coefficient.
        value: f64,
    },
}

impl Error {
    /// The way out, where one is known to apply.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint(),
            Self::Foreign(error) => error.hint(),
            Self::BeyondHalf { .. } => Some("export this checkpoint with `--precision fp32`".to_owned()),
            Self::HeadNameTaken { .. } | Self::ValueNameTaken { .. } => {
                Some("give the head a name of its own: `--head NAME=FILE`".to_owned())
            }
            Self::Heads { field, .. } if field.ends_with(".name") => {
                Some("name the head with `--head NAME=FILE`".to_owned())
            }
            _ => None,
        }
    }
}
