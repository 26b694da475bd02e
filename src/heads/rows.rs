//! Rows of floats that a head is fitted on, wherever they lie: a matrix, some rows of others, mapped parts one after
//! another. Knows no labels. Invariant: every row is one slice of `dim` numbers, so nothing is copied to look at it.

use std::ops::Range;

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

/// Rows that lie one after another.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    dim: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` rows of `dim` numbers each.
    ///
    /// # Errors
    /// Another number of values than that.
    pub fn new(values: &'a [f32], (rows, dim): (usize, usize)) -> Result<Self, Error> {
        if rows.checked_mul(dim) != Some(values.len()) {
            return Err(Error::MatrixSize { values: values.len(), rows, dim });
        }
        Ok(Self { values, rows, dim })
    }

    /// The rows of a view in standard layout; none of any other.
    pub fn of(view: ArrayView2<'a, f32>) -> Option<Self> {
        let (rows, dim) = view.dim();
        view.to_slice().map(|values| Self { values, rows, dim })
    }
}

impl Rows for Matrix<'_> {
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

/// Matrices of equal width, one after another, as the parts of a cache are mapped.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    parts: Vec<Matrix<'a>>,
    /// Number of the first row of each part.
    starts: Vec<usize>,
    count: usize,
    dim: usize,
}

impl<'a> Parts<'a> {
    /// All rows of `parts` in their order; parts without rows are left out.
    ///
    /// # Errors
    /// Parts of different widths.
    pub fn new(parts: impl IntoIterator<Item = Matrix<'a>>) -> Result<Self, Error> {
        let parts: Vec<Matrix<'a>> = parts.into_iter().filter(|part| part.rows > 0).collect();
        let dim = parts.first().map_or(0, |part| part.dim);
        if let Some(other) = parts.iter().find(|part| part.dim != dim) {
            return Err(Error::RowWidth { got: other.dim, expected: dim });
        }
        let mut count = 0;
        let mut starts = Vec::with_capacity(parts.len());
        for part in &parts {
            starts.push(count);
            count += part.rows;
        }
        Ok(Self { parts, starts, count, dim })
    }

    fn place(&self, row: usize) -> (&Matrix<'a>, usize) {
        let part = self.starts.partition_point(|&start| start <= row) - 1;
        (&self.parts[part], row - self.starts[part])
    }
}

impl Rows for Parts<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn row(&self, row: usize) -> &[f32] {
        let (part, row) = self.place(row);
        part.row(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_rows_wherever_they_lie() {
        let values: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let whole = Matrix::new(&values, (6, 2)).unwrap();
        let parts = [(0..2, 1), (2..2, 0), (2..8, 3), (8..12, 2)]
            .map(|(range, rows)| Matrix::new(&values[range], (rows, 2)).unwrap());
        let apart = Parts::new(parts).unwrap();
        let numbers = [5, 0, 0];
        let some = Selection::new(&apart, &numbers);
        assert_eq!((apart.count(), apart.dim(), some.count(), some.dim()), (6, 2, 3, 2));
        (0..6).for_each(|row| assert_eq!(whole.row(row), apart.row(row)));
        let (mut one, mut other) = (Vec::new(), Vec::new());
        assert_eq!(whole.block(1..5, &mut one), apart.block(1..5, &mut other));
        assert_eq!(some.block(0..3, &mut one), ndarray::arr2(&[[10.0, 11.0], [0.0, 1.0], [0.0, 1.0]]));
    }

    #[test]
    fn what_is_no_matrix_is_refused() {
        let error = Matrix::new(&[0.0; 5], (3, 2)).unwrap_err();
        assert_eq!(error.to_string(), "5 numbers are not 3 rows of 2 dimensions");
        let parts = [Matrix::new(&[0.0; 2], (1, 2)).unwrap(), Matrix::new(&[0.0; 3], (1, 3)).unwrap()];
        assert!(matches!(Parts::new(parts), Err(Error::RowWidth { got: 3, expected: 2 })));
    }
}
