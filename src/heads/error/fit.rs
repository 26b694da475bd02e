//! What can go wrong in a fit: options and tasks that a kind does not take, and solvers that did not come to the optimum.
//!
//! Knows kinds by their names, no rows. Invariant: a fit that is not near enough to its optimum says how far it may be off,
//! and what was allowed.

use thiserror::Error as ThisError;

use crate::model::Task;

/// Why a kind of head cannot be fitted, or was not.
#[derive(Debug, ThisError)]
pub enum FitError {
    /// A fit that only chooses is not near its optimum.
    #[error(
        "logistic fit with C = {c} did not settle: after {iterations} steps its loss may still fall by {decrement:.1e} nats \
         a row, allowed {allowed:.1e}"
    )]
    NotSettled {
        /// Inverse L2 strength.
        c: f64,
        /// Steps done.
        iterations: u64,
        /// What the loss may still fall by, in nats a row.
        decrement: f64,
        /// The largest that is allowed.
        allowed: f64,
    },
    /// A fit that is not provably near enough to the optimum.
    #[error(
        "{kind} fit with {name} = {strength} did not converge: after {iterations} {steps} its {bound} is {reached:.1e}, \
         allowed {allowed:.1e}"
    )]
    NotOptimal {
        /// The kind.
        kind: &'static str,
        /// What its strength is called.
        name: &'static str,
        /// The strength.
        strength: f64,
        /// Steps done.
        iterations: u64,
        /// What its steps are called.
        steps: &'static str,
        /// What bounds the distance from the optimum, in words.
        bound: &'static str,
        /// Its value.
        reached: f64,
        /// The largest that was asked for.
        allowed: f64,
    },
    /// The penalty is so large that no coefficient is left.
    #[error(
        "{kind} fit with alpha = {alpha} has no coefficient but 0 for target {target}: from alpha = {none_from:.3e} on there is none"
    )]
    AllZero {
        /// The kind.
        kind: &'static str,
        /// The penalty.
        alpha: f64,
        /// 0-based target.
        target: usize,
        /// The smallest penalty that leaves no coefficient.
        none_from: f64,
    },
    /// No number is so far from 0 that it would cost a model of zeros anything.
    #[error(
        "svm fit with epsilon = {epsilon} has no coefficient but 0 for target {target}: no number is further from 0 than {largest}"
    )]
    WithinEpsilon {
        /// How far a number may be off at no cost.
        epsilon: f64,
        /// 0-based target.
        target: usize,
        /// The largest distance from 0.
        largest: f64,
    },
    /// A kind of head that does not do this task.
    #[error("a head of kind `{kind}` cannot be fitted for {task}: {why}")]
    NotForTask {
        /// The kind.
        kind: &'static str,
        /// What was asked of it.
        task: Task,
        /// What it does instead.
        why: &'static str,
    },
    /// A kind of head that has no use for weights.
    #[error("a head of kind `{kind}` cannot weigh rows")]
    WeightsNotTaken {
        /// The kind.
        kind: &'static str,
    },
    /// A loss that says nothing about what is to be fitted.
    #[error("the loss `{loss}` is not one for {task}")]
    LossOfOtherTask {
        /// Its name in scikit-learn.
        loss: &'static str,
        /// What was to be fitted.
        task: Task,
    },
    /// A number of neighbours that cannot be looked up.
    #[error("n_neighbors is {asked}, expected a whole number from 1 to the {rows} rows")]
    NeighbourCount {
        /// What was asked for.
        asked: f64,
        /// Rows to choose from.
        rows: usize,
    },
}

impl FitError {
    /// The way out, where it is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotOptimal { name: "C", .. } => Some("use a smaller C or a larger tolerance".to_owned()),
            Self::NotOptimal { name: "alpha", .. } => Some("use a larger alpha or tolerance".to_owned()),
            Self::AllZero { none_from, .. } => Some(format!("use an alpha well below {none_from:.3e}")),
            Self::WithinEpsilon { largest, .. } => Some(format!("use an epsilon well below {largest}")),
            Self::LossOfOtherTask { task: Task::Regression, .. } => {
                Some("numbers take `epsilon_insensitive` and `squared_epsilon_insensitive`".to_owned())
            }
            Self::LossOfOtherTask { .. } => Some("classes and labels take `hinge` and `squared_hinge`".to_owned()),
            _ => None,
        }
    }
}
