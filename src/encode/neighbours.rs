//! Nearest neighbours among a few thousand vectors, exactly, by comparing all with all: whether a difference between
//! vectors is one that a search would show. Knows no texts. Ties go to the smaller position.

use std::cmp::Ordering;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::runtime::EmbeddingMatrix;

/// How many neighbours of a vector are looked at.
pub(super) const NEIGHBOURS: usize = 10;

/// The neighbours of every vector of a matrix, found when they are first asked for.
pub(super) struct Neighbours<'a> {
    vectors: &'a EmbeddingMatrix,
    found: Option<Vec<Vec<usize>>>,
}

impl<'a> Neighbours<'a> {
    pub(super) fn of(vectors: &'a EmbeddingMatrix) -> Self {
        Self { vectors, found: None }
    }

    /// How many places among the neighbours in `others` are taken by a vector that is no neighbour here; the order
    /// among the neighbours does not count.
    pub(super) fn changed_in(&mut self, others: &EmbeddingMatrix) -> usize {
        let vectors = self.vectors;
        let found = self.found.get_or_insert_with(|| nearest(vectors));
        let taken = |(here, there): (&Vec<usize>, &Vec<usize>)| there.iter().filter(|row| !here.contains(row)).count();
        found.iter().zip(&nearest(others)).map(taken).sum()
    }
}

/// How much of the neighbourhoods is kept in other vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kept {
    /// Neighbours of a vector that were looked at: [`NEIGHBOURS`], or all others where there are fewer.
    pub neighbours: usize,
    /// Share of the neighbours that are also neighbours in the other vectors, 0 to 1.
    pub share: f64,
    /// Share of vectors whose nearest neighbour is the same, 0 to 1.
    pub first: f64,
}

/// The neighbourhoods of `vectors` beside those of the same rows of `others`; at least two rows.
pub(super) fn kept(vectors: &EmbeddingMatrix, others: &EmbeddingMatrix) -> Kept {
    let (here, there) = (nearest(vectors), nearest(others));
    let pairs = || here.iter().zip(&there);
    let neighbours = NEIGHBOURS.min(vectors.rows.saturating_sub(1));
    let both = pairs().map(|(here, there)| here.iter().filter(|row| there.contains(row)).count()).sum::<usize>();
    let first = pairs().filter(|(here, there)| here.first() == there.first()).count();
    let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    Kept { neighbours, share: share(both, vectors.rows * neighbours), first: share(first, vectors.rows) }
}

/// For each vector the rows of the [`NEIGHBOURS`] others with the largest cosine, the nearest first.
fn nearest(vectors: &EmbeddingMatrix) -> Vec<Vec<usize>> {
    let unit: Vec<f64> = (0..vectors.rows).flat_map(|row| unit(vectors.row(row))).collect();
    let of = |row: usize| &unit[row * vectors.dim..(row + 1) * vectors.dim];
    let near = |row: usize| {
        let cosine = |other: usize| of(row).iter().zip(of(other)).map(|(a, b)| a * b).sum::<f64>();
        let others = (0..vectors.rows).filter(|&other| other != row);
        let mut ranked: Vec<(f64, usize)> = others.map(|other| (cosine(other), other)).collect();
        let closer = |a: &(f64, usize), b: &(f64, usize)| -> Ordering { b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)) };
        if ranked.len() > NEIGHBOURS {
            ranked.select_nth_unstable_by(NEIGHBOURS, closer);
            ranked.truncate(NEIGHBOURS);
        }
        ranked.sort_unstable_by(closer);
        ranked.into_iter().map(|(_, other)| other).collect()
    };
    (0..vectors.rows).into_par_iter().map(near).collect()
}

/// The vector at length 1, or as it is if it has none.
fn unit(vector: &[f32]) -> Vec<f64> {
    let norm = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { 1.0 / norm } else { 1.0 };
    vector.iter().map(|&x| f64::from(x) * scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of length 1 at these angles, in degrees.
    fn at(angles: &[f32]) -> EmbeddingMatrix {
        let data = angles.iter().flat_map(|angle| [angle.to_radians().cos(), angle.to_radians().sin()]).collect();
        EmbeddingMatrix { rows: angles.len(), dim: 2, data }
    }

    #[test]
    fn the_nearest_come_first_and_oneself_never() {
        let found = nearest(&at(&[0.0, 10.0, 90.0, 12.0]));
        assert_eq!(found, [[1, 3, 2], [3, 0, 2], [3, 1, 0], [1, 0, 2]]);
        assert_eq!(nearest(&at(&[5.0])), [[0_usize; 0]]);
    }

    #[test]
    fn kept_neighbours_are_counted_by_place_and_by_first() {
        // 14 vectors in a row, 5 degrees apart: the ten nearest of the first are those behind it.
        let angles: Vec<f32> = (0..14_u8).map(|n| f32::from(n) * 5.0).collect();
        let vectors = at(&angles);
        assert_eq!(kept(&vectors, &vectors), Kept { neighbours: 10, share: 1.0, first: 1.0 });
        // Three vectors: turning the middle one past the last changes who is first, but not who the two others are.
        let (few, turned) = (at(&[0.0, 10.0, 30.0]), at(&[0.0, 35.0, 30.0]));
        assert_eq!(kept(&few, &turned), Kept { neighbours: 2, share: 1.0, first: 1.0 / 3.0 });
        // The far end comes to the first one's side: it takes one of its ten places, and so with others.
        let mut moved = angles;
        moved[13] = -4.0;
        let found = kept(&vectors, &at(&moved));
        let changed = Neighbours::of(&vectors).changed_in(&at(&moved));
        assert!(changed > 0);
        assert_eq!(found.share, (140 - changed) as f64 / 140.0);
    }

    #[test]
    fn a_place_that_another_takes_is_counted_and_a_swap_is_not() {
        let angles: Vec<f32> = (0..12_u8).map(|n| f32::from(n) * 5.0).collect();
        let vectors = at(&angles);
        let mut neighbours = Neighbours::of(&vectors);
        assert_eq!(neighbours.changed_in(&vectors), 0);
        // The last but one goes to the far end: from the first two vectors on, others come nearer.
        let mut moved = angles.clone();
        moved[10] = 80.0;
        assert!(neighbours.changed_in(&at(&moved)) >= 1);
        let mut swapped = angles;
        swapped.swap(5, 6);
        let changed = neighbours.changed_in(&at(&swapped));
        assert!(changed <= 4, "{changed}");
    }
}
