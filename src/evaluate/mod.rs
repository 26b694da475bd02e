//! Measures predictions against the truth.
//!
//! Knows numbers and class numbers; where they come from is the caller's business. May use `heads`, never the other way.
//! Invariant: metrics have scikit-learn's names and definitions, a division by zero counts as 0.

mod answers;
mod error;
mod fitting;
mod fused;
mod histogram;
mod metrics;
mod quality;
mod regression;
mod reliability;
mod tally;

pub use error::Error;
pub use fitting::{Choice, Fitting, PartReport, Strength, fit_and_measure};
pub use fused::{FUSED_TOLERANCE, FusedAgreement, HeadAgreement, fused_agreement};
pub use histogram::{Bin, Histogram, MOST_BINS};
pub use metrics::{ClassFigures, Classification, accuracy, classification, f1_macro, log_loss};
pub use quality::{LabelledText, QualityJob, head_quality, measure_quality};
pub use regression::{MOST_RANKED, Regression, RegressionTally};
pub use reliability::{RELIABILITY_BINS, Reliability, ReliabilityBin, reliability};
pub use tally::{LabelTally, MOST_CONFUSED, MOST_OTHER_LABELS, SeveralReport, SeveralTally};

/// The rows as they lie in memory.
fn view(matrix: &crate::runtime::EmbeddingMatrix) -> ndarray::ArrayView2<'_, f32> {
    ndarray::ArrayView2::from_shape((matrix.rows, matrix.dim), &matrix.data).expect("a matrix has rows × dim numbers")
}
