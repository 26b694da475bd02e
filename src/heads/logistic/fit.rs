//! One certified fit on all rows: checks, solver, and the way back to the rows' own coordinates.
//!
//! Knows no folds. Invariant: what is handed out is within the tolerance, measured in f64.

use ndarray::Array2;

use super::super::error::Error;
use super::super::trainer::{LabelledRows, Targets};
use super::descent::Descent;
use super::objective::Frame;
use super::pass::{Data, Share};
use super::path::copied;
use super::problem::{Decided, check, decide};
use super::solve::{Goal, Solver, curvature};
use super::{Convergence, LogisticFit, LogisticOptions, LogisticSolver, certify, check_options, linfa_fit};

/// Fits classes (one problem) or labels (one each, in lock-step).
pub(super) fn fit(rows: &LabelledRows<'_>, options: &LogisticOptions) -> Result<LogisticFit, Error> {
    check_options(options)?;
    check(rows)?;
    check_classes(rows)?;
    if options.solver == LogisticSolver::Linfa {
        return linfa_fit::fit(rows, options);
    }
    // Inside the pool from the start: each of many short passes would wake it otherwise.
    rayon::scope(|_| fused(rows, options))
}

fn fused(rows: &LabelledRows<'_>, options: &LogisticOptions) -> Result<LogisticFit, Error> {
    let copy = copied(rows.rows);
    let rows = &LabelledRows { rows: copy.as_ref().map_or(rows.rows, |copy| copy), ..*rows };
    let weights = rows.weights.map_or_else(|| vec![1.0; rows.rows.count()], <[f64]>::to_vec);
    let data = Data::new(rows.rows, rows.targets, vec![Share::new(weights)], options.fit_intercept)?;
    let share = &data.shares[0];
    let decided = decide(data.targets, (0, share));
    let columns = decided.problems.iter().map(|problem| problem.targets.len()).sum();
    let curvature = curvature(&data, columns, 1);
    let penalty = penalty(&data, share, options.c);
    let mut solver = Solver::start(&data, &decided.problems, &curvature, |_| penalty)?;
    solver.solve(Goal::Error(options.tolerance), options.max_iterations);
    let convergence = convergence(&solver.descents, &data.frame);
    certify(&convergence, options)?;
    Ok(plain(&data, &decided, &solver.descents, (options, convergence)))
}

/// Weight of |W'|²/2 beside the mean log loss in the frame: |w|²/(C·n) = (scale²/(C·n))·|w'|².
pub(super) fn penalty(data: &Data<'_>, share: &Share, c: f64) -> f64 {
    data.frame.scale * data.frame.scale / (c * share.total)
}

/// Refuses classes that no row that counts is of.
fn check_classes(rows: &LabelledRows<'_>) -> Result<(), Error> {
    let Targets::Classes { of, classes } = rows.targets else { return Ok(()) };
    let classes = *classes;
    let counts = |row: usize| rows.weights.is_none_or(|weights| weights[row] > 0.0);
    let mut seen = vec![false; classes];
    let mut counted = 0;
    for (_, &class) in of.iter().enumerate().filter(|(row, _)| counts(*row)) {
        seen[class] = true;
        counted += 1;
    }
    if seen.iter().filter(|seen| **seen).count() == 1 {
        return Err(Error::OneClass { rows: counted });
    }
    if counted < classes {
        return Err(Error::FewerRowsThanClasses { rows: counted, classes });
    }
    match seen.iter().position(|seen| !seen) {
        Some(class) => Err(Error::ClassWithoutRows { class, classes }),
        None => Ok(()),
    }
}

/// What was measured: the sum of the problems' objectives, the largest of everything else.
fn convergence(descents: &[Descent], frame: &Frame) -> Convergence {
    let mut found =
        Convergence { iterations: 0, gradient_norm: 0.0, objective: 0.0, scale: frame.scale, coefficient_error: 0.0 };
    for descent in descents {
        let (gradient, weights) = (descent.gradient(), descent.weights().len());
        let (dim, (of_weights, of_intercepts)) = (frame.centre.len(), gradient.split_at(weights));
        for (column, of_intercept) in of_weights.chunks_exact(dim).zip(of_intercepts) {
            let plain = column.iter().zip(&frame.centre).map(|(g, centre)| g / frame.scale + centre * of_intercept);
            let largest = plain.fold(of_intercept.abs(), |largest, g| largest.max(g.abs()));
            found.gradient_norm = found.gradient_norm.max(largest);
        }
        found.iterations = found.iterations.max(descent.iterations);
        found.objective += descent.objective();
        let error = descent.relative_gradient();
        // A comparison would lose NaN.
        found.coefficient_error = if error.is_nan() { error } else { found.coefficient_error.max(error) };
    }
    found
}

/// Coefficients and intercepts for the rows as they came in. A label that all or none of the rows have gets the odds
/// (count + ½) : (rest + ½) and no coefficients, even where there are no intercepts otherwise.
fn plain(
    data: &Data<'_>,
    decided: &Decided,
    descents: &[Descent],
    (options, convergence): (&LogisticOptions, Convergence),
) -> LogisticFit {
    let (columns, dim) = (data.targets.columns(), data.rows.dim());
    let mut coefficients = Array2::zeros((columns, dim));
    let mut intercepts = vec![0.0; columns];
    let total = data.shares[0].total;
    for (&column, &all) in &decided.constants {
        let odds = ((total + 0.5) / 0.5).ln();
        intercepts[column] = if all { odds } else { -odds };
    }
    for (problem, descent) in decided.problems.iter().zip(descents) {
        let (weights, of_intercepts) = descent.point().split_at(descent.weights().len());
        for (index, (column, intercept)) in weights.chunks_exact(dim).zip(of_intercepts).enumerate() {
            let target = if columns == 1 { 0 } else { problem.targets[index] };
            let mut out = coefficients.row_mut(target);
            out.iter_mut().zip(column).for_each(|(out, weight)| *out = weight * data.frame.scale);
            intercepts[target] = intercept - out.dot(&data.frame.centre);
        }
    }
    if decided.problems.iter().any(|problem| problem.softmax) {
        // A shift of all intercepts changes nothing but how they read: their mean is 0, as in scikit-learn.
        let mean = intercepts.iter().sum::<f64>() / columns as f64;
        intercepts.iter_mut().for_each(|intercept| *intercept -= mean);
    }
    LogisticFit::of((coefficients, intercepts), convergence, options)
}

/// The objective as scikit-learn writes it, C·Σ weight·loss + |W|²/2, out of the means that a fit measured.
pub(super) fn whole_objective(rows: &LabelledRows<'_>, fit: &LogisticFit) -> f64 {
    let total = rows.weights.map_or_else(|| rows.rows.count() as f64, |weights| weights.iter().sum());
    fit.c * total * fit.convergence.objective
}
