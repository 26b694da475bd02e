//! Decision values of linear models on the rows of a sample.
//!
//! Knows samples, no trainer. Invariant: all products are in f64; a row's values do not depend on how many threads work.

use ndarray::{Array2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::error::Error;
use super::rows::Rows;
use super::sample::Sample;
use super::trainer::LinearModel;

/// Rows of one product.
const BLOCK: usize = 256;

/// `x·coefficients + intercepts` for each row; coefficients are dim × outputs, whatever the outputs are.
pub(super) fn linear_decisions(sample: &Sample<'_>, coefficients: &Array2<f64>, intercepts: &[f64]) -> Array2<f64> {
    let mut decisions = Array2::zeros((sample.count(), intercepts.len()));
    let blocks: Vec<_> = decisions.axis_chunks_iter_mut(Axis(0), BLOCK).collect();
    blocks.into_par_iter().enumerate().for_each(|(block, out)| {
        decide(|row| sample.row(block * BLOCK + row), coefficients, intercepts, out);
    });
    decisions
}

fn decide<'a>(
    row: impl Fn(usize) -> &'a [f32],
    coefficients: &Array2<f64>,
    intercepts: &[f64],
    mut out: ArrayViewMut2<'_, f64>,
) {
    let mut rows = Array2::zeros((out.nrows(), coefficients.nrows()));
    for (at, mut values) in rows.rows_mut().into_iter().enumerate() {
        values.iter_mut().zip(row(at)).for_each(|(out, &value)| *out = f64::from(value));
    }
    for mut decided in out.rows_mut() {
        decided.iter_mut().zip(intercepts).for_each(|(out, &intercept)| *out = intercept);
    }
    ndarray::linalg::general_mat_mul(1.0, &rows, coefficients, 1.0, &mut out);
}

impl LinearModel {
    /// Decision values of rows, rows × columns.
    ///
    /// # Errors
    /// Rows of another width.
    pub fn decisions(&self, rows: &dyn Rows) -> Result<Array2<f64>, Error> {
        let expected = self.coefficients.ncols();
        if rows.dim() != expected {
            return Err(Error::RowWidth { got: rows.dim(), expected });
        }
        let coefficients = self.coefficients.t().as_standard_layout().into_owned();
        let mut decisions = Array2::zeros((rows.count(), self.intercepts.len()));
        let blocks: Vec<_> = decisions.axis_chunks_iter_mut(Axis(0), BLOCK).collect();
        blocks.into_par_iter().enumerate().for_each(|(block, out)| {
            decide(|row| rows.row(block * BLOCK + row), &coefficients, &self.intercepts, out);
        });
        Ok(decisions)
    }
}

/// Puts classes that the fitted sample has no row of that weighs anything below all others, as [`super::Trainer::path`]
/// promises.
pub(super) fn settle_missing_classes(fitted: &Sample<'_>, mut decisions: ArrayViewMut2<'_, f64>) {
    for class in fitted.missing_classes() {
        match (decisions.ncols(), class) {
            (1, 0) => decisions.fill(f64::INFINITY),
            (1, _) => decisions.fill(f64::NEG_INFINITY),
            _ => decisions.column_mut(class).fill(f64::NEG_INFINITY),
        }
    }
}
