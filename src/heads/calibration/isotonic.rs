//! The rising function that fits best (Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass
//! probability estimates", 2002), by pooling adjacent violators.
//! Invariant: points rise strictly in `at` and do not fall in `value`; beyond the ends the nearest one's value holds.

use serde::{Deserialize, Serialize};

use crate::heads::error::{CalibrationError, Error, FileProblem};

/// Values nearer to each other than this are one, as in scikit-learn.
const RESOLUTION: f64 = 1e-15;

/// A function that is linear between points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steps {
    /// Decision values, rising strictly.
    pub at: Vec<f64>,
    /// The probability at each, not falling.
    pub value: Vec<f64>,
}

/// Rows with one value, and later runs of such.
struct Pool {
    /// Weighted sum of what is right.
    right: f64,
    weight: f64,
    /// Values in it.
    values: usize,
}

impl Steps {
    /// Fits values, whether the label is right, and weights above 0.
    pub(super) fn fit(column: usize, mut values: Vec<(f64, bool, f64)>) -> Result<Self, Error> {
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut at: Vec<f64> = Vec::new();
        let mut pools: Vec<Pool> = Vec::new();
        for (value, right, weight) in values {
            let own = Pool { right: f64::from(u8::from(right)) * weight, weight, values: 1 };
            match (at.last(), pools.last_mut()) {
                (Some(last), Some(pool)) if value - last < RESOLUTION => {
                    pool.right += own.right;
                    pool.weight += own.weight;
                }
                _ => {
                    at.push(value);
                    pools.push(own);
                }
            }
        }
        if at.is_empty() {
            return Err(CalibrationError::NoDecisions { column }.into());
        }
        let mut pooled: Vec<Pool> = Vec::with_capacity(pools.len());
        for mut pool in pools {
            while let Some(before) = pooled.pop_if(|before| before.right * pool.weight >= pool.right * before.weight) {
                pool.right += before.right;
                pool.weight += before.weight;
                pool.values += before.values;
            }
            pooled.push(pool);
        }
        let level = |pool: &Pool| std::iter::repeat_n(pool.right / pool.weight, pool.values);
        let value: Vec<f64> = pooled.iter().flat_map(level).collect();
        // Within a level only its two ends matter.
        let last = at.len() - 1;
        let is_end = |i: usize| i == 0 || i == last || value[i] != value[i - 1] || value[i] != value[i + 1];
        let kept: Vec<usize> = (0..at.len()).filter(|&i| is_end(i)).collect();
        Ok(Self { at: kept.iter().map(|&i| at[i]).collect(), value: kept.iter().map(|&i| value[i]).collect() })
    }

    /// The probability at `x`.
    pub(crate) fn read(&self, x: f64) -> f64 {
        let above = self.at.partition_point(|&at| at <= x);
        if above == 0 {
            return self.value[0];
        }
        let below = above - 1;
        let (Some(&end), Some(&value)) = (self.at.get(above), self.value.get(above)) else { return self.value[below] };
        let slope = (value - self.value[below]) / (end - self.at[below]);
        slope * (x - self.at[below]) + self.value[below]
    }

    pub(super) fn check(&self) -> Result<(), FileProblem> {
        let Self { at, value } = self;
        if at.is_empty() {
            return Err(FileProblem::Columns { key: "calibration.columns.at", got: 0, columns: 1 });
        }
        if at.len() != value.len() {
            return Err(FileProblem::Columns { key: "calibration.columns.value", got: value.len(), columns: at.len() });
        }
        let wrong =
            |key, list: &[f64], expected, fits: &dyn Fn(usize) -> bool| match (0..list.len()).find(|&i| !fits(i)) {
                Some(position) => Err(FileProblem::Number { key, position, value: list[position], expected }),
                None => Ok(()),
            };
        let rises = |i: usize| at[i].is_finite() && (i == 0 || at[i] > at[i - 1]);
        wrong("calibration.columns.at", at, "finite numbers that rise", &rises)?;
        let climbs = |i: usize| (0.0..=1.0).contains(&value[i]) && (i == 0 || value[i] >= value[i - 1]);
        wrong("calibration.columns.value", value, "probabilities that do not fall", &climbs)
    }
}
