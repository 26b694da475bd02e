//! What a head is worth whose strength was chosen on the same rows: a cross-validation around the choice. Knows folds,
//! trainers and scores. Invariant: no row is scored by a model whose strength that row helped to choose.

use serde::Serialize;

use super::error::Error;
use super::selection::{
    ChosenStrength, OutOfFold, Search, StrengthPoint, choose_strength_for, decide, in_row_order, scored_rows,
};
use crate::heads::{FoldPlan, LabelledRows, Trainer};

/// One outer fold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NestedFold {
    /// The strength that its training rows chose.
    pub strength: f64,
    /// What the rows that took no part in the choice say of it.
    pub score: f64,
}

/// The estimate, fold by fold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NestedEstimate {
    /// Mean over the outer folds.
    pub mean: f64,
    /// Standard deviation over the outer folds (of these scores).
    pub spread: f64,
    /// In the order of the outer folds.
    pub folds: Vec<NestedFold>,
    /// Decision values of the scored rows.
    #[serde(skip)]
    pub out_of_fold: OutOfFold,
}

/// Chooses a strength within the training rows of every fold of `search` by folds that `inner` makes of them, fits it on
/// these rows and scores the others.
///
/// # Errors
/// As for [`super::choose_strength`], and training rows that `inner` cannot divide.
pub fn nested_estimate(
    trainer: &dyn Trainer,
    data: &LabelledRows<'_>,
    search: &Search<'_>,
    inner: &FoldPlan<'_>,
) -> Result<NestedEstimate, Error> {
    let (rows, fold_of) = scored_rows(search.folds, data.rows.count())?;
    if search.folds.is_empty() {
        return Err(Error::NothingToChoose { strengths: search.strengths.len(), folds: 0 });
    }
    let mut folds = Vec::with_capacity(search.folds.len());
    let mut decisions = Vec::with_capacity(search.folds.len());
    for fold in search.folds {
        let inner_folds = inner.split_within(data.targets, &fold.train)?;
        let within = Search { folds: &inner_folds, ..*search };
        let chosen: ChosenStrength = choose_strength_for(false, trainer, data, &within)?;
        let strength = chosen.strength();
        let outer = Search { folds: std::slice::from_ref(fold), ..*search };
        let decided = decide(trainer, data, &outer, (&[strength], true))?;
        folds.push(NestedFold { strength, score: decided.scores[0][0] });
        decisions.extend(decided.kept.into_iter().flatten().flatten());
    }
    let scores = folds.iter().map(|fold| fold.score).collect();
    let StrengthPoint { mean, spread, .. } = StrengthPoint::of(0.0, scores);
    let decisions = in_row_order(search.folds, (&rows, data.targets.columns()), &decisions);
    Ok(NestedEstimate { mean, spread, folds, out_of_fold: OutOfFold { rows, folds: fold_of, decisions } })
}

#[cfg(test)]
#[path = "nested_tests.rs"]
mod tests;
