//! Collects labelled rows from the pipeline and makes a set of them. Knows where a paper keeps what; what the labels of
//! all rows mean together is decided when the last has passed. Invariant: where a cache has the vectors, none is copied.

use std::collections::BTreeSet;

use serde_json::Value;

use super::labels::{self, Numbered};
use super::parts::{self, SplitPlan};
use super::{TRAIN, TrainingRows, TrainingSet};
use crate::cache::{EmbeddingCache, Key};
use crate::encode::{EmbeddedWindow, Sink, SinkError};
use crate::heads::error::{Error, SetError};
use crate::heads::rows::HeldRows;
use crate::model::Task;
use crate::paper::{LABEL_SEPARATOR, Label, Paper};

/// Characters of a title that are kept.
const LONGEST_TITLE: usize = 200;

/// Which of the fields that a corpus carries along ([`crate::paper::FieldMap::keep`]) say what of a row, by position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrainingFields {
    /// Rows of one group stay together: text, an integer or a boolean.
    pub group: Option<usize>,
    /// The fold in which a row is scored: likewise.
    pub fold: Option<usize>,
    /// How much a row counts: a number, 0 or above, also as text.
    pub weight: Option<usize>,
    /// When it appeared: an integer, also as text.
    pub year: Option<usize>,
}

/// What a set is made for.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingOptions {
    /// Numbers in a vector.
    pub dim: usize,
    /// Name of the field with the labels.
    pub field: String,
    /// What a head is to be for; where nobody says it, the labels decide ([`super::TaskReason`]).
    pub task: Option<Task>,
    /// What stands between the labels of a text, where some rows have lists and others such texts.
    pub separator: String,
    /// Where else to look.
    pub fields: TrainingFields,
    /// What is held out.
    pub split: SplitPlan,
}

impl TrainingOptions {
    /// For labels in `field` on vectors of `dim` numbers, everything else as it is without a word.
    pub fn new(dim: usize, field: &str) -> Self {
        Self {
            dim,
            field: field.to_owned(),
            task: None,
            separator: LABEL_SEPARATOR.to_owned(),
            fields: TrainingFields::default(),
            split: SplitPlan::default(),
        }
    }
}

/// What a row brings beside its vector.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub ids: Vec<String>,
    pub titles: Vec<String>,
    pub labels: Vec<Label>,
    pub splits: Vec<Option<String>>,
    pub groups: Vec<Option<String>>,
    pub folds: Vec<Option<String>>,
    pub weights: Vec<f64>,
    /// None where a row has none.
    pub years: Vec<Option<i64>>,
}

/// Collects labelled rows from the pipeline.
#[derive(Debug)]
pub struct TrainingSink<'a> {
    options: TrainingOptions,
    vectors: Vectors<'a>,
    /// Places of the adapters that rows went through.
    adapters: BTreeSet<u8>,
    collected: Collected,
    unlabelled: u64,
}

/// What is kept of the vectors until the end.
#[derive(Debug)]
enum Vectors<'a> {
    /// All of them.
    Held(Vec<f32>),
    /// What they are found by in one of the caches.
    Cached(&'a [EmbeddingCache], Vec<Key>),
}

impl<'a> TrainingSink<'a> {
    /// For a set that is made so. `caches` are those of the job ([`crate::encode::EncodeJob::caches`]): the set's rows are
    /// then read where these have them mapped; without any the set holds them in memory.
    pub fn new(options: TrainingOptions, caches: &'a [EmbeddingCache]) -> Self {
        let vectors = if caches.is_empty() { Vectors::Held(Vec::new()) } else { Vectors::Cached(caches, Vec::new()) };
        Self { options, vectors, adapters: BTreeSet::new(), collected: Collected::default(), unlabelled: 0 }
    }

    /// Decides about task and split, numbers the labels, and finds the rows in the cache, once a run has ended well.
    ///
    /// # Errors
    /// No labelled row at all, a split of which no row is in `train`, labels that do not fit the task, one class or one
    /// number in all `train` rows, fewer groups or years than a split by them needs; rows of several adapters, or that are
    /// in no part of the cache.
    pub fn finish(self) -> Result<TrainingSet, Error> {
        let Self { options, vectors, adapters, mut collected, unlabelled } = self;
        let Some(&adapter) = adapters.first() else { return Err(SetError::NoLabels { rows: unlabelled }.into()) };
        // A fit is about one encoder.
        if adapters.len() > 1 {
            return Err(SetError::SeveralAdapters { adapters: adapters.len() }.into());
        }
        let labels = std::mem::take(&mut collected.labels);
        let (truths, reason) = labels::read(&options, labels, &collected.ids)?;
        let splits = parts::assign(&options, &collected, &truths)?;
        let without_split = splits.iter().filter(|split| split.is_none()).count();
        let trains: Vec<bool> = splits.iter().map(|split| split.as_deref() == Some(TRAIN)).collect();
        if !trains.contains(&true) {
            let mut seen: Vec<String> = splits.iter().flatten().cloned().collect();
            seen.sort_unstable();
            seen.dedup();
            return Err(SetError::NoTrainRows { splits: seen }.into());
        }
        let Numbered { targets, classes, look_alikes } = labels::numbered(&options, truths, &trains)?;
        let shape = (collected.ids.len(), options.dim);
        let vectors = vectors.found(shape, adapter)?;
        let given = |values: Vec<Option<String>>, field: Option<usize>| field.map(|_| values);
        Ok(TrainingSet {
            vectors,
            ids: collected.ids,
            titles: collected.titles,
            targets,
            classes,
            splits,
            groups: given(collected.groups, options.fields.group),
            folds: given(collected.folds, options.fields.fold),
            weights: options.fields.weight.map(|_| collected.weights),
            reason,
            look_alikes,
            unlabelled,
            without_split: without_split as u64,
        })
    }

    fn take(&mut self, paper: Paper) -> Result<bool, Error> {
        let Some(label) = paper.labels.into_iter().next().flatten() else {
            self.unlabelled += 1;
            return Ok(false);
        };
        let TrainingFields { group, fold, weight, year } = self.options.fields;
        let value = |at: usize| paper.kept.get(at).and_then(Option::as_ref).filter(|value| !value.is_null());
        let missing = |what, expected, value: Option<&Value>| SetError::RowField {
            id: paper.id.clone(),
            what,
            got: value.map_or_else(|| "nothing".to_owned(), |value| value.to_string().chars().take(40).collect()),
            expected,
        };
        let into = &mut self.collected;
        for (at, what, names) in [(group, "group", &mut into.groups), (fold, "fold", &mut into.folds)] {
            let Some(at) = at else { continue };
            let unfit = |value| missing(what, "text, an integer or a boolean", Some(value));
            names.push(value(at).map(|value| name_of(value).ok_or_else(|| unfit(value))).transpose()?.flatten());
        }
        if let Some(at) = weight {
            let number = value(at).and_then(number_of).filter(|weight| *weight >= 0.0);
            into.weights.push(number.ok_or_else(|| missing("weight", "a number of 0 or above", value(at)))?);
        }
        if let Some(at) = year {
            let number =
                value(at).map(|value| year_of(value).ok_or_else(|| missing("year", "an integer", Some(value))));
            into.years.push(number.transpose()?);
        }
        into.titles.push(paper.text.short().chars().take(LONGEST_TITLE).collect());
        into.ids.push(paper.id);
        into.labels.push(label);
        into.splits.push(paper.split);
        Ok(true)
    }
}

impl Vectors<'_> {
    /// The vectors of the collected rows, all of which went through one adapter.
    fn found(self, shape: (usize, usize), adapter: u8) -> Result<TrainingRows, Error> {
        let (caches, keys) = match self {
            Self::Held(values) => return Ok(TrainingRows::held(HeldRows::new(values, shape)?)),
            Self::Cached(caches, keys) => (caches, keys),
        };
        let missing = || SetError::AdapterWithoutCache { place: usize::from(adapter), caches: caches.len() };
        let cache = caches.get(usize::from(adapter)).ok_or_else(missing)?;
        Ok(cache.map_rows(&keys).map_err(|source| SetError::CachedRows { source })?.into())
    }
}

impl Sink for TrainingSink<'_> {
    fn window(&mut self, window: EmbeddedWindow) -> Result<(), SinkError> {
        for (row, paper) in window.papers.into_iter().enumerate() {
            let found_by = window.keys[row];
            if self.take(paper)? {
                self.adapters.insert(found_by.adapter);
                match &mut self.vectors {
                    Vectors::Held(values) => values.extend(window.embeddings.row(row)),
                    Vectors::Cached(_, keys) => keys.push(found_by.key),
                }
            }
        }
        Ok(())
    }

    fn needs_embeddings(&self) -> bool {
        matches!(self.vectors, Vectors::Held(_))
    }
}

/// The name of a group or a fold; an empty text is none, and other things cannot be one.
fn name_of(value: &Value) -> Option<Option<String>> {
    match value {
        Value::String(text) => Some((!text.is_empty()).then(|| text.clone())),
        Value::Bool(truth) => Some(Some(truth.to_string())),
        Value::Number(number) if !number.is_f64() => Some(Some(number.to_string())),
        _ => None,
    }
}

fn number_of(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite())
}

/// A year, or the year that a date such as 2021-04-30 begins with.
fn year_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => {
            let text = text.trim();
            let year = text.get(..4).filter(|_| text.as_bytes().get(4) == Some(&b'-')).unwrap_or(text);
            year.parse().ok()
        }
        _ => None,
    }
}
