//! What all rows of a run come to for one head: how often each label is given or how values are spread, and how good
//! they are where a row says what is right. Knows no file.
//!
//! Memory: bounded by the number of labels; of measured numbers, a sample of bounded size for Kendall's tau.

use std::collections::HashMap;
use std::sync::Arc;

use crate::evaluate::{
    self, Histogram, LabelTally, PartReport, Regression, RegressionTally, SeveralReport, SeveralTally,
};
use crate::heads::Meaning;
use crate::model::Task;
use crate::paper::Label;

use super::answers::{Answer, HeadReader};

/// What a run came to for one head.
#[derive(Debug)]
pub struct HeadOutcome {
    /// The head's name.
    pub name: String,
    /// What its answers are.
    pub meaning: Meaning,
    /// What it gave.
    pub counts: AnswerCounts,
    /// Its quality; none unless its rows say what is right.
    pub measured: Option<Measured>,
}

/// How often answers were given.
#[derive(Debug)]
pub enum AnswerCounts {
    /// Rows by their one label, most frequent first.
    Label(Vec<(String, u64)>),
    /// Of several labels.
    Labels {
        /// Rows by label, most frequent first.
        rows: Vec<(String, u64)>,
        /// Labels given in all.
        given: u64,
        /// Rows without any.
        without: u64,
    },
    /// How the numbers of each name are spread.
    Values(Vec<(String, Histogram)>),
}

/// Quality against what the corpus says is right.
#[derive(Debug)]
pub enum Measured {
    /// Of one label; an error where nothing could be measured.
    Label(Result<PartReport, evaluate::Error>),
    /// Of several labels, likewise.
    Labels(Result<SeveralReport, evaluate::Error>),
    /// Of each number by its name, likewise.
    Values(Result<Vec<(String, Regression)>, evaluate::Error>),
}

/// Counts the answers of one head.
pub(super) struct HeadCount {
    reader: HeadReader,
    rows_of: HashMap<Arc<str>, u64>,
    given: u64,
    without: u64,
    spread: Vec<Histogram>,
    tally: Option<Tally>,
}

enum Tally {
    Label(LabelTally),
    Labels(SeveralTally),
    /// For each name.
    Values(Vec<RegressionTally>),
}

impl Tally {
    fn new(reader: &HeadReader) -> Self {
        match reader.task {
            Task::Classification => Self::Label(LabelTally::new(&reader.labels)),
            Task::Multilabel => Self::Labels(SeveralTally::new(&reader.labels)),
            Task::Regression => {
                let count = reader.labels.len();
                Self::Values((0..count).map(|_| RegressionTally::new(count)).collect())
            }
        }
    }

    /// Counts a row; the corpus was told to give labels of the head's kind.
    fn add(&mut self, truth: &Label, answer: &Answer) {
        match (self, truth, answer) {
            (Self::Label(tally), Label::One(truth), Answer::Label { label, .. }) => tally.add(truth, label),
            (Self::Labels(tally), Label::Several(truth), Answer::Labels(pairs)) => {
                let given: Vec<&str> = pairs.iter().map(|(label, _)| &**label).collect();
                tally.add(truth, &given);
            }
            (Self::Values(columns), Label::Numbers(truth), Answer::Values(values)) => {
                for (tally, (&truth, &value)) in columns.iter_mut().zip(truth.iter().zip(values)) {
                    tally.add(truth, value);
                }
            }
            _ => {}
        }
    }

    fn finish(self, labels: &[Arc<str>]) -> Measured {
        match self {
            Self::Label(tally) => Measured::Label(tally.finish()),
            Self::Labels(tally) => Measured::Labels(tally.finish()),
            Self::Values(columns) => {
                let finished =
                    columns.into_iter().zip(labels).map(|(tally, name)| Ok((name.to_string(), tally.finish()?)));
                Measured::Values(finished.collect())
            }
        }
    }
}

impl HeadCount {
    /// For the answers of `reader`, measured if rows say what is right.
    pub(super) fn new(reader: HeadReader, measured: bool) -> Self {
        let tally = measured.then(|| Tally::new(&reader));
        let spread = match reader.task {
            Task::Regression => vec![Histogram::default(); reader.labels.len()],
            _ => Vec::new(),
        };
        Self { reader, rows_of: HashMap::new(), given: 0, without: 0, spread, tally }
    }

    pub(super) fn reader(&self) -> &HeadReader {
        &self.reader
    }

    pub(super) fn add(&mut self, answer: &Answer, truth: Option<&Label>) {
        match answer {
            Answer::Label { label, .. } => *self.rows_of.entry(Arc::clone(label)).or_default() += 1,
            Answer::Labels(pairs) => {
                for (label, _) in pairs {
                    *self.rows_of.entry(Arc::clone(label)).or_default() += 1;
                }
                self.given += pairs.len() as u64;
                self.without += u64::from(pairs.is_empty());
            }
            Answer::Values(values) => self.spread.iter_mut().zip(values).for_each(|(spread, &value)| spread.add(value)),
        }
        if let (Some(tally), Some(truth)) = (&mut self.tally, truth) {
            tally.add(truth, answer);
        }
    }

    pub(super) fn finish(self) -> HeadOutcome {
        let mut rows: Vec<(String, u64)> =
            self.rows_of.iter().map(|(label, &rows)| (label.to_string(), rows)).collect();
        rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let labels = &self.reader.labels;
        let counts = match self.reader.task {
            Task::Classification => AnswerCounts::Label(rows),
            Task::Multilabel => AnswerCounts::Labels { rows, given: self.given, without: self.without },
            Task::Regression => {
                AnswerCounts::Values(labels.iter().map(|name| name.to_string()).zip(self.spread).collect())
            }
        };
        let measured = self.tally.map(|tally| tally.finish(labels));
        HeadOutcome { meaning: self.reader.meaning, name: self.reader.name, counts, measured }
    }
}
