//! What can go wrong with folds: rows that cannot be parted, and fits on the rows of a fold.
//!
//! Knows counts and numbers of folds, no trainer. Invariant: folds and rows that a message numbers can be found again: folds
//! count from 1, rows from 0.

use thiserror::Error as ThisError;

use super::Error;
use super::fit::FitError;

/// Why rows cannot be parted into folds, or not be fitted fold by fold.
#[derive(Debug, ThisError)]
pub enum FoldError {
    /// More folds than rows, or less than two.
    #[error("{rows} rows cannot be split into {folds} folds: 2 to {rows} are possible")]
    RowCount {
        /// Folds asked for.
        folds: usize,
        /// Rows given.
        rows: usize,
    },
    /// No C, or no fold.
    #[error("nothing to choose from: {grid} values of C on {folds} folds")]
    NothingToChoose {
        /// Values of C.
        grid: usize,
        /// Folds.
        folds: usize,
    },
    /// A fold without rows to fit or to score on.
    #[error("fold {fold} has {train} rows to fit on and {validation} to score on, expected at least 1 of each")]
    Empty {
        /// 1-based fold.
        fold: usize,
        /// Rows to fit on.
        train: usize,
        /// Rows to score on.
        validation: usize,
    },
    /// A fold that names a row that is not there.
    #[error("fold {fold} names row {row}, expected a row below {rows}")]
    Row {
        /// 1-based fold.
        fold: usize,
        /// The row named.
        row: usize,
        /// Rows given.
        rows: usize,
    },
    /// A fit on the rows of a fold failed.
    #[error("fold {fold} of {folds} could not be fitted with {name} = {strength}")]
    Fit {
        /// 1-based fold.
        fold: usize,
        /// Folds in all.
        folds: usize,
        /// What the strength is called.
        name: &'static str,
        /// The strength.
        strength: f64,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// Names of groups or folds that are not one for each row.
    #[error("got {names} names of groups or folds for {rows} rows")]
    GroupNames {
        /// Names given.
        names: usize,
        /// Rows given.
        rows: usize,
    },
    /// More folds than groups, or less than two.
    #[error("rows of {groups} {} cannot be split into {folds} folds: a group is never parted", if *.groups == 1 { "group" } else { "groups" })]
    GroupCount {
        /// Folds asked for.
        folds: usize,
        /// Groups that the rows have.
        groups: usize,
    },
    /// A column that names fewer than two folds.
    #[error("{}, expected at least two folds", .name.as_ref().map_or(format!("none of {rows} rows names a fold"), |name| format!("all of {rows} rows that name a fold name `{name}`")))]
    Named {
        /// The one that is named.
        name: Option<String>,
        /// Rows given.
        rows: usize,
    },
    /// More folds asked for than anybody fits, each of which lists all rows.
    #[error("got {folds} folds of {rows} rows, expected at most {most}")]
    TooMany {
        /// Folds.
        folds: usize,
        /// Rows given.
        rows: usize,
        /// Folds at most.
        most: usize,
    },
    /// A column that names more folds than anybody fits.
    #[error("the field that names folds has {folds} values in {rows} rows, expected at most {most}")]
    TooManyNamed {
        /// Folds.
        folds: usize,
        /// Rows given.
        rows: usize,
        /// Folds at most.
        most: usize,
    },
}

impl FoldError {
    /// The way out, where it is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::GroupCount { groups: 0 | 1, .. } => {
                Some("name a field that parts the rows into at least two groups".to_owned())
            }
            Self::GroupCount { groups: 2, .. } => Some("ask for 2 folds".to_owned()),
            Self::GroupCount { groups, .. } => Some(format!("ask for 2 to {groups} folds")),
            Self::TooManyNamed { .. } => Some(
                "name a field with a few values, or give it as `--group-field`, which keeps its rows together"
                    .to_owned(),
            ),
            Self::TooMany { most, .. } => Some(format!("ask for 2 to {most} folds, 5 or 10 are usual")),
            Self::Fit { name: "C", strength, source, .. }
                if matches!(**source, Error::Fit(FitError::NotOptimal { .. } | FitError::NotSettled { .. })) =>
            {
                Some(format!("leave C = {strength} and larger ones out of the grid"))
            }
            Self::Fit { source, .. } => source.hint(),
            _ => None,
        }
    }
}
