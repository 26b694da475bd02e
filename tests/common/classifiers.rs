//! Fine-tuned classifiers for the tests of `classify`, with what transformers says of some texts by them
//! (`export/oracle/make_classify_fixtures.py`).

// Every test file compiles this module for itself and uses its own part of it.
#![allow(dead_code)]

use std::fs;

use serde::Deserialize;
use serde_json::Value;

use crate::common::{Said, Workplace, root};

/// Both sides round f32 in other orders; 2e-7 is measured.
pub const TOLERANCE: f64 = 1e-5;

/// What transformers says of texts.
#[derive(Deserialize)]
pub struct Pipeline {
    pub texts: Vec<String>,
    pub models: Vec<Answers>,
}

#[derive(Deserialize)]
pub struct Answers {
    pub checkpoint: String,
    pub labels: Vec<String>,
    pub rows: Vec<Vec<f64>>,
}

pub fn pipeline() -> Pipeline {
    let text = fs::read_to_string(root().join("tests/data/classify/pipeline.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Exports a classifier of `tests/data/tiny-architectures` as `bundle`.
pub fn export(place: &Workplace, name: &str) {
    let tiny = root().join("tests/data/tiny-architectures");
    fs::create_dir_all(place.path(name)).unwrap();
    for entry in fs::read_dir(tiny.join(name)).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), place.path(name).join(entry.file_name())).unwrap();
    }
    fs::copy(tiny.join("tokenizer.json"), place.path(name).join("tokenizer.json")).unwrap();
    place.run(&["export", "--model", name, "-o", "bundle", "--pooling", "cls"], 0);
}

/// A corpus with these texts and the same fields in each row.
pub fn corpus(place: &Workplace, texts: &[String], more: &Value) {
    let rows = texts.iter().enumerate().map(|(n, text)| {
        let mut row = more.clone();
        row["id"] = format!("p{n}").into();
        row["text"] = text.as_str().into();
        format!("{row}\n")
    });
    place.write("papers.jsonl", rows.collect::<String>());
}

pub fn classify(place: &Workplace, more: &[&str], status: i32) -> Said {
    let mut args = vec!["classify", "papers.jsonl", "--model", "bundle", "--text-field", "text"];
    args.extend(more);
    place.run(&args, status)
}

pub fn lines(place: &Workplace, name: &str) -> Vec<Value> {
    place.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn close(got: &Value, want: f64) -> bool {
    (got.as_f64().unwrap() - want).abs() <= TOLERANCE
}
