//! Measures predictions against the truth.
//!
//! Knows numbers and class numbers; where they come from is the caller's business. May use `heads`, never the other way.
//! Invariant: metrics have scikit-learn's names and definitions, a division by zero counts as 0.

mod answers;
mod bootstrap;
mod error;
mod fitting;
mod fused;
mod group_gap;
mod histogram;
mod leaks;
mod learning_curve;
mod metrics;
mod nested;
mod objective;
mod quality;
mod regression;
mod reliability;
mod selection;
#[cfg(test)]
mod stub_trainer;
mod tally;

pub use bootstrap::{Bootstrap, Interval, bootstrap_interval, difference_interval};
pub use error::Error;
pub use fitting::{
    AnswerPlan, Choice, Figure, FitPlan, Fitting, GivenAnswer, MeasuredPart, Mistake, PartFigures, PartReport,
    PlaneMap, PrecisionRecall, Quality, SeenGroups, SettledAnswers, UnknownRule, fit_and_measure, plane_map,
    precision_recall, worst_mistakes,
};
pub use fused::{FUSED_TOLERANCE, FusedAgreement, HeadAgreement, fused_agreement};
pub use group_gap::{GroupGap, group_gap};
pub use histogram::{Bin, Histogram, MOST_BINS};
pub use leaks::{LeakOptions, LeakRows, Leaks, LeaksOfParts, Twin, find_leaks};
pub use learning_curve::{LearningCurve, LearningPoint, learning_curve};
pub use metrics::{ClassFigures, Classification, accuracy, classification, f1_macro, log_loss};
pub use nested::{NestedEstimate, NestedFold, nested_estimate};
pub use objective::{CutPoint, Given, Objective, Scale, Scorer, average_precision, cut_points, roc_auc};
pub use quality::{LabelledText, QualityJob, head_quality, measure_quality};
pub use regression::{MOST_RANKED, Regression, RegressionTally};
pub use reliability::{RELIABILITY_BINS, Reliability, ReliabilityBin, reliability};
pub use selection::{ChosenStrength, OutOfFold, Rule, Search, StrengthPoint, choose_strength};
pub use tally::{LabelTally, MOST_CONFUSED, MOST_OTHER_LABELS, SeveralReport, SeveralTally};

/// The rows as they lie in memory.
fn view(matrix: &crate::runtime::EmbeddingMatrix) -> ndarray::ArrayView2<'_, f32> {
    ndarray::ArrayView2::from_shape((matrix.rows, matrix.dim), &matrix.data).expect("a matrix has rows × dim numbers")
}
