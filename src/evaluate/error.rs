//! What can go wrong in measuring predictions: numbers that do not belong together.

use std::io;

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
            _ => None,
        }
    }
}

impl From<encode::Error> for Error {
    fn from(source: encode::Error) -> Self {
        Self::Encoder { source: Box::new(source) }
    }
}
