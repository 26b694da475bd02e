//! A symmetric matrix as Q·T·Qᵀ with T tridiagonal: one factorization, then (A + α·I)·x = b costs O(n) for each α.
//!
//! Knows matrices only. Method: Householder, as in Golub, Van Loan, "Matrix computations", 2013, 8.3.1; for families of
//! ridge problems see Eldén, "Algorithms for the regularization of ill-conditioned least squares problems", 1977.
//! Invariant: the order of all sums depends on the size alone.

use ndarray::{Array2, ArrayViewMut2};

/// What is below this share of the largest diagonal element, squared, is no number to divide by.
const NOTHING: f64 = 1e-200;

/// The factorization of a positive semidefinite matrix.
#[derive(Debug, Clone)]
pub(super) struct Tridiagonal {
    /// What the matrix was divided by.
    scale: f64,
    diagonal: Vec<f64>,
    /// Beside the diagonal, one fewer.
    beside: Vec<f64>,
    /// Reflector `k` is `I - factors[k]·v·vᵀ` with `v` in row `k`, zero up to column `k`.
    reflectors: Array2<f64>,
    factors: Vec<f64>,
}

impl Tridiagonal {
    /// Factorizes `matrix`, which is symmetric; its space is used.
    pub fn of(mut matrix: Array2<f64>) -> Self {
        let n = matrix.nrows();
        let largest = matrix.diag().iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let scale = if largest > 0.0 { largest } else { 1.0 };
        matrix /= scale;
        let (mut diagonal, mut beside, mut factors) = (vec![0.0; n], vec![0.0; n.saturating_sub(1)], vec![0.0; n]);
        let mut reflectors = Array2::zeros((n, n));
        // The last step's change, A - v·wᵀ - w·vᵀ, is made while the next step reads the matrix.
        let (mut v, mut w, mut product) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        for k in 0..n {
            let row = &mut matrix.row_mut(k).into_slice().expect("standard layout")[k..];
            change(row, (v[k], &v[k..]), (w[k], &w[k..]));
            diagonal[k] = row[0];
            if k + 1 == n {
                break;
            }
            let mut reflector = reflectors.row_mut(k);
            let reflector = &mut reflector.as_slice_mut().expect("standard layout")[k + 1..];
            reflector.copy_from_slice(&row[1..]);
            (beside[k], factors[k]) = reflect(reflector);
            for i in k + 1..n {
                let row = &mut matrix.row_mut(i).into_slice().expect("standard layout")[k + 1..];
                change(row, (v[i], &v[k + 1..]), (w[i], &w[k + 1..]));
                product[i] = factors[k] * dot(row, reflector);
            }
            v[k + 1..].copy_from_slice(reflector);
            let half = factors[k] / 2.0 * dot(&product[k + 1..], reflector);
            for i in k + 1..n {
                w[i] = product[i] - half * v[i];
            }
        }
        Self { scale, diagonal, beside, reflectors, factors }
    }

    /// Turns the columns of `values` (n × any) by Qᵀ.
    pub fn turn(&self, mut values: ArrayViewMut2<'_, f64>) {
        for k in 0..self.beside.len() {
            self.reflect_rows(k, &mut values);
        }
    }

    /// Turns the columns of `values` (n × any) back, by Q.
    pub fn turn_back(&self, mut values: ArrayViewMut2<'_, f64>) {
        for k in (0..self.beside.len()).rev() {
            self.reflect_rows(k, &mut values);
        }
    }

    /// Solves `(T + alpha·I)·x = b` for each column of `values`; false where that matrix is not positive definite within
    /// rounding.
    pub fn solve(&self, alpha: f64, mut values: ArrayViewMut2<'_, f64>) -> bool {
        let n = self.diagonal.len();
        let mut pivots = Vec::with_capacity(n);
        for k in 0..n {
            let below = if k == 0 { 0.0 } else { self.beside[k - 1] * self.beside[k - 1] / pivots[k - 1] };
            pivots.push(self.diagonal[k] + alpha / self.scale - below);
        }
        if !pivots.iter().all(|&pivot| pivot > 0.0) {
            return false;
        }
        for k in 1..n {
            let (done, mut rest) = values.view_mut().split_at(ndarray::Axis(0), k);
            rest.row_mut(0).scaled_add(-self.beside[k - 1] / pivots[k - 1], &done.row(k - 1));
        }
        for k in (0..n).rev() {
            let (mut head, done) = values.view_mut().split_at(ndarray::Axis(0), k + 1);
            let mut row = head.row_mut(k);
            row /= pivots[k];
            if k + 1 < n {
                row.scaled_add(-self.beside[k] / pivots[k], &done.row(0));
            }
        }
        values /= self.scale;
        true
    }

    fn reflect_rows(&self, k: usize, values: &mut ArrayViewMut2<'_, f64>) {
        if self.factors[k] == 0.0 {
            return;
        }
        let mut sums = ndarray::Array1::zeros(values.ncols());
        for i in k + 1..self.diagonal.len() {
            sums.scaled_add(self.reflectors[[k, i]], &values.row(i));
        }
        for i in k + 1..self.diagonal.len() {
            values.row_mut(i).scaled_add(-self.factors[k] * self.reflectors[[k, i]], &sums);
        }
    }
}

/// `row - v_i·w - w_i·v`.
fn change(row: &mut [f64], (v_i, v): (f64, &[f64]), (w_i, w): (f64, &[f64])) {
    row.iter_mut().zip(v.iter().zip(w)).for_each(|(value, (v, w))| *value -= v_i * w + w_i * v);
}

/// Turns `x` into the vector of the reflection that brings it to `first·e₁`, and gives `first` and the factor.
fn reflect(x: &mut [f64]) -> (f64, f64) {
    let rest = dot(&x[1..], &x[1..]);
    if rest < NOTHING {
        x[1..].fill(0.0);
        return (x[0], 0.0);
    }
    let norm = (x[0] * x[0] + rest).sqrt();
    let first = if x[0] > 0.0 { -norm } else { norm };
    x[0] -= first;
    (first, 2.0 / (x[0] * x[0] + rest))
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
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BᵀB of a fixed B with `rank` rows.
    fn semidefinite(n: usize, rank: usize) -> Array2<f64> {
        let b = Array2::from_shape_fn((rank, n), |(i, j)| ((i * 37 + j * 101 + i * j * 7) % 97) as f64 / 97.0 - 0.5);
        b.t().dot(&b)
    }

    fn check(matrix: &Array2<f64>, alpha: f64) {
        let n = matrix.nrows();
        let right = Array2::from_shape_fn((n, 3), |(i, j)| ((i * 5 + j * 3) % 11) as f64 - 5.0);
        let factored = Tridiagonal::of(matrix.clone());
        let mut solution = right.clone();
        factored.turn(solution.view_mut());
        assert!(factored.solve(alpha, solution.view_mut()));
        factored.turn_back(solution.view_mut());
        let residual = matrix.dot(&solution) + alpha * &solution - &right;
        let size = matrix.iter().fold(alpha, |size, value| size.max(value.abs()));
        let solved = solution.iter().fold(0.0_f64, |size, value| size.max(value.abs()));
        let worst = residual.iter().fold(0.0_f64, |worst, value| worst.max(value.abs()));
        assert!(worst <= 1e-13 * n as f64 * size * solved, "n {n}, alpha {alpha}: {worst:e}");
    }

    #[test]
    fn every_strength_is_solved_by_one_factorization() {
        for (n, rank) in [(1, 1), (2, 2), (3, 1), (17, 17), (40, 12), (64, 90)] {
            for alpha in [1e-6, 1.0, 1e5] {
                check(&semidefinite(n, rank), alpha);
            }
        }
    }

    #[test]
    fn matrices_with_nothing_to_reflect() {
        check(&Array2::zeros((5, 5)), 2.0);
        check(&Array2::eye(4), 0.5);
        check(&(semidefinite(9, 9) * 1e-250), 1e-251);
        check(&(semidefinite(9, 9) * 1e250), 1e248);
    }

    #[test]
    fn what_is_not_positive_definite_is_said() {
        let factored = Tridiagonal::of(-Array2::<f64>::eye(3));
        assert!(!factored.solve(0.5, Array2::ones((3, 1)).view_mut()));
    }
}
