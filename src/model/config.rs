//! `config.json` of an encoder: which sizes its tensors have and how its layers compute.
//! A config that this file accepts can be built; whatever it does not support is refused by name, never ignored.

use std::path::Path;

use serde_json::{Map, Value};

use super::architectures::{self, Architecture, BiasFields, Padding, Positions, Projection};
use super::rotary::Rotary;
use super::{Activation, Classification, Error, Pooling, files};

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
    /// Rows of the position table; without one, positions that the family was made for.
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
    /// How layers turn queries and keys, and which see a window alone, where positions have no table.
    pub rotary: Option<Rotary>,
    /// Which layers add a bias.
    pub biases: Biases,
    /// Whether the word embeddings are also the last layer of a masked-LM head that stores none.
    pub ties_words: bool,
    /// Whether the last layer of a masked-LM head adds a bias.
    pub decoder_bias: bool,
    /// The head of a sequence classifier, where the checkpoint is one.
    pub classification: Option<Classification>,
    /// Function in that head.
    pub head_activation: Activation,
    /// What that head reads of a text: the first token's state or the mean.
    pub head_pooling: Pooling,
}

/// Which layers of an encoder add a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Biases {
    /// Every layer normalization.
    pub norms: bool,
    /// The linear layers of self-attention.
    pub attention: bool,
    /// Those of the feed-forward block.
    pub feed_forward: bool,
    /// The first of a classifier's head.
    pub classifier: bool,
}

impl Biases {
    /// All of them.
    pub const ALL: Self = Self { norms: true, attention: true, feed_forward: true, classifier: true };
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

    /// The longest input in tokens that the positions serve.
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
        if let Some(rotary) = &self.rotary {
            text += &format!(" {rotary}");
        }
        if self.biases != Biases::ALL {
            let Biases { norms, attention, feed_forward, .. } = self.biases;
            text += &format!(" biases={norms},{attention},{feed_forward}");
        }
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }

    fn check(&self, path: &Path) -> Result<(), Error> {
        let fields = &self.architecture.fields;
        if !self.hidden_size.is_multiple_of(self.heads) {
            let expected = format!("a divisor of `{}` {}", fields.hidden_size, self.hidden_size);
            return Err(wrong(path, fields.heads, &self.heads.to_string(), &expected));
        }
        if !(self.layer_norm_epsilon > 0.0 && self.layer_norm_epsilon < 1.0) {
            let name = fields.epsilon.unwrap_or_default().0;
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
        if let Some(rotary) = &self.rotary {
            rotary.check(path, self)?;
        }
        Ok(())
    }
}

/// The fields of a config.json.
pub(super) struct Fields<'a> {
    pub path: &'a Path,
    pub fields: &'a Map<String, Value>,
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
        let layers = self.size(names.layers, None)?.saturating_mul(shared_layers.map_or(1, |[_, inner]| inner));
        if layers > MAX_LAYERS {
            return Err(wrong(self.path, names.layers, &layers.to_string(), &format!("at most {MAX_LAYERS}")));
        }
        Ok(EncoderConfig {
            architecture,
            hidden_size,
            embedding_size: match names.embedding_size {
                Some(name) => self.size(name, None)?,
                None => hidden_size,
            },
            layers,
            heads: self.size(names.heads, None)?,
            intermediate_size: self.size(names.intermediate_size, None)?,
            activation: self.activation(names.activation)?,
            vocab_size: self.size("vocab_size", None)?,
            positions: self.size("max_position_embeddings", None)?,
            padding: match architecture.positions {
                Positions::FromZero | Positions::Rotary => None,
                Positions::AfterPadding(Padding::Id(id)) => Some(id),
                Positions::AfterPadding(Padding::Field(name)) => Some(self.number(name, Some(1))?),
            },
            token_types: match names.token_types {
                Some(name) => self.number(name, Some(2))?,
                None => 0,
            },
            layer_norm_epsilon: match names.epsilon {
                Some((name, default)) => self.float(name, default)? as f32,
                None => EPSILON as f32,
            },
            relative_buckets: match names.relative_buckets {
                Some(name) => Some(self.size(name, Some(RELATIVE_BUCKETS))?),
                None => None,
            },
            shared_layers,
            rotary: match architecture.positions {
                Positions::Rotary => Some(Rotary::read(self, layers)?),
                Positions::FromZero | Positions::AfterPadding(_) => None,
            },
            biases: match names.biases {
                Some(fields) => self.biases(fields)?,
                None => Biases::ALL,
            },
            decoder_bias: match names.biases {
                Some(fields) => self.flag(fields.decoder, true)?,
                None => true,
            },
            ties_words: self.fields.get("tie_word_embeddings") != Some(&Value::Bool(false)),
            classification: Classification::read(self.path, self.fields, architecture)?,
            head_activation: match names.classifier {
                Some(fields) if self.fields.contains_key(fields.activation) => {
                    self.activation((fields.activation, ""))?
                }
                _ => architecture.head.activation,
            },
            head_pooling: match names.classifier {
                Some(fields) => self.pooling(fields.pooling)?,
                None => Pooling::Cls,
            },
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
    pub(super) fn size(&self, field: &str, default: Option<usize>) -> Result<usize, Error> {
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

    pub(super) fn float(&self, field: &str, default: f64) -> Result<f64, Error> {
        let Some(value) = self.fields.get(field) else { return Ok(default) };
        value.as_f64().ok_or_else(|| wrong(self.path, field, &value.to_string(), "a number"))
    }

    fn flag(&self, field: &str, default: bool) -> Result<bool, Error> {
        let Some(value) = self.fields.get(field) else { return Ok(default) };
        value.as_bool().ok_or_else(|| wrong(self.path, field, &value.to_string(), "true or false"))
    }

    fn biases(&self, fields: BiasFields) -> Result<Biases, Error> {
        let flag = |field: &str| self.flag(field, false);
        Ok(Biases {
            norms: flag(fields.norms)?,
            attention: flag(fields.attention)?,
            feed_forward: flag(fields.feed_forward)?,
            classifier: flag(fields.classifier)?,
        })
    }

    fn pooling(&self, field: &str) -> Result<Pooling, Error> {
        let Some(value) = self.fields.get(field) else { return Ok(Pooling::Cls) };
        let known = value.as_str().and_then(|word| word.parse().ok());
        known.ok_or_else(|| wrong(self.path, field, &value.to_string().replace('"', "`"), "`cls` or `mean`"))
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
