//! One strength on many rows: products of the rows in f32, and coefficients corrected by gradients in f64 until they are
//! as near as those of products in f64.
//!
//! Knows no folds and no second strength. Invariant: what is handed out is within the tolerance by the gradient on the
//! rows as they came in; whatever f32 cannot do is left to products in f64.
//!
//! Iterative refinement: Higham, "Accuracy and stability of numerical algorithms", 2002, chapter 12.

use ndarray::Array2;

use super::middle::{Judged, Middle};
use crate::heads::cholesky::Cholesky;
use crate::heads::moments::Moments;
use crate::heads::sample::{Origin, Sample};

/// Products of numbers from which on f32 is worth the corrections.
const MANY: usize = 50_000_000;

/// Corrections at most.
const CORRECTIONS: u64 = 4;

/// The share of the error that a correction may leave.
const LEFT: f64 = 0.1;

/// Coefficients (dim × columns) within a tolerance.
pub(super) struct Solution {
    pub coefficients: Array2<f64>,
    pub middle: Middle,
    pub judged: Judged,
    pub corrections: u64,
}

/// Solves for one strength; none where rows are few, or f32 is not precise enough for this problem.
pub(super) fn solve(sample: &Sample<'_>, intercept: bool, (alpha, tolerance): (f64, f64)) -> Option<Solution> {
    let dim = sample.dim();
    if sample.count() < dim || sample.count().saturating_mul(dim * dim) < MANY {
        return None;
    }
    let origin = if intercept { Origin::near_middle(sample).single() } else { Origin::zero(sample) };
    let normal = Moments::of_single(sample, &origin).normal(&origin, intercept);
    if normal.rows_are_the_same() {
        return None;
    }
    let middle = Middle::of(&normal);
    let (mut matrix, mut coefficients) = (normal.gram, normal.cross);
    matrix.diag_mut().iter_mut().for_each(|value| *value += alpha);
    let factored = Cholesky::of(matrix)?;
    factored.solve_columns(&mut coefficients);
    let mut judged = middle.judge(sample, &coefficients, alpha);
    let mut corrections = 0;
    while judged.error > tolerance {
        let mut step = judged.downhill.clone();
        factored.solve_columns(&mut step);
        coefficients += &step;
        let before = std::mem::replace(&mut judged, middle.judge(sample, &coefficients, alpha)).error;
        corrections += 1;
        // Written so that NaN ends it.
        let nearer = judged.error <= LEFT * before;
        if judged.error > tolerance && !(nearer && corrections < CORRECTIONS) {
            return None;
        }
    }
    judged.error.is_finite().then_some(Solution { coefficients, middle, judged, corrections })
}
