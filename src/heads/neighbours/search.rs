//! The nearest rows of many queries: f32 products by blocks choose candidates, exact distances decide.
//!
//! Knows rows and a metric, no targets. Invariant: what is found depends on query and rows alone, not on blocks, threads
//! or the machine's order of sums; memory beside the rows is bounded by the blocks.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, s};
use rayon::prelude::*;

use super::candidates::{Candidates, Neighbour, Query};
use super::distance::{Metric, squared_norm};
use crate::heads::moments::segments;
use crate::heads::rows::Rows;

/// Queries and rows of one product.
const QUERIES: usize = 256;
const ROWS: usize = 1024;

/// Half a unit in the last place of 1.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Products of norms above it may be infinite in f32.
const LARGEST_PRODUCT: f64 = 1e36;

/// Rows that can be searched.
pub(super) struct Index<'a> {
    rows: &'a dyn Rows,
    metric: Metric,
    norms: Vec<f64>,
    largest_norm: f64,
    /// A score is `product · factor - offset`: larger is nearer.
    factors: Vec<f32>,
    largest_factor: f32,
    offsets: Vec<f32>,
}

impl<'a> Index<'a> {
    /// Looks at the norms of `rows`, which are finite.
    pub fn new(rows: &'a dyn Rows, metric: Metric) -> Self {
        let norms: Vec<f64> = (0..rows.count()).into_par_iter().map(|row| squared_norm(rows.row(row))).collect();
        let largest_norm = norms.iter().fold(0.0_f64, |largest, &norm| largest.max(norm)).sqrt();
        let inverse = |&norm: &f64| if norm == 0.0 { 0.0 } else { norm.sqrt().recip() as f32 };
        let (factors, offsets): (Vec<f32>, Vec<f32>) = match metric {
            Metric::L2 => (vec![1.0; norms.len()], norms.iter().map(|norm| (norm / 2.0) as f32).collect()),
            Metric::Cosine => (norms.iter().map(inverse).collect(), vec![0.0; norms.len()]),
        };
        let largest_factor = factors.iter().fold(0.0_f32, |largest, &factor| largest.max(factor));
        Self { rows, metric, norms, largest_norm, factors, largest_factor, offsets }
    }

    /// The nearest `count` rows of every query, nearest first, of equals the lower number; `count` is at most the number
    /// of rows. Queries are finite and as wide as the rows.
    pub fn nearest(&self, queries: &dyn Rows, count: usize) -> Vec<Vec<Neighbour>> {
        // Smaller blocks of queries where there are too few to keep all threads at work.
        let block = queries.count().div_ceil(rayon::current_num_threads()).clamp(1, QUERIES);
        let found: Vec<Vec<Vec<Neighbour>>> = segments(0..queries.count(), block)
            .into_par_iter()
            .map_init(Scratch::default, |scratch, range| self.nearest_of_block(queries, range, (count, scratch)))
            .collect();
        found.into_iter().flatten().collect()
    }

    fn nearest_of_block(
        &self,
        queries: &dyn Rows,
        range: std::ops::Range<usize>,
        (count, scratch): (usize, &mut Scratch),
    ) -> Vec<Vec<Neighbour>> {
        let Scratch { queries: query_space, rows: row_space, products } = scratch;
        let asked: Vec<Asked<'_>> = range.clone().map(|query| Asked::new(self, queries.row(query))).collect();
        let mut candidates: Vec<Candidates> = asked.iter().map(|_| Candidates::new(count)).collect();
        let left = queries.block(range, query_space);
        if products.nrows() < asked.len() {
            *products = Array2::zeros((asked.len(), ROWS));
        }
        for rows in segments(0..self.rows.count(), ROWS) {
            let right = self.rows.block(rows.clone(), row_space);
            let mut products = products.slice_mut(s![..asked.len(), ..rows.len()]);
            general_mat_mul(1.0, &left, &right.t(), 0.0, &mut products);
            let (factors, offsets) = (&self.factors[rows.clone()], &self.offsets[rows.clone()]);
            for (mut scores, (asked, candidates)) in
                products.rows_mut().into_iter().zip(asked.iter().zip(&mut candidates))
            {
                let scores = scores.as_slice_mut().expect("rows of a standard layout are slices");
                scores
                    .iter_mut()
                    .zip(factors.iter().zip(offsets))
                    .for_each(|(score, (factor, offset))| *score = *score * factor - offset);
                candidates.take(scores, rows.start, asked);
            }
        }
        candidates.into_iter().zip(&asked).map(|(candidates, asked)| candidates.finish(asked)).collect()
    }
}

/// Space that a thread uses again for its next block.
#[derive(Default)]
struct Scratch {
    queries: Vec<f32>,
    rows: Vec<f32>,
    products: Array2<f32>,
}

/// One query and how far its scores can be off.
struct Asked<'a> {
    index: &'a Index<'a>,
    row: &'a [f32],
    norm: f64,
    error: f64,
}

impl<'a> Asked<'a> {
    fn new(index: &'a Index<'a>, row: &'a [f32]) -> Self {
        let norm = squared_norm(row);
        Self { index, row, norm, error: index.score_error(norm.sqrt(), row.len()) }
    }
}

impl Index<'_> {
    /// How far the score of a query of that norm can be from the one without rounding: `dim` roundings of a product's
    /// terms (Higham, "Accuracy and stability of numerical algorithms", 2002, 3.1), a few of factor and offset, and what
    /// is lost below the smallest normal number.
    fn score_error(&self, norm: f64, dim: usize) -> f64 {
        let roundings = (dim + 8) as f64 * UNIT / (1.0 - (dim + 8) as f64 * UNIT);
        let lost = dim as f64 * f64::from(f32::MIN_POSITIVE);
        if norm.max(self.largest_norm) * self.largest_norm > LARGEST_PRODUCT {
            return f64::INFINITY;
        }
        match self.metric {
            Metric::L2 => roundings * self.largest_norm * (norm + self.largest_norm) + lost,
            Metric::Cosine => roundings * norm + lost * f64::from(self.largest_factor),
        }
    }
}

impl Query for Asked<'_> {
    fn distance(&self, row: usize) -> f64 {
        let other = (self.index.rows.row(row), self.index.norms[row]);
        self.index.metric.distance((self.row, self.norm), other)
    }

    fn lowest_score(&self, distance: f64) -> f32 {
        let score = match self.index.metric {
            Metric::L2 => (self.norm - distance * distance) / 2.0,
            Metric::Cosine => (1.0 - distance) * self.norm.sqrt(),
        };
        // Below by what f64 may have rounded, which is far less than the error of the scores.
        let score = score - self.error * (1.0 + 1e-6);
        if score.is_nan() { f32::NEG_INFINITY } else { (score as f32).next_down() }
    }

    fn spread(&self) -> f32 {
        ((2.0 * self.error) as f32).next_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::rows::{Matrix, Selection};

    fn rows(count: usize, dim: usize, scale: f32) -> Vec<f32> {
        let mut state = 12345_u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..count * dim).map(|_| draw() * scale).collect()
    }

    fn plainly(metric: Metric, rows: &dyn Rows, query: &[f32], count: usize) -> Vec<usize> {
        let distance =
            |row: usize| metric.distance((query, squared_norm(query)), (rows.row(row), squared_norm(rows.row(row))));
        let mut order: Vec<(f64, usize)> = (0..rows.count()).map(|row| (distance(row), row)).collect();
        order.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        order.iter().take(count).map(|&(_, row)| row).collect()
    }

    fn check(rows: &dyn Rows, queries: &dyn Rows, count: usize) {
        for metric in [Metric::L2, Metric::Cosine] {
            let found = Index::new(rows, metric).nearest(queries, count);
            assert_eq!(found.len(), queries.count());
            for (query, found) in found.iter().enumerate() {
                let numbers: Vec<usize> = found.iter().map(|neighbour| neighbour.row).collect();
                assert_eq!(numbers, plainly(metric, rows, queries.row(query), count), "{metric:?}, query {query}");
            }
        }
    }

    #[test]
    fn the_same_as_one_by_one() {
        let (values, asked) = (rows(2500, 20, 1.0), rows(300, 20, 1.5));
        check(&Matrix::new(&values, (2500, 20)).unwrap(), &Matrix::new(&asked, (300, 20)).unwrap(), 7);
    }

    #[test]
    fn duplicates_and_zero_rows() {
        let mut values = rows(40, 6, 1.0);
        values[..12].fill(0.0);
        let matrix = Matrix::new(&values, (40, 6)).unwrap();
        let numbers: Vec<usize> = (0..1500).map(|row| (row * 7) % 40).collect();
        check(&Selection::new(&matrix, &numbers), &matrix, 9);
    }

    #[test]
    fn rows_that_f32_products_cannot_tell_apart() {
        // Far from 0 and near each other, too large to square, too small to square.
        let mut near = rows(400, 8, 1e-3);
        near.iter_mut().for_each(|value| *value += 1000.0);
        check(&Matrix::new(&near, (400, 8)).unwrap(), &Matrix::new(&near[..80], (10, 8)).unwrap(), 3);
        for scale in [1e30, 1e-30] {
            let values = rows(400, 8, scale);
            let matrix = Matrix::new(&values, (400, 8)).unwrap();
            check(&matrix, &Matrix::new(&values[..80], (10, 8)).unwrap(), 3);
        }
    }

    #[test]
    fn one_row_and_one_query() {
        let values = rows(1, 3, 1.0);
        let matrix = Matrix::new(&values, (1, 3)).unwrap();
        check(&matrix, &matrix, 1);
    }
}
