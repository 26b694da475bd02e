//! Logistic heads as one kind among the others.
//!
//! Knows the fits of this folder and the shared types. Invariant: a strength is scikit-learn's C.

use rayon::prelude::*;

use super::super::error::{Error, FoldError};
use super::super::folds::Fold;
use super::super::kind::HeadKind;
use super::super::rows::Selection;
use super::super::trainer::{
    Fitted, LabelledRows, Optimality, Simplest, StrengthName, TakeDecisions, Targets, Trainer,
};
use super::fit::{fit, whole_objective};
use super::path::{check_fold, path};
use super::{LogisticFit, LogisticOptions, LogisticSolver, STRENGTH, check_options};

/// Fits logistic heads: classes by one multinomial (two: binomial) model, labels each by a binomial one, all in lock-step.
///
/// A label that all rows have, or none, gets no coefficients and the odds (count + ½) : (rest + ½), whether or not the
/// others have intercepts; in a path its decision values are infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogisticTrainer {
    /// What does the work.
    pub solver: LogisticSolver,
    /// Largest allowed relative distance of a fit's coefficients from the optimum, as bounded by the gradient; fits of a
    /// path are looser: their loss is within about 10⁻⁵ nats a row, less with a tolerance below the default.
    pub tolerance: f64,
    /// Steps at most.
    pub max_iterations: u64,
    /// Whether there are intercepts, which are not penalised.
    pub fit_intercept: bool,
}

impl Default for LogisticTrainer {
    fn default() -> Self {
        let options = LogisticOptions::default();
        let LogisticOptions { solver, tolerance, max_iterations, fit_intercept, .. } = options;
        Self { solver, tolerance, max_iterations, fit_intercept }
    }
}

impl LogisticTrainer {
    fn options(&self, c: f64) -> LogisticOptions {
        let &Self { solver, tolerance, max_iterations, fit_intercept } = self;
        LogisticOptions { c, tolerance, max_iterations, solver, fit_intercept }
    }

    /// One fit with its own measures, which [`Trainer::fit`] brings into the common form.
    ///
    /// # Errors
    /// As for [`Trainer::fit`].
    pub fn fit_logistic(&self, data: &LabelledRows<'_>, c: f64) -> Result<LogisticFit, Error> {
        fit(data, &self.options(c))
    }
}

impl Trainer for LogisticTrainer {
    fn kind(&self) -> HeadKind {
        HeadKind::Logistic
    }

    fn strength(&self) -> StrengthName {
        StrengthName { name: STRENGTH, simplest: Simplest::Smallest }
    }

    fn fit(&self, data: &LabelledRows<'_>, strength: f64) -> Result<Fitted, Error> {
        let found = self.fit_logistic(data, strength)?;
        let objective = whole_objective(data, &found);
        let fitted = Fitted::from(found);
        Ok(Fitted { optimality: fitted.optimality.map(|measured| Optimality { objective, ..measured }), ..fitted })
    }

    fn path(
        &self,
        data: &LabelledRows<'_>,
        folds: &[Fold],
        strengths: &[f64],
        take: TakeDecisions<'_>,
    ) -> Result<(), Error> {
        let options = self.options(1.0);
        match self.solver {
            LogisticSolver::Fused => path(data, folds, (strengths, &options), take),
            LogisticSolver::Linfa => one_by_one(data, folds, (strengths, &options), take),
        }
    }
}

/// Every strength on every fold by itself; classes that a fold lacks are left out of its fit.
fn one_by_one(
    data: &LabelledRows<'_>,
    folds: &[Fold],
    (strengths, options): (&[f64], &LogisticOptions),
    take: TakeDecisions<'_>,
) -> Result<(), Error> {
    super::problem::check(data)?;
    strengths.iter().try_for_each(|&c| check_options(&LogisticOptions { c, ..*options }))?;
    folds.iter().enumerate().try_for_each(|(index, fold)| check_fold(fold, index, data))?;
    let pairs: Vec<(usize, usize)> =
        (0..folds.len()).flat_map(|fold| (0..strengths.len()).map(move |number| (fold, number))).collect();
    pairs.into_par_iter().try_for_each(|(number, strength)| {
        let (fold, c) = (&folds[number], strengths[strength]);
        let decisions = fold_decisions(data, fold, &LogisticOptions { c, ..*options });
        let decisions = decisions.map_err(|source| FoldError::Fit {
            fold: number + 1,
            folds: folds.len(),
            name: STRENGTH,
            strength: c,
            source: Box::new(source),
        })?;
        take((number, strength), decisions.view())
    })
}

fn fold_decisions(
    data: &LabelledRows<'_>,
    fold: &Fold,
    options: &LogisticOptions,
) -> Result<ndarray::Array2<f64>, Error> {
    let rows = Selection::new(data.rows, &fold.train);
    let targets = data.targets.select(&fold.train);
    let (targets, present) = compact(targets);
    let weights = data.weights.map(|weights| fold.train.iter().map(|&row| weights[row]).collect::<Vec<_>>());
    let columns = data.targets.columns();
    let mut out = ndarray::Array2::from_elem((fold.validation.len(), columns), f64::NEG_INFINITY);
    if let [only] = present[..] {
        // Of two classes the one column is infinite on the side of the class that is there.
        let (column, value) =
            if columns == 1 { (0, if only == 1 { f64::INFINITY } else { f64::NEG_INFINITY }) } else { (only, 0.0) };
        out.column_mut(column).fill(value);
        return Ok(out);
    }
    let found = fit(&LabelledRows { rows: &rows, targets: &targets, weights: weights.as_deref() }, options)?;
    for (&row, mut out) in fold.validation.iter().zip(out.rows_mut()) {
        let row = ndarray::ArrayView1::from(data.rows.row(row)).mapv(f64::from);
        let logits = found.coefficients.dot(&row) + ndarray::ArrayView1::from(&found.intercepts);
        match (columns, &present[..]) {
            (1, _) => out[0] = logits[0],
            // A binomial fit of two of several classes: its logit is their difference.
            (_, &[first, second]) => (out[first], out[second]) = (-0.5 * logits[0], 0.5 * logits[0]),
            _ => present.iter().zip(&logits).for_each(|(&class, &logit)| out[class] = logit),
        }
    }
    Ok(out)
}

/// The targets with only those classes that there are, and which these are.
fn compact(targets: Targets) -> (Targets, Vec<usize>) {
    let Targets::Classes { of, .. } = targets else { return (targets, Vec::new()) };
    let mut present = of.clone();
    present.sort_unstable();
    present.dedup();
    let number = |class: &usize| present.partition_point(|other| other < class);
    let of = of.iter().map(number).collect();
    (Targets::Classes { of, classes: present.len() }, present)
}
