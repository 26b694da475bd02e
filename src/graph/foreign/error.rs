//! What can be wrong with an ONNX file that another program wrote.

use std::io;
use std::path::PathBuf;

use prost::DecodeError;

use super::OtherFile;

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
    /// The bytes are those of another kind of file.
    #[error("`{path}` is not an ONNX file: it seems to be {}", seems.what())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        seems: OtherFile,
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
    /// Nodes or values that contradict each other.
    #[error("the graph of `{path}` {problem}")]
    Unsound {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Inputs or outputs that are not those of an encoder, or that could be understood in several ways.
    #[error(
        "`{path}` {problem}; expected {expected}; its inputs are {}; its outputs are {}",
        inputs.join(", "), outputs.join(", ")
    )]
    Layout {
        /// The file.
        path: PathBuf,
        /// What can't be understood.
        problem: String,
        /// What would be.
        expected: String,
        /// The inputs, with types and shapes.
        inputs: Box<[String]>,
        /// The outputs, with types and shapes.
        outputs: Box<[String]>,
    },
    /// A choice that is not that of a graph that pools by itself.
    #[error("`{output}` of `{path}` {got}, and {asked} was asked for")]
    Pooled {
        /// The file.
        path: PathBuf,
        /// Its embedding.
        output: String,
        /// What was asked for, by flag, recipe or modules.
        asked: String,
        /// What the graph does.
        got: String,
    },
    /// Operators of an old version.
    #[error("`{path}` uses version {got} of the standard operators, expected at least {least}")]
    Opset {
        /// The file.
        path: PathBuf,
        /// Its version; 0 where there is none.
        got: i64,
        /// The oldest one that nodes can be added to.
        least: i64,
    },
    /// Scores that don't fit the labels.
    #[error("config.json has {got} labels, `{output}` of `{path}` gives {expected} scores")]
    Labels {
        /// The ONNX file.
        path: PathBuf,
        /// The output with the scores.
        output: String,
        /// Labels in config.json.
        got: usize,
        /// Scores for each text.
        expected: usize,
    },
    /// The length of a vector stands neither in the file nor beside it.
    #[error(
        "neither `{path}` nor config.json (`hidden_size`) says how many numbers `{output}` has for a token or text"
    )]
    NoSize {
        /// The ONNX file.
        path: PathBuf,
        /// The output.
        output: String,
    },
    /// Positions are asked for, and how to count them is not known.
    #[error("`{path}` reads `position_ids`, and how they are counted for the `model_type` in config.json is not known")]
    Positions {
        /// The ONNX file.
        path: PathBuf,
    },
}

impl Error {
    /// The way out, where one is known to apply.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Layout { problem, .. } if problem.contains("several outputs") => {
                "name the one to take with `--onnx-output`"
            }
            Self::OtherFile { seems, .. } => seems.hint(),
            Self::Opset { .. } | Self::Positions { .. } => {
                "export it anew, with a newer operator set and `input_ids` and `attention_mask` as inputs"
            }
            Self::Pooled { .. } => {
                "name what the graph does, or take its token states, where it gives them, with `--onnx-output`"
            }
            Self::Labels { .. } => "the file and config.json look like different models",
            _ => return None,
        };
        Some(text.to_owned())
    }
}
