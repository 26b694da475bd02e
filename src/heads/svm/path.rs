//! A path over C on every fold, each C started from the variables of the one before.
//!
//! Knows folds and fits, no metric. Invariant: decision values depend on the data, folds and strengths alone, not on
//! the number of threads or which fold ends first.

use ndarray::Array2;
use rayon::prelude::*;

use super::kernel::{Real, Work, on_widest_registers};
use super::problem::Problem;
use super::solver::{solve, start};
use super::{STRENGTH, SvmTrainer, certify, model};
use crate::heads::error::Error;
use crate::heads::folds::Fold;
use crate::heads::rows::{Rows, Selection};
use crate::heads::sample::{check_folds, check_positive};
use crate::heads::trainer::{LabelledRows, LinearModel, TakeDecisions, Targets};

/// See [`crate::heads::Trainer::path`]. Folds run in parallel on the current rayon pool; each holds a number for every
/// training row and column.
pub(super) fn path(
    trainer: &SvmTrainer,
    data: &LabelledRows<'_>,
    (folds, strengths): (&[Fold], &[f64]),
    take: TakeDecisions<'_>,
) -> Result<(), Error> {
    check_positive(STRENGTH, strengths)?;
    trainer.check_data(data)?;
    check_folds(folds, data.rows.count())?;
    let mut ascending: Vec<usize> = (0..strengths.len()).collect();
    ascending.sort_by(|&one, &other| strengths[one].total_cmp(&strengths[other]));
    folds.par_iter().enumerate().try_for_each(|(number, fold)| {
        let targets = data.targets.select(&fold.train);
        let weights: Option<Vec<f64>> = data.weights.map(|all| fold.train.iter().map(|&row| all[row]).collect());
        let rows = Selection::new(data.rows, &fold.train);
        let training = LabelledRows { rows: &rows, targets: &targets, weights: weights.as_deref() };
        let lacking = lacking(&training);
        let problem = Problem::new(&training);
        let mut groups = start(&problem);
        let mut before = None;
        for &index in &ascending {
            let strength = strengths[index];
            let setting = trainer.setting(&problem, strength)?;
            if let Some(from) = before.replace(strength) {
                groups.par_iter_mut().for_each(|group| group.restart(from, &setting));
            }
            solve(&setting, &mut groups, trainer.limits());
            certify(&setting, &groups, trainer.limits()).map_err(|source| Error::FoldFit {
                fold: number + 1,
                folds: folds.len(),
                name: STRENGTH,
                strength,
                source: Box::new(source),
            })?;
            let validation = Selection::new(data.rows, &fold.validation);
            let mut found = decisions(&model(&setting, &groups), &validation);
            for &(column, value) in &lacking {
                found.column_mut(column).fill(value);
            }
            take((number, index), found.view())?;
        }
        Ok(())
    })
}

/// Columns of classes and labels that no row counts for, with the decision value that their rows get.
fn lacking(training: &LabelledRows<'_>) -> Vec<(usize, f64)> {
    let counts = |row: &usize| training.weights.is_none_or(|weights| weights[*row] > 0.0);
    let rows = || (0..training.rows.count()).filter(counts);
    let absent = |count: usize, given: &mut dyn Iterator<Item = usize>| {
        let mut absent = vec![true; count];
        given.for_each(|number| absent[number] = false);
        absent
    };
    let absent = match training.targets {
        Targets::Classes { of, classes } => absent(*classes, &mut rows().map(|row| of[row])),
        Targets::Labels { of, labels } => absent(*labels, &mut rows().flat_map(|row| of[row].iter().copied())),
        Targets::Numbers(_) => Vec::new(),
    };
    if let (Targets::Classes { .. }, [first, second]) = (training.targets, absent.as_slice()) {
        return match (first, second) {
            (true, _) => vec![(0, f64::INFINITY)],
            (_, true) => vec![(0, f64::NEG_INFINITY)],
            _ => Vec::new(),
        };
    }
    let lacking = absent.iter().enumerate().filter(|(_, absent)| **absent);
    lacking.map(|(column, _)| (column, f64::NEG_INFINITY)).collect()
}

/// Decision values, rows × columns.
pub(super) fn decisions(model: &LinearModel, rows: &dyn Rows) -> Array2<f64> {
    on_widest_registers(Decisions { model, rows })
}

struct Decisions<'a> {
    model: &'a LinearModel,
    rows: &'a dyn Rows,
}

impl Work for Decisions<'_> {
    type Output = Array2<f64>;

    #[inline(always)]
    fn run(self) -> Array2<f64> {
        let Self { model, rows } = self;
        let weights = model.coefficients.as_standard_layout();
        let mut found = Array2::zeros((rows.count(), model.intercepts.len()));
        for row in 0..rows.count() {
            let x = rows.row(row);
            for column in 0..model.intercepts.len() {
                let weights = weights.row(column);
                let weights = weights.as_slice().expect("rows of a matrix in standard layout are slices");
                found[[row, column]] = f64::dot(x, weights) + model.intercepts[column];
            }
        }
        found
    }
}
