//! linfa's traits: checked parameters, `fit` on a data set of f32 records, `predict` for new ones.
//!
//! Knows data sets; the fits are those of [`SvmTrainer`]. Invariant: parameters that have not been checked cannot fit.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use linfa::ParamGuard;
use linfa::dataset::{AsSingleTargets, DatasetBase, Label};
use linfa::traits::{Fit, PredictInplace};
use ndarray::{Array1, Array2, ArrayBase, Axis, Data, Ix2};

use super::path::decisions;
use super::{STRENGTH, SvmLoss, SvmTrainer};
use crate::heads::error::Error;
use crate::heads::logistic::argmax;
use crate::heads::rows::Matrix;
use crate::heads::sample::check_positive;
use crate::heads::trainer::{LabelledRows, LinearModel, Model, Optimality, Targets, Trainer};

/// A classifier by linear support vectors, one class against the rest.
///
/// ```
/// use linfa::traits::{Fit, Predict};
/// use ndarray::array;
/// use offprint::heads::{Error, LinearSvm};
///
/// let rows = array![[0.0_f32, 1.0], [0.2, 0.8], [1.0, 0.1], [0.9, 0.0]];
/// let papers = linfa::Dataset::new(rows, array!["art", "art", "physics", "physics"]);
/// let svm = LinearSvm::params().c(10.0).fit(&papers)?;
/// assert_eq!(svm.predict(&papers), array!["art", "art", "physics", "physics"]);
/// assert!(svm.optimality().reached <= 1e-3);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LinearSvm<L> {
    found: Found,
    classes: Vec<L>,
}

/// A regression by linear support vectors.
///
/// ```
/// use linfa::traits::{Fit, Predict};
/// use ndarray::array;
/// use offprint::heads::{Error, LinearSvr};
///
/// let papers = linfa::Dataset::new(array![[0.0_f32], [1.0], [2.0], [3.0]], array![1.0, 3.0, 5.0, 7.0]);
/// let svr = LinearSvr::params().c(100.0).fit(&papers)?;
/// assert!((svr.predict(&papers)[3] - 7.0).abs() < 0.1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LinearSvr {
    found: Found,
}

/// Parameters that have not been checked; `M` is the model that they are for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SvmParams<M>(SvmValidParams<M>);

/// Parameters that a fit can have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SvmValidParams<M> {
    trainer: SvmTrainer,
    c: f64,
    model: PhantomData<fn() -> M>,
}

impl LinearSvm<()> {
    /// Those of scikit-learn's `LinearSVC`, C = 1, and a duality gap of a thousandth of the objective.
    pub fn params() -> SvmParams<Self> {
        SvmParams::new()
    }
}

impl<L> LinearSvm<L> {
    /// The classes, ascending: a row of coefficients for each, or one for the second of two.
    pub fn classes(&self) -> &[L] {
        &self.classes
    }

    /// What margins are made by.
    pub fn model(&self) -> &LinearModel {
        &self.found.model
    }

    /// How near to the optimum it is.
    pub fn optimality(&self) -> &Optimality {
        &self.found.optimality
    }

    /// Margins, rows × rows of coefficients.
    ///
    /// # Errors
    /// Rows of another width, or with numbers that are not finite.
    pub fn decision_values<D: Data<Elem = f32>>(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array2<f64>, Error> {
        self.found.decision_values(rows)
    }
}

impl LinearSvr {
    /// Those of scikit-learn's `LinearSVR`, C = 1, and a duality gap of a thousandth of the objective.
    pub fn params() -> SvmParams<Self> {
        SvmParams::new()
    }

    /// What values are made by.
    pub fn model(&self) -> &LinearModel {
        &self.found.model
    }

    /// How near to the optimum it is.
    pub fn optimality(&self) -> &Optimality {
        &self.found.optimality
    }

    /// Values, rows × 1.
    ///
    /// # Errors
    /// Rows of another width, or with numbers that are not finite.
    pub fn decision_values<D: Data<Elem = f32>>(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array2<f64>, Error> {
        self.found.decision_values(rows)
    }
}

impl<M> SvmParams<M> {
    fn new() -> Self {
        Self(SvmValidParams { trainer: SvmTrainer::default(), c: 1.0, model: PhantomData })
    }

    /// What multiplies the sum of the losses, above 0.
    pub fn c(mut self, c: f64) -> Self {
        self.0.c = c;
        self
    }

    /// The loss, one of those of the model.
    pub fn loss(mut self, loss: SvmLoss) -> Self {
        self.0.trainer.loss = Some(loss);
        self
    }

    /// How far a number may be off at no cost.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.0.trainer.epsilon = epsilon;
        self
    }

    /// Whether there is an intercept.
    pub fn with_intercept(mut self, with_intercept: bool) -> Self {
        self.0.trainer.fit_intercept = with_intercept;
        self
    }

    /// Largest allowed duality gap, as a share of the objective.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.0.trainer.tolerance = tolerance;
        self
    }

    /// Passes at most.
    pub fn max_iterations(mut self, max_iterations: u64) -> Self {
        self.0.trainer.max_iterations = max_iterations;
        self
    }

    /// Decides the order of the rows.
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.trainer.seed = seed;
        self
    }
}

impl<M> ParamGuard for SvmParams<M> {
    type Checked = SvmValidParams<M>;
    type Error = Error;

    fn check_ref(&self) -> Result<&SvmValidParams<M>, Error> {
        check_positive(STRENGTH, &[self.0.c])?;
        self.0.trainer.check_options()?;
        Ok(&self.0)
    }

    fn check(self) -> Result<SvmValidParams<M>, Error> {
        self.check_ref()?;
        Ok(self.0)
    }
}

impl<M> SvmValidParams<M> {
    fn found<D: Data<Elem = f32>>(&self, records: &ArrayBase<D, Ix2>, targets: &Targets) -> Result<Found, Error> {
        let records = records.as_standard_layout();
        let rows = Matrix::of(records.view()).expect("a matrix in standard layout");
        let fitted = self.trainer.fit(&LabelledRows { rows: &rows, targets, weights: None }, self.c)?;
        let Model::Linear(model) = fitted.model else { unreachable!("support vectors are weighted sums") };
        let optimality = fitted.optimality.expect("support vectors are optimized");
        Ok(Found { model, optimality })
    }
}

impl<D, T> Fit<ArrayBase<D, Ix2>, T, Error> for SvmValidParams<LinearSvm<()>>
where
    D: Data<Elem = f32>,
    T: AsSingleTargets<Elem: Label + Ord>,
{
    type Object = LinearSvm<T::Elem>;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<Self::Object, Error> {
        let given = dataset.targets.as_single_targets();
        let classes: Vec<T::Elem> = given.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let of = given.iter().map(|label| classes.partition_point(|class| class < label)).collect();
        let targets = Targets::Classes { of, classes: classes.len() };
        Ok(LinearSvm { found: self.found(&dataset.records, &targets)?, classes })
    }
}

impl<D, T> Fit<ArrayBase<D, Ix2>, T, Error> for SvmValidParams<LinearSvr>
where
    D: Data<Elem = f32>,
    T: AsSingleTargets<Elem = f64>,
{
    type Object = LinearSvr;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<Self::Object, Error> {
        let targets = Targets::Numbers(dataset.targets.as_single_targets().to_owned().insert_axis(Axis(1)));
        Ok(LinearSvr { found: self.found(&dataset.records, &targets)? })
    }
}

/// linfa's `predict` has no way to refuse rows.
const REFUSED: &str = "rows of the model's width, all numbers finite";

impl<D: Data<Elem = f32>, L: Clone> PredictInplace<ArrayBase<D, Ix2>, Array1<L>> for LinearSvm<L> {
    /// # Panics
    /// Rows that [`LinearSvm::decision_values`] refuses, and another number of targets.
    fn predict_inplace(&self, rows: &ArrayBase<D, Ix2>, targets: &mut Array1<L>) {
        assert_eq!(rows.nrows(), targets.len(), "one target for each row");
        let margins = self.decision_values(rows).expect(REFUSED);
        for (target, margins) in targets.iter_mut().zip(margins.rows()) {
            let class = if margins.len() == 1 { usize::from(margins[0] > 0.0) } else { argmax(margins) };
            target.clone_from(&self.classes[class]);
        }
    }

    fn default_target(&self, rows: &ArrayBase<D, Ix2>) -> Array1<L> {
        Array1::from_elem(rows.nrows(), self.classes[0].clone())
    }
}

impl<D: Data<Elem = f32>> PredictInplace<ArrayBase<D, Ix2>, Array1<f64>> for LinearSvr {
    /// # Panics
    /// Rows that [`LinearSvr::decision_values`] refuses, and another number of targets.
    fn predict_inplace(&self, rows: &ArrayBase<D, Ix2>, targets: &mut Array1<f64>) {
        assert_eq!(rows.nrows(), targets.len(), "one target for each row");
        targets.assign(&self.decision_values(rows).expect(REFUSED).column(0));
    }

    fn default_target(&self, rows: &ArrayBase<D, Ix2>) -> Array1<f64> {
        Array1::zeros(rows.nrows())
    }
}

/// What a fit leaves.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    model: LinearModel,
    optimality: Optimality,
}

impl Found {
    fn decision_values<D: Data<Elem = f32>>(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array2<f64>, Error> {
        let (got, expected) = (rows.ncols(), self.model.coefficients.ncols());
        if got != expected {
            return Err(Error::RowWidth { got, expected });
        }
        if let Some(((row, column), &value)) = rows.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { row, column, value });
        }
        let rows = rows.as_standard_layout();
        Ok(decisions(&self.model, &Matrix::of(rows.view()).expect("a matrix in standard layout")))
    }
}
