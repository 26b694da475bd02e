//! What more labels would bring: scores by the number of rows that were fitted on. Knows folds, trainers and scores.
//! Invariant: the rows of a smaller share are among those of a larger one, and all are scored on the same rows.

use serde::Serialize;

use super::error::Error;
use super::objective::Objective;
use super::selection::{Rule, Search, StrengthPoint, decide, scored_rows};
use crate::heads::{Fold, LabelledRows, Random, Targets, Trainer};

/// What a learning curve is made with.
#[derive(Debug, Clone, Copy)]
pub struct LearningCurve<'a> {
    /// Rows to fit on, of which shares are taken, and to score on.
    pub folds: &'a [Fold],
    /// In the meaning of the trainer; the same for every share.
    pub strength: f64,
    /// Shares of the training rows, above 0 and at most 1.
    pub shares: &'a [f64],
    /// What is measured.
    pub objective: Objective,
    /// What decides which rows a share has.
    pub seed: u64,
}

/// Scores of fits on a share of the rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LearningPoint {
    /// Of the training rows.
    pub share: f64,
    /// Rows fitted on, the mean over the folds.
    pub rows: f64,
    /// Mean over the folds.
    pub mean: f64,
    /// Standard deviation over the folds (of these scores).
    pub spread: f64,
    /// One per fold, in their order.
    pub scores: Vec<f64>,
}

/// Fits shares of each fold's training rows, drawn with every class in proportion (one row of each class at least), and
/// scores them; shares ascending, each once.
///
/// # Errors
/// No shares or folds, a share out of range, folds that don't fit the rows, an objective that is not of the task or not
/// defined on a fold, and whatever the trainer refuses.
pub fn learning_curve(
    trainer: &dyn Trainer,
    data: &LabelledRows<'_>,
    curve: &LearningCurve<'_>,
) -> Result<Vec<LearningPoint>, Error> {
    if curve.folds.is_empty() || curve.shares.is_empty() {
        return Err(Error::NothingToChoose { strengths: curve.shares.len(), folds: curve.folds.len() });
    }
    if let Some(&share) = curve.shares.iter().find(|share| !(**share > 0.0 && **share <= 1.0)) {
        return Err(Error::Share { share });
    }
    curve.objective.check_task(data.targets.task())?;
    scored_rows(curve.folds, data.rows.count())?;
    let mut shares = curve.shares.to_vec();
    shares.sort_by(f64::total_cmp);
    shares.dedup();
    shares.into_iter().map(|share| point(trainer, data, curve, share)).collect()
}

fn point(
    trainer: &dyn Trainer,
    data: &LabelledRows<'_>,
    curve: &LearningCurve<'_>,
    share: f64,
) -> Result<LearningPoint, Error> {
    let smaller = |(index, fold): (usize, &Fold)| Fold {
        train: take_share(data.targets, &fold.train, (share, Random::of_draw(curve.seed, index as u64))),
        validation: fold.validation.clone(),
    };
    let folds: Vec<Fold> = curve.folds.iter().enumerate().map(smaller).collect();
    let strengths = [curve.strength];
    let search = Search { folds: &folds, strengths: &strengths, objective: curve.objective, rule: Rule::Best };
    let decided = decide(trainer, data, &search, (&strengths, false))?;
    let scores = decided.scores.into_iter().flatten().collect();
    let StrengthPoint { mean, spread, scores, .. } = StrengthPoint::of(curve.strength, scores);
    let rows = folds.iter().map(|fold| fold.train.len()).sum::<usize>() as f64 / folds.len() as f64;
    Ok(LearningPoint { share, rows, mean, spread, scores })
}

/// A share of the rows of each class, or of all rows where there are no classes, each share the start of one order.
fn take_share(targets: &Targets, rows: &[usize], (share, mut random): (f64, Random)) -> Vec<usize> {
    let mut order = rows.to_vec();
    random.shuffle(&mut order);
    let class = |row: usize| match targets {
        Targets::Classes { of, .. } => of[row],
        // The rarest matter most, and none is known without counting: the first label of a row stands for it.
        Targets::Labels { of, .. } => of[row].first().map_or(0, |label| label + 1),
        Targets::Numbers(_) => 0,
    };
    order.sort_by_key(|&row| class(row));
    let mut taken: Vec<usize> = Vec::new();
    for alike in order.chunk_by(|&a, &b| class(a) == class(b)) {
        let wanted = ((share * alike.len() as f64).round() as usize).clamp(1, alike.len());
        taken.extend(&alike[..wanted]);
    }
    taken.sort_unstable();
    taken
}

#[cfg(test)]
#[path = "learning_curve_tests.rs"]
mod tests;
