//! A head is fitted on the `train` rows of a corpus, with what can be chosen chosen on rows that the fits had not seen,
//! and measured on every part of the split.
//!
//! Knows sets, trainers and figures, no flags and no files. Invariant: whatever is chosen (strength, calibration,
//! thresholds, sets) is chosen on the `train` and `dev` rows alone.

mod check;
mod choose;
mod curves;
mod map;
mod measure;
mod mistakes;
mod seen_groups;
mod settle;

use serde::Serialize;

pub use curves::{PrecisionRecall, precision_recall};
pub use map::{PlaneMap, plane_map};
pub use measure::{Figure, MeasuredPart, PartFigures, PartReport, Quality, UnknownRule};
pub use mistakes::{GivenAnswer, Mistake, worst_mistakes};
pub use seen_groups::SeenGroups;
pub use settle::{AnswerPlan, SettledAnswers};

use super::error::Error;
use super::{
    Bootstrap, ChosenStrength, GroupGap, LeakOptions, LeakRows, Leaks, LearningPoint, NestedEstimate, Objective, Rule,
    find_leaks,
};
use crate::heads::{Head, HeadDescription, MissingClass, Selection, TRAIN, Trainer, TrainingSet};
use choose::Bench;

/// How a head is fitted and chosen.
#[derive(Clone, Copy)]
pub struct FitPlan<'a> {
    /// Fits it.
    pub trainer: &'a dyn Trainer,
    /// One strength, or several of which one is chosen.
    pub strengths: &'a [f64],
    /// Folds of the cross-validation on the `train` rows; where nobody asks, `dev` rows take its place if there are any.
    pub folds: Option<usize>,
    /// What decides who is drawn, everywhere.
    pub seed: u64,
    /// What the choice goes by.
    pub objective: Objective,
    /// Which of the strengths is chosen.
    pub rule: Rule,
    /// Whether each class counts the same.
    pub balanced: bool,
    /// What becomes of decision values.
    pub answers: AnswerPlan,
    /// Whether shares of the rows are fitted, too.
    pub learning_curve: bool,
    /// Whether the score is also estimated with the choice inside each fold.
    pub nested: bool,
    /// What an unknown label means.
    pub unknown: UnknownRule,
    /// What counts as a row of several parts.
    pub leaks: LeakOptions,
}

/// A fitted head with all that was measured.
#[derive(Debug)]
pub struct Fitting {
    /// Ready to be saved.
    pub head: Head,
    /// What each strength reached, and on which rows; none where nothing was left out.
    pub choice: Option<Choice>,
    /// Classes that folds lack.
    pub missing: Vec<MissingClass>,
    /// What shares of the rows reach.
    pub learning_curve: Option<Vec<LearningPoint>>,
    /// The score with the choice inside each fold.
    pub nested: Option<NestedEstimate>,
    /// What is lost on groups that were not fitted on.
    pub gap: Option<GroupGap>,
    /// Thresholds and what they reach on the rows that they were chosen on.
    pub answers: SettledAnswers,
    /// One entry for each part that was measured, train first.
    pub parts: Vec<MeasuredPart>,
    /// Of all parts but `train` and `dev` together, where there are several: rows of groups that `train` has, and others.
    pub seen_groups: Option<SeenGroups>,
    /// Rows that are in several parts.
    pub leaks: Leaks,
}

/// How the strength was chosen.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    /// `dev`, `5-fold on train`, ...
    pub on: String,
    /// The scores.
    #[serde(skip)]
    pub chosen: ChosenStrength,
}

/// Shares of the rows that a learning curve has.
const SHARES: [f64; 6] = [0.1, 0.2, 0.4, 0.6, 0.8, 1.0];

/// Fits a head on the `train` rows and measures it everywhere. The labels of `description` are the set's own. What cannot
/// be done with a head is refused before it is fitted.
///
/// # Errors
/// Rows, targets and weights that make no problem of the trainer's kind, folds that cannot be made, an objective that is
/// not of the task, a fit that is not near its optimum, answers that cannot be settled so, and unknown labels where they
/// are refused.
pub fn fit_and_measure(set: &TrainingSet, plan: &FitPlan<'_>, description: HeadDescription) -> Result<Fitting, Error> {
    check::check(set, plan)?;
    let rows = set.rows();
    let bench = Bench::new(set, plan)?;
    bench.check_nested(plan)?;
    let selected = Selection::new(rows, &bench.numbers);
    let data = bench.data(&selected);
    let on = bench.on.clone();
    let chosen = bench.choose(&data, plan)?;
    let strength = chosen.as_ref().map_or(plan.strengths[0], ChosenStrength::strength);
    let train = set.rows_of(TRAIN);
    let fitted = bench.fit(set, (&train, rows), (plan, strength))?;

    let labels = set.classes.names[..set.classes.trained].to_vec();
    let kind = plan.trainer.kind();
    let mut head = Head::new((set.task(), kind), fitted, HeadDescription { labels, ..description })?;
    let answers = match &chosen {
        Some(chosen) => {
            settle::settle(&mut head, (&chosen.out_of_fold, &bench.targets), (&plan.answers, bench.own_weights()))?
        }
        None => settle::settle_without_rows(&mut head, &plan.answers)?,
    };
    let learning_curve = plan.learning_curve.then(|| bench.learning_curve(&data, (plan, strength))).transpose()?;
    let nested = plan.nested.then(|| bench.nested(&data, plan)).transpose()?;
    let gap = match &chosen {
        Some(chosen) => bench.gap(&data, (plan, chosen))?,
        None => None,
    };
    let (parts, seen_groups) = measure::parts(set, &head, plan)?;
    let figures: Vec<&PartFigures> = parts.iter().map(|part| &part.figures).collect();
    head.metrics = serde_json::to_value(&figures).map_err(|source| Error::Figures { source })?;
    let leaks = LeakRows { rows, ids: &set.ids, parts: &set.splits, texts: None };
    Ok(Fitting {
        head,
        missing: bench.missing(),
        choice: chosen.map(|chosen| Choice { on, chosen }),
        learning_curve,
        nested,
        gap,
        answers,
        parts,
        seen_groups,
        leaks: find_leaks(&leaks, &plan.leaks)?,
    })
}

/// Draws for intervals.
fn draws(seed: u64) -> Bootstrap {
    Bootstrap { seed, ..Bootstrap::default() }
}

#[cfg(test)]
mod tests;
