//! The labelled rows of a corpus with their embeddings, what is right for them, and which of them a head is fitted on.
//!
//! Knows papers and what their fields say, no kind of head and no metric. Invariant: every row with a label is in the set
//! with everything that was asked of it, or the set is refused with the row's id; rows without a label are counted.

mod labels;
mod parts;
mod sink;
mod vectors;

use std::collections::HashSet;

use ndarray::Array2;

use super::rows::{HeldRows, Rows, Selection};
use super::trainer::Targets;
use crate::model::Task;

pub use labels::{LookAlike, TaskReason};
pub use parts::{SplitBy, SplitPlan};
pub use sink::{TrainingFields, TrainingOptions, TrainingSink};
pub use vectors::TrainingRows;

/// Name of the rows that are set aside where the corpus has no split of its own.
pub const HELD_OUT: &str = "held_out";
/// Name of the rows that a head is fitted on.
pub const TRAIN: &str = "train";
/// Name of the rows that choose the strength where the corpus has them.
pub const DEV: &str = "dev";

/// Labelled embeddings, each row in one part of the split.
#[derive(Debug)]
pub struct TrainingSet {
    /// The vectors.
    pub vectors: TrainingRows,
    /// Ids of the papers.
    pub ids: Vec<String>,
    /// What stands for each paper in a list: the beginning of its title, or of its text.
    pub titles: Vec<String>,
    /// What is right for each row. Classes and labels are those of the `train` rows in the order of their names, then any
    /// others.
    pub targets: Targets,
    /// Names of the classes or labels; of a regression, of the number.
    pub classes: Classes,
    /// Part of the split each row belongs to; none for rows that a corpus with a split puts nowhere.
    pub splits: Vec<Option<String>>,
    /// The group of each row, where a field names groups; a row without one is a group by itself.
    pub groups: Option<Vec<Option<String>>>,
    /// The name of the fold in which each row is scored, where a field names folds; a row without one is in none.
    pub folds: Option<Vec<Option<String>>>,
    /// How much each row counts, where a field says it.
    pub weights: Option<Vec<f64>>,
    /// What decided about the task.
    pub reason: TaskReason,
    /// Labels that differ from one of a `train` row by case or blanks alone.
    pub look_alikes: Vec<LookAlike>,
    /// Rows that had no label and are not in the set.
    pub unlabelled: u64,
    /// Rows that are in no part: a corpus with a split puts them nowhere, or they have no year and the split is by year.
    pub without_split: u64,
}

/// Names of the classes of a training set.
#[derive(Debug, Clone)]
pub struct Classes {
    /// All names, the ones of the training rows first.
    pub names: Vec<String>,
    /// How many of them occur in training rows; a head can only predict these.
    pub trained: usize,
}

impl TrainingSet {
    /// What a head for it is for.
    pub fn task(&self) -> Task {
        self.targets.task()
    }

    /// Names of the parts that have rows: train first, then by name.
    pub fn parts(&self) -> Vec<String> {
        let mut parts: Vec<String> = self.splits.iter().flatten().cloned().collect();
        parts.sort_unstable_by_key(|part| (part != TRAIN, part.clone()));
        parts.dedup();
        parts
    }

    /// Numbers of the rows in `part`, ascending.
    pub fn rows_of(&self, part: &str) -> Vec<usize> {
        (0..self.splits.len()).filter(|&row| self.splits[row].as_deref() == Some(part)).collect()
    }

    /// All rows where they lie.
    pub fn rows(&self) -> &dyn Rows {
        &self.vectors
    }

    /// A copy of the rows with these numbers, rows × dim.
    pub fn copied(&self, rows: &[usize]) -> Array2<f32> {
        let copy = HeldRows::copy_of(&Selection::new(self.rows(), rows));
        Array2::from_shape_vec((rows.len(), self.vectors.dim()), copy.values()).expect("every row has `dim` numbers")
    }

    /// Whether all that is right for a row is known to the `train` rows.
    pub fn is_known(&self, row: usize) -> bool {
        match &self.targets {
            Targets::Classes { of, .. } => of[row] < self.classes.trained,
            Targets::Labels { of, .. } => of[row].iter().all(|&label| label < self.classes.trained),
            Targets::Numbers(_) => true,
        }
    }

    /// Groups of these rows, each without a name one by itself; 0 where no field names groups.
    pub fn groups_in(&self, rows: &[usize]) -> usize {
        let Some(groups) = &self.groups else { return 0 };
        let named: Vec<&str> = rows.iter().filter_map(|&row| groups[row].as_deref()).collect();
        rows.len() - named.len() + named.iter().collect::<HashSet<_>>().len()
    }

    /// What a head learns of these rows: classes and labels that no `train` row has are left away, so rows of classes
    /// have to be known ones.
    pub fn learnt(&self, rows: &[usize]) -> Targets {
        let trained = self.classes.trained;
        match self.targets.select(rows) {
            Targets::Classes { of, .. } => Targets::Classes { of, classes: trained },
            Targets::Labels { of, .. } => {
                let known = |labels: Vec<usize>| labels.into_iter().filter(|&label| label < trained).collect();
                Targets::Labels { of: of.into_iter().map(known).collect(), labels: trained }
            }
            numbers @ Targets::Numbers(_) => numbers,
        }
    }

    /// What is right for a row, in words.
    pub fn truth_of(&self, row: usize) -> String {
        match &self.targets {
            Targets::Classes { of, .. } => self.classes.names[of[row]].clone(),
            Targets::Labels { of, .. } => {
                let names: Vec<&str> = of[row].iter().map(|&label| self.classes.names[label].as_str()).collect();
                names.join("; ")
            }
            Targets::Numbers(numbers) => numbers.row(row)[0].to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
