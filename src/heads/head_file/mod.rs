//! Head files: safetensors with a model's numbers, everything else as strings in its metadata.
//!
//! Knows the container, what its fields say is `fields`' business. Invariant: `load` gives a head that keeps the invariant
//! of [`Head`], or an error that names the file; the same head always makes the same bytes.
//!
//! Metadata of version 1: `format` (1), `kind`, `labels` (JSON list), `identity` (JSON object), `template_or_field`,
//! `metrics` (JSON), `c`, `convergence` or `optimality` (JSON, either may be missing), `created_by`, `license` (may be
//! missing), `checksum`. The checksum is BLAKE3 over all other fields and the numbers; a file made by other tools may leave
//! it out. What a later program may add within the version is ignored. Its tensors are `coefficients` and `intercepts`.
//!
//! Version 2 adds `task`, for several labels `thresholds` (JSON list, may be missing), for a regression `scaling` (JSON
//! object of the lists `mean` and `scale`, may be missing); `c` may be missing.
//!
//! Version 3 adds the kinds beyond `logistic` and `linear`, of which some have `alpha` or `n_neighbors` for `c`. It may have
//! `calibration` (JSON object with its `method`), `abstain` (JSON list), `conformal` (JSON object) and, for two classes,
//! `thresholds`. A head of neighbours has the tensors `rows` (F32, rows × dim) and `targets` (U32 class numbers, U8 rows ×
//! labels of 0 and 1, or F64 rows × numbers), and `neighbours` (JSON object of `metric` and `weighting`).
//!
//! A head is written in the lowest version that says all of it, so that older programs read what they can use, and refuse
//! by its number what they would misread.

mod fields;
mod tensors;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use safetensors::tensor::SafeTensors;
use serde_json::json;

use super::error::{Error, FileProblem};
use super::head::Head;
use crate::durable::replace_file;

pub(super) use fields::shortened;
use fields::{build, field, metadata};
use tensors::{Stored, names_of, stored};

/// The newest format that this program reads and writes.
pub const FORMAT_VERSION: u64 = 3;

/// Larger files are refused before they are read: 1,000 labels of 16,384 dimensions take 128 MiB, 700,000 rows of 384
/// dimensions 1 GiB.
const LARGEST_FILE: u64 = 1 << 30;

const CHECKSUM: &str = "checksum";

impl Head {
    /// Writes the head, whole or not at all.
    ///
    /// # Errors
    /// A head whose parts do not fit together or that is too large for a file, and failures of writing.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        self.check().map_err(|source| Error::Inconsistent { source })?;
        let bytes = self.to_bytes();
        if bytes.len() as u64 > LARGEST_FILE {
            let source = FileProblem::TooLarge { got: bytes.len() as u64, allowed: LARGEST_FILE };
            return Err(Error::Inconsistent { source });
        }
        replace_file(path, &bytes).map_err(|source| Error::Write { path: path.to_owned(), source })
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
        head.file = Some((path.to_owned(), blake3::hash(&bytes).to_hex().to_string()));
        Ok(head)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let tensors = stored(&self.model);
        let mut metadata = metadata(self);
        let data: Vec<(&str, &[u8])> = tensors.iter().map(|tensor| (tensor.name, &tensor.bytes[..])).collect();
        let checksum = checksum(metadata.iter().map(|(key, value)| (*key, value.as_str())), &data);
        metadata.insert(CHECKSUM, checksum);
        // Built by hand because the safetensors writer orders metadata by chance.
        let mut header = json!({ "__metadata__": metadata });
        let mut end = 0;
        for Stored { name, dtype, shape, bytes } in &tensors {
            let start = end;
            end += bytes.len();
            header[name] = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        }
        let mut header = header.to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(&header);
        tensors.iter().for_each(|tensor| bytes.extend_from_slice(&tensor.bytes));
        bytes
    }
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
    let own_names = names_of(fields.get("kind").map(String::as_str));
    if names != own_names {
        let got = names.iter().map(|name| shortened(name)).collect();
        return Err(FileProblem::Tensors { got, expected: own_names.to_vec() });
    }
    if let Some(expected) = fields.get(CHECKSUM) {
        let others =
            fields.iter().filter(|(key, _)| *key != CHECKSUM).map(|(key, value)| (key.as_str(), value.as_str()));
        let mut data: Vec<(&str, &[u8])> = Vec::new();
        for name in own_names {
            let tensor = tensors.tensor(name).map_err(|source| FileProblem::Safetensors { source })?;
            data.push((name, tensor.data()));
        }
        let got = checksum(others, &data);
        if got != *expected {
            return Err(FileProblem::Checksum { got, expected: shortened(expected) });
        }
    }
    build((version, fields), &tensors)
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

/// BLAKE3 over length-prefixed fields, sorted by key, and the tensors' bytes in the order given.
fn checksum<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>, tensors: &[(&str, &[u8])]) -> String {
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
