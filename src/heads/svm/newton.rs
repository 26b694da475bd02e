//! Newton's method on the primal of a squared loss, for columns that coordinates bring to the optimum too slowly: large C.
//!
//! Knows one column at a time. Invariant: the primal objective never rises; a column is changed only if the gap between
//! its weights and the variables that these weights make is within the tolerance.
//!
//! Keerthi, DeCoste, "A modified finite Newton method for fast solution of large scale linear SVMs", JMLR 2005; the dual
//! point for weights w is β = 2·C·missing·sign, the gap of the two is then ½|w − Σ β·x|², half the squared gradient.

use ndarray::{Array2, linalg::general_mat_mul};

use super::kernel::{Real, Work, on_widest_registers};
use super::loss::Goal;
use super::solver::Limits;
use super::state::{Setting, State};

/// Steps at most; about ten are usual.
const STEPS: u64 = 60;

/// Halvings of a step at most.
const HALVINGS: u32 = 30;

/// Rows of one product.
const BLOCK: usize = 256;

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
        let Some(direction) = solve(hessian(setting, &point.beta), &point.gradient) else { return false };
        let slopes = on_widest_registers(Outputs { setting, weights: &direction });
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

struct Outputs<'s, 'a> {
    setting: &'s Setting<'a>,
    weights: &'s [f64],
}

impl Work for Outputs<'_, '_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run(self) -> Vec<f64> {
        let (problem, dim) = (self.setting.problem, self.setting.problem.dim);
        let constant = self.setting.bias * self.weights[dim];
        let mut outputs = Vec::with_capacity(problem.rows.len());
        for x in &problem.rows {
            outputs.push(f64::dot(x, &self.weights[..dim]) + constant);
        }
        outputs
    }
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
        let outputs = Outputs { setting, weights }.run();
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

/// I + Σ 2·C·x·xᵀ over the rows with a loss, the constant feature last.
fn hessian(setting: &Setting<'_>, beta: &[f64]) -> Array2<f64> {
    let dim = setting.problem.dim;
    let mut sum = Array2::eye(dim + 1);
    let with_loss: Vec<usize> = (0..beta.len()).filter(|&row| beta[row] != 0.0).collect();
    let mut block = Array2::<f64>::zeros((BLOCK, dim + 1));
    for rows in with_loss.chunks(BLOCK) {
        for (mut out, &row) in block.rows_mut().into_iter().zip(rows) {
            let root = (2.0 * setting.c_of(row)).sqrt();
            for (out, &x) in out.iter_mut().zip(setting.problem.rows[row]) {
                *out = root * f64::from(x);
            }
            out[dim] = root * setting.bias;
        }
        let block = block.slice(ndarray::s![..rows.len(), ..]);
        general_mat_mul(1.0, &block.t(), &block, 1.0, &mut sum);
    }
    sum
}

/// −matrix⁻¹·vector by Cholesky's factors; none if rounding leaves the matrix without them.
fn solve(mut matrix: Array2<f64>, vector: &[f64]) -> Option<Vec<f64>> {
    let size = vector.len();
    for row in 0..size {
        for column in 0..=row {
            let (above, below) = matrix.view().split_at(ndarray::Axis(0), row);
            let left = below.row(0);
            let left = left.as_slice()?;
            let upper = if column < row { above.row(column).to_slice()? } else { left };
            let rest = left[column] - dot(&left[..column], &upper[..column]);
            matrix[[row, column]] = if column < row {
                rest / upper[column]
            } else if rest > 0.0 {
                rest.sqrt()
            } else {
                return None;
            };
        }
    }
    let mut found: Vec<f64> = vector.iter().map(|value| -value).collect();
    for row in 0..size {
        let factors = matrix.row(row);
        found[row] = (found[row] - dot(&factors.as_slice()?[..row], &found[..row])) / factors[row];
    }
    for row in (0..size).rev() {
        found[row] /= matrix[[row, row]];
        let value = found[row];
        for column in 0..row {
            found[column] -= matrix[[row, column]] * value;
        }
    }
    found.iter().all(|value| value.is_finite()).then_some(found)
}

/// Eight running sums, so that the compiler may use vector registers.
fn dot(one: &[f64], other: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, a_rest) = one.as_chunks::<8>();
    let (b, b_rest) = other.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_by_factors() {
        let matrix = ndarray::array![[4.0, 2.0, 0.0], [2.0, 5.0, 1.0], [0.0, 1.0, 3.0]];
        let found = solve(matrix.clone(), &[2.0, -1.0, 4.0]).unwrap();
        for (row, want) in matrix.rows().into_iter().zip([-2.0, 1.0, -4.0]) {
            assert!((row.dot(&ndarray::arr1(&found)) - want).abs() < 1e-12);
        }
        assert!(solve(ndarray::array![[1.0, 2.0], [2.0, 1.0]], &[1.0, 1.0]).is_none());
    }
}
