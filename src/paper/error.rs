//! What ends the reading of a corpus, or refuses a template: facts in fields, sources kept. A bad row is no error here,
//! it is a [`super::Rejection`].

use std::io;
use std::path::PathBuf;

use super::format::{KNOWN_FORMATS, KNOWN_INPUT_FORMATS};
use super::lines::MOST_UNFOLDED;
use super::schema::KNOWN_SCHEMAS;
use super::template::{KNOWN_PLACEHOLDERS, KNOWN_TEMPLATES};

/// Why a corpus cannot be read, or a template is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No input was given at all.
    #[error("no corpus given")]
    NoInput,
    /// Neither a file, a folder nor a pattern.
    #[error("corpus `{}` does not exist", input.display())]
    NotFound {
        /// As the user wrote it.
        input: PathBuf,
    },
    /// A pattern that the glob syntax does not allow.
    #[error("corpus pattern `{pattern}` cannot be read")]
    Pattern {
        /// As the user wrote it.
        pattern: String,
        /// Which character, and why.
        #[source]
        source: glob::PatternError,
    },
    /// A folder or pattern with no file that could be read.
    #[error("`{input}` holds no corpus file ({others} other files; known are {KNOWN_FORMATS})")]
    NothingMatched {
        /// As the user wrote it.
        input: String,
        /// Files that were there and have another ending.
        others: usize,
    },
    /// A file that was named, with an ending that no reader knows.
    #[error("`{}` has an unknown ending, expected one of {KNOWN_FORMATS}", file.display())]
    UnknownFormat {
        /// The file.
        file: PathBuf,
    },
    /// A file or folder that the system does not let us read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Reading stopped in the middle of a file.
    #[error("{file}:{line}: cannot read on")]
    Read {
        /// The file.
        file: String,
        /// The line that was being read.
        line: u64,
        /// The system's, or the decompressor's, reason.
        #[source]
        source: io::Error,
    },
    /// A compressed file that stops before its end.
    #[error("{file}:{line}: the {compression} data stops before its end")]
    Truncated {
        /// The file.
        file: String,
        /// The line that was being read.
        line: u64,
        /// `gzip` or `zstd`.
        compression: &'static str,
        /// The decompressor's reason.
        #[source]
        source: io::Error,
    },
    /// A zstd frame that asks for more memory than it is given.
    #[error("{file}:{line}: the zstd data needs a window of more than {most} bytes, the most that is given")]
    ZstdWindow {
        /// The file.
        file: String,
        /// The line that was being read.
        line: u64,
        /// Bytes.
        most: u64,
        /// The decompressor's reason.
        #[source]
        source: io::Error,
    },
    /// A file that unfolds to far more than any papers do: it would be read for ever.
    #[error(
        "`{file}` unfolds to more than {MOST_UNFOLDED} times its size: {packed} bytes gave {unfolded} bytes of rows so far"
    )]
    Bomb {
        /// The file.
        file: String,
        /// Bytes read from it.
        packed: u64,
        /// Bytes of the rows that came out of them.
        unfolded: u64,
    },
    /// A text in two-byte units.
    #[error("`{file}` is UTF-16, expected UTF-8")]
    Utf16 {
        /// The file.
        file: String,
    },
    /// A CSV or TSV file as old Macs wrote them.
    #[error("`{file}` ends its lines with carriage returns alone, expected line feeds")]
    BareCarriageReturns {
        /// The file.
        file: String,
    },
    /// A file that is to be one JSON object and is not, at a place behind which no row can be told apart.
    #[error("{file}:{line}: {met}, expected {expected}")]
    BrokenObject {
        /// The file.
        file: String,
        /// Where it breaks.
        line: u64,
        /// What is there.
        met: String,
        /// What should be.
        expected: &'static str,
    },
    /// A Parquet file that cannot be read, or not on.
    #[error("{file}:{row}: the Parquet data cannot be read")]
    Parquet {
        /// The file.
        file: String,
        /// The row that was to be read, from 1; 0 if the file has not been opened yet.
        row: u64,
        /// The reader's reason.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// A Parquet file on which the library gave up in a way it should not.
    #[error("{file}:{row}: the Parquet data is damaged in a way that its reader does not know: {message}")]
    ParquetPanic {
        /// The file.
        file: String,
        /// The row that was to be read, from 1; 0 if the file has not been opened yet.
        row: u64,
        /// What the library said.
        message: String,
    },
    /// A page that no writer of papers makes, and that would fill the memory.
    #[error("{file}: column `{column}` has a page of {bytes} bytes with {values} values, expected at most {most}")]
    ParquetPage {
        /// The file.
        file: String,
        /// The column's path.
        column: String,
        /// Its unpacked size.
        bytes: u64,
        /// Values that it says it has; of a list column those of the whole column chunk.
        values: u64,
        /// The bound that was passed.
        most: &'static str,
    },
    /// Parquet in a packed stream or file.
    #[error("`{file}` is packed Parquet, expected Parquet as it is (it packs its pages itself)")]
    PackedParquet {
        /// The file.
        file: String,
    },
    /// A stream that is named twice, or asked for a second reading.
    #[error("`{file}` was read already and cannot be read twice")]
    ReadTwice {
        /// The stream.
        file: String,
    },
    /// A Parquet stream that does not fit into the folder of temporary files.
    #[error("cannot keep the Parquet data of `{file}` in a temporary file")]
    Spool {
        /// The stream.
        file: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file that is no longer what it was when the corpus was opened.
    #[error("`{}` {how} while it was read: it had {before} bytes and has {now} now", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// `shrank`, `was replaced by another file`, ...
        how: &'static str,
        /// Bytes when the corpus was opened.
        before: u64,
        /// Bytes now.
        now: u64,
    },
    /// A name that is no schema.
    #[error("schema `{name}` is unknown, expected one of {KNOWN_SCHEMAS}")]
    UnknownSchema {
        /// As the user wrote it.
        name: String,
    },
    /// A name that is no input format.
    #[error("input format `{name}` is unknown, expected one of {KNOWN_INPUT_FORMATS}")]
    UnknownInputFormat {
        /// As the user wrote it.
        name: String,
    },
    /// Not `i/n`, or not with i from 1 to n.
    #[error("shard `{shard}` is none, expected i/n with i from 1 to n")]
    BadShard {
        /// As the user wrote it.
        shard: String,
    },
    /// A quote that swallows the rest of a CSV file: no later row can be told apart.
    #[error("{file}:{line}: a quoted field of this row is never closed")]
    UnclosedQuote {
        /// The file.
        file: String,
        /// The line on which the row begins.
        line: u64,
    },
    /// A CSV file whose first row is no list of names.
    #[error("{file}:{line}: the header row cannot be used: {reason}")]
    Header {
        /// The file.
        file: String,
        /// The header's line.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A field that the user named and no row has.
    #[error("no row has a field `{field}` ({rows} rows looked at; fields seen: {})", listed(seen))]
    UnknownField {
        /// The name that was asked for.
        field: String,
        /// Names that are there.
        seen: Vec<String>,
        /// How many rows were looked at, over all files.
        rows: usize,
    },
    /// Neither the title field nor the abstract field is in any row.
    #[error("no row has a field `{title}` or `{abstract_text}` ({rows} rows looked at; fields seen: {})", listed(seen))]
    NoTextField {
        /// The title field's name.
        title: String,
        /// The abstract field's name.
        abstract_text: String,
        /// Names that are there.
        seen: Vec<String>,
        /// How many rows were looked at, over all files.
        rows: usize,
    },
    /// A template that is neither a known name nor has a placeholder.
    #[error(
        "template `{template}` is unknown, expected {KNOWN_TEMPLATES} or a text with placeholders ({KNOWN_PLACEHOLDERS})"
    )]
    UnknownTemplate {
        /// As the user wrote it.
        template: String,
    },
    /// `{year}` and the like.
    #[error("template `{template}` has an unknown placeholder `{{{placeholder}}}`, expected {KNOWN_PLACEHOLDERS}")]
    UnknownPlaceholder {
        /// The template.
        template: String,
        /// What stands between the braces.
        placeholder: String,
    },
    /// A brace without its partner.
    #[error("template `{template}` has a lone `{brace}` at byte {at}")]
    LoneBrace {
        /// The template.
        template: String,
        /// `{` or `}`.
        brace: char,
        /// Byte offset in the template.
        at: usize,
    },
    /// Only `{sep}` and fixed text: every paper would read the same.
    #[error("template `{template}` has neither `{{title}}` nor `{{abstract}}`")]
    NoFieldInTemplate {
        /// The template.
        template: String,
    },
    /// The rejects file cannot be written.
    #[error("cannot write rejected rows to `{}`", path.display())]
    WriteRejects {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The way out, where there is one that is known to apply.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoInput => "name one or more files, folders or patterns",
            Self::Truncated { .. } => "fetch the file again: its end is missing",
            Self::ZstdWindow { .. } => "pack it again with `zstd --long=27` or less",
            Self::Utf16 { .. } => "convert it with `iconv -f UTF-16 -t UTF-8`",
            Self::BareCarriageReturns { .. } => "convert it with `tr '\\r' '\\n'`",
            Self::UnknownFormat { .. } => "say what it is with `--input-format`",
            Self::Changed { .. } => "run again when nothing writes to the corpus: what was computed is in the cache",
            Self::BadShard { .. } => "shard 1/4 is the first of four",
            Self::UnclosedQuote { .. } => "write a quote inside a quoted field twice (\"\")",
            Self::UnknownField { .. } => {
                "check the name; if only later rows have the field, put a file that has it first"
            }
            Self::NoTextField { .. } => {
                "name the fields with `--title-field` and `--abstract-field`, or a plain text with `--text-field`"
            }
            Self::LoneBrace { .. } => "write `{{` or `}}` for a brace that is text",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// `a, b, c` with an end after 20 names.
fn listed(names: &[String]) -> String {
    const MOST: usize = 20;
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut text = names.iter().take(MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text.push_str(&format!(" and {} more", names.len() - MOST));
    }
    text
}
