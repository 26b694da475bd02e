//! What is checked before a fit, the coordinates to fit in, and the problems that rows and targets make: one for all
//! classes of a fold, or one for each label of a fold.
//!
//! Knows no solver. Invariant: every problem has rows that count on both sides, so that its optimum is finite but for the
//! penalty's part; what has no such rows is a constant.

use std::collections::BTreeMap;

use super::super::error::{Error, FitError};
use super::super::rows::Rows;
use super::super::sample::{check_targets, check_values, check_weights};
use super::super::trainer::{LabelledRows, Targets};
use super::ROW_NORM;
use super::objective::Frame;
use super::pass::{Group, Layout, Place, Share};
use crate::model::Task;

/// Rows that the coordinates are taken from.
const SAMPLE: usize = 4096;

/// Columns that are optimized together.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    /// Number of its share of the rows.
    pub share: usize,
    /// The class or label of each column, ascending.
    pub targets: Vec<usize>,
    /// One class of several, else each column by itself.
    pub softmax: bool,
    /// Where a fit starts: the logarithms of the shares of the classes.
    pub intercepts: Vec<f64>,
}

/// What can be decided in a share of the rows.
#[derive(Debug, Default)]
pub(super) struct Decided {
    pub problems: Vec<Problem>,
    /// Columns of the decision values that need no fit: true where all rows that count are of the class or label.
    pub constants: BTreeMap<usize, bool>,
}

/// Refuses what no logistic fit can take. Values are looked at by the first pass.
pub(super) fn check(data: &LabelledRows<'_>) -> Result<(), Error> {
    let (rows, dim) = (data.rows.count(), data.rows.dim());
    if data.targets.rows() != rows {
        return Err(Error::LabelCount { rows, labels: data.targets.rows() });
    }
    if rows == 0 || dim == 0 {
        return Err(Error::NoRows { rows, dim });
    }
    check_weights(data.weights, rows)?;
    if data.targets.task() == Task::Regression {
        return Err(FitError::NotForTask {
            kind: "logistic",
            task: Task::Regression,
            why: "it tells classes and labels apart; use `ridge`, `svm` or `knn` for numbers",
        }
        .into());
    }
    check_targets(data.targets)
}

/// Coordinates in which rows are about centred and of norm about [`ROW_NORM`], as evenly spread rows tell; from all rows
/// where these are all the same. Without intercepts rows keep their origin, and only rows of zeros are all the same.
pub(super) fn frame(rows: &dyn Rows, fit_intercept: bool) -> Result<Frame, Error> {
    let count = rows.count();
    let some = count.min(SAMPLE);
    frame_of(rows, (some, fit_intercept)).or_else(|| frame_of(rows, (count, fit_intercept))).map_or_else(
        || {
            check_values(rows)?;
            Err(Error::IdenticalRows { rows: count })
        },
        Ok,
    )
}

fn frame_of(rows: &dyn Rows, (some, centred): (usize, bool)) -> Option<Frame> {
    let numbers = || (0..some).map(|index| (index as u128 * rows.count() as u128 / some as u128) as usize);
    let mut centre = vec![0.0; rows.dim()];
    for row in numbers().filter(|_| centred) {
        centre.iter_mut().zip(rows.row(row)).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    // The numbers of a pass in f32, so that both precisions see the same coordinates.
    centre.iter_mut().for_each(|sum| *sum = f64::from((*sum / some as f64) as f32));
    let mut squares = vec![0.0; rows.dim()];
    for row in numbers() {
        for ((square, &value), centre) in squares.iter_mut().zip(rows.row(row)).zip(&centre) {
            *square += (f64::from(value) - centre) * (f64::from(value) - centre);
        }
    }
    let norm = (squares.iter().sum::<f64>() / some as f64).sqrt();
    let length = centre.iter().map(|value| value * value).sum::<f64>().sqrt();
    // A power of two: rows in f32 lose nothing by it. Beyond f32's range nothing can be computed.
    let scale = (ROW_NORM / norm).log2().round().exp2();
    (norm > 1e-12 * length && scale.is_finite() && scale > 0.0 && scale < f64::from(f32::MAX))
        .then(|| Frame { centre: centre.into(), scale })
}

/// What a share of the rows makes of the targets; columns of the decision values are named by `constants`.
pub(super) fn decide(targets: &Targets, (number, share): (usize, &Share)) -> Decided {
    let columns = match targets {
        Targets::Classes { classes, .. } => *classes,
        _ => targets.columns(),
    };
    let mut weight = vec![0.0; columns];
    let mut missing = vec![false; columns];
    let mut counted = vec![0_usize; columns];
    let mut rows = 0;
    for (row, &w) in share.weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
        rows += 1;
        for &target in targets_of(targets, row) {
            weight[target] += w;
            counted[target] += 1;
        }
    }
    for (missing, &counted) in missing.iter_mut().zip(&counted) {
        *missing = counted == 0;
    }
    let odds = |target: usize| (weight[target] / (share.total - weight[target])).ln();
    let alone = |target: usize| Problem {
        share: number,
        targets: vec![target],
        softmax: false,
        intercepts: vec![odds(target)],
    };
    let mut decided = Decided::default();
    match targets {
        Targets::Classes { classes: 2, .. } => match missing.iter().position(|missing| *missing) {
            Some(class) => drop(decided.constants.insert(0, class == 0)),
            None => decided.problems.push(alone(1)),
        },
        Targets::Classes { .. } => {
            let present: Vec<usize> = (0..columns).filter(|&class| !missing[class]).collect();
            decided.constants.extend((0..columns).filter(|&class| missing[class]).map(|class| (class, false)));
            if let [only] = present[..] {
                decided.constants.insert(only, true);
            } else if !present.is_empty() {
                let logs: Vec<f64> = present.iter().map(|&class| (weight[class] / share.total).ln()).collect();
                let mean = logs.iter().sum::<f64>() / logs.len() as f64;
                let intercepts = logs.iter().map(|log| log - mean).collect();
                decided.problems.push(Problem { share: number, targets: present, softmax: true, intercepts });
            }
        }
        _ => {
            for label in 0..columns {
                if missing[label] || counted[label] == rows {
                    decided.constants.insert(label, !missing[label]);
                } else {
                    decided.problems.push(alone(label));
                }
            }
        }
    }
    decided
}

/// Classes or labels of a row.
pub(super) fn targets_of(targets: &Targets, row: usize) -> &[usize] {
    match targets {
        Targets::Classes { of, .. } => std::slice::from_ref(&of[row]),
        Targets::Labels { of, .. } => &of[row],
        Targets::Numbers(_) => &[],
    }
}

/// The columns of some problems, in their order.
pub(super) fn layout<'a>(problems: impl Iterator<Item = &'a Problem>, targets: &Targets, shares: usize) -> Layout {
    let count = match targets {
        Targets::Classes { classes, .. } => *classes,
        _ => targets.columns(),
    };
    let mut layout = Layout { groups: Vec::new(), columns: 0, places: vec![vec![None; count]; shares] };
    for problem in problems {
        let (group, first, columns) = (layout.groups.len(), layout.columns, problem.targets.len());
        for (index, &target) in problem.targets.iter().enumerate() {
            layout.places[problem.share][target] = Some(Place { group, column: first + index });
        }
        layout.groups.push(Group { first, count: columns, share: problem.share, softmax: problem.softmax });
        layout.columns += columns;
    }
    layout
}
