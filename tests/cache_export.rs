//! Promise: the rows of one encoder leave the cache in any format, by ascending key, and nothing is left out silently.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use common::{Workplace, read_parquet, tiny_bundle, tiny_reference_bundle};
use offprint::cache::Key;

const CORPUS: &str =
    "{\"id\": \"1\", \"text\": \"star\"}\n{\"id\": \"2\", \"text\": \"cell\"}\n{\"id\": \"3\", \"text\": \"star\"}\n";

fn embed(place: &Workplace, bundle: &str, output: &str) {
    place.write("papers.jsonl", CORPUS);
    place.run(&["embed", "--model", bundle, "papers.jsonl", "--text-field", "text", "-o", output], 0);
}

#[test]
fn rows_go_by_the_hash_of_their_text() {
    let place = Workplace::new();
    embed(&place, tiny_bundle(), "x.jsonl");
    let account = place.run(&["cache", "export", "-o", "keys.jsonl", "--json"], 0).json();
    assert_eq!((account["rows"].as_u64(), account["dim"].as_u64()), (Some(2), Some(24)));
    let rows = |name: &str| -> Vec<serde_json::Value> {
        place.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let papers = rows("x.jsonl");
    let mut expected: Vec<(String, serde_json::Value)> = [("star", 0), ("cell", 1)]
        .map(|(text, at): (&str, usize)| (Key::of_text(text).to_string(), papers[at]["embedding"].clone()))
        .to_vec();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    let got: Vec<(String, serde_json::Value)> = rows("keys.jsonl")
        .iter()
        .map(|row| (row["key"].as_str().unwrap().to_owned(), row["embedding"].clone()))
        .collect();
    assert_eq!(got, expected);

    let said = place.run(&["cache", "export", "-o", "keys.parquet"], 0);
    said.expect(&["2 rows × 24 of encoder ", ": keys.parquet"]);
    let batch = read_parquet(&place.path("keys.parquet")).remove(0);
    let keys: Vec<&str> = batch["key"].as_string::<i32>().iter().map(Option::unwrap).collect();
    assert_eq!(keys, expected.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>());
    let floats = batch["embedding"].as_fixed_size_list().values().as_primitive::<Float32Type>().values().to_vec();
    assert_eq!(floats.len(), 2 * 24);
    place.run(&["cache", "export", "-o", "keys.safetensors"], 0);
    assert_eq!(place.read("keys.ids.txt").lines().collect::<Vec<_>>(), keys);
    let file = fs::read(place.path("keys.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&file).unwrap();
    let bytes: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(file.tensor("embeddings").unwrap().data(), bytes);
}

#[test]
fn of_several_encoders_one_is_chosen() {
    let place = Workplace::new();
    embed(&place, tiny_bundle(), "x.jsonl");
    embed(&place, &tiny_reference_bundle("cls"), "y.jsonl");
    let stat = place.run(&["cache", "stat", "--json"], 0).json();
    let fingerprints: Vec<&str> =
        stat["spaces"].as_array().unwrap().iter().map(|space| space["fingerprint"].as_str().unwrap()).collect();
    let [first, second] = [fingerprints[0], fingerprints[1]];
    let said = place.run(&["cache", "export", "-o", "z.jsonl"], 2);
    said.expect(&["error: the cache holds 2 encoders that could be meant:", &first[..12], &second[..12]]);
    said.expect(&["pooling: mean", "pooling: cls", "normalize: true", &format!("`--encoder {}`", &first[..12])]);
    assert!(!said.stderr.contains("max_length"), "fields that don't differ help nobody: {}", said.stderr);
    let said = place.run(&["cache", "export", "-o", "z.jsonl", "--encoder", "x"], 2);
    said.expect(&["error: there is no cache of encoder `x` in `", "  hint: `offprint cache stat` shows the encoders"]);
    let said = place.run(&["cache", "export", "-o", "z.jsonl", "--encoder", ""], 2);
    said.expect(&["error: an empty fingerprint says nothing about which encoder is meant", "  hint: "]);
    assert!(!place.path("z.jsonl").exists());
    for (flag, fingerprint) in ["--encoder", "--fingerprint"].into_iter().zip(fingerprints) {
        let args = ["cache", "export", "-o", "z.jsonl", "--json", flag, &fingerprint[..8]];
        assert_eq!(place.run(&args, 0).json()["fingerprint"], fingerprint);
    }
}

#[test]
fn an_empty_cache_and_a_missing_folder_are_named() {
    let place = Workplace::new();
    let said = place.run(&["cache", "export", "-o", "x.npy"], 2);
    said.expect(&["error: the cache in `", "` is empty", "  hint: `offprint embed` fills a cache"]);
    embed(&place, tiny_bundle(), "x.jsonl");
    let said = place.run(&["cache", "export", "-o", "none/x.npy"], 2);
    said.expect(&["error: `none/x.npy` cannot be written", "  hint: make the folder first"]);
    let said = place.run(&["cache", "export", "-o", "x.npy", "--compress", "gzip"], 2);
    said.expect(&["error: output `x.npy` is not compressed by gzip"]);
    place.run(&["cache", "export", "--help"], 0);
}

#[test]
fn an_export_without_a_damaged_part_is_none() {
    let place = Workplace::new();
    embed(&place, tiny_bundle(), "x.jsonl");
    let pattern = place.path("cache/embeddings/*/*.arrow");
    let part = glob::glob(pattern.to_str().unwrap()).unwrap().next().unwrap().unwrap();
    let bytes = fs::read(&part).unwrap();
    fs::write(&part, &bytes[..bytes.len() / 2]).unwrap();
    let said = place.run(&["cache", "export", "-o", "keys.jsonl"], 2);
    said.expect(&["error: cache part `", "is damaged", "  hint: `offprint cache verify` sets damaged parts aside"]);
    assert!(!place.path("keys.jsonl").exists());
    place.run(&["cache", "verify"], 1);
    assert_eq!(place.run(&["cache", "export", "-o", "keys.jsonl", "--json"], 0).json()["rows"], 0);
}
