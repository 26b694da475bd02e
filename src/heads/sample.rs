//! The rows that one fit sees, with targets as columns of numbers and weights: all rows, or those of a fold.
//!
//! Knows no solver. Invariant: what is handed out has been checked by [`check`]: counts agree, numbers are finite,
//! class and label numbers exist.

use std::ops::Range;

use ndarray::{Array2, ArrayView1};

use super::error::Error;
use super::folds::Fold;
use super::trainer::{LabelledRows, Targets};

/// Beyond it the squares of a million targets have no sum.
const LARGEST_TARGET: f64 = 1e150;

/// Rows of one fit.
#[derive(Clone, Copy)]
pub(super) struct Sample<'a> {
    data: LabelledRows<'a>,
    numbers: Option<&'a [usize]>,
}

impl<'a> Sample<'a> {
    pub fn all(data: LabelledRows<'a>) -> Self {
        Self { data, numbers: None }
    }

    /// The rows with these numbers.
    pub fn of(data: LabelledRows<'a>, numbers: &'a [usize]) -> Self {
        Self { data, numbers: Some(numbers) }
    }

    pub fn count(&self) -> usize {
        self.numbers.map_or(self.data.rows.count(), <[usize]>::len)
    }

    pub fn dim(&self) -> usize {
        self.data.rows.dim()
    }

    /// Columns of the targets.
    pub fn columns(&self) -> usize {
        self.data.targets.columns()
    }

    fn number(&self, position: usize) -> usize {
        self.numbers.map_or(position, |numbers| numbers[position])
    }

    pub fn row(&self, position: usize) -> &'a [f32] {
        self.data.rows.row(self.number(position))
    }

    pub fn weight(&self, position: usize) -> f64 {
        self.data.weights.map_or(1.0, |weights| weights[self.number(position)])
    }

    /// Writes the targets of one row: numbers as they are, else 1 for its class or labels and -1 for the others; of two
    /// classes the second is 1.
    pub fn write_targets(&self, position: usize, out: &mut [f64]) {
        let number = self.number(position);
        match self.data.targets {
            Targets::Classes { of, classes: 2 } => out[0] = if of[number] == 1 { 1.0 } else { -1.0 },
            Targets::Classes { of, .. } => {
                out.fill(-1.0);
                out[of[number]] = 1.0;
            }
            Targets::Labels { of, .. } => {
                out.fill(-1.0);
                of[number].iter().for_each(|&label| out[label] = 1.0);
            }
            Targets::Numbers(numbers) => {
                out.iter_mut().zip(numbers.row(number)).for_each(|(out, &value)| *out = value);
            }
        }
    }

    /// Rows of a range about `origin`, each times the root of its weight (positions × dim), and the same of the targets.
    pub fn block(&self, range: Range<usize>, origin: &Origin) -> (Array2<f64>, Array2<f64>) {
        let mut rows = Array2::zeros((range.len(), self.dim()));
        let mut targets = Array2::zeros((range.len(), self.columns()));
        for (position, (mut row, mut target)) in range.zip(rows.rows_mut().into_iter().zip(targets.rows_mut())) {
            let root = if self.data.weights.is_some() { self.weight(position).sqrt() } else { 1.0 };
            let values = self.row(position).iter().zip(&origin.row);
            row.iter_mut().zip(values).for_each(|(out, (&value, shift))| *out = (f64::from(value) - shift) * root);
            let target = target.as_slice_mut().expect("rows of a new matrix are slices");
            self.write_targets(position, target);
            target.iter_mut().zip(&origin.target).for_each(|(value, shift)| *value = (*value - shift) * root);
        }
        (rows, targets)
    }

    /// Classes that no row is of, where there are classes.
    pub fn missing_classes(&self) -> Vec<usize> {
        let Targets::Classes { of, classes } = self.data.targets else { return Vec::new() };
        let mut seen = vec![false; *classes];
        (0..self.count()).for_each(|position| seen[of[self.number(position)]] = true);
        (0..*classes).filter(|&class| !seen[class]).collect()
    }
}

/// The point that rows and targets are measured from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub row: Vec<f64>,
    pub target: Vec<f64>,
}

impl Origin {
    pub fn zero(sample: &Sample<'_>) -> Self {
        Self { row: vec![0.0; sample.dim()], target: vec![0.0; sample.columns()] }
    }

    /// The mean of about a thousand rows spread over the sample: near enough to the middle that sums of squares about
    /// it lose no digits.
    pub fn near_middle(sample: &Sample<'_>) -> Self {
        let mut origin = Self::zero(sample);
        let mut target = vec![0.0; sample.columns()];
        let step = sample.count().div_ceil(1000).max(1);
        let mut taken = 0.0;
        for position in (0..sample.count()).step_by(step) {
            add(&mut origin.row, sample.row(position).iter().map(|&value| f64::from(value)));
            sample.write_targets(position, &mut target);
            add(&mut origin.target, target.iter().copied());
            taken += 1.0;
        }
        origin.row.iter_mut().chain(&mut origin.target).for_each(|sum| *sum /= taken);
        origin
    }
}

pub(super) fn add(sums: &mut [f64], values: impl Iterator<Item = f64>) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// Refuses rows, targets and weights that make no problem; whatever a fit looks at exists and is finite afterwards.
pub(super) fn check(data: &LabelledRows<'_>) -> Result<(), Error> {
    let (rows, dim) = (data.rows.count(), data.rows.dim());
    if rows == 0 || dim == 0 {
        return Err(Error::NoRows { rows, dim });
    }
    if data.targets.rows() != rows {
        return Err(Error::LabelCount { rows, labels: data.targets.rows() });
    }
    check_targets(data.targets)?;
    check_weights(data.weights, rows)?;
    for row in 0..rows {
        let values = data.rows.row(row);
        if !values.iter().fold(true, |finite, value| finite & value.is_finite()) {
            let column = values.iter().position(|value| !value.is_finite()).unwrap_or_default();
            return Err(Error::NotFinite { row, column, value: values[column] });
        }
    }
    Ok(())
}

fn check_targets(targets: &Targets) -> Result<(), Error> {
    match targets {
        Targets::Classes { of, classes } => {
            let classes = *classes;
            match of.iter().position(|&class| class >= classes) {
                Some(row) => Err(Error::UnknownClass { row, class: of[row], classes }),
                None => Ok(()),
            }
        }
        Targets::Labels { of, labels } => {
            let labels = *labels;
            let unknown = |(row, given): (usize, &Vec<usize>)| {
                let label = *given.iter().find(|&&label| label >= labels)?;
                Some(Error::UnknownLabel { row, label, labels })
            };
            of.iter().enumerate().find_map(unknown).map_or(Ok(()), Err)
        }
        Targets::Numbers(numbers) => {
            let fits = |value: f64| value.abs() < LARGEST_TARGET;
            match numbers.indexed_iter().find(|(_, value)| !fits(**value)) {
                Some(((row, target), &value)) => Err(Error::TargetValue { row, target, value }),
                None => Ok(()),
            }
        }
    }
}

fn check_weights(weights: Option<&[f64]>, rows: usize) -> Result<(), Error> {
    let Some(weights) = weights else { return Ok(()) };
    if weights.len() != rows {
        return Err(Error::WeightCount { rows, weights: weights.len() });
    }
    if let Some(row) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        return Err(Error::Weight { what: "row", at: row, value: weights[row] });
    }
    if weights.iter().all(|&weight| weight == 0.0) {
        return Err(Error::NoWeight { rows });
    }
    Ok(())
}

/// Refuses targets that one fit on all rows could learn nothing from: fewer than two classes, a class without rows, a
/// number that is the same everywhere.
pub(super) fn check_learnable(data: &LabelledRows<'_>) -> Result<(), Error> {
    let rows = data.targets.rows();
    match data.targets {
        Targets::Classes { of, classes } => {
            if of.iter().all(|&class| class == of[0]) {
                return Err(Error::OneClass { rows });
            }
            if rows < *classes {
                return Err(Error::FewerRowsThanClasses { rows, classes: *classes });
            }
            match Sample::all(*data).missing_classes().first() {
                Some(&class) => Err(Error::ClassWithoutRows { class, classes: *classes }),
                None => Ok(()),
            }
        }
        Targets::Labels { .. } => Ok(()),
        Targets::Numbers(numbers) => {
            let constant = |column: ArrayView1<'_, f64>| column.iter().all(|&value| value == column[0]);
            match numbers.columns().into_iter().position(constant) {
                Some(target) => Err(Error::ConstantTarget { target, value: numbers[[0, target]], rows }),
                None => Ok(()),
            }
        }
    }
}

/// Refuses folds that name no rows, or rows that are not there.
pub(super) fn check_folds(folds: &[Fold], rows: usize) -> Result<(), Error> {
    for (index, fold) in folds.iter().enumerate() {
        if fold.train.is_empty() || fold.validation.is_empty() {
            let (train, validation) = (fold.train.len(), fold.validation.len());
            return Err(Error::EmptyFold { fold: index + 1, train, validation });
        }
        if let Some(&row) = fold.train.iter().chain(&fold.validation).find(|&&row| row >= rows) {
            return Err(Error::FoldRow { fold: index + 1, row, rows });
        }
    }
    Ok(())
}

/// Refuses rows of a fold that all weigh nothing.
pub(super) fn check_weight(sample: &Sample<'_>) -> Result<(), Error> {
    let rows = sample.count();
    if (0..rows).all(|position| sample.weight(position) == 0.0) { Err(Error::NoWeight { rows }) } else { Ok(()) }
}

/// Refuses strengths that no penalty can have.
pub(super) fn check_positive(name: &'static str, values: &[f64]) -> Result<(), Error> {
    match values.iter().find(|value| !(value.is_finite() && **value > 0.0)) {
        Some(&value) => Err(Error::NotPositive { name, value }),
        None => Ok(()),
    }
}
