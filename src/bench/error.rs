//! What keeps a measurement from being made, kept or read again.

use std::io;
use std::path::PathBuf;

use crate::{encode, graph, model, paper, runtime};

/// Errors of this room; [`Error::hint`] gives the way out where one is known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The encoder could not be opened or run.
    #[error(transparent)]
    Encode(#[from] encode::Error),
    /// ONNX Runtime could not be loaded or run.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The bundle could not be opened.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The graph of the peak could not be written.
    #[error(transparent)]
    Graph(#[from] graph::Error),
    /// The texts could not be read back.
    #[error(transparent)]
    Corpus(#[from] paper::Error),
    /// A shape that is none.
    #[error("`{text}` is no shape, expected rows and tokens such as `8x128`")]
    Shape {
        /// As it was written.
        text: String,
    },
    /// A file could not be read.
    #[error("`{}` could not be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("`{}` could not be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is no record of measurements.
    #[error("`{}` is not a file of measurements that `offprint bench` wrote", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected there.
        source: serde_json::Error,
    },
    /// A record in another format.
    #[error("`{}` has format {got}, expected {expected}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        got: u32,
        /// The format that this program reads.
        expected: u32,
    },
    /// A table could not be written.
    #[error("`{}` could not be written", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What the writer said.
        source: csv::Error,
    },
    /// A cell was run by another provider than it is about.
    #[error("`{asked}` was asked for, and `{got}` ran the graph")]
    OtherProvider {
        /// ONNX Runtime's name of the provider that was asked for.
        asked: String,
        /// The one that ran.
        got: String,
    },
    /// The session failed on some texts, which the pipeline left out.
    #[error("{rejected} of {rows} texts were rejected: the session fails on them")]
    Rejected {
        /// Texts that were rejected.
        rejected: u64,
        /// All texts.
        rows: u64,
    },
    /// No text to measure with.
    #[error("there is no text to measure with")]
    NoTexts,
}

impl Error {
    /// The way out, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Encode(error) => error.hint(),
            Self::Runtime(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::Graph(error) => error.hint(),
            Self::Corpus(error) => error.hint(),
            Self::Parse { .. } => Some("name the bench.json of a run".to_owned()),
            Self::Format { .. } => Some("measure again with this version".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_their_subject_and_the_way_out() {
        let path = || PathBuf::from("a/bench.json");
        let format = Error::Format { path: path(), got: 9, expected: 1 };
        assert_eq!(format.to_string(), "`a/bench.json` has format 9, expected 1");
        assert_eq!(format.hint().unwrap(), "measure again with this version");
        let source = serde_json::from_str::<u8>("x").unwrap_err();
        let parse = Error::Parse { path: path(), source };
        assert_eq!(parse.to_string(), "`a/bench.json` is not a file of measurements that `offprint bench` wrote");
        assert_eq!(parse.hint().unwrap(), "name the bench.json of a run");
        let io = || io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(Error::Read { path: path(), source: io() }.to_string(), "`a/bench.json` could not be read");
        assert_eq!(Error::Write { path: path(), source: io() }.to_string(), "`a/bench.json` could not be written");
        let table = Error::Table { path: path(), source: csv::Error::from(io()) };
        assert_eq!(table.to_string(), "`a/bench.json` could not be written");
        let other = Error::OtherProvider { asked: "A".into(), got: "B".into() };
        assert_eq!(other.to_string(), "`A` was asked for, and `B` ran the graph");
        let rejected = Error::Rejected { rejected: 2, rows: 40 };
        assert_eq!(rejected.to_string(), "2 of 40 texts were rejected: the session fails on them");
        assert_eq!(Error::NoTexts.to_string(), "there is no text to measure with");
        assert!(Error::NoTexts.hint().is_none());
    }
}
