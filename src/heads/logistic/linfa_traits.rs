//! Logistic heads behind linfa's traits: `LogisticFit::params().c(10.0).fit(&dataset)?`, then `predict`.
//!
//! Knows linfa's traits and no solver. Invariant: only checked parameters fit.

use linfa::traits::{Fit, PredictInplace};
use linfa::{DatasetBase, ParamGuard};
use ndarray::{Array1, Array2};

use super::super::error::Error;
use super::super::linfa_traits::fit_rows_of;
use super::super::trainer::Targets;
use super::fit::fit;
use super::{LogisticFit, LogisticOptions, LogisticSolver, check_options};

/// Parameters as they were given.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LogisticParams(LogisticValidParams);

/// Parameters that a fit can have.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LogisticValidParams(LogisticOptions);

impl LogisticFit {
    /// Parameters of a fit, at first the defaults of [`LogisticOptions`].
    pub fn params() -> LogisticParams {
        LogisticParams::default()
    }
}

impl LogisticParams {
    /// Inverse L2 strength, as in scikit-learn.
    pub fn c(mut self, c: f64) -> Self {
        self.0.0.c = c;
        self
    }

    /// Largest allowed relative distance of the coefficients from the optimum.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.0.0.tolerance = tolerance;
        self
    }

    /// Whether there are intercepts.
    pub fn with_intercept(mut self, with_intercept: bool) -> Self {
        self.0.0.fit_intercept = with_intercept;
        self
    }

    /// What does the work.
    pub fn solver(mut self, solver: LogisticSolver) -> Self {
        self.0.0.solver = solver;
        self
    }
}

impl ParamGuard for LogisticParams {
    type Checked = LogisticValidParams;
    type Error = Error;

    fn check_ref(&self) -> Result<&LogisticValidParams, Error> {
        check_options(&self.0.0)?;
        Ok(&self.0)
    }

    fn check(self) -> Result<LogisticValidParams, Error> {
        check_options(&self.0.0)?;
        Ok(self.0)
    }
}

impl Fit<Array2<f32>, Array1<usize>, Error> for LogisticValidParams {
    type Object = LogisticFit;

    /// Fits class numbers; there are as many classes as the largest says. Weights of the data set are those of its rows.
    fn fit(&self, dataset: &DatasetBase<Array2<f32>, Array1<usize>>) -> Result<LogisticFit, Error> {
        let of = dataset.targets.to_vec();
        let classes = of.iter().max().map_or(0, |largest| largest + 1);
        fit_rows_of(dataset, &Targets::Classes { of, classes }, |data| fit(data, &self.0))
    }
}

impl PredictInplace<Array2<f32>, Array1<usize>> for LogisticFit {
    fn predict_inplace<'a>(&'a self, x: &'a Array2<f32>, y: &mut Array1<usize>) {
        *y = self.predict(x.view()).into();
    }

    fn default_target(&self, x: &Array2<f32>) -> Array1<usize> {
        Array1::zeros(x.nrows())
    }
}

#[cfg(test)]
mod tests {
    use linfa::traits::Predict;
    use ndarray::array;

    use super::*;

    #[test]
    fn a_data_set_is_fitted_and_its_rows_are_predicted() {
        let rows = array![[0.0_f32, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.1]];
        let dataset = DatasetBase::new(rows.clone(), array![0, 0, 1, 1]);
        let fitted = LogisticFit::params().c(10.0).tolerance(1e-4).fit(&dataset).unwrap();
        let predicted: Array1<usize> = Predict::predict(&fitted, &rows);
        assert_eq!((predicted, fitted.c), (array![0, 0, 1, 1], 10.0));
        let linfa = LogisticFit::params().c(10.0).solver(LogisticSolver::Linfa).fit(&dataset).unwrap();
        assert!((&linfa.coefficients - &fitted.coefficients).iter().all(|d| d.abs() < 1e-2));
        let weights = array![1.0_f32, 5.0, 1.0, 1.0];
        let weighted = LogisticFit::params().c(10.0).fit(&dataset.clone().with_weights(weights)).unwrap();
        let distances = &weighted.coefficients - &fitted.coefficients;
        assert!(distances.iter().any(|d| d.abs() > 1e-2), "{distances}");
        let none = LogisticFit::params().fit(&dataset.clone().with_weights(array![1.0_f32, 1.0])).unwrap_err();
        assert_eq!(none.to_string(), "got 2 weights for 4 rows");
        let error = LogisticFit::params().c(-1.0).fit(&dataset).unwrap_err();
        assert_eq!(error.to_string(), "C is -1, expected a finite number above 0");
    }
}
