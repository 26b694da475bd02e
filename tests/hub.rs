//! Promise: a hub id is as good as a folder. It is downloaded once, resumed, checked and pinned; the token goes to the hub
//! alone; every failure says what to do; afterwards no network is needed. The hub of these tests runs in the test.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;
mod hub_server;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use common::{Said, Workplace, root, tiny_checkpoint};
use hub_server::{COMMIT, Fault, HubServer, sha256};

const ID: &str = "org/tiny";

fn tiny_hub() -> HubServer {
    HubServer::with_model(ID, &tiny_checkpoint())
}

/// The program with this hub, a hub's cache in its folder and nothing of the caller's.
fn program(place: &Workplace, endpoint: &str, args: &[&str]) -> Command {
    let mut command = place.offprint(args);
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("HF_") || name.to_lowercase().contains("proxy"))
    {
        command.env_remove(name);
    }
    command.env_remove("TRANSFORMERS_OFFLINE").env_remove("HUGGING_FACE_HUB_TOKEN").env_remove("HUGGINGFACE_HUB_CACHE");
    command.env("HF_ENDPOINT", endpoint).env("HF_HOME", place.path("hf"));
    command
}

fn run(place: &Workplace, hub: &HubServer, args: &[&str], status: i32) -> Said {
    Said::new(program(place, &hub.endpoint, args).output().unwrap(), status)
}

const EXPORT: [&str; 7] = ["export", "--model", ID, "--pooling", "mean", "-o", "bundle"];

fn model_folder(place: &Workplace) -> PathBuf {
    place.path("hf/hub/models--org--tiny")
}

fn papers(place: &Workplace) {
    place.write("papers.jsonl", "{\"id\": \"1\", \"title\": \"The cat\", \"abstract\": \"sat\"}\n");
}

/// The tiny checkpoint as a sentence-transformers model, which says itself how it pools.
fn sentence_hub() -> HubServer {
    HubServer::with_model(ID, &root().join("tests/data/tiny-bert/mean"))
}

#[test]
fn an_id_gives_the_bundle_that_its_folder_gives() {
    let (place, hub) = (Workplace::new(), tiny_hub());
    let said = run(&place, &hub, &EXPORT, 0);
    let asking = format!("asking {} for org/tiny at main", hub.endpoint);
    said.expect(&[&asking, "downloading model.safetensors (52.56 KiB)", "bundle: bert", "checked on"]);
    let folder = tiny_checkpoint();
    place.run(&["export", "--model", folder.to_str().unwrap(), "--pooling", "mean", "-o", "local"], 0);
    let field = |bundle: &str, name: &str| {
        let text = place.read(&format!("{bundle}/bundle.toml"));
        text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}")).to_owned()
    };
    for name in ["graph_hash", "weights_hash", "tokenizer_hash"] {
        assert_eq!(field("bundle", name), field("local", name));
    }
    assert_eq!(field("bundle", "name"), format!("name = \"{ID}\""));
    assert_eq!(field("bundle", "revision"), format!("revision = \"{COMMIT}\""));
    // As Python's library lays it out.
    let model = model_folder(&place);
    assert_eq!(fs::read_to_string(model.join("refs/main")).unwrap(), COMMIT);
    let weights = hub.bytes("model.safetensors");
    assert_eq!(fs::read(model.join("blobs").join(sha256(&weights))).unwrap(), weights);
    let link = fs::read_link(model.join("snapshots").join(COMMIT).join("model.safetensors")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&weights)));
    // Nothing else was fetched.
    let asked = hub.log();
    assert!(asked.iter().all(|request| !request.path.contains("README") && !request.path.contains("tf_model")));
    let lock = place.read("cache/lock.toml");
    for part in [ID, COMMIT, &sha256(&weights), "revision = \"main\""] {
        assert!(lock.contains(part), "{part} is not in\n{lock}");
    }
}

#[test]
fn the_token_goes_to_the_hub_and_to_nobody_else() {
    let (place, hub) = (Workplace::new(), tiny_hub());
    let said = Said::new(program(&place, &hub.endpoint, &EXPORT).env("HF_TOKEN", "hf_secret").output().unwrap(), 0);
    assert!(!said.stderr.contains("hf_secret") && !place.read("cache/lock.toml").contains("hf_secret"));
    let log = hub.log();
    assert!(log.iter().any(|request| request.on_cdn), "the weights lie on another host");
    for request in log {
        let expected = if request.on_cdn { None } else { Some("Bearer hf_secret") };
        assert_eq!(request.authorization.as_deref(), expected, "{request:?}");
    }
}

#[test]
fn a_command_that_takes_a_bundle_takes_an_id_and_needs_the_network_once() {
    let (place, hub) = (Workplace::new(), sentence_hub());
    papers(&place);
    let first = run(&place, &hub, &["embed", "--model", ID, "papers.jsonl", "-o", "one.npy"], 0);
    first.expect(&["exporting org/tiny once into", "pooling mean", "bundle: "]);
    hub.forget_log();
    let second = run(&place, &hub, &["embed", "--model", ID, "papers.jsonl", "-o", "two.npy", "--no-cache"], 0);
    assert!(hub.log().is_empty(), "the bundle is there: {:?}", hub.log());
    assert!(!second.stderr.contains("exporting"), "{}", second.stderr);
    assert_eq!(fs::read(place.path("one.npy")).unwrap(), fs::read(place.path("two.npy")).unwrap());
    // Without the bundle, the checkpoint in the hub's cache is enough.
    fs::remove_dir_all(place.path("cache/bundles")).unwrap();
    let third = run(&place, &hub, &["embed", "--model", ID, "--offline", "papers.jsonl"], 0);
    third.expect(&["files of org/tiny are here already", "exporting org/tiny once"]);
    assert!(hub.log().is_empty(), "{:?}", hub.log());
    let bundles = fs::read_dir(place.path("cache/bundles/org--tiny")).unwrap();
    let names: Vec<String> = bundles.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| !name.ends_with(".lock")).count(), 1, "{names:?}");
}

#[test]
fn two_processes_at_once_end_with_one_good_bundle() {
    let (place, hub) = (Workplace::new(), sentence_hub());
    papers(&place);
    let said: Vec<Said> = std::thread::scope(|scope| {
        let start = |output: &'static str| {
            let mut command = program(&place, &hub.endpoint, &["embed", "--model", ID, "papers.jsonl", "-o", output]);
            scope.spawn(move || Said::new(command.output().unwrap(), 0))
        };
        let running = [start("one.npy"), start("two.npy"), start("three.npy")];
        running.into_iter().map(|process| process.join().unwrap()).collect()
    });
    let exports = said.iter().filter(|said| said.stderr.contains("exporting org/tiny once")).count();
    assert_eq!(exports, 1, "{said:?}");
    assert_eq!(fs::read(place.path("one.npy")).unwrap(), fs::read(place.path("two.npy")).unwrap());
    assert_eq!(fs::read(place.path("one.npy")).unwrap(), fs::read(place.path("three.npy")).unwrap());
}
