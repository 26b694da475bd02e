//! A symmetric matrix as Q·T·Qᵀ with T tridiagonal: one factorization, then (A + α·I)·x = b costs O(n) for each α.
//!
//! Knows matrices only, of f32 or f64. Method: Householder, as in Golub, Van Loan, "Matrix computations", 2013, 8.3.1; for
//! families of ridge problems see Eldén, "Algorithms for the regularization of ill-conditioned least squares problems", 1977.
//! Invariant: the order of all sums depends on the size alone.

use ndarray::{Array1, Array2, ArrayViewMut2};

use super::lanes::{Lanes, Number, Work, with_widest};

/// The factorization of a positive semidefinite matrix.
#[derive(Debug, Clone)]
pub(super) struct Tridiagonal<T> {
    /// What the matrix was divided by.
    scale: T,
    diagonal: Vec<T>,
    /// Beside the diagonal, one fewer.
    beside: Vec<T>,
    /// Reflector `k` is `I - factors[k]·v·vᵀ` with `v` in row `k`, zero up to column `k`.
    reflectors: Array2<T>,
    factors: Vec<T>,
}

impl<T: Number> Tridiagonal<T> {
    /// Factorizes `matrix`, which is symmetric and lies row after row; its space is used.
    pub fn of(matrix: Array2<T>) -> Self {
        with_widest(Reduction { matrix })
    }

    /// T itself, in f64: the diagonal, and what lies beside it.
    pub fn diagonals(&self) -> (Vec<f64>, Vec<f64>) {
        let wide = |values: &[T]| values.iter().map(|&value| (value * self.scale).wide()).collect();
        (wide(&self.diagonal), wide(&self.beside))
    }

    /// Q (n × n).
    pub fn basis(&self) -> Array2<T> {
        with_widest(Basis { of: self })
    }

    /// Turns the columns of `values` (n × any) by Qᵀ.
    pub fn turn(&self, mut values: ArrayViewMut2<'_, T>) {
        for k in 0..self.beside.len() {
            self.reflect_rows(k, &mut values);
        }
    }

    /// Turns the columns of `values` (n × any) back, by Q.
    pub fn turn_back(&self, mut values: ArrayViewMut2<'_, T>) {
        for k in (0..self.beside.len()).rev() {
            self.reflect_rows(k, &mut values);
        }
    }

    fn reflect_rows(&self, k: usize, values: &mut ArrayViewMut2<'_, T>) {
        if self.factors[k] == T::ZERO {
            return;
        }
        let mut sums = Array1::zeros(values.ncols());
        for i in k + 1..self.diagonal.len() {
            sums.scaled_add(self.reflectors[[k, i]], &values.row(i));
        }
        for i in k + 1..self.diagonal.len() {
            values.row_mut(i).scaled_add(T::ZERO - self.factors[k] * self.reflectors[[k, i]], &sums);
        }
    }
}

impl Tridiagonal<f64> {
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
}

/// Householder's reduction.
struct Reduction<T> {
    matrix: Array2<T>,
}

impl<T: Number> Work<T> for Reduction<T> {
    type Output = Tridiagonal<T>;

    #[inline(always)]
    fn run<V: Lanes<T>>(mut self) -> Tridiagonal<T> {
        let n = self.matrix.nrows();
        let size = |value: &T| if *value < T::ZERO { T::ZERO - *value } else { *value };
        let largest =
            self.matrix.diag().iter().map(size).fold(T::ZERO, |most, value| if value > most { value } else { most });
        // A power of two: what is divided by it loses nothing.
        let near = T::of(largest.wide().log2().floor().exp2());
        let scale = if near > T::ZERO { near } else { T::ONE };
        self.matrix.mapv_inplace(|value| value / scale);
        let (mut diagonal, mut beside) = (vec![T::ZERO; n], vec![T::ZERO; n.saturating_sub(1)]);
        let (mut factors, mut reflectors) = (vec![T::ZERO; n], Array2::zeros((n, n)));
        // The last step's change, A - v·wᵀ - w·vᵀ, is made while the next step reads the matrix.
        let (mut v, mut w, mut product) = (vec![T::ZERO; n], vec![T::ZERO; n], vec![T::ZERO; n]);
        for k in 0..n {
            let row = &mut self.matrix.row_mut(k).into_slice().expect("standard layout")[k..];
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
                let row = &mut self.matrix.row_mut(i).into_slice().expect("standard layout")[k + 1..];
                change(row, (v[i], &v[k + 1..]), (w[i], &w[k + 1..]));
                product[i] = factors[k] * dot(row, reflector);
            }
            v[k + 1..].copy_from_slice(reflector);
            let half = factors[k] / T::of(2.0) * dot(&product[k + 1..], reflector);
            for i in k + 1..n {
                w[i] = product[i] - half * v[i];
            }
        }
        Tridiagonal { scale, diagonal, beside, reflectors, factors }
    }
}

/// The product of all reflections.
struct Basis<'a, T> {
    of: &'a Tridiagonal<T>,
}

impl<T: Number> Work<T> for Basis<'_, T> {
    type Output = Array2<T>;

    /// From the last reflection on, so that each changes what stands right of and below its place only.
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> Array2<T> {
        let n = self.of.diagonal.len();
        let mut q = Array2::eye(n);
        let mut sums = vec![T::ZERO; n];
        for k in (0..n.saturating_sub(1)).rev().filter(|&k| self.of.factors[k] != T::ZERO) {
            let reflector = self.of.reflectors.row(k);
            let sums = &mut sums[k + 1..];
            sums.fill(T::ZERO);
            for i in k + 1..n {
                let row = &q.row(i).to_slice().expect("standard layout")[k + 1..];
                add(sums, reflector[i], row);
            }
            for i in k + 1..n {
                let row = &mut q.row_mut(i).into_slice().expect("standard layout")[k + 1..];
                add(row, T::ZERO - self.of.factors[k] * reflector[i], sums);
            }
        }
        q
    }
}

/// `row - v_i·w - w_i·v`.
#[inline(always)]
fn change<T: Number>(row: &mut [T], (v_i, v): (T, &[T]), (w_i, w): (T, &[T])) {
    row.iter_mut().zip(v.iter().zip(w)).for_each(|(value, (&v, &w))| *value = *value - (v_i * w + w_i * v));
}

/// `to + factor·values`.
#[inline(always)]
fn add<T: Number>(to: &mut [T], factor: T, values: &[T]) {
    to.iter_mut().zip(values).for_each(|(to, &value)| *to += factor * value);
}

/// Sixteen running sums, so that the compiler may use vector registers without changing the order.
#[inline(always)]
fn dot<T: Number>(a: &[T], b: &[T]) -> T {
    let mut sums = [T::ZERO; 16];
    let (a_chunks, a_rest) = a.as_chunks::<16>();
    let (b_chunks, b_rest) = b.as_chunks::<16>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest = a_rest.iter().zip(b_rest).fold(T::ZERO, |sum, (&a, &b)| sum + a * b);
    sums.iter().fold(T::ZERO, |sum, &lane| sum + lane) + rest
}

/// Turns `x` into the vector of the reflection that brings it to `first·e₁`, and gives `first` and the factor.
#[inline(always)]
fn reflect<T: Number>(x: &mut [T]) -> (T, T) {
    if dot(&x[1..], &x[1..]) < nothing() {
        x[1..].fill(T::ZERO);
        return (x[0], T::ZERO);
    }
    let norm = T::of(dot(x, x).wide().sqrt());
    let first = if x[0] > T::ZERO { T::ZERO - norm } else { norm };
    x[0] = x[0] - first;
    (first, T::of(2.0) / dot(x, x))
}

/// What is below this share of the largest diagonal element, squared, is no number to divide by.
fn nothing<T: Number>() -> T {
    let least = T::of(1e-200);
    if least > T::ZERO { least } else { T::of(1e-35) }
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

    /// Q·T·Qᵀ beside the matrix, and Qᵀ·Q beside the identity.
    fn check_basis<T: Number>(n: usize, rank: usize, rounding: f64) {
        let matrix = semidefinite(n, rank);
        let factored = Tridiagonal::of(matrix.mapv(T::of));
        let q = factored.basis().mapv(T::wide);
        let (diagonal, beside) = factored.diagonals();
        let tridiagonal = Array2::from_shape_fn((n, n), |(i, j)| match i.abs_diff(j) {
            0 => diagonal[i],
            1 => beside[i.min(j)],
            _ => 0.0,
        });
        let largest = |values: Array2<f64>| values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        let size = largest(matrix.clone());
        assert!(largest(q.t().dot(&q) - Array2::<f64>::eye(n)) < rounding, "n {n}");
        assert!(largest(q.dot(&tridiagonal).dot(&q.t()) - matrix) < rounding * size, "n {n}");
        let mut turned = Array2::<T>::eye(n);
        factored.turn_back(turned.view_mut());
        assert!(largest(turned.mapv(T::wide) - q) < rounding, "n {n}");
    }

    #[test]
    fn the_basis_is_orthogonal_and_makes_the_matrix_tridiagonal() {
        for (n, rank) in [(1, 1), (2, 2), (3, 1), (17, 17), (40, 12), (64, 90)] {
            check_basis::<f64>(n, rank, 1e-13);
            check_basis::<f32>(n, rank, 2e-5);
        }
    }
}
