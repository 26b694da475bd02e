//! What ends the reading of a corpus, or refuses a template: facts in fields, sources kept. A bad row is no error here,
//! it is a [`super::Rejection`].

use std::io;
use std::path::PathBuf;

use super::source::KNOWN_FORMATS;
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
    #[error("{file}:{line}: the gzip data stops before its end")]
    TruncatedGzip {
        /// The file.
        file: String,
        /// The line that was being read.
        line: u64,
        /// The decompressor's reason.
        #[source]
        source: io::Error,
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
            Self::TruncatedGzip { .. } => "fetch the file again: its end is missing",
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
