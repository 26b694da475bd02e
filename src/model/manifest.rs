//! `bundle.toml`: what a bundle is, in words that a reader understands. It rules; the graph carries a copy of its
//! fields. An unknown field is an error, another format is told apart before anything else is read.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    BundleAdapter, Error, Fingerprint, GraphHead, Identity, Int8, Pooling, Precision, Quality, SENTENCE_EMBEDDING,
    architectures, bundle_adapter, files, head,
};

/// The version of `bundle.toml` for a graph without adapters, and the oldest that is read.
///
/// The rule: a bundle has the oldest format that says all there is in it. So a bundle without adapters is read by
/// earlier versions of the program, too, and one with adapters is refused there with two numbers and a hint.
pub const BUNDLE_FORMAT: u32 = 2;

/// The version of `bundle.toml` for a graph with one adapter or several.
pub const ADAPTER_FORMAT: u32 = 3;

/// The version of `bundle.toml` for a graph with a head that gives scores, or that decides by more than a threshold for
/// each of several labels; the newest that is read.
pub const DECISION_FORMAT: u32 = 4;

/// The architecture of a graph that another program exported from a family that is not known here.
pub const FOREIGN_ARCHITECTURE: &str = "onnx";

/// The side on which long texts lose tokens.
const TRUNCATION_SIDE: &str = "right";

/// The identity's word for an encoder without an adapter.
const NO_ADAPTER: &str = "none";

/// The identity's word for an encoder of which no adapter was chosen.
const SEVERAL_ADAPTERS: &str = "one of several";

/// Prefix of the copied fields in the graph's metadata.
const METADATA_PREFIX: &str = "offprint.";

/// The fields of `bundle.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this file: [`ADAPTER_FORMAT`] with adapters, else [`BUNDLE_FORMAT`].
    pub format: u32,
    /// Program and version that wrote the bundle.
    pub created_by: String,
    /// `model_type` of the encoder.
    pub architecture: String,
    /// Length of an embedding.
    pub dim: usize,
    /// Longest input in tokens, special ones included.
    pub max_length: usize,
    /// The end at which longer texts are cut; `right`.
    pub truncation_side: String,
    /// How token states become one vector.
    pub pooling: Pooling,
    /// Whether that is only what was said of a graph that pools by itself, and could not be seen in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pooling_stated: bool,
    /// Whether vectors are scaled to length 1 (a zero vector stays zero).
    pub normalize: bool,
    /// Name of the graph's output, [`SENTENCE_EMBEDDING`].
    pub output: String,
    /// How title and abstract become one text.
    pub template: String,
    /// What a template's `{sep}` stands for.
    pub sep_token: String,
    /// The numbers that the graph computes in.
    pub precision: Precision,
    /// Whether a text is promised the same bits whatever else is in its batch. False for the graph of another program,
    /// whatever it was seen to do: a few texts can't show what others would.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub batch_invariant: bool,
    /// Weights in the graph, those of a classifier's head included (numbers, not bytes).
    pub parameters: u64,
    /// BLAKE3 of `tokenizer.json`.
    pub tokenizer_hash: String,
    /// BLAKE3 of the graph without its metadata.
    pub graph_hash: String,
    /// The graph's hash before heads were fused into it: the encoder in it computes the same bits, and finds the vectors
    /// that were cached then. None where nothing was fused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder_graph_hash: Option<String>,
    /// The licence of the weights, in the words of their source; none where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Whether the graph is made for other runtimes: operators of opset 17 alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain: bool,
    /// The file beside the graph that holds its weights, where they are too many for one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataFile>,
    /// Where the weights come from.
    pub source: Source,
    /// The adapter that every text goes through, where the graph has just one; `[fused_adapter]` in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fused_adapter: Option<BundleAdapter>,
    /// How far the numbers are from those of the original, where they are not the original's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// How an int8 graph came about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int8: Option<Int8>,
    /// The heads in the graph, each with outputs of its own; `[[head]]` in the file.
    #[serde(default, rename = "head", skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<GraphHead>,
    /// The adapters that texts choose from, where the graph has several; `[[adapter]]` in the file. Its input
    /// [`ADAPTER`](super::ADAPTER) gives each text's place in this list.
    #[serde(default, rename = "adapter", skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<BundleAdapter>,
}

/// The weights beside a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// Its size.
    pub bytes: u64,
    /// Its BLAKE3.
    pub hash: String,
}

/// The checkpoint behind a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The checkpoint's name: a hub id or a folder's name.
    pub name: String,
    /// Its revision, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// BLAKE3 of the weights file; of several files, the BLAKE3 of theirs in the order of their names.
    pub weights_hash: String,
    /// Hash of what the config adds to the weights.
    pub config_hash: String,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Manifest {
    /// Parses and checks the text of a `bundle.toml`; `path` is named in errors.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let FormatOnly { format } = files::toml(path, text)?;
        if !(BUNDLE_FORMAT..=DECISION_FORMAT).contains(&format) {
            let (oldest, newest) = (BUNDLE_FORMAT, DECISION_FORMAT);
            return Err(Error::Format { path: path.to_owned(), got: format, oldest, newest });
        }
        let manifest: Self = files::toml(path, text)?;
        manifest.check(path)?;
        Ok(manifest)
    }

    /// The text of `bundle.toml`.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a manifest is plain strings, numbers and one table")
    }

    /// Names and values for the graph's metadata, in a fixed order: each field of the file as text, those of a table
    /// with its name before them (`offprint.source.name`), those of one of several with its number, too
    /// (`offprint.head.0.labels`). Lists are JSON.
    pub fn metadata(&self) -> Vec<(String, String)> {
        let table = toml::Table::try_from(self).expect("a manifest is plain strings, numbers and one table");
        let mut pairs = Vec::new();
        flatten(METADATA_PREFIX, &table, &mut pairs);
        pairs.sort_unstable();
        pairs
    }

    /// Which function of a text the bundle computes; see the table in `fingerprint.rs`. A bundle whose texts choose from
    /// several adapters computes several: that of each is given by [`Manifest::identity_of`], and this one is shared by
    /// no vector.
    pub fn identity(&self) -> Identity {
        self.identity_of(None)
    }

    /// Which function of a text is computed with the adapter at this place in [`Manifest::adapters`]; without a place,
    /// as [`Manifest::identity`]. Panics if there is no such place.
    ///
    /// An adapter gives the same identity whether it was chosen among several or is the only one in the graph.
    pub fn identity_of(&self, adapter: Option<usize>) -> Identity {
        let adapter = match adapter {
            Some(place) => self.adapters[place].hash.clone(),
            None if !self.adapters.is_empty() => SEVERAL_ADAPTERS.to_owned(),
            None => self.fused_adapter.as_ref().map_or(NO_ADAPTER, |adapter| &adapter.hash).to_owned(),
        };
        let fields = [
            ("weights", self.source.weights_hash.clone()),
            ("config", self.source.config_hash.clone()),
            ("tokenizer", self.tokenizer_hash.clone()),
            ("max_length", self.max_length.to_string()),
            ("truncation_side", self.truncation_side.clone()),
            ("pooling", self.pooling.to_string()),
            ("normalize", self.normalize.to_string()),
            ("output", self.output.clone()),
            ("adapter", adapter),
        ];
        Identity::from_fields(fields.map(|(name, value)| (name.to_owned(), value)))
    }

    /// The hash of the graph that decides the bits of the bundle's vectors.
    pub fn encoder_graph(&self) -> &str {
        self.encoder_graph_hash.as_ref().unwrap_or(&self.graph_hash)
    }

    /// What decides the bits of the bundle's vectors; see the table in `fingerprint.rs`. Of several adapters, see
    /// [`Manifest::fingerprint_of`].
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint_of(None)
    }

    /// What decides the bits of the vectors that the adapter at this place in [`Manifest::adapters`] gives; without a
    /// place, as [`Manifest::fingerprint`]. Panics if there is no such place.
    pub fn fingerprint_of(&self, adapter: Option<usize>) -> Fingerprint {
        let data = self.data.iter().map(|data| ("data", data.hash.clone()));
        let numerics = [("precision", self.precision.to_string()), ("graph", self.encoder_graph().to_owned())];
        let numerics = numerics.into_iter().chain(data).map(|(name, value)| (name.to_owned(), value));
        Fingerprint::new(&self.identity_of(adapter), numerics)
    }

    /// What is wrong with the heads, if anything: field, what is there, what can be there.
    pub fn heads_problem(&self) -> Option<(String, String, String)> {
        head::problem(&self.heads, &self.adapters)
    }

    /// The oldest format that says all there is in it.
    pub fn oldest_format(&self) -> u32 {
        let has_adapters = self.fused_adapter.is_some() || !self.adapters.is_empty();
        if self.heads.iter().any(GraphHead::decides_by_more) { DECISION_FORMAT } else { bundle_format(has_adapters) }
    }

    /// Whether the format is not the oldest that says all: field, what is there, what can be there.
    fn format_problem(&self) -> Option<(String, String, String)> {
        let expected = self.oldest_format();
        let with = match expected {
            BUNDLE_FORMAT => "without adapters",
            ADAPTER_FORMAT => "with adapters",
            _ => "with such heads",
        };
        let problem = || ("format".to_owned(), self.format.to_string(), format!("{expected} for a bundle {with}"));
        (self.format != expected).then(problem)
    }

    fn check(&self, path: &Path) -> Result<(), Error> {
        let wrong = |field: &str, got: String, expected: String| Error::Field {
            path: path.to_owned(),
            field: field.to_owned(),
            got,
            expected,
        };
        let words = [
            ("truncation_side", &self.truncation_side, vec![TRUNCATION_SIDE]),
            ("output", &self.output, vec![SENTENCE_EMBEDDING]),
            ("architecture", &self.architecture, architectures()),
        ];
        for (field, got, known) in words {
            if !known.contains(&got.as_str()) {
                return Err(wrong(field, format!("`{got}`"), format!("`{}`", known.join("` or `"))));
            }
        }
        let adapters = bundle_adapter::problem(self.fused_adapter.as_ref(), &self.adapters);
        let problem = adapters.or_else(|| self.format_problem()).or_else(|| self.heads_problem());
        let problem = problem.or_else(|| self.quality.as_ref().and_then(Quality::problem));
        let problem = problem.or_else(|| self.int8.as_ref().and_then(Int8::problem));
        if let Some((field, got, expected)) = problem {
            return Err(wrong(&field, got, expected));
        }
        for (field, got, least) in [("dim", self.dim, 1), ("max_length", self.max_length, 3)] {
            if got < least {
                return Err(wrong(field, got.to_string(), format!("at least {least}")));
            }
        }
        // TOML writes no larger number, though it can be read.
        let numbers =
            [("dim", self.dim as u64), ("max_length", self.max_length as u64), ("parameters", self.parameters)];
        let numbers = numbers.into_iter().chain(self.data.iter().map(|data| ("data.bytes", data.bytes)));
        for (field, got) in numbers {
            if i64::try_from(got).is_err() {
                return Err(wrong(field, got.to_string(), format!("at most {}", i64::MAX)));
            }
        }
        Ok(())
    }
}

/// The format of a bundle, by whether its graph has adapters.
pub fn bundle_format(has_adapters: bool) -> u32 {
    if has_adapters { ADAPTER_FORMAT } else { BUNDLE_FORMAT }
}

/// What `architecture` may be.
fn architectures() -> Vec<&'static str> {
    architectures::ALL.iter().map(|known| known.name).chain([FOREIGN_ARCHITECTURE]).collect()
}

fn flatten(prefix: &str, table: &toml::Table, into: &mut Vec<(String, String)>) {
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) => flatten(&format!("{prefix}{name}."), inner, into),
            toml::Value::String(text) => into.push((format!("{prefix}{name}"), text.clone())),
            toml::Value::Array(list) if list.iter().all(toml::Value::is_table) => {
                for (number, inner) in list.iter().enumerate() {
                    let inner = inner.as_table().expect("each was looked at");
                    flatten(&format!("{prefix}{name}.{number}."), inner, into);
                }
            }
            toml::Value::Array(list) => {
                let json = serde_json::to_string(list).expect("a manifest's lists hold strings and numbers");
                into.push((format!("{prefix}{name}"), json));
            }
            other => into.push((format!("{prefix}{name}"), other.to_string())),
        }
    }
}
