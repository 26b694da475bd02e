//! What comes in: papers out of corpora, the text that stands for a paper, and who is held out or seen before.
//!
//! Knows files, fields and templates; knows no tokenizer, model or cache. Its invariant: every row of the input leaves
//! as exactly one [`Row`], a paper or a rejection that names file, line and reason, so that the caller's totals add up.

mod corpus;
mod csv;
mod duplicates;
mod error;
mod fields;
mod find;
mod format;
mod input;
mod json_object;
mod jsonl;
mod labels;
mod lines;
mod names;
mod parquet;
mod rejects;
mod schema;
mod shard;
mod source;
mod split;
mod template;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::sync::Arc;

pub use corpus::{Corpus, CorpusOptions, Rows};
pub use duplicates::{Duplicate, Duplicates};
pub use error::Error;
pub use fields::FieldMap;
pub use format::InputFormat;
pub use labels::{LABEL_SEPARATOR, Label, LabelKind, labels_in};
pub use rejects::RejectsFile;
pub use schema::Schema;
pub use shard::Shard;
pub use split::{held_out, held_out_groups, held_out_years};
pub use template::{CustomTemplate, Rendered, Template};

/// Where a row stands: the file as the user would name it, and the line (from 1) on which the row begins; in Parquet,
/// which has no lines, the number of the row (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file's path, as text.
    pub file: Arc<str>,
    /// The line in the (uncompressed) file, or the row of a Parquet file, counted from 1.
    pub line: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

/// The text of a paper as its corpus has it, before a [`Template`] renders it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaperText {
    /// Two fields; `None` is a field that is absent or null. An empty text is a text.
    TitleAbstract {
        /// The title.
        title: Option<String>,
        /// The abstract.
        abstract_text: Option<String>,
    },
    /// One field that is used as it is.
    Plain(String),
}

impl PaperText {
    /// What stands for the paper in a list: its title, or its text. Empty if there is no title.
    pub fn short(&self) -> &str {
        match self {
            Self::TitleAbstract { title, .. } => title.as_deref().unwrap_or_default(),
            Self::Plain(text) => text,
        }
    }
}

/// One row of a corpus that can be embedded.
#[derive(Debug, Clone, PartialEq)]
pub struct Paper {
    /// The id field's text; `row:<n>` in a corpus without ids.
    pub id: String,
    /// File and line.
    pub origin: Origin,
    /// What will be rendered.
    pub text: PaperText,
    /// What the fields of [`FieldMap::labels`] say, in that order; `None` where a row says nothing.
    pub labels: Vec<Option<Label>>,
    /// `train`, `dev`, `test`, ... as the corpus says.
    pub split: Option<String>,
    /// What the field [`FieldMap::adapter`] says; `None` where the row does not have it, or nothing in it.
    pub adapter: Option<String>,
    /// The values of [`FieldMap::keep`], in that order; `None` where the row has no such field.
    pub kept: Vec<Option<serde_json::Value>>,
}

impl Paper {
    /// The paper's one label: the first of the labels asked for, if it is of that kind and the row has it.
    pub fn label(&self) -> Option<&str> {
        match self.labels.first() {
            Some(Some(Label::One(label))) => Some(label),
            _ => None,
        }
    }
}

/// A row that cannot be embedded, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// File and line.
    pub origin: Origin,
    /// The row's id where it could be read.
    pub id: Option<String>,
    /// Names the field, what it holds and what was expected.
    pub reason: String,
}

/// What one row of the input became.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// Goes on.
    Paper(Paper),
    /// Is accounted for and goes no further.
    Rejected(Rejection),
}
