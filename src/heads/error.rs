//! What can go wrong with heads: training data that is no problem to solve, fits that failed, files that are not heads.

use super::calibration::ThresholdRule;
use super::file_problem::FileProblem;
use super::kind::HeadKind;
use crate::model::Task;
use std::io;
use std::path::PathBuf;
use thiserror::Error as ThisError;

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
    /// A field of a labelled row that does not say what it has to.
    #[error("paper `{id}` has {got} as its {what}, expected {expected}")]
    RowField {
        /// The paper's id.
        id: String,
        /// What the field is for: `group`, `weight`, ...
        what: &'static str,
        /// What is there, shortened.
        got: String,
        /// What has to be there.
        expected: &'static str,
    },
    /// A share that leaves nothing to fit on, or nothing to measure on.
    #[error("the share of held-out rows is {share}, expected a number above 0 and below 1")]
    SplitShare {
        /// The share.
        share: f64,
    },
    /// Nothing can be told apart by groups or years of which there is one.
    #[error("all rows have the {what} `{name}`, and a split by {what} needs two")]
    OneGroup {
        /// `group` or `year`.
        what: &'static str,
        /// The only one; empty where there is none.
        name: String,
    },
    /// Too few rows of each class, or rows of one id, so that a share of them is none.
    #[error("a share of {share} of {rows} rows holds none out, expected a split with at least one")]
    NothingHeldOut {
        /// The share.
        share: f64,
        /// Rows with a label.
        rows: usize,
    },
    /// Several labels may be right, and no row to fit on has any.
    #[error("none of the {rows} train rows has a label")]
    NoLabelsInTrain {
        /// Rows to fit on.
        rows: usize,
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
    /// Names of groups or folds that are not one for each row.
    #[error("got {names} names of groups or folds for {rows} rows")]
    GroupNames {
        /// Names given.
        names: usize,
        /// Rows given.
        rows: usize,
    },
    /// More folds than groups, or less than two.
    #[error("rows of {groups} {} cannot be split into {folds} folds: a group is never parted", if *.groups == 1 { "group" } else { "groups" })]
    GroupCount {
        /// Folds asked for.
        folds: usize,
        /// Groups that the rows have.
        groups: usize,
    },
    /// A column that names fewer than two folds.
    #[error("{}, expected at least two folds", .name.as_ref().map_or(format!("none of {rows} rows names a fold"), |name| format!("all of {rows} rows that name a fold name `{name}`")))]
    NamedFolds {
        /// The one that is named.
        name: Option<String>,
        /// Rows given.
        rows: usize,
    },
    /// More folds asked for than anybody fits, each of which lists all rows.
    #[error("got {folds} folds of {rows} rows, expected at most {most}")]
    TooManyFolds {
        /// Folds.
        folds: usize,
        /// Rows given.
        rows: usize,
        /// Folds at most.
        most: usize,
    },
    /// A column that names more folds than anybody fits.
    #[error("the field that names folds has {folds} values in {rows} rows, expected at most {most}")]
    TooManyNamedFolds {
        /// Folds.
        folds: usize,
        /// Rows given.
        rows: usize,
        /// Folds at most.
        most: usize,
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
    /// Numbers, which have no probabilities.
    #[error("there are no labels to calibrate, a regression gives numbers")]
    NothingToCalibrate,
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
    /// NaN among decision values.
    #[error("row {row} has no decision value in column {column}, expected a number")]
    DecisionNotANumber {
        /// 0-based row.
        row: usize,
        /// 0-based column.
        column: usize,
    },
    /// A column that no fold could decide.
    #[error("column {column} has no row with a finite decision value to calibrate on")]
    NoDecisions {
        /// 0-based column.
        column: usize,
    },
    /// The log loss falls without end.
    #[error(
        "no temperature is best: {}",
        if *all_right { "all rows are decided rightly" } else { "decisions are no better than chance" }
    )]
    NoTemperature {
        /// Whether it falls towards 0, or towards infinity.
        all_right: bool,
    },
    /// The Newton iteration did not end.
    #[error("the sigmoid of column {column} did not converge")]
    NoSigmoid {
        /// 0-based column.
        column: usize,
    },
    /// Thresholds that mean nothing.
    #[error("`{rule}` chooses a threshold for each label, but each row has one of {classes} classes")]
    ThresholdsOfClasses {
        /// Number of classes.
        classes: usize,
        /// What was asked.
        rule: ThresholdRule,
    },
    /// A text that is no rule.
    #[error("`{got}` is no rule for thresholds, expected `f1`, `precision=P`, `recall=P` or `cost=MISSED:WRONG`")]
    UnknownThresholdRule {
        /// The text, shortened.
        got: String,
    },
    /// A share that is none.
    #[error("the share of sets without the right label is {value}, expected a number above 0 and below 1")]
    NoLevel {
        /// What was asked.
        value: f64,
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
    /// A fit that is not near enough to the optimum.
    #[error(
        "{kind} fit with {name} = {strength} did not converge: after {iterations} {steps} its {bound} is {reached:.1e}, \
         allowed {allowed:.1e}"
    )]
    NotOptimal {
        /// The kind.
        kind: &'static str,
        /// What its strength is called.
        name: &'static str,
        /// The strength.
        strength: f64,
        /// Steps done.
        iterations: u64,
        /// What its steps are called.
        steps: &'static str,
        /// What bounds the distance from the optimum, in words.
        bound: &'static str,
        /// Its value.
        reached: f64,
        /// The largest that was asked for.
        allowed: f64,
    },
    /// The penalty is so large that no coefficient is left.
    #[error(
        "{kind} fit with alpha = {alpha} has no coefficient but 0 for target {target}: from alpha = {none_from:.3e} on there is none"
    )]
    AllZero {
        /// The kind.
        kind: &'static str,
        /// The penalty.
        alpha: f64,
        /// 0-based target.
        target: usize,
        /// The smallest penalty that leaves no coefficient.
        none_from: f64,
    },
    /// No number is so far from 0 that it would cost a model of zeros anything.
    #[error(
        "svm fit with epsilon = {epsilon} has no coefficient but 0 for target {target}: no number is further from 0 than {largest}"
    )]
    WithinEpsilon {
        /// How far a number may be off at no cost.
        epsilon: f64,
        /// 0-based target.
        target: usize,
        /// The largest distance from 0.
        largest: f64,
    },
    /// A number of neighbours that cannot be looked up.
    #[error("n_neighbors is {asked}, expected a whole number from 1 to the {rows} rows")]
    NeighbourCount {
        /// What was asked for.
        asked: f64,
        /// Rows to choose from.
        rows: usize,
    },
    /// A share that is none.
    #[error("{name} is {value}, expected a number from 0 to 1")]
    NotAShare {
        /// The option.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// A fit on the rows of a fold failed.
    #[error("fold {fold} of {folds} could not be fitted with {name} = {strength}")]
    FoldFit {
        /// 1-based fold.
        fold: usize,
        /// Folds in all.
        folds: usize,
        /// What the strength is called.
        name: &'static str,
        /// The strength.
        strength: f64,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// linfa refused a data set.
    #[error("the data set cannot be used")]
    Linfa(#[from] linfa::Error),
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
    /// A loss that says nothing about what is to be fitted.
    #[error("the loss `{loss}` is not one for {task}")]
    LossOfOtherTask {
        /// Its name in scikit-learn.
        loss: &'static str,
        /// What was to be fitted.
        task: Task,
    },
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
            Self::NotConverged { iterations, max_iterations, .. } if iterations == max_iterations => {
                Some(format!("allow more than {max_iterations} iterations, or use a smaller C"))
            }
            Self::NotConverged { .. } => Some("use a smaller C".to_owned()),
            Self::NoLabels { .. } => Some("name the field with `--label`".to_owned()),
            Self::RowField { what: "label", .. } => Some("name what it is with `--task`".to_owned()),
            Self::NoTrainRows { .. } => Some("name the field that says `train` with `--split-field`".to_owned()),
            Self::OtherEncoder { .. } => Some("train it again on this bundle".to_owned()),
            Self::File { source: FileProblem::Newer { .. }, .. } => {
                Some("use the version of offprint that wrote it, or train the head again".to_owned())
            }
            Self::NoTemperature { all_right: true } => Some("use `platt`, whose targets are smoothed".to_owned()),
            Self::ThresholdsOfClasses { .. } => Some("use `precision=P`: rows below it get no label".to_owned()),
            Self::NotLinear { .. } => Some("use the head file beside the bundle, or train a linear kind".to_owned()),
            Self::IsotonicInGraph => {
                Some("use the head file beside the bundle, or calibrate by `platt` or `temperature`".to_owned())
            }
            Self::GroupCount { groups: 0 | 1, .. } => {
                Some("name a field that parts the rows into at least two groups".to_owned())
            }
            Self::GroupCount { groups: 2, .. } => Some("ask for 2 folds".to_owned()),
            Self::GroupCount { groups, .. } => Some(format!("ask for 2 to {groups} folds")),
            Self::OneGroup { what: "group", .. } => {
                Some("name a field that parts the rows, or hold any rows out with `--split random`".to_owned())
            }
            Self::NothingHeldOut { .. } => {
                Some("hold more out with `--split-share`, or leave `--split` out".to_owned())
            }
            Self::ClassWeightTask { .. } => Some("weight rows by a field instead".to_owned()),
            Self::NotOptimal { name: "alpha", .. } => Some("use a larger alpha".to_owned()),
            Self::AllZero { none_from, .. } => Some(format!("use an alpha well below {none_from:.3e}")),
            Self::WithinEpsilon { largest, .. } => Some(format!("use an epsilon well below {largest}")),
            Self::TooManyNamedFolds { .. } => Some(
                "name a field with a few values, or give it as `--group-field`, which keeps its rows together"
                    .to_owned(),
            ),
            Self::TooManyFolds { most, .. } => Some(format!("ask for 2 to {most} folds, 5 or 10 are usual")),
            Self::FoldFit { source, .. } => source.hint(),
            Self::Fold { source, .. } => match **source {
                Self::OneClass { .. } => {
                    Some("label at least two rows of each class, or give C instead of a grid".to_owned())
                }
                Self::NotConverged { c, .. } | Self::NotSettled { c, .. } => {
                    Some(format!("leave C = {c} and larger ones out of the grid"))
                }
                _ => source.hint(),
            },
            Self::LossOfOtherTask { task: Task::Regression, .. } => {
                Some("numbers take `epsilon_insensitive` and `squared_epsilon_insensitive`".to_owned())
            }
            Self::LossOfOtherTask { .. } => Some("classes and labels take `hinge` and `squared_hinge`".to_owned()),
            Self::NotOptimal { name: "C", .. } => Some("use a smaller C".to_owned()),
            _ => None,
        }
    }
}
