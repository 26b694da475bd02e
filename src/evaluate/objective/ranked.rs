//! Areas of several columns of decision values, one for each class or label. Knows columns and who is right in them.
//! Invariant: a column that has no area takes no part in the mean.

use super::Objective;
use super::curves::RankedRows;

/// Every column's rows by falling decision value.
#[derive(Debug)]
pub(super) struct Ranked {
    columns: Vec<RankedRows>,
}

impl Ranked {
    /// Of `columns` columns; `column` says who is right in one, and the decision values.
    pub(super) fn new(columns: usize, column: impl Fn(usize) -> (Vec<bool>, Vec<f64>)) -> Self {
        let rank = |index| {
            let (right, scores) = column(index);
            RankedRows::new(&right, &scores)
        };
        Self { columns: (0..columns).map(rank).collect() }
    }

    /// Columns that are ranked.
    pub(super) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// The mean area of the columns that have one.
    pub(super) fn score(&self, objective: Objective, times: &[u32]) -> Option<f64> {
        let area = |column: &RankedRows| match objective {
            Objective::AveragePrecision => column.average_precision(times),
            _ => column.roc_auc(times),
        };
        let areas: Vec<f64> = self.columns.iter().filter_map(area).collect();
        (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64)
    }
}
