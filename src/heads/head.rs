//! A trained head: its task, labels, coefficients, and the encoder and text they belong to.
//!
//! Knows no solver and no file format. Invariant: as many labels as the coefficients have outputs, no label twice, all
//! numbers finite, nothing that the task has no use for; kept by `Head::new` and checked again by `save`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::arithmetic::argmax;
use super::calibration::Calibration;
use super::error::{Error, FileProblem, IdentityChange};
use super::head_file::shortened;
use super::kind::HeadKind;
use super::linear::decide;
use super::reading::{Meaning, Reading};
use super::rows::Matrix;
use super::trainer::{Fitted, LinearModel, Model, Optimality};
use crate::model::{Conformal, Task};

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
    /// What made its numbers.
    pub kind: HeadKind,
    /// Names of the classes, or of the numbers of a regression; answers come in this order.
    pub labels: Vec<String>,
    /// What gives decision values: one column for a classification with two labels (above 0 is the second), else one for
    /// each label.
    pub model: Model,
    /// What makes probabilities of decision values. Without one, those of a logistic head are logits, those of
    /// neighbours shares, and any others are scores.
    pub calibration: Option<Calibration>,
    /// Of a multi-label head, the answer from which each label is given, 0.5 of a probability and 0 of a score where there
    /// is no list. Of a classification with two labels, one number: the answer of the second label from which it is given.
    pub thresholds: Option<Vec<f64>>,
    /// Of a classification, the least answer with which each label is given; papers below get none.
    pub abstain: Option<Vec<f64>>,
    /// Of a classification, which labels are in the set that holds the right one.
    pub conformal: Option<Conformal>,
    /// Of a regression, what brings its values into the target's own units; none where they are in it.
    pub scaling: Option<TargetScaling>,
    /// Identity of the encoder whose embeddings it was fitted on.
    pub identity: BTreeMap<String, String>,
    /// The template, or the name of the text field, that made the texts.
    pub template_or_field: String,
    /// What evaluation measured; null when nothing was.
    pub metrics: Value,
    /// What [`HeadKind::strength`] names, as in scikit-learn; none where it is not known.
    pub strength: Option<f64>,
    /// How close to the optimum the fit is; none where nothing was optimized or another program made the head.
    pub optimality: Option<Optimality>,
    /// The licence that it may be used under, where one is known.
    pub license: Option<String>,
    /// Program and version that made it.
    pub created_by: String,
    /// The file it was loaded from, for messages, and the BLAKE3 of its bytes.
    pub(super) file: Option<(PathBuf, String)>,
}

impl Head {
    /// A head for `task` out of what a trainer of `kind` fitted. Calibration, thresholds and the like are set afterwards,
    /// by its fields; [`Head::save`] checks them.
    ///
    /// # Errors
    /// Labels that do not match the fit in number, a label given twice, and a kind that the task does not have.
    pub fn new((task, kind): (Task, HeadKind), fitted: Fitted, description: HeadDescription) -> Result<Self, Error> {
        let head = Self {
            task,
            kind,
            labels: description.labels,
            model: fitted.model,
            calibration: None,
            thresholds: None,
            abstain: None,
            conformal: None,
            scaling: None,
            identity: description.identity,
            template_or_field: description.template_or_field,
            metrics: description.metrics,
            strength: Some(fitted.strength),
            optimality: fitted.optimality,
            license: None,
            created_by: concat!("offprint ", env!("CARGO_PKG_VERSION")).to_owned(),
            file: None,
        };
        head.check().map_err(|source| Error::Inconsistent { source })?;
        Ok(head)
    }

    /// Width of the rows that it takes.
    pub fn dim(&self) -> usize {
        match &self.model {
            Model::Linear(LinearModel { coefficients, .. }) => coefficients.ncols(),
            Model::Neighbours(neighbours) => neighbours.rows().ncols(),
        }
    }

    /// Its weighted sums, where it is made of such.
    pub fn linear(&self) -> Option<&LinearModel> {
        match &self.model {
            Model::Linear(linear) => Some(linear),
            Model::Neighbours(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn linear_mut(&mut self) -> Option<&mut LinearModel> {
        match &mut self.model {
            Model::Linear(linear) => Some(linear),
            Model::Neighbours(_) => None,
        }
    }

    /// The file it was loaded from.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// BLAKE3 of the file it was loaded from, as it was then.
    pub fn file_hash(&self) -> Option<&str> {
        self.file.as_ref().map(|(_, hash)| hash.as_str())
    }

    /// How its decision values are read.
    pub fn reading(&self) -> Reading<'_> {
        Reading {
            task: self.task,
            kind: self.kind,
            labels: self.labels.len(),
            calibration: self.calibration.as_ref(),
            scaling: self.scaling.as_ref(),
        }
    }

    /// What its answers are: probabilities, scores or numbers.
    pub fn meaning(&self) -> Meaning {
        self.reading().meaning()
    }

    /// The answer from which the label in `column` is given, where several may be.
    pub fn threshold(&self, column: usize) -> f64 {
        self.thresholds.as_ref().map_or_else(|| self.reading().default_threshold(), |own| own[column])
    }

    /// Its decision values, rows × columns: logits, margins, shares or numbers, before anything is made of them.
    ///
    /// A row's values are the same bits whatever rows are beside it.
    ///
    /// # Errors
    /// Rows of another width, or with values that are not finite.
    pub fn decisions(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f64>, Error> {
        if rows.ncols() != self.dim() {
            return Err(Error::RowWidth { got: rows.ncols(), expected: self.dim() });
        }
        if let Some(((row, column), &value)) = rows.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { row, column, value });
        }
        match &self.model {
            Model::Linear(linear) => Ok(decide((&linear.coefficients, &linear.intercepts), rows)),
            Model::Neighbours(neighbours) => {
                let rows = rows.as_standard_layout();
                neighbours.decisions(&Matrix::of(rows.view()).expect("the layout is standard"))
            }
        }
    }

    /// Its answers, rows × labels, computed in f64 and rounded once: see [`Head::meaning`].
    ///
    /// # Errors
    /// As for [`Head::decisions`].
    pub fn predict(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        let answers = self.reading().answers(self.decisions(rows)?.view())?;
        Ok(answers.mapv(|answer| answer as f32))
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
        let (task, kind) = (self.task, self.kind);
        if !kind.serves(task) {
            return Err(FileProblem::Kind { task, got: kind });
        }
        self.check_model()?;
        self.check_task()?;
        match self.strength {
            Some(strength) if !(strength.is_finite() && strength > 0.0) => {
                let (key, expected) = (kind.strength_key(), "a finite number above 0");
                Err(FileProblem::Value { key, got: strength.to_string(), expected })
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

    fn check_model(&self) -> Result<(), FileProblem> {
        let (labels, outputs) = (self.labels.len(), self.reading().columns());
        if matches!(self.model, Model::Neighbours(_)) != (self.kind == HeadKind::Neighbours) {
            return Err(FileProblem::KindOfModel { kind: self.kind });
        }
        match &self.model {
            Model::Linear(LinearModel { coefficients, intercepts }) => {
                if coefficients.nrows() != outputs || coefficients.ncols() == 0 {
                    let (got, expected) = (coefficients.shape().to_vec(), format!("[{outputs}, dim]"));
                    return Err(FileProblem::Shape { tensor: "coefficients", got, labels, expected });
                }
                if intercepts.len() != outputs {
                    let (got, expected) = (vec![intercepts.len()], format!("[{outputs}]"));
                    return Err(FileProblem::Shape { tensor: "intercepts", got, labels, expected });
                }
                finite("coefficients", coefficients.iter())?;
                finite("intercepts", intercepts.iter())
            }
            Model::Neighbours(neighbours) => {
                let (targets, task) = (neighbours.targets(), self.task);
                if targets.task() != task || targets.columns() != outputs {
                    return Err(FileProblem::NeighboursOf { got: targets.task(), task, labels });
                }
                if self.strength != Some(neighbours.count() as f64) {
                    let got = self.strength.map_or("nothing".to_owned(), |strength| strength.to_string());
                    return Err(FileProblem::Value {
                        key: "n_neighbors",
                        got,
                        expected: "the number of its neighbours",
                    });
                }
                Ok(())
            }
        }
    }

    /// What belongs to one task stands in heads for it alone, with a number for each label.
    fn check_task(&self) -> Result<(), FileProblem> {
        let task = self.task;
        let not_of_task = |key| FileProblem::NotOfTask { key, task };
        if let Some(calibration) = &self.calibration {
            if task == Task::Regression {
                return Err(not_of_task("calibration"));
            }
            calibration.check(self.reading().columns())?;
        }
        self.check_decision()?;
        if let Some(TargetScaling { mean, scale }) = &self.scaling {
            if task != Task::Regression {
                return Err(not_of_task("scaling"));
            }
            for (key, list) in [("scaling.mean", mean), ("scaling.scale", scale)] {
                self.check_count(key, list)?;
            }
            check_list("scaling.mean", mean, "a finite number", f64::is_finite)?;
            check_list("scaling.scale", scale, "a finite number above 0", |s| s.is_finite() && s > 0.0)?;
        }
        Ok(())
    }

    /// What decides about labels by their answers.
    fn check_decision(&self) -> Result<(), FileProblem> {
        let task = self.task;
        let not_of_task = |key| FileProblem::NotOfTask { key, task };
        let is_probability = self.meaning() == Meaning::Probability;
        let fits = |value: f64| if is_probability { (0.0..=1.0).contains(&value) } else { value.is_finite() };
        let expected = if is_probability { "a probability from 0 to 1" } else { "a finite number" };
        if let Some(thresholds) = &self.thresholds {
            let of_two = self.reading().is_one_for_two();
            if task != Task::Multilabel && !of_two {
                return Err(not_of_task("thresholds"));
            }
            if of_two && thresholds.len() != 1 {
                return Err(FileProblem::OneThreshold { got: thresholds.len() });
            }
            if !of_two {
                self.check_count("thresholds", thresholds)?;
            }
            check_list("thresholds", thresholds, expected, fits)?;
        }
        if let Some(abstain) = &self.abstain {
            if task != Task::Classification {
                return Err(not_of_task("abstain"));
            }
            self.check_count("abstain", abstain)?;
            check_list("abstain", abstain, expected, fits)?;
        }
        if let Some(Conformal { alpha, least, .. }) = &self.conformal {
            if task != Task::Classification {
                return Err(not_of_task("conformal"));
            }
            check_list("conformal.alpha", &[*alpha], "a share above 0 and below 1", |a| a > 0.0 && a < 1.0)?;
            check_list("conformal.least", least.as_slice(), expected, fits)?;
        }
        Ok(())
    }

    fn check_count(&self, key: &'static str, list: &[f64]) -> Result<(), FileProblem> {
        if list.len() == self.labels.len() {
            return Ok(());
        }
        Err(FileProblem::Count { key, got: list.len(), labels: self.labels.len() })
    }
}

fn check_list(
    key: &'static str,
    list: &[f64],
    expected: &'static str,
    fits: impl Fn(f64) -> bool,
) -> Result<(), FileProblem> {
    match list.iter().enumerate().find(|(_, value)| !fits(**value)) {
        Some((position, &value)) => Err(FileProblem::Number { key, position, value, expected }),
        None => Ok(()),
    }
}

fn finite<'a>(tensor: &'static str, values: impl Iterator<Item = &'a f64>) -> Result<(), FileProblem> {
    match values.enumerate().find(|(_, value)| !value.is_finite()) {
        Some((position, &value)) => Err(FileProblem::NotFinite { tensor, position, value }),
        None => Ok(()),
    }
}

/// The label of each row with the greatest answer, the first of equals.
pub fn most_probable(answers: ArrayView2<'_, f32>) -> Vec<usize> {
    answers.rows().into_iter().map(argmax).collect()
}
