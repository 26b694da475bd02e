//! Ridge regression, also on targets of 1 and -1 for classes and labels (scikit-learn's `Ridge` and `RidgeClassifier`).
//!
//! Knows rows and targets, no file and no metric. Objective of each column: the sum over the rows of
//! weight · (target - x·w - b)², plus alpha·|w|². Invariant: one factorization serves all strengths and columns; a fit
//! is judged by its gradient on the rows as they came in.

mod factors;

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::decisions::{linear_decisions, settle_missing_classes};
use super::error::Error;
use super::fold_sums::sums_of_folds;
use super::folds::Fold;
use super::kind::HeadKind;
use super::sample::{Sample, check, check_folds, check_learnable, check_positive, check_weight};
use super::trainer::{
    Fitted, LabelledRows, LinearModel, Model, Optimality, Simplest, StrengthName, TakeDecisions, Trainer,
};
use factors::Factors;

const ALPHA: &str = "alpha";

/// Corrections of a solution at most; the first brings it to what f64 sums of the rows can resolve.
const CORRECTIONS: u64 = 3;

/// Coefficients whose decision values are all below this share of the target are 0.
const NO_COEFFICIENTS: f64 = 1e-9;

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
        let factors = Factors::of(&sample, self.fit_intercept).ok_or(Error::IdenticalRows { rows: sample.count() })?;
        let (coefficients, optimality) = self.solve(&sample, &factors, strength)?;
        let intercepts = factors.intercepts(&coefficients);
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
            let failed = |source| Error::FoldFit {
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
            let intercepts = factors.intercepts(&coefficients);
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
    /// Coefficients (dim × columns) within the tolerance, corrected by their own gradient where that takes it.
    fn solve(&self, sample: &Sample<'_>, factors: &Factors, alpha: f64) -> Result<(Array2<f64>, Optimality), Error> {
        let mut coefficients =
            factors.coefficients(&[alpha]).ok_or_else(|| self.not_optimal(alpha, 0, f64::INFINITY))?;
        let mut corrections = 0;
        loop {
            let judged = factors.judge(sample, &coefficients, alpha);
            let reached = relative_error(factors, &coefficients, &judged.downhill, alpha);
            if reached <= self.tolerance {
                let penalty: f64 = coefficients.iter().map(|value| value * value).sum();
                let optimality = Optimality {
                    solver: "tridiagonal factorization".to_owned(),
                    iterations: corrections,
                    objective: judged.residual_squares + alpha * penalty,
                    bound: "coefficient_error".to_owned(),
                    reached,
                    allowed: self.tolerance,
                };
                return Ok((coefficients, optimality));
            }
            match factors.step(alpha, &judged.downhill) {
                Some(step) if corrections < CORRECTIONS => coefficients += &step,
                _ => return Err(self.not_optimal(alpha, corrections, reached)),
            }
            corrections += 1;
        }
    }

    fn not_optimal(&self, alpha: f64, iterations: u64, reached: f64) -> Error {
        Error::NotOptimal {
            kind: "ridge",
            name: ALPHA,
            strength: alpha,
            iterations,
            steps: "corrections",
            bound: "relative coefficient error",
            reached,
            allowed: self.tolerance,
        }
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

/// The bound of the gradient on the relative distance of each column's coefficients from the optimum, the largest: the
/// objective is strongly convex, so no column is farther off than |half gradient| / alpha.
fn relative_error(factors: &Factors, coefficients: &Array2<f64>, downhill: &Array2<f64>, alpha: f64) -> f64 {
    let norm = |column: ndarray::ArrayView1<'_, f64>| column.dot(&column).sqrt();
    let mut largest = 0.0_f64;
    for (column, target_norm) in factors.target_norms.iter().enumerate() {
        let far = norm(downhill.column(column)) / alpha;
        let size = norm(coefficients.column(column)).max(NO_COEFFICIENTS * target_norm / factors.row_norm);
        // Written so that NaN is kept; nothing over nothing is a target that does not vary.
        if !(far <= largest * size) {
            largest = if far == 0.0 { largest } else { far / size };
        }
    }
    largest
}

#[cfg(test)]
mod tests;
