//! Predictions as JSONL, CSV or Parquet: `id`, what each head says, and kept fields.
//!
//! One label: `label`, `probability`, the ranked ones if asked for, `label_set` where the head has conformal sets (in CSV
//! as JSON). Several: lists `labels`, `probabilities`. `score` and `scores` stand for probabilities where answers are
//! scores. Numbers: `value`, or one column by name. With several heads the head's name and `_` stand before each. CSV spreads lists over
//! `label`, `probability`, `label_2`, `probability_2`, ...; behind `unknown` the ranks begin anew, with the most probable
//! label as `label_2`.
//! Kept fields keep their JSON type in JSONL; in CSV and Parquet they are texts (a text as it is, anything else as
//! JSON), because a stream cannot know the type of values that are still to come.

use std::path::Path;

use serde_json::Value;

use super::answers::Answer;
use super::compression::{Compression, Content, endings, settle};
use super::error::Error;
use super::file::TextFile;
use super::prediction_table::ParquetPredictions;
use super::prediction_text::{CsvPredictions, JsonlPredictions};

/// Endings for messages.
const KNOWN: &str = ".jsonl, .csv (each also with .gz or .zst), .parquet";
/// The first column.
pub(super) const ID: &str = "id";
/// The labels of a conformal set.
pub(super) const LABEL_SET: &str = "label_set";
/// Labels of a row that CSV has columns for.
const MOST_CSV_LABELS: usize = 100;

/// How predictions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionFormat {
    /// One object a line.
    Jsonl,
    /// A header and one row a paper.
    Csv,
    /// A table with typed columns.
    Parquet,
}

impl PredictionFormat {
    /// The format that the ending of `path` asks for, in any case: `.jsonl`, `.csv` or `.parquet`; with `.gz` or `.zst`
    /// behind it as well.
    ///
    /// # Errors
    /// Any other ending.
    pub fn from_path(path: &Path) -> Result<Self, Error> {
        match endings(path).0.as_str() {
            "jsonl" => Ok(Self::Jsonl),
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            _ => Err(Error::UnknownFormat { path: path.to_owned(), known: KNOWN }),
        }
    }
}

/// What is predicted of one paper.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The paper.
    pub id: String,
    /// What each head says, one for each entry of [`PredictionOptions::heads`] and of its kind.
    pub answers: Vec<Answer>,
    /// Fields carried along, one per name in [`PredictionOptions::kept_names`].
    pub kept: Vec<Option<Value>>,
}

/// What columns a head's answers need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerKind {
    /// [`Answer::Label`] with this many ranked labels; 0 and 1 leave them out.
    Label {
        /// Ranked labels of a row.
        top_k: usize,
    },
    /// [`Answer::Labels`], at most this many.
    Labels {
        /// Labels of a row at most.
        most: usize,
    },
    /// [`Answer::Values`] under these names; a single one is called `value`.
    Values {
        /// One for each number.
        names: Vec<String>,
    },
}

impl AnswerKind {
    fn fits(&self, answer: &Answer) -> bool {
        match (self, answer) {
            (Self::Label { .. }, Answer::Label { .. }) | (Self::Labels { .. }, Answer::Labels(_)) => true,
            (Self::Values { names }, Answer::Values(values)) => names.len() == values.len(),
            _ => false,
        }
    }
}

/// The columns of one head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerColumns {
    /// What stands before each name: nothing, or the head's name and `_`.
    pub prefix: String,
    /// What they hold.
    pub kind: AnswerKind,
    /// Whether what stands beside a label is a score and not a probability.
    pub scores: bool,
    /// Whether answers of one label come with a set of labels.
    pub sets: bool,
}

impl AnswerColumns {
    /// For a head without scores and sets.
    pub fn plain(prefix: String, kind: AnswerKind) -> Self {
        Self { prefix, kind, scores: false, sets: false }
    }

    /// A column's name.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What stands beside a label, and beside a list of labels.
    pub(super) fn beside(&self) -> [&'static str; 2] {
        if self.scores { ["score", "scores"] } else { ["probability", "probabilities"] }
    }

    /// Whether rows have a column with a set of labels.
    pub(super) fn has_sets(&self) -> bool {
        self.sets && matches!(self.kind, AnswerKind::Label { .. })
    }

    /// Names of the columns.
    fn names(&self, format: PredictionFormat) -> Vec<String> {
        let [one, several] = self.beside();
        let mut names: Vec<String> = match &self.kind {
            AnswerKind::Label { top_k } => match format {
                PredictionFormat::Csv => spread(*top_k, one),
                _ if *top_k > 1 => ["label", one, "labels", several].map(str::to_owned).to_vec(),
                _ => spread(1, one),
            },
            AnswerKind::Labels { most } if format == PredictionFormat::Csv => spread(*most, one),
            AnswerKind::Labels { .. } => ["labels", several].map(str::to_owned).to_vec(),
            AnswerKind::Values { .. } => self.value_names(),
        };
        if self.has_sets() {
            names.push(LABEL_SET.to_owned());
        }
        names.iter().map(|name| self.name(name)).collect()
    }

    /// Names of a regression's columns, without the prefix.
    pub(super) fn value_names(&self) -> Vec<String> {
        match &self.kind {
            AnswerKind::Values { names } if names.len() > 1 => names.clone(),
            AnswerKind::Values { .. } => vec!["value".to_owned()],
            _ => Vec::new(),
        }
    }

    /// Pairs of a label and a probability that a row of CSV has.
    pub(super) fn csv_pairs(&self) -> usize {
        match self.kind {
            AnswerKind::Label { top_k: pairs } | AnswerKind::Labels { most: pairs } => pairs.max(1),
            AnswerKind::Values { .. } => 0,
        }
    }
}

/// `label`, `probability`, `label_2`, `probability_2`, ..., at least the first two.
fn spread(pairs: usize, beside: &str) -> Vec<String> {
    let mut names = vec!["label".to_owned(), beside.to_owned()];
    names.extend((2..=pairs).flat_map(|rank| [format!("label_{rank}"), format!("{beside}_{rank}")]));
    names
}

/// Which columns predictions have beside the id, and how they are compressed.
#[derive(Debug, Clone, Default)]
pub struct PredictionOptions {
    /// The heads whose answers are written.
    pub heads: Vec<AnswerColumns>,
    /// Names of the fields carried along.
    pub kept_names: Vec<String>,
    /// What the user asks for; `None` is what the name says, and zstd for Parquet.
    pub compression: Option<Compression>,
}

impl PredictionOptions {
    /// For one head.
    pub fn of_one(kind: AnswerKind) -> Self {
        Self { heads: vec![AnswerColumns::plain(String::new(), kind)], ..Self::default() }
    }

    fn columns(&self, format: PredictionFormat) -> Result<Vec<String>, Error> {
        let mut columns: Vec<(String, Option<&AnswerColumns>)> = vec![(ID.to_owned(), None)];
        let of_head = |head| AnswerColumns::names(head, format).into_iter().map(move |name| (name, Some(head)));
        let kept = self.kept_names.iter().map(|name| (name.clone(), None));
        for (name, head) in self.heads.iter().flat_map(of_head).chain(kept) {
            if let Some((_, other)) = columns.iter().find(|(other, _)| *other == name) {
                let heads = [*other, head].into_iter().flatten();
                let heads = heads.map(|head| head.prefix.trim_end_matches('_').to_owned()).collect();
                return Err(Error::ColumnTwice { name, heads, kept: head.is_none() });
            }
            columns.push((name, head));
        }
        Ok(columns.into_iter().map(|(name, _)| name).collect())
    }

    /// Refuses a row that doesn't have what the columns say.
    pub(super) fn check(&self, prediction: &Prediction) -> Result<(), Error> {
        let fits = self.heads.len() == prediction.answers.len()
            && self.heads.iter().zip(&prediction.answers).all(|(head, answer)| head.kind.fits(answer));
        if !fits {
            return Err(Error::WrongAnswers { id: prediction.id.clone() });
        }
        let (got, expected) = (prediction.kept.len(), self.kept_names.len());
        if got == expected {
            return Ok(());
        }
        Err(Error::WrongKept { id: prediction.id.clone(), got, expected })
    }
}

/// Takes predictions in output order. Dropped before `finish`, it leaves the older file as it was.
pub trait WritePredictions: Send {
    /// Adds one row.
    ///
    /// # Errors
    /// Other answers than the columns are for, another number of kept values than names, a value that JSON cannot hold,
    /// or a file system that refuses.
    fn write(&mut self, prediction: &Prediction) -> Result<(), Error>;

    /// Completes the file and puts it under its name.
    ///
    /// # Errors
    /// A file system that refuses.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// Opens the output that the ending of `path` asks for. Its folder must exist.
///
/// # Errors
/// An unknown ending, a compression that the format or the name doesn't allow, a kept field with the name of another
/// column, more labels than CSV has columns for, or a folder that cannot be written to.
pub fn prediction_writer(path: &Path, options: &PredictionOptions) -> Result<Box<dyn WritePredictions>, Error> {
    let format = PredictionFormat::from_path(path)?;
    let labels = options.heads.iter().map(AnswerColumns::csv_pairs).max().unwrap_or(0);
    if format == PredictionFormat::Csv && labels > MOST_CSV_LABELS {
        return Err(Error::TooWide { path: path.to_owned(), labels, most: MOST_CSV_LABELS });
    }
    let columns = options.columns(format)?;
    let content = if format == PredictionFormat::Parquet { Content::Pages } else { Content::Text };
    let compression = settle(path, content, options.compression)?;
    let options = options.clone();
    let file = || TextFile::create(path, compression.unwrap_or(Compression::NONE));
    Ok(match format {
        PredictionFormat::Jsonl => Box::new(JsonlPredictions::new(file()?, options)),
        PredictionFormat::Csv => Box::new(CsvPredictions::create(path, file()?, &columns, options)?),
        PredictionFormat::Parquet => Box::new(ParquetPredictions::create(path, options)?),
    })
}

/// A kept value as a cell: nothing for a missing field or null, a text as it is, anything else as JSON.
pub(super) fn cell_of(value: &Option<Value>) -> Option<String> {
    match value {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    }
}
