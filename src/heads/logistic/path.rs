//! Every strength on every fold, all folds in lock-step: a pass over the rows serves them all, and each strength starts
//! from the fit of the one before.
//!
//! Knows no metric. Invariant: what is handed on depends on rows, targets, folds and strengths alone, not on the number
//! of threads.

use ndarray::{Array2, ArrayView2};

use super::super::arithmetic::decided;
use super::super::error::{Error, FitError, FoldError};
use super::super::folds::Fold;
use super::super::rows::{HeldRows, Rows, Selection};
use super::super::sample::{Sample, check_values, check_weight};
use super::super::trainer::{LabelledRows, TakeDecisions, Targets};
use super::evaluate::padded;
use super::fit::penalty;
use super::pass::{Data, Decisions, Share};
use super::problem::{Decided, check, decide};
use super::solve::{Goal, Solver, curvature};
use super::{LogisticOptions, STRENGTH, check_options};

/// Half of the slope along the next step, in nats a row, at which a fit that only chooses ends. Mean accuracies of such
/// fits are within 10⁻³ of those of certified ones (20,000 rows, 19 classes, C from 0.01 to 1,000). It goes with the square
/// of a tolerance below the default one, as the distance of coefficients does.
const DECREMENT: f64 = 1e-5;
/// The least that is asked for; below, f64 runs out.
const LEAST_DECREMENT: f64 = 1e-11;

/// Columns that are fitted at the same time, unless one fold has more: bounds the memory of the solver.
const COLUMNS: usize = 1024;

/// Bytes of rows that are copied into the order they are passed over in while they are fitted on, for passes that have no
/// kept blocks; more of them are looked up where they lie.
const COPIED: usize = 512 << 20;

/// A path of some folds.
struct Path<'a> {
    rows: &'a LabelledRows<'a>,
    folds: &'a [Fold],
    strengths: &'a [f64],
    /// Numbers of the strengths, weakest penalty last.
    order: Vec<usize>,
    options: &'a LogisticOptions,
}

/// See [`super::super::trainer::Trainer::path`].
pub(super) fn path(
    rows: &LabelledRows<'_>,
    folds: &[Fold],
    (strengths, options): (&[f64], &LogisticOptions),
    take: TakeDecisions<'_>,
) -> Result<(), Error> {
    check(rows)?;
    if strengths.is_empty() || folds.is_empty() {
        return Err(FoldError::NothingToChoose { grid: strengths.len(), folds: folds.len() }.into());
    }
    for &c in strengths {
        check_options(&LogisticOptions { c, ..*options })?;
    }
    for (index, fold) in folds.iter().enumerate() {
        check_fold(fold, index, rows)?;
    }
    let mut order: Vec<usize> = (0..strengths.len()).collect();
    order.sort_by(|&a, &b| strengths[a].total_cmp(&strengths[b]));
    let path = Path { rows, folds, strengths, order, options };
    let columns = match rows.targets {
        Targets::Classes { classes, .. } => *classes,
        targets => targets.columns(),
    };
    let together = (COLUMNS / columns.max(1)).clamp(1, folds.len());
    for first in (0..folds.len()).step_by(together) {
        // Inside the pool from the start: each of many short passes would wake it otherwise.
        rayon::scope(|_| path.follow(first..(first + together).min(folds.len()), take))?;
    }
    Ok(())
}

/// Refuses folds that name no rows, or rows that are not there or all weigh nothing.
pub(super) fn check_fold(fold: &Fold, index: usize, rows: &LabelledRows<'_>) -> Result<(), Error> {
    fold.check(index, rows.rows.count())?;
    check_weight(&Sample::of(*rows, &fold.train))
}

fn decrement(options: &LogisticOptions) -> f64 {
    let tighter = (options.tolerance / LogisticOptions::default().tolerance).min(1.0);
    (DECREMENT * tighter * tighter).max(LEAST_DECREMENT)
}

impl Path<'_> {
    /// Rows are taken in the order of the folds that they are in: a block of them then counts for the same folds, and a
    /// pass leaves out the others' columns.
    fn follow(&self, folds: std::ops::Range<usize>, take: TakeDecisions<'_>) -> Result<(), Error> {
        let count = self.rows.rows.count();
        let mut weights = vec![vec![0.0; folds.len()]; count];
        for (number, fold) in self.folds[folds.clone()].iter().enumerate() {
            for &row in &fold.train {
                weights[row][number] += self.rows.weights.map_or(1.0, |weights| weights[row]);
            }
        }
        let pattern = |row: &usize| weights[*row].iter().map(|weight| *weight > 0.0).collect::<Vec<bool>>();
        let mut numbers: Vec<usize> = (0..count).filter(|row| pattern(row).contains(&true)).collect();
        numbers.sort_by_cached_key(pattern);
        let share = |fold| Share::new(numbers.iter().map(|&row| weights[row][fold]).collect());
        let shares = (0..folds.len()).map(share).collect();
        let selection = Selection::new(self.rows.rows, &numbers);
        let copy = copied(&selection);
        let rows: &dyn Rows = copy.as_ref().map_or(&selection, |copy| copy);
        let targets = self.rows.targets.select(&numbers);
        let data = Data::new(rows, &targets, shares, self.options.fit_intercept)?;
        self.descend(folds, &data, take)
    }

    /// Shares of `data` are those of the folds.
    fn descend(&self, folds: std::ops::Range<usize>, data: &Data<'_>, take: TakeDecisions<'_>) -> Result<(), Error> {
        let decided: Vec<Decided> =
            data.shares.iter().enumerate().map(|(number, share)| decide(data.targets, (number, share))).collect();
        let problems: Vec<_> = decided.iter().flat_map(|decided| decided.problems.clone()).collect();
        let columns = problems.iter().map(|problem| problem.targets.len()).sum();
        let curvature = curvature(data, columns, self.strengths.len());
        let at = |number: usize| move |share: usize| penalty(data, &data.shares[share], self.strengths[number]);
        let first = at(self.order[0]);
        let mut solver = Solver::start(data, &problems, &curvature, |problem| first(problem.share))?;
        for &number in &self.order {
            let penalty = at(number);
            for (problem, descent) in problems.iter().zip(&mut solver.descents) {
                descent.set_penalty(penalty(problem.share));
                descent.iterations = 0;
            }
            let allowed = decrement(self.options);
            let endings = solver.solve(Goal::Decrement(allowed), self.options.max_iterations);
            let error = |(fold, source): (usize, FitError)| FoldError::Fit {
                fold: folds.start + fold + 1,
                folds: self.folds.len(),
                name: STRENGTH,
                strength: self.strengths[number],
                source: Box::new(source.into()),
            };
            for ((ending, problem), descent) in endings.iter().zip(&problems).zip(&solver.descents) {
                if !ending.solved {
                    let source = FitError::NotSettled {
                        c: self.strengths[number],
                        iterations: descent.iterations,
                        decrement: ending.decrement,
                        allowed,
                    };
                    return Err(error((problem.share, source)).into());
                }
            }
            for (index, decided) in decided.iter().enumerate() {
                let fold = folds.start + index;
                let decisions = self.decisions((&solver, index), decided, &self.folds[fold].validation)?;
                take((fold, number), decisions.view())?;
            }
        }
        Ok(())
    }

    /// Decision values of a fold's validation rows.
    fn decisions(
        &self,
        (solver, share): (&Solver<'_>, usize),
        decided: &Decided,
        validation: &[usize],
    ) -> Result<Array2<f64>, Error> {
        let own = || solver.problems.iter().zip(&solver.descents).filter(|(problem, _)| problem.share == share);
        let points: Vec<&[f64]> = own().map(|(_, descent)| descent.point()).collect();
        let (coefficients, intercepts) = padded::<f64>(solver.data, &points);
        let (rows, frame) = (self.rows.rows, &solver.data.frame);
        let found =
            Decisions { rows, frame, coefficients: &coefficients, intercepts: &intercepts, numbers: validation };
        let found = Array2::from_shape_vec((validation.len(), intercepts.len()), found.all()).expect("rows × columns");
        if found.iter().any(|value| !value.is_finite()) {
            check_values(rows)?;
        }
        let columns = self.rows.targets.columns();
        let of_classes = matches!(self.rows.targets, Targets::Classes { .. }) && columns > 1;
        let mut out = Array2::zeros((validation.len(), columns));
        for (&column, &all) in &decided.constants {
            let value = if of_classes { 0.0 } else { f64::INFINITY };
            out.column_mut(column).fill(if all { value } else { f64::NEG_INFINITY });
        }
        let targets = own().flat_map(|(problem, _)| &problem.targets);
        for (&target, values) in targets.zip(found.columns()) {
            out.column_mut(if columns == 1 { 0 } else { target }).assign(&values);
        }
        Ok(out)
    }
}

/// A copy of scattered rows in their order, unless they are too many.
pub(super) fn copied(rows: &dyn Rows) -> Option<HeldRows> {
    let few = rows.count() * rows.dim() * size_of::<f32>() <= COPIED;
    (few && !rows.lie_together()).then(|| HeldRows::copy_of(rows))
}

/// The class that decision values say: of one column the sign, else the largest, of equals the first.
pub(super) fn classes(decisions: ArrayView2<'_, f64>) -> Vec<usize> {
    decisions.rows().into_iter().map(decided).collect()
}
