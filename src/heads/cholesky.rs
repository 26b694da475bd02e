//! Cholesky's factors of a symmetric positive definite matrix, for a system that is solved once or a few times.
//!
//! Knows matrices only. Method: by blocks of columns, as in Golub, Van Loan, "Matrix computations", 2013, 4.2.6, so that
//! most of the work is products of matrices. Invariant: the order of all sums depends on the size alone.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, s};

use super::arithmetic::dot;

/// Columns of a block, and rows of a strip of what is left of the matrix.
const BLOCK: usize = 48;

/// The lower factor.
#[derive(Debug, Clone)]
pub(super) struct Cholesky {
    lower: Array2<f64>,
}

impl Cholesky {
    /// Factorizes `matrix`, of which the lower triangle is read; none where it is not positive definite within rounding.
    pub fn of(mut matrix: Array2<f64>) -> Option<Self> {
        let size = matrix.nrows();
        for start in (0..size).step_by(BLOCK) {
            let end = size.min(start + BLOCK);
            for row in start..size {
                reduce_row(&mut matrix, row, start..end.min(row + 1))?;
            }
            let (left, mut rest) = matrix.view_mut().split_at(ndarray::Axis(1), end);
            let panel = left.slice(s![end.., start..]);
            let mut rest = rest.slice_mut(s![end.., ..]);
            for strip in (0..size - end).step_by(BLOCK) {
                let until = (size - end).min(strip + BLOCK);
                let mut part = rest.slice_mut(s![strip..until, ..until]);
                general_mat_mul(
                    -1.0,
                    &panel.slice(s![strip..until, ..]),
                    &panel.slice(s![..until, ..]).t(),
                    1.0,
                    &mut part,
                );
            }
        }
        Some(Self { lower: matrix })
    }

    /// Solves the system for one right-hand side, in place.
    pub fn solve(&self, values: &mut [f64]) {
        let factors = |row: usize| self.lower.row(row).to_slice().expect("standard layout");
        for row in 0..values.len() {
            let (done, rest) = values.split_at_mut(row);
            rest[0] = (rest[0] - dot(&factors(row)[..row], done)) / factors(row)[row];
        }
        for row in (0..values.len()).rev() {
            let (rest, done) = values.split_at_mut(row);
            done[0] /= factors(row)[row];
            rest.iter_mut().zip(factors(row)).for_each(|(value, factor)| *value -= factor * done[0]);
        }
    }

    /// Solves the system for each column of `values`.
    pub fn solve_columns(&self, values: &mut Array2<f64>) {
        for mut column in values.columns_mut() {
            let mut one = column.to_vec();
            self.solve(&mut one);
            column.iter_mut().zip(one).for_each(|(to, from)| *to = from);
        }
    }
}

/// Makes factors of the columns `columns` of a row, from which the products of all earlier columns have been taken.
fn reduce_row(matrix: &mut Array2<f64>, row: usize, columns: std::ops::Range<usize>) -> Option<()> {
    let first = columns.start;
    let (above, mut below) = matrix.view_mut().split_at(ndarray::Axis(0), row);
    let mut own = below.row_mut(0);
    let own = own.as_slice_mut()?;
    for column in columns {
        let (done, rest) = own.split_at_mut(column);
        if column < row {
            let other = above.row(column).to_slice()?;
            rest[0] = (rest[0] - dot(&done[first..], &other[first..column])) / other[column];
        } else {
            let square = rest[0] - dot(&done[first..], &done[first..]);
            if !(square > 0.0 && square.is_finite()) {
                return None;
            }
            rest[0] = square.sqrt();
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A symmetric matrix with the rank `rank` and `more` on its diagonal.
    fn matrix(size: usize, rank: usize, more: f64) -> Array2<f64> {
        let b = Array2::from_shape_fn((rank, size), |(i, j)| ((i * 37 + j * 101 + i * j * 7) % 97) as f64 / 97.0 - 0.5);
        b.t().dot(&b) + more * Array2::<f64>::eye(size)
    }

    #[test]
    fn solves_systems_of_one_block_and_of_several() {
        for size in [1, 2, 47, 48, 49, 96, 131] {
            let given = matrix(size, size / 2 + 1, 0.1);
            let right = Array2::from_shape_fn((size, 3), |(i, j)| ((i * 5 + j * 3) % 11) as f64 - 5.0);
            let mut found = right.clone();
            Cholesky::of(given.clone()).unwrap().solve_columns(&mut found);
            let worst = (given.dot(&found) - &right).iter().fold(0.0_f64, |worst, value| worst.max(value.abs()));
            assert!(worst < 1e-10, "size {size}: {worst:e}");
        }
    }

    #[test]
    fn the_upper_triangle_is_not_read() {
        let mut given = matrix(60, 60, 1.0);
        let (mut one, mut other) = (vec![1.0; 60], vec![1.0; 60]);
        Cholesky::of(given.clone()).unwrap().solve(&mut one);
        (0..60).for_each(|row| given.slice_mut(s![row, row + 1..]).fill(f64::NAN));
        Cholesky::of(given).unwrap().solve(&mut other);
        assert_eq!(one, other);
    }

    #[test]
    fn what_is_not_positive_definite_has_no_factors() {
        assert!(Cholesky::of(ndarray::array![[1.0, 2.0], [2.0, 1.0]]).is_none());
        assert!(Cholesky::of(ndarray::array![[f64::NAN]]).is_none());
        let mut late = matrix(70, 70, 1.0);
        late[[69, 69]] = -1.0;
        assert!(Cholesky::of(late).is_none());
    }
}
