//! Folds: which rows are fitted on and which are scored on, over and over, so that every row is scored by a model that
//! has not seen it.
//!
//! Knows targets and names of groups, no rows of floats and no metric. Invariant: the same targets, plan and seed give
//! the same folds on every machine.

mod groups;
mod missing;
mod stratified;

pub use groups::{group_folds, named_folds};
pub use missing::{MissingClass, missing_classes};
pub use stratified::{folds, stratified_folds};

use super::error::{Error, FoldError};
use super::trainer::Targets;

/// Folds at most: each is a fit of its own and lists all rows.
const MOST_FOLDS: usize = 1000;

/// Row numbers to fit on and to score on; no row is in both, both ascend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Rows to fit on.
    pub train: Vec<usize>,
    /// Rows to score on.
    pub validation: Vec<usize>,
}

impl Fold {
    /// Refuses a fold (`index` from 0) that lacks rows of either kind or names one of `rows` rows that is not there.
    ///
    /// # Errors
    /// Just that.
    pub fn check(&self, index: usize, rows: usize) -> Result<(), Error> {
        let (train, validation) = (self.train.len(), self.validation.len());
        if train == 0 || validation == 0 {
            return Err(FoldError::Empty { fold: index + 1, train, validation }.into());
        }
        match self.train.iter().chain(&self.validation).find(|&&row| row >= rows) {
            Some(&row) => Err(FoldError::Row { fold: index + 1, row, rows }.into()),
            None => Ok(()),
        }
    }
}

/// How rows are divided into folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldPlan<'a> {
    /// At random, each class or label spread evenly: [`folds`].
    Shuffled {
        /// Number of folds.
        folds: usize,
        /// What decides who goes where.
        seed: u64,
    },
    /// Whole groups: [`group_folds`].
    Groups {
        /// The group of each row.
        groups: &'a [Option<String>],
        /// Number of folds.
        folds: usize,
        /// What decides between equals.
        seed: u64,
    },
    /// As a column says: [`named_folds`].
    Named(&'a [Option<String>]),
}

impl FoldPlan<'_> {
    /// The folds of all rows.
    ///
    /// # Errors
    /// Those of the function that makes them.
    pub fn split(&self, targets: &Targets) -> Result<Vec<Fold>, Error> {
        match *self {
            Self::Shuffled { folds: count, seed } => folds(targets, count, seed),
            Self::Groups { groups, folds, seed } => group_folds(targets, groups, (folds, seed)),
            Self::Named(names) => Ok(named_folds(names, targets.rows())?.1),
        }
    }

    /// The folds of some rows (ascending), which keep their numbers: an inner cross-validation.
    ///
    /// # Errors
    /// As for [`FoldPlan::split`].
    pub fn split_within(&self, targets: &Targets, rows: &[usize]) -> Result<Vec<Fold>, Error> {
        let inner = targets.select(rows);
        let some = |names: &[Option<String>]| rows.iter().map(|&row| names.get(row).cloned().flatten()).collect();
        let split = match *self {
            Self::Shuffled { .. } => self.split(&inner),
            Self::Groups { groups, folds, seed } => {
                let groups: Vec<Option<String>> = some(groups);
                FoldPlan::Groups { groups: &groups, folds, seed }.split(&inner)
            }
            Self::Named(names) => FoldPlan::Named(&some(names)).split(&inner),
        }?;
        let outer = |inner: Vec<usize>| inner.into_iter().map(|row| rows[row]).collect();
        Ok(split
            .into_iter()
            .map(|fold| Fold { train: outer(fold.train), validation: outer(fold.validation) })
            .collect())
    }
}

/// The folds of rows that were each given a number below `count`; a row without one is only fitted on.
fn by_number(fold_of: &[Option<usize>], count: usize) -> Vec<Fold> {
    let fold = |index| {
        let (validation, train) = (0..fold_of.len()).partition(|&row| fold_of[row] == Some(index));
        Fold { train, validation }
    };
    (0..count).map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_folds_keep_the_numbers_of_the_rows() {
        let targets = Targets::Classes { of: (0..12).map(|row| row % 2).collect(), classes: 2 };
        let names: Vec<Option<String>> = (0..12).map(|row| Some(format!("part {}", row / 3))).collect();
        let rows = [0, 1, 2, 6, 7, 8, 9, 10, 11];
        for plan in [
            FoldPlan::Shuffled { folds: 3, seed: 1 },
            FoldPlan::Groups { groups: &names, folds: 3, seed: 1 },
            FoldPlan::Named(&names),
        ] {
            assert!(plan.split(&targets).unwrap().len() >= 3);
            let inner = plan.split_within(&targets, &rows).unwrap();
            assert_eq!(inner.len(), 3);
            let mut validated: Vec<usize> = inner.iter().flat_map(|fold| fold.validation.clone()).collect();
            validated.sort_unstable();
            assert_eq!(validated, rows, "{plan:?}");
            assert!(inner.iter().all(|fold| fold.train.len() == 6 && fold.train.iter().all(|row| rows.contains(row))));
        }
    }

    #[test]
    fn a_fold_needs_rows_that_are_there() {
        let fold =
            |train: &[usize], validation: &[usize]| Fold { train: train.to_vec(), validation: validation.to_vec() };
        assert!(fold(&[0], &[1]).check(0, 2).is_ok());
        let error = fold(&[0], &[2]).check(3, 2).unwrap_err();
        assert_eq!(error.to_string(), "fold 4 names row 2, expected a row below 2");
        let error = fold(&[], &[1]).check(0, 2).unwrap_err();
        assert_eq!(error.to_string(), "fold 1 has 0 rows to fit on and 1 to score on, expected at least 1 of each");
    }
}
