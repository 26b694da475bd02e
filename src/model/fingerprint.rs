//! The fingerprint of a bundle: under which name its embeddings are cached.
//!
//! | field             | identity | fingerprint | why                                                                   |
//! |-------------------|----------|-------------|-----------------------------------------------------------------------|
//! | `weights`         | yes      | yes         | BLAKE3 of the checkpoint's weights file                               |
//! | `config`          | yes      | yes         | heads, activation, epsilon: the same weights can mean two functions   |
//! | `tokenizer`       | yes      | yes         | BLAKE3 of `tokenizer.json`: other word pieces, other vectors          |
//! | `max_length`      | yes      | yes         | where a long text ends                                                |
//! | `truncation_side` | yes      | yes         | which end of it is lost                                               |
//! | `pooling`         | yes      | yes         |                                                                       |
//! | `normalize`       | yes      | yes         |                                                                       |
//! | `output`          | yes      | yes         | which tensor of the graph is the embedding                            |
//! | `adapter`         | yes      | yes         | hash of the adapter, whether fused or chosen among several; `none`    |
//! |                   |          |             | where the encoder has none. Names of adapters change no vector        |
//! | `precision`       | no       | yes         | a head trained on fp32 may serve other precisions, a cache may not    |
//! | `graph`           | no       | yes         | BLAKE3 of the graph without metadata: another writer, other bits; of  |
//! |                   |          |             | the graph before heads were fused into it, which change no vector     |
//! | `data`            | no       | yes         | BLAKE3 of the weights beside the graph, where they lie there          |
//! | `numerics`        | no       | yes         | options of a provider that may change numbers, such as TF32; where    |
//! |                   |          |             | there are none the field is missing                                   |
//! | template          | no       | no          | embeddings are keyed by the hash of the *rendered* text               |
//! | provider, threads | no       | no          | recorded with each part of the cache; what they change is a tolerance |
//! | names, versions   | no       | no          | do not change a vector                                                |
//!
//! Rule: whoever adds a field, or changes what a value means, changes the format word beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::identity::{FieldChange, Identity, field_changes, hash_fields};

/// Part of every hash: a change of the fields' meaning changes this word.
const FORMAT: &str = "offprint fingerprint 1";

/// Everything that decides the bits of an embedding, apart from its text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint {
    fields: BTreeMap<String, String>,
}

impl Fingerprint {
    /// An identity and the fields that only decide the bits.
    pub fn new(identity: &Identity, numerics: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut fields = identity.fields().clone();
        fields.extend(numerics);
        Self { fields }
    }

    /// The same with the options of a provider that may change numbers, where there are any.
    pub fn with_numerics(mut self, options: Option<String>) -> Self {
        self.fields.extend(options.map(|options| ("numerics".to_owned(), options)));
        self
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_extends_an_identity_and_hashes_apart_from_it() {
        let identity = Identity::from_fields([("pooling".to_owned(), "cls".to_owned())]);
        let plain = Fingerprint::new(&identity, []);
        let fp32 = Fingerprint::new(&identity, [("precision".to_owned(), "fp32".to_owned())]);
        assert_ne!(plain.hash(), identity.hash());
        assert_eq!(plain.differences(&fp32)[0].to_string(), "precision: none -> fp32");
        assert_eq!(fp32.fields()["pooling"], "cls");
        assert_eq!(fp32.clone().with_numerics(None), fp32);
        let tf32 = fp32.clone().with_numerics(Some("use_tf32=1".to_owned()));
        assert_eq!(fp32.differences(&tf32)[0].to_string(), "numerics: none -> use_tf32=1");
    }
}
