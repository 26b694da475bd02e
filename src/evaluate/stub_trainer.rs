//! A trainer for the tests of what is done with trainers: ridge on features that are taken for uncorrelated, so that a
//! coefficient is a quotient of two sums. Classes and labels are each fitted as ±1.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::heads::{
    Error, Fitted, Fold, HeadKind, LabelledRows, LinearModel, Model, Simplest, StrengthName, TakeDecisions, Targets,
    Trainer,
};

/// Options of the stub.
pub(super) struct StubTrainer {
    pub kind: HeadKind,
    /// Whether it forgets its last strength.
    pub lazy: bool,
}

impl Default for StubTrainer {
    fn default() -> Self {
        Self { kind: HeadKind::Linear, lazy: false }
    }
}

/// Rows × columns: ±1, or the numbers.
fn columns(targets: &Targets) -> Array2<f64> {
    let side = |right: bool| if right { 1.0 } else { -1.0 };
    match targets {
        Targets::Classes { of, classes: 2 } => Array2::from_shape_fn((of.len(), 1), |(row, _)| side(of[row] == 1)),
        Targets::Classes { of, classes } => {
            Array2::from_shape_fn((of.len(), *classes), |(row, class)| side(of[row] == class))
        }
        Targets::Labels { of, labels } => {
            Array2::from_shape_fn((of.len(), *labels), |(row, label)| side(of[row].contains(&label)))
        }
        Targets::Numbers(numbers) => numbers.clone(),
    }
}

fn rows(data: &LabelledRows<'_>, numbers: &[usize]) -> Array2<f64> {
    let value = |(row, column): (usize, usize)| f64::from(data.rows.row(numbers[row])[column]);
    Array2::from_shape_fn((numbers.len(), data.rows.dim()), value)
}

/// Columns × dim.
fn coefficients(x: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>, strength: f64) -> Array2<f64> {
    let mut coefficients = y.t().dot(&x);
    for (column, mut sums) in x.axis_iter(Axis(1)).zip(coefficients.axis_iter_mut(Axis(1))) {
        sums /= column.dot(&column) + strength;
    }
    coefficients
}

impl Trainer for StubTrainer {
    fn kind(&self) -> HeadKind {
        self.kind
    }

    fn strength(&self) -> StrengthName {
        StrengthName { name: "alpha", simplest: Simplest::Largest }
    }

    fn fit(&self, data: &LabelledRows<'_>, strength: f64) -> Result<Fitted, Error> {
        if strength < 0.0 {
            return Err(Error::NotPositive { name: "alpha", value: strength });
        }
        let all: Vec<usize> = (0..data.rows.count()).collect();
        let coefficients = coefficients(rows(data, &all).view(), columns(data.targets).view(), strength);
        let intercepts = vec![0.0; coefficients.nrows()];
        let model = Model::Linear(LinearModel { coefficients, intercepts });
        Ok(Fitted { model, strength, optimality: None })
    }

    fn path(
        &self,
        data: &LabelledRows<'_>,
        folds: &[Fold],
        strengths: &[f64],
        take: TakeDecisions<'_>,
    ) -> Result<(), Error> {
        let strengths = &strengths[..strengths.len() - usize::from(self.lazy)];
        folds.par_iter().enumerate().try_for_each(|(index, fold)| {
            let y = columns(data.targets);
            let train = y.select(Axis(0), &fold.train);
            for (at, &strength) in strengths.iter().enumerate() {
                if strength < 0.0 {
                    return Err(Error::NotPositive { name: "alpha", value: strength });
                }
                let weights = coefficients(rows(data, &fold.train).view(), train.view(), strength);
                let mut decisions = rows(data, &fold.validation).dot(&weights.t());
                if let Targets::Classes { of, classes: 3.. } = data.targets {
                    for (class, mut column) in decisions.axis_iter_mut(Axis(1)).enumerate() {
                        if fold.train.iter().all(|&row| of[row] != class) {
                            column.fill(f64::NEG_INFINITY);
                        }
                    }
                }
                take((index, at), decisions.view())?;
            }
            Ok(())
        })
    }
}

/// Rows of small whole numbers that look drawn: `spread` different ones in each column.
pub(super) fn scattered((count, dim): (usize, usize), spread: usize) -> Vec<f32> {
    let mut random = crate::heads::Random::new(11);
    (0..count * dim).map(|_| random.below(spread) as f32 - (spread / 2) as f32).collect()
}
