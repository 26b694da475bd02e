//! k nearest neighbours for every task (scikit-learn's `KNeighborsClassifier` and `KNeighborsRegressor`, brute force).
//!
//! Knows rows and targets, no file and no metric of quality. Invariant: neighbours are the exact nearest ones, of equal
//! distances those with the lower row number, on any number of threads.

mod candidates;
mod distance;
mod search;
mod votes;

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use self::candidates::Neighbour;
pub use self::distance::Metric;
use self::search::Index;
pub use self::votes::Weighting;
use self::votes::decide;
use super::decisions::settle_missing_classes;
use super::error::{Error, FitError, FoldError};
use super::folds::Fold;
use super::kind::HeadKind;
use super::rows::{HeldRows, Matrix, Rows, Selection};
use super::sample::{Sample, check, check_folds, check_learnable, check_values};
use super::trainer::{Fitted, LabelledRows, Model, Simplest, StrengthName, TakeDecisions, Targets, Trainer};

const NEIGHBOURS: &str = "n_neighbors";
const KIND: &str = "knn";

/// Rows whose decision values are worked out in one task.
const BLOCK: usize = 1024;

/// How heads of nearest neighbours are made. The strength is `n_neighbors`, a whole number: the larger, the simpler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NeighbourTrainer {
    /// What near is.
    pub metric: Metric,
    /// How much each neighbour counts.
    pub weighting: Weighting,
}

/// Rows with what is right for them, to be looked up.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    rows: Array2<f32>,
    targets: Targets,
    count: usize,
    options: NeighbourTrainer,
}

impl Neighbours {
    /// Keeps `rows` (rows × dim) with their targets, to be asked for the nearest `count`.
    ///
    /// # Errors
    /// Rows and targets that do not go together, values that are not finite, a count that is 0 or beyond the rows.
    pub fn new(rows: Array2<f32>, targets: Targets, count: usize, options: NeighbourTrainer) -> Result<Self, Error> {
        let rows = if rows.is_standard_layout() { rows } else { rows.as_standard_layout().into_owned() };
        let matrix = Matrix::of(rows.view()).expect("standard layout");
        check(&LabelledRows { rows: &matrix, targets: &targets, weights: None })?;
        checked_count(count as f64, rows.nrows())?;
        Ok(Self { rows, targets, count, options })
    }

    /// What is looked up, rows × dim.
    pub fn rows(&self) -> &Array2<f32> {
        &self.rows
    }

    /// What is right for them.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// How many neighbours decide.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Metric and weighting.
    pub fn options(&self) -> NeighbourTrainer {
        self.options
    }

    /// Decision values of rows, rows × columns of the targets: of more than two classes the share of each; of two
    /// classes and of labels the share for less the share against; of numbers their mean.
    ///
    /// # Errors
    /// Rows of another width, or with values that are not finite.
    pub fn decisions(&self, rows: &dyn Rows) -> Result<Array2<f64>, Error> {
        let expected = self.rows.ncols();
        if rows.dim() != expected {
            return Err(Error::RowWidth { got: rows.dim(), expected });
        }
        check_values(rows)?;
        let known = Matrix::of(self.rows.view()).expect("standard layout, as `new` made it");
        let found = Index::new(&known, self.options.metric).nearest(rows, self.count);
        Ok(self.options.decisions(&self.targets, &found, self.count))
    }
}

impl Trainer for NeighbourTrainer {
    fn kind(&self) -> HeadKind {
        HeadKind::Neighbours
    }

    fn strength(&self) -> StrengthName {
        StrengthName { name: NEIGHBOURS, simplest: Simplest::Largest }
    }

    fn fit(&self, data: &LabelledRows<'_>, strength: f64) -> Result<Fitted, Error> {
        check_unweighted(data)?;
        check(data)?;
        check_learnable(data)?;
        check_different(data.rows, None)?;
        let count = checked_count(strength, data.rows.count())?;
        let shape = (data.rows.count(), data.rows.dim());
        let rows = Array2::from_shape_vec(shape, HeldRows::copy_of(data.rows).values());
        let rows = rows.expect("every row has `dim` numbers");
        let kept = Neighbours { rows, targets: data.targets.clone(), count, options: *self };
        Ok(Fitted { model: Model::Neighbours(kept), strength, optimality: None })
    }

    fn path(
        &self,
        data: &LabelledRows<'_>,
        folds: &[Fold],
        strengths: &[f64],
        take: TakeDecisions<'_>,
    ) -> Result<(), Error> {
        check_unweighted(data)?;
        check(data)?;
        check_folds(folds, data.rows.count())?;
        for (number, fold) in folds.iter().enumerate() {
            let failed = |strength: f64, source| FoldError::Fit {
                fold: number + 1,
                folds: folds.len(),
                name: NEIGHBOURS,
                strength,
                source: Box::new(source),
            };
            let counts: Vec<usize> = strengths
                .iter()
                .map(|&strength| checked_count(strength, fold.train.len()).map_err(|source| failed(strength, source)))
                .collect::<Result<_, FoldError>>()?;
            let Some(&most) = counts.iter().max() else { continue };
            check_different(data.rows, Some(&fold.train)).map_err(|source| failed(strengths[0], source))?;
            let (train, validation) =
                (Selection::new(data.rows, &fold.train), Selection::new(data.rows, &fold.validation));
            let found = Index::new(&train, self.metric).nearest(&validation, most);
            let targets = data.targets.select(&fold.train);
            for (at, &count) in counts.iter().enumerate() {
                let mut decisions = self.decisions(&targets, &found, count);
                settle_missing_classes(&Sample::of(*data, &fold.train), decisions.view_mut());
                take((number, at), decisions.view())?;
            }
        }
        Ok(())
    }
}

impl NeighbourTrainer {
    /// Decision values of queries by the first `count` of their neighbours.
    fn decisions(self, targets: &Targets, found: &[Vec<Neighbour>], count: usize) -> Array2<f64> {
        let mut decisions = Array2::zeros((found.len(), targets.columns()));
        let blocks: Vec<_> = decisions.axis_chunks_iter_mut(Axis(0), BLOCK).zip(found.chunks(BLOCK)).collect();
        blocks.into_par_iter().for_each(|(mut decisions, found)| {
            let mut weights = Vec::new();
            for (out, found) in decisions.rows_mut().into_iter().zip(found) {
                decide(targets, (&found[..count], self.weighting), &mut weights, out);
            }
        });
        decisions
    }
}

fn check_unweighted(data: &LabelledRows<'_>) -> Result<(), Error> {
    if data.weights.is_some() { Err(FitError::WeightsNotTaken { kind: KIND }.into()) } else { Ok(()) }
}

fn checked_count(asked: f64, rows: usize) -> Result<usize, Error> {
    if asked.fract() == 0.0 && (1.0..=rows as f64).contains(&asked) {
        Ok(asked as usize)
    } else {
        Err(FitError::NeighbourCount { asked, rows }.into())
    }
}

/// Refuses rows that are all the same vector: the lowest numbers would be the nearest of every query.
fn check_different(rows: &dyn Rows, numbers: Option<&[usize]>) -> Result<(), Error> {
    let count = numbers.map_or(rows.count(), <[usize]>::len);
    let row = |position: usize| rows.row(numbers.map_or(position, |numbers| numbers[position]));
    if count > 1 && (1..count).all(|position| row(position) == row(0)) {
        return Err(Error::IdenticalRows { rows: count });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
