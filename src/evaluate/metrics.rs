//! Classification metrics as scikit-learn defines them, from class numbers and probabilities.
//!
//! Knows no labels' names. Invariant: all figures come from one confusion matrix, so they agree with each other.

use ndarray::{Array2, ArrayView2};
use serde::Serialize;

use super::error::Error;

/// Figures of one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClassFigures {
    /// Share of the rows predicted as this class that are of it; 0 when none is predicted.
    pub precision: f64,
    /// Share of the rows of this class that are predicted as it; 0 when there are none.
    pub recall: f64,
    /// Harmonic mean of both; 0 when there is neither.
    pub f1: f64,
    /// Rows of this class.
    pub support: u64,
}

impl ClassFigures {
    /// Of a class that was hit so often, has `support` rows and was predicted so often.
    pub(super) fn of(hits: u64, support: u64, predicted: u64) -> Self {
        let (precision, recall) = (share(hits, predicted), share(hits, support));
        Self { precision, recall, f1: share(2 * hits, support + predicted), support }
    }
}

/// What a classifier's predictions are worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Classification {
    /// Rows measured.
    pub rows: u64,
    /// Share of rows predicted right.
    pub accuracy: f64,
    /// Mean F1 over the classes that appear in the truth or the predictions.
    pub f1_macro: f64,
    /// One per class, in order of their numbers; a class that does not appear has zeros.
    pub per_class: Vec<ClassFigures>,
    /// Row: the true class; column: the predicted one.
    pub confusion: Vec<Vec<u64>>,
}

/// Measures predicted class numbers, each below `classes`.
///
/// # Errors
/// No rows, counts that differ, a class number out of range.
pub fn classification(truth: &[usize], predicted: &[usize], classes: usize) -> Result<Classification, Error> {
    if truth.len() != predicted.len() {
        return Err(Error::Count { truth: truth.len(), predicted: predicted.len() });
    }
    if truth.is_empty() {
        return Err(Error::Empty);
    }
    let mut confusion = Array2::<u64>::zeros((classes, classes));
    for (row, (&truth, &predicted)) in truth.iter().zip(predicted).enumerate() {
        let class = truth.max(predicted);
        if class >= classes {
            return Err(Error::UnknownClass { row, class, classes });
        }
        confusion[[truth, predicted]] += 1;
    }
    let per_class: Vec<ClassFigures> = (0..classes).map(|class| figures(&confusion, class)).collect();
    let appearing: Vec<f64> = (0..classes)
        .filter(|&class| confusion.row(class).sum() + confusion.column(class).sum() > 0)
        .map(|class| per_class[class].f1)
        .collect();
    Ok(Classification {
        rows: truth.len() as u64,
        accuracy: share(confusion.diag().sum(), truth.len() as u64),
        f1_macro: appearing.iter().sum::<f64>() / appearing.len() as f64,
        per_class,
        confusion: confusion.rows().into_iter().map(|row| row.to_vec()).collect(),
    })
}

fn figures(confusion: &Array2<u64>, class: usize) -> ClassFigures {
    ClassFigures::of(confusion[[class, class]], confusion.row(class).sum(), confusion.column(class).sum())
}

/// 0 of nothing.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Share of equal pairs: the score to choose C by. Of slices of different length the longer one's rest counts as wrong,
/// of empty ones the result is 0.
pub fn accuracy(truth: &[usize], predicted: &[usize]) -> f64 {
    let hits = truth.iter().zip(predicted).filter(|(truth, predicted)| truth == predicted).count();
    share(hits as u64, truth.len().max(predicted.len()) as u64)
}

/// Mean F1 over the classes that appear in either slice: the score to choose C by. 0 where [`classification`] refuses.
pub fn f1_macro(truth: &[usize], predicted: &[usize]) -> f64 {
    let classes = truth.iter().chain(predicted).max().map_or(0, |largest| largest + 1);
    classification(truth, predicted, classes).map_or(0.0, |measured| measured.f1_macro)
}

/// Mean negative log probability of the true class, in nats; probabilities (rows × classes, f32) are kept 2⁻²³ away from
/// 0 and 1, as scikit-learn does for f32.
///
/// # Errors
/// No rows, counts that differ, a class number out of range, a probability that is none.
pub fn log_loss(truth: &[usize], probabilities: ArrayView2<'_, f32>) -> Result<f64, Error> {
    if truth.len() != probabilities.nrows() {
        return Err(Error::Count { truth: truth.len(), predicted: probabilities.nrows() });
    }
    if truth.is_empty() {
        return Err(Error::Empty);
    }
    let classes = probabilities.ncols();
    let mut sum = 0.0;
    for (row, (&class, probabilities)) in truth.iter().zip(probabilities.rows()).enumerate() {
        let Some(&value) = probabilities.get(class) else {
            return Err(Error::UnknownClass { row, class, classes });
        };
        if !(0.0..=1.0).contains(&value) {
            return Err(Error::Probability { row, value: value.to_string() });
        }
        sum -= f64::from(value.clamp(f32::EPSILON, 1.0 - f32::EPSILON)).ln();
    }
    Ok(sum / truth.len() as f64)
}
