//! From a checked problem to columns whose duality gap is as small as was asked, or as small as it got.
//!
//! Knows stages and precisions. Invariant: a gap that is handed out was measured in f64 over all rows; the same problem
//! and seed give the same bits for any number of threads, as columns are dealt to threads in groups of fixed size.

use rayon::prelude::*;

use super::descent::{Stage, descend};
use super::kernel::Real;
use super::problem::Problem;
use super::state::{Setting, State};

/// Columns that share a pass: their weights and a row lie in the first-level cache together.
const GROUP: usize = 4;

/// Passes of a stage at most; then weights are summed up anew, so that rounding cannot pile up.
const STAGE: u64 = 100;

/// Relative gap that passes in f32 are good for.
const SINGLE: f64 = 1e-5;

/// A stage that leaves more than this share of a gap has come to the end of its precision.
const STUCK: f64 = 0.9;

/// Norms of rows between which products in f32 neither vanish nor overflow.
const SINGLE_NORMS: std::ops::Range<f64> = 1e-6..1e6;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Largest allowed gap, as a share of the objective.
    pub tolerance: f64,
    /// Passes at most, by column.
    pub passes: u64,
    /// Start of the permutations.
    pub seed: u64,
}

/// All columns of a problem, all variables 0.
pub(super) fn start(problem: &Problem<'_>) -> Vec<State> {
    let columns = problem.columns();
    (0..columns).step_by(GROUP).map(|first| State::new(problem, first..columns.min(first + GROUP))).collect()
}

/// Brings the columns of all groups to the optimum, in parallel on the current rayon pool.
pub(super) fn solve(setting: &Setting<'_>, groups: &mut [State], limits: Limits) {
    groups.par_iter_mut().for_each(|state| solve_group(setting, state, limits));
}

fn solve_group(setting: &Setting<'_>, state: &mut State, limits: Limits) {
    let all: Vec<usize> = (0..state.width()).collect();
    state.measure(setting, &all);
    let norms = setting.problem.squares.iter().map(|square| square.sqrt());
    let (least, most) = norms.filter(|norm| *norm > 0.0).fold((1.0_f64, 1.0_f64), |(a, b), n| (a.min(n), b.max(n)));
    if SINGLE_NORMS.contains(&least) && SINGLE_NORMS.contains(&most) {
        improve::<f32>(setting, state, Limits { tolerance: limits.tolerance.max(SINGLE), ..limits });
    }
    improve::<f64>(setting, state, limits);
}

/// Stages in one precision, until all columns are there, or it can do no more for any.
fn improve<F: Real>(setting: &Setting<'_>, state: &mut State, limits: Limits) {
    let mut patience = vec![0.5; state.width()];
    let mut stages = 0;
    loop {
        let open: Vec<usize> = (0..state.width())
            .filter(|&column| {
                let found = &state.columns[column];
                // Written so that NaN goes on.
                let there = found.gap <= limits.tolerance * found.primal;
                !there && found.passes < limits.passes
            })
            .collect();
        if open.is_empty() {
            return;
        }
        let before: Vec<f64> = state.columns.iter().map(|column| column.gap).collect();
        let targets: Vec<f64> = state
            .columns
            .iter()
            .zip(&patience)
            .map(|(column, patience)| patience * limits.tolerance * column.primal)
            .collect();
        let done = open.iter().map(|&column| state.columns[column].passes).max().unwrap_or(0);
        let passes = STAGE.min(limits.passes - done);
        descend::<F>(setting, state, (&open, &targets), Stage { passes, seed: limits.seed, number: stages });
        state.measure(setting, &open);
        stages += 1;
        for &column in &open {
            let found = &state.columns[column];
            if found.gap > limits.tolerance * found.primal {
                patience[column] *= 0.5;
            }
        }
        let stuck = |&column: &usize| state.columns[column].gap > STUCK * before[column];
        if open.iter().all(stuck) && size_of::<F>() < size_of::<f64>() {
            return;
        }
    }
}
