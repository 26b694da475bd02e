//! Sums of products of rows and targets: all that least squares with any penalty has to know about the rows.
//!
//! Knows samples and no penalty. Invariant: segments of rows are summed in their order, so the bits are the same on any
//! number of threads; all sums are in f64, but for products that were asked for in f32.

mod single;

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, s};
use rayon::prelude::*;

use super::sample::{Origin, Sample, add};

/// Rows whose f64 copy one product takes: small enough for the cache, large enough that packing costs little.
const BLOCK: usize = 256;

/// Rows of one task.
const SEGMENT: usize = 2048;

/// Bytes of unmerged sums at most, where a single one is not larger.
const UNMERGED: usize = 64 << 20;

/// Rows of the strips that the upper half of the products is computed in.
const STRIP: usize = 96;

/// Squares about the mean below this share of those about 0 are rounding: all rows are the same vector.
pub(super) const SAME_ROW: f64 = 1e-28;

/// Sums about an origin, each row counted with its weight.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    weight: f64,
    row: Vec<f64>,
    target: Vec<f64>,
    /// Rows with rows and then with targets, dim × (dim + columns); what is left of a strip's diagonal is not filled.
    products: Array2<f64>,
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
            products: Array2::zeros((dim, dim + columns)),
            squares: vec![0.0; columns],
        }
    }

    /// Sums of all rows of a sample about `origin`.
    pub fn of(sample: &Sample<'_>, origin: &Origin) -> Self {
        let (dim, columns) = (sample.dim(), sample.columns());
        let mut total = Self::zero(dim, columns);
        let part = |segment| {
            let mut part = Self::zero(dim, columns);
            segments(segment, BLOCK).into_iter().for_each(|block| part.add_block(sample, block, origin));
            part
        };
        in_order((sample.count(), 8 * dim * (dim + columns)), part, |part| total.add(&part, 1.0));
        total
    }

    fn add_block(&mut self, sample: &Sample<'_>, range: Range<usize>, origin: &Origin) {
        let dim = self.row.len();
        let both = sample.block(range.clone(), origin);
        for (values, position) in both.rows().into_iter().zip(range) {
            let values = values.to_slice().expect("standard layout");
            let weight = sample.weight(position);
            let root = weight.sqrt();
            self.weight += weight;
            add(&mut self.row, values[..dim].iter().map(|value| value * root));
            add(&mut self.target, values[dim..].iter().map(|value| value * root));
            add(&mut self.squares, values[dim..].iter().map(|value| value * value));
        }
        for strip in segments(0..dim, STRIP) {
            let right = both.slice(s![.., strip.start..]);
            let mut products = self.products.slice_mut(s![strip.clone(), strip.start..]);
            general_mat_mul(1.0, &both.slice(s![.., strip]).t(), &right, 1.0, &mut products);
        }
    }

    /// Adds `factor` times other sums about the same origin.
    pub fn add(&mut self, other: &Self, factor: f64) {
        self.weight += factor * other.weight;
        add(&mut self.row, other.row.iter().map(|sum| factor * sum));
        add(&mut self.target, other.target.iter().map(|sum| factor * sum));
        add(&mut self.squares, other.squares.iter().map(|sum| factor * sum));
        self.products.scaled_add(factor, &other.products);
    }

    /// The same sums about the mean; about 0 with `origin` zero and no intercept.
    pub fn normal(self, origin: &Origin, intercept: bool) -> Normal {
        let Self { weight, row, target, products, mut squares } = self;
        let dim = row.len();
        let mut gram = products.slice(s![.., ..dim]).to_owned();
        let mut cross = products.slice(s![.., dim..]).to_owned();
        let mut mean = origin.clone();
        if intercept {
            for (at, sum) in row.iter().enumerate() {
                let share = sum / weight;
                gram.row_mut(at).scaled_add(-share, &ArrayView1::from(&row));
                cross.row_mut(at).scaled_add(-share, &ArrayView1::from(&target));
            }
            add(&mut squares, target.iter().map(|sum| -sum * sum / weight));
            // What is below 0 is rounding of a target that does not vary.
            squares.iter_mut().for_each(|square| *square = square.max(0.0));
            add(&mut mean.row, row.iter().map(|sum| sum / weight));
            add(&mut mean.target, target.iter().map(|sum| sum / weight));
        }
        for at in 0..dim {
            for before in 0..at {
                gram[[at, before]] = gram[[before, at]];
            }
        }
        Normal { gram, cross, squares, weight, mean }
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

/// Works on segments of `rows` in parallel and hands what comes out, of `bytes` each, to `merge` in their order: the
/// same sums on any number of threads, in bounded memory.
pub(super) fn in_order<T: Send>(
    (rows, bytes): (usize, usize),
    work: impl Fn(Range<usize>) -> T + Sync,
    mut merge: impl FnMut(T),
) {
    let at_once = (UNMERGED / bytes.max(1)).clamp(1, 64);
    for window in segments(0..rows, SEGMENT * at_once) {
        let parts: Vec<T> = segments(window, SEGMENT).into_par_iter().map(&work).collect();
        parts.into_iter().for_each(&mut merge);
    }
}

/// A range cut into pieces of `length`, the last one shorter.
pub(super) fn segments(range: Range<usize>, length: usize) -> Vec<Range<usize>> {
    let end = range.end;
    range.step_by(length).map(|start| start..end.min(start + length)).collect()
}
