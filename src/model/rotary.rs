//! What config.json says about rotary positions (Su et al. 2021) and about layers whose attention stays within a window,
//! in the form that transformers writes today and in the one before it. Knows no tensors.

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};

use super::Error;
use super::config::{EncoderConfig, Fields, wrong};

/// The names of the two kinds of layers in `layer_types` and `rope_parameters`.
const KINDS: [&str; 2] = ["full_attention", "sliding_attention"];
/// The base of the angles of each kind: its field in older configs, and the value where neither says it.
const BASES: [(&str, f64); 2] = [("global_rope_theta", 160_000.0), ("local_rope_theta", 10_000.0)];
/// Far beyond any encoder: no tensor of the checkpoint bounds the tables of angles.
const MAX_POSITIONS: usize = 1 << 15;

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
        return Err(wrong(path, &format!("rope_parameters.{kind}"), &parameters.to_string(), "an object"));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Pooling;

    fn open(changes: &[(&str, Value)]) -> Result<EncoderConfig, String> {
        let mut config = json!({
            "model_type": "modernbert", "hidden_size": 12, "num_hidden_layers": 4, "num_attention_heads": 3,
            "intermediate_size": 20, "vocab_size": 30, "max_position_embeddings": 16,
        });
        for (field, value) in changes {
            config[field] = value.clone();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, config.to_string()).unwrap();
        EncoderConfig::open(&path).map_err(|error| error.to_string().split_once("config.json`: ").unwrap().1.to_owned())
    }

    fn rotary(changes: &[(&str, Value)]) -> Rotary {
        open(changes).unwrap().rotary.unwrap()
    }

    #[test]
    fn what_is_not_said_is_as_in_transformers() {
        let config = open(&[]).unwrap();
        let local = vec![false, true, true, false];
        let expected = Rotary { base: 160_000.0, local_base: 10_000.0, window: 64, local };
        assert_eq!(config.rotary, Some(expected));
        assert_eq!((config.layer_norm_epsilon, config.longest_input(), config.padding), (1e-5, 16, None));
        let biases = config.biases;
        assert!(!(biases.norms || biases.attention || biases.feed_forward || biases.classifier));
        assert_eq!((config.head_pooling, config.token_types), (Pooling::Cls, 0));
    }

    #[test]
    fn both_forms_of_a_config_are_read_and_the_newer_goes_first() {
        let older = [
            ("global_attn_every_n_layers", json!(2)),
            ("global_rope_theta", json!(900.0)),
            ("local_rope_theta", json!(60)),
            ("local_attention", json!(7)),
        ];
        let expected = Rotary { base: 900.0, local_base: 60.0, window: 3, local: vec![false, true, false, true] };
        assert_eq!(rotary(&older), expected);
        let kinds = json!(["sliding_attention", "full_attention", "full_attention", "sliding_attention"]);
        let parameters = json!({"full_attention": {"rope_type": "default", "rope_theta": 250.0}});
        let newer = [older.as_slice(), &[("layer_types", kinds), ("rope_parameters", parameters)]].concat();
        let expected = Rotary { base: 250.0, local: vec![true, false, false, true], ..expected };
        assert_eq!(rotary(&newer), expected);
        let hashes = [&[], older.as_slice(), newer.as_slice()].map(|changes| open(changes).unwrap().hash());
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
        assert_ne!(open(&[("mlp_bias", json!(true))]).unwrap().hash(), hashes[0]);
    }

    #[test]
    fn other_ways_to_turn_are_refused_by_name() {
        let message = |field: &str, value: Value| open(&[(field, value)]).unwrap_err();
        assert_eq!(
            message("rope_scaling", json!({"type": "linear"})),
            "`rope_scaling` is {\"type\":\"linear\"}, expected none"
        );
        assert_eq!(
            message("rope_parameters", json!({"sliding_attention": {"rope_type": "yarn"}})),
            "`rope_parameters.sliding_attention.rope_type` is \"yarn\", expected `default`"
        );
        assert_eq!(
            message("rope_parameters", json!({"full_attention": {"factor": 2.0}})),
            "`rope_parameters.full_attention.factor` is 2.0, expected none"
        );
        assert_eq!(
            message("rope_parameters", json!({"rope_theta": 1.0})),
            "`rope_parameters` is an object with `rope_theta`, expected `full_attention`, `sliding_attention`"
        );
        assert_eq!(
            message("rope_parameters", json!({"full_attention": 3})),
            "`rope_parameters.full_attention` is 3, expected an object"
        );
        assert_eq!(message("rope_parameters", json!(3)), "`rope_parameters` is 3, expected an object");
        assert_eq!(message("global_rope_theta", json!(0)), "`global_rope_theta` is 0, expected a positive number");
        assert_eq!(message("local_rope_theta", json!(null)), "`local_rope_theta` is null, expected a number");
    }

    #[test]
    fn sizes_and_layers_that_do_not_fit_are_refused() {
        let message = |field: &str, value: Value| open(&[(field, value)]).unwrap_err();
        let each = "expected one of `full_attention`, `sliding_attention` for each of 4 layers";
        assert_eq!(message("layer_types", json!(["full_attention"])), format!("`layer_types` is a list of 1, {each}"));
        let other = json!(["full_attention", "chunked_attention", "full_attention", "full_attention"]);
        assert_eq!(
            message("layer_types", other),
            format!("`layer_types` is a list with \"chunked_attention\", {each}")
        );
        assert_eq!(message("layer_types", json!(4)), format!("`layer_types` is 4, {each}"));
        assert_eq!(
            message("global_attn_every_n_layers", json!(0)),
            "`global_attn_every_n_layers` is 0, expected at least 1"
        );
        assert_eq!(
            message("num_attention_heads", json!(4)),
            "`num_attention_heads` is 4, which leaves 3 numbers to a head, expected an even number for each (they are \
             turned in pairs)"
        );
        assert_eq!(
            message("max_position_embeddings", json!(200_000)),
            "`max_position_embeddings` is 200000, expected at most 32768"
        );
        assert_eq!(message("norm_bias", json!("no")), "`norm_bias` is \"no\", expected true or false");
        assert_eq!(
            message("classifier_pooling", json!("max")),
            "`classifier_pooling` is `max`, expected `cls` or `mean`"
        );
    }
}
