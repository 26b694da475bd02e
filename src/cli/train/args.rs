//! The flags of `train`. Knows no rows: what the flags mean together is settled in `plan`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use offprint::model::Task;

use super::super::corpus_args::CorpusArgs;
use super::super::encode_args::EncodeArgs;

/// Train a head on the embeddings of labelled papers
///
/// The head is a classifier with scikit-learn's objective: of one label, of several, or a number, as the field has them.
/// Where the corpus has a split field, the head is fitted on its `train` rows alone and the others are only reported;
/// else a fifth is held out by hash: of whole groups where `--group-field` names them, of each class otherwise. What can
/// be chosen is chosen by cross-validation on the `train` rows, or on the corpus' `dev` rows.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub encode: EncodeArgs,

    #[command(flatten)]
    pub corpus: CorpusArgs,

    #[command(flatten)]
    pub labels: LabelArgs,

    #[command(flatten)]
    pub kind: KindArgs,

    #[command(flatten)]
    pub selection: SelectionArgs,

    #[command(flatten)]
    pub answers: AnswerArgs,

    /// Where the head goes
    #[arg(short, long, value_name = "HEAD", help_heading = "Output")]
    pub output: PathBuf,
}

/// What is right, and what else rows say.
#[derive(Debug, Args)]
#[command(next_help_heading = "Labels and splits")]
pub(crate) struct LabelArgs {
    /// Field with the label, the list of labels or the number; rows without one are embedded, left out and counted
    #[arg(long, value_name = "FIELD")]
    pub label: String,

    /// What stands between labels in a text that has several; a blank is any run of blanks [default: ;]
    #[arg(long, value_name = "TEXT")]
    pub label_separator: Option<String>,

    /// Field that says how much a row counts: a number of 0 or above
    #[arg(long, value_name = "FIELD")]
    pub weight_field: Option<String>,

    /// Field that names the group of a row, its source or author, say: a group is never on both sides of a fold, nor
    /// held out in part where the corpus has no split of its own
    #[arg(long, value_name = "FIELD")]
    pub group_field: Option<String>,

    /// Field that names the fold in which a row is scored
    #[arg(long, value_name = "FIELD", conflicts_with = "folds")]
    pub fold_field: Option<String>,

    /// Field with the year, or a date that begins with it, for `--split year` [default: year]
    #[arg(long, value_name = "FIELD")]
    pub year_field: Option<String>,

    /// What is held out, whatever the corpus' own split says: any rows, the same share of each class, whole groups, or the
    /// latest years [default: the corpus' split; where it has none, group with `--group-field`, else stratified]
    #[arg(long, value_name = "HOW")]
    pub split: Option<SplitName>,

    /// How much is held out where the corpus' split does not say it
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    pub split_share: f64,

    /// What a label of other rows means that no `train` row has: it counts as missed, its rows are not measured, or the run
    /// ends
    #[arg(long, value_name = "RULE", default_value = "missed")]
    pub unknown_labels: UnknownLabels,

    /// Cosine from which a row of one part counts as nearly the same as a row of another; `off` looks for the same text or
    /// vector alone
    ///
    /// A test row that `train` has, too, is remembered rather than measured, and makes figures too good. Each part is
    /// compared with those before it, `train` first; what is found stays where it is, is told as a warning and listed in
    /// the report. 0.98 finds versions of a text that differ by a few words. Vectors of an encoder that puts all texts
    /// near each other ask for more, translations and summaries for less. The search is bounded: in large parts a
    /// sample of the rows is compared, and the account says of how many.
    #[arg(long, value_name = "COSINE|off", default_value = "0.98")]
    pub near_duplicates: String,
}

/// What is fitted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Head")]
pub(crate) struct KindArgs {
    /// What is fitted [default: logistic; ridge for numbers]
    ///
    /// logistic regression, linear support vectors (svm; of numbers, their regression), ridge (of labels, on targets of
    /// -1 and 1), elastic-net (numbers only), or the nearest neighbours (knn), whose head holds all rows.
    #[arg(long, value_name = "KIND")]
    pub kind: Option<KindName>,

    /// What the head is for: classification, multilabel, regression, or auto: several labels where the field has lists,
    /// numbers where all are and some are fractions, else one label
    #[arg(long, value_name = "TASK", default_value = "auto")]
    pub task: TaskName,

    /// How logistic regression is solved: our own way, or linfa-logistic, guarded
    #[arg(long, value_name = "SOLVER", default_value = "fused")]
    pub solver: SolverName,

    /// What support vectors minimize: hinge or squared-hinge, of numbers epsilon or squared-epsilon
    /// [default: squared-hinge; epsilon]
    #[arg(long, value_name = "LOSS")]
    pub loss: Option<LossName>,

    /// Error that support vectors for numbers do not count
    #[arg(long, value_name = "E", default_value_t = 0.0, allow_negative_numbers = true)]
    pub epsilon: f64,

    /// Inverse strength of the penalty of logistic regression and support vectors, as scikit-learn's C [default: 1]
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    pub c: Option<f64>,

    /// Choose C among these on folds or the dev part; alone: 0.01,0.1,1,10,100. A grid follows `=`
    #[arg(long, value_name = "C,C,...", value_delimiter = ',', num_args = 0..=1, require_equals = true,
          default_missing_value = "0.01,0.1,1,10,100", conflicts_with = "c")]
    pub c_grid: Option<Vec<f64>>,

    /// Strength of the penalty of ridge and elastic net, as scikit-learn's alpha [default: 1; elastic net 0.001]
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true)]
    pub alpha: Option<f64>,

    /// Choose alpha among these; alone: 0.0001,0.001,0.01,0.1,1,10,100
    #[arg(long, value_name = "ALPHA,...", value_delimiter = ',', num_args = 0..=1, require_equals = true,
          default_missing_value = "0.0001,0.001,0.01,0.1,1,10,100", conflicts_with = "alpha")]
    pub alpha_grid: Option<Vec<f64>>,

    /// Share of the L1 penalty in that of elastic net
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    pub l1_ratio: f64,

    /// How many neighbours are asked [default: 5]
    #[arg(long, value_name = "K")]
    pub neighbours: Option<u32>,

    /// Choose the number of neighbours among these; alone: 1,3,5,10,20,50
    #[arg(long, value_name = "K,K,...", value_delimiter = ',', num_args = 0..=1, require_equals = true,
          default_missing_value = "1,3,5,10,20,50", conflicts_with = "neighbours")]
    pub neighbours_grid: Option<Vec<u32>>,

    /// What makes neighbours near
    #[arg(long, value_name = "METRIC", default_value = "cosine")]
    pub metric: MetricName,

    /// How much each neighbour counts: all the same, or by the inverse of its distance
    #[arg(long, value_name = "HOW", default_value = "uniform")]
    pub weights: WeightsName,

    /// How far from the optimum the head may be; one that comes no nearer is an error
    /// [default: 0.001; ridge 0.000001; elastic net 0.0000000001]
    ///
    /// Of logistic regression and ridge it bounds the distance of the coefficients, as a share of them; of support vectors
    /// the duality gap, as a share of the objective; of elastic net that gap as a share of the numbers' sum of squares,
    /// which is scikit-learn's `tol`. What was reached stands in the head file. The defaults leave labels as they are at
    /// the optimum but for near ties; for coefficients that are to be compared with another program's, 0.00001 is enough
    /// of logistic regression and 0.000000001 of support vectors.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub tolerance: Option<f64>,

    /// Fit without intercepts: decision values are products with the vectors alone
    #[arg(long)]
    pub no_intercept: bool,

    /// Let each class count the same, however many rows it has: rows are weighed, in every column of the head
    #[arg(long, value_name = "HOW")]
    pub class_weight: Option<ClassWeight>,
}

/// How a head is chosen and measured.
#[derive(Debug, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectionArgs {
    /// Folds of the cross-validation on the `train` rows, which takes the place of the corpus' dev rows [default: dev where
    /// the corpus has it, else 5]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(2..))]
    pub folds: Option<u16>,

    /// Seed of folds, resamples and shuffles
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,

    /// What is to be large: f1_macro, f1_micro, f1_weighted, accuracy, balanced_accuracy, matthews_corrcoef, roc_auc,
    /// average_precision, of numbers r2, pearson, spearman, kendalltau; or small: log_loss, of numbers rmse, mae
    /// [default: f1_macro; r2 for numbers]
    #[arg(long, value_name = "METRIC")]
    pub objective: Option<String>,

    /// Take the simplest head whose score is within one standard error of the best
    #[arg(long)]
    pub one_standard_error: bool,

    /// Also fit on 10, 20, 40, 60, 80 and 100 % of the rows, to see whether more labels would help
    #[arg(long)]
    pub learning_curve: bool,

    /// Also estimate the score with the choice of the strength inside each fold
    #[arg(long)]
    pub nested: bool,
}

/// What becomes of decision values.
#[derive(Debug, Args)]
#[command(next_help_heading = "Probabilities")]
pub(crate) struct AnswerArgs {
    /// Make probabilities true on rows that were left out: one temperature, a Platt sigmoid a label, or isotonic steps
    #[arg(long, value_name = "HOW")]
    pub calibration: Option<CalibrationName>,

    /// Choose the threshold of each label on rows that were left out: f1, precision=0.9, recall=0.9, or cost=FN:FP
    #[arg(long, value_name = "RULE")]
    pub thresholds: Option<String>,

    /// Give sets of labels of which at most this share misses the right one
    #[arg(long, value_name = "SHARE")]
    pub conformal: Option<f64>,

    /// Give no label where the largest probability is below this
    #[arg(long, value_name = "P")]
    pub abstain: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SplitName {
    Random,
    Stratified,
    Group,
    Year,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnknownLabels {
    Missed,
    LeaveOut,
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindName {
    Logistic,
    Svm,
    Ridge,
    ElasticNet,
    Knn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskName {
    Auto,
    Classification,
    Multilabel,
    Regression,
}

impl TaskName {
    /// None where the labels decide.
    pub(crate) fn task(self) -> Option<Task> {
        match self {
            Self::Auto => None,
            Self::Classification => Some(Task::Classification),
            Self::Multilabel => Some(Task::Multilabel),
            Self::Regression => Some(Task::Regression),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SolverName {
    Fused,
    Linfa,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LossName {
    Hinge,
    SquaredHinge,
    Epsilon,
    SquaredEpsilon,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MetricName {
    Cosine,
    Euclidean,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeightsName {
    Uniform,
    Distance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClassWeight {
    Balanced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CalibrationName {
    Temperature,
    Platt,
    Isotonic,
}
