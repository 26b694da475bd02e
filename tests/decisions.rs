//! Promise: heads of every kind, calibrated or not, with thresholds, abstain bands and conformal sets, answer the same
//! from their file and fused into a graph, and what can't be fused says why.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
#[path = "common/fused.rs"]
mod fused;

use std::fs;

use common::Workplace;
use fused::{bundle, head_for, save};
use ndarray::Array2;
use offprint::heads::{
    Calibration, Fitted, Head, HeadDescription, HeadKind, Model, NeighbourTrainer, Neighbours, Steps, Targets,
};
use offprint::model::{Bundle, Conformal, DECISION_FORMAT, Task};
use serde_json::Value;

/// Papers of the words that the tiny tokenizer knows.
fn corpus(place: &Workplace) {
    let words: Vec<&str> =
        "graph neural paper learning protein cell star galaxy model show naive 12 of the".split(' ').collect();
    let text = |n: usize| {
        let length = 1 + n * 7 % 13;
        (0..length).map(|at| words[(n * 31 + at * (n % 5 + 3)) % words.len()]).collect::<Vec<_>>().join(" ")
    };
    let line = |n: usize| format!("{{\"id\": \"{n}\", \"text\": \"{}\"}}\n", text(n));
    place.write("papers.jsonl", (0..60).map(line).collect::<String>());
}

fn lines(place: &Workplace, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.path(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn classify(place: &Workplace, more: &[&str], status: i32) -> common::Said {
    let args = ["classify", "papers.jsonl", "--text-field", "text"];
    place.run(&[&args[..], more].concat(), status)
}

/// A committed head as a support vector machine.
fn margins(name: &str) -> Head {
    let mut head = head_for(&bundle(), name);
    head.kind = HeadKind::Svm;
    head.template_or_field = "text-field text".into();
    head.thresholds = None;
    head
}

/// Heads of every way to decide that a graph has, by name.
fn deciding() -> Vec<(&'static str, Head)> {
    let per_column = |columns: usize| -> (Vec<f64>, Vec<f64>) {
        ((0..columns).map(|at| 1.5 - 0.2 * at as f64).collect(), (0..columns).map(|at| 0.3 * at as f64 - 1.0).collect())
    };
    let platt = |columns: usize| {
        let (slopes, intercepts) = per_column(columns);
        Some(Calibration::Platt { slopes, intercepts })
    };
    let warm = Some(Calibration::Temperature { temperature: 2.5 });
    let sets = Some(Conformal { alpha: 0.2, least: Some(0.15), rows: 100 });
    let made = |name: &str, change: &dyn Fn(&mut Head)| {
        let mut head = margins(name);
        change(&mut head);
        head
    };
    // Many labels: each of the five rows again and again, a little turned.
    let many = || {
        let mut head = margins("topic");
        let linear = head.linear_mut().unwrap();
        let few = linear.clone();
        linear.coefficients = Array2::from_shape_fn((130, 24), |(row, column)| {
            few.coefficients[[row % 5, column]] * (1.0 + (row * 7 + column) as f64 / 900.0)
        });
        linear.intercepts = (0..130).map(|row| few.intercepts[row % 5] + row as f64 / 300.0).collect();
        head.labels = (0..130).map(|row| format!("label {row}")).collect();
        head.calibration = Some(Calibration::Platt { slopes: vec![2.0; 130], intercepts: vec![-3.0; 130] });
        head
    };
    let abstain = [0.4, 0.0, 0.3, 0.2, 0.5].to_vec();
    vec![
        ("margins", margins("topic")),
        ("side", margins("open")),
        ("sides", made("tags", &|head| head.thresholds = Some(vec![-0.5, 0.25, 1.0]))),
        ("normalized", made("topic", &|head| (head.calibration, head.conformal) = (platt(5), sets))),
        ("sigmoid", made("open", &|head| (head.calibration, head.thresholds) = (platt(1), Some(vec![0.3])))),
        ("sigmoids", made("tags", &|head| head.calibration = platt(3))),
        ("softmax", made("topic", &|head| (head.calibration, head.abstain) = (warm.clone(), Some(abstain.clone())))),
        ("one", made("open", &|head| (head.calibration, head.abstain) = (warm.clone(), Some(vec![0.6, 0.7])))),
        ("each", made("tags", &|head| head.calibration = warm.clone())),
        ("many", many()),
        ("years", made("numbers", &|head| head.kind = HeadKind::Ridge)),
    ]
}

fn numbers_in(value: &Value) -> Vec<f64> {
    match value {
        Value::Number(number) => vec![number.as_f64().unwrap()],
        Value::Array(list) => list.iter().flat_map(numbers_in).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_fused_head_decides_as_its_file_does() {
    let place = Workplace::new();
    corpus(&place);
    let heads = deciding();
    let mut args = vec!["fuse".to_owned(), "--model".to_owned(), bundle(), "-o".to_owned(), "fused".to_owned()];
    for (name, head) in &heads {
        save(&place, head, name);
        args.extend(["--head".to_owned(), format!("{name}.head")]);
    }
    place.run(&args.iter().map(String::as_str).collect::<Vec<_>>(), 0).expect(&["and 11 heads in one graph"]);
    assert_eq!(Bundle::open(&place.path("fused")).unwrap().manifest.format, DECISION_FORMAT);
    for (name, head) in &heads {
        let file = format!("{name}.head");
        let top = if head.task == Task::Regression { vec![] } else { vec!["--top-k", "5"] };
        classify(&place, &[&["--model", &bundle(), "--head", &file, "-o", "file.jsonl"][..], &top].concat(), 0);
        classify(&place, &[&["--model", "fused", "--head-name", name, "-o", "graph.jsonl"][..], &top].concat(), 0);
        let (of_file, of_graph) = (lines(&place, "file.jsonl"), lines(&place, "graph.jsonl"));
        assert_eq!((of_file.len(), of_graph.len()), (60, 60));
        let mut labels = std::collections::BTreeSet::new();
        for (file, graph) in of_file.iter().zip(&of_graph) {
            labels.insert(file["label"].to_string() + &file["labels"].to_string());
            for (key, want) in file.as_object().unwrap() {
                let got = &graph[key];
                let (wanted, numbers) = (numbers_in(want), numbers_in(got));
                assert_eq!(wanted.len(), numbers.len(), "{name}: {graph} for {file}");
                let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 2e-6 * a.abs().max(1.0);
                assert!(wanted.iter().zip(&numbers).all(near), "{name}: {graph} for {file}");
                assert!(!wanted.is_empty() || want == got, "{name}: {graph} for {file}");
            }
        }
        assert!(labels.len() > 1 || head.task == Task::Regression, "{name}: all papers are {labels:?}");
        let first = of_file[0].as_object().unwrap();
        let is_score = head.task != Task::Regression && head.calibration.is_none();
        assert_eq!(first.contains_key("score") || first.contains_key("scores"), is_score, "{name}");
        assert_eq!(first.contains_key("label_set"), head.conformal.is_some(), "{name}");
    }
}

#[test]
fn sets_abstentions_and_thresholds_are_in_the_answers() {
    let place = Workplace::new();
    corpus(&place);
    let rows = |name: &str, more: &[&str]| {
        let head = deciding().into_iter().find(|(other, _)| *other == name).unwrap().1;
        save(&place, &head, name);
        let file = format!("{name}.head");
        classify(&place, &[&["--model", &bundle(), "--head", &file, "-o", "got.jsonl"][..], more].concat(), 0);
        (head, lines(&place, "got.jsonl"))
    };
    let (_, sets) = rows("normalized", &["--top-k", "5"]);
    for row in &sets {
        let (labels, probabilities) = (row["labels"].as_array().unwrap(), numbers_in(&row["probabilities"]));
        let held = probabilities.iter().filter(|p| **p as f32 >= 0.15).count();
        assert_eq!(row["label_set"].as_array().unwrap()[..], labels[..held], "{row}");
    }
    let (head, softmax) = rows("softmax", &[]);
    let least =
        |label: &Value| head.abstain.as_ref().unwrap()[head.labels.iter().position(|own| label == own).unwrap()];
    let unknown = softmax.iter().filter(|row| row["label"] == "unknown").count();
    assert!((1..60).contains(&unknown), "{unknown} of 60 papers are unknown");
    for row in softmax.iter().filter(|row| row["label"] != "unknown") {
        assert!(row["probability"].as_f64().unwrap() as f32 >= least(&row["label"]) as f32, "{row}");
    }
    // What is asked takes the place of the head's own.
    let (_, asked) = rows("softmax", &["--min-probability", "0"]);
    assert!(asked.iter().all(|row| row["label"] != "unknown"));
    let (head, sigmoid) = rows("sigmoid", &["--top-k", "2"]);
    for row in &sigmoid {
        let of_second = row["labels"].as_array().unwrap().iter().position(|label| *label == head.labels[1]).unwrap();
        let second = numbers_in(&row["probabilities"])[of_second];
        let expected = &head.labels[usize::from(second as f32 >= 0.3)];
        assert_eq!(row["label"], *expected, "{row}");
    }
}

#[test]
fn sets_and_scores_have_columns_in_csv_and_parquet() {
    let place = Workplace::new();
    corpus(&place);
    for (name, columns) in [("normalized", "id,label,probability,label_set"), ("margins", "id,label,score")] {
        let head = deciding().into_iter().find(|(other, _)| *other == name).unwrap().1;
        save(&place, &head, name);
        let file = format!("{name}.head");
        for output in ["got.csv", "got.parquet", "got.jsonl"] {
            classify(&place, &["--model", &bundle(), "--head", &file, "-o", output], 0);
        }
        let text = fs::read_to_string(place.path("got.csv")).unwrap();
        assert_eq!(text.lines().next().unwrap(), columns);
        let bytes = fs::read(place.path("got.parquet")).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        columns.split(',').for_each(|column| assert!(text.contains(column), "{column}"));
        if name == "normalized" {
            let mut reader = csv::Reader::from_path(place.path("got.csv")).unwrap();
            for (record, row) in reader.records().zip(lines(&place, "got.jsonl")) {
                let set: Value = serde_json::from_str(&record.unwrap()[3]).unwrap();
                assert_eq!(set, row["label_set"]);
            }
        }
    }
}

/// A head of neighbours around vectors that are as long as the bundle's.
fn neighbours() -> Head {
    let rows = Array2::from_shape_fn((6, 24), |(row, column)| ((row * 24 + column) as f32 * 0.7).sin());
    let targets = Targets::Classes { of: vec![0, 1, 2, 0, 1, 2], classes: 3 };
    let model = Model::Neighbours(Neighbours::new(rows, targets, 3, NeighbourTrainer::default()).unwrap());
    let description = HeadDescription {
        labels: ["a", "b", "c"].map(str::to_owned).to_vec(),
        identity: head_for(&bundle(), "topic").identity,
        template_or_field: "text-field text".into(),
        ..HeadDescription::default()
    };
    Head::new(
        (Task::Classification, HeadKind::Neighbours),
        Fitted { model, strength: 3.0, optimality: None },
        description,
    )
    .unwrap()
}

#[test]
fn what_is_no_product_is_not_fused_but_answers_from_its_file() {
    let place = Workplace::new();
    corpus(&place);
    save(&place, &neighbours(), "near");
    let steps = || Steps { at: vec![-1.0, 1.0], value: vec![0.0, 1.0] };
    let isotonic = Some(Calibration::Isotonic { columns: vec![steps(), steps(), steps(), steps(), steps()] });
    let mut stepped = margins("topic");
    stepped.calibration = isotonic;
    save(&place, &stepped, "steps");
    for (name, cause, hint) in [
        (
            "near",
            "a `knn` head has no weights that could become part of a graph",
            "use the head file beside the bundle, or train a linear kind",
        ),
        (
            "steps",
            "an isotonic calibration cannot become part of a graph",
            "use the head file beside the bundle, or calibrate by `platt` or `temperature`",
        ),
    ] {
        let file = format!("{name}.head");
        place.run(&["fuse", "--model", &bundle(), "--head", &file, "-o", "fused"], 2).expect(&[
            &format!("error: head `{file}` cannot be fused"),
            &format!("cause: {cause}"),
            &format!("hint: {hint}"),
        ]);
        assert!(!place.path("fused").exists());
        classify(&place, &["--model", &bundle(), "--head", &file, "--top-k", "5", "-o", "got.jsonl"], 0);
        for row in lines(&place, "got.jsonl") {
            let sum: f64 = numbers_in(&row["probabilities"]).iter().sum();
            assert!((sum - 1.0).abs() < 1e-6, "{row}");
        }
    }
}

#[test]
fn no_probability_is_asked_of_scores() {
    let place = Workplace::new();
    corpus(&place);
    save(&place, &margins("topic"), "margins");
    let said = classify(&place, &["--model", &bundle(), "--head", "margins.head", "--min-probability", "0.5"], 2);
    said.expect(&[
        "error: `--min-probability` is about probabilities, and head `margins` gives scores",
        "hint: train with `--calibration platt`, or leave it out",
    ]);
}
