//! Promise: `check` says whether an embedding depends on its text alone: status 0 where every bit stays the same, 1
//! where one differs, with the texts of a corpus or with its own.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fmt::Write;
use std::fs;

use common::{Workplace, root, tiny_bundle};
use offprint::model::Bundle;

/// A field of a protobuf message that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut length = bytes.len();
    let mut message = vec![number << 3 | 2];
    while length >= 0x80 {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend(bytes);
    message
}

/// A bundle around a graph of tests/data/tiny-graph, with the tokenizer of the tiny checkpoint; gives its folder.
fn bundle_around(place: &Workplace, graph: &str) -> String {
    let mut bytes = fs::read(root().join("tests/data/tiny-graph").join(graph)).unwrap();
    let tiny = Bundle::open(tiny_bundle().as_ref()).unwrap();
    let mut manifest = tiny.manifest.clone();
    manifest.normalize = false;
    manifest.graph_hash = blake3::hash(&bytes).to_hex().to_string();
    for (key, value) in manifest.metadata() {
        bytes.extend(field(14, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat()));
    }
    let folder = place.path("broken");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("model.onnx"), bytes).unwrap();
    fs::write(folder.join("bundle.toml"), manifest.to_toml()).unwrap();
    fs::copy(tiny.tokenizer_path(), folder.join("tokenizer.json")).unwrap();
    folder.to_str().unwrap().to_owned()
}

/// 300 papers of very different lengths, and one row that cannot be used.
fn corpus(place: &Workplace) {
    let mut text = String::from("{\"id\": \"bad\", \"title\": 7}\n");
    for n in 0..300 {
        let words = "reef ice steel ".repeat(n % 37);
        writeln!(text, r#"{{"id": "p{n}", "title": "paper {n}", "abstract": "{words}"}}"#).unwrap();
    }
    place.write("papers.jsonl", text);
}

#[test]
fn a_sound_bundle_passes_with_the_built_in_texts() {
    let place = Workplace::new();
    let said = place.run(&["check", "--model", tiny_bundle(), "--threads", "3"], 0);
    assert!(said.stdout.contains("built-in texts"), "{}", said.stdout);
    assert!(said.stdout.contains("one batch of "), "{}", said.stdout);
    assert!(
        said.stdout.trim_end().ends_with("the same bits in every composition: an embedding depends on its text alone")
    );
    assert!(said.stderr.is_empty(), "{}", said.stderr);

    let json = place.run(&["check", "--model", tiny_bundle(), "--threads", "3", "--json"], 0).json();
    assert_eq!(json["invariant"], true);
    let compositions = json["compositions"].as_array().unwrap();
    let threads: Vec<u64> = compositions.iter().map(|c| c["threads"].as_u64().unwrap()).collect();
    assert_eq!(threads, [3, 3, 3, 3, 3, 2, 2, 2, 1, 1, 1]);
    assert!(compositions.iter().all(|c| c["rows_differ"] == 0 && c["max_delta"] == 0.0 && c["worst_cosine"] == 1.0));
    assert!(json["texts"].as_u64().unwrap() >= 28 && json["truncated"].as_u64().unwrap() >= 2, "{json}");
    assert!(json["runtime_version"].as_str().unwrap().starts_with("1."), "{json}");
}

#[test]
fn a_graph_that_breaks_the_promise_fails_with_status_1() {
    for graph in ["per_tensor.onnx", "sum32.onnx"] {
        let place = Workplace::new();
        let bundle = bundle_around(&place, graph);
        let said = place.run(&["check", "--model", &bundle, "--report", "page"], 1);
        assert!(said.stdout.contains("\nfailed: up to "), "{graph}: {}", said.stdout);
        let report: serde_json::Value = serde_json::from_str(&place.read("page/report.json")).unwrap();
        let sections = report["sections"].as_array().unwrap();
        let table = sections.iter().find(|section| section["name"] == "compositions").unwrap();
        let rows = table["rows"].as_array().unwrap();
        assert!(rows.iter().any(|row| row[2].as_u64().unwrap() > 0 && row[3].as_f64().unwrap() > 0.0), "{table}");
        assert!(place.read("page/report.html").contains("depend on more than their text"));

        let json = place.run(&["check", "--model", &bundle, "--json", "--threads", "1"], 1).json();
        assert_eq!(json["invariant"], false);
        let worst = |name: &str| {
            let values = json["compositions"].as_array().unwrap().iter().map(|c| c[name].as_f64().unwrap());
            values.collect::<Vec<_>>()
        };
        assert!(worst("rows_differ").iter().any(|&rows| rows > 0.0), "{json}");
        assert!(worst("max_delta").iter().any(|&delta| delta > 0.0 && delta < 0.1), "{json}");
        assert!(worst("worst_cosine").iter().all(|&cosine| cosine > 0.99 && cosine <= 1.0), "{json}");
    }
}

#[test]
fn a_sample_of_a_corpus_is_checked_and_is_always_the_same() {
    let place = Workplace::new();
    corpus(&place);
    let args = ["check", "--model", tiny_bundle(), "papers.jsonl", "--sample", "40", "--threads", "2", "--json"];
    let said = place.run(&args, 0);
    said.expect(&["warning: 1 row cannot be used and was passed over"]);
    let json = said.json();
    assert_eq!(json["source"], "40 texts out of 300 rows, by hash of the id");
    assert_eq!(json["texts"], 40);
    let larger = place.run(&["check", "--model", tiny_bundle(), "papers.jsonl", "--threads", "1"], 0).stdout;
    assert!(larger.contains("200 texts out of 300 rows") && larger.contains("\nbatches of 64 "), "{larger}");
    let lines: Vec<String> = place.read("papers.jsonl").lines().rev().map(str::to_owned).collect();
    place.write("papers.jsonl", lines.join("\n"));
    assert_eq!(place.run(&args, 0).json(), json);
}

#[test]
fn what_cannot_be_checked_says_why() {
    let place = Workplace::new();
    place.write("one.jsonl", "{\"id\": \"a\", \"title\": \"x\"}\n");
    let said = place.run(&["check", "--model", tiny_bundle(), "one.jsonl"], 2);
    said.expect(&["error: the corpus has 1 text", "  hint: leave the corpus out"]);
    assert!(said.stdout.is_empty());
    let said = place.run(&["check", "--model", tiny_bundle(), "--max-batch-tokens", "4"], 2);
    said.expect(&["error: `--max-batch-tokens 4` is below the longest input"]);
    place.run(&["check", "--model", "nowhere"], 2).expect(&["error: model `nowhere` not found"]);
    place.run(&["check"], 2).expect(&["--model <BUNDLE>"]);
    for flag in ["--limit", "--sample"] {
        let said = place.run(&["check", "--model", tiny_bundle(), flag, "3"], 2);
        said.expect(&[&format!("error: `{flag}` is given without a corpus"), "hint: name the corpus behind the flags"]);
    }
    place.run(&["check", "--model", tiny_bundle(), "--sample", "1"], 2).expect(&["invalid value '1' for '--sample"]);
    place.run(&["check", "--model", tiny_bundle(), "--ort-lib", "no.so"], 2).expect(&["error: ", "no.so"]);
}
