//! Many problems to their optima in lock-step: each pass over the rows serves all that are not there yet.
//!
//! Knows descents and passes, no folds and no decision values. Invariant: a problem counts as solved only by what a pass
//! measured at its point; f32 passes do the bulk, f64 passes certify and finish.

use rayon::prelude::*;

use super::super::error::Error;
use super::curvature::Curvature;
use super::descent::{Descent, Trial};
use super::evaluate::evaluate;
use super::pass::Data;
use super::problem::{Problem, layout};
use crate::heads::lanes::Number;
use crate::heads::sample::check_values;

/// What passes in f32 or f64 can give.
#[derive(Debug, Clone, Copy)]
struct Precision {
    /// Share of the objective that a pass cannot resolve.
    rounding: f64,
    /// Steps without a smaller gradient or objective after which it has given what it can.
    patience: u64,
    /// Whether steps are scaled by the last one, see [`Descent::turn`].
    scaled: bool,
}

// What f32 cannot do is left to f64, which has nobody behind it: it may stall for longer, and starts with steps whose changes
// f32 has measured, by which it must not scale.
const SINGLE: Precision = Precision { rounding: 1e-7, patience: 8, scaled: true };
const DOUBLE: Precision = Precision { rounding: 1e-13, patience: 32, scaled: false };

/// A gradient that fell to less than this share counts as smaller.
const PROGRESS: f64 = 0.8;

/// What the reduction of a d × d matrix costs, in d³ operations of a pass.
const REDUCTION: f64 = 12.0;

/// When a problem is solved.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    /// Half of the slope along the next step, in nats a row, is at most this.
    Decrement(f64),
    /// The bound on the relative error of the coefficients is at most this.
    Error(f64),
}

impl Goal {
    fn reached(self, descent: &Descent, decrement: f64) -> bool {
        match self {
            Self::Decrement(allowed) => decrement <= allowed,
            Self::Error(allowed) => descent.relative_gradient() <= allowed,
        }
    }
}

/// Problems on the way to their optima.
pub(super) struct Solver<'a> {
    pub data: &'a Data<'a>,
    pub problems: &'a [Problem],
    pub descents: Vec<Descent>,
    curvature: &'a Curvature,
}

/// How a problem ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ending {
    pub solved: bool,
    /// The last measured decrement.
    pub decrement: f64,
}

impl<'a> Solver<'a> {
    /// All problems at their starts, with `penalty` for each.
    ///
    /// # Errors
    /// Rows with NaN or infinities, or so far apart that sums leave the range of f32.
    pub fn start(
        data: &'a Data<'a>,
        problems: &'a [Problem],
        curvature: &'a Curvature,
        penalty: impl Fn(&Problem) -> f64,
    ) -> Result<Self, Error> {
        let dim = data.rows.dim();
        let point = |problem: &Problem| {
            let mut point = vec![0.0; problem.targets.len() * dim];
            point.extend(problem.intercepts.iter().map(|start| if data.fit_intercept { *start } else { 0.0 }));
            point
        };
        let points: Vec<Vec<f64>> = problems.iter().map(point).collect();
        let layout = layout(problems.iter(), data.targets, data.shares.len());
        let views: Vec<&[f64]> = points.iter().map(Vec::as_slice).collect();
        let values = evaluate::<f32>(data, &layout, &views);
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        if !values.iter().all(|value| value.loss.is_finite() && finite(&value.gradient)) {
            check_values(data.rows)?;
        }
        let descents = problems.iter().zip(points).zip(values);
        let descents = descents
            .map(|((problem, point), value)| Descent::new((dim, problem.softmax), point, value, penalty(problem)));
        Ok(Self { data, problems, descents: descents.collect(), curvature })
    }

    /// Brings all problems to the goal, first in f32 and what that cannot finish in f64. Of a goal of error the end is
    /// always measured in f64.
    pub fn solve(&mut self, goal: Goal, max_iterations: u64) -> Vec<Ending> {
        let all: Vec<usize> = (0..self.problems.len()).collect();
        let mut endings = vec![Ending { solved: false, decrement: f64::INFINITY }; all.len()];
        let loose = match goal {
            Goal::Error(error) => Goal::Error(0.5 * error),
            Goal::Decrement(_) => goal,
        };
        self.descend::<f32>((loose, SINGLE), max_iterations, &all, &mut endings);
        let left: Vec<usize> = match goal {
            Goal::Error(_) => all,
            Goal::Decrement(_) => all.into_iter().filter(|&index| !endings[index].solved).collect(),
        };
        if !left.is_empty() {
            self.measure(&left);
            self.descend::<f64>((goal, DOUBLE), max_iterations, &left, &mut endings);
        }
        endings
    }

    /// Values in f64 where the problems are.
    fn measure(&mut self, problems: &[usize]) {
        let layout = self.layout(problems);
        let points: Vec<&[f64]> = problems.iter().map(|&index| self.descents[index].point()).collect();
        let values = evaluate::<f64>(self.data, &layout, &points);
        for (&index, value) in problems.iter().zip(values) {
            self.descents[index].set_value(value);
        }
    }

    fn layout(&self, problems: &[usize]) -> super::pass::Layout {
        let problems = problems.iter().map(|&index| &self.problems[index]);
        layout(problems, self.data.targets, self.data.shares.len())
    }

    fn descend<T: Number>(
        &mut self,
        (goal, precision): (Goal, Precision),
        max_iterations: u64,
        problems: &[usize],
        endings: &mut [Ending],
    ) {
        let mut open = problems.to_vec();
        let mut turning = vec![false; self.problems.len()];
        open.iter().for_each(|&index| turning[index] = true);
        let mut patience = vec![Patience::default(); self.problems.len()];
        let mut layout = self.layout(&open);
        loop {
            let before = open.len();
            self.turn((goal, precision.scaled), &turning, endings);
            open.retain(|&index| {
                let descent = &self.descents[index];
                let go_on = !turning[index] || patience[index].left(descent, precision);
                go_on && !endings[index].solved && descent.iterations < max_iterations
            });
            if open.is_empty() {
                return;
            }
            if open.len() < before {
                layout = self.layout(&open);
            }
            turning.fill(false);
            let trials: Vec<Vec<f64>> = open.iter().map(|&index| self.descents[index].trial()).collect();
            let points: Vec<&[f64]> = trials.iter().map(Vec::as_slice).collect();
            let values = evaluate::<T>(self.data, &layout, &points);
            let mut stuck = Vec::new();
            for ((&index, trial), value) in open.iter().zip(trials).zip(values) {
                match self.descents[index].receive(trial, value, precision.rounding) {
                    Trial::Moved => turning[index] = true,
                    Trial::Shorter => {}
                    Trial::Stuck => stuck.push(index),
                }
            }
            if !stuck.is_empty() {
                open.retain(|index| !stuck.contains(index));
                layout = self.layout(&open);
            }
        }
    }

    /// New directions where they are asked for, all at once.
    fn turn(&mut self, (goal, scaled): (Goal, bool), turning: &[bool], endings: &mut [Ending]) {
        let curvature = self.curvature;
        self.descents.par_iter_mut().zip(endings).zip(turning).filter(|(_, turning)| **turning).for_each(
            |((descent, ending), _)| {
                let decrement = descent.turn(curvature, scaled);
                *ending = Ending { solved: goal.reached(descent, decrement), decrement };
            },
        );
    }
}

/// Whether the objective still falls or the gradient still gets smaller.
#[derive(Debug, Clone, Copy)]
struct Patience {
    smallest: f64,
    lowest: f64,
    at: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { smallest: f64::INFINITY, lowest: f64::INFINITY, at: 0 }
    }
}

impl Patience {
    fn left(&mut self, descent: &Descent, precision: Precision) -> bool {
        let (gradient, objective) = (descent.relative_gradient(), descent.objective());
        let lower = objective < self.lowest - precision.rounding * (1.0 + objective.abs());
        if lower || gradient < PROGRESS * self.smallest {
            *self = Self {
                smallest: gradient.min(self.smallest),
                lowest: objective.min(self.lowest),
                at: descent.iterations,
            };
        }
        descent.iterations < self.at + precision.patience
    }
}

/// The preconditioner that pays for problems of so many columns: the whole matrix only where passes cost more.
pub(super) fn curvature(data: &Data<'_>, columns: usize, strengths: usize) -> Curvature {
    let (rows, dim) = (data.rows.count() as f64, data.rows.dim() as f64);
    let passes = 40.0 * strengths as f64 * 4.0 * rows * dim * columns as f64;
    if passes > REDUCTION * dim * dim * dim {
        Curvature::full(data.rows, &data.frame)
    } else {
        Curvature::round(data.rows, &data.frame)
    }
}
