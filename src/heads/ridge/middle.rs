//! Rows about their mean: intercepts, and what one pass over the rows says about coefficients.
//!
//! Knows no factorization. Invariant: what a fit is judged by is summed in f64 over the rows as they came in, in an order
//! that depends on their number alone.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, s};

use crate::heads::arithmetic::dot;
use crate::heads::kernel::{Work, on_widest_registers};
use crate::heads::moments::{Normal, in_order, segments};
use crate::heads::sample::{Origin, Sample};

/// Rows per f64 block of a pass over all rows.
const BLOCK: usize = 256;

/// Coefficients whose decision values are all below this share of the target are 0.
const NO_COEFFICIENTS: f64 = 1e-9;

/// The mean, and how far rows and targets are from it.
pub(super) struct Middle {
    pub mean: Origin,
    /// Root of the sum of squares of the centred rows, and of each centred target.
    pub row_norm: f64,
    pub target_norms: Vec<f64>,
}

/// What a pass over the rows says about coefficients.
pub(super) struct Judged {
    /// Half of the negative gradient of the objective, dim × columns.
    pub downhill: Array2<f64>,
    /// Sum over the columns of squared residuals, each row with its weight, without the penalty.
    pub residual_squares: f64,
    /// The bound of the gradient on the relative distance of each column's coefficients from the optimum, the largest:
    /// the objective is strongly convex, so no column is farther off than |half gradient| / alpha.
    pub error: f64,
}

impl Middle {
    /// The middle of what sums are about.
    pub fn of(normal: &Normal) -> Self {
        let target_norms = normal.squares.iter().map(|square| square.sqrt()).collect();
        Self { mean: normal.mean.clone(), row_norm: normal.gram.diag().sum().sqrt(), target_norms }
    }

    /// Intercepts that belong to coefficients (dim × columns), columns repeating as often as there are strengths.
    pub fn intercepts(&self, coefficients: &Array2<f64>) -> Vec<f64> {
        let targets = self.mean.target.iter().cycle();
        let row = ArrayView1::from(&self.mean.row);
        coefficients.columns().into_iter().zip(targets).map(|(column, mean)| mean - row.dot(&column)).collect()
    }

    /// One pass over the rows as they came in, in f64.
    pub fn judge(&self, sample: &Sample<'_>, coefficients: &Array2<f64>, alpha: f64) -> Judged {
        let mut downhill = coefficients * -alpha;
        let mut residual_squares = 0.0;
        let work = |rows| {
            if coefficients.ncols() == 1 {
                let weights = coefficients.column(0).to_vec();
                return on_widest_registers(OneColumn { sample, mean: &self.mean, weights: &weights, rows });
            }
            let (mut downhill, mut squares) = (Array2::zeros(coefficients.raw_dim()), 0.0);
            for range in segments(rows, BLOCK) {
                squares += judge_block(&sample.block(range, &self.mean), coefficients, &mut downhill);
            }
            (downhill, squares)
        };
        in_order((sample.count(), 8 * coefficients.len()), work, |(part, squares)| {
            downhill += &part;
            residual_squares += squares;
        });
        let error = self.error(coefficients, &downhill, alpha);
        Judged { downhill, residual_squares, error }
    }

    fn error(&self, coefficients: &Array2<f64>, downhill: &Array2<f64>, alpha: f64) -> f64 {
        let norm = |column: ArrayView1<'_, f64>| column.dot(&column).sqrt();
        let mut largest = 0.0_f64;
        for (column, target_norm) in self.target_norms.iter().enumerate() {
            let far = norm(downhill.column(column)) / alpha;
            let size = norm(coefficients.column(column)).max(NO_COEFFICIENTS * target_norm / self.row_norm);
            // Nothing over nothing is a target that does not vary.
            let share = if far == 0.0 { 0.0 } else { far / size };
            if share > largest || share.is_nan() {
                largest = share;
            }
        }
        largest
    }
}

/// Adds a block's part of the half negative gradient, and gives its sum of squared residuals.
fn judge_block(both: &Array2<f64>, coefficients: &Array2<f64>, downhill: &mut Array2<f64>) -> f64 {
    let dim = coefficients.nrows();
    let (rows, targets) = (both.slice(s![.., ..dim]), both.slice(s![.., dim..]));
    let residuals = &targets - &rows.dot(coefficients);
    general_mat_mul(1.0, &rows.t(), &residuals, 1.0, downhill);
    residuals.iter().map(|value| value * value).sum()
}

/// The same of some rows where there is one column: no product of matrices, so nothing is copied but one row.
struct OneColumn<'s, 'a> {
    sample: &'s Sample<'a>,
    mean: &'s Origin,
    weights: &'s [f64],
    rows: Range<usize>,
}

impl Work for OneColumn<'_, '_> {
    type Output = (Array2<f64>, f64);

    #[inline(always)]
    fn run(self) -> (Array2<f64>, f64) {
        let Self { sample, mean, weights, rows } = self;
        let dim = weights.len();
        let (mut downhill, mut squares, mut target) = (vec![0.0; dim], 0.0, [0.0]);
        let (mut centred, shift) = (vec![0.0; dim], mean.row.as_slice());
        for position in rows {
            let row = sample.row(position);
            for ((out, &value), shift) in centred.iter_mut().zip(row).zip(shift) {
                *out = f64::from(value) - shift;
            }
            sample.write_targets(position, &mut target);
            let residual = target[0] - mean.target[0] - dot(&centred, weights);
            let weighted = residual * sample.weight(position);
            for (sum, value) in downhill.iter_mut().zip(&centred) {
                *sum += weighted * value;
            }
            squares += weighted * residual;
        }
        (Array2::from_shape_fn((dim, 1), |(at, _)| downhill[at]), squares)
    }
}
