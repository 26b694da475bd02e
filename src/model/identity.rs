//! The identity of an encoder's output: which function of a text it is, apart from the numbers it computes in.
//! A head fits every encoder of the same identity. Fields are ordered by name, so that a hash and a written file don't
//! depend on the order in which they were set.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Part of every hash: a change of the fields' meaning changes this word.
const FORMAT: &str = "offprint identity 1";

/// What two encoders must share for their vectors to mean the same; see the table in `fingerprint.rs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity {
    fields: BTreeMap<String, String>,
}

/// A field in which two identities or fingerprints differ; shown as `pooling: mean -> cls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// The field.
    pub name: String,
    /// Its value on one side, `None` where the field is missing.
    pub from: Option<String>,
    /// Its value on the other side.
    pub to: Option<String>,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, to] = [&self.from, &self.to].map(|value| value.as_deref().unwrap_or("none"));
        write!(formatter, "{}: {from} -> {to}", self.name)
    }
}

impl Identity {
    /// Made of names and values.
    pub fn from_fields(fields: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { fields: fields.into_iter().collect() }
    }

    /// Names and values, ordered by name.
    pub fn fields(&self) -> &BTreeMap<String, String> {
        &self.fields
    }

    /// 64 hex digits; equal exactly if all fields are.
    pub fn hash(&self) -> String {
        hash_fields(FORMAT, &self.fields)
    }

    /// The fields in which `other` differs, from here to there, ordered by name.
    pub fn differences(&self, other: &Self) -> Vec<FieldChange> {
        field_changes(&self.fields, &other.fields)
    }
}

/// BLAKE3 over the format and each name and value, all with their length before them.
pub(super) fn hash_fields(format: &str, fields: &BTreeMap<String, String>) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in std::iter::once(format).chain(fields.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()])) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The fields that differ between two maps, ordered by name.
pub(super) fn field_changes(from: &BTreeMap<String, String>, to: &BTreeMap<String, String>) -> Vec<FieldChange> {
    let added = to.keys().filter(|name| !from.contains_key(*name));
    let mut names: Vec<&String> = from.keys().chain(added).filter(|name| from.get(*name) != to.get(*name)).collect();
    names.sort_unstable();
    let change =
        |name: &String| FieldChange { name: name.clone(), from: from.get(name).cloned(), to: to.get(name).cloned() };
    names.into_iter().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(fields: &[(&str, &str)]) -> Identity {
        Identity::from_fields(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_order_of_fields_does_not_matter_but_their_borders_do() {
        let one = identity(&[("a", "1"), ("b", "2")]);
        assert_eq!(one.hash(), identity(&[("b", "2"), ("a", "1")]).hash());
        assert_ne!(identity(&[("ab", "c")]).hash(), identity(&[("a", "bc")]).hash());
        assert_ne!(identity(&[("a", "b")]).hash(), identity(&[("a", ""), ("b", "")]).hash());
    }

    #[test]
    fn a_difference_explains_itself() {
        let from = identity(&[("pooling", "mean"), ("normalize", "true"), ("old", "x")]);
        let to = identity(&[("pooling", "cls"), ("normalize", "true"), ("adapter", "prox")]);
        let changes: Vec<String> = from.differences(&to).iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["adapter: none -> prox", "old: x -> none", "pooling: mean -> cls"]);
        assert!(from.differences(&from).is_empty());
    }

    #[test]
    fn it_is_written_as_a_plain_map() {
        let one = identity(&[("pooling", "mean"), ("normalize", "true")]);
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(text, r#"{"normalize":"true","pooling":"mean"}"#);
        assert_eq!(serde_json::from_str::<Identity>(&text).unwrap(), one);
    }
}
