//! The heads in a bundle's graph: which outputs they have, and what their numbers mean. Knows nothing of how a head is
//! trained or written into a graph.

use serde::{Deserialize, Serialize};

use super::classification::{MAX_LABEL_BYTES, MAX_LABELS, label_bytes};
use super::{BundleAdapter, Classification, LOGITS, PROBABILITIES, Task};

/// A checkpoint's own classifier goes by this name.
pub const OWN_CLASSIFIER: &str = "classifier";

/// The probability from which a label of several is given, where the head says nothing else.
pub const DEFAULT_THRESHOLD: f64 = 0.5;

/// From which answer of a score on a label of several is given, where the head says nothing else.
const DEFAULT_SCORE: f64 = 0.0;

/// What makes answers of a head's weighted sums in a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadActivation {
    /// They are scores, or the numbers of a regression.
    None,
    /// Shares of 1.
    Softmax,
    /// A probability of each by itself.
    Sigmoid,
    /// Sigmoids, brought to the sum 1.
    NormalizedSigmoid,
}

/// Which labels are in the set that holds the right one with a stated probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conformal {
    /// Share of sets that may lack the right label, above 0 and below 1.
    pub alpha: f64,
    /// A label is in the set from this probability or score on. None where there were too few rows for any promise: then
    /// every label is in every set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<f64>,
    /// Rows that it was fitted on.
    pub rows: u64,
}

impl Conformal {
    /// Whether a label with this answer, rounded as answers are, is in the set.
    pub fn holds(&self, answer: f32) -> bool {
        self.least.is_none_or(|least| answer >= least as f32)
    }
}

/// The one label that a classification gives for a row of answers: the greatest, the first of equals. Of two labels with a
/// threshold, the second from that answer on, and else the first.
pub fn given_label(thresholds: Option<&[f64]>, row: &[f32]) -> usize {
    match (thresholds, row) {
        (Some([threshold]), [_, second]) => usize::from(*second >= *threshold as f32),
        _ => (1..row.len()).fold(0, |best, column| if row[column] > row[best] { column } else { best }),
    }
}

/// A head in the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphHead {
    /// What it is called among the bundle's heads: letters, digits, `-` and `_`.
    pub name: String,
    /// What its numbers mean.
    pub task: Task,
    /// The labels, in the order of the columns; the names of the numbers for a regression.
    pub labels: Vec<String>,
    /// Of several labels, the answer from which each is given; [`DEFAULT_THRESHOLD`] of a probability and 0 of a score
    /// where there is no list. Of a classification with two labels, one number: the answer of the second label from
    /// which it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Vec<f64>>,
    /// Of a classification, the least answer with which each label is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstain: Option<Vec<f64>>,
    /// Of a classification, which labels are in the set that holds the right one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conformal: Option<Conformal>,
    /// The graph's output before softmax or sigmoid, float32 [batch, labels]; for a regression, the answer itself.
    pub logits: String,
    /// The graph's output with probabilities, float32 [batch, labels]; none for a regression, and where the answers are
    /// scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<String>,
    /// BLAKE3 of the head file that was fused; none for a checkpoint's own classifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_hash: Option<String>,
    /// How the texts were made that it was trained on, where it was fused: `template model-card`, `text-field body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_with: Option<String>,
    /// Whether it was fused although it was trained on another encoder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encoder_changed: bool,
    /// The one of a bundle's several adapters whose vectors it was trained on. None where there is no choice, and for a
    /// head that answers with any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// The licence of the head file; none where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
}

impl GraphHead {
    /// The head that a checkpoint of a sequence classifier brings with it.
    pub fn of_checkpoint(classification: &Classification) -> Self {
        let Classification { task, labels } = classification.clone();
        Self {
            name: OWN_CLASSIFIER.to_owned(),
            task,
            labels,
            thresholds: None,
            abstain: None,
            conformal: None,
            logits: LOGITS.to_owned(),
            probabilities: (task != Task::Regression).then(|| PROBABILITIES.to_owned()),
            file_hash: None,
            trained_with: None,
            encoder_changed: false,
            adapter: None,
            license: None,
        }
    }

    /// Its outputs in the graph: logits, then probabilities if it has them.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.logits.as_str()).chain(self.probabilities.as_deref())
    }

    /// Whether its answers are scores, which are of any size, and not probabilities.
    pub fn gives_scores(&self) -> bool {
        self.task != Task::Regression && self.probabilities.is_none()
    }

    /// Whether it decides by more than a threshold for each of several probabilities, which earlier programs do not know.
    pub(super) fn decides_by_more(&self) -> bool {
        let of_two = self.thresholds.is_some() && self.task == Task::Classification;
        self.gives_scores() || of_two || self.abstain.is_some() || self.conformal.is_some()
    }

    /// The output that holds its answer: probabilities, scores, or the numbers of a regression.
    pub fn answer(&self) -> &str {
        self.probabilities.as_deref().unwrap_or(&self.logits)
    }

    /// The answer from which the label in `column` is given, where several may be.
    pub fn threshold(&self, column: usize) -> f64 {
        let default = if self.gives_scores() { DEFAULT_SCORE } else { DEFAULT_THRESHOLD };
        self.thresholds.as_ref().map_or(default, |thresholds| thresholds[column])
    }
}

/// What is wrong with a manifest's heads: field, got, expected.
pub(super) fn problem(heads: &[GraphHead], adapters: &[BundleAdapter]) -> Option<(String, String, String)> {
    for (number, head) in heads.iter().enumerate() {
        let wrong = |field: &str, got: &str, expected: &str| {
            Some((format!("head.{number}.{field}"), got.to_owned(), expected.to_owned()))
        };
        let letters = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        if head.name.is_empty() || !head.name.chars().all(letters) {
            return wrong("name", &format!("`{}`", head.name), "letters, digits, `-` and `_`");
        }
        if head.probabilities.as_ref() == Some(&head.logits) {
            return wrong("logits", &format!("the output `{}` twice", head.logits), "outputs of its own for each head");
        }
        for other in &heads[..number] {
            if other.name == head.name {
                return wrong("name", &format!("`{}` twice", head.name), "a name of its own for each head");
            }
            if let Some(name) = other.outputs().find(|name| head.outputs().any(|own| own == *name)) {
                return wrong("logits", &format!("the output `{name}` twice"), "outputs of its own for each head");
            }
        }
        if let Some(name) = &head.adapter
            && !adapters.iter().any(|adapter| adapter.name == *name)
        {
            return wrong("adapter", &format!("`{name}`"), "the name of one of the bundle's several adapters");
        }
        if head.labels.is_empty() {
            return wrong("labels", "empty", "at least one label");
        }
        let bytes = label_bytes(&head.labels);
        if head.labels.len() > MAX_LABELS || bytes > MAX_LABEL_BYTES {
            let got = format!("{} labels of {bytes} bytes", head.labels.len());
            return wrong("labels", &got, &format!("at most {MAX_LABELS} labels of {MAX_LABEL_BYTES} bytes"));
        }
        if head.probabilities.is_some() && head.task == Task::Regression {
            return wrong("probabilities", &format!("{:?}", head.probabilities), "none for a regression");
        }
        if let Some((field, got, expected)) = decision_problem(head) {
            return wrong(field, &got, expected);
        }
    }
    None
}

/// What is wrong with what a head decides by: field, got, expected.
fn decision_problem(head: &GraphHead) -> Option<(&'static str, String, &'static str)> {
    let (task, labels) = (head.task, head.labels.len());
    let fits = |value: &f64| {
        if head.gives_scores() { value.is_finite() } else { (0.0..=1.0).contains(value) }
    };
    let got = |list: &[f64]| format!("{} numbers of a head for {task:?}", list.len());
    if let Some(list) = &head.thresholds {
        let count = match task {
            Task::Multilabel => labels,
            Task::Classification if labels == 2 => 1,
            _ => 0,
        };
        if list.len() != count || count == 0 || !list.iter().all(fits) {
            let expected = "an answer for each label of a multilabel head, or one for two labels";
            return Some(("thresholds", got(list), expected));
        }
    }
    if let Some(list) = &head.abstain
        && (task != Task::Classification || list.len() != labels || !list.iter().all(fits))
    {
        return Some(("abstain", got(list), "an answer for each label of a classification"));
    }
    let Some(Conformal { alpha, least, .. }) = &head.conformal else { return None };
    if task != Task::Classification || !(*alpha > 0.0 && *alpha < 1.0) || !least.as_ref().is_none_or(fits) {
        let got = format!("alpha {alpha} and least {least:?} of a head for {task:?}");
        return Some(("conformal", got, "a share above 0 and below 1, and an answer of a classification"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &str) -> GraphHead {
        let classification = Classification { task: Task::Multilabel, labels: vec!["a".into(), "b".into()] };
        GraphHead {
            name: name.into(),
            logits: name.into(),
            probabilities: Some(format!("p_{name}")),
            ..GraphHead::of_checkpoint(&classification)
        }
    }

    #[test]
    fn heads_that_contradict_each_other_or_themselves_are_named() {
        assert_eq!(problem(&[head("x"), head("y")], &[]), None);
        let field = |heads: &[GraphHead]| problem(heads, &[]).unwrap().0;
        assert_eq!(field(&[head("x"), head("x")]), "head.1.name");
        assert_eq!(field(&[head("a b")]), "head.0.name");
        assert_eq!(field(&[head("x"), GraphHead { logits: "p_x".into(), ..head("y") }]), "head.1.logits");
        assert_eq!(field(&[GraphHead { logits: "p_x".into(), ..head("x") }]), "head.0.logits");
        assert_eq!(field(&[GraphHead { labels: vec![], ..head("x") }]), "head.0.labels");
        assert_eq!(field(&[GraphHead { adapter: Some("a".into()), ..head("x") }]), "head.0.adapter");
        let long = vec!["x".repeat(500_000)];
        assert_eq!(field(&[GraphHead { labels: long, ..head("x") }]), "head.0.labels");
        assert_eq!(field(&[GraphHead { task: Task::Regression, ..head("x") }]), "head.0.probabilities");
        for thresholds in [vec![0.5], vec![0.5, 1.5], vec![f64::NAN, 0.1]] {
            assert_eq!(field(&[GraphHead { thresholds: Some(thresholds), ..head("x") }]), "head.0.thresholds");
        }
        let scores = GraphHead { probabilities: None, ..head("x") };
        assert_eq!(problem(&[GraphHead { thresholds: Some(vec![-3.0, 7.5]), ..scores.clone() }], &[]), None);
        assert_eq!((scores.threshold(0), scores.answer(), scores.decides_by_more()), (0.0, "x", true));
        assert!(!head("x").decides_by_more());
        let own = GraphHead { thresholds: Some(vec![0.5, 0.1]), ..head("x") };
        assert_eq!((own.threshold(1), head("x").threshold(1), own.answer()), (0.1, 0.5, "p_x"));
    }

    #[test]
    fn what_one_label_is_decided_by_is_checked() {
        let topic = GraphHead { task: Task::Classification, ..head("x") };
        let field = |head: GraphHead| problem(&[head], &[]).map(|(field, ..)| field);
        let conformal = |alpha, least| Some(Conformal { alpha, least, rows: 9 });
        for (good, bad) in [
            (GraphHead { thresholds: Some(vec![0.3]), ..topic.clone() }, "thresholds"),
            (GraphHead { abstain: Some(vec![0.3, 1.0]), ..topic.clone() }, "abstain"),
            (GraphHead { conformal: conformal(0.1, Some(0.2)), ..topic.clone() }, "conformal"),
            (GraphHead { conformal: conformal(0.1, None), ..topic.clone() }, "conformal"),
        ] {
            assert!(good.decides_by_more());
            assert_eq!(field(good.clone()), None, "{bad}");
            assert_eq!(
                field(GraphHead { task: Task::Regression, probabilities: None, ..good }).unwrap(),
                format!("head.0.{bad}")
            );
        }
        for bad in [
            GraphHead { thresholds: Some(vec![0.3, 0.7]), ..topic.clone() },
            GraphHead { thresholds: Some(vec![1.3]), ..topic.clone() },
        ] {
            assert_eq!(field(bad).unwrap(), "head.0.thresholds");
        }
        for abstain in [vec![0.5], vec![0.5, -0.1], vec![0.5, f64::NAN]] {
            assert_eq!(field(GraphHead { abstain: Some(abstain), ..topic.clone() }).unwrap(), "head.0.abstain");
        }
        for conformal in [conformal(1.0, None), conformal(0.0, None), conformal(0.1, Some(1.5))] {
            assert_eq!(field(GraphHead { conformal, ..topic.clone() }).unwrap(), "head.0.conformal");
        }
    }

    #[test]
    fn one_label_is_given_by_its_answer_or_the_threshold_of_the_second() {
        assert_eq!([given_label(None, &[0.2, 0.4, 0.4]), given_label(None, &[0.5, 0.5])], [1, 0]);
        let of_second = |second: f32| given_label(Some(&[0.3]), &[1.0 - second, second]);
        assert_eq!([of_second(0.299), of_second(0.3), of_second(0.9)], [0, 1, 1]);
    }

    #[test]
    fn a_set_has_the_labels_that_are_probable_enough() {
        let set = |least| Conformal { alpha: 0.1, least, rows: 50 };
        // 0.7 as f32 lies below 0.7 as f64.
        assert!(set(Some(0.7)).holds(0.7) && !set(Some(0.7)).holds(0.699_999) && set(None).holds(0.0));
    }
}
