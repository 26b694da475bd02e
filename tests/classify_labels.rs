//! Promise: what a corpus says is right may be a list, a text with several labels, or numbers, in any format; each is
//! measured by what fits the head, rows that say nothing are left out, and rows that say something else are rejected.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

#[path = "common/classifiers.rs"]
mod classifiers;
mod common;

use std::fs;

use classifiers::{Pipeline, classify, close, corpus, export, pipeline};
use common::Workplace;
use serde_json::{Value, json};

#[test]
fn what_is_right_may_be_a_list_or_a_text_with_several_labels() {
    let place = Workplace::new();
    export(&place, "bert-b");
    // The pipeline gives these labels at 0.5: a b c, c a b, b c.
    let rows = [
        ("a", "", json!(["a", "b", "c"]), "a;b;c", "a b c"),
        ("b", "Graph neural papers", json!(["c", "other"]), " c ; other;", "c other"),
        ("c", "the star and the cell", json!([]), "[]", "[]"),
        ("d", "a", json!(null), "", ""),
    ];
    let mut csv = "id,text,tags\n".to_owned();
    let mut jsonl = String::new();
    for (id, text, list, tags, blanks) in &rows {
        csv.push_str(&format!("{id},{text},{tags}\n"));
        jsonl.push_str(&format!("{}\n", json!({"id": id, "text": text, "tags": list, "words": blanks})));
    }
    place.write("papers.jsonl", jsonl);
    place.write("papers.csv", csv);
    // 4 hits of 5 right and 8 given; by label a 2/3, b 1/2, c 4/5, other 0; by row 1, 2/5, 0.
    let figures = "of 3 papers: micro-F1 0.6154, macro-F1 0.4917, samples-F1 0.4667";
    let unknown = "label in `tags` is none of the head's; it counts as missed";
    let expected = format!("against `tags` {figures}");
    classify(&place, &["--label", "tags", "--report", "r"], 0).expect(&[&expected, &format!("warning: 1 {unknown}")]);
    let said =
        place.run(&["classify", "papers.csv", "--model", "bundle", "--text-field", "text", "--label", "tags"], 0);
    said.expect(&[&expected]);
    let said = classify(&place, &["--label", "words", "--label-separator", " "], 0);
    said.expect(&[&format!("against `words` {figures}")]);
    let report = place.read("r/report.html");
    for part in ["Papers by predicted label", "papers without a label", "samples-F1", "Labels of labelled papers"] {
        assert!(report.contains(part), "{part} is missing");
    }
    place.write("papers.jsonl", "{\"id\": 1, \"text\": \"a\", \"tags\": {}}\n{\"id\": 2, \"text\": \"a\"}\n");
    let said = classify(&place, &["--label", "tags"], 2);
    said.expect(&["1 row was rejected", "warning: nothing was measured: no row says what is right in `tags`"]);
    let rejects = fs::read_dir(place.path("cache/rejects")).unwrap().next().unwrap().unwrap().path();
    let rejected = fs::read_to_string(rejects).unwrap();
    assert!(rejected.contains("`tags` is an object, expected a list of labels"), "{rejected}");
}

#[test]
fn numbers_are_measured_where_rows_have_them() {
    let place = Workplace::new();
    export(&place, "xlm-roberta-a");
    let rows = [(json!(-0.8), "a"), (json!("-1"), "b"), (json!(null), "c"), (json!("soon"), "d")];
    let Pipeline { texts, .. } = pipeline();
    let row = |(at, (y, id)): (usize, &(Value, &str))| format!("{}\n", json!({"id": id, "text": texts[at], "y": y}));
    place.write("papers.jsonl", rows.iter().enumerate().map(row).collect::<String>());
    let said = classify(&place, &["--label", "y", "--report", "r", "--allow-rejects", "-o", "v.jsonl"], 0);
    // Predicted -0.816802 and -1.105571 by the reference: R² is 1 - (0.016802² + 0.105571²) / 0.02.
    said.expect(&["against `y` of 2 papers: R² 0.4286, MAE 0.0612, RMSE 0.0756, Kendall tau-b 1.0000, Pearson 1.0000"]);
    assert!(place.read("v.jsonl.rejects.jsonl").contains("`y` is text, expected a number"));
    let report: Value = serde_json::from_str(&place.read("r/report.json")).unwrap();
    let section = |name: &str| {
        let sections = report["sections"].as_array().unwrap();
        sections.iter().find(|section| section["name"] == name).unwrap_or_else(|| panic!("{name}")).clone()
    };
    let papers: f64 = section("papers_by_predicted_value")["bars"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bar| bar["value"].as_f64().unwrap())
        .sum();
    assert_eq!(papers, 3.0);
    assert!(close(&section("predicted_values")["facts"]["greatest"], -0.816801965));
    assert_eq!(section("quality")["facts"]["labelled papers"], 2);
}

#[test]
fn predictions_are_a_corpus_that_says_what_is_right() {
    let place = Workplace::new();
    export(&place, "bert-b");
    corpus(&place, &pipeline().texts, &json!({}));
    for output in ["given.parquet", "given.jsonl"] {
        classify(&place, &["-o", output, "--keep", "text"], 0);
        let args = ["classify", output, "--model", "bundle", "--text-field", "text", "--label", "labels"];
        place
            .run(&args, 0)
            .expect(&["against `labels` of 6 papers: micro-F1 1.0000, macro-F1 1.0000, samples-F1 1.0000"]);
    }
}
