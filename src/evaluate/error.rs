//! What can go wrong in measuring predictions: numbers that do not belong together.

use std::io;

use super::objective::Objective;
use crate::heads::HeadKind;
use crate::model::Task;
use crate::{encode, heads};

/// Failures of metrics, and of the fits that are measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The head could not be fitted.
    #[error(transparent)]
    Head(#[from] heads::Error),
    /// An encoder could not be run, or not be compared.
    #[error(transparent)]
    Encoder {
        /// What it said.
        source: Box<encode::Error>,
    },
    /// The texts that encoders were to be compared on ended too early.
    #[error("the texts to compare on could not be read")]
    Texts {
        /// What the system said.
        source: io::Error,
    },
    /// A head has nothing to be measured on.
    #[error("no text has a label in `{field}` that the head knows")]
    NoKnownLabel {
        /// The field.
        field: String,
        /// The first label that it has.
        example: Option<String>,
        /// Those that the head has.
        labels: Vec<String>,
    },
    /// Truth and predictions differ in number.
    #[error("got {predicted} predictions for {truth} labels")]
    Count {
        /// True labels.
        truth: usize,
        /// Predictions.
        predicted: usize,
    },
    /// Nothing to measure.
    #[error("no predictions to measure")]
    Empty,
    /// A class number beyond the number of classes.
    #[error("row {row} has class {class}, expected a class below {classes}")]
    UnknownClass {
        /// 0-based row.
        row: usize,
        /// Its true or predicted class.
        class: usize,
        /// Number of classes.
        classes: usize,
    },
    /// Labels beyond the classifier's own, more than are told apart.
    #[error("more than {others} labels are not among the {known} of the classifier")]
    TooManyLabels {
        /// Labels of the classifier.
        known: usize,
        /// Others that are told apart.
        others: usize,
    },
    /// A number that is none.
    #[error("row {row} has the value {predicted} for {truth}, expected finite numbers")]
    NotFinite {
        /// 0-based row.
        row: usize,
        /// The right number.
        truth: f64,
        /// The predicted one.
        predicted: f32,
    },
    /// A probability outside 0 to 1.
    #[error("row {row} has a probability of {value}, expected 0 to 1")]
    Probability {
        /// 0-based row.
        row: usize,
        /// The value, as text.
        value: String,
    },
    /// A name that no objective has.
    #[error("`{name}` is no objective")]
    UnknownObjective {
        /// The name.
        name: String,
    },
    /// An objective of another task.
    #[error("`{objective}` says nothing about {task}")]
    ObjectiveTask {
        /// The objective.
        objective: Objective,
        /// The task of what was to be measured.
        task: Task,
    },
    /// An objective that goes by probabilities, of a head that has none.
    #[error("`{objective}` needs probabilities, only logistic heads have them while they are fitted")]
    NeedsLogits {
        /// The objective.
        objective: Objective,
    },
    /// An objective that goes by decision values, where only labels are given.
    #[error("`{objective}` needs decision values, only labels are given")]
    NeedsDecisions {
        /// The objective.
        objective: Objective,
    },
    /// Decision values that are not those of the targets.
    #[error("got {} × {} decision values, expected {} × {}", .got.0, .got.1, .expected.0, .expected.1)]
    DecisionShape {
        /// Rows and columns.
        got: (usize, usize),
        /// What the targets ask for.
        expected: (usize, usize),
    },
    /// A decision value that decides nothing.
    #[error("row {row} has the decision value {value} in column {column}")]
    Decision {
        /// 0-based row.
        row: usize,
        /// 0-based column.
        column: usize,
        /// The value.
        value: f64,
    },
    /// A figure that these rows don't have.
    #[error("`{objective}` is not defined on {rows} rows as these: {}", undefined(.objective))]
    Undefined {
        /// The objective.
        objective: Objective,
        /// Rows.
        rows: usize,
    },
    /// No strength, or no fold.
    #[error("nothing to choose from: {strengths} strengths on {folds} folds")]
    NothingToChoose {
        /// Strengths given.
        strengths: usize,
        /// Folds given.
        folds: usize,
    },
    /// A strength that is no number.
    #[error("{name} is {value}, expected a finite number")]
    StrengthNotFinite {
        /// What the trainer calls it.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// The one-standard-error rule with one fold.
    #[error("one fold has no standard error to choose by")]
    OneFold,
    /// A row that is scored in two folds.
    #[error("row {row} is scored in the folds {} and {}, expected once at most", .folds.0, .folds.1)]
    ScoredTwice {
        /// 0-based row.
        row: usize,
        /// 1-based folds.
        folds: (usize, usize),
    },
    /// A fold's decisions could not be scored.
    #[error("fold {fold} of {folds} could not be scored with {name} = {strength}")]
    Fold {
        /// 1-based fold.
        fold: usize,
        /// Folds in all.
        folds: usize,
        /// What the trainer calls its strengths.
        name: &'static str,
        /// The strength.
        strength: f64,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A trainer that left out a fold or a strength.
    #[error(
        "fold {fold} was not decided with {name} = {strength}; this is a bug in offprint; please report it with the lines above"
    )]
    NotDecided {
        /// 1-based fold.
        fold: usize,
        /// What the trainer calls its strengths.
        name: &'static str,
        /// The strength.
        strength: f64,
    },
    /// A resampling that says nothing.
    #[error("{resamples} resamples at a level of {level}, expected at least 2 and a level between 0 and 1")]
    Bootstrap {
        /// Resamples asked for.
        resamples: usize,
        /// Level asked for.
        level: f64,
    },
    /// Rows that are not the same on both sides.
    #[error("got {first} and {second} rows, a difference row by row needs as many")]
    NotPaired {
        /// Rows of the first side.
        first: usize,
        /// Rows of the second side.
        second: usize,
    },
    /// A share of the training rows that none can be.
    #[error("{share} of the training rows cannot be fitted on, expected a share above 0 and at most 1")]
    Share {
        /// The share.
        share: f64,
    },
    /// Facts that are not one for each row.
    #[error("got {got} {what} for {rows} rows")]
    RowFacts {
        /// `ids`, `parts`, `texts`, `groups`.
        what: &'static str,
        /// How many are given.
        got: usize,
        /// Rows given.
        rows: usize,
    },
    /// Figures of different objectives.
    #[error("`{first}` and `{second}` cannot be compared, expected one objective on both sides")]
    DifferentObjectives {
        /// Of the first side.
        first: Objective,
        /// Of the second side.
        second: Objective,
    },
    /// A cosine that no two rows can be said to be nearly the same by.
    #[error("{threshold} is no cosine of near duplicates, expected above 0 and at most 1")]
    NearThreshold {
        /// The cosine.
        threshold: f64,
    },
    /// Sets of labels where rows are not of one class each.
    #[error("sets of labels are for one label of several, and the head is for {task}")]
    SetsOfTask {
        /// What it is for.
        task: Task,
    },
    /// A least probability where rows are not of one class each.
    #[error("a head gives no label where it is unsure only if each row has one label, and the head is for {task}")]
    AbstainOfTask {
        /// What it is for.
        task: Task,
    },
    /// A least probability where answers are none.
    #[error("{least} is a probability, and a head of the kind {kind} gives scores of any size")]
    AbstainOfScores {
        /// Of the head.
        kind: HeadKind,
        /// Below which no label was to be given.
        least: f64,
    },
    /// Rows that are fitted on beside a fold, and cannot be divided once more.
    #[error("the rows beside fold {fold} of {folds} cannot be divided into folds of their own")]
    InnerFolds {
        /// 1-based outer fold.
        fold: usize,
        /// Outer folds in all.
        folds: usize,
        /// Why.
        #[source]
        source: Box<heads::Error>,
    },
    /// A label that no row to fit on has, where such are refused.
    #[error("paper `{id}` of {part} has the label `{label}`, which no train row has")]
    UnknownLabel {
        /// The paper's id.
        id: String,
        /// Its part of the split.
        part: String,
        /// Its label, or labels.
        label: String,
    },
    /// A class whose rows all weigh nothing.
    #[error("no row of train with the label `{label}` has a weight above 0")]
    Weightless {
        /// The label.
        label: String,
    },
    /// A number that answers, which are f32, cannot reach.
    #[error("paper `{id}` has {value:e} as its number, expected one between {:e} and {:e}", f32::MIN, f32::MAX)]
    BeyondAnswers {
        /// The paper's id.
        id: String,
        /// Its number.
        value: f64,
    },
    /// A part of which nothing is left to measure.
    #[error("none of the {rows} rows of {part} has a label that a train row has")]
    NothingKnown {
        /// The part.
        part: String,
        /// Its rows.
        rows: usize,
    },
    /// Figures that could not be written down.
    #[error("the figures of a head could not be turned into JSON")]
    Figures {
        /// Why.
        source: serde_json::Error,
    },
    /// Probabilities that cannot be put into bins.
    #[error("{rows} rows × {labels} labels in {bins} bins say nothing about reliability")]
    NoReliability {
        /// Rows given.
        rows: usize,
        /// Labels given.
        labels: usize,
        /// Bins asked for.
        bins: usize,
    },
    /// An answer that is no probability.
    #[error("row {row} has the answer {value}, expected a probability from 0 to 1")]
    NotAProbability {
        /// 0-based row.
        row: usize,
        /// What is there.
        value: f64,
    },
}

/// When an objective has no figure.
fn undefined(objective: &Objective) -> &'static str {
    match objective {
        Objective::RocAuc => "no class has rows that are of it and rows that are not",
        Objective::AveragePrecision => "no row has a label",
        Objective::R2 => "there are fewer than two, or they go beyond the range of numbers",
        Objective::Pearson | Objective::Spearman | Objective::KendallTau => "what is right is the same for all of them",
        Objective::Rmse | Objective::Mae => "they go beyond the range of numbers",
        _ => "no label is right or given",
    }
}

impl Error {
    /// The way out; the metrics' own errors come from callers, and a user could change nothing about them.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Head(error) => error.hint(),
            Self::Encoder { source } => source.hint(),
            Self::NoKnownLabel { field, example, labels } => {
                let known = labels.first().map_or("", String::as_str);
                let has = example.as_ref().map_or_else(String::new, |example| format!("; `{field}` has `{example}`"));
                Some(format!("`--label` names a field with labels such as `{known}`{has}"))
            }
            Self::UnknownObjective { .. } => Some(format!("choose one of {}", names(|_| true))),
            Self::ObjectiveTask { task, .. } => {
                Some(format!("choose one of {}", names(|objective| objective.serves(*task))))
            }
            Self::Undefined { objective: Objective::RocAuc | Objective::AveragePrecision, .. } => {
                Some("measure more rows, or by `f1_macro`".to_owned())
            }
            Self::OneFold => Some("use two folds or more, or choose the best strength".to_owned()),
            Self::Fold { source, .. } => source.hint(),
            Self::NeedsLogits { .. } => Some("choose by another objective, or fit `--kind logistic`".to_owned()),
            Self::AbstainOfScores { .. } => Some("`--calibration platt` makes probabilities of them".to_owned()),
            Self::InnerFolds { .. } => {
                Some("leave `--nested` out, or give more groups or at least three named folds".to_owned())
            }
            Self::Weightless { .. } => Some("give some of its rows a weight, or take them out".to_owned()),
            Self::BeyondAnswers { .. } => Some("divide the numbers by a common factor".to_owned()),
            Self::UnknownLabel { .. } | Self::NothingKnown { .. } => {
                Some("`--unknown-labels missed` counts such labels as missed".to_owned())
            }
            _ => None,
        }
    }
}

fn names(which: impl Fn(Objective) -> bool) -> String {
    let names: Vec<&str> =
        Objective::ALL.into_iter().filter(|&objective| which(objective)).map(Objective::name).collect();
    names.join(", ")
}

impl From<encode::Error> for Error {
    fn from(source: encode::Error) -> Self {
        Self::Encoder { source: Box::new(source) }
    }
}
