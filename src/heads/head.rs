//! A trained head: its task, labels, coefficients, and the encoder and text they belong to.
//!
//! Knows no solver and no file format. Invariant: as many labels as the coefficients have outputs, no label twice, all
//! numbers finite, nothing that the task has no use for; kept by `Head::new` and checked again by `save`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ndarray::{Array2, ArrayView2, ArrayViewMut1};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{Error, IdentityChange};
use super::file_problem::FileProblem;
use super::head_file::shortened;
use super::logistic::{Convergence, LogisticFit, argmax, check_finite, row_logits};
use super::objective::{sigmoid, softmax};
use crate::model::Task;

/// What made a head's coefficients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// Logistic regression: one label of several, or each of several by itself.
    Logistic,
    /// Linear regression with any penalty: numbers.
    Linear,
    /// Linear support vectors: margins of labels, or numbers.
    Svm,
    /// Squared loss and an L2 penalty: numbers, or labels by targets of -1 and 1.
    Ridge,
    /// Squared loss with an L1 and an L2 penalty: numbers.
    ElasticNet,
    /// The nearest of the rows that it was fitted on: shares of labels, or mean numbers.
    Neighbours,
}

impl HeadKind {
    /// The kind of heads that a task has.
    pub fn of(task: Task) -> Self {
        match task {
            Task::Classification | Task::Multilabel => Self::Logistic,
            Task::Regression => Self::Linear,
        }
    }
}

impl fmt::Display for HeadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Logistic => f.write_str("logistic"),
            Self::Linear => f.write_str("linear"),
            Self::Svm => f.write_str("svm"),
            Self::Ridge => f.write_str("ridge"),
            Self::ElasticNet => f.write_str("elastic-net"),
            Self::Neighbours => f.write_str("knn"),
        }
    }
}

impl FromStr for HeadKind {
    type Err = FileProblem;

    fn from_str(text: &str) -> Result<Self, FileProblem> {
        match text {
            "logistic" => Ok(Self::Logistic),
            "linear" => Ok(Self::Linear),
            _ => Err(FileProblem::Value { key: "kind", got: shortened(text), expected: "`logistic` or `linear`" }),
        }
    }
}

/// Where the numbers of a regression lie: it was fitted on (target - mean) / scale, column by column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetScaling {
    /// In the target's own units, one for each label.
    pub mean: Vec<f64>,
    /// In the target's own units, above 0, one for each label.
    pub scale: Vec<f64>,
}

/// What a fit does not know about its head.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeadDescription {
    /// Names of the classes, in the order of their numbers.
    pub labels: Vec<String>,
    /// Identity of the encoder whose embeddings it was fitted on.
    pub identity: BTreeMap<String, String>,
    /// The template, or the name of the text field, that made the texts.
    pub template_or_field: String,
    /// What evaluation measured; null when nothing was.
    pub metrics: Value,
}

/// Labels or numbers out of embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// What its answers mean.
    pub task: Task,
    /// What made its coefficients.
    pub kind: HeadKind,
    /// Names of the classes, or of the numbers of a regression; answers come in this order.
    pub labels: Vec<String>,
    /// 1 × dim for a classification with two labels (the logit of the second), else labels × dim.
    pub coefficients: Array2<f64>,
    /// One per row of `coefficients`.
    pub intercepts: Vec<f64>,
    /// Of a multi-label head, the probability from which each label is given; 0.5 for all where there is no list.
    pub thresholds: Option<Vec<f64>>,
    /// Of a regression, what brings its values into the target's own units; none where they are in it.
    pub scaling: Option<TargetScaling>,
    /// Identity of the encoder whose embeddings it was fitted on.
    pub identity: BTreeMap<String, String>,
    /// The template, or the name of the text field, that made the texts.
    pub template_or_field: String,
    /// What evaluation measured; null when nothing was.
    pub metrics: Value,
    /// Inverse L2 strength as in scikit-learn's classifiers; none where there is no one such number.
    pub c: Option<f64>,
    /// How close to the optimum the fit is; none where another program made the head.
    pub convergence: Option<Convergence>,
    /// The licence that it may be used under, where one is known.
    pub license: Option<String>,
    /// Program and version that made it.
    pub created_by: String,
    /// The file it was loaded from, for messages, and the BLAKE3 of its bytes.
    pub(super) file: Option<(PathBuf, String)>,
}

impl Head {
    /// A single-label head out of a fit.
    ///
    /// # Errors
    /// Labels that do not match the fit in number, or a label given twice.
    pub fn new(fit: LogisticFit, description: HeadDescription) -> Result<Self, Error> {
        let head = Self {
            task: Task::Classification,
            kind: HeadKind::Logistic,
            labels: description.labels,
            coefficients: fit.coefficients,
            intercepts: fit.intercepts,
            thresholds: None,
            scaling: None,
            identity: description.identity,
            template_or_field: description.template_or_field,
            metrics: description.metrics,
            c: Some(fit.c),
            convergence: Some(fit.convergence),
            license: None,
            created_by: concat!("offprint ", env!("CARGO_PKG_VERSION")).to_owned(),
            file: None,
        };
        head.check().map_err(|source| Error::Inconsistent { source })?;
        Ok(head)
    }

    /// Width of the rows that it takes.
    pub fn dim(&self) -> usize {
        self.coefficients.ncols()
    }

    /// The file it was loaded from.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// BLAKE3 of the file it was loaded from, as it was then.
    pub fn file_hash(&self) -> Option<&str> {
        self.file.as_ref().map(|(_, hash)| hash.as_str())
    }

    /// Its answers, rows × labels, computed in f64 and rounded once: probabilities by softmax (one label of several)
    /// or sigmoid (each label by itself), or the numbers of a regression in the target's own units.
    ///
    /// A row's answers are the same bits whatever rows are beside it.
    ///
    /// # Errors
    /// Rows of another width, or with values that are not finite.
    pub fn predict(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        if rows.ncols() != self.dim() {
            return Err(Error::RowWidth { got: rows.ncols(), expected: self.dim() });
        }
        check_finite(rows)?;
        let mut answers = Array2::zeros((rows.nrows(), self.labels.len()));
        let mut row64 = vec![0.0; self.dim()];
        let mut logits = vec![0.0; self.intercepts.len()];
        for (row, mut out) in rows.rows().into_iter().zip(answers.rows_mut()) {
            row_logits(row, &mut row64, (&self.coefficients, &self.intercepts), &mut logits);
            if self.one_row_for_two_labels() {
                out[0] = sigmoid(-logits[0]) as f32;
                out[1] = sigmoid(logits[0]) as f32;
            } else {
                self.finish(&mut logits);
                out.iter_mut().zip(&logits).for_each(|(out, &answer)| *out = answer as f32);
            }
        }
        Ok(answers)
    }

    /// Whether one row of coefficients, the logit of the second label, tells two labels apart.
    pub fn one_row_for_two_labels(&self) -> bool {
        self.task == Task::Classification && self.labels.len() == 2
    }

    /// From the values of all labels to the answers.
    fn finish(&self, values: &mut [f64]) {
        match self.task {
            Task::Classification => {
                softmax(ArrayViewMut1::from(values));
            }
            Task::Multilabel => values.iter_mut().for_each(|value| *value = sigmoid(*value)),
            Task::Regression => {
                let Some(TargetScaling { mean, scale }) = &self.scaling else { return };
                values.iter_mut().zip(mean.iter().zip(scale)).for_each(|(value, (mean, scale))| {
                    *value = *value * scale + mean;
                });
            }
        }
    }

    /// Refuses vectors of another length than the head's.
    ///
    /// # Errors
    /// Both lengths, where they differ.
    pub fn check_dim(&self, got: usize) -> Result<(), Error> {
        let expected = self.dim();
        if got == expected {
            return Ok(());
        }
        Err(Error::OtherDimension { file: self.file().map(Path::to_owned), got, expected })
    }

    /// Refuses an encoder with another identity than the one it was trained on.
    ///
    /// # Errors
    /// The fields that differ, one cause each: `pooling: mean -> cls`.
    pub fn check_identity(&self, other: &BTreeMap<String, String>) -> Result<(), Error> {
        let mut change = None;
        let names: BTreeSet<&String> = self.identity.keys().chain(other.keys()).collect();
        for name in names.into_iter().rev() {
            let (from, to) = (self.identity.get(name).cloned(), other.get(name).cloned());
            if from != to {
                change = Some(IdentityChange { name: name.clone(), from, to, next: change.map(Box::new) });
            }
        }
        match change {
            Some(source) => Err(Error::OtherEncoder { file: self.file().map(Path::to_owned), source }),
            None => Ok(()),
        }
    }

    /// The invariant of this type.
    pub(super) fn check(&self) -> Result<(), FileProblem> {
        self.check_labels()?;
        self.check_tensors()?;
        self.check_task()?;
        match self.c {
            Some(c) if !(c.is_finite() && c > 0.0) => {
                Err(FileProblem::Value { key: "c", got: c.to_string(), expected: "a finite number above 0" })
            }
            _ => Ok(()),
        }
    }

    fn check_labels(&self) -> Result<(), FileProblem> {
        let (got, expected) = (self.labels.len(), if self.task == Task::Classification { 2 } else { 1 });
        if got < expected {
            return Err(FileProblem::FewLabels { got, expected });
        }
        let mut positions = HashMap::with_capacity(got);
        for (second, label) in self.labels.iter().enumerate() {
            if let Some(first) = positions.insert(label, second) {
                return Err(FileProblem::DuplicateLabel { label: shortened(label), first, second });
            }
        }
        Ok(())
    }

    fn check_tensors(&self) -> Result<(), FileProblem> {
        let labels = self.labels.len();
        let outputs = if self.one_row_for_two_labels() { 1 } else { labels };
        if self.coefficients.nrows() != outputs || self.coefficients.ncols() == 0 {
            let got = self.coefficients.shape().to_vec();
            return Err(FileProblem::Shape {
                tensor: "coefficients",
                got,
                labels,
                expected: format!("[{outputs}, dim]"),
            });
        }
        if self.intercepts.len() != outputs {
            let got = vec![self.intercepts.len()];
            return Err(FileProblem::Shape { tensor: "intercepts", got, labels, expected: format!("[{outputs}]") });
        }
        finite("coefficients", self.coefficients.iter())?;
        finite("intercepts", self.intercepts.iter())
    }

    /// What belongs to one task stands in heads for it alone, with a number for each label.
    fn check_task(&self) -> Result<(), FileProblem> {
        let task = self.task;
        if self.kind != HeadKind::of(task) {
            return Err(FileProblem::Kind { task, got: self.kind, expected: HeadKind::of(task) });
        }
        if let Some(thresholds) = &self.thresholds {
            if task != Task::Multilabel {
                return Err(FileProblem::NotOfTask { key: "thresholds", task });
            }
            self.check_list("thresholds", thresholds, "a probability from 0 to 1", |p| (0.0..=1.0).contains(&p))?;
        }
        if let Some(TargetScaling { mean, scale }) = &self.scaling {
            if task != Task::Regression {
                return Err(FileProblem::NotOfTask { key: "scaling", task });
            }
            self.check_list("scaling.mean", mean, "a finite number", f64::is_finite)?;
            self.check_list("scaling.scale", scale, "a finite number above 0", |s| s.is_finite() && s > 0.0)?;
        }
        Ok(())
    }

    fn check_list(
        &self,
        key: &'static str,
        list: &[f64],
        expected: &'static str,
        fits: impl Fn(f64) -> bool,
    ) -> Result<(), FileProblem> {
        if list.len() != self.labels.len() {
            return Err(FileProblem::Count { key, got: list.len(), labels: self.labels.len() });
        }
        match list.iter().enumerate().find(|(_, value)| !fits(**value)) {
            Some((position, &value)) => Err(FileProblem::Number { key, position, value, expected }),
            None => Ok(()),
        }
    }
}

fn finite<'a>(tensor: &'static str, values: impl Iterator<Item = &'a f64>) -> Result<(), FileProblem> {
    match values.enumerate().find(|(_, value)| !value.is_finite()) {
        Some((position, &value)) => Err(FileProblem::NotFinite { tensor, position, value }),
        None => Ok(()),
    }
}

/// The most probable label of each row, the first of equals.
pub fn most_probable(probabilities: ArrayView2<'_, f32>) -> Vec<usize> {
    probabilities.rows().into_iter().map(argmax).collect()
}
