//! `config.json` of an encoder: which sizes its tensors have and how its layers compute.
//! A config that this file accepts can be built; whatever it does not support is refused by name, never ignored.

use std::path::Path;

use serde_json::{Map, Value};

use super::architectures::{self, Architecture, Padding, Positions, Projection};
use super::{Activation, Classification, Error, files};

/// What layer normalization adds where config.json does not say.
const EPSILON: f64 = 1e-12;
/// The buckets into which relative positions fall; the table may have more rows, which are then never read.
const RELATIVE_BUCKETS: usize = 32;
/// Far beyond any encoder; layers that share their weights cost a hostile config nothing.
const MAX_LAYERS: usize = 1_000;

/// Sizes and constants of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// The family, with the names of its tensors.
    pub architecture: &'static Architecture,
    /// Width of a token state; the length of an embedding.
    pub hidden_size: usize,
    /// Width of a row of the embedding tables; `hidden_size` in most families.
    pub embedding_size: usize,
    /// Encoder layers, at least one.
    pub layers: usize,
    /// Attention heads; divides `hidden_size`.
    pub heads: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Function inside the feed-forward block.
    pub activation: Activation,
    /// Rows of the word embedding table.
    pub vocab_size: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// The id of the padding token, where positions are counted from behind it.
    pub padding: Option<usize>,
    /// Rows of the token type table; 0 where there is none.
    pub token_types: usize,
    /// Added to the variance in layer normalization.
    pub layer_norm_epsilon: f32,
    /// Rows of the table of relative positions, where there is one.
    pub relative_buckets: Option<usize>,
    /// Groups of layers that share their weights and layers within a group, where layers share them.
    pub shared_layers: Option<[usize; 2]>,
    /// The head of a sequence classifier, where the checkpoint is one.
    pub classification: Option<Classification>,
}

impl EncoderConfig {
    /// Reads and checks a `config.json`. Refuses other architectures and whatever would make the graph another
    /// function than the checkpoint: relative positions, decoders, unknown activations, sizes that don't divide.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fields: Map<String, Value> = files::json(path, &files::read(path)?)?;
        let name = fields.get("model_type").and_then(Value::as_str).unwrap_or("(none)").to_owned();
        let Some(architecture) = architectures::find(&name) else {
            let supported = architectures::known();
            return Err(Error::UnknownArchitecture { path: path.to_owned(), name, supported });
        };
        let fields = Fields { path, fields: &fields };
        fields.refuse_other_functions()?;
        let config = fields.config(architecture)?;
        config.check(path)?;
        Ok(config)
    }

    /// Width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.heads
    }

    /// The longest input in tokens that the position table serves.
    pub fn longest_input(&self) -> usize {
        self.positions - self.padding.map_or(0, |padding| padding + 1)
    }

    /// The linear layer between the embeddings and the first layer, where there is one.
    pub fn projection(&self) -> Option<&'static str> {
        match self.architecture.embeddings.projection {
            Projection::Always(name) => Some(name),
            Projection::WhereWidthsDiffer(name) if self.embedding_size != self.hidden_size => Some(name),
            Projection::WhereWidthsDiffer(_) | Projection::None => None,
        }
    }

    /// The name that the weights of a layer have within the encoder; several layers may share them.
    pub fn layer_name(&self, index: usize) -> String {
        let pattern = self.architecture.layers.layer;
        let Some([groups, inner]) = self.shared_layers else {
            return pattern.replace("{layer}", &index.to_string());
        };
        // The group as transformers computes it, in floating point.
        let group = (index / inner) as f64 / ((self.layers / inner) as f64 / groups as f64);
        pattern.replace("{group}", &(group as usize).to_string()).replace("{inner}", &(index % inner).to_string())
    }

    /// How many layers the weights hold.
    pub fn stored_layers(&self) -> usize {
        self.shared_layers.map_or(self.layers, |[groups, inner]| groups * inner)
    }

    /// BLAKE3 of what the weights alone don't determine; two checkpoints that differ here compute other vectors.
    pub fn hash(&self) -> String {
        let mut text = format!(
            "{} layers={} hidden={} heads={} intermediate={} activation={:?} epsilon={:e}",
            self.architecture.name,
            self.layers,
            self.hidden_size,
            self.heads,
            self.intermediate_size,
            self.activation,
            self.layer_norm_epsilon
        );
        if let Some(padding) = self.padding {
            text += &format!(" padding={padding}");
        }
        if let Some([groups, inner]) = self.shared_layers {
            text += &format!(" groups={groups} inner={inner}");
        }
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }

    fn check(&self, path: &Path) -> Result<(), Error> {
        let fields = &self.architecture.fields;
        if self.layers > MAX_LAYERS {
            return Err(wrong(path, fields.layers, &self.layers.to_string(), &format!("at most {MAX_LAYERS}")));
        }
        if !self.hidden_size.is_multiple_of(self.heads) {
            let expected = format!("a divisor of `{}` {}", fields.hidden_size, self.hidden_size);
            return Err(wrong(path, fields.heads, &self.heads.to_string(), &expected));
        }
        if !(self.layer_norm_epsilon > 0.0 && self.layer_norm_epsilon < 1.0) {
            let name = fields.epsilon.unwrap_or_default();
            return Err(wrong(path, name, &self.layer_norm_epsilon.to_string(), "a number between 0 and 1"));
        }
        // One row more than the padding's is the least that a token can stand on.
        if let Some(padding) = self.padding.filter(|padding| padding + 1 >= self.positions) {
            let expected = format!("more than {} (positions begin behind the padding id {padding})", padding + 1);
            return Err(wrong(path, "max_position_embeddings", &self.positions.to_string(), &expected));
        }
        if let Some(buckets) = self.relative_buckets.filter(|buckets| *buckets < RELATIVE_BUCKETS) {
            let name = fields.relative_buckets.unwrap_or_default();
            return Err(wrong(path, name, &buckets.to_string(), &format!("at least {RELATIVE_BUCKETS}")));
        }
        Ok(())
    }
}

/// The fields of a config.json.
struct Fields<'a> {
    path: &'a Path,
    fields: &'a Map<String, Value>,
}

impl Fields<'_> {
    fn config(&self, architecture: &'static Architecture) -> Result<EncoderConfig, Error> {
        let names = &architecture.fields;
        let hidden_size = self.size(names.hidden_size, None)?;
        let shared_layers = match names.shared_layers {
            None => None,
            Some([groups, inner]) => Some([self.size(groups, Some(1))?, self.size(inner, Some(1))?]),
        };
        // Each pass through a group is one of `num_hidden_layers`, with all layers of the group in it.
        let passes = self.size(names.layers, None)?;
        Ok(EncoderConfig {
            architecture,
            hidden_size,
            embedding_size: match names.embedding_size {
                Some(name) => self.size(name, None)?,
                None => hidden_size,
            },
            layers: passes * shared_layers.map_or(1, |[_, inner]| inner),
            heads: self.size(names.heads, None)?,
            intermediate_size: self.size(names.intermediate_size, None)?,
            activation: self.activation(names.activation)?,
            vocab_size: self.size("vocab_size", None)?,
            positions: self.size("max_position_embeddings", None)?,
            padding: match architecture.positions {
                Positions::FromZero => None,
                Positions::AfterPadding(Padding::Id(id)) => Some(id),
                Positions::AfterPadding(Padding::Field(name)) => Some(self.number(name, Some(1))?),
            },
            token_types: match names.token_types {
                Some(name) => self.number(name, Some(2))?,
                None => 0,
            },
            layer_norm_epsilon: match names.epsilon {
                Some(name) => self.float(name, EPSILON)?,
                None => EPSILON as f32,
            },
            relative_buckets: match names.relative_buckets {
                Some(name) => Some(self.size(name, Some(RELATIVE_BUCKETS))?),
                None => None,
            },
            shared_layers,
            classification: Classification::read(self.path, self.fields, architecture)?,
        })
    }

    /// Options under which transformers computes something else with the same tensors.
    fn refuse_other_functions(&self) -> Result<(), Error> {
        let kind = self.fields.get("position_embedding_type").and_then(Value::as_str);
        if let Some(kind) = kind.filter(|kind| *kind != "absolute") {
            return Err(wrong(self.path, "position_embedding_type", &format!("`{kind}`"), "`absolute`"));
        }
        for field in ["is_decoder", "add_cross_attention"] {
            if self.fields.get(field) == Some(&Value::Bool(true)) {
                return Err(wrong(self.path, field, "true", "false (an encoder)"));
            }
        }
        match self.fields.get("pruned_heads").and_then(Value::as_object) {
            Some(pruned) if !pruned.is_empty() => {
                let got = format!("set for {} layers", pruned.len());
                Err(wrong(self.path, "pruned_heads", &got, "none"))
            }
            _ => Ok(()),
        }
    }

    /// A whole number of at least 1.
    fn size(&self, field: &str, default: Option<usize>) -> Result<usize, Error> {
        match self.number(field, default)? {
            0 => Err(wrong(self.path, field, "0", "at least 1")),
            size => Ok(size),
        }
    }

    /// A whole number of at least 0 for which ONNX and our own sums have room.
    fn number(&self, field: &str, default: Option<usize>) -> Result<usize, Error> {
        let value = match (self.fields.get(field), default) {
            (None, Some(default)) => return Ok(default),
            (None, None) => return Err(wrong(self.path, field, "missing", "a whole number")),
            (Some(value), _) => value,
        };
        let number = value.as_u64().ok_or_else(|| wrong(self.path, field, &value.to_string(), "a whole number"))?;
        if number > i32::MAX as u64 {
            return Err(wrong(self.path, field, &number.to_string(), &format!("at most {}", i32::MAX)));
        }
        Ok(number as usize)
    }

    fn float(&self, field: &str, default: f64) -> Result<f32, Error> {
        let Some(value) = self.fields.get(field) else { return Ok(default as f32) };
        let number = value.as_f64().ok_or_else(|| wrong(self.path, field, &value.to_string(), "a number"))?;
        Ok(number as f32)
    }

    fn activation(&self, (field, default): (&str, &str)) -> Result<Activation, Error> {
        let value = self.fields.get(field);
        let name = match value {
            None => default,
            Some(value) => value.as_str().ok_or_else(|| wrong(self.path, field, &value.to_string(), "a name"))?,
        };
        Activation::of(name).ok_or_else(|| {
            wrong(self.path, field, &format!("`{name}`"), &format!("one of {}", Activation::NAMES.join(", ")))
        })
    }
}

pub(super) fn wrong(path: &Path, field: &str, got: &str, expected: &str) -> Error {
    Error::Field { path: path.to_owned(), field: field.to_owned(), got: got.to_owned(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    fn open(config: &Value) -> Result<EncoderConfig, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, config.to_string()).unwrap();
        EncoderConfig::open(&path)
    }

    fn open_with(changes: &[(&str, Value)]) -> Result<EncoderConfig, Error> {
        let mut config = json!({
            "model_type": "bert", "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
            "intermediate_size": 20, "hidden_act": "gelu", "vocab_size": 30, "max_position_embeddings": 16,
            "type_vocab_size": 2, "layer_norm_eps": 1e-12, "position_embedding_type": "absolute",
        });
        for (field, value) in changes {
            config[field] = value.clone();
        }
        open(&config)
    }

    fn message(changes: &[(&str, Value)]) -> String {
        let text = open_with(changes).unwrap_err().to_string();
        text.split_once("config.json`").unwrap().1.to_owned()
    }

    #[test]
    fn a_plain_config_is_read() {
        let config = open_with(&[]).unwrap();
        assert_eq!((config.hidden_size, config.layers, config.heads, config.head_size()), (12, 2, 3, 4));
        assert_eq!((config.embedding_size, config.longest_input(), config.stored_layers()), (12, 16, 2));
        assert_eq!(config.activation, Activation::Gelu);
        let other = open_with(&[("num_attention_heads", json!(4))]).unwrap();
        assert_ne!(config.hash(), other.hash());
        assert_eq!(open_with(&[("type_vocab_size", json!(0))]).unwrap().token_types, 0);
    }

    #[test]
    fn the_hash_of_a_config_stays_what_it_was() {
        // It is part of the name of every cache and of every head.
        let text = "bert layers=2 hidden=12 heads=3 intermediate=20 activation=Gelu epsilon=1e-12";
        assert_eq!(open_with(&[]).unwrap().hash(), blake3::hash(text.as_bytes()).to_hex().to_string());
    }

    #[test]
    fn another_architecture_is_named_with_what_is_supported() {
        let supported = "supported are: bert, roberta, xlm-roberta, distilbert, electra, mpnet, albert";
        assert_eq!(
            message(&[("model_type", json!("llama"))]),
            format!(" asks for the architecture `llama`, {supported}")
        );
        assert_eq!(
            message(&[("model_type", Value::Null)]),
            format!(" asks for the architecture `(none)`, {supported}")
        );
    }

    #[test]
    fn what_would_change_the_function_is_refused() {
        assert_eq!(
            message(&[("position_embedding_type", json!("relative_key"))]),
            ": `position_embedding_type` is `relative_key`, expected `absolute`"
        );
        assert_eq!(
            message(&[("num_attention_heads", json!(5))]),
            ": `num_attention_heads` is 5, expected a divisor of `hidden_size` 12"
        );
        assert_eq!(message(&[("num_attention_heads", json!(0))]), ": `num_attention_heads` is 0, expected at least 1");
        let known = "one of gelu, gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh, gelu_python_tanh, relu, silu, \
            swish, quick_gelu, tanh";
        assert_eq!(message(&[("hidden_act", json!("mish"))]), format!(": `hidden_act` is `mish`, expected {known}"));
        assert_eq!(message(&[("is_decoder", json!(true))]), ": `is_decoder` is true, expected false (an encoder)");
        assert_eq!(
            message(&[("layer_norm_eps", json!(0))]),
            ": `layer_norm_eps` is 0, expected a number between 0 and 1"
        );
        assert_eq!(message(&[("hidden_size", json!("12"))]), ": `hidden_size` is \"12\", expected a whole number");
        assert_eq!(
            message(&[("vocab_size", json!(1_u64 << 31))]),
            ": `vocab_size` is 2147483648, expected at most 2147483647"
        );
        assert_eq!(
            message(&[("pruned_heads", json!({"0": [1]}))]),
            ": `pruned_heads` is set for 1 layers, expected none"
        );
    }

    #[test]
    fn each_family_reads_its_own_fields() {
        let distilbert = json!({
            "model_type": "distilbert", "dim": 12, "n_layers": 2, "n_heads": 3, "hidden_dim": 20, "activation": "relu",
            "vocab_size": 30, "max_position_embeddings": 16,
        });
        let config = open(&distilbert).unwrap();
        assert_eq!((config.hidden_size, config.token_types, config.activation), (12, 0, Activation::Relu));
        let roberta = open_with(&[("model_type", json!("roberta")), ("pad_token_id", json!(3))]).unwrap();
        assert_eq!((roberta.padding, roberta.longest_input()), (Some(3), 12));
        assert_eq!(
            message(&[("model_type", json!("roberta")), ("pad_token_id", json!(15))]),
            ": `max_position_embeddings` is 16, expected more than 16 (positions begin behind the padding id 15)"
        );
        assert_eq!(
            message(&[("model_type", json!("mpnet")), ("relative_attention_num_buckets", json!(16))]),
            ": `relative_attention_num_buckets` is 16, expected at least 32"
        );
        assert_eq!(
            message(&[("model_type", json!("electra"))]),
            ": `embedding_size` is missing, expected a whole number"
        );
    }

    #[test]
    fn shared_layers_are_named_by_group() {
        let albert = [
            ("model_type", json!("albert")),
            ("embedding_size", json!(7)),
            ("num_hidden_layers", json!(5)),
            ("num_hidden_groups", json!(2)),
            ("inner_group_num", json!(2)),
        ];
        let config = open_with(&albert).unwrap();
        assert_eq!((config.layers, config.stored_layers()), (10, 4));
        let name = |layer| config.layer_name(layer).replace("encoder.albert_layer_groups.", "");
        let names: Vec<String> = [0, 1, 2, 5, 6, 9].map(name).to_vec();
        let expected = [
            "0.albert_layers.0",
            "0.albert_layers.1",
            "0.albert_layers.0",
            "0.albert_layers.1",
            "1.albert_layers.0",
            "1.albert_layers.1",
        ];
        assert_eq!(names, expected);
    }
}
