//! What can go wrong with heads: training data that is no problem to solve, fits that failed, files that are not heads.

use std::io;
use std::path::PathBuf;

use thiserror::Error as ThisError;

use super::file_problem::FileProblem;
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
    /// Not as many numbers as a matrix of that shape has.
    #[error("{values} numbers are not {rows} rows of {dim} dimensions")]
    MatrixSize {
        /// Numbers given.
        values: usize,
        /// Rows asked for.
        rows: usize,
        /// Width of a row asked for.
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
        "logistic fit with C = {c} did not converge: after {iterations} steps its coefficients may be off by a \
         share of {error:.1e}, allowed {allowed:.1e}"
    )]
    NotConverged {
        /// Inverse L2 strength.
        c: f64,
        /// Steps done.
        iterations: u64,
        /// Steps allowed.
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
    /// The head is for vectors of another length.
    #[error("{} is for vectors of {expected} numbers, the encoder gives {got}", .file.as_ref().map_or("the head".to_owned(), |file| format!("head `{}`", file.display())))]
    OtherDimension {
        /// Where the head came from, if from a file.
        file: Option<PathBuf>,
        /// Numbers of the encoder's vectors.
        got: usize,
        /// Numbers that the head was trained on.
        expected: usize,
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
    /// A kind of head that does not do this task.
    #[error("a head of kind `{kind}` cannot be fitted for {task}: {why}")]
    NotForTask {
        /// The kind.
        kind: &'static str,
        /// What was asked of it.
        task: Task,
        /// What it does instead.
        why: &'static str,
    },
    /// Rows and weights differ in number.
    #[error("got {weights} weights for {rows} rows")]
    WeightCount {
        /// Rows given.
        rows: usize,
        /// Weights given.
        weights: usize,
    },
    /// A weight that no row can have.
    #[error("row {row} weighs {value}, expected a finite number from 0")]
    Weight {
        /// 0-based row.
        row: usize,
        /// Its weight.
        value: f64,
    },
    /// No row counts.
    #[error("all {rows} rows weigh 0")]
    NoWeight {
        /// Rows given.
        rows: usize,
    },
    /// A kind of head that has no use for weights.
    #[error("a head of kind `{kind}` cannot weigh rows")]
    WeightsNotTaken {
        /// The kind.
        kind: &'static str,
    },
    /// A label number beyond the number of labels.
    #[error("row {row} has label {label}, expected a label below {labels}")]
    UnknownLabel {
        /// 0-based row.
        row: usize,
        /// The label number.
        label: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A fit that only chooses is not near its optimum.
    #[error(
        "logistic fit with C = {c} did not settle: after {iterations} steps its loss may still fall by {decrement:.1e} nats \
         a row, allowed {allowed:.1e}"
    )]
    NotSettled {
        /// Inverse L2 strength.
        c: f64,
        /// Steps done.
        iterations: u64,
        /// What the loss may still fall by, in nats a row.
        decrement: f64,
        /// The largest that is allowed.
        allowed: f64,
    },
    /// linfa refused a data set.
    #[error("the data set cannot be used")]
    Linfa(#[from] linfa::Error),
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
            Self::OtherEncoder { .. } => Some("train it again on this bundle".to_owned()),
            Self::File { source: FileProblem::Newer { .. }, .. } => {
                Some("use the version of offprint that wrote it, or train the head again".to_owned())
            }
            Self::Fold { source, .. } => match **source {
                Self::OneClass { .. } => {
                    Some("label at least two rows of each class, or give C instead of a grid".to_owned())
                }
                Self::NotConverged { c, .. } | Self::NotSettled { c, .. } => {
                    Some(format!("leave C = {c} and larger ones out of the grid"))
                }
                _ => source.hint(),
            },
            _ => None,
        }
    }
}
