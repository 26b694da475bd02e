//! A joint step of all variables of a column that are at no bound: what single coordinates do slowly where rows are
//! alike or C is large.
//!
//! Knows one column at a time. Invariant: variables stay in their box and the dual objective never rises; a column's
//! weights go with its variables.
//!
//! Moré, Toraldo, "On the solution of large quadratic programming problems with bound constraints", SIAM J. Optim. 1991:
//! conjugate gradients on the face, a projected search along what they find; coordinate descent chooses the face.

use super::loss::Goal;
use super::state::{Setting, State};
use crate::heads::kernel::{Real, Work, on_widest_registers};

/// The residual that conjugate gradients stop at, as a share of the first.
const RESIDUAL: f64 = 1e-3;

/// Halvings of a step at most.
const HALVINGS: u32 = 10;

/// Moves the free variables of `column` by at most `visits` reads of rows; false if that brought nothing.
pub(super) fn step_on_face(setting: &Setting<'_>, state: &mut State, column: usize, visits: usize) -> bool {
    on_widest_registers(FaceStep { setting, state, column, visits })
}

struct FaceStep<'s, 'a> {
    setting: &'s Setting<'a>,
    state: &'s mut State,
    column: usize,
    visits: usize,
}

/// A free variable.
struct Free {
    row: usize,
    goal: Goal,
    beta: f64,
    /// Derivative of the dual objective.
    gradient: f64,
}

impl Work for FaceStep<'_, '_> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Self { setting, state, column, visits } = self;
        let free = free_variables(setting, state, column);
        let steps = visits / (2 * free.len().max(1));
        if free.is_empty() || steps == 0 {
            return false;
        }
        let direction = direction(setting, &free, steps);
        let mut length = 1.0;
        for _ in 0..HALVINGS {
            if move_along(setting, state, (column, &free), (&direction, length)) {
                return true;
            }
            length *= 0.5;
        }
        false
    }
}

#[inline(always)]
fn free_variables(setting: &Setting<'_>, state: &State, column: usize) -> Vec<Free> {
    let (width, dim) = (state.width(), setting.problem.dim);
    let weights = &state.columns[column].weights;
    let mut free = Vec::new();
    for (row, x) in setting.problem.rows.iter().enumerate() {
        let at = row * width + column;
        let (c, beta) = (setting.c_of(row), state.beta[at]);
        let goal = Goal { target: state.goals[at], c };
        let (least, most) = setting.cost.bounds(goal);
        let epsilon = setting.cost.epsilon.unwrap_or(0.0);
        if c == 0.0 || beta <= least || beta >= most || (beta == 0.0 && epsilon > 0.0) {
            continue;
        }
        let output = f64::dot(x, &weights[..dim]) + setting.bias * weights[dim];
        let pull = if beta == 0.0 { 0.0 } else { epsilon.copysign(beta) };
        let gradient = output - goal.target + setting.cost.diagonal(goal) * beta + pull;
        free.push(Free { row, goal, beta, gradient });
    }
    free
}

/// Conjugate gradients on the free variables, scaled by the diagonal, from 0.
#[inline(always)]
fn direction(setting: &Setting<'_>, free: &[Free], steps: usize) -> Vec<f64> {
    let (problem, dim, cost) = (setting.problem, setting.problem.dim, setting.cost);
    let curvature = |one: &Free| {
        let square = problem.squares[one.row] + setting.bias * setting.bias + cost.diagonal(one.goal);
        if square > 0.0 { square } else { 1.0 }
    };
    let scale: Vec<f64> = free.iter().map(curvature).collect();
    let mut residual: Vec<f64> = free.iter().map(|one| -one.gradient).collect();
    let mut search: Vec<f64> = residual.iter().zip(&scale).map(|(r, s)| r / s).collect();
    let mut found = vec![0.0; free.len()];
    let mut product = vec![0.0; free.len()];
    let mut size: f64 = inner(&residual, &search);
    let enough = size * RESIDUAL * RESIDUAL;
    let mut sum = vec![0.0; dim + 1];
    for _ in 0..steps {
        if size <= enough {
            break;
        }
        sum.fill(0.0);
        for (one, &factor) in free.iter().zip(&search) {
            f64::add(&mut sum[..dim], factor, problem.rows[one.row]);
            sum[dim] += factor * setting.bias;
        }
        for ((one, &factor), out) in free.iter().zip(&search).zip(&mut product) {
            let output = f64::dot(problem.rows[one.row], &sum[..dim]) + setting.bias * sum[dim];
            *out = output + cost.diagonal(one.goal) * factor;
        }
        let bend = inner(&search, &product);
        // Flat: what is left over leads to a bound, which coordinates find.
        if bend <= 1e-14 * inner(&search, &search) * scale[0] {
            break;
        }
        let length = size / bend;
        for at in 0..found.len() {
            found[at] += length * search[at];
            residual[at] -= length * product[at];
        }
        let mut next = 0.0;
        for at in 0..found.len() {
            next += residual[at] * residual[at] / scale[at];
        }
        for at in 0..found.len() {
            search[at] = residual[at] / scale[at] + next / size * search[at];
        }
        size = next;
    }
    found
}

fn inner(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// Moves to the projection of a step onto the box, if the dual objective is lower there.
#[inline(always)]
fn move_along(
    setting: &Setting<'_>,
    state: &mut State,
    (column, free): (usize, &[Free]),
    (direction, length): (&[f64], f64),
) -> bool {
    let (problem, dim, cost) = (setting.problem, setting.problem.dim, setting.cost);
    let epsilon = cost.epsilon.unwrap_or(0.0);
    let mut change = vec![0.0; dim + 1];
    let mut moved = Vec::with_capacity(free.len());
    let mut fall = 0.0;
    for (one, step) in free.iter().zip(direction) {
        let (mut least, mut most) = cost.bounds(one.goal);
        // The kink at 0 ends this face, too.
        if epsilon > 0.0 {
            (least, most) = if one.beta > 0.0 { (0.0, most) } else { (least, 0.0) };
        }
        let beta = (one.beta + length * step).clamp(least, most);
        let by = beta - one.beta;
        f64::add(&mut change[..dim], by, problem.rows[one.row]);
        change[dim] += by * setting.bias;
        // The gradient's part and the diagonal's; what |w|² adds follows.
        fall += one.gradient * by + 0.5 * cost.diagonal(one.goal) * by * by;
        moved.push(beta);
    }
    fall += 0.5 * inner(&change, &change);
    let falls = fall < 0.0;
    if falls {
        let width = state.width();
        for (one, beta) in free.iter().zip(moved) {
            state.beta[one.row * width + column] = beta;
        }
        for (weight, change) in state.columns[column].weights.iter_mut().zip(&change) {
            *weight += change;
        }
    }
    falls
}
