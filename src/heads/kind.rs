//! The kinds of heads: what each may be for, and what its one strength is called. Knows no solver.
//! Invariant: the names are those of the head file and of `--kind`, and never change.

use std::fmt;
use std::str::FromStr;

use super::error::FileProblem;
use super::head_file::shortened;
use crate::model::Task;

/// What made a head's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeadKind {
    /// Logistic regression: one label of several, or each of several by itself.
    Logistic,
    /// Linear regression with any penalty, as other programs may write it: numbers.
    Linear,
    /// Linear support vectors: margins of labels, or numbers.
    Svm,
    /// Squared loss and an L2 penalty: numbers, or labels by targets of -1 and 1.
    Ridge,
    /// Squared loss with an L1 and an L2 penalty: numbers.
    ElasticNet,
    /// The nearest of the rows that it was fitted on: shares of labels, or mean numbers.
    Neighbours,
}

impl HeadKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Logistic, Self::Linear, Self::Svm, Self::Ridge, Self::ElasticNet, Self::Neighbours];

    /// Whether heads of this kind can be for `task`.
    pub fn serves(self, task: Task) -> bool {
        match self {
            Self::Logistic => task != Task::Regression,
            Self::Linear | Self::ElasticNet => task == Task::Regression,
            Self::Svm | Self::Ridge | Self::Neighbours => true,
        }
    }

    /// What scikit-learn calls the one number that says how closely a head of this kind follows its rows.
    pub fn strength(self) -> &'static str {
        match self {
            Self::Logistic | Self::Linear | Self::Svm => "C",
            Self::Ridge | Self::ElasticNet => "alpha",
            Self::Neighbours => "n_neighbors",
        }
    }

    /// What a head file calls the same.
    pub(super) fn strength_key(self) -> &'static str {
        match self.strength() {
            "C" => "c",
            name => name,
        }
    }

    /// Whether its decision values are logits or shares, which are probabilities without a calibration.
    pub(super) fn is_probabilistic(self) -> bool {
        matches!(self, Self::Logistic | Self::Neighbours)
    }
}

impl fmt::Display for HeadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logistic => "logistic",
            Self::Linear => "linear",
            Self::Svm => "svm",
            Self::Ridge => "ridge",
            Self::ElasticNet => "elastic-net",
            Self::Neighbours => "knn",
        })
    }
}

impl FromStr for HeadKind {
    type Err = FileProblem;

    fn from_str(text: &str) -> Result<Self, FileProblem> {
        let expected = "`logistic`, `linear`, `svm`, `ridge`, `elastic-net` or `knn`";
        let known = Self::ALL.into_iter().find(|kind| kind.to_string() == text);
        known.ok_or_else(|| FileProblem::Value { key: "kind", got: shortened(text), expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_as_it_is_written() {
        for kind in HeadKind::ALL {
            assert_eq!(kind.to_string().parse::<HeadKind>().unwrap(), kind);
        }
        let error = "SVM".parse::<HeadKind>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`kind` of its metadata is `SVM`, expected `logistic`, `linear`, `svm`, `ridge`, `elastic-net` or `knn`"
        );
    }

    #[test]
    fn every_task_has_kinds_and_no_kind_is_without_one() {
        let serving = |task| HeadKind::ALL.into_iter().filter(|kind| kind.serves(task)).count();
        assert_eq!(Task::ALL.map(serving), [4, 4, 5]);
        assert!(!HeadKind::Logistic.serves(Task::Regression) && !HeadKind::ElasticNet.serves(Task::Multilabel));
    }
}
