//! What can go wrong with heads: training data that is no problem to solve, fits that failed, files that are not heads.

use std::io;
use std::path::PathBuf;

use thiserror::Error as ThisError;

use super::head::HeadKind;
use crate::model::Task;

/// Failures of training, applying, saving and loading heads.
#[derive(Debug, ThisError)]
pub enum Error {
    /// Nothing to fit.
    #[error("nothing to fit: {rows} rows of {dim} dimensions")]
    NoRows {
        /// Rows given.
        rows: usize,
        /// Width of a row.
        dim: usize,
    },
    /// Rows and labels differ in number.
    #[error("got {labels} labels for {rows} rows")]
    LabelCount {
        /// Rows given.
        rows: usize,
        /// Labels given.
        labels: usize,
    },
    /// A class number beyond the number of classes.
    #[error("row {row} is of class {class}, expected a class below {classes}")]
    UnknownClass {
        /// 0-based row.
        row: usize,
        /// Its class number.
        class: usize,
        /// Number of classes.
        classes: usize,
    },
    /// No row has a label.
    #[error("no row has a label (rows read: {rows})")]
    NoLabels {
        /// Rows without one.
        rows: u64,
    },
    /// The corpus has a split, but no part of it to fit on.
    #[error("no labelled row is in the split `train`; the corpus has {}", splits.join(", "))]
    NoTrainRows {
        /// Names of the parts that labelled rows are in.
        splits: Vec<String>,
    },
    /// All rows to fit on have the same label.
    #[error("all {rows} train rows have the label `{label}`, a classifier needs two labels")]
    OneLabel {
        /// The label.
        label: String,
        /// Rows with it.
        rows: usize,
    },
    /// All rows carry one label.
    #[error("all {rows} rows are of one class, a classifier needs two")]
    OneClass {
        /// Rows given.
        rows: usize,
    },
    /// Too few rows for each class to have one.
    #[error("{rows} rows are fewer than the {classes} classes")]
    FewerRowsThanClasses {
        /// Rows given.
        rows: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A class that no row is of.
    #[error("class {class} of {classes} (counted from 0) has no rows")]
    ClassWithoutRows {
        /// The class number.
        class: usize,
        /// Number of classes.
        classes: usize,
    },
    /// NaN or infinity in a row.
    #[error("row {row} has {value} in column {column}, expected finite numbers")]
    NotFinite {
        /// 0-based row.
        row: usize,
        /// 0-based column.
        column: usize,
        /// What is there.
        value: f32,
    },
    /// Rows that tell nothing apart.
    #[error("all {rows} rows are the same vector, so nothing tells the classes apart")]
    IdenticalRows {
        /// Rows given.
        rows: usize,
    },
    /// An option out of range.
    #[error("{name} is {value}, expected a finite number above 0")]
    NotPositive {
        /// The option.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// The fit is not provably near the optimum.
    #[error(
        "logistic fit with C = {c} did not converge: after {iterations} Newton steps its coefficients may be off by a \
         share of {error:.1e}, allowed {allowed:.1e}"
    )]
    NotConverged {
        /// Inverse L2 strength.
        c: f64,
        /// Newton steps done.
        iterations: u64,
        /// Newton steps allowed.
        max_iterations: u64,
        /// Bound on the relative error of the coefficients.
        error: f64,
        /// The largest that was asked for.
        allowed: f64,
    },
    /// More folds than rows, or less than two.
    #[error("{rows} rows cannot be split into {folds} folds: 2 to {rows} are possible")]
    FoldCount {
        /// Folds asked for.
        folds: usize,
        /// Rows given.
        rows: usize,
    },
    /// No C, or no fold.
    #[error("nothing to choose from: {grid} values of C on {folds} folds")]
    NothingToChoose {
        /// Values of C.
        grid: usize,
        /// Folds.
        folds: usize,
    },
    /// A fold without rows to fit or to score on.
    #[error("fold {fold} has {train} rows to fit on and {validation} to score on, expected at least 1 of each")]
    EmptyFold {
        /// 1-based fold.
        fold: usize,
        /// Rows to fit on.
        train: usize,
        /// Rows to score on.
        validation: usize,
    },
    /// A fold that names a row that is not there.
    #[error("fold {fold} names row {row}, expected a row below {rows}")]
    FoldRow {
        /// 1-based fold.
        fold: usize,
        /// The row named.
        row: usize,
        /// Rows given.
        rows: usize,
    },
    /// A score that cannot be compared.
    #[error("the score is {value}, expected a finite number")]
    ScoreNotFinite {
        /// What the closure gave.
        value: f64,
    },
    /// A fit of the grid failed.
    #[error("fold {fold} of {folds} could not be scored with C = {c}")]
    Fold {
        /// 1-based fold.
        fold: usize,
        /// Folds in all.
        folds: usize,
        /// Inverse L2 strength.
        c: f64,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// Rows of another width than the head's.
    #[error("rows have {got} dimensions, the head was trained on {expected}")]
    RowWidth {
        /// Width of the rows.
        got: usize,
        /// Width of the coefficients.
        expected: usize,
    },
    /// The parts of a head that was built here do not fit together.
    #[error("the head cannot be built")]
    Inconsistent {
        /// Which parts.
        #[source]
        source: FileProblem,
    },
    /// The head belongs to another encoder.
    #[error("{} was trained on another encoder", .file.as_ref().map_or("the head".to_owned(), |file| format!("head `{}`", file.display())))]
    OtherEncoder {
        /// Where the head came from, if from a file.
        file: Option<PathBuf>,
        /// The first field that differs; the others follow as its sources.
        #[source]
        source: IdentityChange,
    },
    /// A file that is no head that this program can use.
    #[error("head `{}` cannot be used", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: FileProblem,
    },
    /// The file could not be read.
    #[error("head `{}` could not be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file could not be written.
    #[error("head `{}` could not be written", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

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
    #[error("its tensors are {got:?}, expected [\"coefficients\", \"intercepts\"]")]
    Tensors {
        /// Names in the file, sorted.
        got: Vec<String>,
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
    /// Coefficients that cannot do what the head is for.
    #[error("its kind is `{got}`, a head for {task} is `{expected}`")]
    Kind {
        /// What the head is for.
        task: Task,
        /// Its kind.
        got: HeadKind,
        /// The kind that does it.
        expected: HeadKind,
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
}

/// A field in which two encoders differ; further ones follow as sources, so that each prints as one cause.
#[derive(Debug, ThisError)]
#[error("{name}: {} -> {}", .from.as_deref().unwrap_or("(none)"), .to.as_deref().unwrap_or("(none)"))]
pub struct IdentityChange {
    /// The field.
    pub name: String,
    /// Its value when the head was trained.
    pub from: Option<String>,
    /// Its value now.
    pub to: Option<String>,
    /// The next field that differs.
    #[source]
    pub next: Option<Box<IdentityChange>>,
}

impl Error {
    /// The way out, where it is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotConverged { iterations, max_iterations, .. } if iterations == max_iterations => {
                Some(format!("allow more than {max_iterations} iterations, or use a smaller C"))
            }
            Self::NotConverged { .. } => Some("use a smaller C".to_owned()),
            Self::NoLabels { .. } => Some("name the field with `--label`".to_owned()),
            Self::NoTrainRows { .. } => Some("name the field that says `train` with `--split-field`".to_owned()),
            Self::OtherEncoder { .. } => Some("train it again on this bundle, or `--allow-encoder-change`".to_owned()),
            Self::File { source: FileProblem::Newer { .. }, .. } => {
                Some("use the version of offprint that wrote it, or train the head again".to_owned())
            }
            Self::Fold { source, .. } => match **source {
                Self::OneClass { .. } => {
                    Some("label at least two rows of each class, or give C instead of a grid".to_owned())
                }
                Self::NotConverged { c, .. } => Some(format!("leave C = {c} and larger ones out of the grid")),
                _ => source.hint(),
            },
            _ => None,
        }
    }
}
