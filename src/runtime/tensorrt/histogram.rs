//! What batches a corpus makes, counted by their length in tokens. Memory grows with the longest batch, not with the
//! corpus.

use super::shape::BatchShape;

/// Batches of one length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Column {
    batches: u64,
    rows: u64,
}

/// How many batches there are of each length, and how many texts they have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShapeHistogram {
    /// By length; the first is that of length 1.
    columns: Vec<Column>,
}

impl ShapeHistogram {
    /// Counts one batch. One without texts or tokens is none.
    pub fn add(&mut self, shape: BatchShape) {
        if shape.rows == 0 || shape.columns == 0 {
            return;
        }
        if self.columns.len() < shape.columns {
            self.columns.resize(shape.columns, Column::default());
        }
        let column = &mut self.columns[shape.columns - 1];
        column.batches += 1;
        column.rows += shape.rows as u64;
    }

    /// Batches in all.
    pub fn batches(&self) -> u64 {
        self.columns.iter().map(|column| column.batches).sum()
    }

    /// Padded tokens in all.
    pub fn tokens(&self) -> u64 {
        (1..=self.columns.len()).map(|length| self.tokens_at(length)).sum()
    }

    /// Padded tokens of the batches of this length.
    pub fn tokens_at(&self, length: usize) -> u64 {
        self.at(length).rows.saturating_mul(length as u64)
    }

    /// Padded tokens of the batches whose lengths lie between these, both included.
    pub fn tokens_between(&self, first: usize, last: usize) -> u64 {
        (first..=last.min(self.columns.len())).map(|length| self.tokens_at(length)).sum()
    }

    /// The middle number of texts of a batch of this length, rounded; none where there is no such batch.
    pub fn mean_rows(&self, length: usize) -> Option<usize> {
        let Column { batches, rows } = self.at(length);
        (batches > 0).then(|| usize::try_from((rows + batches / 2) / batches).unwrap_or(usize::MAX))
    }

    fn at(&self, length: usize) -> Column {
        length.checked_sub(1).and_then(|place| self.columns.get(place)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_counted_by_their_length() {
        let mut histogram = ShapeHistogram::default();
        for (rows, columns) in [(10, 4), (11, 4), (2, 9), (0, 9), (5, 0)] {
            histogram.add(BatchShape::new(rows, columns));
        }
        assert_eq!((histogram.batches(), histogram.tokens()), (3, 84 + 18));
        assert_eq!((histogram.tokens_at(4), histogram.tokens_at(0), histogram.tokens_at(99)), (84, 0, 0));
        assert_eq!((histogram.tokens_between(1, 4), histogram.tokens_between(5, 1_000)), (84, 18));
        assert_eq!((histogram.mean_rows(4), histogram.mean_rows(9), histogram.mean_rows(5)), (Some(11), Some(2), None));
    }
}
