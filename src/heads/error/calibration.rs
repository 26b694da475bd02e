//! What can go wrong between decision values and answers: calibrations, thresholds and sets.
//!
//! Knows columns and rules, no heads and no files. Invariant: a message names the row or column that it is about.

use thiserror::Error as ThisError;

use super::super::calibration::ThresholdRule;

/// Why decision values cannot be turned into answers.
#[derive(Debug, ThisError)]
pub enum CalibrationError {
    /// Numbers, which have no probabilities.
    #[error("there are no labels to calibrate, a regression gives numbers")]
    NothingToCalibrate,
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
}

impl CalibrationError {
    /// The way out, where it is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTemperature { all_right: true } => Some("use `platt`, whose targets are smoothed".to_owned()),
            Self::ThresholdsOfClasses { .. } => Some("use `precision=P`: rows below it get no label".to_owned()),
            _ => None,
        }
    }
}
