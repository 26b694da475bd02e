//! Decision values of a linear model. Invariant: sums run in a fixed order, so that a row has the same bits whatever rows
//! are beside it and however many threads there are.

use ndarray::{Array2, ArrayView2};

use super::arithmetic::dot;

/// `rows·coefficientsᵀ + intercepts` in f64, rows × columns. Rows are as wide as the coefficients.
pub(super) fn decide((coefficients, intercepts): (&Array2<f64>, &[f64]), rows: ArrayView2<'_, f32>) -> Array2<f64> {
    let coefficients = coefficients.as_standard_layout();
    let mut decisions = Array2::zeros((rows.nrows(), intercepts.len()));
    let mut wide = vec![0.0; rows.ncols()];
    for (row, mut out) in rows.rows().into_iter().zip(decisions.rows_mut()) {
        wide.iter_mut().zip(row).for_each(|(out, &value)| *out = f64::from(value));
        for ((out, weights), intercept) in out.iter_mut().zip(coefficients.rows()).zip(intercepts) {
            *out = intercept + dot(&wide, weights.to_slice().expect("the coefficients are in standard layout"));
        }
    }
    decisions
}
