//! L-BFGS for one problem as a machine that asks for values: a pass over the rows can serve many problems at once.
//!
//! Knows no rows and no labels. Invariant: a point is left only for one whose objective is lower, or level within the
//! rounding of the pass with a smaller slope. Method: Nocedal, Wright, "Numerical optimization", 7.2; acceptance at the
//! limit of rounding: Hager, Zhang, "A new conjugate gradient method with guaranteed descent", 2005.

use std::collections::VecDeque;

use super::super::arithmetic::dot;
use super::curvature::Curvature;
use super::evaluate::Value;

/// Steps that are remembered.
const MEMORY: usize = 10;

/// Steps tried along one direction at most.
const TRIALS: usize = 25;

/// A problem, the point it has come to, and where it looks next.
#[derive(Debug)]
pub(super) struct Descent {
    dim: usize,
    softmax: bool,
    /// Weight of |W|²/2 beside the mean log loss.
    penalty: f64,
    point: Vec<f64>,
    /// The log loss alone, at `point`.
    value: Value,
    pairs: VecDeque<Pair>,
    direction: Vec<f64>,
    /// Objective's slope along `direction`, below 0.
    slope: f64,
    length: f64,
    trials: usize,
    pub iterations: u64,
}

#[derive(Debug)]
struct Pair {
    step: Vec<f64>,
    /// What the gradient of the objective changed by.
    change: Vec<f64>,
    inner: f64,
}

/// What came of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    /// The point moved.
    Moved,
    /// A shorter step is worth trying.
    Shorter,
    /// Nothing along this direction is better, within rounding.
    Stuck,
}

impl Descent {
    /// At a point whose value is known.
    pub fn new((dim, softmax): (usize, bool), point: Vec<f64>, value: Value, penalty: f64) -> Self {
        let direction = vec![0.0; point.len()];
        let pairs = VecDeque::with_capacity(MEMORY);
        Self {
            dim,
            softmax,
            penalty,
            point,
            value,
            pairs,
            direction,
            slope: 0.0,
            length: 1.0,
            trials: 0,
            iterations: 0,
        }
    }

    pub fn point(&self) -> &[f64] {
        &self.point
    }

    /// Coefficients alone.
    pub fn weights(&self) -> &[f64] {
        &self.point[..self.point.len() / (self.dim + 1) * self.dim]
    }

    /// The mean log loss with its penalty.
    pub fn objective(&self) -> f64 {
        self.value.loss + 0.5 * self.penalty * squares(self.weights())
    }

    /// Gradient of the objective.
    pub fn gradient(&self) -> Vec<f64> {
        penalised(&self.value.gradient, self.weights(), self.penalty)
    }

    /// |gradient| / (penalty·|W|): because the objective is strongly convex in W by the penalty, this bounds
    /// |W - optimum| / |W| (exactly so once the intercepts' gradient is zero). A zero gradient is an optimum, W = 0 too.
    pub fn relative_gradient(&self) -> f64 {
        let norm = squares(&self.gradient()).sqrt();
        if norm <= ZERO_GRADIENT { 0.0 } else { norm / (self.penalty * squares(self.weights()).sqrt()) }
    }

    /// Another strength: what was learnt about the loss stays.
    pub fn set_penalty(&mut self, penalty: f64) {
        let more = penalty - self.penalty;
        let weights = self.weights().len();
        for pair in &mut self.pairs {
            for (change, step) in pair.change[..weights].iter_mut().zip(&pair.step) {
                *change += more * step;
            }
            pair.inner = dot(&pair.step, &pair.change);
        }
        self.penalty = penalty;
    }

    /// The same point seen more precisely.
    pub fn set_value(&mut self, value: Value) {
        self.value = value;
    }

    /// Turns to where the objective falls and gives half of the slope there: about how far, in nats, the optimum lies
    /// below. With `scaled` the preconditioner is brought to the length of the last step (7.20), without which most first
    /// trials are too long or too short. A last step in a steep direction makes all others short: what is given is half of
    /// the slope without that.
    pub fn turn(&mut self, curvature: &Curvature, scaled: bool) -> f64 {
        let gradient = self.gradient();
        let (mut direction, mut scale) = self.against(&gradient, curvature, scaled);
        let mut slope = dot(&gradient, &direction);
        if slope >= 0.0 || !slope.is_finite() {
            self.pairs.clear();
            (direction, scale) = self.against(&gradient, curvature, scaled);
            slope = dot(&gradient, &direction);
        }
        (self.direction, self.slope, self.length, self.trials) = (direction, slope, 1.0, 0);
        -0.5 * slope / scale.min(1.0)
    }

    /// The two loops of L-BFGS around the preconditioner, and what that was scaled by.
    fn against(&self, gradient: &[f64], curvature: &Curvature, scaled: bool) -> (Vec<f64>, f64) {
        let mut rest = gradient.to_vec();
        let mut factors = Vec::with_capacity(self.pairs.len());
        for pair in self.pairs.iter().rev() {
            let factor = dot(&pair.step, &rest) / pair.inner;
            add(&mut rest, -factor, &pair.change);
            factors.push(factor);
        }
        let solve = |gradient| curvature.solve(gradient, &self.value.curvature, self.penalty, self.softmax);
        let mut direction = solve(&rest);
        let last = self.pairs.back().filter(|_| scaled);
        let scale = last.map_or(1.0, |last| last.inner / dot(&last.change, &solve(&last.change)));
        direction.iter_mut().for_each(|value| *value *= scale);
        for (pair, factor) in self.pairs.iter().zip(factors.iter().rev()) {
            let correction = factor - dot(&pair.change, &direction) / pair.inner;
            add(&mut direction, correction, &pair.step);
        }
        direction.iter_mut().for_each(|value| *value = -*value);
        (direction, scale)
    }

    /// The point to look at next.
    pub fn trial(&self) -> Vec<f64> {
        let mut point = self.point.clone();
        add(&mut point, self.length, &self.direction);
        point
    }

    /// Takes the value at the trial; `rounding` is the share of the objective that a pass cannot resolve.
    pub fn receive(&mut self, trial: Vec<f64>, value: Value, rounding: f64) -> Trial {
        let weights = &trial[..self.weights().len()];
        let before = self.objective();
        let after = value.loss + 0.5 * self.penalty * squares(weights);
        let gradient = penalised(&value.gradient, weights, self.penalty);
        let slope = dot(&gradient, &self.direction);
        let falls = after <= before + 1e-4 * self.length * self.slope;
        let level = after <= before + rounding * (1.0 + before.abs()) && slope.abs() <= 0.9 * self.slope.abs();
        if !(falls || level) {
            self.trials += 1;
            // The minimum of the parabola through both values, kept within what halving would find in a few steps.
            let bend = after - before - self.length * self.slope;
            let best = -0.5 * self.slope * self.length * self.length / bend;
            self.length =
                if best.is_finite() { best.clamp(0.1 * self.length, 0.5 * self.length) } else { 0.1 * self.length };
            return if self.trials < TRIALS { Trial::Shorter } else { Trial::Stuck };
        }
        let step: Vec<f64> = trial.iter().zip(&self.point).map(|(after, before)| after - before).collect();
        let change: Vec<f64> = gradient.iter().zip(self.gradient()).map(|(after, before)| after - before).collect();
        let product = dot(&step, &change);
        if product > 1e-10 * squares(&step).sqrt() * squares(&change).sqrt() {
            if self.pairs.len() == MEMORY {
                self.pairs.pop_front();
            }
            self.pairs.push_back(Pair { step, change, inner: product });
        }
        (self.point, self.value) = (trial, value);
        self.iterations += 1;
        Trial::Moved
    }
}

/// A gradient of this norm (nats, rows of norm about 1) is rounding.
const ZERO_GRADIENT: f64 = 1e-15;

fn penalised(gradient: &[f64], weights: &[f64], penalty: f64) -> Vec<f64> {
    let mut gradient = gradient.to_vec();
    add(&mut gradient[..weights.len()], penalty, weights);
    gradient
}

fn add(to: &mut [f64], factor: f64, values: &[f64]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += factor * value);
}

pub(super) fn squares(values: &[f64]) -> f64 {
    dot(values, values)
}
