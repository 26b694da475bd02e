//! One fit of linear support vectors on rows out of files, timed without the reading: the part of `svm.py` that is ours.
//!
//! Reads one JSON object from standard input: `rows` (a file of n × dim f32), `targets` (a file of n f64), `shape`,
//! `classes` (0 for numbers), `loss`, `c`, `tolerance`, `fit_intercept`, `out` (a file to write coefficients and
//! intercepts to, f64) and `threads`. Prints seconds and what the fit says about itself.

#![expect(clippy::print_stdout, reason = "a program that is read by a script")]

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Instant;

use offprint::heads::{LabelledRows, Matrix, Model, SvmLoss, SvmTrainer, Targets, Trainer};
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
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    if text.is_empty() {
        // `cargo bench` without `svm.py` has nothing to say.
        return Ok(());
    }
    let request: Request = serde_json::from_str(&text)?;
    let rows: Vec<f32> = numbers(&request.rows)?;
    let given: Vec<f64> = numbers(&request.targets)?;
    let targets = match request.classes {
        0 => Targets::Numbers(ndarray::Array2::from_shape_vec((given.len(), 1), given)?),
        classes => Targets::Classes { of: given.iter().map(|&class| class as usize).collect(), classes },
    };
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
    let (fitted, seconds, cpu_seconds) = pool.install(|| {
        let (start, busy) = (Instant::now(), thread_nanoseconds());
        let fitted = trainer.fit(&data, request.c);
        let busy = thread_nanoseconds().zip(busy).map(|(end, start)| (end - start) as f64 * 1e-9);
        (fitted, start.elapsed().as_secs_f64(), busy)
    });
    let fitted = fitted?;
    let Model::Linear(model) = fitted.model else { return Err("not a linear model".into()) };
    let mut out = std::fs::File::create(&request.out)?;
    for value in model.coefficients.iter().chain(&model.intercepts) {
        out.write_all(&value.to_le_bytes())?;
    }
    println!(
        "{}",
        serde_json::json!({ "seconds": seconds, "cpu_seconds": cpu_seconds, "optimality": fitted.optimality })
    );
    Ok(())
}

/// Time that this thread has been running, where Linux tells: all there is to a fit on one thread.
fn thread_nanoseconds() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

trait Little: Sized {
    fn of(bytes: &[u8]) -> Option<Self>;
    const BYTES: usize = size_of::<Self>();
}

impl Little for f32 {
    fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_le_bytes)
    }
}

impl Little for f64 {
    fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_le_bytes)
    }
}

fn numbers<T: Little>(path: &std::path::Path) -> Result<Vec<T>, Box<dyn std::error::Error>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.chunks_exact(T::BYTES).filter_map(T::of).collect())
}
