//! `config.json` of a BERT encoder: which sizes its tensors have and how its layers compute.
//! A config that this file accepts can be built; whatever it does not support is refused by name, never ignored.

use std::path::Path;

use serde::Deserialize;

use super::{Error, files};

/// The `model_type`s that a graph can be built for.
pub const SUPPORTED_ARCHITECTURES: [&str; 1] = ["bert"];

/// The function between the two products of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x Φ(x), by the error function.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// max(x, 0).
    Relu,
}

/// Sizes and constants of a BERT encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct BertConfig {
    /// Width of a token state; the length of an embedding.
    pub hidden_size: usize,
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
    /// Rows of the position table: the longest input.
    pub positions: usize,
    /// Rows of the token type table, at least one.
    pub token_types: usize,
    /// Added to the variance in layer normalization.
    pub layer_norm_epsilon: f32,
}

#[derive(Deserialize)]
struct Kind {
    model_type: Option<String>,
}

#[derive(Deserialize)]
struct Fields {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    vocab_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f32,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default)]
    add_cross_attention: bool,
}

impl BertConfig {
    /// Reads and checks a `config.json`. Refuses other architectures and whatever would make the graph another
    /// function than the checkpoint: relative positions, decoders, unknown activations, sizes that don't divide.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = files::read(path)?;
        let kind: Kind = files::json(path, &bytes)?;
        let name = kind.model_type.unwrap_or_else(|| "(none)".to_owned());
        if !SUPPORTED_ARCHITECTURES.contains(&name.as_str()) {
            let supported = SUPPORTED_ARCHITECTURES.join(", ");
            return Err(Error::UnknownArchitecture { path: path.to_owned(), name, supported });
        }
        let fields: Fields = files::json(path, &bytes)?;
        fields.check(path)?;
        Ok(Self {
            hidden_size: fields.hidden_size,
            layers: fields.num_hidden_layers,
            heads: fields.num_attention_heads,
            intermediate_size: fields.intermediate_size,
            activation: activation(path, &fields.hidden_act)?,
            vocab_size: fields.vocab_size,
            positions: fields.max_position_embeddings,
            token_types: fields.type_vocab_size,
            layer_norm_epsilon: fields.layer_norm_eps,
        })
    }

    /// Width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.heads
    }

    /// BLAKE3 of what the weights alone don't determine; two checkpoints that differ here compute other vectors.
    pub fn hash(&self) -> String {
        let text = format!(
            "bert layers={} hidden={} heads={} intermediate={} activation={:?} epsilon={:e}",
            self.layers, self.hidden_size, self.heads, self.intermediate_size, self.activation, self.layer_norm_epsilon
        );
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }
}

impl Fields {
    fn check(&self, path: &Path) -> Result<(), Error> {
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some((field, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(wrong(path, field, "0", "at least 1"));
        }
        if let Some((field, size)) = sizes.iter().find(|(_, size)| *size > i32::MAX as usize) {
            return Err(wrong(path, field, &size.to_string(), &format!("at most {}", i32::MAX)));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let expected = format!("a divisor of `hidden_size` {}", self.hidden_size);
            return Err(wrong(path, "num_attention_heads", &self.num_attention_heads.to_string(), &expected));
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return Err(wrong(path, "layer_norm_eps", &self.layer_norm_eps.to_string(), "a number between 0 and 1"));
        }
        if let Some(kind) = self.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            return Err(wrong(path, "position_embedding_type", &format!("`{kind}`"), "`absolute`"));
        }
        for (field, set) in [("is_decoder", self.is_decoder), ("add_cross_attention", self.add_cross_attention)] {
            if set {
                return Err(wrong(path, field, "true", "false (an encoder)"));
            }
        }
        Ok(())
    }
}

fn activation(path: &Path, name: &str) -> Result<Activation, Error> {
    match name {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        other => Err(wrong(
            path,
            "hidden_act",
            &format!("`{other}`"),
            "one of gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu",
        )),
    }
}

fn wrong(path: &Path, field: &str, got: &str, expected: &str) -> Error {
    Error::Field { path: path.to_owned(), field: field.to_owned(), got: got.to_owned(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    fn open_with(changes: &[(&str, Value)]) -> Result<BertConfig, Error> {
        let mut config = json!({
            "model_type": "bert", "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
            "intermediate_size": 20, "hidden_act": "gelu", "vocab_size": 30, "max_position_embeddings": 16,
            "type_vocab_size": 2, "layer_norm_eps": 1e-12, "position_embedding_type": "absolute",
        });
        for (field, value) in changes {
            config[field] = value.clone();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, config.to_string()).unwrap();
        BertConfig::open(&path)
    }

    fn message(changes: &[(&str, Value)]) -> String {
        let text = open_with(changes).unwrap_err().to_string();
        text.split_once("config.json`").unwrap().1.to_owned()
    }

    #[test]
    fn a_plain_config_is_read() {
        let config = open_with(&[]).unwrap();
        assert_eq!((config.hidden_size, config.layers, config.heads, config.head_size()), (12, 2, 3, 4));
        assert_eq!(config.activation, Activation::Gelu);
        let other = open_with(&[("num_attention_heads", json!(4))]).unwrap();
        assert_ne!(config.hash(), other.hash());
    }

    #[test]
    fn another_architecture_is_named_with_what_is_supported() {
        assert_eq!(
            message(&[("model_type", json!("mpnet"))]),
            " asks for the architecture `mpnet`, supported are: bert"
        );
        assert_eq!(message(&[("model_type", Value::Null)]), " asks for the architecture `(none)`, supported are: bert");
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
        assert_eq!(
            message(&[("hidden_act", json!("swish"))]),
            ": `hidden_act` is `swish`, expected one of gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu"
        );
        assert_eq!(message(&[("is_decoder", json!(true))]), ": `is_decoder` is true, expected false (an encoder)");
        assert_eq!(
            message(&[("layer_norm_eps", json!(0))]),
            ": `layer_norm_eps` is 0, expected a number between 0 and 1"
        );
        assert_eq!(message(&[("hidden_size", json!("12"))]), " could not be understood");
    }
}
