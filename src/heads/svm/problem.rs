//! Rows and targets of a problem of support vectors, laid out for the solver.
//!
//! Knows no options and no solver, and trusts that what comes in has been checked. Invariant: rows are looked at where
//! they lie; a column's targets are ±1 or numbers.

use crate::heads::kernel::{Real, Work, on_widest_registers};
use crate::heads::trainer::{LabelledRows, Targets};

/// A problem without its options.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    /// Every row, as a slice of `dim` numbers.
    pub rows: Vec<&'a [f32]>,
    /// Numbers in a row.
    pub dim: usize,
    /// |x|² of each row.
    pub squares: Vec<f64>,
    /// What is right for the rows.
    pub targets: &'a Targets,
    /// How much each row counts, where that differs.
    pub weights: Option<&'a [f64]>,
}

impl<'a> Problem<'a> {
    /// Lays out rows, targets and weights that have been checked.
    pub fn new(data: &LabelledRows<'a>) -> Self {
        let (count, dim) = (data.rows.count(), data.rows.dim());
        let rows: Vec<&[f32]> = (0..count).map(|row| data.rows.row(row)).collect();
        let squares = on_widest_registers(Squares(&rows));
        Self { rows, dim, squares, targets: data.targets, weights: data.weights }
    }

    /// Columns to fit, each a problem by itself.
    pub fn columns(&self) -> usize {
        self.targets.columns()
    }

    /// Targets of rows × columns of `range`: ±1, or numbers.
    pub fn goals(&self, range: std::ops::Range<usize>) -> Vec<f64> {
        let mut goals = Vec::with_capacity(self.rows.len() * range.len());
        match self.targets {
            Targets::Classes { of, classes: 2 } => goals.extend(of.iter().map(|&class| sign(class == 1))),
            Targets::Classes { of, .. } => {
                of.iter().for_each(|&class| goals.extend(range.clone().map(|column| sign(class == column))));
            }
            Targets::Labels { of, .. } => {
                for labels in of {
                    goals.extend(range.clone().map(|column| sign(labels.binary_search(&column).is_ok())));
                }
            }
            Targets::Numbers(numbers) => {
                numbers.rows().into_iter().for_each(|row| goals.extend(range.clone().map(|column| row[column])));
            }
        }
        goals
    }
}

fn sign(positive: bool) -> f64 {
    if positive { 1.0 } else { -1.0 }
}

struct Squares<'a>(&'a [&'a [f32]]);

impl Work for Squares<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run(self) -> Vec<f64> {
        let mut wide = Vec::new();
        let square = |row: &&[f32]| {
            wide.clear();
            wide.extend(row.iter().map(|&x| f64::from(x)));
            f64::dot(row, &wide)
        };
        self.0.iter().map(square).collect()
    }
}
