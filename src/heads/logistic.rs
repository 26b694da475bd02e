//! Logistic regression with scikit-learn's objective, from checked input to a certified fit.
//!
//! Knows solvers and the objective, no files and no label names. Invariant: `fit_logistic` returns only coefficients
//! that are provably within the asked tolerance of the optimum, judged on the rows as they came in.

use ndarray::{Array2, ArrayView1, ArrayView2, s};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::newton::{minimise, relative_gradient};
use super::objective::{Frame, Objective};
use super::rough_fit::rough_fit;
use super::trainer::{Fitted, LinearModel, Model, Optimality};

/// Root mean square norm that centred rows are brought to: with longer rows the intercepts weigh less in the gradient
/// and L-BFGS needs a third of the iterations (measured on 384-dimensional unit rows; 1 to 10 differ little).
const ROW_NORM: f64 = 3.0;

/// How a logistic head is fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogisticOptions {
    /// Inverse L2 strength as in scikit-learn: the objective is mean log loss + |W|²/(2·C·n).
    pub c: f64,
    /// Largest allowed relative distance |W - optimum| / |W| of the coefficients, as bounded by the gradient.
    pub tolerance: f64,
    /// Newton steps at most.
    pub max_iterations: u64,
}

impl Default for LogisticOptions {
    /// C = 1, coefficients within 1e-3, 200 steps (15 are usual, for C = 10⁴ too).
    fn default() -> Self {
        Self { c: 1.0, tolerance: 1e-3, max_iterations: 200 }
    }
}

/// What a fit measured about itself, on the rows as they came in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convergence {
    /// Newton steps.
    pub iterations: u64,
    /// Largest component of the mean objective's gradient: the quantity that scikit-learn's `tol` bounds.
    pub gradient_norm: f64,
    /// Mean log loss + |W|²/(2·C·n), in nats.
    pub objective: f64,
    /// Common factor that the centred rows were multiplied by while fitting.
    pub scale: f64,
    /// Bound on |W - optimum| / |W|: |gradient|·C·n / |W|, by the strong convexity of the penalty.
    pub coefficient_error: f64,
}

/// A fitted model: logits are `x·coefficientsᵀ + intercepts`.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticFit {
    /// 1 × dim for two classes (the logit of class 1), else classes × dim.
    pub coefficients: Array2<f64>,
    /// One per row of `coefficients`.
    pub intercepts: Vec<f64>,
    /// Inverse L2 strength it was fitted with.
    pub c: f64,
    /// How close to the optimum it is.
    pub convergence: Convergence,
    /// The largest `coefficient_error` that was asked for.
    pub tolerance: f64,
}

impl LogisticFit {
    /// The most probable class of each row.
    pub fn predict(&self, rows: ArrayView2<'_, f32>) -> Vec<usize> {
        let mut logits = vec![0.0; self.intercepts.len()];
        let mut row64 = vec![0.0; rows.ncols()];
        let mut predicted = Vec::with_capacity(rows.nrows());
        for row in rows.rows() {
            row_logits(row, &mut row64, (&self.coefficients, &self.intercepts), &mut logits);
            predicted.push(if logits.len() == 1 { usize::from(logits[0] > 0.0) } else { argmax(&logits) });
        }
        predicted
    }
}

impl From<LogisticFit> for Fitted {
    fn from(fit: LogisticFit) -> Self {
        Self {
            model: Model::Linear(LinearModel { coefficients: fit.coefficients, intercepts: fit.intercepts }),
            strength: fit.c,
            optimality: Some(Optimality {
                solver: "newton".to_owned(),
                iterations: fit.convergence.iterations,
                objective: fit.convergence.objective,
                bound: "coefficient_error".to_owned(),
                reached: fit.convergence.coefficient_error,
                allowed: fit.tolerance,
            }),
        }
    }
}

/// Fits rows `x` (n × dim) with class numbers `y` (each below `classes`) by linfa-logistic and Newton steps.
///
/// Binomial for two classes, multinomial for more, as in scikit-learn; intercepts are not penalised. All work is in f64.
///
/// # Errors
/// No rows, one class, a class without rows, counts that differ, values that are not finite, identical rows, options out
/// of range, and a fit that is not within the tolerance.
pub fn fit_logistic(
    x: ArrayView2<'_, f32>,
    y: &[usize],
    classes: usize,
    options: &LogisticOptions,
) -> Result<LogisticFit, Error> {
    check_options(options)?;
    let problem = Problem::checked(x.view(), y, classes)?;
    let frame = problem.frame()?;
    let (fit, _) = fit_in_frame(&frame, &problem, options, None)?;
    Ok(fit)
}

/// Rows and class numbers that make a classification problem.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    rows: ArrayView2<'a, f32>,
    labels: &'a [usize],
    classes: usize,
}

impl<'a> Problem<'a> {
    /// Refuses rows and labels that do not make a classification problem.
    pub fn checked(rows: ArrayView2<'a, f32>, labels: &'a [usize], classes: usize) -> Result<Self, Error> {
        if rows.nrows() != labels.len() {
            return Err(Error::LabelCount { rows: rows.nrows(), labels: labels.len() });
        }
        if rows.is_empty() {
            return Err(Error::NoRows { rows: rows.nrows(), dim: rows.ncols() });
        }
        if let Some(row) = labels.iter().position(|&label| label >= classes) {
            return Err(Error::UnknownClass { row, class: labels[row], classes });
        }
        if labels.iter().all(|&label| label == labels[0]) {
            return Err(Error::OneClass { rows: rows.nrows() });
        }
        if rows.nrows() < classes {
            return Err(Error::FewerRowsThanClasses { rows: rows.nrows(), classes });
        }
        let mut seen = vec![false; classes];
        labels.iter().for_each(|&label| seen[label] = true);
        if let Some(class) = seen.iter().position(|&seen| !seen) {
            return Err(Error::ClassWithoutRows { class, classes });
        }
        check_finite(rows)?;
        Ok(Self { rows, labels, classes })
    }

    /// The coordinates to fit in; identical rows have none.
    pub fn frame(&self) -> Result<Frame, Error> {
        Frame::centred(self.rows, ROW_NORM).ok_or(Error::IdenticalRows { rows: self.rows.nrows() })
    }
}

/// Fits from `start` (parameters of the frame; none: from linfa's answer), and gives the parameters along.
pub(super) fn fit_in_frame(
    frame: &Frame,
    problem: &Problem<'_>,
    options: &LogisticOptions,
    start: Option<Array2<f64>>,
) -> Result<(LogisticFit, Array2<f64>), Error> {
    let dim = problem.rows.ncols();
    let columns = if problem.classes == 2 { 1 } else { problem.classes };
    let objective = |frame| Objective { rows: problem.rows, labels: problem.labels, columns, c: options.c, frame };
    let framed = objective(frame.clone());
    let start = start.or_else(|| rough_fit(&framed)).unwrap_or_else(|| Array2::zeros((dim + 1, columns)));
    // Half of the tolerance: what the check on plain rows adds is rounding.
    let stop = minimise(&framed, start, options.tolerance / 2.0, options.max_iterations);

    let parameters = frame.leave(stop.parameters.view());
    let value = objective(Frame::plain(dim)).value(parameters.view());
    let convergence = Convergence {
        iterations: stop.steps,
        gradient_norm: value.gradient.fold(0.0, |max: f64, g| max.max(g.abs())),
        objective: value.objective,
        scale: frame.scale,
        coefficient_error: relative_gradient(
            framed.strength(),
            &stop.parameters,
            &frame.enter_gradient(value.gradient),
        ),
    };
    // Written so that NaN is refused as well.
    let within = convergence.coefficient_error <= options.tolerance;
    if !within {
        return Err(Error::NotConverged {
            c: options.c,
            iterations: stop.steps,
            max_iterations: options.max_iterations,
            error: convergence.coefficient_error,
            allowed: options.tolerance,
        });
    }
    let coefficients = parameters.slice(s![..dim, ..]).t().as_standard_layout().into_owned();
    // A shift of all intercepts changes nothing but how they read: their mean is 0, as in scikit-learn.
    let shift = if columns == 1 { 0.0 } else { parameters.row(dim).sum() / columns as f64 };
    let intercepts = parameters.row(dim).iter().map(|intercept| intercept - shift).collect();
    let (c, tolerance) = (options.c, options.tolerance);
    Ok((LogisticFit { coefficients, intercepts, c, convergence, tolerance }, stop.parameters))
}

/// Refuses options that no fit can have.
pub(super) fn check_options(options: &LogisticOptions) -> Result<(), Error> {
    for (name, value) in [("C", options.c), ("tolerance", options.tolerance)] {
        if !(value.is_finite() && value > 0.0) {
            return Err(Error::NotPositive { name, value });
        }
    }
    Ok(())
}

/// Refuses NaN and infinities, naming the first.
pub(super) fn check_finite(x: ArrayView2<'_, f32>) -> Result<(), Error> {
    match x.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, column), &value)) => Err(Error::NotFinite { row, column, value }),
        None => Ok(()),
    }
}

/// Logits of one row, summed in a fixed order: the same bits whatever other rows are asked for.
pub(super) fn row_logits(
    row: ArrayView1<'_, f32>,
    row64: &mut [f64],
    (coefficients, intercepts): (&Array2<f64>, &[f64]),
    logits: &mut [f64],
) {
    row64.iter_mut().zip(row).for_each(|(out, &value)| *out = f64::from(value));
    for ((logit, weights), intercept) in logits.iter_mut().zip(coefficients.rows()).zip(intercepts) {
        *logit = intercept + weights.to_slice().map_or_else(|| dot(row64, &weights.to_vec()), |w| dot(row64, w));
    }
}

/// Eight running sums, so that the compiler may use vector registers without changing the order.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// Index of the largest value, the first of equals.
pub(super) fn argmax<'a, T: PartialOrd + 'a>(values: impl IntoIterator<Item = &'a T>) -> usize {
    let mut best: Option<(usize, &T)> = None;
    for (index, value) in values.into_iter().enumerate() {
        if best.is_none_or(|(_, largest)| value > largest) {
            best = Some((index, value));
        }
    }
    best.map_or(0, |(index, _)| index)
}
