//! What a head is worth on each part of a split: figures with their intervals, and what a page shows of them. Knows heads
//! and sets, no trainers. Invariant: answers are read as `classify` reads them; figures of a part are of its rows alone.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, concatenate, s};
use serde::Serialize;

use super::super::error::Error;
use super::super::metrics::ClassFigures;
use super::super::{
    Given, Interval, LabelTally, Objective, Regression, RegressionTally, Scale, Scorer, SeveralReport, SeveralTally,
    bootstrap_interval,
};
use super::super::{RELIABILITY_BINS, Reliability, reliability};
use super::seen_groups::{SeenGroups, defined, seen_groups};
use super::{FitPlan, Mistake, PrecisionRecall, draws, precision_recall, worst_mistakes};
use crate::heads::{self, Calibration, DEV, Head, HeadKind, Meaning, TRAIN, Targets, TrainingSet};
use crate::model::{Task, given_label};

/// Rows that are copied and answered at once.
const BLOCK: usize = 8_192;
/// Labels with a curve of their own.
const MOST_CURVES: usize = 7;
/// Mistakes that are listed.
const MOST_MISTAKES: usize = 30;

/// What a label of other rows means that no `train` row has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownRule {
    /// Nobody can give it, so it counts as missed.
    #[default]
    Missed,
    /// Its rows are not measured.
    LeaveOut,
    /// The run ends.
    Refuse,
}

/// Quality on one part of the split.
#[derive(Debug, Clone, Serialize)]
pub struct PartReport {
    /// Name of the part: train, dev, test, test_group, held_out, ...
    pub part: String,
    /// Rows.
    pub rows: usize,
    /// Share of rows with the right label.
    pub accuracy: f64,
    /// Mean of the classes' F1.
    pub f1_macro: f64,
    /// Per-class figures, in the order of `classes`.
    pub per_class: Vec<ClassFigures>,
    /// Names of the classes of the confusion matrix.
    pub classes: Vec<String>,
    /// Rows of class i (first index) that were given class j; empty where there are too many classes to show.
    pub confusion: Vec<Vec<u64>>,
    /// Rows whose label no training row has; they count as wrong.
    pub unknown_labels: usize,
}

/// What predictions for a part are worth, by task.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Quality {
    /// One label a row.
    Label(PartReport),
    /// Several.
    Labels(SeveralReport),
    /// A number.
    Value(Regression),
}

/// An objective's figure with its interval.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// Its name.
    pub objective: &'static str,
    /// Value and ends.
    #[serde(flatten)]
    pub interval: Interval,
}

/// Figures of one part.
#[derive(Debug, Clone, Serialize)]
pub struct PartFigures {
    /// Name of the part.
    pub part: String,
    /// Rows measured.
    pub rows: usize,
    /// Rows that were left out because nobody knows their label.
    pub left_out: usize,
    /// The figures.
    pub quality: Quality,
    /// The main ones with their intervals; none for `train`, whose rows the head has seen.
    pub figures: Vec<Figure>,
    /// Mean distance of probabilities from what they claim, and their squared distance from the truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ece: Option<f64>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brier: Option<f64>,
    /// Share of the rows that get a label, and how many of these are right, where a head may give none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<(f64, f64)>,
    /// Share of the sets that have the right label, and their mean size, where a head gives sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sets: Option<(f64, f64)>,
    /// The objective on rows of groups that `train` has, and on others, where a field names groups; none for `train`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<SeenGroups>,
}

/// A part with what a page shows of it.
#[derive(Debug, Clone)]
pub struct MeasuredPart {
    /// What is kept with the head.
    pub figures: PartFigures,
    /// Numbers of its rows in the set.
    pub rows: Vec<usize>,
    /// Of labels.
    pub curves: Vec<PrecisionRecall>,
    /// Of probabilities.
    pub reliability: Option<Reliability>,
    /// The worst, by place in `rows`.
    pub mistakes: Vec<Mistake>,
    /// Right and predicted number of each row, of a regression.
    pub numbers: Vec<(f64, f64)>,
}

/// Measures every part; `train` only where it says something, which it doesn't of a head that looks its own rows up. Also
/// rows of seen and unseen groups over all parts but `train` and `dev`, if they are several.
pub(super) fn parts(
    set: &TrainingSet,
    head: &Head,
    plan: &FitPlan<'_>,
) -> Result<(Vec<MeasuredPart>, Option<SeenGroups>), Error> {
    let names = set.parts();
    let lone = names.len() == 1;
    let wanted = |name: &&String| lone || head.kind != HeadKind::Neighbours || name.as_str() != TRAIN;
    let (mut measured, mut others) = (Vec::new(), Vec::new());
    for name in names.iter().filter(wanted) {
        let part = Part::new(set, (head, name), plan)?;
        measured.push(part.measure(plan)?);
        if set.groups.is_some() && ![TRAIN, DEV].contains(&name.as_str()) {
            others.push(part);
        }
    }
    let names: Vec<&str> = others.iter().map(|part| part.name).collect();
    let together = match Part::joined(&others).filter(|_| others.len() > 1) {
        Some(together) => seen_groups(&together, &names, plan)?,
        None => None,
    };
    Ok((measured, together))
}

/// A part with the head's answers.
pub(super) struct Part<'a> {
    pub set: &'a TrainingSet,
    head: &'a Head,
    name: &'a str,
    pub rows: Vec<usize>,
    left_out: usize,
    truth: Targets,
    answers: Array2<f32>,
}

impl<'a> Part<'a> {
    fn new(set: &'a TrainingSet, (head, name): (&'a Head, &'a str), plan: &FitPlan<'_>) -> Result<Self, Error> {
        let all = set.rows_of(name);
        let kept = |row: &usize| plan.unknown != UnknownRule::LeaveOut || set.is_known(*row);
        let rows: Vec<usize> = all.iter().copied().filter(kept).collect();
        if rows.is_empty() {
            return Err(Error::NothingKnown { part: name.to_owned(), rows: all.len() });
        }
        let answers = by_blocks((set, head), &rows, Head::predict)?;
        let (truth, left_out) = (set.targets.select(&rows), all.len() - rows.len());
        Ok(Self { set, head, name, rows, left_out, truth, answers })
    }

    /// Some of its rows, by place.
    pub fn select(&self, places: &[usize]) -> Self {
        let rows = places.iter().map(|&place| self.rows[place]).collect();
        let (truth, answers) = (self.truth.select(places), self.answers.select(Axis(0), places));
        Self { rows, left_out: 0, truth, answers, ..*self }
    }

    /// The rows of several parts by one head; none of no part.
    fn joined(parts: &[Self]) -> Option<Self> {
        let first = parts.first()?;
        let rows: Vec<usize> = parts.iter().flat_map(|part| &part.rows).copied().collect();
        let answers: Vec<ArrayView2<'_, f32>> = parts.iter().map(|part| part.answers.view()).collect();
        let answers = concatenate(Axis(0), &answers).expect("one head's answers are as wide in all parts");
        let truth = first.set.targets.select(&rows);
        Some(Self { rows, left_out: 0, truth, answers, ..*first })
    }

    fn measure(&self, plan: &FitPlan<'_>) -> Result<MeasuredPart, Error> {
        let is_probability = self.head.meaning() == Meaning::Probability;
        let reliability = if is_probability { self.reliability()? } else { None };
        let given = |row: ArrayView1<'_, f32>| self.given(row);
        let figures = PartFigures {
            part: self.name.to_owned(),
            rows: self.rows.len(),
            left_out: self.left_out,
            quality: self.quality()?,
            figures: if self.name == TRAIN { Vec::new() } else { self.intervals(plan)? },
            ece: reliability.as_ref().map(|reliability| reliability.ece),
            brier: reliability.as_ref().map(|reliability| reliability.brier),
            answered: self.answered(),
            sets: self.sets(),
            groups: if self.name == TRAIN { None } else { seen_groups(self, &[self.name], plan)? },
        };
        Ok(MeasuredPart {
            figures,
            curves: precision_recall(&self.truth, self.answers.view(), MOST_CURVES),
            reliability,
            mistakes: worst_mistakes(&self.truth, self.answers.view(), &given, MOST_MISTAKES),
            numbers: self.numbers(),
            rows: self.rows.clone(),
        })
    }

    /// The labels that a row of answers gives, whether or not the head would rather give none.
    fn given(&self, row: ArrayView1<'_, f32>) -> Vec<usize> {
        let thresholds = self.head.thresholds.as_deref();
        match self.head.task {
            Task::Classification => vec![given_label(thresholds, &row.to_vec())],
            Task::Multilabel => {
                (0..row.len()).filter(|&label| row[label] >= self.head.threshold(label) as f32).collect()
            }
            Task::Regression => Vec::new(),
        }
    }

    fn all_given(&self) -> Vec<Vec<usize>> {
        self.answers.rows().into_iter().map(|row| self.given(row)).collect()
    }

    fn quality(&self) -> Result<Quality, Error> {
        let names = &self.set.classes.names;
        Ok(match &self.truth {
            Targets::Classes { of, .. } => {
                let mut tally = LabelTally::new(&self.head.labels);
                for (&class, given) in of.iter().zip(self.all_given()) {
                    tally.add(&names[class], &names[given[0]]);
                }
                Quality::Label(PartReport { part: self.name.to_owned(), ..tally.finish()? })
            }
            Targets::Labels { of, .. } => {
                let named = |labels: &[usize]| labels.iter().map(|&label| names[label].as_str()).collect::<Vec<_>>();
                let mut tally = SeveralTally::new(&self.head.labels);
                for (labels, given) in of.iter().zip(self.all_given()) {
                    tally.add(&named(labels), &named(&given));
                }
                Quality::Labels(tally.finish()?)
            }
            Targets::Numbers(_) => {
                let mut tally = RegressionTally::new(1);
                self.numbers().into_iter().for_each(|(truth, given)| tally.add(truth, given as f32));
                Quality::Value(tally.finish()?)
            }
        })
    }

    /// What is said first of a head, and the objective.
    fn intervals(&self, plan: &FitPlan<'_>) -> Result<Vec<Figure>, Error> {
        let mut objectives = match self.head.task {
            Task::Classification => vec![Objective::F1Macro, Objective::Accuracy],
            Task::Multilabel => vec![Objective::F1Macro, Objective::F1Micro],
            Task::Regression => vec![Objective::R2, Objective::Rmse],
        };
        if !objectives.contains(&plan.objective) {
            objectives.push(plan.objective);
        }
        let mut figures = Vec::with_capacity(objectives.len());
        for objective in objectives {
            let figure = self.scorer(objective).and_then(|scorer| bootstrap_interval(&scorer, &draws(plan.seed)));
            figures.extend(defined(figure)?.map(|interval| Figure { objective: objective.name(), interval }));
        }
        Ok(figures)
    }

    pub fn scorer(&self, objective: Objective) -> Result<Scorer, Error> {
        if matches!(objective, Objective::LogLoss | Objective::RocAuc | Objective::AveragePrecision) {
            return self.decided(objective);
        }
        match &self.truth {
            Targets::Classes { .. } => {
                let given: Vec<usize> = self.all_given().into_iter().map(|given| given[0]).collect();
                Scorer::new(objective, &self.truth, Given::Classes(&given))
            }
            Targets::Labels { .. } => Scorer::new(objective, &self.truth, Given::Labels(&self.all_given())),
            Targets::Numbers(_) => {
                let given = self.answers.mapv(f64::from);
                Scorer::new(objective, &self.truth, Given::Decisions(given.view(), Scale::Plain))
            }
        }
    }

    /// Of decision values, which the head has for what it knows. Probabilities are those that it gives, so a loss of them
    /// goes by its calibration, and so does an order of rows that a calibration changes.
    fn decided(&self, objective: Objective) -> Result<Scorer, Error> {
        let known: Vec<usize> = self.rows.iter().copied().filter(|&row| self.set.is_known(row)).collect();
        if known.is_empty() {
            return Err(Error::Empty);
        }
        let truth = self.set.learnt(&known);
        let mut decisions = by_blocks((self.set, self.head), &known, Head::decisions)?;
        let mut scale = Scale::of(self.head.kind);
        if objective == Objective::LogLoss && self.head.calibration.is_some() {
            decisions = logits(&truth, self.head.reading().answers(decisions.view())?);
            scale = Scale::Logits;
        } else if self.reorders() {
            let answers = self.head.reading().answers(decisions.view())?;
            let columns = answers.ncols() - decisions.ncols();
            (decisions, scale) = (answers.slice(s![.., columns..]).to_owned(), Scale::Plain);
        }
        Scorer::new(objective, &truth, Given::Decisions(decisions.view(), scale))
    }

    /// Whether the calibration changes which rows come first in a column: isotonic steps make equals of rows, and several
    /// classes share the sum 1. A temperature or a sigmoid of one column keeps its order (a falling sigmoid turns it).
    fn reorders(&self) -> bool {
        match &self.head.calibration {
            None => false,
            Some(Calibration::Isotonic { .. }) => true,
            Some(Calibration::Platt { slopes, .. }) if slopes.iter().any(|&slope| slope <= 0.0) => true,
            Some(_) => self.head.task == Task::Classification && self.head.labels.len() > 2,
        }
    }

    /// Of rows whose labels the head knows; none where there are no such.
    fn reliability(&self) -> Result<Option<Reliability>, Error> {
        let known: Vec<usize> = (0..self.rows.len()).filter(|&row| self.set.is_known(self.rows[row])).collect();
        if known.is_empty() {
            return Ok(None);
        }
        let numbers: Vec<usize> = known.iter().map(|&row| self.rows[row]).collect();
        let answers = self.answers.select(Axis(0), &known).mapv(f64::from);
        reliability(answers.view(), &self.set.learnt(&numbers), None, RELIABILITY_BINS).map(Some)
    }

    fn answered(&self) -> Option<(f64, f64)> {
        let (least, Targets::Classes { of, .. }) = (self.head.abstain.as_ref()?, &self.truth) else { return None };
        let (mut answered, mut right) = (0_usize, 0_usize);
        for (row, answers) in self.answers.rows().into_iter().enumerate() {
            let given = self.given(answers)[0];
            let sure = answers[given] >= least[given] as f32;
            answered += usize::from(sure);
            right += usize::from(sure && given == of[row]);
        }
        Some((answered as f64 / of.len() as f64, right as f64 / answered.max(1) as f64))
    }

    fn sets(&self) -> Option<(f64, f64)> {
        let (conformal, Targets::Classes { of, .. }) = (self.head.conformal?, &self.truth) else { return None };
        let (mut covered, mut size) = (0_usize, 0_usize);
        for (row, answers) in self.answers.rows().into_iter().enumerate() {
            let held = |label: usize| answers.get(label).is_some_and(|&answer| conformal.holds(answer));
            covered += usize::from(held(of[row]));
            size += (0..answers.len()).filter(|&label| held(label)).count();
        }
        let rows = of.len() as f64;
        Some((covered as f64 / rows, size as f64 / rows))
    }

    fn numbers(&self) -> Vec<(f64, f64)> {
        let Targets::Numbers(numbers) = &self.truth else { return Vec::new() };
        let answers: ArrayView2<'_, f32> = self.answers.view();
        (0..self.rows.len()).map(|row| (numbers[[row, 0]], f64::from(answers[[row, 0]]))).collect()
    }
}

/// What a head says of the rows with these numbers, a block of them copied at a time.
fn by_blocks<T: Copy>(
    (set, head): (&TrainingSet, &Head),
    rows: &[usize],
    say: impl Fn(&Head, ArrayView2<'_, f32>) -> Result<Array2<T>, heads::Error>,
) -> Result<Array2<T>, Error> {
    let (mut values, mut columns) = (Vec::new(), 0);
    for block in rows.chunks(BLOCK) {
        let said = say(head, set.copied(block).view())?;
        columns = said.ncols();
        values.extend(said.iter().copied());
    }
    Ok(Array2::from_shape_vec((rows.len(), columns), values).expect("each row has a value in every column"))
}

/// What softmax or sigmoid makes these probabilities of.
fn logits(truth: &Targets, probabilities: Array2<f64>) -> Array2<f64> {
    match truth {
        Targets::Classes { classes: 2, .. } => {
            let odds = |row: ArrayView1<'_, f64>| row[1].ln() - row[0].ln();
            probabilities.map_axis(Axis(1), odds).insert_axis(Axis(1))
        }
        Targets::Classes { .. } => probabilities.mapv_into(f64::ln),
        Targets::Labels { .. } | Targets::Numbers(_) => probabilities.mapv_into(|p| p.ln() - (1.0 - p).ln()),
    }
}
