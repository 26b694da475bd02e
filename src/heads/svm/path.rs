//! A path over C on every fold, each C started from the variables of the one before.
//!
//! Knows folds and fits, no metric. Invariant: decision values depend on the data, folds and strengths alone, not on
//! the number of threads or which fold ends first.

use rayon::prelude::*;

use super::problem::Problem;
use super::solver::{solve, start};
use super::{STRENGTH, SvmTrainer, certify, model};
use crate::heads::decisions::settle_missing_classes;
use crate::heads::error::{Error, FoldError};
use crate::heads::folds::Fold;
use crate::heads::rows::Selection;
use crate::heads::sample::{Sample, check_folds, check_positive, check_weight};
use crate::heads::trainer::{LabelledRows, TakeDecisions};

/// See [`crate::heads::Trainer::path`]. Folds run in parallel on the current rayon pool; each holds a number for every
/// training row and column.
pub(super) fn path(
    trainer: &SvmTrainer,
    data: &LabelledRows<'_>,
    (folds, strengths): (&[Fold], &[f64]),
    take: TakeDecisions<'_>,
) -> Result<(), Error> {
    check_positive(STRENGTH, strengths)?;
    if strengths.is_empty() {
        return Err(FoldError::NothingToChoose { grid: 0, folds: folds.len() }.into());
    }
    trainer.check_data(data)?;
    check_folds(folds, data.rows.count())?;
    let mut ascending: Vec<usize> = (0..strengths.len()).collect();
    ascending.sort_by(|&one, &other| strengths[one].total_cmp(&strengths[other]));
    let limits = trainer.limits();
    folds.par_iter().enumerate().try_for_each(|(number, fold)| {
        let named = |strength, source| FoldError::Fit {
            fold: number + 1,
            folds: folds.len(),
            name: STRENGTH,
            strength,
            source: Box::new(source),
        };
        let training = Sample::of(*data, &fold.train);
        check_weight(&training).map_err(|source| named(strengths[ascending[0]], source))?;
        let targets = data.targets.select(&fold.train);
        let weights: Option<Vec<f64>> = data.weights.map(|all| fold.train.iter().map(|&row| all[row]).collect());
        let rows = Selection::new(data.rows, &fold.train);
        let problem = Problem::new(&LabelledRows { rows: &rows, targets: &targets, weights: weights.as_deref() });
        let validation = Selection::new(data.rows, &fold.validation);
        let mut groups = start(&problem);
        let mut before = None;
        for &index in &ascending {
            let setting = trainer.setting(&problem, strengths[index])?;
            if let Some(from) = before.replace(strengths[index]) {
                groups.par_iter_mut().for_each(|group| group.restart(from, &setting));
            }
            solve(&setting, &mut groups, limits);
            certify(&setting, &groups, limits).map_err(|source| named(strengths[index], source))?;
            let mut decisions = model(&setting, &groups).decisions(&validation)?;
            settle_missing_classes(&training, decisions.view_mut());
            take((number, index), decisions.view())?;
        }
        Ok(())
    })
}
