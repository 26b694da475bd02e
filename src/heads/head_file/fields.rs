//! What the metadata of a head file says: fields out of a head, a head out of fields. Knows no bytes.
//! Invariant: the version that is written is the lowest that has all fields that the head needs.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::SafeTensors;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::error::FileProblem;
use super::super::head::Head;
use super::super::kind::HeadKind;
use super::super::neighbours::{Metric, NeighbourTrainer, Weighting};
use super::super::trainer::{Model, Optimality};
use super::tensors::{self, Described};
use crate::model::{Conformal, Task};

/// The format of single-label heads.
const SINGLE_LABEL_VERSION: u64 = 1;
/// The format of heads for every task that are logits or numbers.
const TASKS_VERSION: u64 = 2;
/// The format of all kinds.
const KINDS_VERSION: u64 = 3;

/// How near to the optimum all fits were that were written with a `convergence`.
const FORMER_TOLERANCE: f64 = 1e-3;

/// What earlier programs wrote about a fit. The gradient's norm and the scale of the rows say nothing by themselves.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Convergence {
    iterations: u64,
    #[serde(rename = "gradient_norm")]
    _gradient_norm: f64,
    objective: f64,
    #[serde(rename = "scale")]
    _scale: f64,
    coefficient_error: f64,
}

impl From<Convergence> for Optimality {
    fn from(former: Convergence) -> Self {
        Self {
            solver: "newton".to_owned(),
            iterations: former.iterations,
            objective: former.objective,
            bound: "coefficient_error".to_owned(),
            reached: former.coefficient_error,
            allowed: FORMER_TOLERANCE,
        }
    }
}

/// How neighbours are looked up.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lookup {
    metric: Metric,
    weighting: Weighting,
}

/// The lowest version that says all of it.
fn version_for(head: &Head) -> u64 {
    let older = matches!(head.kind, HeadKind::Logistic | HeadKind::Linear)
        && head.calibration.is_none()
        && head.abstain.is_none()
        && head.conformal.is_none()
        && (head.thresholds.is_none() || head.task == Task::Multilabel);
    match head.task {
        _ if !older => KINDS_VERSION,
        Task::Classification if head.strength.is_some() => SINGLE_LABEL_VERSION,
        _ => TASKS_VERSION,
    }
}

/// All fields but the checksum.
pub(super) fn metadata(head: &Head) -> BTreeMap<&'static str, String> {
    let version = version_for(head);
    let mut metadata = BTreeMap::from([
        ("format", version.to_string()),
        ("kind", head.kind.to_string()),
        ("labels", to_json(&head.labels)),
        ("identity", to_json(&head.identity)),
        ("template_or_field", head.template_or_field.clone()),
        ("metrics", head.metrics.to_string()),
        ("created_by", head.created_by.clone()),
    ]);
    if version > SINGLE_LABEL_VERSION {
        metadata.insert("task", head.task.to_string());
    }
    let lookup = match &head.model {
        Model::Linear(_) => None,
        Model::Neighbours(neighbours) => {
            let NeighbourTrainer { metric, weighting } = neighbours.options();
            Some(Lookup { metric, weighting })
        }
    };
    let optional = [
        (head.kind.strength_key(), head.strength.map(|strength| strength.to_string())),
        ("neighbours", lookup.as_ref().map(to_json)),
        ("calibration", head.calibration.as_ref().map(to_json)),
        ("thresholds", head.thresholds.as_ref().map(to_json)),
        ("abstain", head.abstain.as_ref().map(to_json)),
        ("conformal", head.conformal.as_ref().map(to_json)),
        ("scaling", head.scaling.as_ref().map(to_json)),
        ("optimality", head.optimality.as_ref().map(to_json)),
        ("license", head.license.clone()),
    ];
    metadata.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value?))));
    metadata
}

/// A head out of the fields and tensors of a file.
pub(super) fn build(
    (version, fields): (u64, &HashMap<String, String>),
    tensors: &SafeTensors<'_>,
) -> Result<Head, FileProblem> {
    let labels: Vec<String> = json_field(fields, "labels", "a JSON list of texts")?;
    let kind = kind_of(version, fields)?;
    let task = task_of(version, fields)?;
    let strength = strength_of((version, kind), fields)?;
    let neighbours = if kind == HeadKind::Neighbours { Some(neighbours_of(strength, fields)?) } else { None };
    let model = tensors::model(&Described { task, labels: labels.len(), neighbours }, tensors)?;
    let of_kinds = (version >= KINDS_VERSION).then_some(fields);
    let thresholds: Option<Vec<f64>> = json_if_present(Some(fields), "thresholds", "a JSON list of numbers")?;
    if thresholds.is_some() && task == Task::Classification && version < KINDS_VERSION {
        return Err(FileProblem::NotOfTask { key: "thresholds", task });
    }
    let head = Head {
        task,
        kind,
        labels,
        model,
        calibration: json_if_present(of_kinds, "calibration", "the JSON object of a calibration")?,
        thresholds,
        abstain: json_if_present(of_kinds, "abstain", "a JSON list of numbers")?,
        conformal: json_if_present::<Conformal>(of_kinds, "conformal", "the JSON object of a conformal set")?,
        scaling: json_if_present(Some(fields), "scaling", "a JSON object of the lists `mean` and `scale`")?,
        identity: json_field(fields, "identity", "a JSON object of texts")?,
        template_or_field: field(fields, "template_or_field")?.to_owned(),
        metrics: json_field(fields, "metrics", "JSON")?,
        strength,
        optimality: optimality_of(fields)?,
        license: fields.get("license").cloned(),
        created_by: field(fields, "created_by")?.to_owned(),
        file: None,
    };
    head.check()?;
    Ok(head)
}

/// What made the head, which older programs knew two of.
fn kind_of(version: u64, fields: &HashMap<String, String>) -> Result<HeadKind, FileProblem> {
    let text = field(fields, "kind")?;
    let kind = text.parse()?;
    match kind {
        HeadKind::Logistic | HeadKind::Linear => Ok(kind),
        _ if version >= KINDS_VERSION => Ok(kind),
        _ => Err(FileProblem::Value { key: "kind", got: shortened(text), expected: "`logistic` or `linear`" }),
    }
}

fn strength_of((version, kind): (u64, HeadKind), fields: &HashMap<String, String>) -> Result<Option<f64>, FileProblem> {
    let key = kind.strength_key();
    if version > SINGLE_LABEL_VERSION && !fields.contains_key(key) {
        return Ok(None);
    }
    let text = field(fields, key)?;
    let bad = || FileProblem::Value { key, got: shortened(text), expected: "a number" };
    text.parse().map(Some).map_err(|_| bad())
}

/// How many neighbours decide, and how.
fn neighbours_of(
    strength: Option<f64>,
    fields: &HashMap<String, String>,
) -> Result<(usize, NeighbourTrainer), FileProblem> {
    let key = HeadKind::Neighbours.strength_key();
    let count = strength.ok_or(FileProblem::Missing { key })?;
    if !(count.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&count)) {
        return Err(FileProblem::Value { key, got: count.to_string(), expected: "a whole number from 1" });
    }
    let Lookup { metric, weighting } = json_field(fields, "neighbours", "a JSON object of `metric` and `weighting`")?;
    Ok((count as usize, NeighbourTrainer { metric, weighting }))
}

fn optimality_of(fields: &HashMap<String, String>) -> Result<Option<Optimality>, FileProblem> {
    let expected = "the JSON object of a fit";
    let former: Option<Convergence> = json_if_present(Some(fields), "convergence", expected)?;
    let own = json_if_present(Some(fields), "optimality", expected)?;
    Ok(own.or(former.map(Optimality::from)))
}

/// What the head is for, which only files from version 2 on may choose.
fn task_of(version: u64, fields: &HashMap<String, String>) -> Result<Task, FileProblem> {
    let task = match fields.get("task") {
        None if version == SINGLE_LABEL_VERSION => return Ok(Task::Classification),
        None => return Err(FileProblem::Missing { key: "task" }),
        Some(text) => Task::ALL.into_iter().find(|task| task.to_string() == *text).ok_or_else(|| {
            let expected = "`classification`, `multilabel` or `regression`";
            FileProblem::Value { key: "task", got: shortened(text), expected }
        })?,
    };
    match (task, version) {
        (Task::Multilabel | Task::Regression, SINGLE_LABEL_VERSION) => Err(FileProblem::OldFormat { task }),
        _ => Ok(task),
    }
}

pub(super) fn field<'a>(fields: &'a HashMap<String, String>, key: &'static str) -> Result<&'a str, FileProblem> {
    fields.get(key).map(String::as_str).ok_or(FileProblem::Missing { key })
}

fn json_field<T: DeserializeOwned>(
    fields: &HashMap<String, String>,
    key: &'static str,
    expected: &'static str,
) -> Result<T, FileProblem> {
    serde_json::from_str(field(fields, key)?).map_err(|source| FileProblem::Json { key, expected, source })
}

fn json_if_present<T: DeserializeOwned>(
    fields: Option<&HashMap<String, String>>,
    key: &'static str,
    expected: &'static str,
) -> Result<Option<T>, FileProblem> {
    let Some(fields) = fields.filter(|fields| fields.contains_key(key)) else { return Ok(None) };
    json_field(fields, key, expected).map(Some)
}

/// JSON of plain lists and maps of strings and numbers, which always have one.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings, finite numbers and maps with string keys always serialize")
}

/// A value for a message: at most 60 characters, without control characters.
pub(in super::super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        short.push_str("...");
    }
    short
}
