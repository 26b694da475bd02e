//! An interior point method for linear losses, for columns that coordinates bring to the optimum too slowly: large C.
//!
//! Knows one column at a time. Invariant: variables stay strictly inside their box and the weights are the sums that they
//! make, so every point has a duality gap; a column is changed only if its gap becomes smaller.
//!
//! Mehrotra, "On the implementation of a primal-dual interior point method", SIAM J. Optim. 1992, on the dual of support
//! vectors, whose Newton systems are of the width of a row: Ferris, Munson, "Interior-point methods for massive support
//! vector machines", SIAM J. Optim. 2002. How many steps it takes hardly depends on C or the scale of the rows.

use super::loss::Goal;
use super::products::{combine, curvature, outputs};
use super::solver::Limits;
use super::state::{Setting, State};
use crate::heads::cholesky::Cholesky;

/// Steps at most; fifteen to thirty are usual.
const STEPS: u64 = 80;

/// Steps that may follow the best one; the first may leave it behind.
const IN_VAIN: u32 = 10;

/// The widest rows that a matrix of their products is made for.
const WIDEST: usize = 2048;

/// The share of the allowed gap that is aimed at: rounding of the variables that are handed out takes some.
const NEARER: f64 = 0.9;

/// The share of its box that a variable keeps from both ends at the start, from that at 0 no more than the usual size.
const INSIDE: f64 = 0.01;

/// The share of the way to the nearest end of the box that a step may take.
const BEFORE_END: f64 = 0.995;

/// What is added to the diagonal of a system, as a share of its sum: near the end the system's numbers are so far apart
/// that rounding could leave it without factors.
const ROUNDING: f64 = 8.0 * f64::EPSILON;

/// Correctors at most that keep products together, how much farther each wants a step to go, the share of that which it
/// has to bring, and the shares of the mean between which products may lie: Gondzio, "Multiple centrality corrections in
/// a primal-dual method for linear programming", 1996.
const CORRECTORS: u32 = 3;
const FARTHER: f64 = 0.3;
const LONGER: f64 = 0.1;
const LEAST: f64 = 0.1;
const MOST: f64 = 10.0;

/// Brings a column nearer to the optimum, within the tolerance if rounding lets it; false, and nothing changed, if that
/// fails or is not the way for this problem.
pub(super) fn interior(setting: &Setting<'_>, state: &mut State, column: usize, limits: Limits) -> bool {
    let steps = STEPS.min(limits.passes.saturating_sub(state.columns[column].passes));
    if setting.cost.squared || setting.problem.dim > WIDEST || steps == 0 {
        return false;
    }
    let mut point = Point::start(setting, state, column);
    let mut best: Option<(f64, Vec<f64>)> = None;
    let (mut taken, mut in_vain) = (0, 0);
    loop {
        let (gap, primal) = point.gap(setting);
        in_vain += 1;
        if best.as_ref().is_none_or(|(least, _)| gap < *least) {
            best = Some((gap, point.beta()));
            in_vain = 0;
        }
        if gap <= NEARER * limits.tolerance * primal
            || taken == steps
            || in_vain == IN_VAIN
            || point.advance(setting).is_none()
        {
            break;
        }
        taken += 1;
    }
    let found = &mut state.columns[column];
    found.passes += taken;
    let Some((gap, beta)) = best.filter(|(gap, _)| *gap < found.gap) else { return false };
    found.gap = gap;
    let width = state.width();
    state.beta.iter_mut().skip(column).step_by(width).zip(beta).for_each(|(to, beta)| *to = beta);
    state.measure(setting, &[column]);
    true
}

/// One half of a row's variable β: β = Σ sign·value over its halves. A class has one, a number two.
#[derive(Debug, Clone, Copy)]
struct Half {
    sign: f64,
    /// How much it costs, ε − sign·target.
    cost: f64,
    /// Its value, and what is left of its box, C − value: both above 0.
    value: f64,
    room: f64,
    /// The multipliers of the two.
    low: f64,
    high: f64,
}

/// What the products of value and room with their multipliers should become, to first order.
#[derive(Debug, Clone, Copy, Default)]
struct Aim {
    low: f64,
    high: f64,
}

/// The change of a half.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    value: f64,
    low: f64,
    high: f64,
}

impl Half {
    fn gradient(&self, output: f64) -> f64 {
        self.sign * output + self.cost
    }

    /// The inverse of what the ends of the box add to the curvature.
    fn freedom(&self) -> f64 {
        1.0 / (self.low / self.value + self.high / self.room)
    }

    /// Where the aims draw the value, less where its gradient does.
    fn pull(&self, output: f64, aim: Aim) -> f64 {
        aim.low / self.value - aim.high / self.room - self.gradient(output)
    }

    /// The change towards `aim` that goes with a change `by` of the row's output.
    fn change(&self, (output, by): (f64, f64), aim: Aim) -> Change {
        let value = self.freedom() * (self.pull(output, aim) - self.sign * by);
        Change {
            value,
            low: (aim.low - self.low * value) / self.value - self.low,
            high: (aim.high + self.high * value) / self.room - self.high,
        }
    }

    fn moved(mut self, length: f64, change: Change) -> Self {
        self.value += length * change.value;
        self.room -= length * change.value;
        self.low += length * change.low;
        self.high += length * change.high;
        self
    }

    fn products(&self) -> Aim {
        Aim { low: self.value * self.low, high: self.room * self.high }
    }

    /// How much of a change leaves everything above 0.
    fn longest(&self, change: Change) -> f64 {
        let pairs =
            [(self.value, change.value), (self.room, -change.value), (self.low, change.low), (self.high, change.high)];
        pairs.into_iter().filter(|(_, by)| *by < 0.0).fold(f64::INFINITY, |most, (from, by)| most.min(-from / by))
    }
}

/// What variables are like where no bound is in the way: their mean, or what the targets are for a mean row.
fn usual_size(setting: &Setting<'_>, state: &State, column: usize) -> f64 {
    let of_column = |all: &[f64]| all.iter().skip(column).step_by(state.width()).map(|one| one.abs()).sum::<f64>();
    let rows = state.goals.len() as f64 / state.width() as f64;
    let squares = setting.problem.squares.iter().sum::<f64>() + rows * setting.bias * setting.bias;
    let alone = of_column(&state.goals) / squares;
    let mean = of_column(&state.beta) / rows;
    // Rows of zeros say nothing.
    if alone.is_finite() && alone > 0.0 { mean.max(alone) } else { f64::INFINITY }
}

/// A point inside the box.
struct Point {
    /// Rows × halves of each.
    halves: Vec<Half>,
    /// Halves of a row.
    per_row: usize,
    goals: Vec<Goal>,
    weights: Vec<f64>,
    outputs: Vec<f64>,
}

impl Point {
    /// The variables of a column, moved away from the ends of their box.
    fn start(setting: &Setting<'_>, state: &State, column: usize) -> Self {
        let rows = setting.problem.rows.len();
        let goal = |row: usize| Goal { target: state.goals[row * state.width() + column], c: setting.c_of(row) };
        let goals: Vec<Goal> = (0..rows).map(goal).collect();
        let near = usual_size(setting, state, column);
        let mut halves = Vec::new();
        for (row, goal) in goals.iter().enumerate() {
            let beta = state.beta[row * state.width() + column];
            let signs: &[f64] = if setting.cost.epsilon.is_some() { &[1.0, -1.0] } else { &[goal.target] };
            for &sign in signs {
                let value = (sign * beta).clamp(near.min(INSIDE * goal.c), (1.0 - INSIDE) * goal.c);
                let cost = setting.cost.epsilon.map_or(-1.0, |epsilon| epsilon - sign * goal.target);
                halves.push(Half { sign, cost, value, room: goal.c - value, low: 0.0, high: 0.0 });
            }
        }
        let per_row = halves.len() / rows;
        let mut point = Self { halves, per_row, goals, weights: Vec::new(), outputs: Vec::new() };
        point.refresh(setting);
        let mut size = 0.0;
        for at in 0..point.halves.len() {
            size += point.halves[at].gradient(point.outputs[at / per_row]).abs();
        }
        let more = size / point.halves.len() as f64;
        for (at, half) in point.halves.iter_mut().enumerate() {
            let gradient = half.gradient(point.outputs[at / per_row]);
            (half.low, half.high) = (gradient.max(0.0) + more, (-gradient).max(0.0) + more);
        }
        point
    }

    /// Signed variables.
    fn beta(&self) -> Vec<f64> {
        let of_row = |halves: &[Half]| halves.iter().map(|half| half.sign * half.value).sum();
        self.halves.chunks(self.per_row).map(of_row).collect()
    }

    /// Weights and outputs from the variables.
    fn refresh(&mut self, setting: &Setting<'_>) {
        self.weights = combine(setting, &self.beta());
        self.outputs = outputs(setting, &self.weights);
    }

    /// The duality gap, and the primal objective.
    fn gap(&self, setting: &Setting<'_>) -> (f64, f64) {
        let mut primal = 0.5 * self.weights.iter().map(|w| w * w).sum::<f64>();
        let mut gap = 0.0;
        for ((&goal, &output), beta) in self.goals.iter().zip(&self.outputs).zip(self.beta()) {
            if goal.c > 0.0 {
                primal += setting.cost.of_output(goal, output);
                gap += setting.cost.gap(goal, output, beta);
            }
        }
        (gap, primal)
    }

    /// One step: a predictor, a corrector, and further ones that keep products together as long as they lengthen it;
    /// none where rounding leaves none.
    fn advance(&mut self, setting: &Setting<'_>) -> Option<()> {
        let freedom = self
            .halves
            .chunks(self.per_row)
            .zip(&self.goals)
            .map(|(halves, goal)| if goal.c > 0.0 { halves.iter().map(Half::freedom).sum() } else { 0.0 });
        let mut matrix = curvature(setting, &freedom.collect::<Vec<f64>>());
        let rounding = ROUNDING * matrix.diag().sum();
        matrix.diag_mut().iter_mut().for_each(|value| *value += rounding);
        let factored = Cholesky::of(matrix)?;
        let mut aims = vec![Aim::default(); self.halves.len()];
        let predicted = self.changes(setting, &factored, &aims);
        let length = self.longest(&predicted).min(1.0);
        let now = self.mean_product(0.0, &predicted);
        let middle = now * (self.mean_product(length, &predicted) / now).powi(3);
        if !(middle > 0.0 && middle.is_finite()) {
            return None;
        }
        for (aim, change) in aims.iter_mut().zip(&predicted) {
            *aim = Aim { low: middle - change.value * change.low, high: middle + change.value * change.high };
        }
        let mut changes = self.changes(setting, &factored, &aims);
        let mut length = self.longest(&changes).min(1.0);
        for _ in 0..CORRECTORS {
            let tried = (length + FARTHER).min(1.0);
            for ((aim, half), &change) in aims.iter_mut().zip(&self.halves).zip(&changes) {
                let products = half.moved(tried, change).products();
                let missing =
                    |product: f64| (product.clamp(LEAST * middle, MOST * middle) - product).max(-MOST * middle);
                *aim = Aim { low: aim.low + missing(products.low), high: aim.high + missing(products.high) };
            }
            let others = self.changes(setting, &factored, &aims);
            let reached = self.longest(&others).min(1.0);
            if reached < length + LONGER * FARTHER {
                break;
            }
            (changes, length) = (others, reached);
        }
        // Where a whole step is free to go, it ends before the box does, too.
        let length = (BEFORE_END * self.longest(&changes)).min(length);
        if !(length > 0.0 && length.is_finite()) {
            return None;
        }
        self.halves.iter_mut().zip(&changes).for_each(|(half, change)| *half = half.moved(length, *change));
        self.refresh(setting);
        self.outputs.iter().all(|output| output.is_finite()).then_some(())
    }

    /// Changes of all halves towards `aims`, to first order.
    fn changes(&self, setting: &Setting<'_>, factored: &Cholesky, aims: &[Aim]) -> Vec<Change> {
        let mut pulls = vec![0.0; self.goals.len()];
        for (at, (half, &aim)) in self.halves.iter().zip(aims).enumerate() {
            let row = at / self.per_row;
            if self.goals[row].c > 0.0 {
                pulls[row] += half.sign * half.freedom() * half.pull(self.outputs[row], aim);
            }
        }
        let mut direction = combine(setting, &pulls);
        factored.solve(&mut direction);
        let by = outputs(setting, &direction);
        let change = |(at, (half, &aim)): (usize, (&Half, &Aim))| {
            let row = at / self.per_row;
            if self.goals[row].c > 0.0 { half.change((self.outputs[row], by[row]), aim) } else { Change::default() }
        };
        self.halves.iter().zip(aims).enumerate().map(change).collect()
    }

    /// The mean of all products after `length` of the changes.
    fn mean_product(&self, length: f64, changes: &[Change]) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        for (at, (half, &change)) in self.halves.iter().zip(changes).enumerate() {
            if self.goals[at / self.per_row].c > 0.0 {
                let products = half.moved(length, change).products();
                sum += products.low + products.high;
                count += 2.0;
            }
        }
        sum / count
    }

    fn longest(&self, changes: &[Change]) -> f64 {
        self.halves.iter().zip(changes).fold(f64::INFINITY, |most, (half, &change)| most.min(half.longest(change)))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::heads::fixture::drawn;
    use crate::heads::rows::Matrix;
    use crate::heads::svm::loss::Cost;
    use crate::heads::svm::problem::Problem;
    use crate::heads::trainer::{LabelledRows, Targets};

    /// What is left of the gap, as a share, and how many steps that took, from variables that are all 0.
    fn reached(rows: &Array2<f32>, targets: &Targets, (epsilon, c): (Option<f64>, f64)) -> (f64, u64) {
        let matrix = Matrix::of(rows.view()).unwrap();
        let weights: Vec<f64> = (0..rows.nrows()).map(|row| [1.0, 0.0, 2.5][row % 3]).collect();
        let data = LabelledRows { rows: &matrix, targets, weights: Some(&weights) };
        let problem = Problem::new(&data);
        let setting = Setting { problem: &problem, cost: Cost { squared: false, epsilon }, c, bias: 1.0 };
        let mut state = State::new(&problem, 0..1);
        state.measure(&setting, &[0]);
        assert!(interior(&setting, &mut state, 0, Limits { tolerance: 1e-5, passes: 1000, seed: 0 }));
        for (row, (&beta, &target)) in state.beta.iter().zip(&state.goals).enumerate() {
            let (least, most) = setting.cost.bounds(Goal { target, c: setting.c_of(row) });
            assert!(least <= beta && beta <= most, "row {row}: {beta} is not within {least} and {most}");
        }
        let passes = state.columns[0].passes;
        let measured = state.columns[0].clone();
        state.measure(&setting, &[0]);
        assert_eq!(state.columns[0], measured);
        (measured.relative_gap(), passes)
    }

    #[test]
    fn steps_hardly_depend_on_c_and_scale() {
        let (rows, numbers, classes) = drawn((300, 9), 21);
        let classes = Targets::Classes { of: classes, classes: 2 };
        let numbers = Targets::Numbers(numbers);
        for (targets, epsilon) in [(&classes, None), (&numbers, Some(0.0)), (&numbers, Some(0.2))] {
            for (c, scale) in [(1.0, 1.0), (1e3, 1.0), (1e5, 1.0), (1.0, 100.0), (100.0, 100.0)] {
                let (gap, steps) = reached(&rows.mapv(|x| x * scale), targets, (epsilon, c));
                assert!(gap <= 1e-5 && steps <= 40, "{epsilon:?}, C {c}, rows × {scale}: {gap:e} in {steps}");
            }
        }
    }

    #[test]
    fn a_squared_loss_and_a_step_that_is_not_allowed_change_nothing() {
        let (rows, _, classes) = drawn((30, 4), 2);
        let targets = Targets::Classes { of: classes, classes: 2 };
        let matrix = Matrix::of(rows.view()).unwrap();
        let problem = Problem::new(&LabelledRows { rows: &matrix, targets: &targets, weights: None });
        for (squared, passes) in [(true, 100), (false, 0)] {
            let setting = Setting { problem: &problem, cost: Cost { squared, epsilon: None }, c: 1e4, bias: 1.0 };
            let mut state = State::new(&problem, 0..1);
            state.measure(&setting, &[0]);
            let (beta, columns) = (state.beta.clone(), state.columns.clone());
            assert!(!interior(&setting, &mut state, 0, Limits { tolerance: 1e-3, passes, seed: 0 }));
            assert_eq!((state.beta, state.columns), (beta, columns));
        }
    }
}
