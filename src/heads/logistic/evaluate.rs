//! Losses, gradients and mean curvatures of several problems in one pass over all rows, on all threads of the pool.
//!
//! Knows no strength: what it gives is the mean log loss alone. Invariant: rows are parted by their number alone and sums
//! are added in the order of the rows, so that results are the same bits for any number of threads.

use rayon::prelude::*;

use super::pass::{Data, FLUSH, Layout, Pass, Sums};
use super::products::BLOCK;
use crate::heads::lanes::{Number, with_widest};

/// Parts of the rows at most, each with sums of its own.
const PARTS: usize = 64;

/// Bytes that the sums of all parts may take.
const SUMS: usize = 64 << 20;

/// A problem at a point: means over its rows.
#[derive(Debug, Clone)]
pub(super) struct Value {
    /// Log loss, in nats.
    pub loss: f64,
    /// By the parameters: coefficients column after column, then intercepts.
    pub gradient: Vec<f64>,
    /// p·(1 - p) by column.
    pub curvature: Vec<f64>,
}

/// Every group of the layout at its point (coefficients column after column, then intercepts).
pub(super) fn evaluate<T: Number>(data: &Data<'_>, layout: &Layout, points: &[&[f64]]) -> Vec<Value> {
    if points.is_empty() {
        return Vec::new();
    }
    let (dim, count) = (data.rows.dim(), data.rows.count());
    let (coefficients, intercepts) = padded::<T>(data, points);
    let memory = (SUMS / (layout.columns * dim * size_of::<f64>())).max(2);
    let parts = count.div_ceil(FLUSH * BLOCK).clamp(1, PARTS.min(memory));
    let rows_of_part = count.div_ceil(parts).next_multiple_of(FLUSH * BLOCK);
    let parts: Vec<Sums> = (0..count.div_ceil(rows_of_part))
        .into_par_iter()
        .map(|part| {
            let rows = part * rows_of_part..((part + 1) * rows_of_part).min(count);
            with_widest(Pass { data, layout, coefficients: &coefficients, intercepts: &intercepts, rows })
        })
        .collect();
    let sums = parts.into_iter().reduce(|sums, other| sums.add(&other)).expect("a problem has rows");
    let value = |(index, group): (usize, &super::pass::Group)| {
        let total = data.shares[group.share].total;
        let columns = group.first..group.first + group.count;
        let weights = &sums.gradient[columns.start * dim..columns.end * dim];
        let mut gradient: Vec<f64> = weights.iter().map(|sum| sum / total).collect();
        let slope = |sum: &f64| if data.fit_intercept { sum / total } else { 0.0 };
        gradient.extend(sums.intercepts[columns.clone()].iter().map(slope));
        let curvature = sums.curvature[columns].iter().map(|sum| sum / total).collect();
        Value { loss: sums.losses[index] / total, gradient, curvature }
    };
    layout.groups.iter().enumerate().map(value).collect()
}

/// Points as a pass takes them: coefficients of all columns, padded, and intercepts.
pub(super) fn padded<T: Number>(data: &Data<'_>, points: &[&[f64]]) -> (Vec<T>, Vec<T>) {
    let (dim, width) = (data.rows.dim(), data.width());
    let (mut coefficients, mut intercepts) = (Vec::new(), Vec::new());
    for point in points {
        let (weights, rest) = point.split_at(point.len() / (dim + 1) * dim);
        for column in weights.chunks_exact(dim) {
            coefficients.extend(column.iter().map(|&weight| T::of(weight)));
            coefficients.resize(coefficients.len().next_multiple_of(width), T::ZERO);
        }
        intercepts.extend(rest.iter().map(|&intercept| T::of(intercept)));
    }
    (coefficients, intercepts)
}

impl Sums {
    fn add(mut self, other: &Self) -> Self {
        for (sums, others) in [
            (&mut self.losses, &other.losses),
            (&mut self.gradient, &other.gradient),
            (&mut self.intercepts, &other.intercepts),
            (&mut self.curvature, &other.curvature),
        ] {
            sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
        }
        self
    }
}
