//! The heads in a bundle's graph: which outputs they have, and what their numbers mean. Knows nothing of how a head is
//! trained or written into a graph.

use serde::{Deserialize, Serialize};

use super::classification::{MAX_LABEL_BYTES, MAX_LABELS, label_bytes};
use super::{BundleAdapter, Classification, LOGITS, PROBABILITIES, Task};

/// A checkpoint's own classifier goes by this name.
pub const OWN_CLASSIFIER: &str = "classifier";

/// The probability from which a label of several is given, where the head says nothing else.
pub const DEFAULT_THRESHOLD: f64 = 0.5;

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
    /// Of several labels, the probability from which each is given; [`DEFAULT_THRESHOLD`] where there is no list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Vec<f64>>,
    /// The graph's output before softmax or sigmoid, float32 [batch, labels]; for a regression, the answer itself.
    pub logits: String,
    /// The graph's output with probabilities, float32 [batch, labels]; none for a regression.
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

    /// The output that holds its answer: probabilities, or the numbers of a regression.
    pub fn answer(&self) -> &str {
        self.probabilities.as_deref().unwrap_or(&self.logits)
    }

    /// The probability from which the label in `column` is given, where several may be.
    pub fn threshold(&self, column: usize) -> f64 {
        self.thresholds.as_ref().map_or(DEFAULT_THRESHOLD, |thresholds| thresholds[column])
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
        if head.probabilities.is_none() != (head.task == Task::Regression) {
            return wrong(
                "probabilities",
                &format!("{:?}", head.probabilities),
                "an output, and none for a regression",
            );
        }
        let Some(thresholds) = &head.thresholds else { continue };
        let fits = thresholds.len() == head.labels.len() && thresholds.iter().all(|value| (0.0..=1.0).contains(value));
        if head.task != Task::Multilabel || !fits {
            let got = format!("{} numbers of a head for {:?}", thresholds.len(), head.task);
            return wrong("thresholds", &got, "a probability for each label of a multilabel head");
        }
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
        assert_eq!(field(&[GraphHead { probabilities: None, ..head("x") }]), "head.0.probabilities");
        for thresholds in [vec![0.5], vec![0.5, 1.5], vec![f64::NAN, 0.1]] {
            assert_eq!(field(&[GraphHead { thresholds: Some(thresholds), ..head("x") }]), "head.0.thresholds");
        }
        let own = GraphHead { thresholds: Some(vec![0.5, 0.1]), ..head("x") };
        assert_eq!((own.threshold(1), head("x").threshold(1), own.answer()), (0.1, 0.5, "p_x"));
    }
}
