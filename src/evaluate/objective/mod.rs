//! Objectives: what one figure says how good decisions are, and the choice of anything goes by it.
//!
//! Knows decision values and targets, no trainer and no label names. Invariant: each is scikit-learn's or scipy's figure
//! of that name to rounding; where those give NaN or warn, the rule is written at the variant.

mod counted;
mod curves;
mod numbers;
mod rank;
mod ranked;
mod scorer;

use std::fmt;
use std::str::FromStr;

pub use curves::{CutPoint, average_precision, cut_points, roc_auc};
pub(super) use rank::kendall_tau_b;
pub use scorer::{Given, Scale, Scorer};

use super::error::Error;
use crate::model::Task;

/// What is made as large as possible, or, where less is better, as small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// Share of rows with the right class; of label sets, with exactly the right ones.
    Accuracy,
    /// Mean recall of the classes that are right somewhere.
    BalancedAccuracy,
    /// Mean F1 of the classes or labels that are right or given somewhere (scikit-learn's `zero_division=nan` for labels
    /// that are neither).
    F1Macro,
    /// F1 of all decisions together; of single classes the accuracy.
    F1Micro,
    /// Mean F1, each class or label as often as it is right.
    F1Weighted,
    /// Matthews' correlation of classes; 0 where one side has one class only.
    Matthews,
    /// Mean negative log probability of what is right, in nats; of labels the mean over them. Needs logits.
    LogLoss,
    /// Area under the ROC curve, of more than two classes each against the rest; the mean of those that have rows right
    /// and not.
    RocAuc,
    /// Average precision, likewise; the mean of those that are right somewhere.
    AveragePrecision,
    /// Share of the variance that is explained, the mean over targets; of a constant truth 1 if all is right, else 0.
    R2,
    /// Root of the mean squared error, the mean over targets.
    Rmse,
    /// Mean absolute error, the mean over targets.
    Mae,
    /// Pearson's correlation, the mean over targets. Constant predictions correlate with nothing: 0.
    Pearson,
    /// Spearman's rank correlation, likewise.
    Spearman,
    /// Kendall's tau-b, likewise.
    KendallTau,
}

impl Objective {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Accuracy,
        Self::BalancedAccuracy,
        Self::F1Macro,
        Self::F1Micro,
        Self::F1Weighted,
        Self::Matthews,
        Self::LogLoss,
        Self::RocAuc,
        Self::AveragePrecision,
        Self::R2,
        Self::Rmse,
        Self::Mae,
        Self::Pearson,
        Self::Spearman,
        Self::KendallTau,
    ];

    /// Its name, as flags and reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced_accuracy",
            Self::F1Macro => "f1_macro",
            Self::F1Micro => "f1_micro",
            Self::F1Weighted => "f1_weighted",
            Self::Matthews => "matthews_corrcoef",
            Self::LogLoss => "log_loss",
            Self::RocAuc => "roc_auc",
            Self::AveragePrecision => "average_precision",
            Self::R2 => "r2",
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::Pearson => "pearson",
            Self::Spearman => "spearman",
            Self::KendallTau => "kendalltau",
        }
    }

    /// What a choice goes by where nothing is said: macro-F1, or R² of numbers.
    pub fn default_of(task: Task) -> Self {
        match task {
            Task::Classification | Task::Multilabel => Self::F1Macro,
            Task::Regression => Self::R2,
        }
    }

    /// Whether it says something about heads for this task.
    pub fn serves(self, task: Task) -> bool {
        match self {
            Self::Accuracy
            | Self::F1Macro
            | Self::F1Micro
            | Self::F1Weighted
            | Self::LogLoss
            | Self::RocAuc
            | Self::AveragePrecision => task != Task::Regression,
            Self::BalancedAccuracy | Self::Matthews => task == Task::Classification,
            Self::R2 | Self::Rmse | Self::Mae | Self::Pearson | Self::Spearman | Self::KendallTau => {
                task == Task::Regression
            }
        }
    }

    /// Whether more of it is better.
    pub fn larger_is_better(self) -> bool {
        !matches!(self, Self::LogLoss | Self::Rmse | Self::Mae)
    }

    /// A figure turned so that larger is better.
    pub fn gain(self, figure: f64) -> f64 {
        if self.larger_is_better() { figure } else { -figure }
    }

    /// Refuses a task that it says nothing about.
    pub(super) fn check_task(self, task: Task) -> Result<(), Error> {
        if self.serves(task) { Ok(()) } else { Err(Error::ObjectiveTask { objective: self, task }) }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Objective {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let named = |objective: &Self| objective.name() == name;
        Self::ALL.into_iter().find(named).ok_or_else(|| Error::UnknownObjective { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests;
