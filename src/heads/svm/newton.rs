//! Newton's method on the primal of a squared loss, for columns that coordinates bring to the optimum too slowly: large C.
//!
//! Knows one column at a time. Invariant: the primal objective never rises; a column is changed only if the gap between
//! its weights and the variables that these weights make is within the tolerance.
//!
//! Keerthi, DeCoste, "A modified finite Newton method for fast solution of large scale linear SVMs", JMLR 2005; the dual
//! point for weights w is β = 2·C·missing·sign, the gap of the two is then ½|w − Σ β·x|², half the squared gradient.

use super::loss::Goal;
use super::products::{curvature, outputs};
use super::solver::Limits;
use super::state::{Setting, State};
use crate::heads::cholesky::Cholesky;
use crate::heads::kernel::{Real, Work, on_widest_registers};

/// Steps at most; about ten are usual.
const STEPS: u64 = 60;

/// Halvings of a step at most.
const HALVINGS: u32 = 30;

/// The widest rows that a matrix of their products is made for.
const WIDEST: usize = 2048;

/// Brings a column within the tolerance; false, and nothing changed, if that fails or is not the way for this problem.
pub(super) fn newton(setting: &Setting<'_>, state: &mut State, column: usize, limits: Limits) -> bool {
    if !setting.cost.squared || setting.problem.dim > WIDEST {
        return false;
    }
    let width = state.width();
    let goals: Vec<f64> = state.goals.iter().skip(column).step_by(width).copied().collect();
    let mut weights = state.columns[column].weights.clone();
    let steps = STEPS.min(limits.passes.saturating_sub(state.columns[column].passes));
    for step in 0..steps {
        let point = on_widest_registers(Look { setting, goals: &goals, weights: &weights });
        if point.gap <= limits.tolerance * point.primal {
            for (row, beta) in point.beta.into_iter().enumerate() {
                state.beta[row * width + column] = beta;
            }
            let found = &mut state.columns[column];
            (found.weights, found.primal, found.gap) = (weights, point.primal, point.gap);
            found.passes += step;
            return true;
        }
        let with_loss = |(row, beta): (usize, &f64)| if *beta == 0.0 { 0.0 } else { 2.0 * setting.c_of(row) };
        let factors: Vec<f64> = point.beta.iter().enumerate().map(with_loss).collect();
        let Some(factored) = Cholesky::of(curvature(setting, &factors)) else { return false };
        let mut direction: Vec<f64> = point.gradient.iter().map(|slope| -slope).collect();
        factored.solve(&mut direction);
        if !direction.iter().all(|by| by.is_finite()) {
            return false;
        }
        let slopes = outputs(setting, &direction);
        let lengths = (0..HALVINGS).map(|halving| 0.5_f64.powi(halving as i32));
        let lower = |&length: &f64| {
            let squares = weights.iter().zip(&direction).map(|(w, by)| (w + length * by).powi(2));
            let mut objective = 0.5 * squares.sum::<f64>();
            for (row, (output, slope)) in point.outputs.iter().zip(&slopes).enumerate() {
                let goal = Goal { target: goals[row], c: setting.c_of(row) };
                objective += setting.cost.of_output(goal, output + length * slope);
            }
            objective < point.primal
        };
        let Some(length) = lengths.into_iter().find(lower) else { return false };
        weights.iter_mut().zip(&direction).for_each(|(weight, by)| *weight += length * by);
    }
    false
}

/// Weights seen from all rows.
struct Point {
    outputs: Vec<f64>,
    /// The dual variables that go with the outputs.
    beta: Vec<f64>,
    gradient: Vec<f64>,
    primal: f64,
    /// Primal − dual at `beta`.
    gap: f64,
}

struct Look<'s, 'a> {
    setting: &'s Setting<'a>,
    goals: &'s [f64],
    weights: &'s [f64],
}

impl Work for Look<'_, '_> {
    type Output = Point;

    #[inline(always)]
    fn run(self) -> Point {
        let Self { setting, goals, weights } = self;
        let dim = setting.problem.dim;
        let outputs = outputs(setting, weights);
        let mut gradient = weights.to_vec();
        let mut beta = vec![0.0; outputs.len()];
        let mut primal = 0.5 * weights.iter().map(|w| w * w).sum::<f64>();
        let mut terms = 0.0;
        for (row, x) in setting.problem.rows.iter().enumerate() {
            let goal = Goal { target: goals[row], c: setting.c_of(row) };
            if goal.c == 0.0 {
                continue;
            }
            let loss = setting.cost.of_output(goal, outputs[row]);
            if loss > 0.0 {
                let size = 2.0 * (goal.c * loss).sqrt();
                beta[row] = size.copysign(goal.target - outputs[row]);
                f64::add(&mut gradient[..dim], -beta[row], x);
                gradient[dim] -= beta[row] * setting.bias;
                primal += loss;
            }
            terms += setting.cost.gap(goal, outputs[row], beta[row]);
        }
        let gap = terms.max(0.0) + 0.5 * gradient.iter().map(|g| g * g).sum::<f64>();
        Point { outputs, beta, gradient, primal, gap }
    }
}
