//! One pass over some rows for all columns at once: logits, losses, residuals and their gradient, block by block, so
//! that a row is read once however many problems it belongs to.
//!
//! Knows weights and targets of rows, no strength and no solver. Invariant: sums of up to `FLUSH` blocks are in the
//! precision of the pass, everything beyond is in f64, in the order of the rows.

use std::ops::Range;

use super::super::error::Error;
use super::super::rows::{Rows, Selection};
use super::super::trainer::Targets;
use super::blocks::{Filler, KeptBlocks};
use super::objective::Frame;
use super::problem::{frame, targets_of};
use super::products::{BLOCK, add_gradient, logits};
use crate::heads::lanes::{Lanes, Number, Work, with_widest};

/// Blocks whose gradients are added up before they are turned to f64.
pub(super) const FLUSH: usize = 8;

/// How much each row counts in some problems.
#[derive(Debug)]
pub(super) struct Share {
    /// One per row; 0 leaves it out.
    pub weights: Vec<f64>,
    /// Their sum.
    pub total: f64,
    /// Whether all are 0 or 1.
    unit: bool,
}

impl Share {
    pub fn new(weights: Vec<f64>) -> Self {
        let unit = weights.iter().all(|&weight| weight == 0.0 || weight == 1.0);
        Self { total: weights.iter().sum(), unit, weights }
    }
}

/// What all problems are about.
pub(super) struct Data<'a> {
    pub rows: &'a dyn Rows,
    /// Classes or labels of the rows.
    pub targets: &'a Targets,
    /// One per fold.
    pub shares: Vec<Share>,
    /// Coordinates that rows are seen in; not centred where there are no intercepts to make up for it.
    pub frame: Frame,
    /// The rows as passes in f32 see them, where they are few.
    pub kept: Option<KeptBlocks>,
    /// Whether there are intercepts; else they are 0 and have no slope.
    pub fit_intercept: bool,
}

impl<'a> Data<'a> {
    /// With the coordinates that suit the rows.
    ///
    /// # Errors
    /// Rows that are all the same or not numbers.
    pub fn new(
        rows: &'a dyn Rows,
        targets: &'a Targets,
        shares: Vec<Share>,
        fit_intercept: bool,
    ) -> Result<Self, Error> {
        let frame = frame(rows, fit_intercept)?;
        let kept = KeptBlocks::of(rows, &frame);
        Ok(Self { rows, targets, shares, frame, kept, fit_intercept })
    }

    pub fn width(&self) -> usize {
        self.frame.width()
    }
}

/// Columns that make one problem.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub first: usize,
    pub count: usize,
    /// Number of its share.
    pub share: usize,
    /// One class of several, else each column by itself.
    pub softmax: bool,
}

/// The column of a class or label in a share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub group: usize,
    pub column: usize,
}

/// Which columns there are in a pass.
#[derive(Debug)]
pub(super) struct Layout {
    pub groups: Vec<Group>,
    pub columns: usize,
    /// By share and then by class or label; none where no column is for it.
    pub places: Vec<Vec<Option<Place>>>,
}

/// Sums over rows.
#[derive(Debug)]
pub(super) struct Sums {
    /// Weighted log losses by group, in nats.
    pub losses: Vec<f64>,
    /// Columns × features.
    pub gradient: Vec<f64>,
    /// Weighted residuals by column.
    pub intercepts: Vec<f64>,
    /// Weighted p·(1 - p) by column.
    pub curvature: Vec<f64>,
}

/// Some rows, seen at some coefficients (columns × padded width) and intercepts.
pub(super) struct Pass<'a, T> {
    pub data: &'a Data<'a>,
    pub layout: &'a Layout,
    pub coefficients: &'a [T],
    pub intercepts: &'a [T],
    pub rows: Range<usize>,
}

impl<T: Number> Work<T> for Pass<'_, T> {
    type Output = Sums;

    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> Sums {
        let (width, columns) = (self.data.width(), self.layout.columns);
        let mut filler = Filler::new(&self.data.frame);
        let mut weights = vec![[T::ZERO; BLOCK]; self.data.shares.len()];
        let mut values = vec![T::ZERO; columns * BLOCK];
        let mut gradient = vec![T::ZERO; columns * width];
        let mut sums = Sums {
            losses: vec![0.0; self.layout.groups.len()],
            gradient: vec![0.0; columns * self.data.rows.dim()],
            intercepts: vec![0.0; columns],
            curvature: vec![0.0; columns],
        };
        let starts = self.rows.clone().step_by(BLOCK);
        let last = starts.len();
        for (index, start) in starts.enumerate() {
            let rows = start..(start + BLOCK).min(self.rows.end);
            let block = match self.data.kept.as_ref().and_then(|kept| kept.get(start)) {
                Some(block) => block,
                // In no closure: it would not be compiled for the widest registers.
                None => filler.fill(self.data.rows, rows.clone()),
            };
            weigh(&mut weights, &self.data.shares, rows.clone());
            let runs = self.runs(&weights);
            for run in &runs {
                let coefficients = &self.coefficients[run.start * width..run.end * width];
                let values = &mut values[run.start * BLOCK..run.end * BLOCK];
                logits::<T, V>(block, coefficients, width, values);
                let blocks = values.as_chunks_mut::<BLOCK>().0;
                for (values, &intercept) in blocks.iter_mut().zip(&self.intercepts[run.clone()]) {
                    values.iter_mut().for_each(|value| *value += intercept);
                }
            }
            self.residuals(values.as_chunks_mut::<BLOCK>().0, &weights, rows, &mut sums);
            for run in runs {
                for (sum, values) in
                    sums.intercepts[run.clone()].iter_mut().zip(&values.as_chunks::<BLOCK>().0[run.clone()])
                {
                    *sum += total(values);
                }
                let gradient = &mut gradient[run.start * width..run.end * width];
                add_gradient::<T, V>(block, &values[run.start * BLOCK..run.end * BLOCK], width, gradient);
            }
            if (index + 1) % FLUSH == 0 || index + 1 == last {
                let dim = self.data.rows.dim();
                for (sum, part) in sums.gradient.chunks_exact_mut(dim).zip(gradient.chunks_exact_mut(width)) {
                    sum.iter_mut().zip(part.iter()).for_each(|(sum, part)| *sum += part.wide());
                    part.fill(T::ZERO);
                }
            }
        }
        sums
    }
}

impl<T: Number> Pass<'_, T> {
    /// Turns logits into weighted residuals and adds up what they say.
    #[inline(always)]
    fn residuals(&self, values: &mut [[T; BLOCK]], weights: &[[T; BLOCK]], rows: Range<usize>, sums: &mut Sums) {
        self.for_targets(weights, rows.clone(), |place, offset, weight| {
            sums.losses[place.group] -= weight.wide() * values[place.column][offset].wide();
        });
        for (group, loss) in self.layout.groups.iter().zip(&mut sums.losses) {
            if !counts(&weights[group.share]) {
                continue;
            }
            let range = group.first..group.first + group.count;
            let (values, curvature) = (&mut values[range.clone()], &mut sums.curvature[range]);
            let (weights, unit) = (&weights[group.share], self.data.shares[group.share].unit);
            *loss += if group.softmax {
                softmax(values, weights, unit, curvature)
            } else {
                sigmoids(values, weights, unit, curvature)
            };
        }
        self.for_targets(weights, rows, |place, offset, weight| {
            let value = &mut values[place.column][offset];
            *value = *value - weight;
        });
    }

    /// The columns that a block of rows counts for, joined where they lie side by side.
    fn runs(&self, weights: &[[T; BLOCK]]) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for group in self.layout.groups.iter().filter(|group| counts(&weights[group.share])) {
            let columns = group.first..group.first + group.count;
            match runs.last_mut() {
                Some(run) if run.end == columns.start => run.end = columns.end,
                _ => runs.push(columns),
            }
        }
        runs
    }

    /// The columns that are right for the rows, with the rows' weights, where these are not 0.
    #[inline(always)]
    fn for_targets(&self, weights: &[[T; BLOCK]], rows: Range<usize>, mut each: impl FnMut(Place, usize, T)) {
        for (offset, row) in rows.enumerate() {
            for &target in targets_of(self.data.targets, row) {
                for (places, weights) in self.layout.places.iter().zip(weights) {
                    if let Some(&Some(place)) = places.get(target)
                        && weights[offset] != T::ZERO
                    {
                        each(place, offset, weights[offset]);
                    }
                }
            }
        }
    }
}

/// Whether any row of a block has a weight.
fn counts<T: Number>(weights: &[T; BLOCK]) -> bool {
    weights.iter().any(|&weight| weight != T::ZERO)
}

/// Logits of a problem to weighted probabilities; gives the weighted sum of their log-sums.
#[inline(always)]
fn softmax<T: Number>(values: &mut [[T; BLOCK]], weights: &[T; BLOCK], unit: bool, curvature: &mut [f64]) -> f64 {
    let mut top = values[0];
    for values in &values[1..] {
        for (top, &value) in top.iter_mut().zip(values) {
            *top = if value > *top { value } else { *top };
        }
    }
    let mut sum = [T::ZERO; BLOCK];
    for values in values.iter_mut() {
        for row in 0..BLOCK {
            values[row] = (values[row] - top[row]).exp();
            sum[row] += values[row];
        }
    }
    let inverse = sum.map(|sum| T::ONE / sum);
    let mut spread = [T::ZERO; BLOCK];
    for (values, curvature) in values.iter_mut().zip(curvature) {
        for row in 0..BLOCK {
            let share = values[row] * inverse[row];
            let weighted = share * weights[row];
            values[row] = weighted;
            spread[row] = weighted - weighted * share;
        }
        *curvature += total(&spread);
    }
    log_sums(&top, &sum, weights, unit)
}

/// Logits of columns that stand each for itself to weighted probabilities; gives the weighted sum of ln(1 + e^logit).
#[inline(always)]
fn sigmoids<T: Number>(values: &mut [[T; BLOCK]], weights: &[T; BLOCK], unit: bool, curvature: &mut [f64]) -> f64 {
    let mut loss = 0.0;
    let (mut top, mut sum, mut spread) = ([T::ZERO; BLOCK], [T::ZERO; BLOCK], [T::ZERO; BLOCK]);
    for (values, curvature) in values.iter_mut().zip(curvature) {
        for row in 0..BLOCK {
            let value = values[row];
            let positive = value > T::ZERO;
            top[row] = if positive { value } else { T::ZERO };
            let small = (if positive { T::ZERO - value } else { value }).exp();
            sum[row] = T::ONE + small;
            let large = T::ONE / sum[row];
            let small = small * large;
            values[row] = if positive { large } else { small } * weights[row];
            spread[row] = large * small * weights[row];
        }
        *curvature += total(&spread);
        loss += log_sums(&top, &sum, weights, unit);
    }
    loss
}

/// Σ weight·(top + ln sum), with one logarithm for many sums where weights are 0 or 1.
#[inline(always)]
fn log_sums<T: Number>(top: &[T; BLOCK], sum: &[T; BLOCK], weights: &[T; BLOCK], unit: bool) -> f64 {
    let tops: f64 = {
        let mut products = [T::ZERO; BLOCK];
        for row in 0..BLOCK {
            products[row] = weights[row] * top[row];
        }
        total(&products)
    };
    if !unit {
        let logs = sum.iter().zip(weights).filter(|(_, weight)| **weight != T::ZERO);
        return tops + logs.map(|(sum, weight)| weight.wide() * sum.wide().ln()).sum::<f64>();
    }
    // 32 sums of at most a billion terms each stay below the largest number.
    let mut products = [1.0; 4];
    for (sums, weights) in sum.as_chunks::<4>().0.iter().zip(weights.as_chunks::<4>().0) {
        for lane in 0..4 {
            products[lane] *= if weights[lane] == T::ZERO { 1.0 } else { sums[lane].wide() };
        }
    }
    tops + products.iter().map(|product: &f64| product.ln()).sum::<f64>()
}

/// The sum in f64 of sixteen running sums.
#[inline(always)]
fn total<T: Number>(values: &[T; BLOCK]) -> f64 {
    let mut sums = [T::ZERO; 16];
    for chunk in values.as_chunks::<16>().0 {
        for lane in 0..16 {
            sums[lane] += chunk[lane];
        }
    }
    sums.iter().map(|sum| sum.wide()).sum()
}

fn weigh<T: Number>(weights: &mut [[T; BLOCK]], shares: &[Share], rows: Range<usize>) {
    for (weights, share) in weights.iter_mut().zip(shares) {
        weights[rows.len()..].fill(T::ZERO);
        for (weight, &value) in weights.iter_mut().zip(&share.weights[rows.clone()]) {
            *weight = T::of(value);
        }
    }
}

/// Logits of some rows at a point of the frame (coefficients column after column, then intercepts), in f64.
pub(super) struct Decisions<'a> {
    pub rows: &'a dyn Rows,
    pub frame: &'a Frame,
    /// Columns × padded width.
    pub coefficients: &'a [f64],
    pub intercepts: &'a [f64],
    pub numbers: &'a [usize],
}

impl Decisions<'_> {
    /// Rows × columns.
    pub fn all(self) -> Vec<f64> {
        with_widest(self)
    }
}

impl Work<f64> for Decisions<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<V: Lanes<f64>>(self) -> Vec<f64> {
        let columns = self.intercepts.len();
        let rows = Selection::new(self.rows, self.numbers);
        let mut filler = Filler::new(self.frame);
        let width = self.frame.width();
        let mut values = vec![0.0; columns * BLOCK];
        let mut out = Vec::with_capacity(self.numbers.len() * columns);
        for start in (0..self.numbers.len()).step_by(BLOCK) {
            let range = start..(start + BLOCK).min(self.numbers.len());
            logits::<f64, V>(filler.fill(&rows, range.clone()), self.coefficients, width, &mut values);
            for row in 0..range.len() {
                out.extend((0..columns).map(|column| values[column * BLOCK + row] + self.intercepts[column]));
            }
        }
        out
    }
}
