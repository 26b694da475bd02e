//! What an encoder loses beside its original: labelled texts go through both, window by window, and a head that was
//! trained on the original answers on both. Knows no bundle and no threshold.
//!
//! Memory: one window of texts, what [`Comparison`] keeps, and counts by label. Invariant: the head's figures on both
//! sides come from the same texts.

use std::io;

use ndarray::{ArrayView1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::tally::{LabelTally, SeveralTally};
use crate::encode::{self, Comparison, Side, TokenBudget};
use crate::heads::{self, Head, most_probable};
use crate::model::{DEFAULT_THRESHOLD, HeadQuality, MeasuredQuality, Task};
use crate::runtime::EmbeddingMatrix;

/// Texts that are run at a time: enough to put texts of like length together.
const WINDOW: usize = 256;

/// A text with what is known to be right about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelledText {
    /// As the tokenizer gets it.
    pub text: String,
    /// Its labels, exactly one where the head gives one; none where the corpus says nothing.
    pub labels: Option<Vec<String>>,
}

/// What is compared, and on what.
pub struct QualityJob<'a> {
    /// The encoder that rules.
    pub original: Side<'a>,
    /// The one that is measured.
    pub new: Side<'a>,
    /// Padded tokens of a batch.
    pub budget: TokenBudget,
    /// What the texts are called.
    pub corpus: &'a str,
    /// A head of the original that gives labels, and the name of the field that they stand in.
    pub head: Option<(&'a Head, &'a str)>,
}

/// Runs `texts` on both encoders and measures; `watch` is told after each window how many texts are done.
///
/// # Errors
/// Texts that cannot be read, an encoder that cannot be opened or run, fewer than two different texts, or, with a head,
/// no text with a label that it knows.
pub fn measure_quality(
    job: &QualityJob<'_>,
    texts: &mut dyn Iterator<Item = io::Result<LabelledText>>,
    watch: &mut dyn FnMut(u64),
) -> Result<(MeasuredQuality, Option<HeadQuality>), Error> {
    let mut comparison = Comparison::open(job.original, job.new, job.budget).map_err(encoder)?;
    let mut answers = job.head.map(|(head, label)| Answers::new(head, label));
    let mut done = 0;
    loop {
        let window: Vec<LabelledText> =
            texts.take(WINDOW).collect::<Result<_, _>>().map_err(|source| Error::Texts { source })?;
        if window.is_empty() {
            break;
        }
        let texts: Vec<&str> = window.iter().map(|labelled| labelled.text.as_str()).collect();
        let pair = comparison.window(&texts).map_err(encoder)?;
        if let Some(answers) = &mut answers {
            answers.take(&window, &pair.original, &pair.new)?;
        }
        done += window.len() as u64;
        watch(done);
    }
    let measured = comparison.finish(job.corpus).map_err(encoder)?;
    Ok((measured, answers.map(Answers::finish).transpose()?))
}

fn encoder(source: encode::Error) -> Error {
    Error::Encoder { source: Box::new(source) }
}

/// What a head says on both sides.
struct Answers<'a> {
    head: &'a Head,
    field: &'a str,
    original: Tally,
    new: Tally,
    texts: u64,
    unlabelled: u64,
    changed: u64,
    /// Whether a text has a label that the head knows.
    known: bool,
    /// The first label that it doesn't know.
    unknown: Option<String>,
}

impl<'a> Answers<'a> {
    fn new(head: &'a Head, field: &'a str) -> Self {
        let (original, new) = (Tally::new(head), Tally::new(head));
        Self { head, field, original, new, texts: 0, unlabelled: 0, changed: 0, known: false, unknown: None }
    }

    fn take(
        &mut self,
        window: &[LabelledText],
        original: &EmbeddingMatrix,
        new: &EmbeddingMatrix,
    ) -> Result<(), heads::Error> {
        let rows: Vec<usize> = (0..window.len()).filter(|&row| window[row].labels.is_some()).collect();
        self.unlabelled += (window.len() - rows.len()) as u64;
        self.texts += rows.len() as u64;
        let on_original = self.answers(original, &rows)?;
        let on_new = self.answers(new, &rows)?;
        let truths = window.iter().filter_map(|labelled| labelled.labels.as_deref());
        for (truth, (original, new)) in truths.zip(on_original.iter().zip(&on_new)) {
            self.meet(truth);
            self.changed += u64::from(original != new);
            let names = |answer: &[usize]| -> Vec<&'a str> {
                answer.iter().map(|&label| self.head.labels[label].as_str()).collect()
            };
            let (original, new) = (names(original), names(new));
            self.original.add(truth, &original);
            self.new.add(truth, &new);
        }
        Ok(())
    }

    /// The numbers of the labels that the head gives these rows.
    fn answers(&self, matrix: &EmbeddingMatrix, rows: &[usize]) -> Result<Vec<Vec<usize>>, heads::Error> {
        let all = ArrayView2::from_shape((matrix.rows, matrix.dim), &matrix.data);
        let all = all.expect("a matrix has rows × dim numbers");
        let numbers = self.head.predict(all.select(Axis(0), rows).view())?;
        if self.head.task != Task::Multilabel {
            return Ok(most_probable(numbers.view()).into_iter().map(|label| vec![label]).collect());
        }
        let own = self.head.thresholds.as_ref();
        let threshold = |label: usize| own.map_or(DEFAULT_THRESHOLD, |thresholds| thresholds[label]) as f32;
        let given = |row: ArrayView1<'_, f32>| (0..row.len()).filter(|&label| row[label] >= threshold(label)).collect();
        Ok(numbers.rows().into_iter().map(given).collect())
    }

    fn meet(&mut self, truth: &[String]) {
        for label in truth {
            if self.head.labels.contains(label) {
                self.known = true;
            } else if self.unknown.is_none() {
                self.unknown = Some(label.clone());
            }
        }
    }

    fn finish(self) -> Result<HeadQuality, Error> {
        if !self.known {
            let (field, labels) = (self.field.to_owned(), self.head.labels.clone());
            return Err(Error::NoKnownLabel { field, example: self.unknown, labels });
        }
        let (original, new) = (self.original.finish()?, self.new.finish()?);
        let file = self.head.file().and_then(|file| file.file_name());
        Ok(HeadQuality {
            name: file.map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            label: self.field.to_owned(),
            texts: self.texts,
            unknown_labels: original.unknown_labels,
            unlabelled: self.unlabelled,
            f1_micro_original: original.f1_micro,
            f1_micro: new.f1_micro,
            f1_macro_original: original.f1_macro,
            f1_macro: new.f1_macro,
            f1_drop: original.f1_macro - new.f1_macro,
            answers_changed: self.changed,
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
    fn new(head: &Head) -> Self {
        match head.task {
            Task::Multilabel => Self::Several(SeveralTally::new(&head.labels)),
            Task::Classification | Task::Regression => Self::One(LabelTally::new(&head.labels)),
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
#[path = "quality_tests.rs"]
mod tests;
