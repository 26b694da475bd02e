//! Promise: a checkpoint becomes a whole, checked bundle, or an error that says why not, with nothing left behind.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Said, Workplace, tiny_checkpoint};

/// A copy of the tiny checkpoint that a test may spoil.
fn copy(place: &Workplace) -> PathBuf {
    let folder = place.path("checkpoint");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(tiny_checkpoint()).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    folder
}

fn refuse(place: &Workplace, more: &[&str]) -> Said {
    let mut args = vec!["export", "--model", "checkpoint", "-o", "bundle", "--pooling", "mean"];
    args.extend(more);
    let said = place.run(&args, 2);
    assert!(said.stdout.is_empty(), "{}", said.stdout);
    let mut left: Vec<_> = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| name != "checkpoint");
    assert!(left.is_empty(), "left behind: {left:?}");
    said
}

fn edit_config(folder: &Path, edit: impl Fn(&mut serde_json::Value)) {
    let path = folder.join("config.json");
    let mut config: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    edit(&mut config);
    fs::write(path, config.to_string()).unwrap();
}

/// The weights with their JSON header edited; the header keeps its length.
fn edit_header(folder: &Path, edit: impl Fn(&str) -> String) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = edit(std::str::from_utf8(&bytes[8..8 + length]).unwrap());
    let mut edited = (header.len() as u64).to_le_bytes().to_vec();
    edited.extend(header.as_bytes());
    edited.extend(&bytes[8 + length..]);
    fs::write(path, edited).unwrap();
}

/// Another number in the first place of the tensor whose name ends so.
fn set_first(folder: &Path, ending: &str, value: f32) {
    let path = folder.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let name = header.as_object().unwrap().keys().find(|name| name.ends_with(ending)).unwrap();
    let start = 8 + length + header[name]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[start..start + 4].copy_from_slice(&value.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_bundle_is_whole_and_replaces_an_older_one() {
    let place = Workplace::new();
    copy(&place);
    for pooling in ["mean", "cls"] {
        let said = place.run(&["export", "--model", "checkpoint", "-o", "bundle", "--pooling", pooling], 0);
        said.expect(&["bundle: bert", &format!("pooling {pooling}"), "checked on"]);
        assert!(place.read("bundle/bundle.toml").contains(&format!("pooling = \"{pooling}\"")));
    }
    let mut files: Vec<_> = fs::read_dir(place.path("bundle")).unwrap().map(|e| e.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["bundle.toml", "model.onnx", "tokenizer.json"]);
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 2, "temporary folders are left behind");
}

#[test]
fn two_exports_of_one_checkpoint_are_the_same_bytes() {
    let place = Workplace::new();
    copy(&place);
    for output in ["one", "two"] {
        place.run(&["export", "--model", "checkpoint", "-o", output, "--pooling", "mean"], 0);
    }
    for file in ["bundle.toml", "model.onnx", "tokenizer.json"] {
        let bytes = |folder: &str| fs::read(place.path(folder).join(file)).unwrap();
        assert!(bytes("one") == bytes("two"), "{file} differs");
    }
}

#[test]
fn pooling_is_never_guessed() {
    let place = Workplace::new();
    copy(&place);
    let said = place.run(&["export", "--model", "checkpoint", "-o", "bundle"], 2);
    said.expect(&["error: ", "pooling", "--pooling"]);
}

#[test]
fn a_folder_with_other_files_is_not_replaced() {
    let place = Workplace::new();
    copy(&place);
    fs::create_dir(place.path("thesis")).unwrap();
    place.write("thesis/chapter1.tex", "years of work");
    let args = ["export", "--model", "checkpoint", "-o", "thesis", "--pooling", "mean"];
    place.run(&args, 2).expect(&["error: `thesis` holds other files than a bundle"]);
    assert_eq!(place.read("thesis/chapter1.tex"), "years of work");
}

#[test]
fn a_bundle_with_other_files_beside_it_is_not_replaced() {
    let place = Workplace::new();
    copy(&place);
    let args = ["export", "--model", "checkpoint", "-o", "bundle", "--pooling", "mean"];
    place.run(&args, 0);
    place.write("bundle/notes.txt", "measured on Tuesday");
    place.run(&args, 2).expect(&["error: `bundle` holds other files than a bundle"]);
    assert_eq!(place.read("bundle/notes.txt"), "measured on Tuesday");
}

#[test]
fn an_unknown_architecture_is_named_with_what_is_supported() {
    let place = Workplace::new();
    let folder = copy(&place);
    edit_config(&folder, |config| {
        config["architectures"] = serde_json::json!(["LlamaForCausalLM"]);
        config["model_type"] = "llama".into();
    });
    refuse(&place, &[]).expect(&["error: ", "llama", "bert"]);
}

#[test]
fn a_config_that_does_not_match_the_weights_gives_both_shapes() {
    let place = Workplace::new();
    let folder = copy(&place);
    edit_config(&folder, |config| config["vocab_size"] = (config["vocab_size"].as_u64().unwrap() + 1).into());
    refuse(&place, &[]).expect(&["error: tensor `", "word_embeddings", "has shape [", "config.json asks for ["]);
}

#[test]
fn broken_headers_shapes_and_types_are_errors() {
    let place = Workplace::new();
    let folder = copy(&place);
    let sound = fs::read(folder.join("model.safetensors")).unwrap();
    let restore = || fs::write(folder.join("model.safetensors"), &sound).unwrap();

    fs::write(folder.join("model.safetensors"), &sound[..sound.len() / 2]).unwrap();
    refuse(&place, &[]).expect(&["error: ", "model.safetensors"]);
    restore();
    let mut giant = sound.clone();
    giant[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    fs::write(folder.join("model.safetensors"), giant).unwrap();
    refuse(&place, &[]).expect(&["error: ", "model.safetensors"]);
    restore();
    edit_header(&folder, |header| header.replacen("\"F32\"", "\"I32\"", 1));
    refuse(&place, &[]).expect(&["error: ", "I32"]);
    restore();
    edit_header(&folder, |header| header.replacen("\"shape\":[", "\"shape\":[3,", 1));
    refuse(&place, &[]).expect(&["error: ", "model.safetensors"]);
}

#[test]
fn nan_in_the_weights_names_the_tensor() {
    let place = Workplace::new();
    set_first(&copy(&place), "layer.0.attention.self.key.weight", f32::NAN);
    refuse(&place, &[]).expect(&["error: tensor `", "attention.self.key.weight", "NaN"]);
}

#[test]
fn missing_files_are_named() {
    let place = Workplace::new();
    let folder = copy(&place);
    for file in ["tokenizer.json", "model.safetensors", "config.json"] {
        fs::rename(folder.join(file), place.path("aside")).unwrap();
        let said = place.run(&["export", "--model", "checkpoint", "-o", "bundle", "--pooling", "mean"], 2);
        said.expect(&["error: ", file]);
        fs::rename(place.path("aside"), folder.join(file)).unwrap();
    }
    place.run(&["export", "--model", "nowhere", "-o", "bundle"], 2).expect(&["error: ", "nowhere"]);
}

#[test]
fn what_sentence_transformers_would_do_to_a_text_is_done_or_refused() {
    let place = Workplace::new();
    let folder = copy(&place);
    fs::write(folder.join("sentence_bert_config.json"), r#"{"do_lower_case": true}"#).unwrap();
    let prompts = r#"{"prompts": {"topic": "classify: "}, "default_prompt_name": "topic"}"#;
    fs::write(folder.join("config_sentence_transformers.json"), prompts).unwrap();
    refuse(&place, &[]).expect(&["error: ", "puts the prompt `classify: `", "hint: `--template \"classify: {title}"]);

    let template = "classify: {title}{sep}{abstract}";
    let export = ["export", "--model", "checkpoint", "-o", "bundle", "--pooling", "mean", "--template", template];
    place.run(&export, 0);
    assert!(place.read("bundle/bundle.toml").contains(&format!("template = \"{template}\"")));
    fs::remove_dir_all(place.path("bundle")).unwrap();

    let path = folder.join("tokenizer.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"lowercase\":true"));
    fs::write(&path, text.replace("\"lowercase\":true", "\"lowercase\":false")).unwrap();
    refuse(&place, &[]).expect(&["error: ", "asks for lower case", "hint: give tokenizer.json a `Lowercase`"]);
}

#[test]
fn a_graph_that_cannot_be_checked_leaves_nothing() {
    let place = Workplace::new();
    copy(&place);
    let said = refuse(&place, &["--ort-lib", "nowhere.so"]);
    said.expect(&["error: no ONNX Runtime library at `", "nowhere.so`"]);
    assert!(!said.stderr.contains("the new graph"), "{}", said.stderr);
    place.write("checkpoint/config.json", "{}");
    refuse(&place, &["--ort-lib", "nowhere.so"]).expect(&["error: no ONNX Runtime library at `"]);
}

#[test]
fn a_graph_that_fails_its_check_leaves_nothing() {
    let place = Workplace::new();
    let folder = copy(&place);
    // Finite weights, whose product with any state is not.
    set_first(&folder, "embeddings.LayerNorm.weight", f32::MAX);
    refuse(&place, &[]).expect(&["error: the new graph failed its check; nothing was written\n  cause: "]);
}

#[test]
fn a_revision_of_a_folder_is_refused() {
    let place = Workplace::new();
    copy(&place);
    let message = "error: `--revision abc` is given, and `checkpoint` is a folder, which has no revisions";
    refuse(&place, &["--revision", "abc", "--offline"]).expect(&[message, "hint: leave `--revision`"]);
    place.write("papers.jsonl", r#"{"id": "a", "title": "fine"}"#);
    let args = ["embed", "--model", "checkpoint", "papers.jsonl", "--revision", "abc"];
    place.run(&args, 2).expect(&[message]);
}

#[test]
fn a_recipe_that_knows_no_hashes_does_not_say_where_a_folder_comes_from() {
    let place = Workplace::new();
    copy(&place);
    let args = ["export", "--model", "checkpoint", "-o", "bundle", "--recipe", "specter2", "--max-length", "32"];
    place.run(&args, 0).expect(&["pooling cls, not normalized"]);
    let manifest = place.read("bundle/bundle.toml");
    assert!(manifest.contains("name = \"checkpoint\"") && !manifest.contains("allenai"), "{manifest}");
}

#[test]
fn a_length_that_does_not_fit_says_which_one_does() {
    let place = Workplace::new();
    copy(&place);
    let said = refuse(&place, &["--max-length", "5000"]);
    said.expect(&["max length 5000 is out of range", "hint: `--max-length 37` is the longest that fits"]);
}

#[test]
fn a_tokenizer_that_its_config_contradicts_is_refused() {
    let place = Workplace::new();
    let folder = copy(&place);
    let config = r#"{"tokenizer_class": "BertTokenizer", "do_lower_case": true}"#;
    fs::write(folder.join("tokenizer_config.json"), config).unwrap();
    let path = folder.join("tokenizer.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"lowercase\":true", "\"lowercase\":false")).unwrap();
    refuse(&place, &[]).expect(&["tokenizer_config.json` asks for lower case", "hint: give tokenizer.json"]);
}

#[test]
fn the_classifier_of_another_family_is_not_dropped() {
    let place = Workplace::new();
    let folder = copy(&place);
    edit_config(&folder, |config| {
        config["architectures"] = serde_json::json!(["RobertaForSequenceClassification"]);
    });
    refuse(&place, &[]).expect(&["`architectures` is `RobertaForSequenceClassification`, expected `BertFor"]);
}

#[test]
fn a_recipe_must_match_the_files() {
    let place = Workplace::new();
    copy(&place);
    let recipe = place.path("checkpoint").join("recipe.toml");
    let hash = "0".repeat(64);
    let text = format!(
        "name = \"tiny\"\nsource = \"somebody/tiny\"\ntemplate = \"model-card\"\npooling = \"mean\"\nverified = true\n[files]\n\"config.json\" = \"sha256:{hash}\"\n"
    );
    fs::write(&recipe, text).unwrap();
    refuse(&place, &["--recipe", recipe.to_str().unwrap()]).expect(&["error: ", "config.json", "SHA-256"]);
}
