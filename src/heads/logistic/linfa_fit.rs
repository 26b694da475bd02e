//! The fit through linfa-logistic: its answer is the start, Newton steps in f64 complete and certify it.
//!
//! Knows linfa only by its answer. Invariant: what is handed out is within the tolerance of scikit-learn's objective, judged
//! on the rows as they came in; linfa takes neither weights nor labels, so neither does this.

use ndarray::{Array2, s};

use super::super::error::{Error, FitError};
use super::super::rows::Rows;
use super::super::sample::check_values;
use super::super::trainer::{LabelledRows, Targets};
use super::newton::{minimise, relative_gradient};
use super::objective::{Frame, Objective};
use super::rough_fit::rough_fit;
use super::{Convergence, LogisticFit, LogisticOptions, ROW_NORM, certify};

/// Fits classes that each have rows; see [`super::fit_logistic`].
pub(super) fn fit(data: &LabelledRows<'_>, options: &LogisticOptions) -> Result<LogisticFit, Error> {
    if data.weights.is_some() {
        return Err(FitError::WeightsNotTaken { kind: "logistic (linfa)" }.into());
    }
    let Targets::Classes { of, classes } = data.targets else {
        return Err(FitError::NotForTask {
            kind: "logistic (linfa)",
            task: data.targets.task(),
            why: "linfa-logistic tells classes apart; use the fused solver",
        }
        .into());
    };
    check_values(data.rows)?;
    let rows = copy(data.rows);
    let dim = rows.ncols();
    let columns = if *classes == 2 { 1 } else { *classes };
    let framed = if options.fit_intercept { Frame::centred } else { Frame::scaled };
    let frame = framed(rows.view(), ROW_NORM).ok_or(Error::IdenticalRows { rows: rows.nrows() })?;
    let (c, fit_intercept) = (options.c, options.fit_intercept);
    let objective = |frame| Objective { rows: rows.view(), labels: of, columns, c, frame, fit_intercept };
    let framed = objective(frame.clone());
    let start = rough_fit(&framed).unwrap_or_else(|| Array2::zeros((dim + 1, columns)));
    // Half of the tolerance: what the check on plain rows adds is rounding.
    let stop = minimise(&framed, start, options.tolerance / 2.0, options.max_iterations);

    let parameters = frame.leave(stop.parameters.view());
    let value = objective(Frame::plain(dim)).value(parameters.view());
    let convergence = Convergence {
        iterations: stop.steps,
        gradient_norm: value.gradient.fold(0.0, |max: f64, g| max.max(g.abs())),
        objective: value.objective,
        scale: frame.scale,
        coefficient_error: relative_gradient(
            framed.strength(),
            &stop.parameters,
            &frame.enter_gradient(value.gradient),
        ),
    };
    certify(&convergence, options)?;
    let coefficients = parameters.slice(s![..dim, ..]).t().as_standard_layout().into_owned();
    // A shift of all intercepts changes nothing but how they read: their mean is 0, as in scikit-learn.
    let shift = if columns == 1 { 0.0 } else { parameters.row(dim).sum() / columns as f64 };
    let intercepts = parameters.row(dim).iter().map(|intercept| intercept - shift).collect();
    Ok(LogisticFit::of((coefficients, intercepts), convergence, options))
}

fn copy(rows: &dyn Rows) -> Array2<f32> {
    let mut values = Vec::with_capacity(rows.count() * rows.dim());
    (0..rows.count()).for_each(|row| values.extend_from_slice(rows.row(row)));
    Array2::from_shape_vec((rows.count(), rows.dim()), values).expect("every row has `dim` numbers")
}
