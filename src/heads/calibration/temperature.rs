//! One temperature for all decision values (Guo et al., "On Calibration of Modern Neural Networks", 2017): the log loss
//! is convex in its inverse, so that a safeguarded Newton iteration finds the optimum.
//! Invariant: what is given is the optimum to 1e-12, or an error says that there is none.

use ndarray::ArrayView1;

use super::Decided;
use crate::heads::arithmetic::sigmoid;
use crate::heads::error::{CalibrationError, Error};
use crate::heads::trainer::Targets;

/// scikit-learn looks for the logarithm of the inverse temperature within this of 0.
const LARGEST_LOG: f64 = 10.0;
/// Far more than bisection alone needs.
const MOST_STEPS: usize = 200;
const TOLERANCE: f64 = 1e-13;

/// The temperature with the least log loss.
pub(super) fn fit(decided: &Decided<'_>) -> Result<f64, Error> {
    let (mut low, mut high) = (-LARGEST_LOG, LARGEST_LOG);
    // The loss rises at the upper end and falls at the lower one if its optimum is between them.
    let slope = |log: f64| slopes(decided, log.exp());
    if slope(low).0 >= 0.0 {
        return Err(CalibrationError::NoTemperature { all_right: false }.into());
    }
    if slope(high).0 <= 0.0 {
        return Err(CalibrationError::NoTemperature { all_right: true }.into());
    }
    let mut log: f64 = 0.0;
    for _ in 0..MOST_STEPS {
        let beta = log.exp();
        let (first, second) = slopes(decided, beta);
        if first > 0.0 {
            high = log
        } else {
            low = log
        }
        // In the logarithm, where the second derivative is beta²·f'' + beta·f'.
        let curvature = beta * beta * second + beta * first;
        let newton = log - beta * first / curvature;
        let next = if curvature > 0.0 && (low..=high).contains(&newton) { newton } else { low.midpoint(high) };
        let moved = (next - log).abs();
        log = next;
        if moved <= TOLERANCE {
            break;
        }
    }
    Ok((-log).exp())
}

/// First and second derivative of the log loss by the inverse temperature.
fn slopes(decided: &Decided<'_>, beta: f64) -> (f64, f64) {
    let (mut first, mut second) = (0.0, 0.0);
    for (row, values) in decided.decisions.rows().into_iter().enumerate() {
        let weight = decided.weight(row);
        let (one, two) = match decided.targets {
            Targets::Classes { of, classes } if *classes > 2 => of_softmax(values, of[row], beta),
            targets => values.iter().enumerate().fold((0.0, 0.0), |sums, (column, &value)| {
                let (one, two) = of_sigmoid(value, targets.has(row, column), beta);
                (sums.0 + one, sums.1 + two)
            }),
        };
        first += weight * one;
        second += weight * two;
    }
    (first, second)
}

/// Of -log σ(±βx): an infinite value has no say.
fn of_sigmoid(value: f64, is_right: bool, beta: f64) -> (f64, f64) {
    if !value.is_finite() {
        return (0.0, 0.0);
    }
    let p = sigmoid(beta * value);
    // 1 - σ(x) as σ(-x) keeps what is small.
    let first = if is_right { -sigmoid(-beta * value) * value } else { p * value };
    (first, p * sigmoid(-beta * value) * value * value)
}

/// Of -log softmax(βx)_class: mean and variance of the values under it. A row whose right class has no value has no say.
fn of_softmax(values: ArrayView1<'_, f64>, class: usize, beta: f64) -> (f64, f64) {
    if !values[class].is_finite() {
        return (0.0, 0.0);
    }
    let largest = values.fold(f64::NEG_INFINITY, |max, &value| max.max(value));
    let (mut sum, mut mean, mut square) = (0.0, 0.0, 0.0);
    for &value in values.iter().filter(|value| value.is_finite()) {
        let (share, behind) = ((beta * (value - largest)).exp(), value - largest);
        sum += share;
        mean += share * behind;
        square += share * behind * behind;
    }
    mean /= sum;
    (mean - (values[class] - largest), (square / sum - mean * mean).max(0.0))
}
