//! What becomes of a head's decision values, settled on rows that were left out: calibration, thresholds, sets of labels.
//! Knows heads, no rows of floats. Invariant: what is asked for is in the head afterwards, or an error says why not.

use ndarray::Axis;

use super::super::error::Error;
use super::super::selection::OutOfFold;
use crate::heads::{
    Answered, Calibration, CalibrationMethod, ChosenThreshold, Decided, Head, Targets, ThresholdRule,
    choose_abstention, choose_thresholds,
};
use crate::model::{Conformal, Task};

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
}

/// What was settled beside the head's own fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SettledAnswers {
    /// One for each label of several, one for the second of two classes, or one for each class below which no label is
    /// given; with what they reach on the rows that were left out.
    pub thresholds: Vec<ChosenThreshold>,
}

/// Settles all of it on decision values of rows that were left out; `targets` are those of all rows of the bench, and so
/// are `weights`.
pub(super) fn settle(
    head: &mut Head,
    (out_of_fold, targets): (&OutOfFold, &Targets),
    (plan, weights): (&AnswerPlan, Option<&[f64]>),
) -> Result<SettledAnswers, Error> {
    let targets = targets.select(&out_of_fold.rows);
    let weights: Option<Vec<f64>> = weights.map(|all| out_of_fold.rows.iter().map(|&row| all[row]).collect());
    let weights = weights.as_deref();
    let decisions = out_of_fold.decisions.view();
    if let Some(method) = plan.calibrate {
        head.calibration = Some(Calibration::fit(method, &Decided { decisions, targets: &targets, weights })?);
    }
    let mut settled = settle_without_rows(head, plan)?;
    if plan.thresholds.is_none() && plan.conformal.is_none() {
        return Ok(settled);
    }
    let answers = head.reading().answers(decisions)?;
    if let Some(rule) = plan.thresholds {
        let answered = Answered { answers: answers.view(), meaning: head.meaning(), targets: &targets, weights };
        match (rule, &targets) {
            (ThresholdRule::Precision(share), Targets::Classes { classes: 3.., .. }) => {
                settled.thresholds = choose_abstention(&answered, share)?;
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
        head.conformal = Some(Conformal::fit(answers.view(), of, alpha)?);
    }
    debug_assert_eq!(answers.len_of(Axis(0)), targets.rows());
    Ok(settled)
}

/// What needs no rows.
pub(super) fn settle_without_rows(head: &mut Head, plan: &AnswerPlan) -> Result<SettledAnswers, Error> {
    if let Some(least) = plan.abstain {
        if head.task != Task::Classification {
            return Err(Error::AbstainOfTask { task: head.task });
        }
        head.abstain = Some(vec![least; head.labels.len()]);
    }
    Ok(SettledAnswers::default())
}
