//! Figures of predicted numbers, column by column. Knows pairs of numbers. Invariant: sums run over the rows in their
//! order and lose nothing, so that the same rows give the same figure.

use super::Objective;
use super::rank::{Ascending, kendall_of_sorted};
use crate::evaluate::regression::Sum;

/// Right and given numbers of one target, all finite.
#[derive(Debug)]
pub(super) struct Numbers {
    truth: Vec<f64>,
    given: Vec<f64>,
    /// What the objective needs sorted.
    sorted: Sorted,
}

#[derive(Debug)]
enum Sorted {
    Nothing,
    /// Each side by itself.
    Sides([Ascending; 2]),
    /// Rows by their right, then their given number.
    Rows(Vec<usize>),
}

impl Numbers {
    pub(super) fn new(objective: Objective, truth: &[f64], given: &[f64]) -> Self {
        // The order of floats puts -0.0 below 0.0, which are equal.
        let [truth, given] = [truth, given].map(|side| side.iter().map(|value| value + 0.0).collect::<Vec<f64>>());
        let sorted = match objective {
            Objective::Spearman => Sorted::Sides([Ascending::new(&truth), Ascending::new(&given)]),
            Objective::KendallTau => {
                let mut rows: Vec<usize> = (0..truth.len()).collect();
                rows.sort_by(|&a, &b| truth[a].total_cmp(&truth[b]).then(given[a].total_cmp(&given[b])));
                Sorted::Rows(rows)
            }
            _ => Sorted::Nothing,
        };
        Self { truth, given, sorted }
    }

    /// The figure if row i is there `times[i]` times; none of too few rows, or where a correlation's truth is constant.
    pub(super) fn score(&self, objective: Objective, times: &[u32]) -> Option<f64> {
        let rows: f64 = times.iter().map(|&times| f64::from(times)).sum();
        if rows == 0.0 {
            return None;
        }
        let errors = |of: fn(f64) -> f64| {
            let errors = self.truth.iter().zip(&self.given).map(|(truth, given)| of(truth - given));
            weighted_sum(errors, times)
        };
        match objective {
            Objective::Rmse => Some((errors(|error| error * error) / rows).sqrt()),
            Objective::Mae => Some(errors(f64::abs) / rows),
            Objective::R2 => {
                let mean = weighted_sum(self.truth.iter().copied(), times) / rows;
                let about = |&truth: &f64| (truth - mean) * (truth - mean);
                let unexplained = errors(|error| error * error);
                match weighted_sum(self.truth.iter().map(about), times) {
                    _ if rows < 2.0 => None,
                    _ if constant(&self.truth, times) => Some(if unexplained == 0.0 { 1.0 } else { 0.0 }),
                    all => Some(1.0 - unexplained / all),
                }
            }
            _ if constant(&self.truth, times) => None,
            _ if constant(&self.given, times) => Some(0.0),
            _ => match &self.sorted {
                Sorted::Nothing => pearson(&self.truth, &self.given, times),
                Sorted::Sides([truth, given]) => {
                    pearson(&truth.ranks(&self.truth, times), &given.ranks(&self.given, times), times)
                }
                Sorted::Rows(rows) => {
                    let pair =
                        |&row: &usize| std::iter::repeat_n((self.truth[row], self.given[row]), times[row] as usize);
                    kendall_of_sorted(&rows.iter().flat_map(pair).collect::<Vec<_>>())
                }
            },
        }
    }
}

fn weighted_sum(values: impl Iterator<Item = f64>, times: &[u32]) -> f64 {
    let mut sum = Sum::default();
    values.zip(times).for_each(|(value, &times)| sum.add(value * f64::from(times)));
    sum.value()
}

/// Whether all rows that are there have the same number; no rows have.
fn constant(values: &[f64], times: &[u32]) -> bool {
    let mut there = values.iter().zip(times).filter(|(_, times)| **times > 0).map(|(value, _)| value);
    there.next().is_none_or(|first| there.all(|value| value == first))
}

/// Pearson's correlation of two sides that are not constant.
fn pearson(truth: &[f64], given: &[f64], times: &[u32]) -> Option<f64> {
    let rows: f64 = times.iter().map(|&times| f64::from(times)).sum();
    let about = |side: &[f64]| {
        let mean = weighted_sum(side.iter().copied(), times) / rows;
        side.iter().map(|value| value - mean).collect::<Vec<f64>>()
    };
    let (truth, given) = (about(truth), about(given));
    let product = |a: &[f64], b: &[f64]| weighted_sum(a.iter().zip(b).map(|(a, b)| a * b), times);
    let correlation = product(&truth, &given) / (product(&truth, &truth).sqrt() * product(&given, &given).sqrt());
    correlation.is_finite().then(|| correlation.clamp(-1.0, 1.0))
}
