//! Promise: bad input gets a clear error on stderr, status 2, nothing on stdout, and nothing is lost or left behind.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use common::{Said, Workplace, tiny_bundle, tiny_checkpoint};

fn embed(place: &Workplace, args: &[&str]) -> Said {
    let mut all = vec!["embed", "--model", tiny_bundle(), "-o", "x.jsonl"];
    all.extend(args);
    let said = place.run(&all, 2);
    assert!(said.stdout.is_empty(), "{}", said.stdout);
    assert!(!place.path("x.jsonl").exists(), "a failed run left an output");
    said
}

#[test]
fn a_missing_file_is_named() {
    embed(&Workplace::new(), &["nowhere.jsonl"]).expect(&["error: ", "nowhere.jsonl"]);
}

#[test]
fn a_pattern_without_a_match_is_named() {
    embed(&Workplace::new(), &["shard-*.jsonl"]).expect(&["error: ", "shard-*.jsonl"]);
}

#[test]
fn an_unknown_format_says_which_are_known() {
    let place = Workplace::new();
    place.write("papers.docx", "x");
    embed(&place, &["papers.docx"]).expect(&["error: ", "papers.docx", ".jsonl", ".csv"]);
}

#[test]
fn a_truncated_gzip_names_the_file_and_keeps_what_was_computed() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let place = Workplace::new();
    let mut gz = GzEncoder::new(Vec::new(), Compression::none());
    for n in 0..3_000 {
        writeln!(gz, r#"{{"id": "p{n}", "title": "paper {n} {}"}}"#, "x".repeat(40)).unwrap();
    }
    let bytes = gz.finish().unwrap();
    place.write("papers.jsonl.gz", &bytes[..bytes.len() / 2]);
    embed(&place, &["papers.jsonl.gz"]).expect(&["error: ", "papers.jsonl.gz"]);
    let stat = place.run(&["cache", "stat", "--json"], 0).json();
    assert!(stat["spaces"][0]["rows"].as_u64().unwrap() >= 512, "{stat}");
}

#[test]
fn an_empty_corpus_is_an_error() {
    let place = Workplace::new();
    place.write("papers.jsonl", "\n");
    embed(&place, &["papers.jsonl"]).expect(&["error: the corpus holds no rows"]);
}

#[test]
fn invalid_utf8_and_lone_surrogates_reject_the_row() {
    let place = Workplace::new();
    let mut corpus = b"{\"id\": \"a\", \"title\": \"fine\"}\n{\"id\": \"b\", \"title\": \"\xff\xfe\"}\n".to_vec();
    corpus.extend(br#"{"id": "c", "title": "\ud800"}"#);
    place.write("papers.jsonl", corpus);
    let args = ["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.jsonl", "--json"];
    assert_eq!(place.run(&args, 2).json()["rejected"], 2);
    assert_eq!(place.read("x.jsonl.rejects.jsonl").lines().count(), 2);
}

#[test]
fn a_budget_below_the_maximum_length_gives_both_numbers() {
    let place = Workplace::new();
    place.write("papers.jsonl", r#"{"id": "a", "title": "fine"}"#);
    let said = embed(&place, &["papers.jsonl", "--max-batch-tokens", "3"]);
    said.expect(&["error: `--max-batch-tokens 3` is below the longest input", "max length", "  hint: "]);
}

#[test]
fn a_checkpoint_is_not_a_bundle() {
    let place = Workplace::new();
    place.write("papers.jsonl", r#"{"id": "a", "title": "fine"}"#);
    let checkpoint = tiny_checkpoint();
    let said = place.run(&["embed", "--model", checkpoint.to_str().unwrap(), "papers.jsonl"], 2);
    said.expect(&["is a checkpoint, not a bundle", "  hint: `offprint export --model"]);
    place.run(&["embed", "--model", "nowhere", "papers.jsonl"], 2).expect(&["error: model `nowhere` not found"]);
}

#[test]
fn an_unknown_provider_says_which_are_known() {
    let place = Workplace::new();
    place.write("papers.jsonl", r#"{"id": "a", "title": "fine"}"#);
    embed(&place, &["papers.jsonl", "--provider", "abacus"]).expect(&["error: ", "abacus", "cpu"]);
}

#[test]
fn an_output_of_unknown_kind_fails_before_any_work() {
    let place = Workplace::new();
    place.write("papers.jsonl", r#"{"id": "a", "title": "fine"}"#);
    let said = place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.docx"], 2);
    said.expect(&["error: ", "x.docx", ".parquet", ".npy", ".jsonl"]);
    place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl", "--no-cache"], 2).expect(&["`--no-cache`"]);
}

#[test]
fn an_onnx_runtime_that_is_missing_or_none_is_named() {
    let place = Workplace::new();
    place.write("papers.jsonl", r#"{"id": "a", "title": "fine"}"#);
    place.write("libonnxruntime.so", "this is no library");
    embed(&place, &["papers.jsonl", "--ort-lib", "nowhere.so"]).expect(&["error: ", "nowhere.so"]);
    embed(&place, &["papers.jsonl", "--ort-lib", "libonnxruntime.so"]).expect(&["error: ", "libonnxruntime.so"]);
}

#[test]
fn a_bundle_that_was_changed_is_refused() {
    let place = Workplace::new();
    place.write("papers.jsonl", r#"{"id": "a", "title": "fine"}"#);
    let bundle = place.path("bundle");
    std::fs::create_dir(&bundle).unwrap();
    for entry in std::fs::read_dir(tiny_bundle()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), bundle.join(entry.file_name())).unwrap();
    }
    let manifest = place.read("bundle/bundle.toml");
    place.write("bundle/bundle.toml", manifest.replace("pooling = \"mean\"", "pooling = \"cls\""));
    place.run(&["embed", "--model", "bundle", "papers.jsonl"], 2).expect(&["error: ", "pooling", "mean", "cls"]);
    place.write("bundle/bundle.toml", "format = ");
    place.run(&["embed", "--model", "bundle", "papers.jsonl"], 2).expect(&["error: ", "bundle.toml"]);
}

#[test]
fn a_result_never_takes_the_place_of_the_corpus() {
    let place = Workplace::new();
    let corpus = "{\"id\": \"a\", \"title\": \"fine\"}\n";
    place.write("papers.jsonl", corpus);
    for more in [["-o", "papers.jsonl"], ["--rejects", "papers.jsonl"]] {
        let mut args = vec!["embed", "--model", tiny_bundle(), "papers.jsonl"];
        args.extend(more);
        place.run(&args, 2).expect(&["error: `papers.jsonl` is a file of the corpus", "  hint: "]);
        assert_eq!(place.read("papers.jsonl"), corpus);
    }
}

#[test]
fn a_missing_output_folder_is_found_before_any_work() {
    let place = Workplace::new();
    place.write("papers.jsonl", "{\"id\": \"a\", \"title\": \"fine\", \"field\": \"x\"}\n");
    let model = tiny_bundle();
    let train = ["train", "--model", model, "--label", "field", "papers.jsonl", "-o", "nowhere/x.head"];
    place.run(&train, 2).expect(&["error: `nowhere/x.head` cannot be written", "  hint: make the folder first"]);
    let stat = place.run(&["cache", "stat", "--json"], 0).json();
    let rows: u64 = stat["spaces"].as_array().unwrap().iter().map(|space| space["rows"].as_u64().unwrap()).sum();
    assert_eq!(rows, 0, "{stat}");
}

#[test]
#[cfg(unix)]
fn a_reader_that_goes_away_is_no_failure() {
    use std::process::{Command, Stdio};
    let place = Workplace::new();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("offprint"))
        .args(["doctor", "--cache-dir", place.path("cache").to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.is_empty() && output.status.code() == Some(0), "{:?}: {said}", output.status);
}

#[test]
fn results_that_would_replace_each_other_or_a_folder_are_refused_before_the_work() {
    let place = Workplace::new();
    place.write("papers.jsonl", "{\"id\": \"a\", \"title\": \"fine\"}\n");
    std::fs::create_dir_all(place.path("taken/report.json")).unwrap();
    std::fs::create_dir(place.path("d.npy")).unwrap();
    let refused = |args: &[&str], words: &str| {
        let mut all = vec!["embed", "--model", tiny_bundle(), "papers.jsonl"];
        all.extend(args);
        place.run(&all, 2).expect(&["error: `", words, "hint: "]);
    };
    refused(&["-o", "x.jsonl", "--rejects", "x.jsonl"], "`x.jsonl` is named twice");
    refused(&["-o", "x.npy", "--rejects", "./x.ids.txt"], "`./x.ids.txt` is named twice");
    refused(&["-o", "d.npy"], "`d.npy` is a folder");
    refused(&["-o", "x.jsonl", "--report", "taken"], "`taken/report.json` is a folder");
    refused(&["-o", "x.jsonl", "--rejects", "papers.jsonl"], "is a file of the corpus");
    assert!(!place.path("x.jsonl").exists());
}

#[test]
fn flags_that_would_do_nothing_are_refused() {
    let place = Workplace::new();
    place.write("papers.jsonl", "{\"id\": \"a\", \"title\": \"fine\"}\n");
    let refused = |args: &[&str], words: &str| {
        let mut all = vec!["embed", "--model", tiny_bundle(), "papers.jsonl"];
        all.extend(args);
        place.run(&all, 2).expect(&["error: ", words]);
    };
    refused(&["--compress", "zstd"], "`--compress` is about the output");
    refused(&["--jsonl-for", "scidocs"], "`--jsonl-for` is about the output");
    refused(&["--text-field", "title", "--title-field", "title"], "cannot be used with");
}

#[test]
fn a_header_of_any_width_is_refused_at_once() {
    let place = Workplace::new();
    let header: Vec<String> = (0..300_000).map(|column| format!("c{column}")).collect();
    place.write("papers.csv", format!("{}\n{}\n", header.join(","), ",".repeat(299_999)));
    embed(&place, &["papers.csv"]).expect(&["error: no row has a field `title` or `abstract`", "`c0`, `c1`"]);
}
