//! Promise: an adapter's hub id is as good as its folder; the recipe `specter2` is the model with its proximity adapter,
//! and every flag says otherwise; what is named wrongly is told before anything is downloaded.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and the shared parts may print")]

mod common;
mod hub_server;

use std::fs;
use std::path::PathBuf;

use common::{Said, Workplace, root};
use hub_server::HubServer;

const BASE: &str = "allenai/specter2_base";

fn adapter(name: &str) -> PathBuf {
    root().join("tests/data/adapters").join(name)
}

/// A hub with a tiny model and tiny adapters in the place of SPECTER2's.
fn hub(place: &Workplace) -> HubServer {
    let folder = place.path("hub");
    fs::create_dir(&folder).unwrap();
    let tiny = root().join("tests/data/tiny-architectures");
    for file in ["bert-b/config.json", "bert-b/pytorch_model.bin", "bert-b/tokenizer_config.json", "tokenizer.json"] {
        let path = tiny.join(file);
        fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    let hub = HubServer::with_model(BASE, &folder);
    fs::remove_dir_all(folder).unwrap();
    for (id, name) in [
        ("allenai/specter2", "bert-seq"),
        ("allenai/specter2_classification", "bert-double"),
        ("allenai/specter2_regression", "bert-left-out"),
        ("allenai/specter2_adhoc_query", "bert-by-layer"),
        ("org/lora", "lora-bert"),
    ] {
        hub.add_model(id, &adapter(name));
    }
    hub.add_model("org/model", &root().join("tests/data/tiny-bert/cls"));
    hub
}

fn run(place: &Workplace, hub: &HubServer, args: &[&str], status: i32) -> Said {
    let mut command = place.offprint(args);
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("HF_") || name.to_lowercase().contains("proxy"))
    {
        command.env_remove(name);
    }
    command.env_remove("TRANSFORMERS_OFFLINE").env_remove("HUGGING_FACE_HUB_TOKEN").env_remove("HUGGINGFACE_HUB_CACHE");
    command.env("HF_ENDPOINT", &hub.endpoint).env("HF_HOME", place.path("hf"));
    Said::new(command.output().unwrap(), status)
}

fn export<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["export", "--model", "specter2", "--max-length", "20", "-o", "bundle"], more].concat()
}

fn manifest(place: &Workplace) -> toml::Table {
    place.read("bundle/bundle.toml").parse().unwrap()
}

#[test]
fn the_recipe_is_the_model_with_its_adapter_and_the_models_id_is_the_model_alone() {
    let place = Workplace::new();
    let hub = hub(&place);
    run(&place, &hub, &export(&[]), 0).expect(&["asking", "for allenai/specter2 at main"]);
    let with = manifest(&place);
    let fused = with["fused_adapter"].as_table().unwrap();
    assert_eq!(fused["name"].as_str(), Some("specter2"));
    assert_eq!(fused["source"].as_str(), Some("allenai/specter2"));
    assert_eq!(fused["revision"].as_str(), Some(&*format!("{:040x}", 1)));
    run(&place, &hub, &export(&["--adapter", "none", "--offline"]), 0);
    let without = manifest(&place);
    assert!(!without.contains_key("fused_adapter"));
    run(&place, &hub, &["export", "--model", BASE, "--max-length", "20", "-o", "bundle"], 0);
    assert_eq!(manifest(&place)["graph_hash"], without["graph_hash"]);
    // The same adapter by its own id, and by its name.
    for adapter in ["allenai/specter2", "allenai/specter2@main", "proximity"] {
        run(&place, &hub, &export(&["--adapter", adapter, "--offline"]), 0);
        assert_eq!(manifest(&place)["graph_hash"], with["graph_hash"], "{adapter}");
    }
    run(&place, &hub, &["export", "--model", "allenai/specter2", "-o", "other"], 2).expect(&[
        "`allenai/specter2` is an adapter, not a model",
        "hint: since August 2023",
        "--adapter allenai/specter2`",
    ]);
}

#[test]
fn embed_by_the_recipes_name_has_the_adapter_and_needs_the_network_once() {
    let place = Workplace::new();
    let hub = hub(&place);
    // The recipe asks for 512 tokens, which the tiny model does not have: the export is refused, after the downloads.
    place.write("papers.jsonl", "{\"id\": \"1\", \"title\": \"The cat\", \"abstract\": \"sat\"}\n");
    run(&place, &hub, &["embed", "--model", "specter2", "papers.jsonl"], 2).expect(&["max length 512 is out of range"]);
    let asked = |part: &str| hub.log().iter().any(|request| request.path.contains(part));
    assert!(asked("allenai/specter2/resolve") && asked("pytorch_adapter.bin") && asked("allenai/specter2_base/"));
}

#[test]
fn several_adapters_come_by_the_recipes_names_by_ids_and_from_folders() {
    let place = Workplace::new();
    let hub = hub(&place);
    let folder = format!("own={}", adapter("bert-parallel").display());
    let list = ["proximity", "class=allenai/specter2_classification", &folder].join(",");
    run(&place, &hub, &export(&["--adapters", &list]), 0);
    let manifest = manifest(&place);
    let adapters = manifest["adapter"].as_array().unwrap();
    let field = |at: usize, name: &str| adapters[at].get(name).and_then(toml::Value::as_str).map(str::to_owned);
    let names: Vec<_> = (0..3).map(|at| field(at, "name").unwrap()).collect();
    assert_eq!(names, ["proximity", "class", "own"]);
    assert_eq!(field(0, "source").as_deref(), Some("allenai/specter2"));
    assert_eq!(field(2, "source").as_deref(), Some("bert-parallel"));
    assert!(!manifest.contains_key("fused_adapter"));
}

#[test]
fn a_flag_that_names_no_adapter_is_refused_before_any_download() {
    let place = Workplace::new();
    let hub = hub(&place);
    let lone = format!("a={}", adapter("bert-seq").display());
    for (more, parts) in [
        (
            &["--adapter", "prox"][..],
            &["error: adapter `prox` not found", "(adhoc_query, classification, proximity, reg"][..],
        ),
        (&["--adapters", &lone], &["names a single adapter, expected two or more", "hint: `--adapter /"]),
        (&["--adapters", "a=,b=x/y"], &["`a=` in `--adapters` lacks a name or an adapter", "hint: write NAME=DIR"]),
        (&["--adapter", "a/b/c"], &["hub id `a/b/c` is not of the form `organisation/name`"]),
        (&["--adapter", "x/y", "--adapters", "a=x/y,b=y/z"], &["cannot be used with"]),
    ] {
        run(&place, &hub, &export(more), 2).expect(parts);
    }
    assert!(hub.log().iter().all(|request| !request.path.contains("adapter")), "{:?}", hub.log());
    run(&place, &hub, &export(&["--adapter", "org/model"]), 2)
        .expect(&["`org/model` is no adapter, expected `adapter_config.json` and one of: adapter.safetensors"]);
}

#[test]
fn what_several_adapters_can_not_be_is_said_with_the_way_out() {
    let place = Workplace::new();
    let hub = hub(&place);
    let of = |name: &str| adapter(name).display().to_string();
    for (list, parts) in [
        (
            format!("a=org/lora,b={}", of("bert-seq")),
            &["`a` can't be chosen per paper: LoRA is merged", "hint: make a bundle of it alone"][..],
        ),
        (
            format!("a={},b={}", of("bert-seq"), of("bert-norms")),
            &["`b` can't be chosen per paper: it has normalizations"],
        ),
        (format!("a={},b={}", of("bert-seq"), of("bert-plus")), &["`b` can't be chosen per paper: it has normal"]),
        (format!("a={},a={}", of("bert-seq"), of("bert-double")), &["two adapters are called `a`"]),
        (format!("a={},b={}", of("bert-seq"), of("bert-seq")), &["`a` and `b` are the same adapter"]),
        (
            format!("a b={},c={}", of("bert-seq"), of("bert-double")),
            &["an adapter can't be called `a b`, expected letters"],
        ),
    ] {
        run(&place, &hub, &export(&["--adapters", &list]), 2).expect(parts);
    }
}
