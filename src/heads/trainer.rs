//! What all kinds of heads have in common while they are fitted: labelled rows go in, a model comes out, and on the way
//! a path over strengths gives decision values for rows that were left out.
//!
//! Knows no kind and no metric. Invariant: decision values are what a model gives before any probability: logits,
//! margins, numbers; one column for two classes (above 0 is the second), else one per class, label or number.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::folds::Fold;
use super::kind::HeadKind;
use super::neighbours::Neighbours;
use super::rows::Rows;
use crate::model::Task;

/// What is right for each row.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// One class of several.
    Classes {
        /// The class number of each row, below `classes`.
        of: Vec<usize>,
        /// Number of classes, at least 2.
        classes: usize,
    },
    /// Any number of labels.
    Labels {
        /// Label numbers of each row, ascending, each once and below `labels`.
        of: Vec<Vec<usize>>,
        /// Number of labels.
        labels: usize,
    },
    /// Numbers, rows × targets.
    Numbers(Array2<f64>),
}

impl Targets {
    /// The task that they make.
    pub fn task(&self) -> Task {
        match self {
            Self::Classes { .. } => Task::Classification,
            Self::Labels { .. } => Task::Multilabel,
            Self::Numbers(_) => Task::Regression,
        }
    }

    /// Rows that they are of.
    pub fn rows(&self) -> usize {
        match self {
            Self::Classes { of, .. } => of.len(),
            Self::Labels { of, .. } => of.len(),
            Self::Numbers(numbers) => numbers.nrows(),
        }
    }

    /// Columns of the decision values.
    pub fn columns(&self) -> usize {
        match self {
            Self::Classes { classes: 2, .. } => 1,
            Self::Classes { classes, .. } => *classes,
            Self::Labels { labels, .. } => *labels,
            Self::Numbers(numbers) => numbers.ncols(),
        }
    }

    /// Those of the rows with these numbers, as many classes and labels as before.
    pub fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Classes { of, classes } => {
                Self::Classes { of: rows.iter().map(|&row| of[row]).collect(), classes: *classes }
            }
            Self::Labels { of, labels } => {
                Self::Labels { of: rows.iter().map(|&row| of[row].clone()).collect(), labels: *labels }
            }
            Self::Numbers(numbers) => Self::Numbers(numbers.select(ndarray::Axis(0), rows)),
        }
    }
}

/// Rows with what is right for them.
#[derive(Clone, Copy)]
pub struct LabelledRows<'a> {
    /// As many as there are targets.
    pub rows: &'a dyn Rows,
    /// What is right.
    pub targets: &'a Targets,
    /// How much each row counts, finite and not negative; all count 1 where there are none. Weights of classes are
    /// weights of their rows.
    pub weights: Option<&'a [f64]>,
}

/// A linear model: decision values are `x·coefficientsᵀ + intercepts`.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearModel {
    /// Columns of the decision values × dim.
    pub coefficients: Array2<f64>,
    /// One per row of `coefficients`.
    pub intercepts: Vec<f64>,
}

/// Which end of a range of strengths makes the simplest model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simplest {
    /// C of scikit-learn's classifiers.
    Smallest,
    /// A penalty, or the number of neighbours.
    Largest,
}

/// The one number that says how closely a model follows its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrengthName {
    /// As scikit-learn calls it: `C`, `alpha`, `n_neighbors`.
    pub name: &'static str,
    /// Which end is the simplest model.
    pub simplest: Simplest,
}

/// Takes decision values of a fold's validation rows (in the order of the fold) at a strength: the numbers of fold and
/// strength, and rows × columns. It may be called from several threads of the pool at once, and so must not work in parallel
/// while it holds a lock.
pub type TakeDecisions<'a> = &'a (dyn Fn((usize, usize), ArrayView2<'_, f64>) -> Result<(), Error> + Sync);

/// How near to the optimum a fit is, as its solver measures it on the rows as they came in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimality {
    /// The method, in a word or two.
    pub solver: String,
    /// Its steps or passes; 0 of a direct solution.
    pub iterations: u64,
    /// The objective as scikit-learn writes it for this kind; of several columns their sum.
    pub objective: f64,
    /// The quantity that says how far the optimum can be: `coefficient_error`, `duality_gap`, `residual`.
    pub bound: String,
    /// Its value, the largest of several columns.
    pub reached: f64,
    /// The largest that was asked for.
    pub allowed: f64,
}

/// What decides, without its labels.
#[derive(Debug, Clone, PartialEq)]
pub enum Model {
    /// Weighted sums.
    Linear(LinearModel),
    /// The rows themselves.
    Neighbours(Neighbours),
}

/// A model with the strength that it was fitted with.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// What decides.
    pub model: Model,
    /// In the meaning of its trainer's [`StrengthName`].
    pub strength: f64,
    /// How near to the optimum it is; none where nothing is optimized.
    pub optimality: Option<Optimality>,
}

/// Fits heads of one kind.
pub trait Trainer: Sync {
    /// The kind of its heads.
    fn kind(&self) -> HeadKind;

    /// What its strengths are.
    fn strength(&self) -> StrengthName;

    /// One model on all rows.
    ///
    /// # Errors
    /// Rows and targets that make no problem of this kind, a strength out of range, a fit that is not near the optimum.
    fn fit(&self, data: &LabelledRows<'_>, strength: f64) -> Result<Fitted, Error>;

    /// Fits every strength on the training rows of every fold and hands the decision values of its validation rows to
    /// `take`. A class that a fold's training rows lack gets the value negative infinity there, or, of two classes, the
    /// one column is infinite on the side of the class that is there.
    ///
    /// # Errors
    /// As for [`Trainer::fit`], with fold and strength named; whatever `take` gives.
    fn path(
        &self,
        data: &LabelledRows<'_>,
        folds: &[Fold],
        strengths: &[f64],
        take: TakeDecisions<'_>,
    ) -> Result<(), Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_rows_of_targets() {
        let classes = Targets::Classes { of: vec![0, 1, 1], classes: 2 };
        assert_eq!((classes.task(), classes.rows(), classes.columns()), (Task::Classification, 3, 1));
        assert_eq!(classes.select(&[2, 0]), Targets::Classes { of: vec![1, 0], classes: 2 });
        let labels = Targets::Labels { of: vec![vec![], vec![0, 2]], labels: 3 };
        assert_eq!((labels.task(), labels.rows(), labels.columns()), (Task::Multilabel, 2, 3));
        assert_eq!(labels.select(&[1]), Targets::Labels { of: vec![vec![0, 2]], labels: 3 });
        let numbers = Targets::Numbers(ndarray::array![[1.0, 2.0]]);
        assert_eq!((numbers.task(), numbers.rows(), numbers.columns()), (Task::Regression, 1, 2));
    }
}
