//! Promise: `doctor` says what was found, where it was looked for, and the way out; `cache` says what is kept and
//! finds what is damaged.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use common::{Workplace, tiny_bundle};

#[test]
fn doctor_shows_what_it_found() {
    let place = Workplace::new();
    let said = place.run(&["doctor"], 0);
    for part in ["ONNX Runtime", "CPUExecutionProvider", "cores", "cache"] {
        assert!(said.stdout.contains(part), "expected {part} in:\n{}", said.stdout);
    }
}

#[test]
fn doctor_as_json_has_the_facts_of_the_text() {
    let place = Workplace::new();
    let text = place.run(&["doctor"], 0).stdout;
    let json = place.run(&["doctor", "--json"], 0).json();
    let version = json["library"]["version"].as_str().unwrap();
    assert!(version.starts_with("1."), "{version}");
    assert!(text.contains(&format!("ONNX Runtime {version} at ")), "{version} in:\n{text}");

    // The search ends at the place that serves; what came before it did not.
    let looked = json["looked"].as_array().unwrap();
    let used = looked.iter().position(|tried| tried["outcome"] == format!("used, version {version}"));
    assert_eq!(used, Some(looked.len() - 1), "{json}");
    assert_eq!(looked[looked.len() - 1]["place"], json["library"]["place"]);

    let cores = json["machine"]["logical_cores"].as_u64().unwrap();
    assert!(cores >= std::thread::available_parallelism().unwrap().get() as u64, "{cores}");
    assert!(text.contains(&format!("  {cores} cores, ")), "{cores} in:\n{text}");
    assert_eq!(json["problems"], serde_json::json!([]));
}

#[test]
fn doctor_says_where_it_looked_and_how_to_get_what_is_missing() {
    let place = Workplace::new();
    let said = place.run(&["doctor", "--ort-lib", "nowhere.so"], 1);
    assert!(said.stdout.contains("nowhere.so") && said.stdout.contains("  hint: "), "{}", said.stdout);

    let json = place.run(&["doctor", "--ort-lib", "nowhere.so", "--json"], 1).json();
    assert!(json["library"].is_null());
    let problems = json["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{json}");
    assert!(problems[0]["what"].as_str().unwrap().contains("nowhere.so"), "{json}");
    assert!(problems[0]["hint"].is_string(), "{json}");
}

#[test]
fn a_flipped_byte_is_found_set_aside_and_computed_again() {
    let place = Workplace::new();
    place.write("papers.jsonl", "{\"id\": \"a\", \"title\": \"one\"}\n{\"id\": \"b\", \"title\": \"two\"}\n");
    place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.jsonl"], 0);
    place.run(&["cache", "verify"], 0);

    let pattern = place.path("cache/embeddings/*/*.arrow");
    let part = glob::glob(pattern.to_str().unwrap()).unwrap().next().unwrap().unwrap();
    let mut bytes = std::fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&part, bytes).unwrap();

    let said = place.run(&["cache", "verify"], 1);
    assert!(said.stdout.contains("damaged: "), "{}", said.stdout);
    assert!(!part.exists());
    let account = place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "y.jsonl", "--json"], 0).json();
    assert_eq!(account["embedded"], 2);
    assert_eq!(place.read("x.jsonl"), place.read("y.jsonl"));
    place.run(&["cache", "verify"], 0);
}
