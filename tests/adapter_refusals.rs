//! Promise: what of an adapter is not supported, does not fit or is not whole is refused by its name, with what was found
//! and what would do; nothing of its file is left out silently.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and the shared parts may print")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Workplace, root};
use offprint::model::{Adapter, EncoderConfig};
use serde_json::{Value, json};

fn base(name: &str) -> EncoderConfig {
    EncoderConfig::open(&root().join("tests/data/tiny-architectures").join(name).join("config.json")).unwrap()
}

/// A copy of an adapter whose config is changed.
fn changed(place: &Workplace, name: &str, change: impl Fn(&mut Value)) -> PathBuf {
    let folder = place.path(name);
    fs::create_dir_all(&folder).unwrap();
    for entry in fs::read_dir(root().join("tests/data/adapters").join(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let path = folder.join("adapter_config.json");
    let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(path, config.to_string()).unwrap();
    folder
}

/// The message with which an adapter is refused, without paths, and its hint.
fn refusal(folder: &Path, checkpoint: &str) -> (String, String) {
    let error = Adapter::open(folder, &base(checkpoint)).unwrap_err();
    (error.to_string().replace(&format!("{}/", folder.display()), ""), error.hint().unwrap_or_default())
}

fn refused(name: &str, change: impl Fn(&mut Value)) -> String {
    refusal(&changed(&Workplace::new(), name, change), "bert-b").0
}

#[test]
fn settings_of_bottlenecks_that_are_not_supported_are_named() {
    let set = |field: &str, value: Value| refused("bert-seq", |config| config["config"][field] = value.clone());
    for (field, value, expected) in [
        ("phm_layer", json!(true), "`phm_layer` is true, expected false (Compacter's"),
        ("use_gating", json!(true), "`use_gating` is true, expected false (a gate is a mean over padding"),
        ("inv_adapter", json!("nice"), "`inv_adapter` is `nice`, expected none (invertible"),
        (
            "invertible_adapter",
            json!({"block_type": "glow"}),
            "`invertible_adapter` is {\"block_type\":\"glow\"}, expected none",
        ),
        (
            "architecture",
            json!("lora"),
            "`architecture` is `lora`, expected a bottleneck adapter (no `architecture`); of LoRA",
        ),
        ("architecture", json!("prefix_tuning"), "`architecture` is `prefix_tuning`, expected a bottleneck"),
        ("non_linearity", json!("leakyrelu"), "`non_linearity` is `leakyrelu`, expected one of gelu, "),
        ("non_linearity", Value::Null, "`non_linearity` is null, expected one of"),
        ("scaling", json!("sometimes"), "`scaling` is `sometimes`, expected a number, `learned` or `channel`"),
        ("reduction_factor", json!(0), "`reduction_factor` is 0, expected a number from 1/64 on for layer 0, got 0"),
        ("reduction_factor", json!(1e-9), "expected a number from 1/64 on for layer 0"),
        (
            "reduction_factor",
            json!({"1": 4}),
            "`reduction_factor` is {\"1\":4}, expected a number for layer 0, or a `default`",
        ),
        ("reduction_factor", Value::Null, "expected a number above 0, or one for each layer"),
        (
            "residual_before_ln",
            json!("pre_add"),
            "`residual_before_ln` is `pre_add`, expected true, false, or `post_add`",
        ),
        ("leave_out", json!([-1]), "`leave_out` is [-1], expected a list of layer numbers"),
        (
            "leave_out",
            json!([0, 1]),
            "holds 8 tensors that have no place in the encoder, the first is `encoder.layer.0.",
        ),
        ("output_adapter", json!(false), "holds 8 tensors that have no place"),
        ("ln_before", json!("yes"), "`ln_before` is `yes`, expected true or false"),
        (
            "ln_before",
            json!(true),
            "has no tensor `encoder.layer.0.output.adapter_down.1.weight`, which adapter_config.json",
        ),
        ("mh_adapter", json!(true), "has no tensor `encoder.layer.0.attention.output.adapter_down.0.weight`"),
        ("reduction_factor", json!(3), "has shape [5, 21], adapter_config.json and the base model ask for [7, 21]"),
    ] {
        let said = set(field, value);
        assert!(said.contains(expected), "{field}: {said}");
    }
    let said = refused("bert-seq", |config| config["config"] = Value::Null);
    assert!(said.contains("`config` is null, expected an object with the adapter's settings"), "{said}");
}

#[test]
fn an_adapter_of_another_base_model_is_refused() {
    let of = |field: &str, value: Value| refused("bert-seq", |config| config[field] = value.clone());
    let said = of("hidden_size", json!(768));
    assert_eq!(said, "`adapter_config.json` is for a model with `hidden_size` 768, the checkpoint has 21");
    let said = of("model_type", json!("roberta"));
    assert_eq!(said, "`adapter_config.json` is for a model with `model_type` `roberta`, the checkpoint has `bert`");
    let said = of("model_class", json!("RobertaAdapterModel"));
    assert!(said.ends_with("`model_class` `RobertaAdapterModel`, the checkpoint has a `Bert..`"), "{said}");
    let said = of("name", json!("other"));
    assert_eq!(said, "`pytorch_adapter.bin` holds the adapter `tiny`, adapter_config.json is that of `other`");
    let place = Workplace::new();
    let (said, hint) = refusal(&changed(&place, "bert-seq", |_| {}), "mpnet-a");
    assert!(
        said.contains("the checkpoint has `mpnet` (bottleneck adapters are supported for bert, roberta, "),
        "{said}"
    );
    assert_eq!(hint, "export with the model that the adapter was trained on: `--model`");
    // One layer less than it was trained on.
    let (said, _) = refusal(&changed(&place, "bert-seq", |config| config["hidden_size"] = Value::Null), "bert-a");
    assert!(said.contains("`pytorch_adapter.bin` holds 4 tensors that have no place in the encoder"), "{said}");
}

#[test]
fn settings_of_lora_that_are_not_supported_are_named() {
    let set = |field: &str, value: Value| refused("lora-bert", |config| config[field] = value.clone());
    for (field, value, expected) in [
        ("peft_type", json!("IA3"), "`peft_type` is `IA3`, expected `LORA`"),
        ("use_dora", json!(true), "`use_dora` is true, expected none (DoRA"),
        ("modules_to_save", json!(["classifier"]), "`modules_to_save` is [\"classifier\"], expected none (layers that"),
        ("bias", json!("all"), "`bias` is `all`, expected `none`"),
        ("lora_bias", json!(true), "`lora_bias` is true, expected none"),
        ("init_lora_weights", json!("pissa"), "`init_lora_weights` is `pissa`, expected true, false, `gaussian`"),
        ("layer_replication", json!([[0, 1]]), "`layer_replication` is [[0,1]], expected none"),
        ("trainable_token_indices", json!([1]), "`trainable_token_indices` is [1], expected none"),
        ("r", json!(4), "has shape [3, 21], adapter_config.json and the base model ask for [4, 21]"),
        ("r", json!("3"), "`r` is `3`, expected a number above 0"),
        ("rank_pattern", json!({"value|query": 2}), "`value|query` is a pattern"),
        (
            "alpha_pattern",
            json!({"query": 2, "self.query": 3}),
            "expected one number for `encoder.layer.0.attention.self.query`",
        ),
        ("alpha_pattern", json!(3), "`alpha_pattern` is 3, expected numbers by layer names"),
    ] {
        let said = set(field, value);
        assert!(said.contains(expected), "{field}: {said}");
    }
}

#[test]
fn a_folder_that_is_no_adapter_is_refused() {
    let place = Workplace::new();
    let folder = changed(&place, "bert-seq", |_| {});
    fs::remove_file(folder.join("pytorch_adapter.bin")).unwrap();
    let error = Adapter::open(&folder, &base("bert-b")).unwrap_err().to_string();
    let expected = "has no weights that could be read, expected one of: adapter.safetensors, pytorch_adapter.bin, ";
    assert!(error.contains(expected), "{error}");
    fs::remove_file(folder.join("adapter_config.json")).unwrap();
    let error = Adapter::open(&folder, &base("bert-b")).unwrap_err();
    assert!(error.to_string().ends_with("has no `adapter_config.json`") && error.hint().is_some(), "{error}");
}

#[test]
fn an_adapters_hash_is_that_of_its_function_and_not_of_its_name_or_place() {
    let place = Workplace::new();
    let hash = |folder: &Path| Adapter::open(folder, &base("bert-b")).unwrap().hash();
    let own = hash(&root().join("tests/data/adapters/bert-seq"));
    let same = changed(&place, "bert-seq", |config| {
        config["config"]["dropout"] = json!(0.5);
        config["model_name"] = json!("elsewhere");
        config["version"] = json!("adapters.0.1.0");
    });
    assert_eq!(hash(&same), own);
    for (field, value) in
        [("scaling", json!(2.0)), ("non_linearity", json!("gelu")), ("original_ln_before", json!(false))]
    {
        let other = changed(&place, "bert-seq", |config| config["config"][field] = value.clone());
        assert_ne!(hash(&other), own, "{field}");
    }
    let lora = hash(&root().join("tests/data/adapters/lora-bert"));
    let other = changed(&place, "lora-bert", |config| config["lora_alpha"] = json!(9));
    assert_ne!(hash(&other), lora);
}

#[test]
fn a_lora_of_another_model_is_refused_and_a_head_beside_an_adapter_is_told() {
    let place = Workplace::new();
    let tiny = root().join("tests/data/tiny-architectures");
    for (name, from) in [("bert", "bert-b"), ("electra", "electra-b"), ("distilbert", "distilbert-b")] {
        fs::create_dir(place.path(name)).unwrap();
        for entry in fs::read_dir(tiny.join(from)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, place.path(name).join(path.file_name().unwrap())).unwrap();
        }
        fs::copy(tiny.join("tokenizer.json"), place.path(name).join("tokenizer.json")).unwrap();
    }
    let lora = root().join("tests/data/adapters/lora-bert").display().to_string();
    let run = |model: &str, adapter: &str, status| {
        let args = [
            "export",
            "--model",
            model,
            "-o",
            "bundle",
            "--pooling",
            "cls",
            "--max-length",
            "20",
            "--adapter",
            adapter,
        ];
        place.run(&args, status)
    };
    run("distilbert", &lora, 2).expect(&[
        "changes the linear layer `encoder.layer.0.attention.self.query`, which the checkpoint does not have",
    ]);
    let modern = root().join("tests/data/adapters/lora-mpnet").display().to_string();
    run("bert", &modern, 2).expect(&["changes the linear layer `encoder.layer.0.attention.attn.k`"]);
    let folder = changed(&place, "bert-seq", |_| {});
    fs::write(folder.join("pytorch_model_head.bin"), "a head").unwrap();
    run("bert", "bert-seq", 0)
        .expect(&["note: `bert-seq/pytorch_model_head.bin` is not used: an embedding comes from"]);
}

/// A few hundred places in each file; what is read of a damaged file is an adapter or an error.
#[test]
fn a_damaged_adapter_is_an_error_or_an_adapter_and_never_a_panic() {
    let place = Workplace::new();
    let config = base("bert-b");
    let mut refused = 0;
    for (name, file) in [
        ("bert-seq", "pytorch_adapter.bin"),
        ("bert-by-layer", "adapter.safetensors"),
        ("bert-by-layer", "adapter_config.json"),
        ("lora-bert", "adapter_model.safetensors"),
        ("lora-bert", "adapter_config.json"),
    ] {
        let folder = changed(&place, name, |_| {});
        let sound = fs::read(folder.join(file)).unwrap();
        for at in (0..sound.len()).step_by(1 + sound.len() / 300) {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(folder.join(file), &bytes).unwrap();
            refused += usize::from(Adapter::open(&folder, &config).is_err());
            fs::write(folder.join(file), &sound[..at]).unwrap();
            assert!(Adapter::open(&folder, &config).is_err(), "{file} of {name} cut to {at} bytes");
        }
    }
    assert!(refused > 100, "{refused}");
}
