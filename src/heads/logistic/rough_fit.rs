//! The bulk of a fit by linfa-logistic: a quick, loose start that the Newton solver completes and certifies.
//!
//! The only file that names linfa-logistic. It knows that version 0.8.1 tells nothing about convergence, returns an
//! all-zero model as `Ok`, and shifts logits by the largest of all rows, so that its loss is wrong once logits spread
//! over more than 34 and its line search may then not end. Invariant: it is asked only for problems whose logits stay
//! narrow (regularized enough, rows of similar length), and its answer is never trusted, only started from.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_logistic::{LogisticRegression, MultiLogisticRegression};
use ndarray::{Array1, Array2, Axis, s};

use super::objective::Objective;

/// C for rows of mean square norm 1 up to which linfa is asked; beyond, its answer for this C is the start.
const LARGEST_C: f64 = 10.0;

/// A row longer than this multiple of the root mean square would give logits that linfa cannot take.
const LONGEST_ROW: f64 = 8.0;

/// Largest L2 norm of the mean gradient that linfa may stop at; Newton steps are cheaper from there.
const GRADIENT: f64 = 1e-3;

/// Iterations of linfa at most.
const ITERATIONS: u64 = 150;

/// linfa's parameters for this objective, (dim + 1) × columns, or none where it cannot help.
pub(super) fn rough_fit(objective: &Objective<'_>) -> Option<Array2<f64>> {
    let (n, dim) = objective.rows.dim();
    let rows = objective.frame.enter_rows(objective.rows);
    let mut longest: f64 = 0.0;
    let mut total = 0.0;
    for row in rows.rows() {
        let squared = row.dot(&row);
        longest = longest.max(squared);
        total += squared;
    }
    let mean_square = total / n as f64;
    if longest > LONGEST_ROW * LONGEST_ROW * mean_square {
        return None;
    }
    // alpha = 1/C for unscaled features; in these coordinates strength·n, with C held to what linfa can solve.
    let alpha = (objective.strength() * n as f64).max(mean_square / LARGEST_C);
    let dataset = DatasetBase::new(rows, Array1::from(objective.labels.to_vec()));
    let tolerance = GRADIENT * n as f64;
    let parameters = if objective.columns == 1 {
        let fitted = LogisticRegression::default()
            .alpha(alpha)
            .with_intercept(objective.fit_intercept)
            .gradient_tolerance(tolerance)
            .max_iterations(ITERATIONS)
            .fit(&dataset)
            .ok()?;
        // linfa's positive class is the more frequent one.
        let sign = if fitted.labels().pos.class == 1 { 1.0 } else { -1.0 };
        let mut parameters = Array1::from_elem(dim + 1, sign * fitted.intercept());
        parameters.slice_mut(s![..dim]).assign(&(fitted.params() * sign));
        parameters.insert_axis(Axis(1))
    } else {
        let fitted = MultiLogisticRegression::default()
            .alpha(alpha)
            .with_intercept(objective.fit_intercept)
            .gradient_tolerance(tolerance)
            .max_iterations(ITERATIONS)
            .fit(&dataset)
            .ok()?;
        let mut parameters = Array2::zeros((dim + 1, objective.columns));
        parameters.slice_mut(s![..dim, ..]).assign(fitted.params());
        parameters.row_mut(dim).assign(fitted.intercept());
        parameters
    };
    parameters.iter().all(|p| p.is_finite()).then_some(parameters)
}

#[cfg(test)]
mod tests {
    use super::super::objective::Frame;
    use super::*;
    use ndarray::Axis;

    fn rows(n: usize) -> Array2<f32> {
        Array2::from_shape_fn((n, 3), |(i, j)| ((i * 31 + j * 17) % 23) as f32 / 11.0 - 1.0 + j as f32)
    }

    fn objective<'a>(rows: &'a Array2<f32>, labels: &'a [usize], columns: usize, c: f64) -> Objective<'a> {
        let frame = Frame::centred(rows.view(), 3.0).unwrap();
        Objective { rows: rows.view(), labels, columns, c, frame, fit_intercept: true }
    }

    #[test]
    fn linfa_lands_near_the_optimum_whichever_class_is_larger() {
        let rows = rows(200);
        for (columns, rare) in [(1, 0), (1, 1), (3, 2)] {
            let classes = columns.max(2);
            let label =
                |row: usize| if row.is_multiple_of(5) { rare } else { (rare + 1 + row % (classes - 1)) % classes };
            let labels: Vec<usize> = (0..200).map(label).collect();
            let objective = objective(&rows, &labels, columns, 0.5);
            let parameters = rough_fit(&objective).unwrap();
            let gradient = objective.value(parameters.view()).gradient;
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            assert!(norm <= GRADIENT * 1.01, "{norm:.1e} for {columns} columns, rare class {rare}");
        }
    }

    #[test]
    fn linfa_is_not_asked_for_what_it_cannot_solve() {
        let mut rows = rows(200);
        let labels: Vec<usize> = (0..200).map(|row| row % 3).collect();
        assert!(rough_fit(&objective(&rows, &labels, 3, 1.0)).is_some());
        rows.index_axis_mut(Axis(0), 7).fill(1000.0);
        assert!(rough_fit(&objective(&rows, &labels, 3, 1.0)).is_none());
    }
}
