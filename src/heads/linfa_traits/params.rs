//! Parameters of ridge, elastic net, support vectors and nearest neighbours as linfa has them: set one by one, checked
//! before a fit.
//!
//! Knows trainers and their options, no data. Invariant: only [`linfa::ParamGuard`] makes parameters that can fit.

use std::marker::PhantomData;

use linfa::ParamGuard;

use crate::heads::elastic_net::ElasticNetTrainer;
use crate::heads::error::Error;
use crate::heads::neighbours::{Metric, NeighbourTrainer, Weighting};
use crate::heads::ridge::RidgeTrainer;
use crate::heads::sample::check_positive;
use crate::heads::svm::{SvmLoss, SvmTrainer};
use crate::heads::trainer::Trainer;

/// Marks parameters of a model that answers with classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForClasses;

/// Marks parameters of a model that answers with numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForNumbers;

/// Parameters that have not been checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainerParams<T, A>(TrainerValidParams<T, A>);

/// Parameters that a fit can have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainerValidParams<T, A> {
    pub(super) trainer: T,
    pub(super) strength: f64,
    answers: PhantomData<A>,
}

impl RidgeTrainer {
    /// Parameters of scikit-learn's `RidgeClassifier`: alpha = 1.
    ///
    /// ```
    /// use linfa::traits::{Fit, Predict};
    /// use ndarray::array;
    /// use offprint::heads::{Error, RidgeTrainer};
    ///
    /// let rows = array![[0.0_f32, 1.0], [0.2, 0.8], [1.0, 0.1], [0.9, 0.0]];
    /// let papers = linfa::Dataset::new(rows, array!["art", "art", "physics", "physics"]);
    /// let ridge = RidgeTrainer::classifier().alpha(0.1).fit(&papers)?;
    /// assert_eq!(ridge.predict(&papers), array!["art", "art", "physics", "physics"]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn classifier() -> TrainerParams<Self, ForClasses> {
        TrainerParams::new(Self::default(), 1.0)
    }

    /// Parameters of scikit-learn's `Ridge`: alpha = 1.
    pub fn regressor() -> TrainerParams<Self, ForNumbers> {
        TrainerParams::new(Self::default(), 1.0)
    }
}

impl ElasticNetTrainer {
    /// Parameters of scikit-learn's `ElasticNet`: alpha = 1, half of each penalty.
    ///
    /// ```
    /// use linfa::traits::{Fit, Predict};
    /// use ndarray::array;
    /// use offprint::heads::{ElasticNetTrainer, Error};
    ///
    /// let papers = linfa::Dataset::new(array![[0.0_f32], [1.0], [2.0], [3.0]], array![[1.0], [3.0], [5.0], [7.0]]);
    /// let net = ElasticNetTrainer::regressor().alpha(1e-4).l1_ratio(0.9).fit(&papers)?;
    /// assert!((net.predict(&papers)[[3, 0]] - 7.0).abs() < 0.01);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn regressor() -> TrainerParams<Self, ForNumbers> {
        TrainerParams::new(Self::default(), 1.0)
    }
}

impl SvmTrainer {
    /// Parameters of scikit-learn's `LinearSVC`: C = 1, with a duality gap of a thousandth of the objective.
    ///
    /// ```
    /// use linfa::traits::{Fit, Predict};
    /// use ndarray::array;
    /// use offprint::heads::{Error, SvmTrainer};
    ///
    /// let rows = array![[0.0_f32, 1.0], [0.2, 0.8], [1.0, 0.1], [0.9, 0.0]];
    /// let papers = linfa::Dataset::new(rows, array!["art", "art", "physics", "physics"]);
    /// let svm = SvmTrainer::classifier().c(10.0).fit(&papers)?;
    /// assert_eq!(svm.predict(&papers), array!["art", "art", "physics", "physics"]);
    /// assert!(svm.fitted().optimality.as_ref().is_some_and(|found| found.reached <= 1e-3));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn classifier() -> TrainerParams<Self, ForClasses> {
        TrainerParams::new(Self::default(), 1.0)
    }

    /// Parameters of scikit-learn's `LinearSVR`: C = 1, with a duality gap of a thousandth of the objective.
    ///
    /// ```
    /// use linfa::traits::{Fit, Predict};
    /// use ndarray::array;
    /// use offprint::heads::{Error, SvmTrainer};
    ///
    /// let papers = linfa::Dataset::new(array![[0.0_f32], [1.0], [2.0], [3.0]], array![1.0, 3.0, 5.0, 7.0]);
    /// let svr = SvmTrainer::regressor().c(100.0).fit(&papers)?;
    /// assert!((svr.predict(&papers)[3] - 7.0).abs() < 0.1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn regressor() -> TrainerParams<Self, ForNumbers> {
        TrainerParams::new(Self::default(), 1.0)
    }
}

impl NeighbourTrainer {
    /// Parameters of scikit-learn's `KNeighborsClassifier`: 5 neighbours by L2, all counting the same.
    ///
    /// ```
    /// use linfa::traits::{Fit, Predict};
    /// use ndarray::array;
    /// use offprint::heads::{Error, Metric, NeighbourTrainer};
    ///
    /// let rows = array![[0.0_f32, 1.0], [0.2, 0.8], [1.0, 0.1], [0.9, 0.0]];
    /// let papers = linfa::Dataset::new(rows, array!["art", "art", "physics", "physics"]);
    /// let nearest = NeighbourTrainer::classifier().n_neighbors(1).metric(Metric::Cosine).fit(&papers)?;
    /// assert_eq!(nearest.predict(&array![[0.9_f32, 0.2]]), array!["physics"]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn classifier() -> TrainerParams<Self, ForClasses> {
        TrainerParams::new(Self::default(), 5.0)
    }

    /// Parameters of scikit-learn's `KNeighborsRegressor`: 5 neighbours by L2, all counting the same.
    pub fn regressor() -> TrainerParams<Self, ForNumbers> {
        TrainerParams::new(Self::default(), 5.0)
    }
}

impl<T, A> TrainerParams<T, A> {
    fn new(trainer: T, strength: f64) -> Self {
        Self(TrainerValidParams { trainer, strength, answers: PhantomData })
    }
}

impl<A> TrainerParams<RidgeTrainer, A> {
    /// The penalty, above 0.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.0.strength = alpha;
        self
    }

    /// Whether there is an intercept.
    pub fn with_intercept(mut self, with_intercept: bool) -> Self {
        self.0.trainer.fit_intercept = with_intercept;
        self
    }
}

impl<A> TrainerParams<ElasticNetTrainer, A> {
    /// Both penalties together, above 0.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.0.strength = alpha;
        self
    }

    /// Share of |w|₁ in the penalty, from 0 to 1.
    pub fn l1_ratio(mut self, l1_ratio: f64) -> Self {
        self.0.trainer.l1_ratio = l1_ratio;
        self
    }

    /// Whether there is an intercept.
    pub fn with_intercept(mut self, with_intercept: bool) -> Self {
        self.0.trainer.fit_intercept = with_intercept;
        self
    }

    /// Largest allowed duality gap, as a share of the target's sum of squares.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.0.trainer.tolerance = tolerance;
        self
    }
}

impl<A> TrainerParams<SvmTrainer, A> {
    /// What multiplies the sum of the losses, above 0.
    pub fn c(mut self, c: f64) -> Self {
        self.0.strength = c;
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

impl<A> TrainerParams<NeighbourTrainer, A> {
    /// How many neighbours decide, at least 1.
    pub fn n_neighbors(mut self, n_neighbors: usize) -> Self {
        self.0.strength = n_neighbors as f64;
        self
    }

    /// What near is.
    pub fn metric(mut self, metric: Metric) -> Self {
        self.0.trainer.metric = metric;
        self
    }

    /// How much each neighbour counts.
    pub fn weighting(mut self, weighting: Weighting) -> Self {
        self.0.trainer.weighting = weighting;
        self
    }
}

/// Trainers whose options can be checked before there are rows.
pub trait CheckOptions: Trainer {
    /// Refuses options and a strength that no fit can have.
    ///
    /// # Errors
    /// The option and its value.
    fn check_options(&self, strength: f64) -> Result<(), Error>;
}

impl CheckOptions for RidgeTrainer {
    fn check_options(&self, strength: f64) -> Result<(), Error> {
        check_positive("alpha", &[strength])?;
        check_positive("tolerance", &[self.tolerance])
    }
}

impl CheckOptions for ElasticNetTrainer {
    fn check_options(&self, strength: f64) -> Result<(), Error> {
        self.check_penalties(&[strength])
    }
}

impl CheckOptions for SvmTrainer {
    fn check_options(&self, strength: f64) -> Result<(), Error> {
        check_positive("C", &[strength])?;
        self.check_settings()
    }
}

impl CheckOptions for NeighbourTrainer {
    fn check_options(&self, strength: f64) -> Result<(), Error> {
        check_positive("n_neighbors", &[strength])
    }
}

impl<T: CheckOptions, A> ParamGuard for TrainerParams<T, A> {
    type Checked = TrainerValidParams<T, A>;
    type Error = Error;

    fn check_ref(&self) -> Result<&TrainerValidParams<T, A>, Error> {
        self.0.trainer.check_options(self.0.strength)?;
        Ok(&self.0)
    }

    fn check(self) -> Result<TrainerValidParams<T, A>, Error> {
        self.check_ref()?;
        Ok(self.0)
    }
}
