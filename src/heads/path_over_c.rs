//! The choice of C: fits over a grid on every fold, each C started from the fit of the one before.
//!
//! Knows folds and fits; what a good prediction is comes in as a closure. Invariant: the result depends on rows, labels,
//! folds and grid alone, not on the number of threads.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::Serialize;

use super::error::Error;
use super::folds::Fold;
use super::logistic::{LogisticOptions, Problem, check_finite, check_options, fit_in_frame};

/// Tolerance of the fits that only choose. Ten times tighter ones moved mean accuracies by 0.002 at most and not the
/// choice (4,400 × 384 rows of 7 classes, C from 0.01 to 1,000).
const TOLERANCE: f64 = 1e-2;

/// Scores of one C.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreAtC {
    /// Inverse L2 strength, as in scikit-learn.
    pub c: f64,
    /// Mean over the folds.
    pub mean: f64,
    /// Standard deviation over the folds (of these scores, not of a population they are drawn from).
    pub spread: f64,
    /// One per fold, in their order.
    pub scores: Vec<f64>,
}

/// Scores over the grid, C ascending, and the C that did best.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PathOverC {
    /// One per C.
    pub points: Vec<ScoreAtC>,
    /// The C of the largest mean; of equals the smallest, which is the simplest model.
    pub chosen: f64,
}

/// Fits every C of `grid` on every fold's training rows and scores the classes predicted for its validation rows by
/// `score(truth, predicted)`, larger is better.
///
/// Folds run in parallel on the current rayon pool, each with a copy of its training rows (f32, for a moment f64).
/// Classes that a fold's training rows lack are never predicted there.
///
/// # Errors
/// An empty grid or no folds, a C that is not positive, row numbers out of range, a score that is not finite, and
/// whatever [`super::fit_logistic`] refuses, with the fold and C named.
pub fn choose_c(
    x: ArrayView2<'_, f32>,
    y: &[usize],
    folds: &[Fold],
    grid: &[f64],
    score: impl Fn(&[usize], &[usize]) -> f64 + Sync,
) -> Result<PathOverC, Error> {
    if grid.is_empty() || folds.is_empty() {
        return Err(Error::NothingToChoose { grid: grid.len(), folds: folds.len() });
    }
    if x.nrows() != y.len() {
        return Err(Error::LabelCount { rows: x.nrows(), labels: y.len() });
    }
    check_finite(x)?;
    let mut grid = grid.to_vec();
    for &c in &grid {
        check_options(&LogisticOptions { c, ..LogisticOptions::default() })?;
    }
    grid.sort_by(f64::total_cmp);
    grid.dedup();
    let by_fold: Vec<Vec<f64>> = (0..folds.len())
        .into_par_iter()
        .map(|index| {
            check_fold(&folds[index], index, y.len())?;
            let scores = score_fold((x, y), &folds[index], &grid, &score);
            scores.map_err(|(c, source)| Error::Fold {
                fold: index + 1,
                folds: folds.len(),
                c,
                source: Box::new(source),
            })
        })
        .collect::<Result<_, Error>>()?;
    let points: Vec<ScoreAtC> = grid
        .iter()
        .enumerate()
        .map(|(at, &c)| summarise(c, by_fold.iter().map(|scores| scores[at]).collect()))
        .collect();
    let mut chosen = &points[0];
    for point in &points {
        if point.mean > chosen.mean {
            chosen = point;
        }
    }
    Ok(PathOverC { chosen: chosen.c, points })
}

fn summarise(c: f64, scores: Vec<f64>) -> ScoreAtC {
    let count = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / count;
    let variance = scores.iter().map(|score| (score - mean) * (score - mean)).sum::<f64>() / count;
    ScoreAtC { c, mean, spread: variance.sqrt(), scores }
}

fn check_fold(fold: &Fold, index: usize, rows: usize) -> Result<(), Error> {
    if fold.train.is_empty() || fold.validation.is_empty() {
        let (train, validation) = (fold.train.len(), fold.validation.len());
        return Err(Error::EmptyFold { fold: index + 1, train, validation });
    }
    match fold.train.iter().chain(&fold.validation).find(|&&row| row >= rows) {
        Some(&row) => Err(Error::FoldRow { fold: index + 1, row, rows }),
        None => Ok(()),
    }
}

/// Scores of one fold over an ascending grid; an error comes with the C it happened at.
fn score_fold(
    (x, y): (ArrayView2<'_, f32>, &[usize]),
    fold: &Fold,
    grid: &[f64],
    score: &impl Fn(&[usize], &[usize]) -> f64,
) -> Result<Vec<f64>, (f64, Error)> {
    let rows = x.select(Axis(0), &fold.train);
    let validation = x.select(Axis(0), &fold.validation);
    let truth: Vec<usize> = fold.validation.iter().map(|&row| y[row]).collect();
    let mut present: Vec<usize> = fold.train.iter().map(|&row| y[row]).collect();
    present.sort_unstable();
    present.dedup();
    let number = |class: usize| present.partition_point(|&other| other < class);
    let labels: Vec<usize> = fold.train.iter().map(|&row| number(y[row])).collect();

    let first = grid[0];
    let problem = Problem::checked(rows.view(), &labels, present.len()).map_err(|error| (first, error))?;
    let frame = problem.frame().map_err(|error| (first, error))?;
    let mut start: Option<Array2<f64>> = None;
    let mut scores = Vec::with_capacity(grid.len());
    for &c in grid {
        let options = LogisticOptions { c, tolerance: TOLERANCE, ..LogisticOptions::default() };
        let (fit, parameters) = fit_in_frame(&frame, &problem, &options, start.take()).map_err(|error| (c, error))?;
        let predicted: Vec<usize> = fit.predict(validation.view()).iter().map(|&number| present[number]).collect();
        let value = score(&truth, &predicted);
        if !value.is_finite() {
            return Err((c, Error::ScoreNotFinite { value }));
        }
        scores.push(value);
        start = Some(parameters);
    }
    Ok(scores)
}
