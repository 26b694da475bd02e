//! What a sequence classifier's config.json says about its labels. Knows nothing of the head's tensors.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Error;
use super::architectures::Architecture;
use super::config::wrong;

/// How many labels a config may have; far beyond any real one.
pub(super) const MAX_LABELS: usize = 10_000;
/// Bytes of all labels: they also stand in one entry of the graph's metadata, of which a mebibyte is read.
pub(super) const MAX_LABEL_BYTES: usize = 500_000;

/// How the names of the classes of sequence classifiers end.
const CLASSIFIER: &str = "ForSequenceClassification";

/// What the numbers of a classifier's head mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Exactly one label is right: softmax.
    Classification,
    /// Each label is right or not by itself: sigmoid.
    Multilabel,
    /// The numbers are the answer.
    Regression,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Classification, Self::Multilabel, Self::Regression];
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classification => "classification",
            Self::Multilabel => "multilabel",
            Self::Regression => "regression",
        })
    }
}

/// The labels of a sequence classifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classification {
    /// What the numbers mean.
    pub task: Task,
    /// The labels, in the order of the graph's columns.
    pub labels: Vec<String>,
}

impl Classification {
    /// Reads `problem_type`, `id2label` and `num_labels`, if `architectures` names the family's classifier; that of
    /// another family is refused. As in
    /// transformers, two labels are assumed where none are named, and without a problem type one label means
    /// regression and several that one of them is right.
    pub(super) fn read(
        path: &Path,
        fields: &Map<String, Value>,
        architecture: &Architecture,
    ) -> Result<Option<Self>, Error> {
        let classes = fields.get("architectures").and_then(Value::as_array).into_iter().flatten();
        let mut classifiers = classes.filter_map(Value::as_str).filter(|class| class.ends_with(CLASSIFIER)).peekable();
        if classifiers.peek().is_none() {
            return Ok(None);
        }
        if let Some(other) = classifiers.find(|class| *class != architecture.classifier) {
            let expected = format!("`{}` of the same family as `model_type`", architecture.classifier);
            return Err(wrong(path, "architectures", &format!("`{other}`"), &expected));
        }
        Self::of_fields(path, fields).map(Some)
    }

    /// Reads the same fields of a config whatever class it names.
    pub(super) fn of_fields(path: &Path, fields: &Map<String, Value>) -> Result<Self, Error> {
        let labels = match fields.get("id2label") {
            Some(Value::Object(named)) => listed(path, named)?,
            _ => numbered(path, fields.get("num_labels"))?,
        };
        let bytes = label_bytes(&labels);
        if labels.len() > MAX_LABELS || bytes > MAX_LABEL_BYTES {
            let got = format!("{} labels of {bytes} bytes", labels.len());
            let expected = format!("at most {MAX_LABELS} labels of {MAX_LABEL_BYTES} bytes");
            return Err(wrong(path, "id2label", &got, &expected));
        }
        let task = match fields.get("problem_type") {
            None | Some(Value::Null) if labels.len() == 1 => Task::Regression,
            None | Some(Value::Null) => Task::Classification,
            Some(kind) => match kind.as_str() {
                Some("single_label_classification") if labels.len() == 1 => {
                    let got = "`single_label_classification` with one label";
                    return Err(wrong(path, "problem_type", got, "at least two labels, of which one is right"));
                }
                Some("single_label_classification") => Task::Classification,
                Some("multi_label_classification") => Task::Multilabel,
                Some("regression") => Task::Regression,
                _ => {
                    let known = "`single_label_classification`, `multi_label_classification` or `regression`";
                    return Err(wrong(path, "problem_type", &kind.to_string().replace('"', "`"), known));
                }
            },
        };
        Ok(Self { task, labels })
    }
}

/// What labels take where they stand as a list.
pub(super) fn label_bytes(labels: &[String]) -> usize {
    labels.iter().map(|label| label.len() + 4).sum()
}

/// The labels of `id2label`, whose keys must be 0 to n − 1.
fn listed(path: &Path, named: &Map<String, Value>) -> Result<Vec<String>, Error> {
    let missing = |id: usize| {
        let got = format!("{} labels without an id {id}", named.len());
        wrong(path, "id2label", &got, "the ids from 0 on, each with its label")
    };
    if named.is_empty() {
        return Err(wrong(path, "id2label", "empty", "at least one label"));
    }
    (0..named.len())
        .map(|id| match named.get(&id.to_string()) {
            Some(Value::String(label)) => Ok(label.clone()),
            Some(Value::Null) | None => Err(missing(id)),
            Some(other) => Ok(other.to_string()),
        })
        .collect()
}

/// `LABEL_0`, `LABEL_1`, ..
fn numbered(path: &Path, count: Option<&Value>) -> Result<Vec<String>, Error> {
    let count = match count {
        None | Some(Value::Null) => 2,
        Some(count) => {
            let number = count.as_u64().and_then(|count| usize::try_from(count).ok());
            let fits = number.filter(|count| (1..=MAX_LABELS).contains(count));
            let expected = format!("a whole number from 1 to {MAX_LABELS}");
            fits.ok_or_else(|| wrong(path, "num_labels", &count.to_string(), &expected))?
        }
    };
    Ok((0..count).map(|id| format!("LABEL_{id}")).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::architectures;

    fn read(mut config: Value) -> Result<Option<Classification>, Error> {
        config["architectures"] = json!(["BertForSequenceClassification"]);
        let bert = architectures::find("bert").unwrap();
        Classification::read(Path::new("config.json"), config.as_object().unwrap(), bert)
    }

    #[test]
    fn the_task_is_what_the_config_says_else_what_transformers_assumes() {
        let one = json!({"id2label": {"0": "score"}});
        let three = json!({"id2label": {"1": "b", "0": "a", "2": "c"}});
        assert_eq!(read(one.clone()).unwrap().unwrap().task, Task::Regression);
        let found = read(three.clone()).unwrap().unwrap();
        assert_eq!((found.task, found.labels.join(" ")), (Task::Classification, "a b c".to_owned()));
        for (word, task) in [
            ("single_label_classification", Task::Classification),
            ("multi_label_classification", Task::Multilabel),
            ("regression", Task::Regression),
        ] {
            for mut config in [one.clone(), three.clone()] {
                if config == one && task == Task::Classification {
                    continue;
                }
                config["problem_type"] = word.into();
                assert_eq!(read(config).unwrap().unwrap().task, task);
            }
        }
        assert_eq!(read(json!({})).unwrap().unwrap().labels, ["LABEL_0", "LABEL_1"]);
        assert_eq!(read(json!({"num_labels": 3})).unwrap().unwrap().labels.len(), 3);
    }

    #[test]
    fn other_classes_have_no_head() {
        let bert = architectures::find("bert").unwrap();
        for classes in [json!(["BertModel"]), json!(["BertForMaskedLM"]), json!(null)] {
            let config = json!({"architectures": classes, "id2label": {"0": "a"}});
            let read = Classification::read(Path::new("config.json"), config.as_object().unwrap(), bert);
            assert_eq!(read.unwrap(), None);
        }
    }

    #[test]
    fn the_classifier_of_another_family_is_refused() {
        let bert = architectures::find("bert").unwrap();
        let classes = json!(["BertModel", "RobertaForSequenceClassification"]);
        let config = json!({"architectures": classes, "id2label": {"0": "a"}});
        let error = Classification::read(Path::new("config.json"), config.as_object().unwrap(), bert).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`config.json`: `architectures` is `RobertaForSequenceClassification`, expected \
             `BertForSequenceClassification` of the same family as `model_type`"
        );
    }

    #[test]
    fn what_names_no_labels_is_refused() {
        let message = |config| read(config).unwrap_err().to_string();
        assert_eq!(
            message(json!({"id2label": {"0": "a", "2": "b"}})),
            "`config.json`: `id2label` is 2 labels without an id 1, expected the ids from 0 on, each with its label"
        );
        assert_eq!(message(json!({"id2label": {}})), "`config.json`: `id2label` is empty, expected at least one label");
        assert_eq!(
            message(json!({"problem_type": "ranking"})),
            "`config.json`: `problem_type` is `ranking`, expected `single_label_classification`, \
             `multi_label_classification` or `regression`"
        );
        assert_eq!(
            message(json!({"num_labels": 0})),
            "`config.json`: `num_labels` is 0, expected a whole number from 1 to 10000"
        );
        assert_eq!(
            message(json!({"id2label": {"0": "a"}, "problem_type": "single_label_classification"})),
            "`config.json`: `problem_type` is `single_label_classification` with one label, expected at least two \
             labels, of which one is right"
        );
        let long = "x".repeat(500_000);
        assert_eq!(
            message(json!({"id2label": {"0": long}})),
            "`config.json`: `id2label` is 1 labels of 500004 bytes, expected at most 10000 labels of 500000 bytes"
        );
    }
}
