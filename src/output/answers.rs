//! What a head's numbers say of a paper: its label, its labels, or its values. Knows no file format and no model.
//!
//! Invariant: an answer counts as the f32 that is written, so that what is shown agrees with the threshold.

use std::sync::Arc;

use crate::heads::{Head, Meaning};
use crate::model::{Conformal, GraphHead, Task, given_label};

/// Label of rows whose answer for it is too low.
pub const UNKNOWN: &str = "unknown";

/// What a head answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// One label is right.
    Label {
        /// The most probable one, or the one that the head's threshold gives; [`UNKNOWN`] where it is too improbable.
        label: Arc<str>,
        /// How probable it is, or its score, also where it is too improbable to be given.
        probability: f32,
        /// The most probable labels, best first, as many as were asked for.
        ranked: Vec<(Arc<str>, f32)>,
        /// The labels of the head's conformal set, best first; none where it has no such sets.
        set: Option<Vec<Arc<str>>>,
    },
    /// Labels of which any number may be right, with their probabilities or scores, best first.
    Labels(Vec<(Arc<str>, f32)>),
    /// Numbers, one for each name of the head.
    Values(Vec<f32>),
}

/// What the user asks of answers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AnswerRules {
    /// Of one label: how many ranked labels are given. Of several: how many are given at most; 0 sets no bound.
    pub top_k: usize,
    /// Of one label: below this it is [`UNKNOWN`]. Of several: the threshold of all labels. It takes the place of the
    /// head's own rules, and says nothing about scores.
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
    /// What the numbers are.
    pub meaning: Meaning,
    decision: Decision,
    rules: AnswerRules,
    unknown: Arc<str>,
}

/// What a head decides by.
#[derive(Debug, Clone)]
struct Decision {
    /// For each of several labels.
    thresholds: Vec<f32>,
    /// Of two labels, that of the second.
    of_second: Option<Vec<f64>>,
    /// For each label, the least answer with which it is given.
    least: Option<Vec<f32>>,
    conformal: Option<Conformal>,
}

impl HeadReader {
    /// For a head in a bundle's graph.
    pub fn of_graph(head: &GraphHead, rules: AnswerRules) -> Self {
        let meaning = match head.task {
            Task::Regression => Meaning::Number,
            _ if head.gives_scores() => Meaning::Score,
            _ => Meaning::Probability,
        };
        let own = (head.thresholds.as_deref(), head.abstain.as_deref(), head.conformal);
        Self::new(&head.name, (head.task, meaning, &head.labels), own, (&|column| head.threshold(column), rules))
    }

    /// For a head file, under a name for messages.
    pub fn of_file(name: &str, head: &Head, rules: AnswerRules) -> Self {
        let own = (head.thresholds.as_deref(), head.abstain.as_deref(), head.conformal);
        Self::new(name, (head.task, head.meaning(), &head.labels), own, (&|column| head.threshold(column), rules))
    }

    fn new(
        name: &str,
        (task, meaning, labels): (Task, Meaning, &[String]),
        (thresholds, abstain, conformal): (Option<&[f64]>, Option<&[f64]>, Option<Conformal>),
        (threshold, rules): (&dyn Fn(usize) -> f64, AnswerRules),
    ) -> Self {
        let asked = rules.min_probability.filter(|_| meaning == Meaning::Probability);
        let is_multilabel = task == Task::Multilabel;
        let each = |threshold: &dyn Fn(usize) -> f64| -> Vec<f32> {
            (0..labels.len()).map(|column| asked.unwrap_or(threshold(column) as f32)).collect()
        };
        let least = match abstain {
            Some(list) => Some(each(&|column| list[column])),
            None => asked.map(|asked| vec![asked; labels.len()]),
        };
        Self {
            name: name.to_owned(),
            task,
            labels: labels.iter().map(|label| Arc::from(label.as_str())).collect(),
            meaning,
            decision: Decision {
                thresholds: if is_multilabel { each(threshold) } else { Vec::new() },
                of_second: thresholds.filter(|_| !is_multilabel).map(<[f64]>::to_vec),
                least,
                conformal,
            },
            rules,
            unknown: Arc::from(UNKNOWN),
        }
    }

    /// Whether its answers say which labels are in a conformal set.
    pub fn gives_sets(&self) -> bool {
        self.decision.conformal.is_some()
    }

    /// Reads one row, a number for each label; all must be finite.
    pub fn read(&self, row: &[f32]) -> Answer {
        match self.task {
            Task::Classification => {
                let order = ordered((0..row.len()).collect(), row);
                let given = given_label(self.decision.of_second.as_deref(), row);
                let sure = self.decision.least.as_ref().is_none_or(|least| row[given] >= least[given]);
                let label = if sure { &self.labels[given] } else { &self.unknown };
                let in_set = |conformal: Conformal| -> Vec<Arc<str>> {
                    let held = order.iter().filter(|&&column| conformal.holds(row[column]));
                    held.map(|&column| Arc::clone(&self.labels[column])).collect()
                };
                Answer::Label {
                    label: Arc::clone(label),
                    probability: row[given],
                    ranked: order.iter().take(self.rules.top_k).map(|&column| self.pair(column, row)).collect(),
                    set: self.decision.conformal.map(in_set),
                }
            }
            Task::Multilabel => {
                let thresholds = &self.decision.thresholds;
                let given = (0..row.len()).filter(|&column| row[column] >= thresholds[column]).collect();
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
    use crate::heads::{Fitted, HeadDescription, HeadKind, Model, NeighbourTrainer, Neighbours, Targets};
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
            Answer::Label { label, probability, ranked, set } => {
                let set = set.map(|set| format!(" {{{}}}", set.join(" "))).unwrap_or_default();
                format!("{label} {probability} [{}]{set}", joined(ranked))
            }
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
    fn half_of_the_neighbours_do_not_give_a_label() {
        let rows = ndarray::array![[1.0_f32, 0.0], [0.0, 1.0]];
        let targets = Targets::Labels { of: vec![vec![0, 1], vec![1]], labels: 3 };
        let kept = Neighbours::new(rows, targets, 2, NeighbourTrainer::default()).unwrap();
        let fitted = Fitted { model: Model::Neighbours(kept), strength: 2.0, optimality: None };
        let description =
            HeadDescription { labels: ["a", "b", "c"].map(str::to_owned).to_vec(), ..HeadDescription::default() };
        let mut head = Head::new((Task::Multilabel, HeadKind::Neighbours), fitted, description).unwrap();
        let answers = head.predict(ndarray::array![[1.0_f32, 1.0]].view()).unwrap().row(0).to_vec();
        assert_eq!(answers, [0.5, 1.0, 0.0]);
        let read = |head: &Head| {
            let rules = AnswerRules { top_k: 0, min_probability: None };
            labels(HeadReader::of_file("near", head, rules).read(&answers))
        };
        assert_eq!(read(&head), "b=1");
        head.thresholds = Some(vec![0.5; 3]);
        assert_eq!(read(&head), "b=1 a=0.5");
    }

    #[test]
    fn a_head_may_have_its_own_rules_for_one_label() {
        let own = |labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            GraphHead::of_checkpoint(&Classification { task: Task::Classification, labels })
        };
        let read =
            |head: &GraphHead, rules: AnswerRules, row: &[f32]| labels(HeadReader::of_graph(head, rules).read(row));
        let asked = |min_probability| AnswerRules { top_k: 0, min_probability };
        let two = GraphHead { thresholds: Some(vec![0.3]), ..own(&["no", "yes"]) };
        assert_eq!(read(&two, asked(None), &[0.6, 0.4]), "yes 0.4 []");
        assert_eq!(read(&two, asked(None), &[0.75, 0.25]), "no 0.75 []");
        assert_eq!(read(&two, asked(Some(0.5)), &[0.6, 0.4]), "unknown 0.4 []");
        let three = GraphHead { abstain: Some(vec![0.5, 0.9, 0.0]), ..own(&["a", "b", "c"]) };
        assert_eq!(read(&three, asked(None), &[0.2, 0.8, 0.0]), "unknown 0.8 []");
        assert_eq!(read(&three, asked(None), &[0.8, 0.2, 0.0]), "a 0.8 []");
        assert_eq!(read(&three, asked(Some(0.7)), &[0.2, 0.8, 0.0]), "b 0.8 []");
        let conformal = |least| Some(Conformal { alpha: 0.1, least, rows: 20 });
        let sets = |least| GraphHead { conformal: conformal(least), ..own(&["a", "b", "c"]) };
        assert_eq!(read(&sets(Some(0.2)), asked(None), &[0.2, 0.5, 0.1]), "b 0.5 [] {b a}");
        assert_eq!(read(&sets(Some(0.9)), asked(None), &[0.2, 0.5, 0.1]), "b 0.5 [] {}");
        assert_eq!(read(&sets(None), asked(None), &[0.2, 0.5, 0.1]), "b 0.5 [] {b a c}");
    }

    #[test]
    fn scores_are_of_any_size_and_no_probability_is_asked_of_them() {
        let scores = |task, rules| {
            let classification = Classification { task, labels: ["a", "b", "c"].map(str::to_owned).to_vec() };
            let head = GraphHead { probabilities: None, ..GraphHead::of_checkpoint(&classification) };
            let reader = HeadReader::of_graph(&head, rules);
            assert_eq!(reader.meaning, Meaning::Score);
            labels(reader.read(&[-1.5, 0.25, 0.0]))
        };
        for min_probability in [None, Some(0.9)] {
            let rules = AnswerRules { top_k: 0, min_probability };
            assert_eq!(scores(Task::Classification, rules), "b 0.25 []");
            assert_eq!(scores(Task::Multilabel, rules), "b=0.25 c=0");
        }
    }

    #[test]
    fn numbers_stay_as_they_are() {
        let rules = AnswerRules { top_k: 1, min_probability: Some(0.5) };
        assert_eq!(labels(reader(Task::Regression, None, rules).read(&[-3.0, 0.1, 7.0])), "[-3.0, 0.1, 7.0]");
    }
}
