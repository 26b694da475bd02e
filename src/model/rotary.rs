//! What config.json says about rotary positions (Su et al. 2021) and about layers whose attention stays within a window,
//! in the form that transformers writes today and in the one before it. Knows no tensors.

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};

use super::config::{EncoderConfig, Fields, wrong};
use super::{Error, config};

/// The names of the two kinds of layers in `layer_types` and `rope_parameters`.
const KINDS: [&str; 2] = ["full_attention", "sliding_attention"];
/// The base of the angles of each kind: its field in older configs, and the value where neither says it.
const BASES: [(&str, f64); 2] = [("global_rope_theta", 160_000.0), ("local_rope_theta", 10_000.0)];
/// Far beyond any encoder: no tensor of the checkpoint bounds the tables of angles.
const MAX_POSITIONS: usize = 1 << 17;

/// How layers turn queries and keys by their positions, and which of them are local.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotary {
    /// Base of the angles in layers that see the whole text.
    pub base: f64,
    /// Base of the angles in local layers.
    pub local_base: f64,
    /// How far from a token the tokens are that it sees in a local layer, on either side.
    pub window: usize,
    /// For each layer whether it is local.
    pub local: Vec<bool>,
}

impl Rotary {
    /// Reads the fields of a config with so many layers.
    pub(super) fn read(fields: &Fields<'_>, layers: usize) -> Result<Self, Error> {
        if let Some(scaling) = fields.fields.get("rope_scaling").filter(|scaling| !scaling.is_null()) {
            return Err(wrong(fields.path, "rope_scaling", &scaling.to_string(), "none"));
        }
        let local = match fields.fields.get("layer_types") {
            None | Some(Value::Null) => {
                let every = fields.size("global_attn_every_n_layers", Some(3))?;
                (0..layers).map(|layer| layer % every != 0).collect()
            }
            Some(kinds) => local_layers(fields.path, kinds, layers)?,
        };
        let [base, local_base] = bases(fields)?;
        Ok(Self { base, local_base, window: fields.size("local_attention", Some(128))? / 2, local })
    }

    /// Refuses sizes that angles can't be made for.
    pub(super) fn check(&self, path: &Path, config: &EncoderConfig) -> Result<(), Error> {
        let fields = &config.architecture.fields;
        if !config.head_size().is_multiple_of(2) {
            let got = format!("{}, which leaves {} numbers to a head", config.heads, config.head_size());
            return Err(wrong(path, fields.heads, &got, "an even number for each (they are turned in pairs)"));
        }
        if config.positions > MAX_POSITIONS {
            let got = config.positions.to_string();
            return Err(wrong(path, "max_position_embeddings", &got, &format!("at most {MAX_POSITIONS}")));
        }
        Ok(())
    }
}

/// As it stands in the hash of a config.
impl fmt::Display for Rotary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: String = self.local.iter().map(|local| if *local { 'l' } else { 'g' }).collect();
        write!(f, "rotary={:e},{:e} window={} layers={kinds}", self.base, self.local_base, self.window)
    }
}

fn local_layers(path: &Path, kinds: &Value, layers: usize) -> Result<Vec<bool>, Error> {
    let expected = || format!("one of `{}` for each of {layers} layers", KINDS.join("`, `"));
    let list = kinds.as_array().ok_or_else(|| wrong(path, "layer_types", &kinds.to_string(), &expected()))?;
    if list.len() != layers {
        return Err(wrong(path, "layer_types", &format!("a list of {}", list.len()), &expected()));
    }
    let local = |kind: &Value| match KINDS.iter().position(|known| kind == known) {
        Some(kind) => Ok(kind == 1),
        None => Err(wrong(path, "layer_types", &format!("a list with {kind}"), &expected())),
    };
    list.iter().map(local).collect()
}

/// The bases of both kinds of layers.
fn bases(fields: &Fields<'_>) -> Result<[f64; 2], Error> {
    let none = Map::new();
    let parameters = match fields.fields.get("rope_parameters") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(parameters)) => parameters,
        Some(other) => return Err(wrong(fields.path, "rope_parameters", &other.to_string(), "an object")),
    };
    if let Some(kind) = parameters.keys().find(|kind| !KINDS.contains(&kind.as_str())) {
        let expected = format!("`{}`", KINDS.join("`, `"));
        return Err(wrong(fields.path, "rope_parameters", &format!("an object with `{kind}`"), &expected));
    }
    let mut found = [0.0; 2];
    for (index, (kind, (field, default))) in KINDS.iter().zip(BASES).enumerate() {
        let stated = match parameters.get(*kind) {
            None | Some(Value::Null) => None,
            Some(parameters) => stated_base(fields.path, kind, parameters)?,
        };
        let base = stated.map_or_else(|| fields.float(field, default), Ok)?;
        if !(base > 0.0 && base.is_finite()) {
            return Err(wrong(fields.path, field, &base.to_string(), "a positive number"));
        }
        found[index] = base;
    }
    Ok(found)
}

/// The base that the parameters of one kind of layer state; other ways to turn are refused.
fn stated_base(path: &Path, kind: &str, parameters: &Value) -> Result<Option<f64>, Error> {
    let name = |field: &str| format!("rope_parameters.{kind}.{field}");
    let Value::Object(parameters) = parameters else {
        return Err(config::wrong(path, &format!("rope_parameters.{kind}"), &parameters.to_string(), "an object"));
    };
    for (field, value) in parameters {
        match field.as_str() {
            "rope_theta" => {}
            "rope_type" if value == "default" => {}
            "rope_type" => return Err(wrong(path, &name(field), &value.to_string(), "`default`")),
            _ => return Err(wrong(path, &name(field), &value.to_string(), "none")),
        }
    }
    let number =
        |value: &Value| value.as_f64().ok_or_else(|| wrong(path, &name("rope_theta"), &value.to_string(), "a number"));
    parameters.get("rope_theta").map(number).transpose()
}
