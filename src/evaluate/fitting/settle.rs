//! What becomes of a head's decision values, settled on rows that were left out: calibration, thresholds, sets of labels.
//! Knows heads, no rows of floats. Invariant: what is asked for is in the head afterwards, or an error says why not.

use std::collections::BTreeSet;

use ndarray::{Array2, Axis};

use super::super::error::Error;
use super::super::selection::OutOfFold;
use crate::heads::{
    Answered, Calibration, CalibrationMethod, ChosenThreshold, Decided, Head, Reading, Targets, ThresholdRule,
    choose_abstention, choose_thresholds,
};
use crate::model::{Conformal, Task};

/// Parts of the rows where all of them were left out at once.
const PARTS: usize = 5;

/// What is asked of a head's answers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AnswerPlan {
    /// How probabilities are made true.
    pub calibrate: Option<CalibrationMethod>,
    /// What thresholds are to reach. Of more than two classes a precision is reached by giving no label to some rows.
    pub thresholds: Option<ThresholdRule>,
    /// Share of sets that may lack the right label.
    pub conformal: Option<f64>,
    /// The probability below which no label is given.
    pub abstain: Option<f64>,
}

impl AnswerPlan {
    /// Whether rows that were left out decide about any of it.
    pub fn needs_rows(&self) -> bool {
        self.calibrate.is_some() || self.thresholds.is_some() || self.conformal.is_some()
    }

    /// Whether each label needs rows of its own among them: without any, it would be given to no paper any more.
    pub(super) fn needs_every_label(&self) -> bool {
        let by_label = matches!(self.calibrate, Some(CalibrationMethod::Platt | CalibrationMethod::Isotonic));
        by_label || self.thresholds.is_some()
    }
}

/// What was settled beside the head's own fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SettledAnswers {
    /// One for each label of several, one for the second of two classes, or one for each class below which no label is
    /// given; with what they reach on the rows that were left out.
    pub thresholds: Vec<ChosenThreshold>,
}

/// Settles all of it on decision values of rows that were left out; `targets` are those of all rows of the bench, and so
/// are `weights`: the rows' own, as weights of classes would count answers that new rows do not give so often.
pub(super) fn settle(
    head: &mut Head,
    (out_of_fold, targets): (&OutOfFold, &Targets),
    (plan, weights): (&AnswerPlan, Option<&[f64]>),
) -> Result<SettledAnswers, Error> {
    let targets = targets.select(&out_of_fold.rows);
    let weights: Option<Vec<f64>> = weights.map(|all| out_of_fold.rows.iter().map(|&row| all[row]).collect());
    let weights = weights.as_deref();
    let decisions = out_of_fold.decisions.view();
    let decided = Decided { decisions, targets: &targets, weights };
    if let Some(method) = plan.calibrate {
        head.calibration = Some(Calibration::fit(method, &decided)?);
    }
    let mut settled = settle_without_rows(head, plan)?;
    if plan.thresholds.is_none() && plan.conformal.is_none() {
        return Ok(settled);
    }
    let answers = head.reading().answers(decisions)?;
    debug_assert_eq!(answers.len_of(Axis(0)), targets.rows());
    if let Some(rule) = plan.thresholds {
        let answered = Answered { answers: answers.view(), meaning: head.meaning(), targets: &targets, weights };
        match (rule, &targets) {
            (ThresholdRule::Precision(share), Targets::Classes { classes: 3.., .. }) => {
                settled.thresholds = choose_abstention(&answered, share, plan.abstain)?;
                head.abstain = Some(settled.thresholds.iter().map(|threshold| threshold.value).collect());
            }
            _ => {
                settled.thresholds = choose_thresholds(&answered, rule)?;
                head.thresholds = Some(settled.thresholds.iter().map(|threshold| threshold.value).collect());
            }
        }
    }
    if let Some(alpha) = plan.conformal {
        let Targets::Classes { of, .. } = &targets else {
            return Err(Error::SetsOfTask { task: targets.task() });
        };
        let unseen = match plan.calibrate {
            Some(method) => calibrated_apart(head, &decided, (method, &out_of_fold.folds))?,
            None => answers,
        };
        head.conformal = Some(Conformal::fit(unseen.view(), of, alpha)?);
    }
    Ok(settled)
}

/// Answers that are each calibrated without their own fold, since sets hold what they promise only on rows that the
/// calibration had not seen. Rows that were all left out at once are divided by their place.
fn calibrated_apart(
    head: &Head,
    decided: &Decided<'_>,
    (method, folds): (CalibrationMethod, &[usize]),
) -> Result<Array2<f64>, Error> {
    let at_once = folds.iter().all(|&fold| fold == folds[0]);
    let part = |row: usize| if at_once { row % PARTS } else { folds[row] };
    let parts: BTreeSet<usize> = (0..folds.len()).map(part).collect();
    let mut answers = head.reading().answers(decided.decisions)?;
    for apart in parts {
        let (inside, others): (Vec<usize>, Vec<usize>) = (0..folds.len()).partition(|&row| part(row) == apart);
        let decisions = decided.decisions.select(Axis(0), &others);
        let targets = decided.targets.select(&others);
        let weights: Option<Vec<f64>> = decided.weights.map(|all| others.iter().map(|&row| all[row]).collect());
        let others = Decided { decisions: decisions.view(), targets: &targets, weights: weights.as_deref() };
        // Where the other rows are too few to be calibrated on, the calibration of all rows stands.
        let Ok(calibration) = Calibration::fit(method, &others) else { continue };
        let reading = Reading { calibration: Some(&calibration), ..head.reading() };
        let own = reading.answers(decided.decisions.select(Axis(0), &inside).view())?;
        for (&row, own) in inside.iter().zip(own.rows()) {
            answers.row_mut(row).assign(&own);
        }
    }
    Ok(answers)
}

/// What needs no rows; whether it is for a head of this kind was checked before the fit.
pub(super) fn settle_without_rows(head: &mut Head, plan: &AnswerPlan) -> Result<SettledAnswers, Error> {
    if let Some(least) = plan.abstain {
        if head.task != Task::Classification {
            return Err(Error::AbstainOfTask { task: head.task });
        }
        head.abstain = Some(vec![least; head.labels.len()]);
    }
    Ok(SettledAnswers::default())
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
