//! Ridge regression, also on targets of 1 and -1 for classes and labels (scikit-learn's `Ridge` and `RidgeClassifier`).
//!
//! Knows rows and targets, no file and no metric. Objective of each column: the sum over the rows of
//! weight · (target - x·w - b)², plus alpha·|w|². Invariant: one factorization serves all strengths and columns; a fit
//! is judged by its gradient on the rows as they came in.

mod factors;
mod middle;
mod single;

use ndarray::Axis;
use rayon::prelude::*;

use super::decisions::{linear_decisions, settle_missing_classes};
use super::error::{Error, FitError, FoldError};
use super::fold_sums::sums_of_folds;
use super::folds::Fold;
use super::kind::HeadKind;
use super::sample::{Sample, check, check_folds, check_learnable, check_positive, check_weight};
use super::trainer::{
    Fitted, LabelledRows, LinearModel, Model, Optimality, Simplest, StrengthName, TakeDecisions, Trainer,
};
use factors::Factors;
use single::Solution;

const ALPHA: &str = "alpha";

/// Corrections of a solution at most; the first brings it to what f64 sums of the rows can resolve.
const CORRECTIONS: u64 = 3;

/// How ridge heads are fitted. The strength is `alpha`, as in scikit-learn: the larger, the simpler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RidgeTrainer {
    /// Whether there is an intercept; it is not penalised.
    pub fit_intercept: bool,
    /// Largest allowed relative distance of the coefficients of a column from the optimum, as bounded by the gradient.
    pub tolerance: f64,
}

impl Default for RidgeTrainer {
    /// With an intercept, coefficients within 1e-6.
    fn default() -> Self {
        Self { fit_intercept: true, tolerance: 1e-6 }
    }
}

impl Trainer for RidgeTrainer {
    fn kind(&self) -> HeadKind {
        HeadKind::Ridge
    }

    fn strength(&self) -> StrengthName {
        StrengthName { name: ALPHA, simplest: Simplest::Largest }
    }

    fn fit(&self, data: &LabelledRows<'_>, strength: f64) -> Result<Fitted, Error> {
        check_positive(ALPHA, &[strength])?;
        check_positive("tolerance", &[self.tolerance])?;
        check(data)?;
        check_learnable(data)?;
        let sample = Sample::all(*data);
        let solution = match single::solve(&sample, self.fit_intercept, (strength, self.tolerance)) {
            Some(solution) => solution,
            None => self.solve(&sample, strength)?,
        };
        let optimality = self.optimality(&solution, strength);
        let intercepts = solution.middle.intercepts(&solution.coefficients);
        let coefficients = solution.coefficients;
        let model =
            LinearModel { coefficients: coefficients.reversed_axes().as_standard_layout().into_owned(), intercepts };
        Ok(Fitted { model: Model::Linear(model), strength, optimality: Some(optimality) })
    }

    fn path(
        &self,
        data: &LabelledRows<'_>,
        folds: &[Fold],
        strengths: &[f64],
        take: TakeDecisions<'_>,
    ) -> Result<(), Error> {
        check_positive(ALPHA, strengths)?;
        check(data)?;
        check_folds(folds, data.rows.count())?;
        let factors = self.factors_of_folds(data, folds);
        factors.into_par_iter().zip(folds).enumerate().try_for_each(|(number, (factors, fold))| {
            let failed = |source| FoldError::Fit {
                fold: number + 1,
                folds: folds.len(),
                name: ALPHA,
                strength: strengths.first().copied().unwrap_or_default(),
                source: Box::new(source),
            };
            let sample = Sample::of(*data, &fold.train);
            check_weight(&sample).map_err(failed)?;
            let factors = factors.ok_or_else(|| failed(Error::IdenticalRows { rows: sample.count() }))?;
            let coefficients = factors
                .coefficients(strengths)
                .ok_or_else(|| failed(self.not_optimal(strengths[0], 0, f64::INFINITY)))?;
            let intercepts = factors.middle.intercepts(&coefficients);
            let validation = Sample::of(*data, &fold.validation);
            let mut decisions = linear_decisions(&validation, &coefficients, &intercepts);
            for (at, columns) in decisions.axis_chunks_iter_mut(Axis(1), sample.columns()).enumerate() {
                let mut columns = columns;
                settle_missing_classes(&sample, columns.view_mut());
                take((number, at), columns.view())?;
            }
            Ok(())
        })
    }
}

impl RidgeTrainer {
    /// Coefficients within the tolerance from products in f64, corrected by their own gradient where that takes it.
    fn solve(&self, sample: &Sample<'_>, alpha: f64) -> Result<Solution, Error> {
        let factors = Factors::of(sample, self.fit_intercept).ok_or(Error::IdenticalRows { rows: sample.count() })?;
        let mut coefficients =
            factors.coefficients(&[alpha]).ok_or_else(|| self.not_optimal(alpha, 0, f64::INFINITY))?;
        let mut corrections = 0;
        loop {
            let judged = factors.middle.judge(sample, &coefficients, alpha);
            if judged.error <= self.tolerance {
                return Ok(Solution { coefficients, middle: factors.middle, judged, corrections });
            }
            match factors.step(alpha, &judged.downhill) {
                Some(step) if corrections < CORRECTIONS => coefficients += &step,
                _ => return Err(self.not_optimal(alpha, corrections, judged.error)),
            }
            corrections += 1;
        }
    }

    fn optimality(&self, solution: &Solution, alpha: f64) -> Optimality {
        let penalty: f64 = solution.coefficients.iter().map(|value| value * value).sum();
        Optimality {
            solver: "normal equations".to_owned(),
            iterations: solution.corrections,
            objective: solution.judged.residual_squares + alpha * penalty,
            bound: "coefficient_error".to_owned(),
            reached: solution.judged.error,
            allowed: self.tolerance,
        }
    }

    fn not_optimal(&self, alpha: f64, iterations: u64, reached: f64) -> Error {
        FitError::NotOptimal {
            kind: "ridge",
            name: ALPHA,
            strength: alpha,
            iterations,
            steps: "corrections",
            bound: "relative coefficient error",
            reached,
            allowed: self.tolerance,
        }
        .into()
    }

    /// One factorization per fold, none of a fold whose rows are all the same.
    fn factors_of_folds(&self, data: &LabelledRows<'_>, folds: &[Fold]) -> Vec<Option<Factors>> {
        if folds.iter().any(|fold| fold.train.len() < data.rows.dim()) {
            let factors = |fold: &Fold| Factors::of(&Sample::of(*data, &fold.train), self.fit_intercept);
            return folds.par_iter().map(factors).collect();
        }
        let (sums, origin) = sums_of_folds(data, folds, self.fit_intercept);
        sums.into_par_iter().map(|sums| Factors::of_normal(sums.normal(&origin, self.fit_intercept))).collect()
    }
}

#[cfg(test)]
mod tests;
