//! Sums of products of rows and targets: all that least squares with any penalty has to know about the rows.
//!
//! Knows samples and no penalty. Invariant: segments of rows are summed in their order, so the bits are the same on any
//! number of threads; all sums are in f64.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, s};
use rayon::prelude::*;

use super::sample::{Origin, Sample, add};

/// Rows whose f64 copy one product takes: small enough for the cache, large enough that packing costs little.
const BLOCK: usize = 256;

/// Rows of one task.
const SEGMENT: usize = 2048;

/// Bytes of unmerged sums at most, where a single one is not larger.
const UNMERGED: usize = 64 << 20;

/// Side of the squares that the upper half of the products is computed in.
const TILE: usize = 128;

/// Squares about the mean below this share of those about 0 are rounding: all rows are the same vector.
pub(super) const SAME_ROW: f64 = 1e-28;

/// Sums about an origin, each row counted with its weight.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    weight: f64,
    row: Vec<f64>,
    target: Vec<f64>,
    /// dim × dim; what is below the diagonal tiles is not filled.
    products: Array2<f64>,
    /// dim × columns.
    cross: Array2<f64>,
    squares: Vec<f64>,
}

/// Sums about the weighted mean (or about 0, where there is no intercept): dim × dim, dim × columns, one per column.
#[derive(Debug, Clone)]
pub(super) struct Normal {
    pub gram: Array2<f64>,
    pub cross: Array2<f64>,
    pub squares: Vec<f64>,
    pub weight: f64,
    /// What rows and targets were centred by.
    pub mean: Origin,
}

impl Moments {
    fn zero(dim: usize, columns: usize) -> Self {
        Self {
            weight: 0.0,
            row: vec![0.0; dim],
            target: vec![0.0; columns],
            products: Array2::zeros((dim, dim)),
            cross: Array2::zeros((dim, columns)),
            squares: vec![0.0; columns],
        }
    }

    /// Sums of all rows of a sample about `origin`.
    pub fn of(sample: &Sample<'_>, origin: &Origin) -> Self {
        let (dim, columns) = (sample.dim(), sample.columns());
        let at_once = (UNMERGED / (8 * dim * (dim + columns))).clamp(1, 16);
        let mut total = Self::zero(dim, columns);
        for window in segments(0..sample.count(), SEGMENT * at_once) {
            let parts: Vec<Self> = segments(window, SEGMENT)
                .into_par_iter()
                .map(|segment| {
                    let mut part = Self::zero(dim, columns);
                    segments(segment, BLOCK).into_iter().for_each(|block| part.add_block(sample, block, origin));
                    part
                })
                .collect();
            parts.iter().for_each(|part| total.add(part, 1.0));
        }
        total
    }

    fn add_block(&mut self, sample: &Sample<'_>, range: Range<usize>, origin: &Origin) {
        let (rows, targets) = sample.block(range.clone(), origin);
        for (at, position) in range.enumerate() {
            let weight = sample.weight(position);
            let root = weight.sqrt();
            self.weight += weight;
            add(&mut self.row, rows.row(at).iter().map(|value| value * root));
            add(&mut self.target, targets.row(at).iter().map(|value| value * root));
            add(&mut self.squares, targets.row(at).iter().map(|value| value * value));
        }
        let tiles = segments(0..self.row.len(), TILE);
        for (at, down) in tiles.iter().enumerate() {
            for across in &tiles[at..] {
                let (left, right) = (rows.slice(s![.., down.clone()]), rows.slice(s![.., across.clone()]));
                let mut products = self.products.slice_mut(s![down.clone(), across.clone()]);
                general_mat_mul(1.0, &left.t(), &right, 1.0, &mut products);
            }
        }
        general_mat_mul(1.0, &rows.t(), &targets, 1.0, &mut self.cross);
    }

    /// Adds `factor` times other sums about the same origin.
    pub fn add(&mut self, other: &Self, factor: f64) {
        self.weight += factor * other.weight;
        add(&mut self.row, other.row.iter().map(|sum| factor * sum));
        add(&mut self.target, other.target.iter().map(|sum| factor * sum));
        add(&mut self.squares, other.squares.iter().map(|sum| factor * sum));
        self.products.scaled_add(factor, &other.products);
        self.cross.scaled_add(factor, &other.cross);
    }

    /// The same sums about the mean; about 0 with `origin` zero and no intercept.
    pub fn normal(mut self, origin: &Origin, intercept: bool) -> Normal {
        let mut mean = origin.clone();
        if intercept {
            for (at, &sum) in self.row.iter().enumerate() {
                let share = -sum / self.weight;
                add(
                    self.products.row_mut(at).as_slice_mut().expect("standard layout"),
                    self.row.iter().map(|other| share * other),
                );
                add(
                    self.cross.row_mut(at).as_slice_mut().expect("standard layout"),
                    self.target.iter().map(|other| share * other),
                );
            }
            add(&mut self.squares, self.target.iter().map(|sum| -sum * sum / self.weight));
            // What is below 0 is rounding of a target that does not vary.
            self.squares.iter_mut().for_each(|square| *square = square.max(0.0));
            add(&mut mean.row, self.row.iter().map(|sum| sum / self.weight));
            add(&mut mean.target, self.target.iter().map(|sum| sum / self.weight));
        }
        for row in 0..self.row.len() {
            for column in 0..row {
                self.products[[row, column]] = self.products[[column, row]];
            }
        }
        Normal { gram: self.products, cross: self.cross, squares: self.squares, weight: self.weight, mean }
    }
}

impl Normal {
    /// Whether all rows are the same vector (or 0, where there is no intercept), within rounding.
    pub fn rows_are_the_same(&self) -> bool {
        let about_mean = self.gram.diag().sum();
        let about_zero = about_mean + self.weight * self.mean.row.iter().map(|mean| mean * mean).sum::<f64>();
        about_mean <= SAME_ROW * about_zero
    }
}

/// A range cut into pieces of `length`, the last one shorter.
pub(super) fn segments(range: Range<usize>, length: usize) -> Vec<Range<usize>> {
    let end = range.end;
    range.step_by(length).map(|start| start..end.min(start + length)).collect()
}
