//! The choice of C by a score of predicted classes, over all folds and a grid.
//!
//! Knows folds and decision values; what a good prediction is comes in as a closure. Invariant: the result depends on
//! rows, labels, folds and grid alone, not on the number of threads.

use std::sync::Mutex;

use ndarray::ArrayView2;
use serde::Serialize;

use super::super::error::Error;
use super::super::folds::Fold;
use super::super::rows::Matrix;
use super::super::trainer::{LabelledRows, Targets};
use super::path::{check_fold, classes, path};
use super::{LogisticOptions, check_options};

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
/// All folds are fitted in lock-step on the current rayon pool. Classes that a fold's training rows lack are never
/// predicted there.
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
    let options = LogisticOptions::default();
    let mut grid = grid.to_vec();
    for &c in &grid {
        check_options(&LogisticOptions { c, ..options })?;
    }
    grid.sort_by(f64::total_cmp);
    grid.dedup();
    let standard = x.as_standard_layout();
    let rows = Matrix::of(standard.view()).expect("the layout is standard");
    let targets = Targets::Classes { of: y.to_vec(), classes: y.iter().max().map_or(2, |&class| (class + 1).max(2)) };
    let data = LabelledRows { rows: &rows, targets: &targets, weights: None };
    let error = |fold: usize, c: f64, source: Error| Error::Fold {
        fold: fold + 1,
        folds: folds.len(),
        c,
        source: Box::new(source),
    };
    for (index, fold) in folds.iter().enumerate() {
        if x.nrows() == y.len() && !grid.is_empty() {
            check_fold(fold, index, &data)?;
            if fold.train.iter().all(|&row| y[row] == y[fold.train[0]]) {
                return Err(error(index, grid[0], Error::OneClass { rows: fold.train.len() }));
            }
        }
    }
    let scores = Mutex::new(vec![vec![0.0; folds.len()]; grid.len()]);
    path(&data, folds, (&grid, &options), &|(fold, at), decisions| {
        let truth: Vec<usize> = folds[fold].validation.iter().map(|&row| y[row]).collect();
        let value = score(&truth, &classes(decisions));
        if !value.is_finite() {
            return Err(error(fold, grid[at], Error::ScoreNotFinite { value }));
        }
        scores.lock().expect("no holder panics")[at][fold] = value;
        Ok(())
    })?;
    let scores = scores.into_inner().expect("no holder panics");
    let points: Vec<ScoreAtC> = grid.iter().zip(scores).map(|(&c, scores)| summarise(c, scores)).collect();
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
