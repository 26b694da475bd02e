//! A few columns on their way to the optimum: dual variables, the weights that they make, and how far the optimum can be.
//!
//! Knows rows, targets and loss, not how to improve anything. Invariant: after `measure` a column's weights are the sums
//! of its variables in f64, its gap is primal − dual of exactly these, over all rows.

use std::ops::Range;

use super::loss::{Cost, Goal};
use super::problem::Problem;
use crate::heads::kernel::{Real, Work, on_widest_registers};

/// From this share of the bound on a variable is at it: an interior point ends strictly inside.
const NEARLY: f64 = 1.0 - 1e-6;

/// A problem with everything that decides its solution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'a> {
    pub problem: &'a Problem<'a>,
    pub cost: Cost,
    /// As scikit-learn's: it multiplies the sum of the losses.
    pub c: f64,
    /// The constant feature that the intercept's weight multiplies; 0 for no intercept.
    pub bias: f64,
}

impl Setting<'_> {
    /// C of a row: 0 takes it out of the problem.
    #[inline(always)]
    pub fn c_of(&self, row: usize) -> f64 {
        self.problem.weights.map_or(self.c, |weights| self.c * weights[row])
    }
}

/// One column of the decision values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// Weights, and in the end that of the constant feature.
    pub weights: Vec<f64>,
    /// ½|w|² + Σ C·loss.
    pub primal: f64,
    /// Primal − dual.
    pub gap: f64,
    /// Passes over its rows.
    pub passes: u64,
    /// What is pressed harder against its bound than this is left out of a pass: a share of the largest violation of
    /// the pass before.
    pub ceiling: f64,
}

impl Column {
    /// The gap as a share of the objective, which is an upper bound on how far the objective is above its optimum.
    pub fn relative_gap(&self) -> f64 {
        if self.gap <= 0.0 { 0.0 } else { self.gap / self.primal }
    }
}

/// Columns next to each other, so that a row that has been read serves all of them.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// Targets, rows × columns.
    pub goals: Vec<f64>,
    /// Signed dual variables, rows × columns.
    pub beta: Vec<f64>,
    /// One per column.
    pub columns: Vec<Column>,
}

impl State {
    /// All variables 0.
    pub fn new(problem: &Problem<'_>, range: Range<usize>) -> Self {
        let column = Column {
            weights: vec![0.0; problem.dim + 1],
            primal: f64::INFINITY,
            gap: f64::INFINITY,
            passes: 0,
            ceiling: f64::INFINITY,
        };
        let goals = problem.goals(range.clone());
        Self { beta: vec![0.0; goals.len()], goals, columns: vec![column; range.len()] }
    }

    /// Columns beside each other.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Sums up the weights of the columns of `which` and measures their gaps, with two passes over all rows.
    pub fn measure(&mut self, setting: &Setting<'_>, which: &[usize]) {
        on_widest_registers(Measure { setting, state: self, which });
    }

    /// Makes variables for another C out of those of `from`: at the old bound goes to the new one, all others keep
    /// their value as far as the box allows; then all are scaled to the best multiple.
    pub fn restart(&mut self, from: f64, setting: &Setting<'_>) {
        let width = self.width();
        let mut sums = vec![(0.0, 0.0); width];
        for (at, beta) in self.beta.iter_mut().enumerate() {
            let row = at / width;
            let weight = setting.problem.weights.map_or(1.0, |weights| weights[row]);
            if weight == 0.0 || *beta == 0.0 {
                continue;
            }
            let goal = Goal { target: self.goals[at], c: setting.c * weight };
            if !setting.cost.squared {
                let was_bound = beta.abs() >= from * weight * NEARLY;
                *beta = if was_bound { goal.c.copysign(*beta) } else { beta.clamp(-goal.c, goal.c) };
            }
            let epsilon = setting.cost.epsilon.unwrap_or(0.0);
            sums[at % width].0 += goal.target * *beta - epsilon * beta.abs();
            sums[at % width].1 += setting.cost.diagonal(goal) * *beta * *beta;
        }
        if setting.cost.squared {
            self.scale(&sums);
        }
        for column in &mut self.columns {
            column.passes = 0;
            column.ceiling = f64::INFINITY;
        }
    }

    /// The multiple of a column's variables at which the dual is best, where no bound is in the way.
    fn scale(&mut self, sums: &[(f64, f64)]) {
        let width = self.width();
        for (column, (linear, diagonal)) in sums.iter().enumerate() {
            let square: f64 = self.columns[column].weights.iter().map(|w| w * w).sum();
            let factor = linear / (square + diagonal);
            if factor.is_finite() && factor > 0.0 {
                self.beta.iter_mut().skip(column).step_by(width).for_each(|beta| *beta *= factor);
            }
        }
    }
}

struct Measure<'s, 'a> {
    setting: &'s Setting<'a>,
    state: &'s mut State,
    which: &'s [usize],
}

impl Work for Measure<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { setting, state, which } = self;
        let (width, dim) = (state.width(), setting.problem.dim);
        for &column in which {
            state.columns[column].weights.fill(0.0);
        }
        for (row, x) in setting.problem.rows.iter().enumerate() {
            for &column in which {
                let beta = state.beta[row * width + column];
                if beta != 0.0 {
                    let weights = &mut state.columns[column].weights;
                    f64::add(&mut weights[..dim], beta, x);
                    weights[dim] += beta * setting.bias;
                }
            }
        }
        let mut losses = vec![0.0; width];
        let mut gaps = vec![0.0; width];
        for (row, x) in setting.problem.rows.iter().enumerate() {
            let c = setting.c_of(row);
            if c == 0.0 {
                continue;
            }
            for &column in which {
                let weights = &state.columns[column].weights;
                let output = f64::dot(x, &weights[..dim]) + setting.bias * weights[dim];
                let goal = Goal { target: state.goals[row * width + column], c };
                losses[column] += setting.cost.of_output(goal, output);
                gaps[column] += setting.cost.gap(goal, output, state.beta[row * width + column]);
            }
        }
        for &column in which {
            let found = &mut state.columns[column];
            found.primal = 0.5 * found.weights.iter().map(|w| w * w).sum::<f64>() + losses[column];
            found.gap = gaps[column];
        }
    }
}
