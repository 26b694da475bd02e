//! From which answer on a label is given, so that what matters is best on rows that were left out.
//!
//! Knows answers and what is right, no model. Invariant: a threshold lies between answers that were seen, so that it does
//! not hang on one row's last digit; what it reaches is counted on the very rows.

use std::fmt;
use std::str::FromStr;

use ndarray::{ArrayView1, ArrayView2};
use serde::Serialize;

use super::super::error::{CalibrationError, Error};
use crate::heads::arithmetic::argmax;
use crate::heads::reading::Meaning;
use crate::heads::trainer::Targets;

/// What a threshold is to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ThresholdRule {
    /// The best F1.
    F1,
    /// As many of the right ones as possible while this share of those given is right.
    Precision(f64),
    /// As few wrong ones as possible while this share of the right ones is given.
    Recall(f64),
    /// The least cost.
    Cost {
        /// Of a label that is right and not given.
        missed: f64,
        /// Of a label that is given and not right.
        wrong: f64,
    },
}

impl fmt::Display for ThresholdRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F1 => f.write_str("f1"),
            Self::Precision(share) => write!(f, "precision={share}"),
            Self::Recall(share) => write!(f, "recall={share}"),
            Self::Cost { missed, wrong } => write!(f, "cost={missed}:{wrong}"),
        }
    }
}

impl FromStr for ThresholdRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || CalibrationError::UnknownThresholdRule { got: super::shortened(text) };
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        let share = || number(value).filter(|share| *share > 0.0 && *share <= 1.0).ok_or_else(unknown);
        match name {
            "f1" if value.is_empty() => Ok(Self::F1),
            "precision" => Ok(Self::Precision(share()?)),
            "recall" => Ok(Self::Recall(share()?)),
            "cost" => {
                let (missed, wrong) = value.split_once(':').ok_or_else(unknown)?;
                let cost = |text| number(text).filter(|cost| *cost > 0.0).ok_or_else(unknown);
                Ok(Self::Cost { missed: cost(missed)?, wrong: cost(wrong)? })
            }
            _ => Err(unknown().into()),
        }
    }
}

/// A threshold and what it reaches on the rows that it was chosen on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ChosenThreshold {
    /// The label is given from this answer on.
    pub value: f64,
    /// Share of those given that are right; 0 where none is given.
    pub precision: f64,
    /// Share of the right ones that are given; 0 where none is right.
    pub recall: f64,
    /// F1 of both.
    pub f1: f64,
    /// Whether it does what was asked. Where no threshold reaches a precision, this one has the best; where no row has
    /// the label, it is the default.
    pub reached: bool,
}

/// What giving the first so many answers comes to.
#[derive(Clone, Copy)]
struct Cut {
    /// Answers that are given, in the order of the sorted rows.
    given: usize,
    right: f64,
    wrong: f64,
}

/// Answers of rows that were left out, with what is right.
#[derive(Clone, Copy)]
pub struct Answered<'a> {
    /// Rows × labels, probabilities or scores.
    pub answers: ArrayView2<'a, f64>,
    /// What they are.
    pub meaning: Meaning,
    /// Classes or labels, as many as rows.
    pub targets: &'a Targets,
    /// How much each row counts; all count 1 where there are none.
    pub weights: Option<&'a [f64]>,
}

/// One row of a label: its answer, whether it is right, its weight.
type Row = (f64, bool, f64);

/// Chooses from which answer on each label is given: of several labels each by itself, of two classes the second one.
/// Of thresholds that are equally good the highest is taken, except for a precision, of which the lowest that reaches it
/// gives the most.
///
/// # Errors
/// More than two classes, of which each row gets one whatever its answer is; numbers; counts that differ; no rows; an
/// answer that is no number.
pub fn choose_thresholds(answered: &Answered<'_>, rule: ThresholdRule) -> Result<Vec<ChosenThreshold>, Error> {
    answered.check()?;
    let column = |column: usize, is_right: &dyn Fn(usize) -> bool| {
        choose(&answered.rows(column, is_right, &|_| true), rule, answered.meaning)
    };
    match answered.targets {
        Targets::Labels { of, labels } => {
            Ok((0..*labels).map(|label| column(label, &|row| of[row].binary_search(&label).is_ok())).collect())
        }
        Targets::Classes { of, classes: 2 } => Ok(vec![column(1, &|row| of[row] == 1)]),
        Targets::Classes { classes, .. } => {
            Err(CalibrationError::ThresholdsOfClasses { classes: *classes, rule }.into())
        }
        Targets::Numbers(_) => Err(CalibrationError::NothingToCalibrate.into()),
    }
}

/// Chooses for each class the least answer with which it is given, so that this share of the rows that get it is right;
/// rows below get no label. A choice below `least` is raised to it.
///
/// # Errors
/// As for [`choose_thresholds`], but for any number of classes and not for labels.
pub fn choose_abstention(
    answered: &Answered<'_>,
    precision: f64,
    least: Option<f64>,
) -> Result<Vec<ChosenThreshold>, Error> {
    answered.check()?;
    let Targets::Classes { of, classes } = answered.targets else {
        return Err(CalibrationError::NothingToCalibrate.into());
    };
    let most = |row: ArrayView1<'_, f64>| argmax(row.iter());
    let given: Vec<usize> = answered.answers.rows().into_iter().map(most).collect();
    let of_class = |class: usize| {
        let rows = answered.rows(class, &|row| of[row] == class, &|row| given[row] == class);
        let chosen = choose(&rows, ThresholdRule::Precision(precision), answered.meaning);
        match least.filter(|&least| chosen.value < least) {
            Some(least) => {
                let cut = cut_at(&cuts(&rows), &rows, least);
                outcome(least, cut, (positives(&rows), cut.right > 0.0 && cut.precision() >= precision))
            }
            None => chosen,
        }
    };
    Ok((0..*classes).map(of_class).collect())
}

impl Answered<'_> {
    fn check(&self) -> Result<(), Error> {
        let rows = self.answers.nrows();
        if self.targets.rows() != rows || rows == 0 || self.weights.is_some_and(|weights| weights.len() != rows) {
            return Err(Error::LabelCount { rows, labels: self.targets.rows() });
        }
        let expected = match self.targets {
            Targets::Classes { classes, .. } => *classes,
            targets => targets.columns(),
        };
        if self.answers.ncols() != expected {
            return Err(Error::DecisionShape { rows, got: self.answers.ncols(), expected });
        }
        match self.answers.indexed_iter().find(|(_, answer)| answer.is_nan()) {
            Some(((row, column), _)) => Err(CalibrationError::DecisionNotANumber { row, column }.into()),
            None => Ok(()),
        }
    }

    /// Rows that count, the greatest answer first.
    fn rows(&self, column: usize, is_right: &dyn Fn(usize) -> bool, counts: &dyn Fn(usize) -> bool) -> Vec<Row> {
        let weight = |row: usize| self.weights.map_or(1.0, |weights| weights[row]);
        let row = |row: usize| (self.answers[[row, column]], is_right(row), weight(row));
        let mut rows: Vec<Row> = (0..self.answers.nrows()).filter(|&at| counts(at)).map(row).collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        rows
    }
}

/// Chooses the threshold of one label by its rows, the greatest answer first.
fn choose(rows: &[Row], rule: ThresholdRule, meaning: Meaning) -> ChosenThreshold {
    let (positives, cuts) = (positives(rows), cuts(rows));
    if positives <= 0.0 || cuts.len() < 2 {
        let default = meaning.default_threshold();
        return outcome(default, cut_at(&cuts, rows, default), (positives, false));
    }
    let (best, reached) = chosen(&cuts, positives, rule);
    let value = between(rows, best.given);
    let value = if meaning == Meaning::Probability { value.clamp(0.0, 1.0) } else { value };
    outcome(value, best, (positives, reached))
}

/// Weight of the rows that are right.
fn positives(rows: &[Row]) -> f64 {
    rows.iter().filter(|row| row.1).map(|row| row.2).sum()
}

/// The cut that gives the rows from this answer on.
fn cut_at(cuts: &[Cut], rows: &[Row], value: f64) -> Cut {
    let given = rows.partition_point(|row| row.0 >= value);
    cuts.iter().rev().find(|cut| cut.given <= given).copied().unwrap_or(cuts[0])
}

/// Every way to cut the sorted rows, from none given to all; equal answers stand together, and those that no fold could
/// decide (negative infinity) are never given.
fn cuts(rows: &[Row]) -> Vec<Cut> {
    let mut cuts = vec![Cut { given: 0, right: 0.0, wrong: 0.0 }];
    let (mut right, mut wrong) = (0.0, 0.0);
    for (index, &(answer, is_right, weight)) in rows.iter().enumerate() {
        if answer == f64::NEG_INFINITY {
            break;
        }
        if is_right {
            right += weight
        } else {
            wrong += weight
        }
        if rows.get(index + 1).is_none_or(|next| next.0 < answer) {
            cuts.push(Cut { given: index + 1, right, wrong });
        }
    }
    cuts
}

impl Cut {
    fn precision(&self) -> f64 {
        if self.right > 0.0 { self.right / (self.right + self.wrong) } else { 0.0 }
    }

    fn f1(&self, positives: f64) -> f64 {
        2.0 * self.right / (self.right + self.wrong + positives)
    }
}

/// The best cut, and whether it does what was asked.
fn chosen(cuts: &[Cut], positives: f64, rule: ThresholdRule) -> (Cut, bool) {
    // The first of equals gives the fewest.
    let greatest = |score: &dyn Fn(&Cut) -> f64| {
        cuts.iter().copied().reduce(|best, cut| if score(&cut) > score(&best) { cut } else { best }).unwrap_or(cuts[0])
    };
    match rule {
        ThresholdRule::F1 => (greatest(&|cut| cut.f1(positives)), true),
        ThresholdRule::Cost { missed, wrong } => {
            (greatest(&|cut| -(missed * (positives - cut.right) + wrong * cut.wrong)), true)
        }
        ThresholdRule::Recall(share) => {
            let enough = cuts.iter().copied().find(|cut| cut.right >= share * positives * (1.0 - 1e-12));
            (enough.unwrap_or(cuts[cuts.len() - 1]), enough.is_some())
        }
        ThresholdRule::Precision(share) => {
            let enough = cuts.iter().rev().copied().find(|cut| cut.right > 0.0 && cut.precision() >= share);
            let best = || {
                let most = cuts.iter().map(Cut::precision).fold(0.0, f64::max);
                cuts.iter().rev().copied().find(|cut| cut.precision() >= most).unwrap_or(cuts[0])
            };
            (enough.unwrap_or_else(best), enough.is_some())
        }
    }
}

/// An answer that gives the first `given` rows and no other: halfway between two, or at the end.
fn between(rows: &[Row], given: usize) -> f64 {
    let last = given.checked_sub(1).map(|last| rows[last].0);
    let next = rows.get(given).map(|row| row.0).filter(|next| next.is_finite());
    match (last, next) {
        (Some(last), Some(next)) => {
            let middle = last.midpoint(next);
            // As answers are rounded to f32, the threshold must not be rounded to the next one.
            if middle as f32 > next as f32 { middle } else { last }
        }
        (Some(last), None) => last,
        (None, next) => next.map_or(0.0, |next| f64::from((next as f32).next_up())),
    }
}

fn outcome(value: f64, cut: Cut, (positives, reached): (f64, bool)) -> ChosenThreshold {
    let (precision, recall) = (cut.precision(), if positives > 0.0 { cut.right / positives } else { 0.0 });
    let f1 = if positives + cut.right + cut.wrong > 0.0 { cut.f1(positives) } else { 0.0 };
    ChosenThreshold { value, precision, recall, f1, reached }
}
