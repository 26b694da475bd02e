//! What is refused before anything is fitted, as a fit may take hours. Knows sets and plans. Invariant: what is let
//! through here does not fail for a flag once the head is there.

use std::collections::HashSet;

use super::super::error::Error;
use super::super::{Objective, Scale};
use super::{FitPlan, UnknownRule};
use crate::heads::{self, Meaning, Reading, TRAIN, Targets, ThresholdRule, TrainingSet};
use crate::model::Task;

/// Refuses a plan that the set or the kind of the head has no answer to.
pub(super) fn check(set: &TrainingSet, plan: &FitPlan<'_>) -> Result<(), Error> {
    check_unknown(set, plan.unknown)?;
    check_targets(set)?;
    plan.objective.check_task(set.task())?;
    if plan.objective == Objective::LogLoss && Scale::of(plan.trainer.kind()) != Scale::Logits {
        return Err(Error::NeedsLogits { objective: plan.objective });
    }
    check_answers(set, plan)
}

fn check_answers(set: &TrainingSet, plan: &FitPlan<'_>) -> Result<(), Error> {
    let (task, kind, answers) = (set.task(), plan.trainer.kind(), &plan.answers);
    let classes = set.classes.trained;
    if task == Task::Regression && (answers.calibrate.is_some() || answers.thresholds.is_some()) {
        return Err(heads::Error::from(heads::CalibrationError::NothingToCalibrate).into());
    }
    match answers.thresholds {
        // Of several classes a precision is reached by giving no label to some rows.
        None | Some(ThresholdRule::Precision(_)) => {}
        Some(rule) if task == Task::Classification && classes > 2 => {
            return Err(heads::Error::from(heads::CalibrationError::ThresholdsOfClasses { classes, rule }).into());
        }
        Some(_) => {}
    }
    if answers.conformal.is_some() && task != Task::Classification {
        return Err(Error::SetsOfTask { task });
    }
    let Some(least) = answers.abstain else { return Ok(()) };
    let reading = Reading { task, kind, labels: classes, calibration: None, scaling: None };
    match reading.meaning() {
        _ if task != Task::Classification => Err(Error::AbstainOfTask { task }),
        Meaning::Score if answers.calibrate.is_none() => Err(Error::AbstainOfScores { kind, least }),
        _ => Ok(()),
    }
}

/// Refuses classes without a weight, and numbers that no answer could be near to.
fn check_targets(set: &TrainingSet) -> Result<(), Error> {
    match &set.targets {
        Targets::Numbers(numbers) => {
            let beyond = |(_, value): &((usize, usize), &f64)| value.abs() > f64::from(f32::MAX);
            let Some(((row, _), &value)) = numbers.indexed_iter().find(beyond) else { return Ok(()) };
            Err(Error::BeyondAnswers { id: set.ids[row].clone(), value })
        }
        Targets::Classes { of, .. } => {
            let Some(weights) = &set.weights else { return Ok(()) };
            let train = set.rows_of(TRAIN);
            let counted: HashSet<usize> = train.iter().filter(|&&row| weights[row] > 0.0).map(|&row| of[row]).collect();
            let class = train.iter().map(|&row| of[row]).find(|class| !counted.contains(class));
            // Where all rows weigh nothing that is what is wrong.
            match class.filter(|_| !counted.is_empty()) {
                Some(class) => Err(Error::Weightless { label: set.classes.names[class].clone() }),
                None => Ok(()),
            }
        }
        Targets::Labels { .. } => Ok(()),
    }
}

/// Refuses unknown labels where they are to be refused, and parts of which nothing is left where they are left out.
fn check_unknown(set: &TrainingSet, rule: UnknownRule) -> Result<(), Error> {
    match rule {
        UnknownRule::Missed => Ok(()),
        UnknownRule::Refuse => {
            let unknown = |row: &usize| set.splits[*row].is_some() && !set.is_known(*row);
            let Some(row) = (0..set.splits.len()).find(unknown) else { return Ok(()) };
            let part = set.splits[row].clone().unwrap_or_default();
            Err(Error::UnknownLabel { id: set.ids[row].clone(), part, label: set.truth_of(row) })
        }
        UnknownRule::LeaveOut => {
            for part in set.parts().into_iter().filter(|part| part != TRAIN) {
                let rows = set.rows_of(&part);
                if !rows.iter().any(|&row| set.is_known(row)) {
                    return Err(Error::NothingKnown { part, rows: rows.len() });
                }
            }
            Ok(())
        }
    }
}
