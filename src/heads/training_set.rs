//! The labelled rows of a corpus with their embeddings, and which of them a head is fitted on. Rows without a label are
//! counted and left out.

use std::collections::BTreeMap;

use ndarray::Array2;

use super::Error;
use crate::encode::{EmbeddedWindow, Sink, SinkError};
use crate::paper::held_out;

/// Name of the rows that are set aside where the corpus has no split of its own.
pub const HELD_OUT: &str = "held_out";
/// Name of the rows that a head is fitted on.
pub const TRAIN: &str = "train";
/// Name of the rows that choose C where the corpus has them.
pub const DEV: &str = "dev";
/// Share that is set aside where the corpus has no split of its own.
const HELD_OUT_SHARE: f64 = 0.2;

/// Collects labelled rows from the pipeline.
#[derive(Debug)]
pub struct TrainingSink {
    dim: usize,
    rows: Vec<f32>,
    ids: Vec<String>,
    labels: Vec<String>,
    splits: Vec<Option<String>>,
    unlabelled: u64,
}

impl TrainingSink {
    /// For embeddings of length `dim`.
    pub fn new(dim: usize) -> Self {
        Self { dim, rows: Vec::new(), ids: Vec::new(), labels: Vec::new(), splits: Vec::new(), unlabelled: 0 }
    }

    /// Decides about the split and numbers the labels.
    ///
    /// # Errors
    /// No labelled row at all, a split field of which no row says `train`, or one label in all `train` rows.
    pub fn finish(self) -> Result<TrainingSet, Error> {
        if self.labels.is_empty() {
            return Err(Error::NoLabels { rows: self.unlabelled });
        }
        let rows = self.labels.len();
        let matrix =
            Array2::from_shape_vec((rows, self.dim), self.rows).expect("one vector of dim values came with each paper");
        let has_splits = self.splits.iter().any(Option::is_some);
        let without_split = if has_splits { self.splits.iter().filter(|split| split.is_none()).count() } else { 0 };
        let splits = if has_splits { self.splits } else { hold_out(&self.ids, &self.labels) };
        let trains = splits.iter().filter(|split| split.as_deref() == Some(TRAIN)).count();
        if trains == 0 {
            let mut seen: Vec<String> = splits.iter().flatten().cloned().collect();
            seen.sort_unstable();
            seen.dedup();
            return Err(Error::NoTrainRows { splits: seen });
        }
        let (labels, classes) = number_labels(&self.labels, &splits);
        if let [label] = &classes.names[..classes.trained] {
            return Err(Error::OneLabel { label: label.clone(), rows: trains });
        }
        Ok(TrainingSet {
            matrix,
            ids: self.ids,
            labels,
            classes,
            splits,
            unlabelled: self.unlabelled,
            without_split: without_split as u64,
        })
    }
}

impl Sink for TrainingSink {
    fn window(&mut self, window: EmbeddedWindow) -> Result<(), SinkError> {
        for (paper, embedding) in window.papers.into_iter().zip(window.embeddings.outer_iter()) {
            let Some(label) = paper.label().map(str::to_owned) else {
                self.unlabelled += 1;
                continue;
            };
            self.rows.extend(embedding.iter());
            self.ids.push(paper.id);
            self.labels.push(label);
            self.splits.push(paper.split);
        }
        Ok(())
    }
}

/// Labelled embeddings, each row in one part of the split.
#[derive(Debug)]
pub struct TrainingSet {
    /// Rows × dim.
    pub matrix: Array2<f32>,
    /// Ids of the papers.
    pub ids: Vec<String>,
    /// The class of each row: those of the `train` rows in the order of their names, then any others.
    pub labels: Vec<usize>,
    /// Names of the classes.
    pub classes: Classes,
    /// Part of the split each row belongs to; none for rows that a corpus with a split puts nowhere.
    pub splits: Vec<Option<String>>,
    /// Rows that had no label and are not in the set.
    pub unlabelled: u64,
    /// Rows of a corpus with a split that name no part of it.
    pub without_split: u64,
}

/// Names of the classes of a training set.
#[derive(Debug, Clone)]
pub struct Classes {
    /// All names, the ones of the training rows first.
    pub names: Vec<String>,
    /// How many of them occur in training rows; a head can only predict these.
    pub trained: usize,
}

impl TrainingSet {
    /// Names of the parts that have rows: train first, then by name.
    pub fn parts(&self) -> Vec<String> {
        let mut parts: Vec<String> = self.splits.iter().flatten().cloned().collect();
        parts.sort_unstable_by_key(|part| (part != TRAIN, part.clone()));
        parts.dedup();
        parts
    }

    /// Numbers of the rows in `part`.
    pub fn rows_of(&self, part: &str) -> Vec<usize> {
        (0..self.splits.len()).filter(|&row| self.splits[row].as_deref() == Some(part)).collect()
    }

    /// The rows with these numbers: embeddings and classes.
    pub fn select(&self, rows: &[usize]) -> (Array2<f32>, Vec<usize>) {
        (self.matrix.select(ndarray::Axis(0), rows), rows.iter().map(|&row| self.labels[row]).collect())
    }
}

/// A stratified share by hash of the id.
fn hold_out(ids: &[String], labels: &[String]) -> Vec<Option<String>> {
    let mut numbers = BTreeMap::new();
    for label in labels {
        let next = numbers.len();
        numbers.entry(label.as_str()).or_insert(next);
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let numbered: Vec<usize> = labels.iter().map(|label| numbers[label.as_str()]).collect();
    let part = |out: bool| Some(if out { HELD_OUT } else { TRAIN }.to_owned());
    held_out(&ids, &numbered, HELD_OUT_SHARE).into_iter().map(part).collect()
}

/// Classes of training rows sorted by name come first, so that a head's columns don't depend on what else is measured.
fn number_labels(labels: &[String], splits: &[Option<String>]) -> (Vec<usize>, Classes) {
    let trains = |split: &Option<String>| split.as_deref() == Some(TRAIN);
    let mut names: Vec<String> =
        labels.iter().zip(splits).filter(|(_, split)| trains(split)).map(|(label, _)| label.clone()).collect();
    names.sort_unstable();
    names.dedup();
    let trained = names.len();
    let mut others: Vec<String> = labels.iter().filter(|label| names.binary_search(label).is_err()).cloned().collect();
    others.sort_unstable();
    others.dedup();
    names.extend(others);
    let numbers: BTreeMap<&str, usize> = names.iter().enumerate().map(|(n, name)| (name.as_str(), n)).collect();
    let labels = labels.iter().map(|label| numbers[label.as_str()]).collect();
    (labels, Classes { names, trained })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(rows: &[(&str, Option<&str>)]) -> TrainingSink {
        let mut sink = TrainingSink::new(1);
        for (n, (label, split)) in rows.iter().enumerate() {
            sink.rows.push(n as f32);
            sink.ids.push(n.to_string());
            sink.labels.push((*label).to_owned());
            sink.splits.push(split.map(str::to_owned));
        }
        sink
    }

    #[test]
    fn classes_of_training_rows_come_first_in_the_order_of_their_names() {
        let set =
            sink(&[("z", Some("train")), ("a", Some("test")), ("m", Some("train")), ("z", None)]).finish().unwrap();
        assert_eq!(set.classes.names, ["m", "z", "a"]);
        assert_eq!(set.classes.trained, 2);
        assert_eq!(set.labels, [1, 2, 0, 1]);
        assert_eq!(set.without_split, 1);
        assert_eq!(set.parts(), ["train", "test"]);
        assert_eq!(set.select(&set.rows_of("train")).1, [1, 0]);
    }

    #[test]
    fn without_a_split_a_fifth_is_held_out() {
        let rows: Vec<(&str, Option<&str>)> = (0..50).map(|n| (if n % 2 == 0 { "a" } else { "b" }, None)).collect();
        let set = sink(&rows).finish().unwrap();
        assert_eq!(set.rows_of(HELD_OUT).len(), 10);
        assert_eq!(set.rows_of(TRAIN).len(), 40);
        assert_eq!(set.without_split, 0);
    }

    #[test]
    fn a_split_without_train_rows_names_what_it_has() {
        let error = sink(&[("a", Some("test")), ("b", Some("dev"))]).finish().unwrap_err();
        assert!(error.to_string().contains("dev, test"), "{error}");
    }
}
