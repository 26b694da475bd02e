//! One head's answers on two sides: how many change, by how much, and how often each side is right. Knows no encoder:
//! numbers come in, row by row. Memory: counts by label. Invariant: both sides are counted on the same texts.

use ndarray::ArrayView2;

use super::error::Error;
use super::tally::{LabelTally, SeveralTally};
use crate::heads::{Head, most_probable};
use crate::model::{DEFAULT_THRESHOLD, F1Quality, GraphHead, HeadQuality, Task};

/// What a head's numbers mean, and what is counted of them so far.
pub(super) struct Answers {
    name: String,
    task: Task,
    labels: Vec<String>,
    /// As f32, which is what probabilities are written as.
    thresholds: Vec<f32>,
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
        let threshold = |label: usize| head.thresholds.as_ref().map_or(DEFAULT_THRESHOLD, |own| own[label]);
        Self::new(name, (head.task, &head.labels), (0..head.labels.len()).map(threshold), field)
    }

    /// Of a head in the graph, likewise.
    pub(super) fn of_graph(head: &GraphHead, field: Option<&str>) -> Self {
        let thresholds = (0..head.labels.len()).map(|label| head.threshold(label));
        Self::new(head.name.clone(), (head.task, &head.labels), thresholds, field)
    }

    fn new(
        name: String,
        (task, labels): (Task, &[String]),
        thresholds: impl Iterator<Item = f64>,
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
        let thresholds = thresholds.map(|threshold| threshold as f32).collect();
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
        let (original, new) = (self.given(original), self.given(new));
        for ((original, new), truth) in original.iter().zip(&new).zip(truths) {
            self.changed += u64::from(original != new);
            if let Some(counted) = &mut self.truth {
                counted.add(&self.labels, *truth, (original, new));
            }
        }
    }

    /// The numbers of the labels that are given for these rows.
    fn given(&self, rows: ArrayView2<'_, f32>) -> Vec<Vec<usize>> {
        if self.task == Task::Classification {
            return most_probable(rows).into_iter().map(|label| vec![label]).collect();
        }
        let reached = |row: &[f32]| (0..row.len()).filter(|&label| row[label] >= self.thresholds[label]).collect();
        rows.rows().into_iter().map(|row| reached(&row.to_vec())).collect()
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
                Tallied { f1_macro: report.f1_macro, f1_micro: None, unknown_labels: report.unknown_labels as u64 }
            }
            Self::Several(tally) => {
                let report = tally.finish()?;
                Tallied {
                    f1_macro: report.f1_macro,
                    f1_micro: Some(report.f1_micro),
                    unknown_labels: report.unknown_labels,
                }
            }
        })
    }
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
