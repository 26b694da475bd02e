//! What can be wrong with the content of a head: of a file, or of a head that is built here.
//!
//! Knows formats and lengths, no paths. Invariant: a message names the field or tensor, what is there and what can be.

use thiserror::Error as ThisError;

use super::super::kind::HeadKind;
use super::Error;
use crate::model::Task;

/// What is wrong with the content of a head.
#[derive(Debug, ThisError)]
pub enum FileProblem {
    /// Larger than any head.
    #[error("it has {got} bytes, heads have {allowed} at most")]
    TooLarge {
        /// Size of the file.
        got: u64,
        /// Largest size.
        allowed: u64,
    },
    /// Too short, or a header that is longer than the file.
    #[error("its header needs {needed} bytes, the file has {got}")]
    Truncated {
        /// Bytes up to the end of the header (8 for its length alone).
        needed: u64,
        /// Size of the file.
        got: u64,
    },
    /// Not safetensors, or tensors that do not lie in the file.
    #[error("it is not a valid safetensors file")]
    Safetensors {
        /// The reader's reason.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// Written by a later program.
    #[error("it has format version {got}, this program reads up to {known}")]
    Newer {
        /// The file's version.
        got: u64,
        /// Ours.
        known: u64,
    },
    /// A field of the metadata that is not there.
    #[error("its metadata has no `{key}`")]
    Missing {
        /// The field.
        key: &'static str,
    },
    /// A field of the metadata with another type or value than it can have.
    #[error("`{key}` of its metadata is `{got}`, expected {expected}")]
    Value {
        /// The field.
        key: &'static str,
        /// What is there, shortened.
        got: String,
        /// What can be there.
        expected: &'static str,
    },
    /// A field of the metadata that is not the JSON it should be.
    #[error("`{key}` of its metadata is not {expected}")]
    Json {
        /// The field.
        key: &'static str,
        /// What should be there.
        expected: &'static str,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
    /// A tensor too many or too few.
    #[error("its tensors are {got:?}, expected {expected:?}")]
    Tensors {
        /// Names in the file, sorted.
        got: Vec<String>,
        /// Names of its kind's, sorted.
        expected: Vec<&'static str>,
    },
    /// A tensor of another type.
    #[error("tensor `{tensor}` is of type {got}, expected F64 or F32")]
    DataType {
        /// The tensor.
        tensor: &'static str,
        /// Its type.
        got: String,
    },
    /// A tensor of another shape than the labels ask for.
    #[error("tensor `{tensor}` has shape {got:?}, {labels} labels ask for {expected}")]
    Shape {
        /// The tensor.
        tensor: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// Number of labels.
        labels: usize,
        /// The shape expected, in words where a side is free.
        expected: String,
    },
    /// NaN or infinity among the numbers.
    #[error("tensor `{tensor}` has {value} at position {position}, expected finite numbers")]
    NotFinite {
        /// The tensor.
        tensor: &'static str,
        /// 0-based, row by row.
        position: usize,
        /// What is there.
        value: f64,
    },
    /// Fewer labels than the task needs.
    #[error("it has {got} labels, expected at least {expected}")]
    FewLabels {
        /// Labels given.
        got: usize,
        /// Labels needed.
        expected: usize,
    },
    /// A file of a version in which heads had one task.
    #[error("its task is {task}, which heads of format version 1 cannot have")]
    OldFormat {
        /// The task it names.
        task: Task,
    },
    /// A kind that cannot do what the head is for.
    #[error("its kind is `{got}`, which a head for {task} cannot have")]
    Kind {
        /// What the head is for.
        task: Task,
        /// Its kind.
        got: HeadKind,
    },
    /// A field that only heads for another task have.
    #[error("it has `{key}`, which a head for {task} cannot have")]
    NotOfTask {
        /// The field.
        key: &'static str,
        /// What the head is for.
        task: Task,
    },
    /// A list with another length than the labels.
    #[error("`{key}` has length {got}, {labels} labels ask for a number each")]
    Count {
        /// The list.
        key: &'static str,
        /// Its length.
        got: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A number in a list that cannot be there.
    #[error("`{key}` has {value} at position {position}, expected {expected}")]
    Number {
        /// The list.
        key: &'static str,
        /// 0-based.
        position: usize,
        /// What is there.
        value: f64,
        /// What can be there.
        expected: &'static str,
    },
    /// The same label twice.
    #[error("label `{label}` is there twice (positions {first} and {second})")]
    DuplicateLabel {
        /// The label.
        label: String,
        /// 0-based position.
        first: usize,
        /// 0-based position.
        second: usize,
    },
    /// Bytes that are not those that were written.
    #[error("its content has checksum {got}, its metadata says {expected}")]
    Checksum {
        /// Hash of the content.
        got: String,
        /// Hash in the metadata.
        expected: String,
    },
    /// A list with another length than the decision values have columns.
    #[error("`{key}` has length {got}, expected {columns}")]
    Columns {
        /// The list.
        key: &'static str,
        /// Its length.
        got: usize,
        /// Numbers that belong there.
        columns: usize,
    },
    /// Weighted sums where rows are to be looked up, or the other way round.
    #[error("its kind is `{kind}`, its numbers are those of another")]
    KindOfModel {
        /// Its kind.
        kind: HeadKind,
    },
    /// Rows to be looked up that cannot be.
    #[error("its rows and targets cannot be looked up")]
    Neighbours {
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// Neighbours that belong to another head.
    #[error("its rows are labelled for {got}, the head is for {task} with {labels} labels")]
    NeighboursOf {
        /// What they are labelled for.
        got: Task,
        /// What the head is for.
        task: Task,
        /// Number of labels.
        labels: usize,
    },
    /// Two labels with other than one threshold.
    #[error("`thresholds` has length {got}, two labels have one: that of the second")]
    OneThreshold {
        /// Its length.
        got: usize,
    },
}

impl FileProblem {
    /// The way out, where it is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Newer { .. } => Some("use the version of offprint that wrote it, or train the head again".to_owned()),
            _ => None,
        }
    }
}
