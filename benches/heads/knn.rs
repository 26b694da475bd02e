//! Nearest neighbours and ridge on rows out of files, timed without the reading: the part of `knn.py` that is ours.
//!
//! Reads one JSON object from standard input (see [`Request`]) and prints seconds, and seconds of all threads together.

#![expect(clippy::print_stdout, reason = "a program that is read by a script")]

mod request;

use std::path::PathBuf;
use std::time::Instant;

use offprint::heads::{
    Fitted, LabelledRows, Matrix, Metric, Model, NeighbourTrainer, RidgeTrainer, Targets, Trainer, stratified_folds,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// `knn`, `ridge` (one fit and, of neighbours, answers) or `ridge_grid` (folds × strengths and a refit).
    what: String,
    /// A file of f32, and its shape.
    rows: PathBuf,
    shape: (usize, usize),
    /// A file of f64, one column.
    targets: PathBuf,
    /// 0 for numbers.
    classes: usize,
    /// Rows to answer for: a file of f32, and how many.
    asked: Option<(PathBuf, usize)>,
    /// Of neighbours `l2` or `cosine`.
    metric: Option<String>,
    strengths: Vec<f64>,
    folds: usize,
    threads: usize,
    /// A file for coefficients, intercepts after them, or decision values, in f64.
    out: PathBuf,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(request) = request::read::<Request>()? else { return Ok(()) };
    let rows = request::rows(&request.rows)?;
    let targets = request::targets(&request.targets, request.classes)?;
    let asked = match &request.asked {
        Some((path, _)) => request::rows(path)?,
        None => Vec::new(),
    };
    let matrix = Matrix::new(&rows, request.shape)?;
    let data = LabelledRows { rows: &matrix, targets: &targets, weights: None };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(request.threads).build()?;
    let (start, busy) = (Instant::now(), request::processor_seconds()?);
    let out = pool.install(|| run(&request, &data, &asked)).map_err(|error| error.to_string())?;
    let (seconds, processor) = (start.elapsed().as_secs_f64(), request::processor_seconds()? - busy);
    request::write(&request.out, out)?;
    println!("{}", serde_json::json!({ "seconds": seconds, "processor_seconds": processor }));
    Ok(())
}

fn run(
    request: &Request,
    data: &LabelledRows<'_>,
    asked: &[f32],
) -> Result<Vec<f64>, Box<dyn std::error::Error + Send + Sync>> {
    let first = request.strengths[0];
    match request.what.as_str() {
        "ridge" => Ok(flat(RidgeTrainer::default().fit(data, first)?)),
        "knn" => {
            let metric = if request.metric.as_deref() == Some("cosine") { Metric::Cosine } else { Metric::L2 };
            let fitted = NeighbourTrainer { metric, ..NeighbourTrainer::default() }.fit(data, first)?;
            let Model::Neighbours(kept) = fitted.model else { return Err("not the kind of model asked for".into()) };
            let count = request.asked.as_ref().map_or(0, |&(_, count)| count);
            let asked = Matrix::new(asked, (count, request.shape.1))?;
            Ok(kept.decisions(&asked)?.into_iter().collect())
        }
        "ridge_grid" => {
            let Targets::Classes { of, .. } = data.targets else { return Err("a grid is for classes".into()) };
            let folds = stratified_folds(of, request.folds, 0)?;
            let right = std::sync::Mutex::new(vec![0_usize; request.strengths.len()]);
            RidgeTrainer::default().path(data, &folds, &request.strengths, &|(fold, at), decisions| {
                let largest = |row: ndarray::ArrayView1<'_, f64>| {
                    let best = (0..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best });
                    if row.len() == 1 { usize::from(row[0] > 0.0) } else { best }
                };
                let decided = decisions.rows().into_iter().map(largest);
                let hits = decided.zip(&folds[fold].validation).filter(|&(class, &row)| class == of[row]).count();
                right.lock().expect("no holder panics")[at] += hits;
                Ok(())
            })?;
            let right = right.into_inner().expect("no holder panicked");
            let best = (0..right.len()).fold(0, |best, at| if right[at] > right[best] { at } else { best });
            RidgeTrainer::default().fit(data, request.strengths[best])?;
            Ok(right.iter().map(|&right| right as f64 / of.len() as f64).collect())
        }
        other => Err(format!("`{other}` is nothing to measure").into()),
    }
}

fn flat(fitted: Fitted) -> Vec<f64> {
    match fitted.model {
        Model::Linear(model) => model.coefficients.into_iter().chain(model.intercepts).collect(),
        Model::Neighbours(_) => Vec::new(),
    }
}
