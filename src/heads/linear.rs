//! Decision values of a linear model. Invariant: sums run in a fixed order, so that a row has the same bits whatever rows
//! are beside it and however many threads there are.

use ndarray::{Array2, ArrayView2};

use super::trainer::LinearModel;

/// `rows·coefficientsᵀ + intercepts` in f64, rows × columns. Rows are as wide as the coefficients.
pub(super) fn decide(linear: &LinearModel, rows: ArrayView2<'_, f32>) -> Array2<f64> {
    let coefficients = linear.coefficients.as_standard_layout();
    let mut decisions = Array2::zeros((rows.nrows(), linear.intercepts.len()));
    let mut wide = vec![0.0; rows.ncols()];
    for (row, mut out) in rows.rows().into_iter().zip(decisions.rows_mut()) {
        wide.iter_mut().zip(row).for_each(|(out, &value)| *out = f64::from(value));
        for ((out, weights), intercept) in out.iter_mut().zip(coefficients.rows()).zip(&linear.intercepts) {
            *out = intercept + dot(&wide, weights.to_slice().expect("the coefficients are in standard layout"));
        }
    }
    decisions
}

/// Eight running sums, so that the compiler may use vector registers without changing the order.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}
