//! Linear support vectors: classes and labels by hinge losses, one column against the rest, numbers by losses that
//! forgive ε; dual coordinate descent to a stated duality gap, ended where a large C would take long: by Newton's steps
//! of a squared loss, by an interior point method of a linear one.
//!
//! Owns the objective, `½|w|² + C·Σ loss` as in scikit-learn's LinearSVC and LinearSVR (liblinear), and its solver;
//! knows no probability and no file. Invariant: what is handed out has a duality gap within the tolerance, measured in
//! f64 over all rows.

mod descent;
mod face;
mod interior;
mod loss;
mod newton;
mod path;
mod problem;
mod products;
mod solver;
mod state;

use ndarray::Array2;

pub use self::loss::SvmLoss;

use self::loss::Cost;
use self::problem::Problem;
use self::solver::{Limits, solve, start};
use self::state::{Setting, State};
use super::HeadKind;
use super::error::{Error, FitError};
use super::folds::Fold;
use super::sample::{Sample, check, check_learnable, check_positive};
use super::trainer::{
    Fitted, LabelledRows, LinearModel, Model, Optimality, Simplest, StrengthName, TakeDecisions, Targets, Trainer,
};
use crate::model::Task;

/// What the strength is called.
const STRENGTH: &str = "C";

/// The solver's name in [`Optimality`], of linear losses and of squared ones.
const SOLVERS: [&str; 2] = ["dual coordinate descent, interior point", "dual coordinate descent, Newton"];

/// Fits linear support vectors.
///
/// The intercept is, as liblinear's, the weight of one more feature with the value `intercept_scaling`, and penalised
/// like the others: the larger the value, the less.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SvmTrainer {
    /// None: scikit-learn's default, the squared hinge for classes and labels, the linear loss for numbers.
    pub loss: Option<SvmLoss>,
    /// How far a number may be off at no cost, in its own units.
    pub epsilon: f64,
    /// Whether there is an intercept.
    pub fit_intercept: bool,
    /// The value of the constant feature, above 0.
    pub intercept_scaling: f64,
    /// Largest allowed duality gap, as a share of the objective: the objective is at most that share above its optimum.
    pub tolerance: f64,
    /// Passes over the rows that are still moving, at most.
    pub max_iterations: u64,
    /// Decides the order of the rows.
    pub seed: u64,
}

impl Default for SvmTrainer {
    /// As scikit-learn's: an intercept, ε = 0; within a thousandth of the optimum, 20,000 passes.
    fn default() -> Self {
        Self {
            loss: None,
            epsilon: 0.0,
            fit_intercept: true,
            intercept_scaling: 1.0,
            tolerance: 1e-3,
            max_iterations: 20_000,
            seed: 0,
        }
    }
}

impl SvmTrainer {
    /// Refuses options that no fit can have.
    ///
    /// # Errors
    /// The option, with its value.
    pub(in crate::heads) fn check_settings(&self) -> Result<(), Error> {
        check_positive("tolerance", &[self.tolerance])?;
        check_positive("intercept_scaling", &[self.intercept_scaling])?;
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(Error::Negative { name: "epsilon", value: self.epsilon });
        }
        Ok(())
    }

    /// The loss for a task.
    fn cost(&self, task: Task) -> Result<Cost, Error> {
        let numbers = task == Task::Regression;
        let loss = self.loss.unwrap_or(if numbers { SvmLoss::EpsilonInsensitive } else { SvmLoss::SquaredHinge });
        if loss.is_of_numbers() != numbers {
            return Err(FitError::LossOfOtherTask { loss: loss.name(), task }.into());
        }
        let squared = matches!(loss, SvmLoss::SquaredHinge | SvmLoss::SquaredEpsilonInsensitive);
        Ok(Cost { squared, epsilon: numbers.then_some(self.epsilon) })
    }

    fn setting<'a>(&self, problem: &'a Problem<'a>, c: f64) -> Result<Setting<'a>, Error> {
        let cost = self.cost(problem.targets.task())?;
        let bias = if self.fit_intercept { self.intercept_scaling } else { 0.0 };
        Ok(Setting { problem, cost, c, bias })
    }

    fn limits(&self) -> Limits {
        Limits { tolerance: self.tolerance, passes: self.max_iterations, seed: self.seed }
    }

    /// Refuses numbers that a model of zeros fits at no cost, which is then the optimum and answers with a constant.
    fn check_moves(&self, data: &LabelledRows<'_>) -> Result<(), Error> {
        let Targets::Numbers(numbers) = data.targets else { return Ok(()) };
        let sample = Sample::all(*data);
        for (target, column) in numbers.columns().into_iter().enumerate() {
            let counted = column.iter().enumerate().filter(|(row, _)| sample.weight(*row) > 0.0);
            let largest = counted.fold(0.0_f64, |most, (_, value)| most.max(value.abs()));
            if largest <= self.epsilon {
                return Err(FitError::WithinEpsilon { epsilon: self.epsilon, target, largest }.into());
            }
        }
        Ok(())
    }

    /// Options and data that can be fitted, the strength aside.
    fn check_data(&self, data: &LabelledRows<'_>) -> Result<(), Error> {
        self.check_settings()?;
        check(data)?;
        self.cost(data.targets.task()).map(|_| ())
    }
}

impl Trainer for SvmTrainer {
    fn kind(&self) -> HeadKind {
        HeadKind::Svm
    }

    fn strength(&self) -> StrengthName {
        StrengthName { name: STRENGTH, simplest: Simplest::Smallest }
    }

    fn fit(&self, data: &LabelledRows<'_>, strength: f64) -> Result<Fitted, Error> {
        check_positive(STRENGTH, &[strength])?;
        self.check_data(data)?;
        check_learnable(data)?;
        self.check_moves(data)?;
        let problem = Problem::new(data);
        let setting = self.setting(&problem, strength)?;
        let mut groups = start(&problem);
        solve(&setting, &mut groups, self.limits());
        let optimality = certify(&setting, &groups, self.limits())?;
        Ok(Fitted { model: Model::Linear(model(&setting, &groups)), strength, optimality: Some(optimality) })
    }

    fn path(
        &self,
        data: &LabelledRows<'_>,
        folds: &[Fold],
        strengths: &[f64],
        take: TakeDecisions<'_>,
    ) -> Result<(), Error> {
        path::path(self, data, (folds, strengths), take)
    }
}

/// How near the optimum all columns are; an error if one is too far.
fn certify(setting: &Setting<'_>, groups: &[State], limits: Limits) -> Result<Optimality, Error> {
    let columns = || groups.iter().flat_map(|group| &group.columns);
    let iterations = columns().map(|column| column.passes).max().unwrap_or(0);
    let reached = columns().map(|column| column.relative_gap()).fold(0.0, largest);
    let within = reached <= limits.tolerance;
    if !within {
        return Err(FitError::NotOptimal {
            kind: "svm",
            name: STRENGTH,
            strength: setting.c,
            iterations,
            steps: "passes",
            bound: "duality gap as a share of the objective",
            reached,
            allowed: limits.tolerance,
        }
        .into());
    }
    Ok(Optimality {
        solver: SOLVERS[usize::from(setting.cost.squared)].to_owned(),
        iterations,
        objective: columns().map(|column| column.primal).sum(),
        bound: "duality_gap".to_owned(),
        reached,
        allowed: limits.tolerance,
    })
}

/// The larger of two, where NaN is larger than all.
fn largest(one: f64, other: f64) -> f64 {
    if other <= one { one } else { other }
}

/// The weights of all columns.
fn model(setting: &Setting<'_>, groups: &[State]) -> LinearModel {
    let dim = setting.problem.dim;
    let columns: Vec<&[f64]> =
        groups.iter().flat_map(|group| &group.columns).map(|column| column.weights.as_slice()).collect();
    LinearModel {
        coefficients: Array2::from_shape_fn((columns.len(), dim), |(column, at)| columns[column][at]),
        intercepts: columns.iter().map(|weights| setting.bias * weights[dim]).collect(),
    }
}

#[cfg(test)]
mod tests;
