//! The rows that one fit sees, with targets as columns of numbers and weights: all rows, or those of a fold.
//!
//! Knows no solver. Invariant: what is handed out has been checked by [`check`]: counts agree, numbers are finite,
//! class and label numbers exist.

use std::ops::Range;

use ndarray::{Array2, ArrayView1};

use super::error::Error;
use super::folds::Fold;
use super::rows::Rows;
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

    /// Rows of a range about `origin` with their targets behind them, each times the root of its weight: positions ×
    /// (dim + columns).
    pub fn block(&self, range: Range<usize>, origin: &Origin) -> Array2<f64> {
        let (dim, columns) = (self.dim(), self.columns());
        let mut block = Array2::zeros((range.len(), dim + columns));
        for (position, mut both) in range.zip(block.rows_mut()) {
            let (row, targets) = both.as_slice_mut().expect("rows of a new matrix are slices").split_at_mut(dim);
            let values = self.row(position).iter().zip(&origin.row);
            row.iter_mut().zip(values).for_each(|(out, (&value, shift))| *out = f64::from(value) - shift);
            self.write_targets(position, targets);
            targets.iter_mut().zip(&origin.target).for_each(|(value, shift)| *value -= shift);
            if self.data.weights.is_some() {
                let root = self.weight(position).sqrt();
                row.iter_mut().chain(targets).for_each(|value| *value *= root);
            }
        }
        block
    }

    /// Classes that no row is of that weighs anything, where there are classes.
    pub fn missing_classes(&self) -> Vec<usize> {
        let Targets::Classes { of, classes } = self.data.targets else { return Vec::new() };
        let mut seen = vec![false; *classes];
        let counted = (0..self.count()).filter(|&position| self.weight(position) > 0.0);
        counted.for_each(|position| seen[of[self.number(position)]] = true);
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

    /// The nearest point whose row is of f32.
    pub fn single(mut self) -> Self {
        self.row.iter_mut().for_each(|value| *value = f64::from(*value as f32));
        self
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
    check_values(data.rows)
}

/// Refuses NaN and infinities, naming the first.
pub(super) fn check_values(rows: &dyn Rows) -> Result<(), Error> {
    for row in 0..rows.count() {
        let values = rows.row(row);
        if !values.iter().fold(true, |finite, value| finite & value.is_finite()) {
            let column = values.iter().position(|value| !value.is_finite()).unwrap_or_default();
            return Err(Error::NotFinite { row, column, value: values[column] });
        }
    }
    Ok(())
}

/// Refuses classes and labels that are not there, and numbers that no sum can take.
pub(super) fn check_targets(targets: &Targets) -> Result<(), Error> {
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

/// Refuses weights that are none, and those that leave no row.
pub(super) fn check_weights(weights: Option<&[f64]>, rows: usize) -> Result<(), Error> {
    let Some(weights) = weights else { return Ok(()) };
    if weights.len() != rows {
        return Err(Error::WeightCount { rows, weights: weights.len() });
    }
    if let Some(row) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        return Err(Error::Weight { row, value: weights[row] });
    }
    if weights.iter().all(|&weight| weight == 0.0) {
        return Err(Error::NoWeight { rows });
    }
    Ok(())
}

/// Refuses targets that one fit on all rows could learn nothing from: fewer than two classes, a class without rows, a
/// number that is the same everywhere. Rows of no weight are no part of a fit, and count as not there.
pub(super) fn check_learnable(data: &LabelledRows<'_>) -> Result<(), Error> {
    let sample = Sample::all(*data);
    let counted: Vec<usize> = (0..data.targets.rows()).filter(|&row| sample.weight(row) > 0.0).collect();
    let rows = counted.len();
    let Some(&first) = counted.first() else { return Err(Error::NoWeight { rows: data.targets.rows() }) };
    match data.targets {
        Targets::Classes { of, classes } => {
            if counted.iter().all(|&row| of[row] == of[first]) {
                return Err(Error::OneClass { rows });
            }
            if rows < *classes {
                return Err(Error::FewerRowsThanClasses { rows, classes: *classes });
            }
            match sample.missing_classes().first() {
                Some(&class) => Err(Error::ClassWithoutRows { class, classes: *classes }),
                None => Ok(()),
            }
        }
        Targets::Labels { .. } => Ok(()),
        Targets::Numbers(numbers) => {
            let constant = |column: ArrayView1<'_, f64>| counted.iter().all(|&row| column[row] == column[first]);
            match numbers.columns().into_iter().position(constant) {
                Some(target) => Err(Error::ConstantTarget { target, value: numbers[[first, target]], rows }),
                None => Ok(()),
            }
        }
    }
}

/// Refuses folds that name no rows, or rows that are not there.
pub(super) fn check_folds(folds: &[Fold], rows: usize) -> Result<(), Error> {
    for (index, fold) in folds.iter().enumerate() {
        fold.check(index, rows)?;
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

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::super::decisions::settle_missing_classes;
    use super::super::rows::Matrix;
    use super::*;

    /// What [`check_learnable`] says of four rows with these weights.
    fn said(targets: &Targets, weights: &[f64; 4]) -> Option<String> {
        let rows = array![[0.0_f32], [1.0], [2.0], [3.0]];
        let matrix = Matrix::of(rows.view()).unwrap();
        let data = LabelledRows { rows: &matrix, targets, weights: Some(weights) };
        check_learnable(&data).err().map(|error| error.to_string())
    }

    #[test]
    fn rows_of_no_weight_are_nothing_to_learn_from() {
        let two = Targets::Classes { of: vec![0, 1, 0, 1], classes: 2 };
        assert_eq!(said(&two, &[1.0, 0.5, 0.0, 0.0]), None);
        let one = said(&two, &[1.0, 0.0, 1.0, 0.0]).unwrap();
        assert_eq!(one, "all 2 rows are of one class, a classifier needs two");
        let three = Targets::Classes { of: vec![0, 1, 0, 2], classes: 3 };
        let lacks = said(&three, &[1.0, 1.0, 1.0, 0.0]).unwrap();
        assert_eq!(lacks, "class 2 of 3 (counted from 0) has no rows");
        let few = said(&three, &[1.0, 1.0, 0.0, 0.0]).unwrap();
        assert_eq!(few, "2 rows are fewer than the 3 classes");
        let numbers = Targets::Numbers(array![[1.0], [2.0], [2.0], [3.0]]);
        assert_eq!(said(&numbers, &[0.0, 1.0, 1.0, 1.0]), None);
        let constant = said(&numbers, &[0.0, 1.0, 1.0, 0.0]).unwrap();
        assert_eq!(constant, "target 0 is 2 in all 2 rows, so there is nothing to fit");
    }

    #[test]
    fn a_class_whose_rows_weigh_nothing_is_put_last() {
        let rows = array![[0.0_f32], [1.0], [2.0]];
        let matrix = Matrix::of(rows.view()).unwrap();
        let settled = |classes: usize, columns: usize, weights: &[f64]| {
            let targets = Targets::Classes { of: vec![0, 1, classes - 1], classes };
            let data = LabelledRows { rows: &matrix, targets: &targets, weights: Some(weights) };
            let mut decisions = Array2::zeros((1, columns));
            settle_missing_classes(&Sample::all(data), decisions.view_mut());
            decisions.into_raw_vec_and_offset().0
        };
        assert_eq!(settled(2, 1, &[1.0, 0.0, 1.0]), [0.0]);
        assert_eq!(settled(2, 1, &[1.0, 0.0, 0.0]), [f64::NEG_INFINITY]);
        assert_eq!(settled(2, 1, &[0.0, 1.0, 1.0]), [f64::INFINITY]);
        assert_eq!(settled(3, 3, &[1.0, 0.0, 2.0]), [0.0, f64::NEG_INFINITY, 0.0]);
    }
}
