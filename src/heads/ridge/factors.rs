//! The normal equations of one sample, factorized once for all strengths: over the dimensions, or over the rows where
//! there are fewer of them.
//!
//! Knows no trainer and no folds. Invariant: coefficients of one strength do not depend on which others are asked for.

use ndarray::{Array2, Axis, concatenate, s};

use super::middle::Middle;
use crate::heads::moments::{Moments, Normal, SAME_ROW};
use crate::heads::sample::{Origin, Sample, add};
use crate::heads::tridiagonal::Tridiagonal;

/// A factorized sample.
pub(super) struct Factors {
    factored: Tridiagonal<f64>,
    /// The right-hand sides turned by Qᵀ, dimensions (or rows) × columns.
    turned: Array2<f64>,
    /// Centred rows, each times the root of its weight, where the equations are over the rows.
    rows: Option<Array2<f64>>,
    pub middle: Middle,
}

impl Factors {
    /// Factorizes the sums over a sample; none where all rows are the same vector.
    pub fn of_normal(normal: Normal) -> Option<Self> {
        if normal.rows_are_the_same() {
            return None;
        }
        let middle = Middle::of(&normal);
        let factored = Tridiagonal::of(normal.gram);
        let mut turned = normal.cross;
        factored.turn(turned.view_mut());
        Some(Self { factored, turned, rows: None, middle })
    }

    /// Factorizes a sample over its rows; none where all rows are the same vector.
    pub fn over_rows(sample: &Sample<'_>, intercept: bool) -> Option<Self> {
        let dim = sample.dim();
        let mean = if intercept { mean(sample) } else { Origin::zero(sample) };
        let both = sample.block(0..sample.count(), &mean);
        let (rows, mut turned) = (both.slice(s![.., ..dim]).to_owned(), both.slice(s![.., dim..]).to_owned());
        let squares: f64 = rows.iter().map(|value| value * value).sum();
        let plain = sample.block(0..sample.count(), &Origin::zero(sample));
        if squares <= SAME_ROW * plain.slice(s![.., ..dim]).iter().map(|value| value * value).sum::<f64>() {
            return None;
        }
        let norm = |column: ndarray::ArrayView1<'_, f64>| column.dot(&column).sqrt();
        let target_norms = turned.columns().into_iter().map(norm).collect();
        let factored = Tridiagonal::of(rows.dot(&rows.t()));
        factored.turn(turned.view_mut());
        Some(Self {
            factored,
            turned,
            rows: Some(rows),
            middle: Middle { mean, row_norm: squares.sqrt(), target_norms },
        })
    }

    /// Factorizes a sample the cheaper way.
    pub fn of(sample: &Sample<'_>, intercept: bool) -> Option<Self> {
        if sample.count() < sample.dim() {
            return Self::over_rows(sample, intercept);
        }
        let origin = if intercept { Origin::near_middle(sample) } else { Origin::zero(sample) };
        Self::of_normal(Moments::of(sample, &origin).normal(&origin, intercept))
    }

    /// Coefficients for each strength, side by side: dim × (strengths · columns); none where rounding leaves no solution.
    pub fn coefficients(&self, alphas: &[f64]) -> Option<Array2<f64>> {
        let solved: Vec<Array2<f64>> = alphas
            .iter()
            .map(|&alpha| {
                let mut solution = self.turned.clone();
                self.factored.solve(alpha, solution.view_mut()).then_some(solution)
            })
            .collect::<Option<_>>()?;
        let views: Vec<_> = solved.iter().map(Array2::view).collect();
        let mut side_by_side = concatenate(Axis(1), &views).expect("all have as many rows");
        self.factored.turn_back(side_by_side.view_mut());
        Some(match &self.rows {
            Some(rows) => rows.t().dot(&side_by_side),
            None => side_by_side,
        })
    }

    /// The Newton step from coefficients whose half negative gradient is `downhill`; none of equations over rows.
    pub fn step(&self, alpha: f64, downhill: &Array2<f64>) -> Option<Array2<f64>> {
        if self.rows.is_some() {
            return None;
        }
        let mut step = downhill.clone();
        self.factored.turn(step.view_mut());
        self.factored.solve(alpha, step.view_mut()).then(|| {
            self.factored.turn_back(step.view_mut());
            step
        })
    }
}

/// The weighted mean of rows and targets.
fn mean(sample: &Sample<'_>) -> Origin {
    let mut mean = Origin::zero(sample);
    let mut target = vec![0.0; sample.columns()];
    let mut weights = 0.0;
    for position in 0..sample.count() {
        let weight = sample.weight(position);
        add(&mut mean.row, sample.row(position).iter().map(|&value| weight * f64::from(value)));
        sample.write_targets(position, &mut target);
        add(&mut mean.target, target.iter().map(|value| weight * value));
        weights += weight;
    }
    mean.row.iter_mut().chain(&mut mean.target).for_each(|sum| *sum /= weights);
    mean
}
