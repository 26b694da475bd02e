//! Promise: of several adapters in one bundle each text goes through the one that was chosen for it, and nothing is
//! computed before it is settled which; vectors of two adapters are never mixed up, in the cache or behind a head.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
#[path = "common/several.rs"]
mod several;

use std::fmt::Write;

use common::{Workplace, tiny_bundle};
use serde_json::Value;
use several::{NAMES, adapter, fused, several, spaces, vectors, write};

/// Papers about two things, each of them for one of the three adapters.
fn corpus(place: &Workplace, rows: usize) {
    let mut text = String::new();
    for n in 0..rows {
        let label = if n % 2 == 0 { "cold" } else { "hard" };
        let words = if n % 2 == 0 { "ice reef " } else { "steel " }.repeat(1 + n % 7);
        let task = NAMES[n % 3];
        writeln!(
            text,
            r#"{{"id": "p{n}", "title": "paper {n}", "abstract": "{words}", "task": "{task}", "label": "{label}"}}"#
        )
        .unwrap();
    }
    place.write("papers.jsonl", text);
}

fn embed(place: &Workplace, output: &str, more: &[&str]) -> Value {
    let args = ["embed", "--model", "several", "papers.jsonl", "--json", "-o", output];
    place.run(&[&args, more].concat(), 0).json()
}

/// Says what is wrong with flags: they must be refused before anything is computed.
fn refused(place: &Workplace, args: &[&str], what: &[&str]) {
    let said = place.run(args, 2);
    said.expect(what);
    assert!(!said.stderr.contains("papers/s"), "{}", said.stderr);
}

#[test]
fn without_a_choice_the_adapters_are_listed() {
    let place = Workplace::new();
    several(&place);
    corpus(&place, 4);
    let listed = "error: bundle `several` carries the adapters `proximity`, `adhoc_query`, `classification`, and none is \
                  chosen";
    let hint = "`--adapter NAME` sends all texts through one, with `--adapter-field FIELD` each row names its own";
    let model = ["--model", "several", "papers.jsonl"];
    for command in [&["embed"][..], &["train", "--label", "label", "-o", "x.head"], &["check"]] {
        refused(&place, &[command, &model].concat(), &[listed, hint]);
        let unknown = [command, &model, &["--adapter", "Proximity"]].concat();
        let names = "its adapters are `proximity`, `adhoc_query`, `classification`";
        refused(&place, &unknown, &["error: bundle `several` has no adapter `Proximity`", names]);
    }
    assert!(!place.path("cache").join("embeddings").exists());
}

#[test]
fn where_there_is_nothing_to_choose_a_choice_is_refused() {
    let place = Workplace::new();
    fused(&place);
    corpus(&place, 4);
    let embed =
        |model: &'static str, more: &[&'static str]| [&["embed", "papers.jsonl", "--model", model], more].concat();
    let own = "bundle `fused` has the adapter `proximity` fused into it";
    let wrong = [&["--adapter", "adhoc_query"][..], &["--adapter-field", "task"]];
    for flags in wrong {
        let given = format!("error: `{}` is given, and {own}", flags.join(" "));
        refused(&place, &embed("fused", flags), &[&given, "hint: leave it out: every text goes through that one"]);
    }
    place.run(&embed("fused", &["--adapter", "proximity"]), 0);
    place.run(&embed("fused", &[]), 0);
    for flags in wrong {
        let model = tiny_bundle();
        let given = format!("error: `{}` is given, and bundle `{model}` has no adapter", flags.join(" "));
        let args = [&["embed", "papers.jsonl", "--model", model], flags].concat();
        refused(&place, &args, &[&given, "`offprint export --adapters NAME=DIR,...`"]);
    }
}

#[test]
fn one_run_mixes_adapters_and_each_has_a_space_of_its_own() {
    let place = Workplace::new();
    several(&place);
    corpus(&place, 60);
    let args =
        ["embed", "--model", "several", "papers.jsonl", "--json", "-o", "mixed.jsonl", "--adapter-field", "task"];
    let said = place.run(&args, 0);
    assert_eq!(said.stderr, "", "the cache was empty: no space of it is a near miss of another");
    let account = said.json();
    assert_eq!(account["adapters"], serde_json::json!({"proximity": 20, "adhoc_query": 20, "classification": 20}));
    assert_eq!((account["rows"].as_u64(), account["embedded"].as_u64()), (Some(60), Some(60)));
    let mut hashes = NAMES.map(|name| (adapter(name).hash, 20));
    hashes.sort();
    assert_eq!(spaces(&place.path("cache")), hashes);

    let again = embed(&place, "again.jsonl", &["--adapter-field", "task"]);
    assert_eq!((again["cached"].as_u64(), again["provider"].as_str()), (Some(60), None));
    assert_eq!(place.read("again.jsonl"), place.read("mixed.jsonl"));

    // Each adapter by itself, without a cache: the same bits as in the mixture.
    let mixed = vectors(&place, "mixed.jsonl");
    for (at, name) in NAMES.iter().enumerate() {
        let account = embed(&place, "one.jsonl", &["--adapter", name, "--no-cache"]);
        assert_eq!(account["adapters"], serde_json::json!({*name: 60}));
        for (row, vector) in vectors(&place, "one.jsonl").iter().enumerate() {
            let same = *vector == mixed[row];
            assert_eq!(same, row % 3 == at, "row {row} of {name}");
        }
    }
    // What one adapter has of a text is no hit for another.
    let account = embed(&place, "one.jsonl", &["--adapter", "proximity"]);
    assert_eq!((account["cached"].as_u64(), account["embedded"].as_u64()), (Some(20), Some(40)));
    hashes.iter_mut().filter(|(hash, _)| *hash == adapter("proximity").hash).for_each(|(_, rows)| *rows = 60);
    assert_eq!(spaces(&place.path("cache")), hashes);
}

#[test]
fn rows_without_an_adapter_are_rejected_with_their_place_or_get_the_default() {
    let place = Workplace::new();
    several(&place);
    let rows = ["\"task\": \"proximity\"", "\"task\": \"search\"", "\"x\": 1"];
    let lines: Vec<String> =
        (0..).zip(rows).map(|(n, task)| format!("{{\"id\": \"p{n}\", \"title\": \"ice\", {task}}}\n")).collect();
    place.write("papers.jsonl", lines.concat());
    let args = ["embed", "--model", "several", "papers.jsonl", "-o", "x.jsonl", "--adapter-field", "task"];
    place.run(&args, 2).expect(&["2 rows were rejected", "  adapters: 1 proximity"]);
    let rejects = place.read("x.jsonl.rejects.jsonl");
    let expected = "expected an adapter of the bundle: `proximity`, `adhoc_query`, `classification`";
    for (line, got) in [(2, "`search`"), (3, "missing")] {
        let reject = rejects.lines().find(|text| text.contains(&format!("\"line\":{line}"))).unwrap();
        assert!(
            reject.contains("papers.jsonl") && reject.contains(&format!("`task` is {got}, {expected}")),
            "{reject}"
        );
    }
    let args = [&args[..], &["--adapter", "adhoc_query", "--json", "--allow-rejects"]].concat();
    let account = place.run(&args, 0).json();
    assert_eq!(account["adapters"], serde_json::json!({"proximity": 1, "adhoc_query": 1}));
    assert_eq!(account["rejected"], 1);
    let missing = ["embed", "--model", "several", "papers.jsonl", "--adapter-field", "tsak"];
    place.run(&missing, 2).expect(&["`tsak`"]);
}

#[test]
fn a_head_remembers_its_adapter_and_serves_no_other() {
    let place = Workplace::new();
    several(&place);
    corpus(&place, 60);
    let train = ["train", "--model", "several", "papers.jsonl", "--label", "label", "-o", "kind.head"];
    let with = |args: &[&'static str], more: &[&'static str]| [args, more].concat();
    let mixed = "`--adapter-field` sends rows through several adapters, and a head fits the vectors of one";
    refused(&place, &with(&train, &["--adapter-field", "task"]), &[mixed, "hint: choose it with `--adapter NAME`"]);
    place.run(&with(&train, &["--adapter", "classification"]), 0).expect(&["  adapters: 60 classification"]);

    let classify = ["classify", "--model", "several", "papers.jsonl", "--head", "kind.head", "-o", "x.jsonl"];
    place.run(&with(&classify, &["--adapter", "classification", "--json"]), 0);
    refused(&place, &with(&classify, &["--adapter-field", "task"]), &[mixed]);
    let [own, other] = ["classification", "proximity"].map(|name| adapter(name).hash);
    let change = format!("adapter: {own} -> {other}");
    let wrong = with(&classify, &["--adapter", "proximity"]);
    refused(&place, &wrong, &["error: ", &change, "hint: it fits `--adapter classification`"]);
    let allowed = with(&wrong, &["--allow-encoder-change"]);
    place.run(&allowed, 0).expect(&["warning: ", &change]);
}

#[test]
fn a_fused_head_brings_its_adapter_with_it() {
    let place = Workplace::new();
    several(&place);
    corpus(&place, 60);
    let train = ["train", "--model", "several", "papers.jsonl", "--label", "label", "-o", "kind.head"];
    place.run(&[&train[..], &["--adapter", "classification"]].concat(), 0);
    let fuse = ["fuse", "--model", "several", "--head", "kind.head", "-o", "fused"];
    refused(&place, &fuse, &["carries the adapters"]);
    let wrong = [&fuse[..], &["--adapter", "adhoc_query"]].concat();
    refused(&place, &wrong, &["hint: it fits `--adapter classification`"]);
    place.run(&[&fuse[..], &["--adapter", "classification"]].concat(), 0).expect(&["same embeddings and labels"]);

    let beside = ["classify", "--model", "several", "papers.jsonl", "--head", "kind.head", "-o", "beside.jsonl"];
    place.run(&[&beside[..], &["--adapter", "classification"]].concat(), 0);
    let inside = ["classify", "--model", "fused", "papers.jsonl", "-o", "inside.jsonl"];
    let account = place.run(&[&inside[..], &["--json"]].concat(), 0).json();
    assert_eq!(account["adapters"], serde_json::json!({"classification": 60}));
    let labels = |file: &str| -> Vec<Value> {
        place.read(file).lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["label"].clone()).collect()
    };
    assert_eq!(labels("inside.jsonl"), labels("beside.jsonl"));
    for (flag, value) in [("--adapter", "proximity"), ("--adapter-field", "task")] {
        let what =
            format!("error: `{flag} {value}` is given, and head `kind` answers for adapter `classification` alone");
        refused(&place, &[&inside[..], &[flag, value]].concat(), &[&what, "hint: leave it out"]);
    }

    let train = ["train", "--model", "several", "papers.jsonl", "--label", "label", "-o", "other.head"];
    place.run(&[&train[..], &["--adapter", "proximity"]].concat(), 0);
    let fuse = ["fuse", "--model", "fused", "--head", "other.head", "-o", "both", "--adapter", "proximity"];
    place.run(&fuse, 0);
    let both = ["classify", "--model", "both", "papers.jsonl", "-o", "both.jsonl"];
    let what = "head `kind` answers for adapter `classification`, head `other` for adapter `proximity`";
    refused(&place, &both, &[what, "hint: use one of them: `--head-name NAME`"]);
    place.run(&[&both[..], &["--head-name", "kind"]].concat(), 0);
    assert_eq!(place.read("both.jsonl"), place.read("inside.jsonl"));
}

#[test]
fn a_mixed_batch_changes_no_bit() {
    let place = Workplace::new();
    several(&place);
    corpus(&place, 90);
    let check = ["check", "--model", "several", "--threads", "2"];
    let said = place.run(&[&check[..], &["--adapter", "adhoc_query"]].concat(), 0);
    assert!(said.stdout.contains("the same bits in every composition"), "{}", said.stdout);
    let json = place.run(&[&check[..], &["papers.jsonl", "--adapter-field", "task", "--json"]].concat(), 0).json();
    assert_eq!((json["invariant"].as_bool(), json["texts"].as_u64()), (Some(true), Some(90)));
    let without = [&check[..], &["--adapter-field", "task"]].concat();
    refused(&place, &without, &["`--adapter-field` is given without a corpus", "name the corpus behind the flags"]);
    // What an export does with a new bundle: each adapter by itself, then all of them in one batch.
    let told = place.run(&["self-check", "several"], 0).json();
    assert_eq!((told["checked"]["texts"].as_u64(), told["checked"]["batch_rows"].as_u64()), (Some(24), Some(0)));
}

#[test]
fn what_there_is_to_choose_from_is_shown() {
    let place = Workplace::new();
    several(&place);
    fused(&place);
    corpus(&place, 6);
    let page = place.run(&["inspect", "several"], 0).stdout;
    let found = place.run(&["inspect", "several", "--json"], 0).json();
    assert!(page.contains("3: each text goes through one (`--adapter`, `--adapter-field`)"), "{page}");
    for name in NAMES {
        assert!(page.contains(&format!("adapter {name} (bottleneck, of org/{name})")), "{page}");
        let fingerprint = found["adapter_fingerprints"][name].as_str().unwrap();
        assert!(page.contains(fingerprint) && page.contains(&adapter(name).hash), "{page}");
    }
    assert!(found.get("fingerprint").is_none(), "{found}");
    let page = place.run(&["inspect", "fused"], 0).stdout;
    assert!(page.contains("proximity (bottleneck, of org/proximity), fused"), "{page}");

    embed(&place, "x.jsonl", &["--adapter", "adhoc_query"]);
    let stat = place.run(&["cache", "stat"], 0).stdout;
    assert!(stat.contains(&format!("adapter: {}", adapter("adhoc_query").hash)), "{stat}");
    let space = place.run(&["cache", "stat", "--json"], 0).json()["spaces"][0]["fingerprint"].clone();
    assert_eq!(space, found["adapter_fingerprints"]["adhoc_query"]);
    let note =
        "note: nothing in the cache for adapter `proximity` of this bundle yet; the nearest one differs in adapter: ";
    place.run(&["embed", "--model", "several", "papers.jsonl", "--adapter", "proximity"], 0).expect(&[note]);
}

#[test]
fn a_manifest_and_a_graph_that_disagree_on_adapters_are_refused() {
    let place = Workplace::new();
    corpus(&place, 4);
    let adapters = NAMES.map(adapter).to_vec();
    write(&place, "deaf", "sum32.onnx", |manifest| offprint::model::Manifest { adapters, ..manifest });
    let said = place.run(&["embed", "--model", "deaf", "papers.jsonl", "--adapter", "proximity"], 2);
    said.expect(&["the graph has no input `adapter`, bundle.toml names 3"]);
    write(&place, "mute", "several.onnx", |manifest| manifest);
    let said = place.run(&["embed", "--model", "mute", "papers.jsonl"], 2);
    said.expect(&["the graph chooses among adapters, bundle.toml names 0"]);
}

#[test]
fn the_report_names_the_space_of_each_adapter() {
    let place = Workplace::new();
    several(&place);
    corpus(&place, 6);
    let args = ["embed", "--model", "several", "papers.jsonl", "--adapter-field", "task", "--report", "report"];
    place.run(&args, 0);
    let report: Value = serde_json::from_str(&place.read("report/report.json")).unwrap();
    let text = report.to_string();
    for name in NAMES {
        assert!(text.contains(&format!("fingerprint of {name}")), "{text}");
    }
    assert!(text.contains("2 adhoc_query, 2 classification, 2 proximity"), "{text}");
}

#[test]
fn a_new_bundle_is_checked_with_each_adapter_and_with_mixed_batches() {
    let place = Workplace::new();
    let bundle = |name: &str, graph: &str| {
        let adapters = NAMES.map(adapter).to_vec();
        write(&place, name, graph, |manifest| offprint::model::Manifest { adapters, ..manifest });
        place.run(&["self-check", name], 2)
    };
    let dead = bundle("dead", "dead_adapter.onnx");
    dead.expect(&["adapter `adhoc_query` failed", "norms are 0 to 0, expected positive finite numbers"]);
    let mixed = bundle("mixed", "one_for_all.onnx");
    mixed.expect(&["a batch that mixes adapters failed", "change by up to", "with their batch, allowed 0"]);
}
