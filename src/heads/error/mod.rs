//! What can go wrong with heads: training data that is no problem to solve, heads that are not the encoder's, files that
//! are not heads.
//!
//! Owns [`Error`], the one type of failures of this room, and rows, labels and files among its subjects; folds, fits,
//! sets, calibration and the content of heads have files of their own. Invariant: a message of a subject is printed as it is, and
//! a hint stands beside the messages that it is for.

mod calibration;
mod file;
mod fit;
mod folds;
mod set;

use super::kind::HeadKind;
use crate::model::Task;
pub use calibration::CalibrationError;
pub use file::FileProblem;
pub use fit::FitError;
pub use folds::FoldError;
pub use set::SetError;
use std::io;
use std::path::PathBuf;
use thiserror::Error as ThisError;

/// Failures of training, applying, saving and loading heads.
#[derive(Debug, ThisError)]
pub enum Error {
    /// Rows cannot be parted into folds, or not be fitted fold by fold.
    #[error(transparent)]
    Folds(#[from] FoldError),
    /// A kind of head cannot be fitted, or was not.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// Labelled rows make no set to fit on.
    #[error(transparent)]
    Set(#[from] SetError),
    /// Decision values cannot be turned into answers.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
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
    /// A number to fit that is the same everywhere.
    #[error("target {target} is {value} in all {rows} rows, so there is nothing to fit")]
    ConstantTarget {
        /// 0-based target.
        target: usize,
        /// Its value.
        value: f64,
        /// Rows given.
        rows: usize,
    },
    /// Weights of classes where rows are not of one class each.
    #[error("classes can be weighted only where each row is of one class, the task is {task}")]
    ClassWeightTask {
        /// What it is.
        task: Task,
    },
    /// Not a weight for each class.
    #[error("got {got} weights for {classes} classes")]
    ClassWeightCount {
        /// Weights given.
        got: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A weight that no row can have.
    #[error("row {row} weighs {value}, expected a finite number from 0")]
    Weight {
        /// 0-based row.
        row: usize,
        /// Its weight.
        value: f64,
    },
    /// Rows and weights differ in number.
    #[error("got {weights} weights for {rows} rows")]
    WeightCount {
        /// Rows given.
        rows: usize,
        /// Weights given.
        weights: usize,
    },
    /// No row counts.
    #[error("all {rows} rows weigh 0")]
    NoWeight {
        /// Rows given.
        rows: usize,
    },
    /// Decision values or answers that are not of these targets.
    #[error("{rows} rows have {got} decision values each, expected {expected}")]
    DecisionShape {
        /// Rows given.
        rows: usize,
        /// Columns given.
        got: usize,
        /// Columns of the targets.
        expected: usize,
    },
    /// A head that is no matrix product.
    #[error("a `{kind}` head has no weights that could become part of a graph")]
    NotLinear {
        /// Its kind.
        kind: HeadKind,
    },
    /// A calibration that a graph of weighted sums, softmax and sigmoid does not have.
    #[error("an isotonic calibration cannot become part of a graph")]
    IsotonicInGraph,
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
    /// A number to fit that squares cannot be summed of.
    #[error("target {target} of row {row} is {value}, expected a finite number between -1e150 and 1e150")]
    TargetValue {
        /// 0-based row.
        row: usize,
        /// 0-based target.
        target: usize,
        /// Its value.
        value: f64,
    },
    /// A share that is none.
    #[error("{name} is {value}, expected a number from 0 to 1")]
    NotAShare {
        /// The option.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// linfa refused a data set.
    #[error("the data set cannot be used")]
    Linfa(#[from] linfa::Error),
    /// An option below 0.
    #[error("{name} is {value}, expected a finite number of 0 or more")]
    Negative {
        /// The option.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// A weight that no class can have.
    #[error("class {class} has the weight {value}, expected a finite number from 0")]
    ClassWeight {
        /// Its number, from 0.
        class: usize,
        /// Its weight.
        value: f64,
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
            Self::Folds(error) => error.hint(),
            Self::Fit(error) => error.hint(),
            Self::Set(error) => error.hint(),
            Self::Calibration(error) => error.hint(),
            Self::File { source, .. } => source.hint(),
            Self::OtherEncoder { .. } => Some("train it again on this bundle".to_owned()),
            Self::NotLinear { .. } => Some("use the head file beside the bundle, or train a linear kind".to_owned()),
            Self::IsotonicInGraph => {
                Some("use the head file beside the bundle, or calibrate by `platt` or `temperature`".to_owned())
            }
            Self::ClassWeightTask { .. } => Some("weight rows by a field instead".to_owned()),
            _ => None,
        }
    }
}
