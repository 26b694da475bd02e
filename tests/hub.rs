//! Promise: a hub id is as good as a folder. It is downloaded once, resumed, checked and pinned; the token goes to the hub
//! alone; every failure says what to do; afterwards no network is needed. The hub of these tests runs in the test.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

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
    hub.change("README.md", b"---\nlicense: cc0-1.0\n---\n# tiny\n");
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
    assert!(asked.iter().all(|request| !request.path.contains("tf_model")));
    assert_eq!(field("bundle", "license"), "license = \"cc0-1.0\"");
    let lock = place.read("cache/lock.toml");
    for part in [ID, COMMIT, &sha256(&weights), "README.md", &sha256(&hub.bytes("README.md")), "revision = \"main\""] {
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

#[test]
fn a_refusal_says_what_to_do() {
    let (place, hub) = (Workplace::new(), tiny_hub());
    hub.fail("GET /api/", 2, Fault::Status(401, "X-Error-Message: Invalid username or password.\r\n"));
    run(&place, &hub, &EXPORT, 2).expect(&[
        "does not give `org/tiny` away (status 401): Invalid username or password.",
        &format!("accept its licence on {}/org/tiny and set HF_TOKEN", hub.endpoint),
    ]);
    let mut with_token = program(&place, &hub.endpoint, &EXPORT);
    let said = Said::new(with_token.env("HF_TOKEN", "hf_secret").output().unwrap(), 2);
    said.expect(&["with the account of the token, or set HF_TOKEN to a token that may read it"]);
    assert!(!said.stderr.contains("hf_secret"));
    let args = ["export", "--model", "org/nothing", "--pooling", "cls", "-o", "bundle"];
    run(&place, &hub, &args, 2).expect(&["has no files of `org/nothing` at `main`", "check the spelling"]);
    let mut gone = EXPORT.to_vec();
    gone.extend(["--revision", "gone"]);
    run(&place, &hub, &gone, 2).expect(&["has no files of `org/tiny` at `gone`"]);
    gone[8] = "../main";
    run(&place, &hub, &gone, 2).expect(&["revision `../main` holds characters that no revision has"]);
    assert!(!place.path("bundle").exists());
}

#[test]
fn without_a_network_the_error_names_the_hub_and_the_ways_out() {
    let place = Workplace::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("http://{closed}");
    let begun = std::time::Instant::now();
    let said = Said::new(program(&place, &endpoint, &EXPORT).output().unwrap(), 2);
    said.expect(&[
        &format!("could not get `{endpoint}/api/models/org/tiny/revision/main`"),
        "cause: ",
        "--offline",
        "folder",
    ]);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    let mut offline = EXPORT.to_vec();
    offline.push("--offline");
    let said = Said::new(program(&place, &endpoint, &offline).output().unwrap(), 2);
    said.expect(&["offline, and `org/tiny` at `main` is not complete", "run once without `--offline`"]);
    let mut variable = program(&place, &endpoint, &EXPORT);
    Said::new(variable.env("HF_HUB_OFFLINE", "1").output().unwrap(), 2).expect(&["offline, and `org/tiny`"]);
    let mut wrong = program(&place, "huggingface.co", &EXPORT);
    Said::new(wrong.output().unwrap(), 2).expect(&["`huggingface.co` (HF_ENDPOINT) is no address of a hub"]);
}

#[test]
fn what_is_no_model_is_not_asked_for() {
    let (place, hub) = (Workplace::new(), tiny_hub());
    papers(&place);
    fs::create_dir(place.path("models")).unwrap();
    for model in ["nowhere", "./org/tiny", "/org/tiny", "a/b/c", "org/ti ny"] {
        let said = run(&place, &hub, &["embed", "--model", model, "papers.jsonl"], 2);
        said.expect(&[&format!("error: model `{model}` not found"), "a recipe's name (specter2, specter,"]);
    }
    run(&place, &hub, &["embed", "--model", "models/nowhere", "papers.jsonl"], 2).expect(&[
        "error: model `models/nowhere` not found: there is no `nowhere` in the folder `models` here",
        "hint: check the path; to take `models/nowhere` from the hub, run in a folder without a `models`",
    ]);
    let said = run(&place, &hub, &["export", "--model", "allenai/specter2", "-o", "bundle"], 2);
    said.expect(&[
        "error: `allenai/specter2` is an adapter, not a model",
        "since August 2023 `allenai/specter2` is the proximity adapter of SPECTER2; the model is `allenai/specter2_base`",
    ]);
    assert!(hub.log().is_empty(), "{:?}", hub.log());
    // A folder wins over an id.
    fs::create_dir_all(place.path("org/tiny")).unwrap();
    run(&place, &hub, &["embed", "--model", ID, "papers.jsonl"], 2).expect(&["`org/tiny` is not a bundle"]);
    assert!(hub.log().is_empty());
}

#[test]
fn a_model_that_does_not_say_how_it_pools_is_refused_before_its_weights_are_loaded() {
    let (place, hub) = (Workplace::new(), tiny_hub());
    papers(&place);
    run(&place, &hub, &["embed", "--model", ID, "papers.jsonl"], 2).expect(&[
        "`org/tiny` does not say how its token states become one vector",
        "`offprint export --model org/tiny --pooling cls -o BUNDLE` or `--pooling mean`",
    ]);
    assert!(hub.log().iter().all(|request| !request.path.contains("safetensors")));
}

#[test]
fn a_recipe_is_found_by_its_name_and_by_its_source() {
    for (model, id) in [("specter", "allenai/specter"), ("allenai/specter2_base", "allenai/specter2_base")] {
        let (place, hub) = (Workplace::new(), HubServer::with_model(id, &tiny_checkpoint()));
        // A folder that is called as the organisation does not hide a model that is known.
        fs::create_dir(place.path("allenai")).unwrap();
        let said = run(&place, &hub, &["export", "--model", model, "--max-length", "32", "-o", "bundle"], 0);
        said.expect(&[": the files were not seen", "pooling cls, not normalized, template model-card"]);
        let manifest = place.read("bundle/bundle.toml");
        assert!(manifest.contains(&format!("name = \"{id}\"")) && !manifest.contains("adapter"), "{manifest}");
        let args = ["export", "--model", model, "--max-length", "32", "--recipe", "none", "-o", "other"];
        let said = run(&place, &hub, &args, 2);
        said.expect(&["does not say how its token states become one vector"]);
    }
}

#[test]
fn other_bytes_than_a_recipe_was_verified_with_are_refused() {
    let (place, hub) =
        (Workplace::new(), HubServer::with_model("sentence-transformers/all-MiniLM-L6-v2", &tiny_checkpoint()));
    let pinned = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf";
    hub.set_commit(pinned);
    let said = run(&place, &hub, &["export", "--model", "all-minilm-l6-v2", "-o", "bundle"], 2);
    said.expect(&[&format!("at {pinned}"), "has SHA-256", "expected 953f9c0d", "`--recipe none`"]);
    assert!(!place.path("bundle").exists());
}

#[test]
fn a_recipe_pins_the_commit_of_its_own_source_only() {
    let (place, hub) = (Workplace::new(), tiny_hub());
    let said = run(&place, &hub, &["export", "--model", ID, "--recipe", "all-minilm-l6-v2", "-o", "bundle"], 2);
    said.expect(&[
        "note: recipe all-minilm-l6-v2 is for sentence-transformers/all-MiniLM-L6-v2; org/tiny is taken at main",
        "for org/tiny at main",
        "has SHA-256",
    ]);
}

#[test]
fn a_missing_runtime_is_said_before_anything_is_asked_for() {
    let (place, hub) = (Workplace::new(), sentence_hub());
    papers(&place);
    let export: &[&str] = &["export", "--model", ID, "-o", "bundle", "--ort-lib", "nowhere.so"];
    for args in [export, &["embed", "--model", ID, "papers.jsonl", "--ort-lib", "nowhere.so"]] {
        run(&place, &hub, args, 2).expect(&["error: no ONNX Runtime library at `", "nowhere.so`"]);
        assert!(hub.log().is_empty(), "{:?}", hub.log());
    }
}

#[test]
fn what_the_small_files_rule_out_is_refused_before_the_weights_are_loaded() {
    type Change = fn(&HubServer);
    let changes: [(Change, &str); 3] = [
        (
            |hub| hub.change("config.json", br#"{"model_type": "llama"}"#),
            "cause: `config.json` asks for the architecture `llama`",
        ),
        (
            |hub| {
                hub.remove("tokenizer.json");
                hub.add("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n");
                hub.add("added_tokens.json", br#"{"[ABSTRACT]": 6}"#);
            },
            "added_tokens.json`: `[ABSTRACT]` is an added token, expected none beside vocab.txt",
        ),
        (|hub| hub.remove("tokenizer.json"), "error: `org/tiny` has no tokenizer, expected `tokenizer.json`"),
    ];
    for (change, cause) in changes {
        let (place, hub) = (Workplace::new(), tiny_hub());
        change(&hub);
        let said = run(&place, &hub, &EXPORT, 2);
        let snapshot = model_folder(&place).join("snapshots").join(COMMIT);
        let stderr = said.stderr.replace(&format!("{}/", snapshot.display()), "");
        assert!(stderr.contains(cause), "{stderr}");
        if !cause.starts_with("error: ") {
            said.expect(&["error: `org/tiny` can not be exported, and its weights were not downloaded"]);
        }
        assert!(hub.log().iter().all(|request| !request.path.contains("safetensors")), "{:?}", hub.log());
    }
}

#[test]
fn every_recipe_in_the_program_has_a_template_that_can_be_used() {
    for name in offprint::model::Recipe::names() {
        let recipe = offprint::model::Recipe::built_in(name).unwrap();
        recipe.template.parse::<offprint::paper::Template>().unwrap();
    }
}

/// Checkpoints from before `tokenizer.json`, as SPECTER's and SciBERT's, have a `vocab.txt`.
#[test]
fn a_vocabulary_gives_the_vectors_that_its_tokenizer_gives() {
    let place = Workplace::new();
    let lines: String = ["the cat sat", "Dé jà-vu, 中文 cat!", "zzz (a) b.c"]
        .iter()
        .enumerate()
        .map(|(n, title)| format!("{{\"id\": \"{n}\", \"title\": \"{title}\", \"abstract\": \"The End\"}}\n"))
        .collect();
    place.write("papers.jsonl", lines);
    let old = tiny_hub();
    let tokenizer: serde_json::Value = serde_json::from_slice(&old.bytes("tokenizer.json")).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object().unwrap();
    let mut pieces = vec![""; vocabulary.len()];
    for (piece, id) in vocabulary {
        pieces[id.as_u64().unwrap() as usize] = piece;
    }
    old.remove("tokenizer.json");
    old.add("vocab.txt", format!("{}\n", pieces.join("\n")).as_bytes());
    for (hub, bundle) in [(&tiny_hub(), "new"), (&old, "old")] {
        fs::remove_dir_all(place.path("hf")).ok();
        fs::remove_dir_all(place.path("cache")).ok();
        run(&place, hub, &["export", "--model", ID, "--pooling", "mean", "-o", bundle], 0);
        let output = format!("{bundle}.npy");
        place.run(&["embed", "--model", bundle, "papers.jsonl", "-o", &output, "--no-cache"], 0);
    }
    assert!(fs::read(place.path("new.npy")).unwrap() == fs::read(place.path("old.npy")).unwrap());
}

#[test]
fn a_proxy_is_used_where_the_environment_names_one() {
    let (place, hub) = (Workplace::new(), tiny_hub());
    let mut command = program(&place, "http://hub.invalid:1", &EXPORT);
    Said::new(command.env("HTTP_PROXY", &hub.endpoint).env("ALL_PROXY", &hub.endpoint).output().unwrap(), 0);
    assert!(hub.log().iter().any(|request| request.method == "CONNECT" && request.path == "hub.invalid:1"));
}
