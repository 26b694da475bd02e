//! What keeps a result from being written: facts in fields, sources kept.

use std::io;
use std::path::PathBuf;

/// Why a result cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ending of the output's name says no format.
    #[error("output `{}` has an unknown ending, expected one of {known}", path.display())]
    UnknownFormat {
        /// The output.
        path: PathBuf,
        /// The endings that are known for this kind of result.
        known: &'static str,
    },
    /// The file system refuses.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The output.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The Parquet writer refuses.
    #[error("cannot write `{}`", path.display())]
    Parquet {
        /// The output.
        path: PathBuf,
        /// The writer's reason.
        #[source]
        source: ::parquet::errors::ParquetError,
    },
    /// The columns do not make a table.
    #[error("cannot write `{}`", path.display())]
    Arrow {
        /// The output.
        path: PathBuf,
        /// The reason.
        #[source]
        source: arrow_schema::ArrowError,
    },
    /// An embedding of another length than the output was opened for.
    #[error("embedding of paper `{id}` has {got} numbers, expected {expected}")]
    WrongLength {
        /// The paper.
        id: String,
        /// Numbers in the row.
        got: usize,
        /// Numbers that every row has.
        expected: usize,
    },
    /// NaN or infinity, for which JSON has no word.
    #[error("paper `{id}` has the value {value}, which JSON cannot hold")]
    NotFinite {
        /// The paper.
        id: String,
        /// The first such value.
        value: f32,
    },
    /// An id that would break the list of one id a line.
    #[error("id {id:?} has a line break or control character, so it cannot be a line of `{}`", path.display())]
    IdBreaksLine {
        /// The id.
        id: String,
        /// The list of ids.
        path: PathBuf,
    },
    /// Two columns of one name.
    #[error("predictions would have two columns `{name}`")]
    ColumnTwice {
        /// The name.
        name: String,
    },
    /// A prediction with another number of kept values than there are names.
    #[error("prediction of paper `{id}` carries {got} kept values, expected {expected}")]
    WrongKept {
        /// The paper.
        id: String,
        /// Values in the row.
        got: usize,
        /// Names that were given.
        expected: usize,
    },
}

impl Error {
    /// The way out, where there is one that is known to apply.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::IdBreaksLine { .. } => Some("write `.parquet` or `.jsonl`, which hold any id".to_owned()),
            Self::ColumnTwice { name } => Some(format!("keep the field `{name}` under another name")),
            Self::Write { source, path } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!("make the folder `{}` first", crate::durable::parent(path).display()))
            }
            _ => None,
        }
    }
}
