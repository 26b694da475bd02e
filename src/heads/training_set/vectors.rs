//! Where the vectors of a set lie: in memory, or in the mapped parts of a cache, which then hold the only copy of them.
//! Knows no labels. Invariant: a row has the same bits wherever it lies.

use ndarray::{Array2, ArrayView2};
use std::ops::Range;

use crate::cache::MappedRows;
use crate::heads::rows::{HeldRows, Rows};

impl Rows for MappedRows {
    fn count(&self) -> usize {
        self.len()
    }

    fn dim(&self) -> usize {
        self.dim()
    }

    fn row(&self, row: usize) -> &[f32] {
        self.row(row)
    }
}

/// The vectors of a set, wherever they lie.
#[derive(Debug)]
pub struct TrainingRows(Place);

#[derive(Debug)]
enum Place {
    Memory(HeldRows),
    Cache(MappedRows),
}

impl TrainingRows {
    /// Whether they are read where a cache has them, and not held in memory.
    pub fn are_mapped(&self) -> bool {
        matches!(self.0, Place::Cache(_))
    }

    pub(super) fn held(rows: HeldRows) -> Self {
        Self(Place::Memory(rows))
    }

    fn get(&self) -> &dyn Rows {
        match &self.0 {
            Place::Memory(rows) => rows,
            Place::Cache(rows) => rows,
        }
    }
}

impl From<Array2<f32>> for TrainingRows {
    /// Rows × dim, held in memory.
    fn from(matrix: Array2<f32>) -> Self {
        let shape = matrix.dim();
        let values = if matrix.is_standard_layout() {
            // A part of a larger matrix owns the numbers of the whole.
            let (mut values, first) = matrix.into_raw_vec_and_offset();
            let first = first.unwrap_or(0);
            values.truncate(first + shape.0 * shape.1);
            values.drain(..first);
            values
        } else {
            matrix.iter().copied().collect()
        };
        Self::held(HeldRows::new(values, shape).expect("as many numbers as the matrix has"))
    }
}

impl From<MappedRows> for TrainingRows {
    fn from(rows: MappedRows) -> Self {
        Self(Place::Cache(rows))
    }
}

impl Rows for TrainingRows {
    fn count(&self) -> usize {
        self.get().count()
    }

    fn dim(&self) -> usize {
        self.get().dim()
    }

    fn row(&self, row: usize) -> &[f32] {
        self.get().row(row)
    }

    fn lie_together(&self) -> bool {
        self.get().lie_together()
    }

    fn block<'b>(&'b self, range: Range<usize>, buffer: &'b mut Vec<f32>) -> ArrayView2<'b, f32> {
        self.get().block(range, buffer)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::s;

    use super::*;

    #[test]
    fn a_part_of_a_matrix_has_its_own_rows() {
        let matrix = || Array2::from_shape_fn((5, 2), |(row, column)| (2 * row + column) as f32);
        let part = TrainingRows::from(matrix().slice_move(s![3.., ..]));
        assert_eq!((part.count(), part.dim(), part.row(1)), (2, 2, [8.0, 9.0].as_slice()));
        let turned = TrainingRows::from(matrix().reversed_axes());
        assert_eq!((turned.count(), turned.row(1)), (2, [1.0, 3.0, 5.0, 7.0, 9.0].as_slice()));
        let empty = TrainingRows::from(Array2::zeros((5, 0)));
        assert_eq!((empty.count(), empty.dim()), (5, 0));
    }
}
