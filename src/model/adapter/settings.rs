//! The settings of a bottleneck adapter, field by field of its config: what each means, its default, and which are refused.
//! Knows no tensors.

use serde_json::Value;

use super::super::{Activation, EncoderConfig, Error};
use super::fields::{Fields, positive, shown};
use super::{AdapterError, Form, Reads, Residual};

/// Families whose layers the library knows under the names used here.
const FAMILIES: [&str; 5] = ["bert", "roberta", "xlm-roberta", "distilbert", "electra"];

/// What the bottleneck's result is multiplied with.
pub(super) enum Scaling {
    /// This number.
    Constant(f32),
    /// One that was learnt.
    Learned,
    /// One that was learnt for each number of the result.
    Channel,
}

/// That the adapter is for this base model.
pub(super) fn check_base(fields: Fields<'_>, base: &EncoderConfig) -> Result<(), Error> {
    let family = base.architecture;
    let other = |field, got: String, expected: String| {
        Err(AdapterError::OtherBase { path: fields.path.to_owned(), field, got, expected }.into())
    };
    if !FAMILIES.contains(&family.name) {
        let got = format!("of {}", fields.text("model_type")?.unwrap_or("an unnamed family"));
        let expected = format!("`{}` (bottleneck adapters are supported for {})", family.name, FAMILIES.join(", "));
        return other("model_type", got, expected);
    }
    if let Some(got) = fields.text("model_type")?.filter(|got| *got != family.name) {
        return other("model_type", format!("`{got}`"), format!("`{}`", family.name));
    }
    let class = family.classifier.trim_end_matches("ForSequenceClassification");
    if let Some(got) = fields.text("model_class")?.filter(|got| !got.starts_with(class)) {
        return other("model_class", format!("`{got}`"), format!("a `{class}..`"));
    }
    match fields.get("hidden_size") {
        Some(got) if got.as_u64() != Some(base.hidden_size as u64) => {
            other("hidden_size", got.to_string(), base.hidden_size.to_string())
        }
        _ => Ok(()),
    }
}

/// Settings under which the library computes something that is not built here.
pub(super) fn refuse_unsupported(fields: Fields<'_>) -> Result<(), Error> {
    if fields.get("architecture").is_some() {
        let expected = "a bottleneck adapter (no `architecture`); of LoRA, peft's files are read";
        return Err(fields.wrong("architecture", expected));
    }
    fields.must_be("phm_layer", false, "Compacter's factorized layers are not supported")?;
    fields.must_be(
        "use_gating",
        false,
        "a gate is a mean over padding too, so that a vector would depend on its batch",
    )?;
    for field in ["inv_adapter", "invertible_adapter"] {
        fields.must_be_empty(field, "invertible adapters are not supported")?;
    }
    Ok(())
}

/// How the blocks compute. `old_names` says that the file is of the library's first versions.
pub(super) fn form(fields: Fields<'_>, old_names: bool) -> Result<Form, Error> {
    let parallel = fields.flag("is_parallel", false)?;
    let norm_first = fields.flag("original_ln_before", false)?;
    let layer_norm_after = fields.flag("original_ln_after", true)?;
    let norms = (fields.flag("ln_before", false)?, fields.flag("ln_after", false)?);
    let reads = match (parallel, norm_first) {
        (true, _) => Reads::States,
        (false, true) => Reads::Normalized,
        (false, false) => Reads::Dense,
    };
    let residual = match fields.get("residual_before_ln") {
        _ if parallel => Residual::Dense,
        None | Some(Value::Bool(true)) => Residual::Dense,
        Some(Value::Bool(false)) => Residual::Read,
        Some(Value::String(word)) if word == "post_add" && norm_first => Residual::Sum,
        Some(_) => {
            let expected = "true, false, or `post_add` where `original_ln_before` is true";
            return Err(fields.wrong("residual_before_ln", expected));
        }
    };
    Ok(Form {
        activation: activation(fields, old_names)?,
        reads,
        residual,
        // A parallel block adds the layer's result behind all of its own parts.
        residual_before_norm: !parallel && fields.flag("adapter_residual_before_ln", false)?,
        norm_before: norms.0,
        norm_after: norms.1,
        layer_norm_after,
    })
}

/// The function in the bottleneck. Files of the library's first versions (`old_names`) call the tanh approximation `gelu`.
fn activation(fields: Fields<'_>, old_names: bool) -> Result<Activation, Error> {
    let name = fields.text("non_linearity")?.map(str::to_lowercase);
    let name = match name.as_deref() {
        Some("gelu") if old_names => "gelu_new",
        Some("gelu_orig") if old_names => "gelu",
        Some(name) => name,
        None => "",
    };
    Activation::of(name)
        .ok_or_else(|| fields.wrong("non_linearity", &format!("one of {}", Activation::NAMES.join(", "))))
}

/// What the bottlenecks' results are multiplied with.
pub(super) fn scaling(fields: Fields<'_>) -> Result<Scaling, Error> {
    match fields.get("scaling") {
        None => Ok(Scaling::Constant(1.0)),
        Some(Value::String(word)) if word == "learned" => Ok(Scaling::Learned),
        Some(Value::String(word)) if word == "channel" => Ok(Scaling::Channel),
        Some(value) => match value.as_f64().map(|factor| factor as f32).filter(|factor| factor.is_finite()) {
            Some(factor) => Ok(Scaling::Constant(factor)),
            None => Err(fields.wrong("scaling", "a number, `learned` or `channel`")),
        },
    }
}

/// Numbers of the layers without a block.
pub(super) fn left_out(fields: Fields<'_>) -> Result<Vec<u64>, Error> {
    let wrong = || fields.wrong("leave_out", "a list of layer numbers");
    match fields.get("leave_out") {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(|layer| layer.as_u64().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}

/// The width of a layer's bottlenecks: the states' width divided by the reduction factor, rounded down, at least 1.
pub(super) fn bottleneck_size(fields: Fields<'_>, layer: usize, hidden: usize) -> Result<usize, Error> {
    /// Wider bottlenecks than this are no sizes but mistakes.
    const WIDEST: usize = 64;
    let field = "reduction_factor";
    let value = match fields.get(field) {
        Some(Value::Object(by_layer)) => {
            let found = by_layer.get(&layer.to_string()).or_else(|| by_layer.get("default"));
            found.ok_or_else(|| fields.wrong(field, &format!("a number for layer {layer}, or a `default`")))?
        }
        Some(value) => value,
        None => return Err(fields.wrong(field, "a number above 0, or one for each layer")),
    };
    let Some(factor) = positive(value).filter(|factor| *factor * WIDEST as f64 >= 1.0) else {
        let expected = format!("a number from 1/{WIDEST} on for layer {layer}, got {}", shown(Some(value)));
        return Err(fields.wrong(field, &expected));
    };
    let hidden = hidden as f64;
    // As Python's `//` on numbers: the division that leaves no rest, rounded.
    let size = ((hidden - hidden % factor) / factor).round();
    Ok((size as usize).max(1))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn widths_are_those_of_pythons_floor_division() {
        let size = |factor: Value, hidden| {
            let fields = serde_json::Map::from_iter([("reduction_factor".to_owned(), factor)]);
            bottleneck_size(Fields { path: Path::new("x"), fields: &fields }, 3, hidden).unwrap()
        };
        // `int(hidden // factor)` of Python 3.11.
        for (hidden, factor, width) in [
            (768, 16.0, 48),
            (21, 2.5, 8),
            (21, 0.75, 28),
            (21, 16.0, 1),
            (21, 64.0, 1),
            (768, 0.1, 7679),
            (6, 0.6, 10),
        ] {
            assert_eq!(size(factor.into(), hidden), width, "{hidden} // {factor}");
        }
        assert_eq!(size(serde_json::json!({"3": 2, "default": 16}), 64), 32);
        assert_eq!(size(serde_json::json!({"4": 2, "default": 16}), 64), 4);
    }
}
