//! What methods of second order need of all rows at once: their products with a vector, sums of multiples of them, and
//! the matrix of their own products.
//!
//! Knows rows and the constant feature, no loss and no variables. Invariant: sums run in an order that depends on the
//! problem alone, so they are the same bits for any number of threads.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, s};

use super::state::Setting;
use crate::heads::kernel::{Real, Work, on_widest_registers};
use crate::heads::moments::{in_order, segments};

/// Rows of one product.
const BLOCK: usize = 256;

/// Rows of the strips that the lower half of the products is computed in.
const STRIP: usize = 96;

/// The output of each row for `weights`, that of the constant feature last.
pub(super) fn outputs(setting: &Setting<'_>, weights: &[f64]) -> Vec<f64> {
    on_widest_registers(Outputs { setting, weights })
}

/// Σ factor·x over the rows, the constant feature last.
pub(super) fn combine(setting: &Setting<'_>, factors: &[f64]) -> Vec<f64> {
    on_widest_registers(Combine { setting, factors })
}

/// I + Σ factor·x·xᵀ over the rows, the constant feature last; of the upper half only what shares a strip with the
/// diagonal is filled. Factors are not negative.
pub(super) fn curvature(setting: &Setting<'_>, factors: &[f64]) -> Array2<f64> {
    let (rows, dim) = (&setting.problem.rows, setting.problem.dim);
    let counted: Vec<usize> = (0..rows.len()).filter(|&row| factors[row] > 0.0).collect();
    let part = |segment| {
        let mut sum = Array2::zeros((dim + 1, dim + 1));
        let mut block = Array2::<f64>::zeros((BLOCK, dim + 1));
        for range in segments(segment, BLOCK) {
            let mut block = block.slice_mut(s![..range.len(), ..]);
            for (mut out, &row) in block.rows_mut().into_iter().zip(&counted[range]) {
                let root = factors[row].sqrt();
                out.iter_mut().zip(rows[row]).for_each(|(out, &x)| *out = root * f64::from(x));
                out[dim] = root * setting.bias;
            }
            for strip in segments(0..dim + 1, STRIP) {
                let until = strip.end;
                let mut part = sum.slice_mut(s![strip.clone(), ..until]);
                general_mat_mul(1.0, &block.slice(s![.., strip]).t(), &block.slice(s![.., ..until]), 1.0, &mut part);
            }
        }
        sum
    };
    let mut total = Array2::eye(dim + 1);
    in_order((counted.len(), 8 * (dim + 1) * (dim + 1)), part, |part| total += &part);
    total
}

struct Outputs<'s, 'a> {
    setting: &'s Setting<'a>,
    weights: &'s [f64],
}

impl Work for Outputs<'_, '_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run(self) -> Vec<f64> {
        let (problem, dim) = (self.setting.problem, self.setting.problem.dim);
        let constant = self.setting.bias * self.weights[dim];
        let mut outputs = Vec::with_capacity(problem.rows.len());
        for x in &problem.rows {
            outputs.push(f64::dot(x, &self.weights[..dim]) + constant);
        }
        outputs
    }
}

struct Combine<'s, 'a> {
    setting: &'s Setting<'a>,
    factors: &'s [f64],
}

impl Work for Combine<'_, '_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run(self) -> Vec<f64> {
        let (problem, dim) = (self.setting.problem, self.setting.problem.dim);
        let mut sum = vec![0.0; dim + 1];
        for (x, &factor) in problem.rows.iter().zip(self.factors) {
            if factor != 0.0 {
                f64::add(&mut sum[..dim], factor, x);
                sum[dim] += factor * self.setting.bias;
            }
        }
        sum
    }
}
