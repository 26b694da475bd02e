//! From a checked problem to columns whose duality gap is as small as was asked, or as small as it got.
//!
//! Knows stages and precisions. Invariant: a gap that is handed out was measured in f64 over all rows; the same problem
//! and seed give the same bits for any number of threads, as columns are dealt to threads in groups of fixed size.

use rayon::prelude::*;

use super::descent::{Stage, descend};
use super::face::step_on_face;
use super::interior::interior;
use super::newton::newton;
use super::problem::Problem;
use super::state::{Setting, State};
use crate::heads::kernel::Real;

/// Columns that share a pass: their weights and a row lie in the first-level cache together.
const GROUP: usize = 4;

/// Reads of rows in a stage at most, as a multiple of their number; then weights are summed up anew, so that rounding
/// cannot pile up, and all variables take a step together.
const STAGE: usize = 10;

/// Reads of rows for that step, as a multiple of their number.
const FACE: usize = 5;

/// Relative gap that passes in f32 are good for.
const SINGLE: f64 = 1e-5;

/// A stage that leaves more than this share of a gap has come to the end of its precision.
const STUCK: f64 = 0.9;

/// The relative gap after the first stage from which on Newton's steps are cheaper than another.
const FAR: f64 = 0.1;

/// Stages after which their pace says how many are to come.
const SURE: usize = 5;

/// An interior point method costs as much as a stage for each so many numbers in a row, where rows are many.
const DIMENSIONS: f64 = 12.0;

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
    let mut ways: Vec<Way> = state.columns.iter().map(|column| Way::from(column.gap)).collect();
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
            .zip(&ways)
            .map(|(column, way)| way.patience * limits.tolerance * column.primal)
            .collect();
        let done = open.iter().map(|&column| state.columns[column].passes).max().unwrap_or(0);
        let rows = setting.problem.rows.len();
        let stage = Stage { passes: limits.passes - done, visits: STAGE * rows, seed: limits.seed, number: stages };
        descend::<F>(setting, state, (&open, &targets), stage);
        state.measure(setting, &open);
        stages += 1;
        for &column in &open {
            ways[column].follow(setting, state, column, limits);
        }
        let stuck = |&column: &usize| state.columns[column].gap > STUCK * before[column];
        if open.iter().all(stuck) && size_of::<F>() < size_of::<f64>() {
            return;
        }
    }
}

/// How a column fares in one precision.
struct Way {
    /// The share of the allowed gap at which a stage ends.
    patience: f64,
    /// The gap at the start and after each stage.
    gaps: Vec<f64>,
    /// Whether an interior point method has done what it can.
    been_inside: bool,
}

impl Way {
    fn from(gap: f64) -> Self {
        Self { patience: 0.5, gaps: vec![gap], been_inside: false }
    }

    /// After a stage: what else brings a column nearer that is not there yet.
    fn follow(&mut self, setting: &Setting<'_>, state: &mut State, column: usize, limits: Limits) {
        let found = &state.columns[column];
        let allowed = limits.tolerance * found.primal;
        self.gaps.push(found.gap);
        if found.gap <= allowed {
            return;
        }
        self.patience *= 0.5;
        let slow = self.gaps.len() > 2 || found.gap > FAR * found.primal;
        let (rows, dim) = (setting.problem.rows.len() as f64, setting.problem.dim as f64);
        if setting.cost.squared {
            if slow && newton(setting, state, column, limits) {
                return;
            }
        } else if !self.been_inside && self.is_long(dim / DIMENSIONS * (1.0 + dim / (3.0 * rows)), allowed) {
            self.been_inside = true;
            if interior(setting, state, column, limits) {
                return;
            }
        }
        step_on_face(setting, state, column, FACE * setting.problem.rows.len());
    }

    /// Whether at the pace of the last two stages more than `many` others are needed, or as many have not been enough.
    fn is_long(&self, many: f64, allowed: f64) -> bool {
        let last = self.gaps.len() - 1;
        if last < SURE {
            return false;
        }
        let pace = 0.5 * (self.gaps[last - 2] / self.gaps[last]).ln();
        // Written so that no pace, or NaN, is long.
        let short = pace > 0.0 && (self.gaps[last] / allowed).ln() <= many * pace;
        !short || last as f64 > 2.0 * many
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_long_by_its_pace_or_by_what_it_took() {
        let way = |gaps: &[f64]| Way { gaps: gaps.to_vec(), ..Way::from(1.0) };
        let falling = [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125];
        // Five more halvings to a thousandth.
        assert!(!way(&falling).is_long(5.0, 1e-3));
        assert!(way(&falling).is_long(4.9, 1e-3));
        assert!(!way(&falling[..5]).is_long(0.1, 1e-3), "the first stages say little");
        assert!(way(&[1.0, 0.9, 0.8, 0.7, 0.6, 0.9]).is_long(1e9, 1e-3), "further off than two stages before");
        assert!(way(&[1.0, 0.9, 0.8, 0.7, 0.6, f64::NAN]).is_long(1e9, 1e-3));
        let mut many = vec![1.0; 40];
        many.extend([0.1, 0.01, 2e-3]);
        assert!(!way(&many).is_long(21.0, 1e-3) && way(&many).is_long(20.0, 1e-3));
    }
}
