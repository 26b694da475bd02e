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
    /// The ids of a matrix of another format, which would be left with those of this one.
    #[error("`{}` belongs to `{}` and would be replaced", ids.display(), owner.display())]
    IdsTaken {
        /// Where its ids would go.
        ids: PathBuf,
        /// The matrix whose ids lie there.
        owner: PathBuf,
    },
    /// More rows than the format can count.
    #[error("`{}` can hold {most} rows and no more", path.display())]
    TooManyRows {
        /// The output.
        path: PathBuf,
        /// The format's bound.
        most: u64,
    },
    /// The name of a text file and the compression asked for are not the same.
    #[error("the name of output `{}` says {named}, `--compress {asked}` something else", path.display())]
    CompressionClash {
        /// The output.
        path: PathBuf,
        /// What the name says.
        named: &'static str,
        /// What was asked for.
        asked: String,
        /// A name that fits.
        better: PathBuf,
    },
    /// Snappy has no file format that text tools read.
    #[error("output `{}` cannot be compressed by snappy, which is for Parquet", path.display())]
    SnappyText {
        /// The output.
        path: PathBuf,
    },
    /// A compression around Parquet.
    #[error(
        "output `{}` is not compressed by {asked}: Parquet compresses its pages itself, by zstd or snappy",
        path.display()
    )]
    CompressedParquet {
        /// The output.
        path: PathBuf,
        /// The codec.
        asked: &'static str,
    },
    /// A compression around numbers that readers map.
    #[error(
        "output `{}` is not compressed by {asked}: its readers map the numbers into memory as they lie in the file",
        path.display()
    )]
    CompressedMatrix {
        /// The output.
        path: PathBuf,
        /// The codec.
        asked: &'static str,
    },
    /// Two columns of one name.
    #[error("predictions would have two columns `{name}`")]
    ColumnTwice {
        /// The name.
        name: String,
        /// The heads that have such a column.
        heads: Vec<String>,
        /// Whether a kept field has that name.
        kept: bool,
    },
    /// More labels than CSV has columns for.
    #[error("`{}` would have columns for {labels} labels of a paper, CSV is written with at most {most}", path.display())]
    TooWide {
        /// The output.
        path: PathBuf,
        /// Labels that a row may have.
        labels: usize,
        /// The bound.
        most: usize,
    },
    /// A head whose answer is no number.
    #[error("head `{head}` gives paper `{id}` the value {value}, expected a finite number")]
    NoAnswer {
        /// The paper.
        id: String,
        /// The head's name.
        head: String,
        /// The first such value.
        value: f32,
    },
    /// A prediction with other answers than the columns are for.
    #[error("prediction of paper `{id}` has other answers than the columns are for")]
    WrongAnswers {
        /// The paper.
        id: String,
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
            Self::IdsTaken { owner, .. } => {
                Some(format!("give the output another name, or move `{}` away", owner.display()))
            }
            Self::TooManyRows { .. } => Some("write `.npy`, `.safetensors` or `.parquet`".to_owned()),
            Self::CompressionClash { better, .. } => {
                Some(format!("name it `{}`, or leave `--compress` out", better.display()))
            }
            Self::SnappyText { .. } => {
                Some("`--compress gzip` with `.gz`, or `--compress zstd` with `.zst`".to_owned())
            }
            Self::CompressedParquet { .. } => {
                Some("end the name in `.parquet`, with `--compress zstd` where size matters more than speed".to_owned())
            }
            Self::CompressedMatrix { .. } => {
                Some("write `.parquet` with `--compress zstd`, or `.jsonl.gz` or `.jsonl.zst`".to_owned())
            }
            Self::TooWide { .. } => {
                Some("`--top-k` with the most that you want, or an output in `.jsonl` or `.parquet`".to_owned())
            }
            Self::ColumnTwice { name, kept: true, .. } => Some(format!("keep the field `{name}` under another name")),
            Self::ColumnTwice { heads, .. } => match &heads[..] {
                [one, other] => Some(format!("heads `{one}` and `{other}` both have it: `--head-name` picks one")),
                _ => None,
            },
            Self::Write { source, path } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!("make the folder `{}` first", crate::durable::parent(path).display()))
            }
            _ => None,
        }
    }
}
