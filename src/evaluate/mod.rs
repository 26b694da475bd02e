//! Measures predictions against the truth.
//!
//! Knows numbers and class numbers; where they come from is the caller's business. May use `heads`, never the other way.
//! Invariant: metrics have scikit-learn's names and definitions, a division by zero counts as 0.

mod error;
mod fitting;
mod fused;
mod metrics;

pub use error::Error;
pub use fitting::{Choice, Fitting, PartReport, Strength, fit_and_measure, measure_names};
pub use fused::{FUSED_TOLERANCE, FusedAgreement, HeadAgreement, fused_agreement};
pub use metrics::{ClassFigures, Classification, accuracy, classification, f1_macro, log_loss};
