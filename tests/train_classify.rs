//! Promise: labels in, a head out, and predictions that anybody can read; a head serves only its own encoder.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use common::{Workplace, minilm_bundle, read_parquet, root, tiny_bundle, tiny_checkpoint};

const TOPICS: [(&str, &str); 3] =
    [("reef", "coral ocean fish"), ("alloy", "steel copper lattice"), ("parser", "grammar syntax token")];

/// Easy papers: the words of a topic in changing order.
fn corpus(split: impl Fn(usize) -> Option<&'static str>) -> String {
    let mut text = String::new();
    for n in 0..90 {
        let (label, words) = TOPICS[n % 3];
        let words: Vec<&str> = words.split(' ').collect();
        let title = format!("{} {} {label} {n}", words[n % 3], words[(n / 3) % 3]);
        let mut row = serde_json::json!({"id": format!("p{n}"), "title": title, "field": label, "year": 2000 + n});
        if let Some(split) = split(n) {
            row["split"] = split.into();
        }
        text.push_str(&format!("{row}\n"));
    }
    text
}

fn train(place: &Workplace, more: &[&str]) -> common::Said {
    let mut args = vec!["train", "--model", tiny_bundle(), "--label", "field", "papers.jsonl", "-o", "field.head"];
    args.extend(more);
    place.run(&args, 0)
}

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Id, label and probability of every row of `p.parquet`.
fn predictions_of_parquet(place: &Workplace) -> Vec<(String, String, f32)> {
    let mut rows = Vec::new();
    for batch in read_parquet(&place.path("p.parquet")) {
        assert_eq!(batch.num_columns(), 3);
        let text = |name: &str| batch[name].as_string::<i32>();
        let (ids, labels) = (text("id"), text("label"));
        let probabilities = batch["probability"].as_primitive::<Float32Type>();
        rows.extend(
            (0..batch.num_rows()).map(|n| (ids.value(n).into(), labels.value(n).into(), probabilities.value(n))),
        );
    }
    rows
}

#[test]
fn a_head_is_trained_and_classifies_in_every_format() {
    let place = Workplace::new();
    place.write("papers.jsonl", corpus(|_| None));
    train(&place, &["--report", "report"]).expect(&["held_out", "accuracy", "f1_macro", "converged"]);
    assert!(place.read("report/report.html").contains("held_out"));
    let report: serde_json::Value = serde_json::from_str(&place.read("report/report.json")).unwrap();
    assert!(report.is_object());

    let classify = |output: &str, more: &[&str]| {
        let model = tiny_bundle();
        let mut args = vec!["classify", "--model", model, "--head", "field.head", "papers.jsonl", "-o", output];
        args.extend(more);
        place.run(&args, 0)
    };
    let said = classify("p.jsonl", &["--label", "field", "--keep", "year,title", "--top-k", "2"]);
    said.expect(&["against `field` of 90 papers: accuracy "]);
    assert!(said.stdout.starts_with("title"), "{}", said.stdout);
    let rows = lines(&place.read("p.jsonl"));
    assert_eq!(rows.len(), 90);
    assert_eq!(rows[7]["id"], "p7");
    assert_eq!(rows[7]["year"], 2007);
    let ranked = rows[7]["probabilities"].as_array().unwrap();
    assert_eq!(ranked.len(), 2);
    assert_eq!(ranked[0], rows[7]["probability"]);
    assert_eq!(rows[7]["labels"][0], rows[7]["label"]);
    let right = (0..90).filter(|&n| rows[n]["label"] == TOPICS[n % 3].0).count();
    assert!(right > 60, "only {right} of 90 right");

    classify("p.csv", &["--keep", "year", "--top-k", "2"]);
    let csv = place.read("p.csv");
    assert!(csv.starts_with("id,label,probability,label_2,probability_2,year\n"), "{csv}");
    assert_eq!(csv.lines().count(), 91);
    classify("p.parquet", &[]);
    let of_jsonl: Vec<(String, String, f32)> = rows
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            (text("id"), text("label"), row["probability"].as_f64().unwrap() as f32)
        })
        .collect();
    assert_eq!(predictions_of_parquet(&place), of_jsonl);

    classify("u.jsonl", &["--min-probability", "1"]);
    assert!(lines(&place.read("u.jsonl")).iter().all(|row| row["label"] == "unknown"));
}

#[test]
fn a_split_decides_what_is_fitted_and_what_is_only_reported() {
    let place = Workplace::new();
    let split = |n: usize| Some(["train", "dev", "test", "test_group"][(n / 3) % 4]);
    place.write("papers.jsonl", corpus(split));
    train(&place, &["--c-grid"]).expect(&["train", "dev", "test", "test_group", "chosen on dev"]);
    let grid = train(&place, &["--c-grid=0.1,1"]);
    grid.expect(&["chosen on dev"]);

    place.write("papers.jsonl", corpus(|n| Some(if n % 2 == 0 { "train" } else { "test" })));
    train(&place, &["--c-grid"]).expect(&["chosen on 5-fold on train"]);
}

#[test]
fn rows_without_a_label_are_left_out_and_counted() {
    let place = Workplace::new();
    let mut text = corpus(|_| None);
    text.push_str("{\"id\": \"q\", \"title\": \"no label\"}\n{\"id\": \"r\", \"title\": \"null\", \"field\": null}\n");
    place.write("papers.jsonl", text);
    train(&place, &[]).expect(&["2 rows have no `field`"]);
}

#[test]
fn what_cannot_be_trained_on_is_an_error() {
    let place = Workplace::new();
    place.write("one.jsonl", corpus(|_| None).replace("alloy", "reef").replace("parser", "reef"));
    place.write("none.jsonl", "{\"id\": \"a\", \"title\": \"x\", \"field\": null}\n");
    place.write("test.jsonl", corpus(|_| Some("test")));
    let train = |corpus: &str, more: &[&str]| {
        let mut args = vec!["train", "--model", tiny_bundle(), "--label", "field", corpus, "-o", "field.head"];
        args.extend(more);
        let said = place.run(&args, 2);
        assert!(!place.path("field.head").exists());
        said
    };
    train("one.jsonl", &[]).expect(&["error: ", "all 72 train rows have the label `reef`"]);
    train("none.jsonl", &[]).expect(&["error: no row has a label (rows read: 1)"]);
    train("test.jsonl", &[]).expect(&["error: ", "train", "test"]);
    train("one.jsonl", &["--c", "0"]).expect(&["error: `--c` is 0, expected a positive number"]);
}

#[test]
fn a_head_of_another_encoder_is_refused_with_the_difference() {
    let place = Workplace::new();
    place.write("papers.jsonl", corpus(|_| None));
    train(&place, &[]);
    let checkpoint = tiny_checkpoint();
    let model = checkpoint.to_str().unwrap();
    place.run(&["export", "--model", model, "-o", "cls", "--pooling", "cls", "--normalize"], 0);
    let args = ["classify", "--model", "cls", "--head", "field.head", "papers.jsonl", "-o", "p.jsonl"];
    place.run(&args, 2).expect(&["error: head `field.head` was trained on another encoder", "pooling: mean -> cls"]);
    let mut allowed = args.to_vec();
    allowed.push("--allow-encoder-change");
    place.run(&allowed, 0).expect(&["warning: head `field.head` was trained on another encoder"]);

    place.write("bad.head", "not a head");
    let args = ["classify", "--model", tiny_bundle(), "--head", "bad.head", "papers.jsonl"];
    place.run(&args, 2).expect(&["error: ", "bad.head"]);
}

#[test]
fn another_text_source_is_a_warning() {
    let place = Workplace::new();
    place.write("papers.jsonl", corpus(|_| None));
    train(&place, &[]);
    let args = ["classify", "--model", tiny_bundle(), "--head", "field.head", "papers.jsonl", "--text-field", "title"];
    place
        .run(&args, 0)
        .expect(&["warning: head `field.head` was trained with template model-card, now text-field title"]);
}

#[test]
fn the_sample_papers_are_classified_by_the_real_encoder() {
    let Some(bundle) = minilm_bundle() else { return };
    let place = Workplace::new();
    let papers = root().join("examples/papers.jsonl");
    let new = root().join("examples/new-papers.jsonl");
    place.run(&["train", "--model", bundle, "--label", "field", papers.to_str().unwrap(), "-o", "field.head"], 0);
    let (new, label) = (new.to_str().unwrap(), ["--label", "field"]);
    place.run(&["classify", "--model", bundle, "--head", "field.head", new, "-o", "p.jsonl", label[0], label[1]], 0);
    let truth = lines(&std::fs::read_to_string(new).unwrap());
    let right = lines(&place.read("p.jsonl")).iter().zip(&truth).filter(|(p, t)| p["label"] == t["field"]).count();
    assert!(right * 100 >= truth.len() * 90, "{right} of {} right", truth.len());
}
