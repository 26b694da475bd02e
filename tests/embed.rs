//! Promise: every row of a corpus comes out once, in order, in every format, and the account adds up.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt32Type};
use common::{Workplace, read_parquet, tiny_bundle, tiny_checkpoint};

const CORPUS: &str = r#"{"id": "a", "title": "Coral reefs", "abstract": "Heat waves bleach corals."}
{"id": "b", "title": "Only a title"}
{"id": "c", "title": "", "abstract": ""}
{"id": "d", "title": "Coral reefs", "abstract": "Heat waves bleach corals."}
"#;

fn ids_of_jsonl(text: &str, key: &str) -> Vec<String> {
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()[key].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_account_adds_up_and_a_second_run_is_all_cached() {
    let place = Workplace::new();
    place.write("papers.jsonl", CORPUS);
    let first = place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.jsonl", "--json"], 0).json();
    let numbers = |account: &serde_json::Value| {
        ["rows", "embedded", "cached", "rejected", "title_only", "empty"].map(|name| account[name].as_u64().unwrap())
    };
    assert_eq!(numbers(&first), [4, 3, 1, 0, 1, 1], "{first}");
    assert_eq!(first["provider"], "CPUExecutionProvider");
    assert_eq!(ids_of_jsonl(&place.read("x.jsonl"), "doc_id"), ["a", "b", "c", "d"]);

    let again = ["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "y.jsonl", "--json"];
    let second = place.run(&again, 0).json();
    assert_eq!(numbers(&second), [4, 0, 4, 0, 1, 1], "{second}");
    assert!(second["provider"].is_null());
    assert_eq!(place.read("x.jsonl"), place.read("y.jsonl"));
}

#[test]
fn a_run_that_is_all_cached_needs_no_onnx_runtime() {
    let place = Workplace::new();
    place.write("papers.jsonl", CORPUS);
    place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl"], 0);
    let missing = ["--ort-lib", "nowhere/libonnxruntime.so"];
    let args = ["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.npy", missing[0], missing[1]];
    place.run(&args, 0);
    place.write("more.jsonl", r#"{"id": "e", "title": "Something new"}"#);
    let args = ["embed", "--model", tiny_bundle(), "more.jsonl", missing[0], missing[1]];
    place.run(&args, 2).expect(&["error: ", "nowhere/libonnxruntime.so"]);
}

#[test]
fn files_folders_globs_and_gzip_are_read_in_the_order_given() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let place = Workplace::new();
    std::fs::create_dir(place.path("shards")).unwrap();
    place.write("shards/2.jsonl", "{\"id\": \"s2\", \"title\": \"two\"}\n");
    place.write("shards/1.csv", "id,title,abstract\ns1,\"one, with\na line break\",\ns1b,one b,text\n");
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(b"{\"id\": \"z\", \"title\": \"zipped\"}\n").unwrap();
    place.write("z.jsonl.gz", gz.finish().unwrap());
    place.write("g1.jsonl", "{\"id\": \"g1\", \"title\": \"glob one\"}\n");
    place.write("g2.jsonl", "{\"id\": \"g2\", \"title\": \"glob two\"}\n");
    place.run(&["embed", "--model", tiny_bundle(), "z.jsonl.gz", "shards", "g*.jsonl", "-o", "x.jsonl"], 0);
    assert_eq!(ids_of_jsonl(&place.read("x.jsonl"), "doc_id"), ["z", "s1", "s1b", "s2", "g1", "g2"]);
}

#[test]
fn every_format_has_the_same_numbers() {
    let place = Workplace::new();
    let long = format!("{{\"id\": \"e\", \"title\": \"Long\", \"abstract\": \"{}\"}}\n", "galaxy ".repeat(99).trim());
    place.write("papers.jsonl", format!("{CORPUS}{long}"));
    let with = |output: &str, more: &[&str]| {
        let mut args = vec!["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", output];
        args.extend(more);
        place.run(&args, 0);
    };
    with("x.npy", &[]);
    with("x.jsonl", &["--jsonl-id-key", "paper_id"]);
    with("x.parquet", &[]);
    assert_eq!(place.read("x.ids.txt"), "a\nb\nc\nd\ne\n");
    let npy = std::fs::read(place.path("x.npy")).unwrap();
    let numbers: Vec<f32> = place
        .read("x.jsonl")
        .lines()
        .flat_map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(row["paper_id"].is_string());
            row["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect::<Vec<_>>()
        })
        .collect();
    let body: Vec<f32> = npy[npy.len() - numbers.len() * 4..]
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    assert_eq!(body, numbers);

    let (mut ids, mut embeddings, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for batch in read_parquet(&place.path("x.parquet")) {
        assert_eq!(batch.num_columns(), 4);
        ids.extend(batch["id"].as_string::<i32>().iter().map(|id| id.unwrap().to_owned()));
        let vectors = batch["embedding"].as_fixed_size_list().values();
        embeddings.extend(vectors.as_primitive::<Float32Type>().values().iter().map(|x| x.to_bits()));
        let numbers = |name: &str| batch[name].as_primitive::<UInt32Type>().values().to_vec();
        counts.extend(numbers("n_tokens").into_iter().zip(numbers("n_dropped")));
    }
    assert_eq!(ids, ["a", "b", "c", "d", "e"]);
    assert_eq!(embeddings, body.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
    let reef = "Coral reefs[SEP]Heat waves bleach corals.";
    let galaxies = format!("Long[SEP]{}", "galaxy ".repeat(99).trim());
    assert_eq!(counts, [reef, "Only a title[SEP]", "[SEP]", reef, &galaxies].map(tokens_and_dropped));
}

/// Tokens that the tiny checkpoint's 37 places hold of a text, and tokens that are too many, by the tokenizer itself.
fn tokens_and_dropped(text: &str) -> (u32, u32) {
    let tokenizer = tokenizers::Tokenizer::from_file(tiny_checkpoint().join("tokenizer.json")).unwrap();
    let all = tokenizer.encode(text, true).unwrap().len() as u32;
    (all.min(37), all.saturating_sub(37))
}

#[test]
fn rejected_rows_are_named_and_decide_the_status() {
    let place = Workplace::new();
    let corpus = "{\"id\": \"a\", \"title\": \"fine\"}\n{\"id\": \"b\", \"title\": 7}\nnot json\n{\"id\": \"a\", \"title\": \"other text\"}\n\
                  {\"id\": \"a\", \"title\": \"fine\"}\n{\"id\": \"n\"}\n";
    place.write("papers.jsonl", corpus);
    let args = ["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.jsonl", "--json"];
    let said = place.run(&args, 2);
    said.expect(&["4 rows were rejected", "x.jsonl.rejects.jsonl"]);
    let account = said.json();
    assert_eq!((account["rows"].as_u64(), account["rejected"].as_u64()), (Some(6), Some(4)));
    assert_eq!(account["repeated"], 1);
    let rejects: Vec<serde_json::Value> =
        place.read("x.jsonl.rejects.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<u64> = rejects.iter().map(|row| row["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [2, 3, 4, 6]);
    assert!(rejects.iter().all(|row| row["file"].as_str().unwrap().ends_with("papers.jsonl")));
    assert!(rejects[0]["reason"].as_str().unwrap().contains("title"), "{}", rejects[0]);
    place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.jsonl", "--allow-rejects"], 0);
    assert_eq!(ids_of_jsonl(&place.read("x.jsonl"), "doc_id"), ["a", "a"]);
}

#[test]
fn a_row_that_comes_twice_is_kept_and_mentioned() {
    let place = Workplace::new();
    place.write("a.jsonl", "{\"id\": \"a\", \"title\": \"one\"}\n");
    place.write("b.jsonl", "{\"id\": \"b\", \"title\": \"two\"}\n{\"id\": \"a\", \"title\": \"one\"}\n");
    let args = ["embed", "--model", tiny_bundle(), "a.jsonl", "b.jsonl", "-o", "x.jsonl", "--json"];
    let said = place.run(&args, 0);
    assert_eq!(said.json()["repeated"], 1);
    assert_eq!(ids_of_jsonl(&place.read("x.jsonl"), "doc_id"), ["a", "b", "a"]);
    said.expect(&["warning: 1 row came again with the id and text of an earlier one and was kept"]);
}

#[test]
fn a_text_field_is_used_as_it_is() {
    let place = Workplace::new();
    place.write("a.jsonl", r#"{"id": "a", "sentence": "Coral reefs[SEP]Heat waves bleach corals."}"#);
    place.write("b.jsonl", r#"{"id": "a", "title": "Coral reefs", "abstract": "Heat waves bleach corals."}"#);
    let model = tiny_bundle();
    place.run(&["embed", "--model", model, "a.jsonl", "-o", "a.out.jsonl", "--text-field", "sentence"], 0);
    let second = place.run(&["embed", "--model", model, "b.jsonl", "-o", "b.out.jsonl", "--json"], 0).json();
    assert_eq!(second["cached"], 1, "the cache goes by the rendered text: {second}");
    assert_eq!(place.read("a.out.jsonl"), place.read("b.out.jsonl"));
}

#[test]
fn limits_and_environment_twins_work() {
    let place = Workplace::new();
    place.write("papers.jsonl", CORPUS);
    let mut command = place.offprint(&["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.jsonl"]);
    let output = command.env("OFFPRINT_LIMIT", "2").env("OFFPRINT_JSON", "true").output().unwrap();
    let account = common::Said::new(output, 0).json();
    assert_eq!(account["rows"], 2);
}
