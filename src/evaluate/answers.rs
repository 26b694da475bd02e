//! One head's answers on two sides: how many change, by how much, and how often each side is right. Knows no encoder:
//! numbers come in, row by row. Memory: counts by label. Invariant: both sides are counted on the same texts, and their F1
//! averaged over the same labels.

use ndarray::ArrayView2;

use super::error::Error;
use super::metrics::ClassFigures;
use super::tally::{LabelTally, SeveralTally};
use crate::heads::Head;
use crate::model::{F1Quality, GraphHead, HeadQuality, Task, given_label};

/// What a head's numbers mean, and what is counted of them so far.
pub(super) struct Answers {
    name: String,
    task: Task,
    labels: Vec<String>,
    /// Of the original and of the new bundle: for each of several labels, or as two labels have it.
    thresholds: [Option<Vec<f64>>; 2],
    max_delta: f64,
    changed: u64,
    truth: Option<Truth>,
}

/// What is counted where the corpus says what is right.
struct Truth {
    field: String,
    original: Tally,
    new: Tally,
    texts: u64,
    unlabelled: u64,
    /// Whether a text has a label that the head knows.
    known: bool,
    /// The first label that it doesn't know.
    unknown: Option<String>,
}

impl Answers {
    /// Of a head file; `field` has the right labels.
    pub(super) fn of_file(head: &Head, field: Option<&str>) -> Self {
        let file = head.file().and_then(|file| file.file_name());
        let name = file.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let thresholds = match (head.task, &head.thresholds) {
            (Task::Multilabel, None) => Some((0..head.labels.len()).map(|label| head.threshold(label)).collect()),
            (_, own) => own.clone(),
        };
        Self::new(name, (head.task, &head.labels), [thresholds.clone(), thresholds], field)
    }

    /// Of a head that is in both graphs, the original's first, likewise. Each has its own thresholds.
    pub(super) fn of_graph((original, new): &(GraphHead, GraphHead), field: Option<&str>) -> Self {
        let thresholds = [original, new].map(|head| match (head.task, &head.thresholds) {
            (Task::Multilabel, None) => Some((0..head.labels.len()).map(|label| head.threshold(label)).collect()),
            (_, own) => own.clone(),
        });
        Self::new(new.name.clone(), (new.task, &new.labels), thresholds, field)
    }

    fn new(
        name: String,
        (task, labels): (Task, &[String]),
        thresholds: [Option<Vec<f64>>; 2],
        field: Option<&str>,
    ) -> Self {
        let truth = field.map(|field| Truth {
            field: field.to_owned(),
            original: Tally::new(task, labels),
            new: Tally::new(task, labels),
            texts: 0,
            unlabelled: 0,
            known: false,
            unknown: None,
        });
        Self { name, task, labels: labels.to_vec(), thresholds, max_delta: 0.0, changed: 0, truth }
    }

    /// Takes the answers of a window, texts × labels, with what is right for each text.
    pub(super) fn take(
        &mut self,
        original: ArrayView2<'_, f32>,
        new: ArrayView2<'_, f32>,
        truths: &[Option<&[String]>],
    ) {
        let deltas = original.iter().zip(new).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
        self.max_delta = deltas.fold(self.max_delta, f64::max);
        if self.task == Task::Regression {
            return;
        }
        let (original, new) = (self.given(original, 0), self.given(new, 1));
        for ((original, new), truth) in original.iter().zip(&new).zip(truths) {
            self.changed += u64::from(original != new);
            if let Some(counted) = &mut self.truth {
                counted.add(&self.labels, *truth, (original, new));
            }
        }
    }

    /// The numbers of the labels that are given for these rows on one side. Compared as f32, as answers are written.
    fn given(&self, rows: ArrayView2<'_, f32>, side: usize) -> Vec<Vec<usize>> {
        let thresholds = self.thresholds[side].as_deref();
        let of_row = |row: &[f32]| match thresholds {
            Some(list) if self.task == Task::Multilabel => {
                (0..row.len()).filter(|&label| row[label] >= list[label] as f32).collect()
            }
            _ => vec![given_label(thresholds, row)],
        };
        rows.rows().into_iter().map(|row| of_row(&row.to_vec())).collect()
    }

    pub(super) fn finish(self) -> Result<HeadQuality, Error> {
        let labels = self.labels;
        Ok(HeadQuality {
            name: self.name,
            max_delta: self.max_delta,
            answers_changed: (self.task != Task::Regression).then_some(self.changed),
            f1: self.truth.map(|truth| truth.finish(labels)).transpose()?,
        })
    }
}

impl Truth {
    fn add(&mut self, labels: &[String], truth: Option<&[String]>, (original, new): (&[usize], &[usize])) {
        let Some(truth) = truth else {
            self.unlabelled += 1;
            return;
        };
        self.texts += 1;
        for label in truth {
            if labels.contains(label) {
                self.known = true;
            } else if self.unknown.is_none() {
                self.unknown = Some(label.clone());
            }
        }
        let names = |given: &[usize]| given.iter().map(|&label| labels[label].as_str()).collect::<Vec<&str>>();
        self.original.add(truth, &names(original));
        self.new.add(truth, &names(new));
    }

    fn finish(self, labels: Vec<String>) -> Result<F1Quality, Error> {
        if !self.known {
            return Err(Error::NoKnownLabel { field: self.field, example: self.unknown, labels });
        }
        let (original, new) = (self.original.finish()?, self.new.finish()?);
        Ok(F1Quality {
            label: self.field,
            texts: self.texts,
            unlabelled: self.unlabelled,
            unknown_labels: original.unknown_labels,
            micro_original: original.f1_micro,
            micro: new.f1_micro,
            macro_original: original.f1_macro,
            macro_new: new.f1_macro,
            macro_drop: original.f1_macro - new.f1_macro,
        })
    }
}

/// One side's answers, counted.
enum Tally {
    One(LabelTally),
    Several(SeveralTally),
}

/// What a tally came to.
struct Tallied {
    f1_macro: f64,
    f1_micro: Option<f64>,
    unknown_labels: u64,
}

impl Tally {
    fn new(task: Task, labels: &[String]) -> Self {
        match task {
            Task::Multilabel => Self::Several(SeveralTally::new(labels)),
            Task::Classification | Task::Regression => Self::One(LabelTally::new(labels)),
        }
    }

    fn add(&mut self, truth: &[String], given: &[&str]) {
        match (self, truth, given) {
            (Self::Several(tally), truth, given) => tally.add(truth, given),
            (Self::One(tally), [truth, ..], [given, ..]) => tally.add(truth, given),
            (Self::One(_), _, _) => {}
        }
    }

    fn finish(self) -> Result<Tallied, Error> {
        Ok(match self {
            Self::One(tally) => {
                let report = tally.finish()?;
                Tallied {
                    f1_macro: supported_f1(&report.per_class),
                    f1_micro: None,
                    unknown_labels: report.unknown_labels as u64,
                }
            }
            Self::Several(tally) => {
                let report = tally.finish()?;
                Tallied {
                    f1_macro: supported_f1(&report.per_class),
                    f1_micro: Some(report.f1_micro),
                    unknown_labels: report.unknown_labels,
                }
            }
        })
    }
}

/// Mean F1 of the labels that are right for some text. One that is only predicted would count on one side alone, and a
/// single stray prediction move that side's mean; so it counts by what it takes from the label that was right.
fn supported_f1(labels: &[ClassFigures]) -> f64 {
    let supported: Vec<f64> = labels.iter().filter(|label| label.support > 0).map(|label| label.f1).collect();
    supported.iter().sum::<f64>() / supported.len().max(1) as f64
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
