//! Passes of dual coordinate descent over a few columns at once, with shrinking.
//!
//! Knows one stage: from measured columns until each of them seems to be as near as was asked. Invariant: what happens
//! to a column depends on the columns beside it and the seed, not on time or threads; variables never leave their box.
//!
//! Hsieh, Chang, Lin, Keerthi, Sundararajan, "A dual coordinate descent method for large-scale linear SVM", ICML 2008;
//! Ho, Lin, "Large-scale linear support vector regression", JMLR 2012. A row is read once for all columns that still
//! move on it, and its terms of the duality gap are summed on the way.

use super::loss::Goal;
use super::state::{Setting, State};
use crate::heads::kernel::{Real, Work, on_widest_registers};
use crate::heads::random::Random;

/// A violation this small moves nothing.
const STILL: f64 = 1e-14;

/// The share of a pass's largest violation that a variable must be pressed against its bound by to be left out of the
/// next. liblinear's is 1; what is left out too early comes back with the next stage.
const SHARE: f64 = 0.3;

/// When a stage ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    /// Passes at most.
    pub passes: u64,
    /// Rows read at most; the pass in which that happens is completed.
    pub visits: usize,
    /// Start of all permutations.
    pub seed: u64,
    /// Which of the stages that share it.
    pub number: u64,
}

/// Runs one stage on the columns of `which`: each until the gap summed over a pass is at most its value in `targets`.
/// Weights of the columns are left as they were; `State::measure` follows.
pub(super) fn descend<F: Real>(
    setting: &Setting<'_>,
    state: &mut State,
    (which, targets): (&[usize], &[f64]),
    stage: Stage,
) {
    let (width, dim, rows) = (state.width(), setting.problem.dim, setting.problem.rows.len());
    let mut active = vec![false; rows * width];
    let mut live = Vec::with_capacity(rows);
    for row in (0..rows).filter(|&row| setting.c_of(row) > 0.0) {
        live.push(row as u32);
        which.iter().for_each(|&column| active[row * width + column] = true);
    }
    let mut weights = vec![F::of(0.0); width * dim];
    let mut bias = vec![0.0; width];
    for &column in which {
        let found = &state.columns[column].weights;
        weights[column * dim..(column + 1) * dim].iter_mut().zip(found).for_each(|(to, from)| *to = F::of(*from));
        bias[column] = found[dim];
    }
    let mut random = Random::new(stage.seed ^ (stage.number << 32));
    let mut running = which.to_vec();
    let mut ceilings: Vec<f64> = state.columns.iter().map(|column| column.ceiling).collect();
    let mut visits = 0;
    for _ in 0..stage.passes {
        random.shuffle(&mut live);
        visits += live.len();
        let sums = on_widest_registers(Pass::<F> {
            setting,
            goals: &state.goals,
            beta: &mut state.beta,
            live: &mut live,
            active: &mut active,
            weights: &mut weights,
            bias: &mut bias,
            ceilings: &ceilings,
        });
        running.retain(|&column| {
            state.columns[column].passes += 1;
            let worst = sums[column].worst;
            ceilings[column] = if worst > 0.0 { SHARE * worst } else { f64::INFINITY };
            let goes_on = sums[column].gap > targets[column];
            if !goes_on {
                live.iter().for_each(|&row| active[row as usize * width + column] = false);
            }
            goes_on
        });
        if running.is_empty() || visits > stage.visits {
            break;
        }
    }
    state.columns.iter_mut().zip(ceilings).for_each(|(column, ceiling)| column.ceiling = ceiling);
}

/// What a pass says about a column.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// Terms of the gap of the rows visited, each as it was when its row was read.
    gap: f64,
    /// Largest violation.
    worst: f64,
}

/// One visit of each live row.
struct Pass<'s, 'a, F> {
    setting: &'s Setting<'a>,
    goals: &'s [f64],
    beta: &'s mut [f64],
    /// Rows with an active variable; those that lose their last leave.
    live: &'s mut Vec<u32>,
    /// Variables that may move, rows × columns.
    active: &'s mut [bool],
    weights: &'s mut [F],
    bias: &'s mut [f64],
    /// Largest violation of the pass before: what is pressed harder against its bound than that is left out.
    ceilings: &'s [f64],
}

impl<F: Real> Work for Pass<'_, '_, F> {
    type Output = Vec<Sums>;

    #[inline(always)]
    fn run(self) -> Vec<Sums> {
        let Self { setting, goals, beta, live, active, weights, bias, ceilings } = self;
        let (width, dim, cost) = (bias.len(), setting.problem.dim, setting.cost);
        let mut sums = vec![Sums::default(); width];
        let mut kept = 0;
        // A plain loop: what a call takes as a closure is not compiled for the widest registers.
        for place in 0..live.len() {
            let row = live[place] as usize;
            let (x, c) = (setting.problem.rows[row], setting.c_of(row));
            let square = setting.problem.squares[row] + setting.bias * setting.bias;
            let mut stays = false;
            for column in 0..width {
                let at = row * width + column;
                if !active[at] {
                    continue;
                }
                let column_weights = &mut weights[column * dim..(column + 1) * dim];
                let goal = Goal { target: goals[at], c };
                let output = F::dot(x, column_weights) + setting.bias * bias[column];
                sums[column].gap += cost.gap(goal, output, beta[at]);
                let (bounds, diagonal) = (cost.bounds(goal), cost.diagonal(goal));
                let gradient = output - goal.target + diagonal * beta[at];
                let standing = cost.standing(gradient, beta[at], bounds);
                if standing.pressed > ceilings[column] {
                    active[at] = false;
                    continue;
                }
                stays = true;
                sums[column].worst = sums[column].worst.max(standing.violation);
                if standing.violation > STILL {
                    let best = cost.best(gradient, beta[at], square + diagonal, bounds);
                    let step = best - beta[at];
                    beta[at] = best;
                    F::add(column_weights, step, x);
                    bias[column] += step * setting.bias;
                }
            }
            if stays {
                live[kept] = row as u32;
                kept += 1;
            }
        }
        live.truncate(kept);
        sums
    }
}
