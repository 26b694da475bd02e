//! A trained head: labels, coefficients, and the encoder and text they belong to.
//!
//! Knows no solver and no file format. Invariant: as many labels as the coefficients have outputs, no label twice, all
//! numbers finite; kept by `Head::new` and checked again by `save`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use ndarray::{Array2, ArrayView2, ArrayViewMut1};
use serde_json::Value;

use super::error::{Error, FileProblem, IdentityChange};
use super::head_file::shortened;
use super::logistic::{Convergence, LogisticFit, argmax, check_finite, row_logits};
use super::objective::{sigmoid, softmax};

/// What a head computes from a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// One label of two or more, by logistic regression.
    Logistic,
}

impl fmt::Display for HeadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Logistic => f.write_str("logistic"),
        }
    }
}

impl FromStr for HeadKind {
    type Err = FileProblem;

    fn from_str(text: &str) -> Result<Self, FileProblem> {
        match text {
            "logistic" => Ok(Self::Logistic),
            _ => Err(FileProblem::Value { key: "kind", got: shortened(text), expected: "`logistic`" }),
        }
    }
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

/// A classifier of embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// What it computes.
    pub kind: HeadKind,
    /// Names of the classes; probabilities come in this order.
    pub labels: Vec<String>,
    /// 1 × dim for two labels (the logit of the second), else labels × dim.
    pub coefficients: Array2<f64>,
    /// One per row of `coefficients`.
    pub intercepts: Vec<f64>,
    /// Identity of the encoder whose embeddings it was fitted on.
    pub identity: BTreeMap<String, String>,
    /// The template, or the name of the text field, that made the texts.
    pub template_or_field: String,
    /// What evaluation measured; null when nothing was.
    pub metrics: Value,
    /// Inverse L2 strength as in scikit-learn.
    pub c: f64,
    /// How close to the optimum the fit is; none where another program made the head.
    pub convergence: Option<Convergence>,
    /// Program and version that made it.
    pub created_by: String,
    /// The file it was loaded from, for messages.
    pub(super) file: Option<PathBuf>,
}

impl Head {
    /// A head out of a fit.
    ///
    /// # Errors
    /// Labels that do not match the fit in number, or a label given twice.
    pub fn new(fit: LogisticFit, description: HeadDescription) -> Result<Self, Error> {
        let head = Self {
            kind: HeadKind::Logistic,
            labels: description.labels,
            coefficients: fit.coefficients,
            intercepts: fit.intercepts,
            identity: description.identity,
            template_or_field: description.template_or_field,
            metrics: description.metrics,
            c: fit.c,
            convergence: Some(fit.convergence),
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

    /// Probabilities of all labels, rows × labels, computed in f64 and rounded once.
    ///
    /// A row's probabilities are the same bits whatever rows are beside it.
    ///
    /// # Errors
    /// Rows of another width, or with values that are not finite.
    pub fn probabilities(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        if rows.ncols() != self.dim() {
            return Err(Error::RowWidth { got: rows.ncols(), expected: self.dim() });
        }
        check_finite(rows)?;
        let mut probabilities = Array2::zeros((rows.nrows(), self.labels.len()));
        let mut row64 = vec![0.0; self.dim()];
        let mut logits = vec![0.0; self.intercepts.len()];
        for (row, mut out) in rows.rows().into_iter().zip(probabilities.rows_mut()) {
            row_logits(row, &mut row64, (&self.coefficients, &self.intercepts), &mut logits);
            if logits.len() == 1 {
                out[0] = sigmoid(-logits[0]) as f32;
                out[1] = sigmoid(logits[0]) as f32;
            } else {
                let mut shares = ArrayViewMut1::from(logits.as_mut_slice());
                softmax(shares.view_mut());
                out.iter_mut().zip(&shares).for_each(|(out, &share)| *out = share as f32);
            }
        }
        Ok(probabilities)
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
            Some(source) => Err(Error::OtherEncoder { file: self.file.clone(), source }),
            None => Ok(()),
        }
    }

    /// The invariant of this type.
    pub(super) fn check(&self) -> Result<(), FileProblem> {
        let labels = self.labels.len();
        if labels < 2 {
            return Err(FileProblem::FewLabels { got: labels });
        }
        let mut positions = HashMap::with_capacity(labels);
        for (second, label) in self.labels.iter().enumerate() {
            if let Some(first) = positions.insert(label, second) {
                return Err(FileProblem::DuplicateLabel { label: shortened(label), first, second });
            }
        }
        let outputs = if labels == 2 { 1 } else { labels };
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
        finite("intercepts", self.intercepts.iter())?;
        if !(self.c.is_finite() && self.c > 0.0) {
            let got = self.c.to_string();
            return Err(FileProblem::Value { key: "c", got, expected: "a finite number above 0" });
        }
        Ok(())
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
