//! LoRA adapters of peft (version 0.21.2 was read): a linear layer's weights plus a product of two narrow matrices. Owns
//! the fields of the config and how the factors are scaled. Settings under which peft computes something else are
//! refused by name.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::super::{Error, Tensor, Weights};
use super::fields::{Fields, positive, shown};
use super::places::check_shape;
use super::{AdapterError, opened};

/// What peft puts before the names of the base model.
const WRAPPER: &str = "base_model.model.";
const FACTORS: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];

/// Settings that ask for another computation, with the reason for which each is refused.
const OTHER_COMPUTATIONS: [(&str, &str); 14] = [
    ("use_dora", "DoRA is not supported"),
    ("modules_to_save", "layers that were trained in full are not supported"),
    ("trainable_token_indices", "trained rows of the word embeddings are not supported"),
    ("target_parameters", "only whole linear layers are supported"),
    ("layer_replication", "layers that are there several times are not supported"),
    ("alora_invocation_tokens", "activated LoRA is not supported"),
    ("lora_bias", "biases of the factors are not supported"),
    ("use_qalora", "QALoRA is not supported"),
    ("use_bdlora", "BD-LoRA is not supported"),
    ("arrow_config", "Arrow is not supported"),
    ("kasa_config", "KaSA is not supported"),
    ("velora_config", "VeLoRA is not supported"),
    ("monteclora_config", "MonteCLoRA is not supported"),
    ("megatron_config", "Megatron's layers are not supported"),
];

/// Ways of initialization that leave the base model's weights as they are.
const KEEPING_INITIALIZATIONS: [&str; 3] = ["gaussian", "orthogonal", "eva"];

/// The linear layers that an adapter changes.
#[derive(Debug)]
pub struct Lora {
    /// By the layer's name in the model that was trained.
    modules: BTreeMap<String, Names>,
}

/// The tensors of one linear layer's change, and what their product is multiplied with.
#[derive(Debug)]
struct Names {
    factors: [String; 2],
    scale: f64,
}

/// What is added to a linear layer's weights: `scale` times the product of `up` and `down`.
#[derive(Debug, Clone, Copy)]
pub struct LowRank<'a> {
    /// peft's `lora_A`: [rank, in].
    pub down: Tensor<'a>,
    /// peft's `lora_B`: [out, rank].
    pub up: Tensor<'a>,
    /// What their product is multiplied with.
    pub scale: f64,
}

impl LowRank<'_> {
    /// The change of share `index` of `of` equal shares of the linear layer's rows.
    pub fn share(&self, (index, of): (usize, usize)) -> Self {
        Self { up: self.up.share(index, of), ..*self }
    }
}

impl Lora {
    /// Reads the config and looks every tensor up.
    pub(super) fn read(path: &Path, config: &Map<String, Value>, weights: &Weights) -> Result<Self, Error> {
        let fields = Fields { path, fields: config };
        check_computation(fields)?;
        let mut modules = BTreeMap::new();
        let mut left = Vec::new();
        for tensor in weights.names() {
            match tensor.strip_prefix(WRAPPER).and_then(|name| name.strip_suffix(FACTORS[0])) {
                Some(module) => {
                    modules.insert(module.to_owned(), names(fields, weights, (module, tensor))?);
                }
                None if !tensor.ends_with(FACTORS[1]) => left.push(tensor),
                None => {}
            }
        }
        // A second factor without the first.
        let taken = |tensor: &str| modules.values().any(|names: &Names| names.factors[1] == tensor);
        left.extend(weights.names().filter(|tensor| tensor.ends_with(FACTORS[1]) && !taken(tensor)));
        if let Some(first) = left.first().map(|first| (*first).to_owned()) {
            return Err(AdapterError::NoPlace { path: weights.path().to_owned(), count: left.len(), first }.into());
        }
        // Else no vector would be changed.
        if !modules.keys().any(|module| Self::is_in_a_layer(module)) {
            let (path, count) = (weights.path().to_owned(), weights.names().count());
            let first = weights.names().next().unwrap_or_default().to_owned();
            return Err(AdapterError::NoPlace { path, count, first }.into());
        }
        Ok(Self { modules })
    }

    /// Whether a linear layer of that name stands in one of the encoder's layers, which have numbers; a pooler or a head
    /// does not.
    pub fn is_in_a_layer(module: &str) -> bool {
        module.split('.').any(|part| part.parse::<usize>().is_ok())
    }

    /// Each changed layer with what is added to its weights.
    pub(super) fn modules<'a>(&'a self, weights: &'a Weights) -> impl Iterator<Item = (&'a str, LowRank<'a>)> {
        self.modules.iter().map(|(module, names)| {
            let [down, up] = names.factors.each_ref().map(|name| opened(weights, name));
            (module.as_str(), LowRank { down, up, scale: names.scale })
        })
    }

    /// What the config adds to the weights, as text.
    pub(super) fn describe(&self) -> String {
        self.modules.iter().map(|(module, names)| format!("{module}={:e} ", names.scale)).collect()
    }
}

fn check_computation(fields: Fields<'_>) -> Result<(), Error> {
    if fields.text("peft_type")? != Some("LORA") {
        return Err(fields.wrong("peft_type", "`LORA`"));
    }
    for (field, why) in OTHER_COMPUTATIONS {
        fields.must_be_empty(field, why)?;
    }
    if fields.text("bias")?.is_some_and(|bias| bias != "none") {
        return Err(fields.wrong("bias", "`none` (trained biases are not supported)"));
    }
    match fields.get("init_lora_weights") {
        None | Some(Value::Bool(_)) => Ok(()),
        Some(Value::String(word)) if KEEPING_INITIALIZATIONS.contains(&word.as_str()) => Ok(()),
        Some(_) => {
            let expected = "true, false, `gaussian`, `orthogonal` or `eva`: others change the base model's weights \
                            (convert it with peft's `path_initial_model_for_weight_conversion`)";
            Err(fields.wrong("init_lora_weights", expected))
        }
    }
}

/// One layer's change, with the shapes of its two factors checked against each other.
fn names(fields: Fields<'_>, weights: &Weights, (module, down): (&str, &str)) -> Result<Names, Error> {
    let up = format!("{WRAPPER}{module}{}", FACTORS[1]);
    let shape = opened(weights, down).shape();
    let rank = by_pattern(fields, module, ("rank_pattern", "r"), 8.0)?;
    let alpha = by_pattern(fields, module, ("alpha_pattern", "lora_alpha"), 8.0)?;
    let inputs = shape.get(1).copied().unwrap_or_default();
    check_shape(weights, down, &[rank as usize, inputs])?;
    let Some(outputs) = weights.get(&up).map(|tensor| tensor.shape().first().copied().unwrap_or_default()) else {
        return Err(AdapterError::NoTensor { path: weights.path().to_owned(), tensor: up }.into());
    };
    check_shape(weights, &up, &[outputs, rank as usize])?;
    let root = fields.flag("use_rslora", false)?;
    let scale = alpha / if root { rank.sqrt() } else { rank };
    Ok(Names { factors: [down.to_owned(), up], scale })
}

/// A number that may be another for some layers: the first pattern wins that is the end of the layer's name.
fn by_pattern(fields: Fields<'_>, module: &str, (patterns, field): (&str, &str), default: f64) -> Result<f64, Error> {
    let number = fields.positive(field, default)?;
    let Some(value) = fields.get(patterns) else { return Ok(number) };
    let Some(map) = value.as_object() else { return Err(fields.wrong(patterns, "numbers by layer names")) };
    for pattern in map.keys() {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-');
        let name = pattern.strip_prefix('^').unwrap_or(pattern);
        if !name.chars().all(plain) {
            let expected =
                format!("plain names or ends of names; {} is a pattern", shown(Some(&Value::from(pattern.as_str()))));
            return Err(fields.wrong(patterns, &expected));
        }
    }
    // `map` is ordered by name here and by place in peft; that two patterns fit one layer is refused below.
    let fits = |pattern: &str| match pattern.strip_prefix('^') {
        Some(whole) => module == whole,
        None => module.strip_suffix(pattern).is_some_and(|before| before.is_empty() || before.ends_with('.')),
    };
    let mut fitting = map.iter().filter(|(pattern, _)| fits(pattern));
    let Some((_, value)) = fitting.next() else { return Ok(number) };
    if fitting.any(|(_, other)| other != value) {
        return Err(fields.wrong(patterns, &format!("one number for `{module}`")));
    }
    positive(value).ok_or_else(|| fields.wrong(patterns, "numbers above 0"))
}
