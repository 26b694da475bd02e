//! The sigmoid that fits decision values best (Platt, "Probabilistic Outputs for Support Vector Machines", 1999), by the
//! Newton method of Lin, Lin and Weng ("A note on Platt's probabilistic outputs for support vector machines", 2007).
//! Invariant: targets are smoothed by the number of rows, so that a column that is always right has a finite slope.

use super::super::error::{CalibrationError, Error};
use crate::heads::arithmetic::sigmoid;

const MOST_STEPS: usize = 100;
/// Largest component of the gradient by row.
const TOLERANCE: f64 = 1e-11;
/// Of the loss, which is a sum over all rows.
const ROUNDING: f64 = 1e-12;
/// Keeps the Hessian of a column with one value only from being singular.
const RIDGE: f64 = 1e-12;

/// Slope and intercept for values, whether the label is right, and weights above 0.
pub(super) fn fit(column: usize, values: &[(f64, bool, f64)]) -> Result<(f64, f64), Error> {
    let total = |right: bool| values.iter().filter(|row| row.1 == right).map(|row| row.2).sum::<f64>();
    let (without, with) = (total(false), total(true));
    if values.is_empty() {
        return Err(CalibrationError::NoDecisions { column }.into());
    }
    // Values of about 1 make slope and intercept of one size; the slope is scaled back at the end.
    let largest = values.iter().map(|row| row.0.abs()).fold(0.0, f64::max);
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let target = |right: bool| if right { (with + 1.0) / (with + 2.0) } else { 1.0 / (without + 2.0) };
    let (mut slope, mut intercept) = (0.0, ((with + 1.0) / (without + 1.0)).ln());
    let rows = with + without;
    let mut loss = loss_of(values, (slope / scale, intercept), target);
    for _ in 0..MOST_STEPS {
        let (mut first, mut second) = ([0.0; 2], [RIDGE * rows, 0.0, RIDGE * rows]);
        for &(value, right, weight) in values {
            let x = value / scale;
            let p = sigmoid(slope * x + intercept);
            let (error, curvature) = (weight * (p - target(right)), weight * p * (1.0 - p));
            first[0] += error * x;
            first[1] += error;
            second[0] += curvature * x * x;
            second[1] += curvature * x;
            second[2] += curvature;
        }
        if first.iter().all(|component| component.abs() <= TOLERANCE * rows) {
            return Ok((slope / scale, intercept));
        }
        let determinant = second[0] * second[2] - second[1] * second[1];
        let step = [
            (second[2] * first[0] - second[1] * first[1]) / determinant,
            (second[0] * first[1] - second[1] * first[0]) / determinant,
        ];
        let decrease = step[0] * first[0] + step[1] * first[1];
        let mut share = 1.0;
        loop {
            let next = (slope - share * step[0], intercept - share * step[1]);
            let value = loss_of(values, (next.0 / scale, next.1), target);
            // Near the optimum a step gains less than the sum's rounding, and is a good one all the same.
            if value <= loss - 1e-4 * share * decrease + ROUNDING * loss {
                (slope, intercept, loss) = (next.0, next.1, value);
                break;
            }
            share /= 2.0;
            if share < 1e-10 {
                return Err(CalibrationError::NoSigmoid { column }.into());
            }
        }
    }
    Err(CalibrationError::NoSigmoid { column }.into())
}

/// Cross entropy of the smoothed targets.
fn loss_of(values: &[(f64, bool, f64)], (slope, intercept): (f64, f64), target: impl Fn(bool) -> f64) -> f64 {
    let of_row = |&(value, right, weight): &(f64, bool, f64)| {
        let x = slope * value + intercept;
        // log(1 + e^x) - t·x without overflow.
        weight * (x.max(0.0) + (-x.abs()).exp().ln_1p() - target(right) * x)
    };
    values.iter().map(of_row).sum()
}
