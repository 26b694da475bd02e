//! Logistic regression with scikit-learn's objective, from checked input to a certified fit.
//!
//! Knows solvers and the objective, no files and no label names. Invariant: what is handed out as a fit is provably within
//! the asked tolerance of the optimum, measured in f64.

mod blocks;
mod curvature;
mod descent;
mod evaluate;
mod fit;
mod linfa_fit;
mod linfa_traits;
mod newton;
mod objective;
mod pass;
mod path;
mod problem;
mod products;
mod rough_fit;
mod solve;
mod trainer;
#[cfg(test)]
mod trainer_tests;

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::error::{Error, FitError};
use super::linear::decide;
use super::rows::Matrix;
use super::sample::check_positive;
use super::trainer::{Fitted, LabelledRows, LinearModel, Model, Optimality, Targets};
use fit::fit;
pub use linfa_traits::{LogisticParams, LogisticValidParams};
use path::classes;
pub use trainer::LogisticTrainer;

const STRENGTH: &str = "C";

/// Root mean square norm that centred rows are brought to: with longer rows the intercepts weigh less in the gradient
/// and L-BFGS needs a third of the iterations (measured on 384-dimensional unit rows; 1 to 10 differ little).
const ROW_NORM: f64 = 3.0;

/// How a logistic head is fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogisticOptions {
    /// Inverse L2 strength as in scikit-learn: the objective is mean log loss + |W|²/(2·C·n).
    pub c: f64,
    /// Largest allowed relative distance |W - optimum| / |W| of the coefficients, as bounded by the gradient.
    pub tolerance: f64,
    /// Steps at most.
    pub max_iterations: u64,
    /// What does the work.
    pub solver: LogisticSolver,
    /// Whether there are intercepts, which are not penalised.
    pub fit_intercept: bool,
}

/// What brings a logistic head to its optimum; both end at the same coefficients, within the tolerance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogisticSolver {
    /// Preconditioned L-BFGS on passes that do everything at once.
    #[default]
    Fused,
    /// linfa-logistic, completed by Newton steps: one thread, classes only, no weights.
    Linfa,
}

impl LogisticSolver {
    fn words(self) -> &'static str {
        match self {
            Self::Fused => "fused L-BFGS",
            Self::Linfa => "linfa-logistic, Newton",
        }
    }
}

impl Default for LogisticOptions {
    /// C = 1, intercepts, coefficients within 1e-3, 2000 steps (20 are usual).
    fn default() -> Self {
        Self { c: 1.0, tolerance: 1e-3, max_iterations: 2000, solver: LogisticSolver::Fused, fit_intercept: true }
    }
}

/// What a fit measured about itself, on the rows as they came in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convergence {
    /// Steps.
    pub iterations: u64,
    /// Largest component of the mean objective's gradient: the quantity that scikit-learn's `tol` bounds.
    pub gradient_norm: f64,
    /// Mean log loss + |W|²/(2·C·n), in nats.
    pub objective: f64,
    /// Common factor that the centred rows were multiplied by while fitting.
    pub scale: f64,
    /// Bound on |W - optimum| / |W|: |gradient|·C·n / |W|, by the strong convexity of the penalty.
    pub coefficient_error: f64,
}

/// A fitted model: logits are `x·coefficientsᵀ + intercepts`.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticFit {
    /// 1 × dim for two classes (the logit of class 1), else classes × dim.
    pub coefficients: Array2<f64>,
    /// One per row of `coefficients`.
    pub intercepts: Vec<f64>,
    /// Inverse L2 strength it was fitted with.
    pub c: f64,
    /// How close to the optimum it is.
    pub convergence: Convergence,
    /// How close it was to come: the largest coefficient error that was allowed.
    pub tolerance: f64,
    /// What brought it there.
    pub solver: LogisticSolver,
}

impl LogisticFit {
    fn of(
        (coefficients, intercepts): (Array2<f64>, Vec<f64>),
        convergence: Convergence,
        options: &LogisticOptions,
    ) -> Self {
        let &LogisticOptions { c, tolerance, solver, .. } = options;
        Self { coefficients, intercepts, c, convergence, tolerance, solver }
    }

    /// The most probable class of each row.
    pub fn predict(&self, rows: ArrayView2<'_, f32>) -> Vec<usize> {
        classes(decide((&self.coefficients, &self.intercepts), rows).view())
    }
}

impl From<LogisticFit> for Fitted {
    fn from(fit: LogisticFit) -> Self {
        Self {
            model: Model::Linear(LinearModel { coefficients: fit.coefficients, intercepts: fit.intercepts }),
            strength: fit.c,
            optimality: Some(Optimality {
                solver: fit.solver.words().to_owned(),
                iterations: fit.convergence.iterations,
                objective: fit.convergence.objective,
                bound: "coefficient_error".to_owned(),
                reached: fit.convergence.coefficient_error,
                allowed: fit.tolerance,
            }),
        }
    }
}

/// Fits rows `x` (n × dim) with class numbers `y` (each below `classes`).
///
/// Binomial for two classes, multinomial for more, as in scikit-learn; intercepts, if any, are not penalised. The bulk of
/// the work is in f32, the end in f64.
///
/// # Errors
/// No rows, one class, a class without rows, counts that differ, values that are not finite, identical rows, options out
/// of range, and a fit that is not within the tolerance.
pub fn fit_logistic(
    x: ArrayView2<'_, f32>,
    y: &[usize],
    classes: usize,
    options: &LogisticOptions,
) -> Result<LogisticFit, Error> {
    let standard = x.as_standard_layout();
    let rows = Matrix::of(standard.view()).expect("the layout is standard");
    let targets = Targets::Classes { of: y.to_vec(), classes };
    fit(&LabelledRows { rows: &rows, targets: &targets, weights: None }, options)
}

/// Refuses options that no fit can have.
pub(super) fn check_options(options: &LogisticOptions) -> Result<(), Error> {
    check_positive(STRENGTH, &[options.c])?;
    check_positive("tolerance", &[options.tolerance])
}

/// Refuses a fit that is not within the tolerance.
fn certify(found: &Convergence, options: &LogisticOptions) -> Result<(), Error> {
    // Written so that NaN is refused as well.
    let within = found.coefficient_error <= options.tolerance;
    if within {
        return Ok(());
    }
    Err(FitError::NotOptimal {
        kind: "logistic",
        name: STRENGTH,
        strength: options.c,
        iterations: found.iterations,
        steps: "steps",
        bound: "relative coefficient error",
        reached: found.coefficient_error,
        allowed: options.tolerance,
    }
    .into())
}
