//! Head files: safetensors with `coefficients` and `intercepts`, everything else as strings in its metadata.
//!
//! Knows the format, not what a head is for. Invariant: `load` gives a head that keeps the invariant of [`Head`], or an
//! error that names the file; the same head always makes the same bytes.
//!
//! Metadata of version 1: `format` (1), `kind`, `labels` (JSON list), `identity` (JSON object), `template_or_field`,
//! `metrics` (JSON), `c`, `convergence` (JSON, may be missing), `created_by`, `license` (may be missing), `checksum`. The
//! checksum is BLAKE3 over all other fields and the numbers; a file made by other tools may leave it out. What a later
//! program may add within the version is ignored.
//!
//! Version 2 adds `task`, for several labels `thresholds` (JSON list, may be missing), for a regression `scaling` (JSON
//! object of the lists `mean` and `scale`, may be missing); `c` may be missing. A program that knows version 1 alone would
//! take heads for these tasks for single-label ones, so they are of version 2. Single-label heads with a `c` are written
//! as version 1: every program reads them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use ndarray::Array2;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::error::{Error, FileProblem};
use super::head::Head;
use crate::durable::replace_file;
use crate::model::Task;

/// The newest format that this program reads and writes.
pub const FORMAT_VERSION: u64 = 2;

/// The format of single-label heads.
const SINGLE_LABEL_VERSION: u64 = 1;

/// Larger files are refused before they are read: 1,000 labels of 16,384 dimensions take 128 MiB.
const LARGEST_FILE: u64 = 1 << 30;

const COEFFICIENTS: &str = "coefficients";
const INTERCEPTS: &str = "intercepts";
const CHECKSUM: &str = "checksum";

impl Head {
    /// Writes the head, whole or not at all.
    ///
    /// # Errors
    /// A head whose parts do not fit together, and failures of writing.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        self.check().map_err(|source| Error::Inconsistent { source })?;
        replace_file(path, &self.to_bytes()).map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    /// Reads a head.
    ///
    /// # Errors
    /// A file that cannot be read, that is no head, is damaged, or was written by a newer program.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let file_error = |source| Error::File { path: path.to_owned(), source };
        let size = fs::metadata(path).map_err(read_error)?.len();
        if size > LARGEST_FILE {
            return Err(file_error(FileProblem::TooLarge { got: size, allowed: LARGEST_FILE }));
        }
        let bytes = fs::read(path).map_err(read_error)?;
        let mut head = parse(&bytes).map_err(file_error)?;
        head.file = Some(path.to_owned());
        Ok(head)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let shape = [self.coefficients.nrows(), self.coefficients.ncols()];
        let coefficients: Vec<u8> = self.coefficients.iter().flat_map(|value| value.to_le_bytes()).collect();
        let intercepts: Vec<u8> = self.intercepts.iter().flat_map(|value| value.to_le_bytes()).collect();
        let single_label = self.task == Task::Classification && self.c.is_some();
        let version = if single_label { SINGLE_LABEL_VERSION } else { FORMAT_VERSION };
        let mut metadata = BTreeMap::from([
            ("format", version.to_string()),
            ("kind", self.kind.to_string()),
            ("labels", to_json(&self.labels)),
            ("identity", to_json(&self.identity)),
            ("template_or_field", self.template_or_field.clone()),
            ("metrics", self.metrics.to_string()),
            ("created_by", self.created_by.clone()),
        ]);
        if version > SINGLE_LABEL_VERSION {
            metadata.insert("task", self.task.to_string());
        }
        let optional = [
            ("c", self.c.map(|c| c.to_string())),
            ("thresholds", self.thresholds.as_ref().map(to_json)),
            ("scaling", self.scaling.as_ref().map(to_json)),
            ("convergence", self.convergence.as_ref().map(to_json)),
            ("license", self.license.clone()),
        ];
        metadata.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value?))));
        let fields = metadata.iter().map(|(key, value)| (*key, value.as_str()));
        let checksum = checksum(fields, [(COEFFICIENTS, &coefficients), (INTERCEPTS, &intercepts)]);
        metadata.insert(CHECKSUM, checksum);
        // Built by hand because the safetensors writer orders metadata by chance.
        let end = coefficients.len() + intercepts.len();
        let mut header = json!({
            "__metadata__": metadata,
            COEFFICIENTS: { "dtype": "F64", "shape": shape, "data_offsets": [0, coefficients.len()] },
            INTERCEPTS: { "dtype": "F64", "shape": [self.intercepts.len()], "data_offsets": [coefficients.len(), end] },
        })
        .to_string()
        .into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&coefficients);
        bytes.extend_from_slice(&intercepts);
        bytes
    }
}

/// JSON of plain lists and maps of strings and numbers, which always have one.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings, finite numbers and maps with string keys always serialize")
}

/// A value for a message: at most 60 characters, without control characters.
pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        short.push_str("...");
    }
    short
}

fn parse(bytes: &[u8]) -> Result<Head, FileProblem> {
    let got = bytes.len() as u64;
    let Some((length, _)) = bytes.split_first_chunk::<8>() else {
        return Err(FileProblem::Truncated { needed: 8, got });
    };
    let needed = u64::from_le_bytes(*length).saturating_add(8);
    if needed > got {
        return Err(FileProblem::Truncated { needed, got });
    }
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|source| FileProblem::Safetensors { source })?;
    let none = HashMap::new();
    let fields = header.metadata().as_ref().unwrap_or(&none);
    let version = version_of(fields)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|source| FileProblem::Safetensors { source })?;
    let mut names: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
    names.sort();
    if names != [COEFFICIENTS, INTERCEPTS] {
        return Err(FileProblem::Tensors { got: names.iter().map(|name| shortened(name)).collect() });
    }
    let tensor = |name| tensors.tensor(name).map_err(|source| FileProblem::Safetensors { source });
    let (coefficients, intercepts) = (tensor(COEFFICIENTS)?, tensor(INTERCEPTS)?);
    if let Some(expected) = fields.get(CHECKSUM) {
        let others =
            fields.iter().filter(|(key, _)| *key != CHECKSUM).map(|(key, value)| (key.as_str(), value.as_str()));
        let got = checksum(others, [(COEFFICIENTS, coefficients.data()), (INTERCEPTS, intercepts.data())]);
        if got != *expected {
            return Err(FileProblem::Checksum { got, expected: shortened(expected) });
        }
    }
    build((version, fields), &coefficients, &intercepts)
}

fn version_of(fields: &HashMap<String, String>) -> Result<u64, FileProblem> {
    let text = field(fields, "format")?;
    let expected = "a version number from 1";
    let bad = || FileProblem::Value { key: "format", got: shortened(text), expected };
    let got: u64 = text.parse().map_err(|_| bad())?;
    match got {
        0 => Err(bad()),
        1..=FORMAT_VERSION => Ok(got),
        _ => Err(FileProblem::Newer { got, known: FORMAT_VERSION }),
    }
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

fn build(
    (version, fields): (u64, &HashMap<String, String>),
    coefficients: &TensorView<'_>,
    intercepts: &TensorView<'_>,
) -> Result<Head, FileProblem> {
    let labels: Vec<String> = json_field(fields, "labels", "a JSON list of texts")?;
    let shape = |tensor, view: &TensorView<'_>, expected: &str| FileProblem::Shape {
        tensor,
        got: view.shape().to_vec(),
        labels: labels.len(),
        expected: expected.to_owned(),
    };
    let &[outputs, dim] = coefficients.shape() else {
        return Err(shape(COEFFICIENTS, coefficients, "two dimensions"));
    };
    let &[_] = intercepts.shape() else {
        return Err(shape(INTERCEPTS, intercepts, "one dimension"));
    };
    let coefficients = Array2::from_shape_vec((outputs, dim), numbers(COEFFICIENTS, coefficients)?)
        .map_err(|_| shape(COEFFICIENTS, coefficients, "as many numbers as it has"))?;
    let c = match fields.get("c") {
        None if version > SINGLE_LABEL_VERSION => None,
        _ => {
            let text = field(fields, "c")?;
            let bad = || FileProblem::Value { key: "c", got: shortened(text), expected: "a number" };
            Some(text.parse().map_err(|_| bad())?)
        }
    };
    let head = Head {
        task: task_of(version, fields)?,
        kind: field(fields, "kind")?.parse()?,
        intercepts: numbers(INTERCEPTS, intercepts)?,
        labels,
        coefficients,
        identity: json_field(fields, "identity", "a JSON object of texts")?,
        template_or_field: field(fields, "template_or_field")?.to_owned(),
        metrics: json_field(fields, "metrics", "JSON")?,
        thresholds: json_if_present(fields, "thresholds", "a JSON list of numbers")?,
        scaling: json_if_present(fields, "scaling", "a JSON object of the lists `mean` and `scale`")?,
        c,
        convergence: json_if_present(fields, "convergence", "the JSON object of a fit")?,
        license: fields.get("license").cloned(),
        created_by: field(fields, "created_by")?.to_owned(),
        file: None,
    };
    head.check()?;
    Ok(head)
}

fn field<'a>(fields: &'a HashMap<String, String>, key: &'static str) -> Result<&'a str, FileProblem> {
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
    fields: &HashMap<String, String>,
    key: &'static str,
    expected: &'static str,
) -> Result<Option<T>, FileProblem> {
    fields.get(key).map(|_| json_field(fields, key, expected)).transpose()
}

fn numbers(tensor: &'static str, view: &TensorView<'_>) -> Result<Vec<f64>, FileProblem> {
    match view.dtype() {
        Dtype::F64 => Ok(view.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()),
        Dtype::F32 => Ok(view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect()),
        other => Err(FileProblem::DataType { tensor, got: other.to_string() }),
    }
}

/// BLAKE3 over length-prefixed fields, sorted by key, and the tensors' bytes in the order given.
fn checksum<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>, tensors: [(&str, &[u8]); 2]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for (key, value) in fields.collect::<BTreeMap<_, _>>() {
        part(key.as_bytes());
        part(value.as_bytes());
    }
    for (name, data) in tensors {
        part(name.as_bytes());
        part(data);
    }
    hasher.finalize().to_hex().to_string()
}
