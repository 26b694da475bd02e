//! What can go wrong in measuring predictions: numbers that do not belong together.

/// Failures of metrics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
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
    /// A probability outside 0 to 1.
    #[error("row {row} has a probability of {value}, expected 0 to 1")]
    Probability {
        /// 0-based row.
        row: usize,
        /// The value, as text.
        value: String,
    },
}

impl Error {
    /// These come from callers, not from users: there is nothing that a user could change.
    pub fn hint(&self) -> Option<String> {
        None
    }
}
