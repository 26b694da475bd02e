//! Truncated Newton for the logistic objective: conjugate gradients on exact Hessian products, backtracking steps.
//!
//! Knows the objective and nothing of labels or files. Invariant: every loop is bounded and the objective never rises
//! beyond its own rounding. Method: Dembo, Steihaug, "Truncated-Newton algorithms for large-scale unconstrained
//! optimization", 1983 (forcing term: square root of the gradient's reduction).

use ndarray::{Array2, s};

use super::objective::{Objective, Value};

/// Conjugate-gradient steps per Newton step at most; what is left over is the next Newton step's work.
const INNER_STEPS: usize = 250;

/// Halvings of one Newton step at most: 2⁻³⁰ of it is below what the objective can resolve.
const HALVINGS: usize = 30;

/// Objective values closer than this share are equal within rounding.
const ROUNDING: f64 = 1e-12;

/// A gradient of this norm (nats, rows of norm about 1) is rounding.
const ZERO_GRADIENT: f64 = 1e-15;

/// Where the solver stopped; whether that is good enough is the caller's decision.
#[derive(Debug)]
pub(super) struct Stop {
    pub parameters: Array2<f64>,
    pub steps: u64,
}

/// Minimises from `start` until the relative gradient (see [`relative_gradient`]) is at most `tolerance`, no step
/// improves any more, or `max_steps` are done.
pub(super) fn minimise(objective: &Objective<'_>, start: Array2<f64>, tolerance: f64, max_steps: u64) -> Stop {
    let mut parameters = start;
    let mut value = objective.value(parameters.view());
    let mut steps = 0;
    let mut previous_norm = f64::INFINITY;
    while steps < max_steps && relative_gradient(objective.strength(), &parameters, &value.gradient) > tolerance {
        let norm = squared(&value.gradient).sqrt();
        let forcing = (norm / previous_norm).clamp(1e-3, 0.1);
        let direction = newton_direction(objective, &value, forcing * norm);
        let Some((next, next_value)) = descend(objective, &parameters, &value, &direction) else { break };
        previous_norm = norm;
        parameters = next;
        value = next_value;
        steps += 1;
    }
    Stop { parameters, steps }
}

/// |gradient| / (strength·|W|): because the objective is strongly convex in W with that strength, this bounds
/// |W - optimum| / |W| (exactly so once the intercepts' gradient is zero). A zero gradient is an optimum, W = 0 too.
pub(super) fn relative_gradient(strength: f64, parameters: &Array2<f64>, gradient: &Array2<f64>) -> f64 {
    let weights = parameters.slice(s![..parameters.nrows() - 1, ..]);
    let norm = squared(gradient).sqrt();
    if norm <= ZERO_GRADIENT { 0.0 } else { norm / (strength * weights.iter().map(|w| w * w).sum::<f64>().sqrt()) }
}

/// Solves H·d = -g until the residual is at most `residual_allowed`.
fn newton_direction(objective: &Objective<'_>, value: &Value, residual_allowed: f64) -> Array2<f64> {
    let mut direction = Array2::zeros(value.gradient.raw_dim());
    let mut residual = -&value.gradient;
    let mut search = residual.clone();
    let mut residual_squared = squared(&residual);
    for _ in 0..INNER_STEPS {
        if residual_squared.sqrt() <= residual_allowed {
            break;
        }
        let product = objective.hessian_product(value, search.view());
        let curvature = inner(&search, &product);
        if curvature <= f64::EPSILON * squared(&search) * objective.strength() {
            break;
        }
        let length = residual_squared / curvature;
        direction.scaled_add(length, &search);
        residual.scaled_add(-length, &product);
        let next = squared(&residual);
        search *= next / residual_squared;
        search += &residual;
        residual_squared = next;
    }
    direction
}

/// The first of the steps 1, 1/2, 1/4 ... that lowers the objective enough (Armijo), or none.
fn descend(
    objective: &Objective<'_>,
    parameters: &Array2<f64>,
    value: &Value,
    direction: &Array2<f64>,
) -> Option<(Array2<f64>, Value)> {
    let slope = inner(&value.gradient, direction);
    let mut length = 1.0;
    for _ in 0..HALVINGS {
        let mut next = parameters.clone();
        next.scaled_add(length, direction);
        let next_value = objective.value(next.view());
        let enough = next_value.objective <= value.objective + 1e-4 * length * slope;
        let level = next_value.objective <= value.objective + ROUNDING * value.objective.abs();
        if enough || (level && squared(&next_value.gradient) < 0.25 * squared(&value.gradient)) {
            return Some((next, next_value));
        }
        length *= 0.5;
    }
    None
}

fn inner(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn squared(a: &Array2<f64>) -> f64 {
    a.iter().map(|a| a * a).sum()
}
