//! Rows of floats that a head is fitted on, wherever they lie: a matrix, some rows of others, and what else gives them.
//! Knows no labels and no cache. Invariant: every row is one slice of `dim` numbers, so nothing is copied to look at it.

use std::ops::{Deref, Range};

use ndarray::ArrayView2;

use super::error::Error;

/// Rows of equal width that can be read from several threads.
pub trait Rows: Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// Numbers in each.
    fn dim(&self) -> usize;

    /// One of them, 0-based.
    ///
    /// # Panics
    /// Beyond the last row.
    fn row(&self, row: usize) -> &[f32];

    /// Whether all of them lie one after another in memory, so that a copy would bring nothing.
    fn lie_together(&self) -> bool {
        false
    }

    /// The rows of `range`, one after another (rows × dim): where they lie if they lie so, else copied to `buffer`.
    ///
    /// # Panics
    /// Beyond the last row.
    fn block<'b>(&'b self, range: Range<usize>, buffer: &'b mut Vec<f32>) -> ArrayView2<'b, f32> {
        buffer.clear();
        let shape = (range.len(), self.dim());
        range.for_each(|row| buffer.extend_from_slice(self.row(row)));
        ArrayView2::from_shape(shape, buffer).expect("every row has `dim` numbers")
    }
}

/// Rows that lie one after another, borrowed ([`Matrix`]) or held.
#[derive(Debug, Clone, Copy)]
pub struct RowMajor<V> {
    values: V,
    rows: usize,
    dim: usize,
}

/// Rows that lie one after another somewhere else.
pub type Matrix<'a> = RowMajor<&'a [f32]>;

/// Rows that are held one after another.
pub(super) type HeldRows = RowMajor<Vec<f32>>;

impl<V: Deref<Target = [f32]>> RowMajor<V> {
    /// `rows` rows of `dim` numbers each.
    ///
    /// # Errors
    /// Another number of values than that.
    pub fn new(values: V, (rows, dim): (usize, usize)) -> Result<Self, Error> {
        if rows.checked_mul(dim) != Some(values.len()) {
            return Err(Error::MatrixSize { values: values.len(), rows, dim });
        }
        Ok(Self { values, rows, dim })
    }
}

impl<'a> Matrix<'a> {
    /// The rows of a view in standard layout; none of any other.
    pub fn of(view: ArrayView2<'a, f32>) -> Option<Self> {
        let (rows, dim) = view.dim();
        view.to_slice().map(|values| Self { values, rows, dim })
    }
}

impl HeldRows {
    /// A copy of others.
    pub(super) fn copy_of(rows: &dyn Rows) -> Self {
        let (count, dim) = (rows.count(), rows.dim());
        let mut values = Vec::with_capacity(count * dim);
        (0..count).for_each(|row| values.extend_from_slice(rows.row(row)));
        Self { values, rows: count, dim }
    }

    pub(super) fn values(self) -> Vec<f32> {
        self.values
    }
}

impl<V: Deref<Target = [f32]> + Sync> Rows for RowMajor<V> {
    fn lie_together(&self) -> bool {
        true
    }

    fn count(&self) -> usize {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dim..(row + 1) * self.dim]
    }

    fn block<'b>(&'b self, range: Range<usize>, _: &'b mut Vec<f32>) -> ArrayView2<'b, f32> {
        let values = &self.values[range.start * self.dim..range.end * self.dim];
        ArrayView2::from_shape((range.len(), self.dim), values).expect("the range holds as many numbers")
    }
}

/// Some rows of others, in the order of their numbers.
#[derive(Clone, Copy)]
pub struct Selection<'a> {
    rows: &'a dyn Rows,
    numbers: &'a [usize],
}

impl<'a> Selection<'a> {
    /// The rows with these numbers, each below `rows.count()`; a number may come twice.
    pub fn new(rows: &'a dyn Rows, numbers: &'a [usize]) -> Self {
        Self { rows, numbers }
    }
}

impl Rows for Selection<'_> {
    fn count(&self) -> usize {
        self.numbers.len()
    }

    fn dim(&self) -> usize {
        self.rows.dim()
    }

    fn row(&self, row: usize) -> &[f32] {
        self.rows.row(self.numbers[row])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_rows_wherever_they_lie() {
        let values: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let whole = Matrix::new(&values, (6, 2)).unwrap();
        let held = HeldRows::new(values.clone(), (6, 2)).unwrap();
        let numbers = [5, 0, 0];
        let some = Selection::new(&held, &numbers);
        assert_eq!((held.count(), held.dim(), some.count(), some.dim()), (6, 2, 3, 2));
        assert_eq!([whole.lie_together(), held.lie_together(), some.lie_together()], [true, true, false]);
        (0..6).for_each(|row| assert_eq!(whole.row(row), held.row(row)));
        let (mut one, mut other) = (Vec::new(), Vec::new());
        assert_eq!(whole.block(1..5, &mut one), held.block(1..5, &mut other));
        let wanted = ndarray::arr2(&[[10.0, 11.0], [0.0, 1.0], [0.0, 1.0]]);
        assert_eq!(some.block(0..3, &mut one), wanted);
        let copy = HeldRows::copy_of(&some);
        assert_eq!((copy.block(0..3, &mut other), copy.count()), (wanted.view(), 3));
    }

    #[test]
    fn what_is_no_matrix_is_refused() {
        let error = Matrix::new(&[0.0; 5], (3, 2)).unwrap_err();
        assert_eq!(error.to_string(), "5 numbers are not 3 rows of 2 dimensions");
    }
}
