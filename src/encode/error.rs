//! What can stop a run of the pipeline. Bad rows don't: they are rejected and the run goes on.

use crate::{cache, model, paper, runtime};

/// Whatever a sink fails with.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Why texts could not be turned into embeddings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The corpus could not be read to its end.
    #[error(transparent)]
    Paper(#[from] paper::Error),
    /// The bundle cannot be used.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// ONNX Runtime, a session or a batch failed.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The embedding cache could not be read or written.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// There was nothing to encode.
    #[error("the corpus holds no rows (files read: {files})")]
    EmptyCorpus {
        /// Files that were opened.
        files: usize,
    },
    /// A vector that the cache had is gone: its file was changed under the run.
    #[error("the cached embedding of {row} vanished during the run")]
    RowLost {
        /// `file:line` of the row.
        row: String,
    },
    /// A new encoder gives vectors that no healthy one gives.
    #[error("the encoder failed its check: {what}")]
    Unhealthy {
        /// What was found and what was expected.
        what: String,
    },
    /// The sink could not take a window; its error is the source.
    #[error("{0}")]
    Sink(#[source] SinkError),
}

impl Error {
    pub(super) fn unhealthy(what: String) -> Self {
        Self::Unhealthy { what }
    }

    /// The way out, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Paper(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::Runtime(error) => error.hint(),
            Self::Cache(error) => error.hint(),
            Self::RowLost { .. } => Some("run `offprint cache verify`, then the command again".into()),
            Self::EmptyCorpus { .. } | Self::Unhealthy { .. } | Self::Sink(_) => None,
        }
    }
}
