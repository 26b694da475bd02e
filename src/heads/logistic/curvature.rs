//! About how the loss bends: a preconditioner out of the covariance of the features, the same for all problems.
//!
//! Knows rows, no labels. The Hessian of a column is taken as h·G + penalty, with h the mean p·(1 - p) of the column and
//! G the Gram matrix of a sample of the rows in the problem's frame. Where passes are cheap, G is taken as m·mᵀ + v·I, with m
//! the mean row; else G = Q·T·Qᵀ with T tridiagonal, so that every h and penalty costs one tridiagonal system. Invariant:
//! [`Curvature::solve`] is linear, symmetric and positive definite, up to rounding.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2};

use super::super::arithmetic::dot;
use super::super::rows::Rows;
use super::super::tridiagonal::Tridiagonal;
use super::objective::Frame;

/// Rows of the sample at least; four for each feature otherwise.
const SAMPLE: usize = 2048;

/// Rows of the sample where only their mean and variance are asked for.
const ROUND_SAMPLE: usize = 512;

/// Smallest curvature of a column that is believed: below, the column is certain of all rows.
const SMALLEST: f64 = 1e-9;

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Curvature {
    dim: usize,
    gram: Gram,
}

#[derive(Debug)]
enum Gram {
    /// Same in all directions but that of the mean row, which is long where rows are not centred.
    Round {
        mean: Vec<f64>,
        variance: f64,
    },
    Full(Basis),
}

#[derive(Debug)]
struct Basis {
    q: Array2<f32>,
    diagonal: Vec<f64>,
    /// Right of the diagonal: one less.
    beside: Vec<f64>,
}

impl Curvature {
    /// Of the mean row and the mean variance about it: costs one look at a small sample.
    pub fn round(rows: &dyn Rows, frame: &Frame) -> Self {
        let sample = sample(rows, frame, ROUND_SAMPLE);
        let (mut mean, mut squares) = (vec![0.0; rows.dim()], vec![0.0; rows.dim()]);
        for row in sample.rows() {
            for ((mean, square), &value) in mean.iter_mut().zip(&mut squares).zip(row) {
                *mean += f64::from(value);
                *square += f64::from(value) * f64::from(value);
            }
        }
        let count = sample.nrows() as f64;
        mean.iter_mut().for_each(|sum| *sum /= count);
        let about = squares.iter().sum::<f64>() / count - dot(&mean, &mean);
        Self { dim: rows.dim(), gram: Gram::Round { mean, variance: about.max(0.0) / rows.dim() as f64 } }
    }

    /// Of all of G.
    pub fn full(rows: &dyn Rows, frame: &Frame) -> Self {
        let sample = sample(rows, frame, SAMPLE.max(4 * rows.dim()));
        let mut gram = Array2::zeros((rows.dim(), rows.dim()));
        general_mat_mul(1.0 / sample.nrows() as f32, &sample.t(), &sample, 0.0, &mut gram);
        Self { dim: rows.dim(), gram: Gram::Full(Basis::of(gram.as_standard_layout().into_owned())) }
    }

    /// Solves for the direction that a gradient (coefficients column after column, then intercepts) points against;
    /// `spread` is the mean p·(1 - p) by column. Columns of a softmax keep the sum 0 that theirs have.
    pub fn solve(&self, gradient: &[f64], spread: &[f64], penalty: f64, softmax: bool) -> Vec<f64> {
        let (dim, columns) = (self.dim, spread.len());
        let mut out = gradient.to_vec();
        let (weights, intercepts) = out.split_at_mut(columns * dim);
        match &self.gram {
            Gram::Full(basis) => basis.solve(weights, spread, penalty),
            Gram::Round { mean, variance } => {
                let length = dot(mean, mean);
                for (weights, &spread) in weights.chunks_exact_mut(dim).zip(spread) {
                    let spread = spread.max(SMALLEST);
                    let bend = spread * variance + penalty;
                    // Sherman and Morrison's formula for bend·I + spread·m·mᵀ.
                    let along = spread * dot(mean, weights) / (bend + spread * length);
                    let solved = weights.iter_mut().zip(mean);
                    solved.for_each(|(weight, mean)| *weight = (*weight - along * mean) / bend);
                }
            }
        }
        for (intercept, spread) in intercepts.iter_mut().zip(spread) {
            *intercept /= spread.max(SMALLEST);
        }
        if softmax {
            centre(weights, dim);
            centre(intercepts, 1);
        }
        out
    }
}

/// Takes the mean of the columns from each.
pub(super) fn centre(columns: &mut [f64], dim: usize) {
    let count = (columns.len() / dim) as f64;
    let mut mean = vec![0.0; dim];
    for column in columns.chunks_exact(dim) {
        mean.iter_mut().zip(column).for_each(|(mean, value)| *mean += value / count);
    }
    for column in columns.chunks_exact_mut(dim) {
        column.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
    }
}

/// Evenly spread rows, `most` of them, in the frame.
fn sample(rows: &dyn Rows, frame: &Frame, most: usize) -> Array2<f32> {
    let count = rows.count().min(most);
    let mut sample = Array2::zeros((count, rows.dim()));
    for (index, mut out) in sample.rows_mut().into_iter().enumerate() {
        let row = rows.row((index as u128 * rows.count() as u128 / count as u128) as usize);
        for ((out, &value), &centre) in out.iter_mut().zip(row).zip(&frame.centre) {
            *out = ((f64::from(value) - centre) * frame.scale) as f32;
        }
    }
    sample
}

impl Basis {
    fn of(gram: Array2<f32>) -> Self {
        let factored = Tridiagonal::of(gram);
        let (diagonal, beside) = factored.diagonals();
        Self { q: factored.basis(), diagonal, beside }
    }

    /// Every column of `weights` (one after another) by its own system.
    fn solve(&self, weights: &mut [f64], spread: &[f64], penalty: f64) {
        let dim = self.q.nrows();
        // Gradients near the optimum are small: brought to about 1, their squares stay within f32.
        let largest = weights.iter().fold(0.0, |largest: f64, weight| largest.max(weight.abs()));
        if largest == 0.0 {
            return;
        }
        let framed: Vec<f32> = weights.iter().map(|weight| (weight / largest) as f32).collect();
        let framed = ArrayView2::from_shape((spread.len(), dim), &framed).expect("columns of `dim` weights");
        let mut turned = framed.dot(&self.q);
        for (mut column, &spread) in turned.rows_mut().into_iter().zip(spread) {
            let column = column.as_slice_mut().expect("a product lies row after row");
            self.solve_tridiagonal(column, spread.max(SMALLEST), penalty);
        }
        let back = turned.dot(&self.q.t());
        weights.iter_mut().zip(&back).for_each(|(weight, &value)| *weight = f64::from(value) * largest);
    }

    /// (spread·T + penalty)·x = b by LDLᵀ.
    fn solve_tridiagonal(&self, b: &mut [f32], spread: f64, penalty: f64) {
        let dim = b.len();
        let mut factors = vec![0.0; dim];
        let mut values = vec![0.0; dim];
        let mut pivots = vec![0.0; dim];
        for i in 0..dim {
            // T is positive semidefinite up to the rounding of f32.
            let mut pivot = spread * self.diagonal[i].max(0.0) + penalty;
            values[i] = f64::from(b[i]);
            if i > 0 {
                let beside = spread * self.beside[i - 1];
                factors[i] = beside / pivots[i - 1];
                pivot -= factors[i] * beside;
                values[i] -= factors[i] * values[i - 1];
            }
            pivots[i] = pivot.max(0.5 * penalty);
        }
        let mut after = 0.0;
        for i in (0..dim).rev() {
            after = values[i] / pivots[i] - if i + 1 < dim { factors[i + 1] * after } else { 0.0 };
            b[i] = after as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::rows::Matrix;
    use super::*;

    fn rows(n: usize, dim: usize) -> Vec<f32> {
        (0..n * dim).map(|i| (((i * 7919) % 1009) as f32 / 500.0 - 1.0) / (1.0 + (i % dim) as f32)).collect()
    }

    /// Checks that what is solved for `gram` gives the gradient back.
    fn check(curvature: &Curvature, gram: &Array2<f64>, tolerance: f64) {
        let (dim, penalty) = (gram.nrows(), 0.01);
        let spread = [0.2, 0.05];
        let gradient: Vec<f64> = (0..2 * dim + 2).map(|i| ((i * 37) % 11) as f64 - 5.0).collect();
        let solved = curvature.solve(&gradient, &spread, penalty, false);
        for column in 0..2 {
            let x = ndarray::ArrayView1::from(&solved[column * dim..(column + 1) * dim]);
            let back = gram.dot(&x) * spread[column] + &(&x * penalty);
            let want = &gradient[column * dim..(column + 1) * dim];
            assert!(back.iter().zip(want).all(|(back, want)| (back - want).abs() < tolerance), "{back} for {want:?}");
            assert!((solved[2 * dim + column] * spread[column] - gradient[2 * dim + column]).abs() < 1e-12);
        }
    }

    #[test]
    fn the_system_is_solved() {
        let (n, dim) = (300, 21);
        let values = rows(n, dim);
        let matrix = Matrix::new(&values, (n, dim)).unwrap();
        let frame = Frame { centre: vec![0.1; dim].into(), scale: 2.0 };
        let wide = Array2::from_shape_fn((n, dim), |(i, j)| (f64::from(values[i * dim + j]) - 0.1) * 2.0);
        let gram = wide.t().dot(&wide) / n as f64;
        check(&Curvature::full(&matrix, &frame), &gram, 1e-3);
        let mean = wide.mean_axis(ndarray::Axis(0)).unwrap();
        let variance = (gram.diag().sum() - mean.dot(&mean)) / dim as f64;
        let column = mean.insert_axis(ndarray::Axis(1));
        let round = column.dot(&column.t()) + Array2::<f64>::eye(dim) * variance;
        check(&Curvature::round(&matrix, &frame), &round, 1e-4);
    }

    #[test]
    fn softmax_columns_keep_the_sum_zero() {
        let values = rows(50, 5);
        let matrix = Matrix::new(&values, (50, 5)).unwrap();
        let frame = Frame::plain(5);
        let mut gradient: Vec<f64> = (0..18).map(|i| ((i * 5) % 7) as f64).collect();
        centre(&mut gradient[..15], 5);
        centre(&mut gradient[15..], 1);
        let solved = Curvature::full(&matrix, &frame).solve(&gradient, &[0.2, 0.1, 0.01], 0.1, true);
        for feature in 0..5 {
            let sum: f64 = (0..3).map(|column| solved[column * 5 + feature]).sum();
            assert!(sum.abs() < 1e-5, "{sum}");
        }
        assert!(gradient.iter().zip(&solved).map(|(g, s)| g * s).sum::<f64>() > 0.0);
    }
}
