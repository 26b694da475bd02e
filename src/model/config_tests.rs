//! What a `config.json` is read as, and what is refused by name.

use std::fs;

use serde_json::{Value, json};

use super::{Activation, EncoderConfig, Error};

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
    let supported = "supported are: bert, roberta, xlm-roberta, distilbert, electra, mpnet, albert, modernbert";
    assert_eq!(message(&[("model_type", json!("llama"))]), format!(" asks for the architecture `llama`, {supported}"));
    assert_eq!(message(&[("model_type", Value::Null)]), format!(" asks for the architecture `(none)`, {supported}"));
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
    assert_eq!(message(&[("layer_norm_eps", json!(0))]), ": `layer_norm_eps` is 0, expected a number between 0 and 1");
    assert_eq!(message(&[("hidden_size", json!("12"))]), ": `hidden_size` is \"12\", expected a whole number");
    assert_eq!(
        message(&[("vocab_size", json!(1_u64 << 31))]),
        ": `vocab_size` is 2147483648, expected at most 2147483647"
    );
    let many = message(&[("num_hidden_layers", json!(1_001))]);
    assert_eq!(many, ": `num_hidden_layers` is 1001, expected at most 1000");
    assert_eq!(message(&[("pruned_heads", json!({"0": [1]}))]), ": `pruned_heads` is set for 1 layers, expected none");
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
    assert_eq!(message(&[("model_type", json!("electra"))]), ": `embedding_size` is missing, expected a whole number");
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
