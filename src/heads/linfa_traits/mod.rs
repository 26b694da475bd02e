//! linfa's traits for ridge, elastic net, support vectors and nearest neighbours: `fit` on a data set of f32 records with
//! or without weights, `predict` for new ones.
//!
//! Knows data sets; the fits are those of the trainers. Invariant: parameters that have not been checked cannot fit.

mod params;

use std::collections::BTreeSet;
use std::marker::PhantomData;

use linfa::dataset::{AsSingleTargets, AsTargets, DatasetBase, Label, TargetDim};
use linfa::traits::{Fit, PredictInplace};
use ndarray::{Array, Array1, Array2, ArrayBase, Data, Ix2};

pub use self::params::{CheckOptions, ForClasses, ForNumbers, TrainerParams, TrainerValidParams};
use super::arithmetic::decided;
use super::error::Error;
use super::rows::Matrix;
use super::sample::check_values;
use super::trainer::{Fitted, LabelledRows, Model, Targets, Trainer};

/// A model that answers with one of its classes.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedClassifier<L> {
    fitted: Fitted,
    classes: Vec<L>,
}

/// A model that answers with numbers, in as many dimensions as the targets that it was fitted to: one number a row
/// (`Ix1`), or rows × targets (`Ix2`).
#[derive(Debug, Clone, PartialEq)]
pub struct FittedRegressor<I> {
    fitted: Fitted,
    dimensions: PhantomData<I>,
}

impl<T: Trainer, A> TrainerValidParams<T, A> {
    fn fit_rows<D: Data<Elem = f32>, Y>(
        &self,
        dataset: &DatasetBase<ArrayBase<D, Ix2>, Y>,
        targets: &Targets,
    ) -> Result<Fitted, Error> {
        fit_rows_of(dataset, targets, |data| self.trainer.fit(data, self.strength))
    }
}

/// Fits the rows of a data set, with their weights if it has any, to these targets.
pub(super) fn fit_rows_of<D: Data<Elem = f32>, Y, R>(
    dataset: &DatasetBase<ArrayBase<D, Ix2>, Y>,
    targets: &Targets,
    fit: impl FnOnce(&LabelledRows<'_>) -> R,
) -> R {
    let records = dataset.records.as_standard_layout();
    let rows = Matrix::of(records.view()).expect("a matrix in standard layout");
    let weights: Option<Vec<f64>> =
        dataset.weights().map(|weights| weights.iter().map(|&weight| f64::from(weight)).collect());
    fit(&LabelledRows { rows: &rows, targets, weights: weights.as_deref() })
}

impl<D, T, R> Fit<ArrayBase<D, Ix2>, T, Error> for TrainerValidParams<R, ForClasses>
where
    D: Data<Elem = f32>,
    T: AsSingleTargets<Elem: Label>,
    R: Trainer,
{
    type Object = FittedClassifier<T::Elem>;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<Self::Object, Error> {
        let given = dataset.targets.as_single_targets();
        let classes: Vec<T::Elem> = given.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let of = given.iter().map(|label| classes.partition_point(|class| class < label)).collect();
        let targets = Targets::Classes { of, classes: classes.len() };
        Ok(FittedClassifier { fitted: self.fit_rows(dataset, &targets)?, classes })
    }
}

impl<D, T, R> Fit<ArrayBase<D, Ix2>, T, Error> for TrainerValidParams<R, ForNumbers>
where
    D: Data<Elem = f32>,
    T: AsTargets<Elem = f64>,
    R: Trainer,
{
    type Object = FittedRegressor<T::Ix>;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<Self::Object, Error> {
        let given = dataset.targets.as_targets();
        let columns = given.shape().get(1).copied().unwrap_or(1);
        let numbers = Array2::from_shape_vec((given.shape()[0], columns), given.iter().copied().collect());
        let targets = Targets::Numbers(numbers.expect("as many numbers as the targets have"));
        Ok(FittedRegressor { fitted: self.fit_rows(dataset, &targets)?, dimensions: PhantomData })
    }
}

impl<L> FittedClassifier<L> {
    /// The classes, ascending.
    pub fn classes(&self) -> &[L] {
        &self.classes
    }

    /// What decides, and how near to the optimum it is.
    pub fn fitted(&self) -> &Fitted {
        &self.fitted
    }

    /// Decision values, rows × classes, or × 1 for two: above 0 is the second.
    ///
    /// # Errors
    /// Rows of another width, or with numbers that are not finite.
    pub fn decision_values<D: Data<Elem = f32>>(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array2<f64>, Error> {
        decision_values(&self.fitted.model, rows)
    }
}

impl<I> FittedRegressor<I> {
    /// What decides, and how near to the optimum it is.
    pub fn fitted(&self) -> &Fitted {
        &self.fitted
    }

    /// Values, rows × targets.
    ///
    /// # Errors
    /// Rows of another width, or with numbers that are not finite.
    pub fn decision_values<D: Data<Elem = f32>>(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array2<f64>, Error> {
        decision_values(&self.fitted.model, rows)
    }
}

fn decision_values<D: Data<Elem = f32>>(model: &Model, rows: &ArrayBase<D, Ix2>) -> Result<Array2<f64>, Error> {
    let rows = rows.as_standard_layout();
    let rows = Matrix::of(rows.view()).expect("a matrix in standard layout");
    check_values(&rows)?;
    match model {
        Model::Linear(model) => model.decisions(&rows),
        Model::Neighbours(kept) => kept.decisions(&rows),
    }
}

/// linfa's `predict` has no way to refuse rows.
const REFUSED: &str = "rows of the model's width, all numbers finite";

impl<D: Data<Elem = f32>, L: Clone> PredictInplace<ArrayBase<D, Ix2>, Array1<L>> for FittedClassifier<L> {
    /// # Panics
    /// Rows that [`FittedClassifier::decision_values`] refuses, and another number of targets.
    fn predict_inplace(&self, rows: &ArrayBase<D, Ix2>, targets: &mut Array1<L>) {
        assert_eq!(rows.nrows(), targets.len(), "one target for each row");
        let decisions = self.decision_values(rows).expect(REFUSED);
        for (target, values) in targets.iter_mut().zip(decisions.rows()) {
            target.clone_from(&self.classes[decided(values)]);
        }
    }

    fn default_target(&self, rows: &ArrayBase<D, Ix2>) -> Array1<L> {
        Array1::from_elem(rows.nrows(), self.classes[0].clone())
    }
}

impl<D: Data<Elem = f32>, I: TargetDim> PredictInplace<ArrayBase<D, Ix2>, Array<f64, I>> for FittedRegressor<I> {
    /// # Panics
    /// Rows that [`FittedRegressor::decision_values`] refuses, and another shape of targets.
    fn predict_inplace(&self, rows: &ArrayBase<D, Ix2>, targets: &mut Array<f64, I>) {
        let values = self.decision_values(rows).expect(REFUSED);
        assert_eq!(targets.raw_dim(), self.shape(values.nrows()), "one target for each row and number");
        targets.iter_mut().zip(values).for_each(|(target, value)| *target = value);
    }

    fn default_target(&self, rows: &ArrayBase<D, Ix2>) -> Array<f64, I> {
        Array::zeros(self.shape(rows.nrows()))
    }
}

impl<I: TargetDim> FittedRegressor<I> {
    /// The shape of the answers for so many rows.
    fn shape(&self, rows: usize) -> I {
        let targets = match &self.fitted.model {
            Model::Linear(model) => model.intercepts.len(),
            Model::Neighbours(kept) => kept.targets().columns(),
        };
        let mut shape = I::zeros(I::NDIM.expect("one dimension or two"));
        shape.slice_mut().iter_mut().zip([rows, targets]).for_each(|(axis, length)| *axis = length);
        shape
    }
}

#[cfg(test)]
mod tests {
    use linfa::traits::Predict;
    use linfa::{Dataset, ParamGuard};
    use ndarray::{array, s};

    use super::*;
    use crate::heads::fixture::drawn;
    use crate::heads::{ElasticNetTrainer, NeighbourTrainer, RidgeTrainer};

    #[test]
    fn parameters_are_checked_before_a_fit() {
        let text = |error: Error| error.to_string();
        assert_eq!(
            text(RidgeTrainer::regressor().alpha(-1.0).check().unwrap_err()),
            "alpha is -1, expected a finite number above 0"
        );
        assert_eq!(
            text(ElasticNetTrainer::regressor().l1_ratio(2.0).check().unwrap_err()),
            "l1_ratio is 2, expected a number from 0 to 1"
        );
        assert_eq!(
            text(NeighbourTrainer::classifier().n_neighbors(0).check().unwrap_err()),
            "n_neighbors is 0, expected a finite number above 0"
        );
        let papers = Dataset::new(array![[0.0_f32], [1.0]], array!["a", "b"]);
        let error = NeighbourTrainer::classifier().fit(&papers).unwrap_err();
        assert_eq!(text(error), "n_neighbors is 5, expected a whole number from 1 to the 2 rows");
    }

    #[test]
    fn the_trainers_answers_under_the_labels_names() {
        let (rows, numbers, classes) = drawn((60, 4), 31);
        let names = Array1::from_iter(classes.iter().map(|&class| ["low", "high"][1 - class]));
        // Records in another layout are as good.
        let turned = rows.t().as_standard_layout().into_owned().reversed_axes();
        let ridge = RidgeTrainer::classifier().alpha(0.5).fit(&Dataset::new(turned, names.clone())).unwrap();
        assert_eq!(ridge.classes(), ["high", "low"]);
        let same = ridge.predict(&rows).iter().zip(&names).filter(|(one, other)| one == other).count();
        assert!(same >= 57, "{same} of 60");
        let nearest = NeighbourTrainer::classifier().n_neighbors(1).fit(&Dataset::new(rows.clone(), names.clone()));
        assert_eq!(nearest.unwrap().predict(&rows), names);
        let data = Dataset::new(rows.clone(), numbers.clone());
        for fitted in [
            RidgeTrainer::regressor().alpha(1e-3).fit(&data).unwrap(),
            ElasticNetTrainer::regressor().alpha(1e-4).fit(&data).unwrap(),
            NeighbourTrainer::regressor().n_neighbors(1).fit(&data).unwrap(),
        ] {
            let farthest = (&fitted.predict(&rows) - &numbers).iter().fold(0.0_f64, |most, off| most.max(off.abs()));
            assert!(farthest < 0.3, "{farthest}");
            assert!(matches!(fitted.decision_values(&array![[1.0_f32]]), Err(Error::RowWidth { got: 1, expected: 4 })));
            let refused = fitted.decision_values(&array![[1.0_f32, f32::NAN, 0.0, 0.0]]);
            assert!(matches!(refused, Err(Error::NotFinite { row: 0, column: 1, .. })));
        }
        // A row that weighs nothing is as good as none.
        let weights = Array1::from_iter((0..60).map(|row| if row < 40 { 1.0_f32 } else { 0.0 }));
        let weighted = Dataset::new(rows.clone(), numbers.clone()).with_weights(weights.clone());
        let few = Dataset::new(rows.slice(s![..40, ..]).to_owned(), numbers.slice(s![..40, ..]).to_owned());
        let [of_weighted, of_few, of_all] =
            [&weighted, &few, &data].map(|data| RidgeTrainer::regressor().fit(data).unwrap().predict(&rows));
        assert!((&of_weighted - &of_few).iter().all(|off| off.abs() < 1e-9));
        assert!((&of_weighted - &of_all).iter().any(|off| off.abs() > 1e-4));
        let named = Dataset::new(rows.clone(), names).with_weights(weights);
        assert!(NeighbourTrainer::classifier().fit(&named).unwrap_err().to_string().contains("weigh"));
        // Targets in one dimension are answered in one.
        let single = Dataset::new(rows.clone(), numbers.column(0).to_owned());
        let (one, both) =
            (RidgeTrainer::regressor().fit(&single).unwrap(), RidgeTrainer::regressor().fit(&data).unwrap());
        let values: Array1<f64> = one.predict(&rows);
        assert!(values.iter().zip(both.predict(&rows).column(0)).all(|(one, of_both)| (one - of_both).abs() < 1e-9));
    }
}
