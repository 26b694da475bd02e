//! One fit of linear support vectors on rows out of files, timed without the reading: the part of `svm.py` that is ours.
//!
//! Reads one JSON object from standard input: `rows` (a file of n × dim f32), `targets` (a file of n f64), `shape`,
//! `classes` (0 for numbers), `loss`, `c`, `tolerance`, `fit_intercept`, `out` (a file to write coefficients and
//! intercepts to, f64) and `threads`. Prints seconds and what the fit says about itself.

#![expect(clippy::print_stdout, reason = "a program that is read by a script")]

mod request;

use std::path::PathBuf;
use std::time::Instant;

use offprint::heads::{LabelledRows, Matrix, Model, SvmLoss, SvmTrainer, Trainer};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    rows: PathBuf,
    targets: PathBuf,
    shape: (usize, usize),
    classes: usize,
    loss: String,
    c: f64,
    tolerance: f64,
    fit_intercept: bool,
    out: PathBuf,
    threads: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(request) = request::read::<Request>()? else { return Ok(()) };
    let rows = request::rows(&request.rows)?;
    let targets = request::targets(&request.targets, request.classes)?;
    let loss = SvmLoss::ALL.into_iter().find(|loss| loss.name() == request.loss).ok_or("an unknown loss")?;
    let trainer = SvmTrainer {
        loss: Some(loss),
        tolerance: request.tolerance,
        fit_intercept: request.fit_intercept,
        ..SvmTrainer::default()
    };
    let matrix = Matrix::new(&rows, request.shape)?;
    let data = LabelledRows { rows: &matrix, targets: &targets, weights: None };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(request.threads).build()?;
    let (start, busy) = (Instant::now(), request::processor_seconds()?);
    let fitted = pool.install(|| trainer.fit(&data, request.c))?;
    let (seconds, cpu_seconds) = (start.elapsed().as_secs_f64(), request::processor_seconds()? - busy);
    let Model::Linear(model) = fitted.model else { return Err("not a linear model".into()) };
    request::write(&request.out, model.coefficients.into_iter().chain(model.intercepts))?;
    println!(
        "{}",
        serde_json::json!({ "seconds": seconds, "cpu_seconds": cpu_seconds, "optimality": fitted.optimality })
    );
    Ok(())
}
