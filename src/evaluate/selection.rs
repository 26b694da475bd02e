//! The choice of a strength by cross-validation, for any trainer and any objective.
//!
//! Knows folds, trainers and scores, no kind of head. Invariant: the choice depends on rows, folds and strengths alone,
//! and every figure of it comes from rows that the model had not seen.

use std::sync::Mutex;

use ndarray::{Array2, ArrayView2, Axis};
use serde::Serialize;

use super::error::Error;
use super::objective::{Given, Objective, Scale, Scorer};
use crate::heads::{self, Fold, LabelledRows, Simplest, StrengthName, Trainer};

/// Decision values that are kept while strengths are compared, 8 bytes each; of more, those of the chosen strength are
/// computed a second time where they are needed.
const MOST_KEPT: usize = 1 << 26;

/// Which of the strengths is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// The one of the best mean; of equals the simplest.
    #[default]
    Best,
    /// The simplest whose mean is within one standard error of the best (Breiman et al., "Classification and regression
    /// trees", 1984).
    OneStandardError,
}

/// What is tried, and what decides.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// Rows to fit on and to score on; a row is scored once at most.
    pub folds: &'a [Fold],
    /// In any order; each is tried once.
    pub strengths: &'a [f64],
    /// What is to be as good as possible. Rows are scored without their weights.
    pub objective: Objective,
    /// Which one is chosen.
    pub rule: Rule,
}

/// Scores of one strength.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StrengthPoint {
    /// In the meaning of the trainer.
    pub strength: f64,
    /// Mean over the folds.
    pub mean: f64,
    /// Standard deviation over the folds (of these scores, not of a population they are drawn from).
    pub spread: f64,
    /// Of the mean: the folds' sample standard deviation over the root of their number; none of one fold.
    pub standard_error: Option<f64>,
    /// One per fold, in their order.
    pub scores: Vec<f64>,
}

impl StrengthPoint {
    pub(super) fn of(strength: f64, scores: Vec<f64>) -> Self {
        let count = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / count;
        let squares: f64 = scores.iter().map(|score| (score - mean) * (score - mean)).sum();
        let standard_error = (scores.len() > 1).then(|| (squares / (count - 1.0)).sqrt() / count.sqrt());
        Self { strength, mean, spread: (squares / count).sqrt(), standard_error, scores }
    }
}

/// Decision values of rows by models that had not seen them.
#[derive(Debug, Clone, PartialEq)]
pub struct OutOfFold {
    /// Numbers of the rows that were scored, ascending.
    pub rows: Vec<usize>,
    /// The fold (from 0) that scored each of them.
    pub folds: Vec<usize>,
    /// Rows × columns of the targets, in the order of `rows`; infinite where a fold lacked a class.
    pub decisions: Array2<f64>,
}

/// Scores of all strengths, and the one that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct ChosenStrength {
    /// What the trainer calls its strengths, and which end is the simplest.
    pub name: StrengthName,
    /// What was scored.
    pub objective: Objective,
    /// One per strength, ascending.
    pub points: Vec<StrengthPoint>,
    /// Which of `points` has the best mean.
    pub best: usize,
    /// Which of them was chosen by the rule.
    pub chosen: usize,
    /// Of the chosen strength: what thresholds and calibration start from.
    pub out_of_fold: OutOfFold,
}

impl ChosenStrength {
    /// The strength that was chosen.
    pub fn strength(&self) -> f64 {
        self.points[self.chosen].strength
    }
}

/// Fits every strength on every fold and chooses one by the scores of the rows that were left out. A fold that lacks a
/// class is scored as it is: see [`heads::missing_classes`] for what to warn of.
///
/// # Errors
/// No strengths or folds, a strength that is not finite, folds that don't fit the rows or score a row twice, the
/// one-standard-error rule with one fold, an objective that is not of the task or not defined on a fold, and whatever
/// the trainer refuses.
pub fn choose_strength(
    trainer: &dyn Trainer,
    data: &LabelledRows<'_>,
    search: &Search<'_>,
) -> Result<ChosenStrength, Error> {
    choose_keeping(trainer, data, search, (MOST_KEPT, true))
}

/// The same where nobody may need the chosen strength's decision values: of too many to keep there are none, rather than
/// a second fit of every fold.
pub(super) fn choose_strength_for(
    needs_rows: bool,
    trainer: &dyn Trainer,
    data: &LabelledRows<'_>,
    search: &Search<'_>,
) -> Result<ChosenStrength, Error> {
    choose_keeping(trainer, data, search, (MOST_KEPT, needs_rows))
}

/// The same with so many decision values kept at most.
fn choose_keeping(
    trainer: &dyn Trainer,
    data: &LabelledRows<'_>,
    search: &Search<'_>,
    (most, needs_rows): (usize, bool),
) -> Result<ChosenStrength, Error> {
    let name = trainer.strength();
    let strengths = checked_strengths(name, search)?;
    if search.rule == Rule::OneStandardError && search.folds.len() < 2 {
        return Err(Error::OneFold);
    }
    search.objective.check_task(data.targets.task())?;
    let (rows, fold_of) = scored_rows(search.folds, data.rows.count())?;
    let keep = rows.len() * data.targets.columns() * strengths.len() <= most;
    let decided = decide(trainer, data, search, (&strengths, keep))?;

    let score = |at: usize| decided.scores.iter().map(|of_fold| of_fold[at]).collect();
    let points: Vec<StrengthPoint> =
        strengths.iter().enumerate().map(|(at, &strength)| StrengthPoint::of(strength, score(at))).collect();
    let (best, chosen) = choose(&points, (search.objective, name.simplest), search.rule);
    let kept = match decided.kept {
        Some(mut kept) => kept.swap_remove(chosen),
        None if !needs_rows => {
            let decisions = Array2::zeros((0, data.targets.columns()));
            let out_of_fold = OutOfFold { rows: Vec::new(), folds: Vec::new(), decisions };
            return Ok(ChosenStrength { name, objective: search.objective, points, best, chosen, out_of_fold });
        }
        None => {
            let again = decide(trainer, data, search, (&[strengths[chosen]], true))?;
            again.kept.map_or_else(Vec::new, |mut kept| kept.swap_remove(0))
        }
    };
    let decisions = in_row_order(search.folds, (&rows, data.targets.columns()), &kept);
    let out_of_fold = OutOfFold { rows, folds: fold_of, decisions };
    Ok(ChosenStrength { name, objective: search.objective, points, best, chosen, out_of_fold })
}

/// Strengths ascending, each once.
fn checked_strengths(name: StrengthName, search: &Search<'_>) -> Result<Vec<f64>, Error> {
    if search.strengths.is_empty() || search.folds.is_empty() {
        return Err(Error::NothingToChoose { strengths: search.strengths.len(), folds: search.folds.len() });
    }
    if let Some(&value) = search.strengths.iter().find(|strength| !strength.is_finite()) {
        return Err(Error::StrengthNotFinite { name: name.name, value });
    }
    let mut strengths = search.strengths.to_vec();
    strengths.sort_by(f64::total_cmp);
    strengths.dedup();
    Ok(strengths)
}

/// Numbers of the rows that folds score, ascending, and the fold of each.
pub(super) fn scored_rows(folds: &[Fold], rows: usize) -> Result<(Vec<usize>, Vec<usize>), Error> {
    let mut fold_of: Vec<Option<usize>> = vec![None; rows];
    for (index, fold) in folds.iter().enumerate() {
        fold.check(index, rows)?;
        for &row in &fold.validation {
            if let Some(other) = fold_of[row].replace(index) {
                return Err(Error::ScoredTwice { row, folds: (other + 1, index + 1) });
            }
        }
    }
    Ok(fold_of.into_iter().enumerate().filter_map(|(row, fold)| fold.map(|fold| (row, fold))).unzip())
}

/// What a path over strengths came to.
pub(super) struct Decided {
    /// By fold, then by strength.
    pub scores: Vec<Vec<f64>>,
    /// By strength, then by fold, if they were to be kept.
    pub kept: Option<Vec<Vec<Array2<f64>>>>,
}

/// Runs the path and scores what it decides.
pub(super) fn decide(
    trainer: &dyn Trainer,
    data: &LabelledRows<'_>,
    search: &Search<'_>,
    (strengths, keep): (&[f64], bool),
) -> Result<Decided, Error> {
    type Cell = (Result<f64, Error>, Option<Array2<f64>>);
    let folds = search.folds;
    let scale = Scale::of(trainer.kind());
    let truths: Vec<heads::Targets> = folds.iter().map(|fold| data.targets.select(&fold.validation)).collect();
    let cells: Vec<Mutex<Option<Cell>>> = (0..folds.len() * strengths.len()).map(|_| Mutex::new(None)).collect();
    let take = |(fold, strength): (usize, usize), decisions: ArrayView2<'_, f64>| {
        let scorer = Scorer::new(search.objective, &truths[fold], Given::Decisions(decisions, scale));
        let score = scorer.and_then(|scorer| scorer.score());
        let cell = &cells[fold * strengths.len() + strength];
        let mut cell = cell.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *cell = Some((score, keep.then(|| decisions.to_owned())));
        Ok(())
    };
    trainer.path(data, folds, strengths, &take)?;

    let name = trainer.strength().name;
    let mut scores = vec![Vec::with_capacity(strengths.len()); folds.len()];
    let mut kept = vec![Vec::with_capacity(folds.len()); strengths.len()];
    for (index, cell) in cells.into_iter().enumerate() {
        let (fold, at) = (index / strengths.len(), index % strengths.len());
        let strength = strengths[at];
        let cell = cell.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (score, decisions) = cell.ok_or(Error::NotDecided { fold: fold + 1, name, strength })?;
        let (fold_number, count) = (fold + 1, folds.len());
        scores[fold].push(score.map_err(|source| Error::Fold {
            fold: fold_number,
            folds: count,
            name,
            strength,
            source: Box::new(source),
        })?);
        kept[at].extend(decisions);
    }
    Ok(Decided { scores, kept: keep.then_some(kept) })
}

/// Decision values by fold become those of `rows` (ascending).
pub(super) fn in_row_order(folds: &[Fold], (rows, columns): (&[usize], usize), by_fold: &[Array2<f64>]) -> Array2<f64> {
    let mut decisions = Array2::zeros((rows.len(), columns));
    for (fold, values) in folds.iter().zip(by_fold) {
        for (row, values) in fold.validation.iter().zip(values.axis_iter(Axis(0))) {
            let place = rows.binary_search(row).expect("every validated row is in the list of them");
            decisions.row_mut(place).assign(&values);
        }
    }
    decisions
}

/// The best of the points (strengths ascending), and the one that the rule chooses.
fn choose(points: &[StrengthPoint], (objective, simplest): (Objective, Simplest), rule: Rule) -> (usize, usize) {
    let gain = |at: usize| objective.gain(points[at].mean);
    // From the simplest on.
    let order: Vec<usize> = match simplest {
        Simplest::Smallest => (0..points.len()).collect(),
        Simplest::Largest => (0..points.len()).rev().collect(),
    };
    let best = order.iter().copied().fold(order[0], |best, at| if gain(at) > gain(best) { at } else { best });
    let chosen = match (rule, points[best].standard_error) {
        (Rule::OneStandardError, Some(error)) => order.into_iter().find(|&at| gain(at) >= gain(best) - error),
        _ => None,
    };
    (best, chosen.unwrap_or(best))
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
