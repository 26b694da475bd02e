//! From decision values of rows that were left out to answers that can be trusted: probabilities that mean what they
//! say, thresholds, sets of labels that hold the right one.
//!
//! Knows no model and no file. Invariant: what is fitted here has seen decision values of rows that the model was not
//! fitted on, if the caller gives such; a value that is not finite stands for a class that a fold lacked, and is left out
//! of a fit by a stated rule.

mod conformal;
mod isotonic;
mod platt;
mod temperature;
mod thresholds;

use std::fmt;
use std::str::FromStr;

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::error::{CalibrationError, Error, FileProblem};
use super::head_file::shortened;
use super::trainer::Targets;

pub use isotonic::Steps;
pub use thresholds::{Answered, ChosenThreshold, ThresholdRule, choose_abstention, choose_thresholds};

/// How decision values become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalibrationMethod {
    /// One number that all decision values are divided by, before softmax or sigmoid.
    Temperature,
    /// A slope and an intercept for each column, then the sigmoid.
    Platt,
    /// A rising function for each column, of any shape.
    Isotonic,
}

impl fmt::Display for CalibrationMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Temperature => "temperature",
            Self::Platt => "platt",
            Self::Isotonic => "isotonic",
        })
    }
}

impl FromStr for CalibrationMethod {
    type Err = FileProblem;

    fn from_str(text: &str) -> Result<Self, FileProblem> {
        let expected = "`temperature`, `platt` or `isotonic`";
        let known = [Self::Temperature, Self::Platt, Self::Isotonic].into_iter().find(|way| way.to_string() == text);
        known.ok_or_else(|| FileProblem::Value { key: "calibration", got: shortened(text), expected })
    }
}

/// A fitted calibration. Of several classes, the columns of Platt and isotonic calibrations are brought to the sum 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase", deny_unknown_fields)]
pub enum Calibration {
    /// Softmax, or sigmoid where there is one column or several labels, of the decision values over this number.
    Temperature {
        /// Above 0. For two classes half of what it is over their logits (-x, x).
        temperature: f64,
    },
    /// The sigmoid of `slope · value + intercept`, column by column.
    Platt {
        /// One for each column.
        slopes: Vec<f64>,
        /// One for each column.
        intercepts: Vec<f64>,
    },
    /// Linear between points, column by column.
    Isotonic {
        /// One for each column.
        columns: Vec<Steps>,
    },
}

/// Decision values with what is right.
#[derive(Clone, Copy)]
pub struct Decided<'a> {
    /// Rows × columns, as [`super::Trainer::path`] gives them. Infinite where a fold's training rows lacked the class.
    pub decisions: ArrayView2<'a, f64>,
    /// Classes or labels, as many as rows.
    pub targets: &'a Targets,
    /// How much each row counts; all count 1 where there are none.
    pub weights: Option<&'a [f64]>,
}

impl<'a> Decided<'a> {
    /// Refuses what cannot be calibrated on.
    ///
    /// # Errors
    /// Numbers instead of classes or labels, counts that differ, no rows, and values that are no number.
    pub fn check(&self) -> Result<(), Error> {
        let (rows, columns) = self.decisions.dim();
        if matches!(self.targets, Targets::Numbers(_)) {
            return Err(CalibrationError::NothingToCalibrate.into());
        }
        if self.targets.rows() != rows || self.weights.is_some_and(|weights| weights.len() != rows) {
            return Err(Error::LabelCount { rows, labels: self.targets.rows() });
        }
        if rows == 0 || columns != self.targets.columns() {
            return Err(Error::DecisionShape { rows, got: columns, expected: self.targets.columns() });
        }
        match self.decisions.indexed_iter().find(|(_, value)| value.is_nan()) {
            Some(((row, column), _)) => Err(CalibrationError::DecisionNotANumber { row, column }.into()),
            None => Ok(()),
        }
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[row])
    }

    /// One column as values, whether the row has its label, and weights; rows with an infinite value are left out.
    fn column(&self, column: usize) -> Vec<(f64, bool, f64)> {
        let value = |row: usize| (self.decisions[[row, column]], self.targets.has(row, column), self.weight(row));
        let values = (0..self.decisions.nrows()).map(value);
        values.filter(|(value, _, weight)| value.is_finite() && *weight > 0.0).collect()
    }
}

impl Targets {
    /// Whether the label of this column of decision values is right for the row. The one column of two classes is that
    /// of the second.
    fn has(&self, row: usize, column: usize) -> bool {
        match self {
            Self::Classes { of, classes: 2 } => of[row] == 1,
            Self::Classes { of, .. } => of[row] == column,
            Self::Labels { of, .. } => of[row].binary_search(&column).is_ok(),
            Self::Numbers(_) => false,
        }
    }
}

impl Calibration {
    /// Fits a calibration as scikit-learn's `CalibratedClassifierCV(method, ensemble=False)` does. Of several labels,
    /// one temperature is for all of them, and Platt and isotonic calibrations are for each by itself.
    ///
    /// A row that no fold could decide, since its training rows lacked the right class, is left out.
    ///
    /// # Errors
    /// What [`Decided::check`] refuses; a temperature that has no optimum, since all rows are decided rightly or none is
    /// better than by chance.
    pub fn fit(method: CalibrationMethod, decided: &Decided<'_>) -> Result<Self, Error> {
        decided.check()?;
        let columns = 0..decided.decisions.ncols();
        Ok(match method {
            CalibrationMethod::Temperature => Self::Temperature { temperature: temperature::fit(decided)? },
            CalibrationMethod::Platt => {
                let fits = columns.map(|column| platt::fit(column, &decided.column(column)));
                let (slopes, intercepts) = fits.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
                Self::Platt { slopes, intercepts }
            }
            CalibrationMethod::Isotonic => {
                let fits = columns.map(|column| Steps::fit(column, decided.column(column)));
                Self::Isotonic { columns: fits.collect::<Result<_, _>>()? }
            }
        })
    }

    /// How it was fitted.
    pub fn method(&self) -> CalibrationMethod {
        match self {
            Self::Temperature { .. } => CalibrationMethod::Temperature,
            Self::Platt { .. } => CalibrationMethod::Platt,
            Self::Isotonic { .. } => CalibrationMethod::Isotonic,
        }
    }

    /// Whether it fits decision values with so many columns, and has nothing that no fit can give.
    pub(super) fn check(&self, columns: usize) -> Result<(), FileProblem> {
        let count = |key, got| {
            if got == columns { Ok(()) } else { Err(FileProblem::Columns { key, got, columns }) }
        };
        let all_finite = |key, values: &[f64]| match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            Some((position, &value)) => Err(FileProblem::Number { key, position, value, expected: "a finite number" }),
            None => Ok(()),
        };
        match self {
            Self::Temperature { temperature } if !(temperature.is_finite() && *temperature > 0.0) => {
                let expected = "a finite number above 0";
                Err(FileProblem::Number { key: "calibration.temperature", position: 0, value: *temperature, expected })
            }
            Self::Temperature { .. } => Ok(()),
            Self::Platt { slopes, intercepts } => {
                count("calibration.slopes", slopes.len())?;
                count("calibration.intercepts", intercepts.len())?;
                all_finite("calibration.slopes", slopes)?;
                all_finite("calibration.intercepts", intercepts)
            }
            Self::Isotonic { columns } => {
                count("calibration.columns", columns.len())?;
                columns.iter().try_for_each(Steps::check)
            }
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
