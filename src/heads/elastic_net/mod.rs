//! Elastic net for numbers (scikit-learn's `ElasticNet` and `Lasso`), each target by itself.
//!
//! Knows rows and targets, no file and no metric. Objective of each column: the sum of weight · (target - x·w - b)² over
//! twice the sum of weights, plus alpha · l1_ratio · |w|₁, plus alpha · (1 - l1_ratio) · |w|² / 2. Invariant: the rows are
//! looked at once per fold; a fit that is handed out is within the asked duality gap and has coefficients.

mod descent;

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::decisions::linear_decisions;
use super::error::{Error, FitError, FoldError};
use super::fold_sums::sums_of_folds;
use super::folds::Fold;
use super::kind::HeadKind;
use super::moments::{Moments, Normal};
use super::sample::{Origin, Sample, check, check_folds, check_learnable, check_positive, check_weight};
use super::trainer::{
    Fitted, LabelledRows, LinearModel, Model, Optimality, Simplest, StrengthName, TakeDecisions, Targets, Trainer,
};
use descent::{Descent, Penalties, Target};

const ALPHA: &str = "alpha";
const KIND: &str = "elastic-net";

/// How elastic net heads are fitted. The strength is `alpha`, as in scikit-learn: the larger, the simpler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ElasticNetTrainer {
    /// Share of the penalty that is |w|₁; 1 is the lasso.
    pub l1_ratio: f64,
    /// Whether there is an intercept; it is not penalised.
    pub fit_intercept: bool,
    /// Largest allowed duality gap, as a share of the target's sum of squares about its mean: scikit-learn's `tol`.
    pub tolerance: f64,
    /// Passes over the coordinates at most.
    pub max_passes: u64,
}

impl Default for ElasticNetTrainer {
    /// Half of each penalty, with an intercept, as scikit-learn. The gap is 1e-10 where scikit-learn allows 1e-4: passes
    /// do not touch the rows, and 1e-4 leaves coefficients uncertain in their first digit.
    fn default() -> Self {
        Self { l1_ratio: 0.5, fit_intercept: true, tolerance: 1e-10, max_passes: 100_000 }
    }
}

/// Coefficients of all targets at one strength.
struct Solved {
    /// dim × targets.
    coefficients: Array2<f64>,
    passes: u64,
    gap: f64,
    objective: f64,
}

impl Trainer for ElasticNetTrainer {
    fn kind(&self) -> HeadKind {
        HeadKind::ElasticNet
    }

    fn strength(&self) -> StrengthName {
        StrengthName { name: ALPHA, simplest: Simplest::Largest }
    }

    fn fit(&self, data: &LabelledRows<'_>, strength: f64) -> Result<Fitted, Error> {
        self.check(data, &[strength])?;
        check_learnable(data)?;
        let sample = Sample::all(*data);
        let origin = if self.fit_intercept { Origin::near_middle(&sample) } else { Origin::zero(&sample) };
        let normal = Moments::of(&sample, &origin).normal(&origin, self.fit_intercept);
        check_spread(&normal, sample.count())?;
        let solved = self.solve(&normal, strength, &mut descents(&normal))?;
        self.check_moved(&normal, &solved, strength)?;
        let intercepts = intercepts(&normal.mean, &solved.coefficients);
        let coefficients = solved.coefficients.reversed_axes().as_standard_layout().into_owned();
        let optimality = Optimality {
            solver: "coordinate descent".to_owned(),
            iterations: solved.passes,
            objective: solved.objective,
            bound: "duality_gap".to_owned(),
            reached: solved.gap,
            allowed: self.tolerance,
        };
        let model = Model::Linear(LinearModel { coefficients, intercepts });
        Ok(Fitted { model, strength, optimality: Some(optimality) })
    }

    fn path(
        &self,
        data: &LabelledRows<'_>,
        folds: &[Fold],
        strengths: &[f64],
        take: TakeDecisions<'_>,
    ) -> Result<(), Error> {
        self.check(data, strengths)?;
        check_folds(folds, data.rows.count())?;
        // Each starts from the next larger, whose model is simpler.
        let mut falling: Vec<usize> = (0..strengths.len()).collect();
        falling.sort_by(|&one, &other| strengths[other].total_cmp(&strengths[one]));
        let (sums, origin) = sums_of_folds(data, folds, self.fit_intercept);
        sums.into_par_iter().zip(folds).enumerate().try_for_each(|(number, (sums, fold))| {
            let failed = |strength: f64, source| FoldError::Fit {
                fold: number + 1,
                folds: folds.len(),
                name: ALPHA,
                strength,
                source: Box::new(source),
            };
            let train = Sample::of(*data, &fold.train);
            let first = strengths.first().copied().unwrap_or_default();
            check_weight(&train).map_err(|source| failed(first, source))?;
            let normal = sums.normal(&origin, self.fit_intercept);
            check_spread(&normal, train.count()).map_err(|source| failed(first, source))?;
            let mut descents = descents(&normal);
            let validation = Sample::of(*data, &fold.validation);
            for &at in &falling {
                let strength = strengths[at];
                let solved = self.solve(&normal, strength, &mut descents).map_err(|source| failed(strength, source))?;
                let intercepts = intercepts(&normal.mean, &solved.coefficients);
                let decisions = linear_decisions(&validation, &solved.coefficients, &intercepts);
                take((number, at), decisions.view())?;
            }
            Ok(())
        })
    }
}

impl ElasticNetTrainer {
    /// Refuses options and strengths that no fit can have.
    pub(super) fn check_penalties(&self, strengths: &[f64]) -> Result<(), Error> {
        check_positive(ALPHA, strengths)?;
        check_positive("tolerance", &[self.tolerance])?;
        if (0.0..=1.0).contains(&self.l1_ratio) {
            Ok(())
        } else {
            Err(Error::NotAShare { name: "l1_ratio", value: self.l1_ratio })
        }
    }

    fn check(&self, data: &LabelledRows<'_>, strengths: &[f64]) -> Result<(), Error> {
        self.check_penalties(strengths)?;
        if !matches!(data.targets, Targets::Numbers(_)) {
            let why = "it answers with numbers";
            return Err(FitError::NotForTask { kind: KIND, task: data.targets.task(), why }.into());
        }
        check(data)
    }

    /// Both penalties of a strength, for sums instead of means.
    fn penalties(&self, weight: f64, alpha: f64) -> Penalties {
        Penalties { l1: alpha * self.l1_ratio * weight, l2: alpha * (1.0 - self.l1_ratio) * weight }
    }

    /// Goes on from where `descents` (one per target) are.
    fn solve(&self, normal: &Normal, alpha: f64, descents: &mut [Descent]) -> Result<Solved, Error> {
        let mut coefficients = Array2::zeros(normal.cross.raw_dim());
        let penalties = self.penalties(normal.weight, alpha);
        let (mut passes, mut gap, mut objective) = (0, 0.0_f64, 0.0);
        let ends: Vec<_> = descents
            .par_iter_mut()
            .enumerate()
            .map(|(column, descent)| {
                let target = target(normal, column);
                descent.run(&target, penalties, (self.tolerance, self.max_passes))
            })
            .collect();
        for (column, (end, descent)) in ends.iter().zip(descents).enumerate() {
            passes = passes.max(end.passes);
            gap = gap.max(end.gap);
            objective += end.objective / normal.weight;
            coefficients
                .column_mut(column)
                .iter_mut()
                .zip(&descent.coefficients)
                .for_each(|(out, &value)| *out = value);
        }
        // Written so that NaN is refused as well.
        let within = ends.iter().all(|end| end.gap <= self.tolerance);
        if !within {
            return Err(FitError::NotOptimal {
                kind: KIND,
                name: ALPHA,
                strength: alpha,
                iterations: passes,
                steps: "passes",
                bound: "relative duality gap",
                reached: gap,
                allowed: self.tolerance,
            }
            .into());
        }
        Ok(Solved { coefficients, passes, gap, objective })
    }

    /// Refuses a model that answers with a constant.
    fn check_moved(&self, normal: &Normal, solved: &Solved, alpha: f64) -> Result<(), Error> {
        match solved.coefficients.axis_iter(Axis(1)).position(|column| column.iter().all(|&value| value == 0.0)) {
            Some(target) => {
                let steepest = normal.cross.column(target).iter().fold(0.0_f64, |most, value| most.max(value.abs()));
                let none_from = steepest / (normal.weight * self.l1_ratio);
                Err(FitError::AllZero { kind: KIND, alpha, target, none_from }.into())
            }
            None => Ok(()),
        }
    }
}

fn target(normal: &Normal, column: usize) -> Target<'_> {
    Target { gram: &normal.gram, cross: normal.cross.column(column), square: normal.squares[column] }
}

fn descents(normal: &Normal) -> Vec<Descent> {
    vec![Descent::from_zero(normal.gram.nrows()); normal.squares.len()]
}

fn intercepts(mean: &Origin, coefficients: &Array2<f64>) -> Vec<f64> {
    let row = ndarray::ArrayView1::from(&mean.row);
    coefficients.columns().into_iter().zip(&mean.target).map(|(column, mean)| mean - row.dot(&column)).collect()
}

/// Refuses rows that are all the same vector.
fn check_spread(normal: &Normal, rows: usize) -> Result<(), Error> {
    if normal.rows_are_the_same() { Err(Error::IdenticalRows { rows }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
