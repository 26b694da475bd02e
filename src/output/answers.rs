//! What a head's numbers say of a paper: its label, its labels, or its values. Knows no file format and no model.
//!
//! Invariant: a probability counts as the f32 that is written, so that what is shown agrees with the threshold.

use std::sync::Arc;

use crate::heads::Head;
use crate::model::{DEFAULT_THRESHOLD, GraphHead, Task};

/// Label of rows whose best probability is too low.
pub const UNKNOWN: &str = "unknown";

/// What a head answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// One label is right.
    Label {
        /// The most probable one, or [`UNKNOWN`].
        label: Arc<str>,
        /// The highest probability.
        probability: f32,
        /// The most probable labels, best first, as many as were asked for.
        ranked: Vec<(Arc<str>, f32)>,
    },
    /// Labels of which any number may be right, with their probabilities, best first.
    Labels(Vec<(Arc<str>, f32)>),
    /// Numbers, one for each name of the head.
    Values(Vec<f32>),
}

/// What the user asks of answers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AnswerRules {
    /// Of one label: how many ranked labels are given. Of several: how many are given at most; 0 sets no bound.
    pub top_k: usize,
    /// Of one label: below this it is [`UNKNOWN`]. Of several: the threshold of all labels, instead of the head's own.
    pub min_probability: Option<f32>,
}

/// Reads the numbers of one head.
#[derive(Debug, Clone)]
pub struct HeadReader {
    /// The head's name.
    pub name: String,
    /// What the numbers mean.
    pub task: Task,
    /// The labels, or the names of the numbers, in the order of the columns.
    pub labels: Vec<Arc<str>>,
    thresholds: Vec<f32>,
    rules: AnswerRules,
    unknown: Arc<str>,
}

impl HeadReader {
    /// For a head in a bundle's graph.
    pub fn of_graph(head: &GraphHead, rules: AnswerRules) -> Self {
        let thresholds = (0..head.labels.len()).map(|column| head.threshold(column));
        Self::new(&head.name, (head.task, &head.labels), thresholds, rules)
    }

    /// For a head file, under a name for messages.
    pub fn of_file(name: &str, head: &Head, rules: AnswerRules) -> Self {
        let own = |column: usize| head.thresholds.as_ref().map_or(DEFAULT_THRESHOLD, |thresholds| thresholds[column]);
        Self::new(name, (head.task, &head.labels), (0..head.labels.len()).map(own), rules)
    }

    fn new(
        name: &str,
        (task, labels): (Task, &[String]),
        thresholds: impl Iterator<Item = f64>,
        rules: AnswerRules,
    ) -> Self {
        let threshold = |own: f64| rules.min_probability.unwrap_or(own as f32);
        Self {
            name: name.to_owned(),
            task,
            labels: labels.iter().map(|label| Arc::from(label.as_str())).collect(),
            thresholds: thresholds.map(threshold).collect(),
            rules,
            unknown: Arc::from(UNKNOWN),
        }
    }

    /// Reads one row, a number for each label; all must be finite.
    pub fn read(&self, row: &[f32]) -> Answer {
        match self.task {
            Task::Classification => {
                let order = ordered((0..row.len()).collect(), row);
                let probability = row[order[0]];
                let sure = self.rules.min_probability.is_none_or(|least| probability >= least);
                let label = if sure { &self.labels[order[0]] } else { &self.unknown };
                let ranked = order.iter().take(self.rules.top_k).map(|&column| self.pair(column, row)).collect();
                Answer::Label { label: Arc::clone(label), probability, ranked }
            }
            Task::Multilabel => {
                let given = (0..row.len()).filter(|&column| row[column] >= self.thresholds[column]).collect();
                let most = if self.rules.top_k == 0 { row.len() } else { self.rules.top_k };
                Answer::Labels(ordered(given, row).iter().take(most).map(|&column| self.pair(column, row)).collect())
            }
            Task::Regression => Answer::Values(row.to_vec()),
        }
    }

    fn pair(&self, column: usize, row: &[f32]) -> (Arc<str>, f32) {
        (Arc::clone(&self.labels[column]), row[column])
    }
}

/// Columns by falling number; of equals the first comes first, as scikit-learn's argmax has it.
fn ordered(mut columns: Vec<usize>, row: &[f32]) -> Vec<usize> {
    columns.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Classification;

    fn reader(task: Task, thresholds: Option<Vec<f64>>, rules: AnswerRules) -> HeadReader {
        let classification = Classification { task, labels: ["a", "b", "c"].map(str::to_owned).to_vec() };
        HeadReader::of_graph(&GraphHead { thresholds, ..GraphHead::of_checkpoint(&classification) }, rules)
    }

    fn labels(answer: Answer) -> String {
        let joined = |pairs: Vec<(Arc<str>, f32)>| {
            pairs.iter().map(|(label, probability)| format!("{label}={probability}")).collect::<Vec<_>>().join(" ")
        };
        match answer {
            Answer::Label { label, probability, ranked } => format!("{label} {probability} [{}]", joined(ranked)),
            Answer::Labels(pairs) => joined(pairs),
            Answer::Values(values) => format!("{values:?}"),
        }
    }

    #[test]
    fn the_most_probable_label_is_given_and_the_first_of_equals() {
        let rules = |top_k, min_probability| AnswerRules { top_k, min_probability };
        let read = |rules, row: [f32; 3]| labels(reader(Task::Classification, None, rules).read(&row));
        assert_eq!(read(rules(0, None), [0.2, 0.4, 0.4]), "b 0.4 []");
        assert_eq!(read(rules(2, None), [0.25, 0.25, 0.5]), "c 0.5 [c=0.5 a=0.25]");
        assert_eq!(read(rules(9, Some(0.5)), [0.25, 0.25, 0.5]), "c 0.5 [c=0.5 a=0.25 b=0.25]");
        assert_eq!(read(rules(1, Some(0.6)), [0.25, 0.25, 0.5]), "unknown 0.5 [c=0.5]");
    }

    #[test]
    fn of_several_labels_each_has_its_threshold() {
        let rules = |top_k, min_probability| AnswerRules { top_k, min_probability };
        let read = |thresholds: Option<Vec<f64>>, rules, row: [f32; 3]| {
            labels(reader(Task::Multilabel, thresholds, rules).read(&row))
        };
        let own = || Some(vec![0.7, 0.1, 0.9]);
        assert_eq!(read(None, rules(0, None), [0.5, 0.49, 0.9]), "c=0.9 a=0.5");
        // 0.7 as f32 lies below 0.7 as f64; what is shown decides.
        assert_eq!(read(own(), rules(0, None), [0.7, 0.3, 0.8]), "a=0.7 b=0.3");
        assert_eq!(read(own(), rules(1, None), [0.7, 0.3, 0.8]), "a=0.7");
        assert_eq!(read(own(), rules(0, Some(0.75)), [0.7, 0.3, 0.8]), "c=0.8");
        assert_eq!(read(own(), rules(2, Some(0.0)), [0.0, 0.3, 0.8]), "c=0.8 b=0.3");
        assert_eq!(read(own(), rules(0, None), [0.0; 3]), "");
    }

    #[test]
    fn numbers_stay_as_they_are() {
        let rules = AnswerRules { top_k: 1, min_probability: Some(0.5) };
        assert_eq!(labels(reader(Task::Regression, None, rules).read(&[-3.0, 0.1, 7.0])), "[-3.0, 0.1, 7.0]");
    }
}
