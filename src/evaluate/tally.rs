//! Predicted labels against the right ones, counted while rows pass by: figures of any corpus in memory that grows with
//! the number of labels, not of rows.
//!
//! Knows labels by name; the classifier's own come first. Invariant: every figure is scikit-learn's for the same rows,
//! over the labels that are right or predicted somewhere; a division by zero counts as 0.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::error::Error;
use super::fitting::PartReport;
use super::metrics::{ClassFigures, share};

/// Labels beyond the classifier's own that are told apart; a field with more is hardly one of labels.
pub const MOST_OTHER_LABELS: usize = 10_000;
/// Classes up to which the whole confusion matrix is given.
pub const MOST_CONFUSED: usize = 200;

/// Labels and their numbers.
#[derive(Debug)]
struct Names {
    names: Vec<String>,
    numbers: HashMap<String, usize>,
    /// How many of them the classifier has.
    known: usize,
}

impl Names {
    fn new<S: AsRef<str>>(labels: &[S]) -> Self {
        let names: Vec<String> = labels.iter().map(|label| label.as_ref().to_owned()).collect();
        let mut numbers = HashMap::with_capacity(names.len());
        for (number, name) in names.iter().enumerate() {
            // A checkpoint may call two of its labels the same; the first is meant.
            numbers.entry(name.clone()).or_insert(number);
        }
        Self { known: names.len(), names, numbers }
    }

    /// The label's number; `None` where there are too many others already.
    fn number(&mut self, label: &str) -> Option<usize> {
        if let Some(&number) = self.numbers.get(label) {
            return Some(number);
        }
        if self.names.len() - self.known >= MOST_OTHER_LABELS {
            return None;
        }
        self.numbers.insert(label.to_owned(), self.names.len());
        self.names.push(label.to_owned());
        Some(self.names.len() - 1)
    }
}

/// What is counted of one label.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    hits: u64,
    support: u64,
    predicted: u64,
}

impl Counts {
    fn figures(self) -> ClassFigures {
        ClassFigures::of(self.hits, self.support, self.predicted)
    }

    fn appears(self) -> bool {
        self.support + self.predicted > 0
    }
}

/// Rows of which exactly one label is right.
#[derive(Debug)]
pub struct LabelTally {
    names: Names,
    /// Rows by right and predicted label.
    pairs: HashMap<(usize, usize), u64>,
    rows: u64,
    too_many: bool,
}

impl LabelTally {
    /// For a classifier with these labels.
    pub fn new<S: AsRef<str>>(labels: &[S]) -> Self {
        Self { names: Names::new(labels), pairs: HashMap::new(), rows: 0, too_many: false }
    }

    /// Counts one row. Either label may be one that the classifier doesn't have.
    pub fn add(&mut self, truth: &str, predicted: &str) {
        let (Some(truth), Some(predicted)) = (self.names.number(truth), self.names.number(predicted)) else {
            self.too_many = true;
            return;
        };
        *self.pairs.entry((truth, predicted)).or_default() += 1;
        self.rows += 1;
    }

    /// The figures of all rows, classes in the order of their names. The confusion matrix is empty above
    /// [`MOST_CONFUSED`] classes.
    ///
    /// # Errors
    /// No rows, or more than [`MOST_OTHER_LABELS`] labels that the classifier doesn't have.
    pub fn finish(self) -> Result<PartReport, Error> {
        check(self.rows, self.too_many, &self.names)?;
        let mut counts = vec![Counts::default(); self.names.names.len()];
        let mut unknown_labels = 0;
        for (&(truth, predicted), &rows) in &self.pairs {
            counts[truth].support += rows;
            counts[predicted].predicted += rows;
            counts[truth].hits += if truth == predicted { rows } else { 0 };
            unknown_labels += if truth >= self.names.known { rows } else { 0 };
        }
        let present = present(&self.names, &counts);
        let per_class: Vec<ClassFigures> = present.iter().map(|&class| counts[class].figures()).collect();
        let confusion_of = |&truth: &usize| {
            let cell = |&predicted: &usize| self.pairs.get(&(truth, predicted)).copied().unwrap_or_default();
            present.iter().map(cell).collect()
        };
        let drawn = present.len() <= MOST_CONFUSED;
        Ok(PartReport {
            part: "labelled papers".to_owned(),
            rows: usize::try_from(self.rows).unwrap_or(usize::MAX),
            accuracy: share(counts.iter().map(|counts| counts.hits).sum(), self.rows),
            f1_macro: mean_f1(&per_class),
            per_class,
            classes: present.iter().map(|&class| self.names.names[class].clone()).collect(),
            confusion: if drawn { present.iter().map(confusion_of).collect() } else { Vec::new() },
            unknown_labels: usize::try_from(unknown_labels).unwrap_or(usize::MAX),
        })
    }
}

/// Quality of predictions that give several labels to a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeveralReport {
    /// Rows measured.
    pub rows: u64,
    /// F1 of all pairs of a row and a label together.
    pub f1_micro: f64,
    /// Mean of the labels' F1.
    pub f1_macro: f64,
    /// Mean of the rows' F1; 0 for a row without right and predicted labels.
    pub f1_samples: f64,
    /// Figures of each label, in the order of `classes`.
    pub per_class: Vec<ClassFigures>,
    /// The labels that are right or predicted somewhere, by name.
    pub classes: Vec<String>,
    /// Right labels that the classifier doesn't have, each row counted by itself; they count as missed.
    pub unknown_labels: u64,
}

/// Rows of which any number of labels are right.
#[derive(Debug)]
pub struct SeveralTally {
    names: Names,
    counts: Vec<Counts>,
    rows: u64,
    f1_of_rows: f64,
    unknown_labels: u64,
    too_many: bool,
}

impl SeveralTally {
    /// For a classifier with these labels.
    pub fn new<S: AsRef<str>>(labels: &[S]) -> Self {
        let counts = vec![Counts::default(); labels.len()];
        Self { names: Names::new(labels), counts, rows: 0, f1_of_rows: 0.0, unknown_labels: 0, too_many: false }
    }

    /// Counts one row; a label counts once, however often it is named.
    pub fn add<S: AsRef<str>, P: AsRef<str>>(&mut self, truth: &[S], predicted: &[P]) {
        let (Some(truth), Some(predicted)) = (self.numbers(truth), self.numbers(predicted)) else {
            self.too_many = true;
            return;
        };
        self.counts.resize(self.names.names.len(), Counts::default());
        let mut hits = 0;
        for &label in &predicted {
            let hit = u64::from(truth.binary_search(&label).is_ok());
            hits += hit;
            self.counts[label].hits += hit;
            self.counts[label].predicted += 1;
        }
        for &label in &truth {
            self.counts[label].support += 1;
            self.unknown_labels += u64::from(label >= self.names.known);
        }
        self.rows += 1;
        self.f1_of_rows += share(2 * hits, (truth.len() + predicted.len()) as u64);
    }

    /// Each label's number once, in order.
    fn numbers<S: AsRef<str>>(&mut self, labels: &[S]) -> Option<Vec<usize>> {
        let numbers: Option<BTreeSet<usize>> = labels.iter().map(|label| self.names.number(label.as_ref())).collect();
        Some(numbers?.into_iter().collect())
    }

    /// The figures of all rows.
    ///
    /// # Errors
    /// No rows, or more than [`MOST_OTHER_LABELS`] labels that the classifier doesn't have.
    pub fn finish(self) -> Result<SeveralReport, Error> {
        check(self.rows, self.too_many, &self.names)?;
        let present = present(&self.names, &self.counts);
        let per_class: Vec<ClassFigures> = present.iter().map(|&class| self.counts[class].figures()).collect();
        let all = self.counts.iter().fold(Counts::default(), |all, one| Counts {
            hits: all.hits + one.hits,
            support: all.support + one.support,
            predicted: all.predicted + one.predicted,
        });
        Ok(SeveralReport {
            rows: self.rows,
            f1_micro: all.figures().f1,
            f1_macro: mean_f1(&per_class),
            f1_samples: self.f1_of_rows / self.rows as f64,
            per_class,
            classes: present.iter().map(|&class| self.names.names[class].clone()).collect(),
            unknown_labels: self.unknown_labels,
        })
    }
}

fn check(rows: u64, too_many: bool, names: &Names) -> Result<(), Error> {
    match () {
        () if too_many => Err(Error::TooManyLabels { known: names.known, others: MOST_OTHER_LABELS }),
        () if rows == 0 => Err(Error::Empty),
        () => Ok(()),
    }
}

/// Numbers of the labels that appear, by name.
fn present(names: &Names, counts: &[Counts]) -> Vec<usize> {
    let mut present: Vec<usize> = (0..counts.len()).filter(|&class| counts[class].appears()).collect();
    present.sort_unstable_by(|&a, &b| names.names[a].cmp(&names.names[b]));
    present
}

/// 0 where no label appears at all.
fn mean_f1(figures: &[ClassFigures]) -> f64 {
    figures.iter().map(|figures| figures.f1).sum::<f64>() / figures.len().max(1) as f64
}
