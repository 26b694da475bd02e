//! Sets of labels that hold the right one with a stated probability: the labels that are probable enough (Sadinle, Lei,
//! Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", 2019).
//! Invariant: of the rows that it was fitted on, no more than the stated share have a set without their label.

use ndarray::ArrayView2;

use super::super::error::{CalibrationError, Error};
use crate::model::Conformal;

impl Conformal {
    /// Fits answers (rows × labels, probabilities or scores) of rows with these classes. With n rows, `least` is the
    /// answer for the right label that is the ⌈(n + 1)(1 - alpha)⌉-th of them, from the greatest down.
    ///
    /// Fitted on rows that neither the model nor its calibration was fitted on, sets of new rows like them hold the right
    /// label with a probability of at least `1 - alpha` (split conformal prediction). Fitted on the pooled rows of a
    /// cross-validation, whose models saw fewer rows than the head, they do so in practice, without a proof.
    ///
    /// # Errors
    /// A level that is none, no rows, counts that differ, a class without a column, and answers that are no numbers.
    pub fn fit(answers: ArrayView2<'_, f64>, classes: &[usize], alpha: f64) -> Result<Self, Error> {
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(CalibrationError::NoLevel { value: alpha }.into());
        }
        let (rows, columns) = answers.dim();
        if rows != classes.len() || rows == 0 {
            return Err(Error::LabelCount { rows, labels: classes.len() });
        }
        let mut of_right = Vec::with_capacity(rows);
        for (row, &class) in classes.iter().enumerate() {
            let answer = answers.get((row, class)).ok_or(Error::UnknownClass { row, class, classes: columns })?;
            if answer.is_nan() {
                return Err(CalibrationError::DecisionNotANumber { row, column: class }.into());
            }
            of_right.push(*answer);
        }
        of_right.sort_by(|a, b| b.total_cmp(a));
        let least = of_right.get(rank(rows, alpha) - 1).copied();
        // A class that a fold lacked has no least answer: all labels are in the set.
        let least = least.filter(|least| least.is_finite());
        Ok(Self { alpha, least, rows: rows as u64 })
    }
}

/// ⌈(n + 1)(1 - alpha)⌉, where rounding does not push a whole number up.
fn rank(rows: usize, alpha: f64) -> usize {
    let exact = (rows as f64 + 1.0) * (1.0 - alpha);
    let nearest = exact.round();
    let rank = if (exact - nearest).abs() < 1e-9 * exact { nearest } else { exact.ceil() };
    rank.max(1.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_at_whole_numbers() {
        assert_eq!([9, 10, 19, 99].map(|rows| rank(rows, 0.1)), [9, 10, 18, 90]);
        assert_eq!((rank(8, 0.1), rank(1, 0.5), rank(3, 0.999_999)), (9, 1, 1));
    }
}
