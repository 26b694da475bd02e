//! Every strength on every fold, all folds in lock-step: a pass over the rows serves them all, and each strength starts
//! from the fit of the one before.
//!
//! Knows no metric. Invariant: what is handed on depends on rows, targets, folds and strengths alone, not on the number
//! of threads.

use ndarray::{Array2, ArrayView2};

use super::super::error::Error;
use super::super::folds::Fold;
use super::super::rows::Selection;
use super::super::trainer::{LabelledRows, TakeDecisions, Targets};
use super::evaluate::padded;
use super::fit::penalty;
use super::pass::{Data, Decisions, Share};
use super::problem::{Decided, check, check_values, decide, frame};
use super::solve::{Goal, Solver, curvature};
use super::{LogisticOptions, check_options};

/// Half of the slope along the next step, in nats a row, at which a fit that only chooses ends. Fits a hundred times
/// closer moved mean scores by less than 3·10⁻⁴.
const DECREMENT: f64 = 1e-5;

/// Columns that are fitted at the same time, unless one fold has more: bounds the memory of the solver.
const COLUMNS: usize = 1024;

/// Rows that no fold is fitted on are left out of passes if they are at least this share.
const LEFT_OUT: f64 = 0.25;

/// A path of some folds.
struct Path<'a> {
    rows: &'a LabelledRows<'a>,
    folds: &'a [Fold],
    strengths: &'a [f64],
    /// Numbers of the strengths, weakest penalty last.
    order: Vec<usize>,
    max_iterations: u64,
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
        return Err(Error::NothingToChoose { grid: strengths.len(), folds: folds.len() });
    }
    for &c in strengths {
        check_options(&LogisticOptions { c, ..*options })?;
    }
    for (index, fold) in folds.iter().enumerate() {
        check_fold(fold, index, rows)?;
    }
    let mut order: Vec<usize> = (0..strengths.len()).collect();
    order.sort_by(|&a, &b| strengths[a].total_cmp(&strengths[b]));
    let path = Path { rows, folds, strengths, order, max_iterations: options.max_iterations };
    let columns = match rows.targets {
        Targets::Classes { classes, .. } => *classes,
        targets => targets.columns(),
    };
    let together = (COLUMNS / columns.max(1)).clamp(1, folds.len());
    for first in (0..folds.len()).step_by(together) {
        path.follow(first..(first + together).min(folds.len()), take)?;
    }
    Ok(())
}

pub(super) fn check_fold(fold: &Fold, index: usize, rows: &LabelledRows<'_>) -> Result<(), Error> {
    let (fold_number, count) = (index + 1, rows.rows.count());
    if fold.train.is_empty() || fold.validation.is_empty() {
        let (train, validation) = (fold.train.len(), fold.validation.len());
        return Err(Error::EmptyFold { fold: fold_number, train, validation });
    }
    if let Some(&row) = fold.train.iter().chain(&fold.validation).find(|&&row| row >= count) {
        return Err(Error::FoldRow { fold: fold_number, row, rows: count });
    }
    match rows.weights {
        Some(weights) if fold.train.iter().all(|&row| weights[row] == 0.0) => {
            Err(Error::NoWeight { rows: fold.train.len() })
        }
        _ => Ok(()),
    }
}

impl Path<'_> {
    fn follow(&self, folds: std::ops::Range<usize>, take: TakeDecisions<'_>) -> Result<(), Error> {
        let count = self.rows.rows.count();
        let mut used = vec![false; count];
        self.folds[folds.clone()].iter().flat_map(|fold| &fold.train).for_each(|&row| used[row] = true);
        let numbers: Vec<usize> = (0..count).filter(|&row| used[row]).collect();
        let shares = |place: &dyn Fn(usize) -> usize, count: usize| {
            let share = |fold: &Fold| {
                let mut weights = vec![0.0; count];
                for &row in &fold.train {
                    weights[place(row)] += self.rows.weights.map_or(1.0, |weights| weights[row]);
                }
                Share::new(weights)
            };
            self.folds[folds.clone()].iter().map(share).collect::<Vec<_>>()
        };
        if ((count - numbers.len()) as f64) < LEFT_OUT * count as f64 {
            let shares = shares(&|row| row, count);
            let data = Data { rows: self.rows.rows, targets: self.rows.targets, shares, frame: frame(self.rows.rows)? };
            return self.descend(folds, &data, take);
        }
        let mut place = vec![0; count];
        numbers.iter().enumerate().for_each(|(index, &row)| place[row] = index);
        let rows = Selection::new(self.rows.rows, &numbers);
        let targets = self.rows.targets.select(&numbers);
        let shares = shares(&|row| place[row], numbers.len());
        let data = Data { rows: &rows, targets: &targets, shares, frame: frame(&rows)? };
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
            let endings = solver.solve(Goal::Decrement(DECREMENT), self.max_iterations);
            let error = |(fold, source): (usize, Error)| Error::Fold {
                fold: folds.start + fold + 1,
                folds: self.folds.len(),
                c: self.strengths[number],
                source: Box::new(source),
            };
            for ((ending, problem), descent) in endings.iter().zip(&problems).zip(&solver.descents) {
                if !ending.solved {
                    let source = Error::NotSettled {
                        c: self.strengths[number],
                        iterations: descent.iterations,
                        decrement: ending.decrement,
                        allowed: DECREMENT,
                    };
                    return Err(error((problem.share, source)));
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

/// The class that decision values say: of one column the sign, else the largest, of equals the first.
pub(super) fn classes(decisions: ArrayView2<'_, f64>) -> Vec<usize> {
    let class = |row: ndarray::ArrayView1<'_, f64>| {
        if row.len() == 1 { usize::from(row[0] > 0.0) } else { super::argmax(row.iter()) }
    };
    decisions.rows().into_iter().map(class).collect()
}
