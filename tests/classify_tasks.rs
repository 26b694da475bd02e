//! Promise: `classify` runs heads of every task, in a bundle's graph or from a file, and answers as transformers and
//! scikit-learn do; several heads answer in one pass; a flag that means nothing is an error.
//!
//! References: `export/oracle/make_classify_fixtures.py`, `export/oracle/make_head_fixtures.py`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

#[path = "common/classifiers.rs"]
mod classifiers;
mod common;

use std::fs;

use classifiers::{Answers, Pipeline, TOLERANCE, classify, close, corpus, export, lines, pipeline};
use common::{Workplace, root, tiny_reference_bundle};
use offprint::heads::Head;
use offprint::model::{Bundle, GraphHead, GraphMetadata, Task};
use safetensors::SafeTensors;
use serde_json::{Value, json};

/// The probability of each label in a row's lists, in the order of `labels`.
fn by_label(row: &Value, prefix: &str, labels: &[String]) -> Vec<Value> {
    let list = |name: &str| row[format!("{prefix}{name}")].as_array().unwrap().clone();
    let (given, probabilities) = (list("labels"), list("probabilities"));
    assert!(probabilities.is_sorted_by(|a, b| a.as_f64() >= b.as_f64()), "{row}");
    let place = |label: &String| given.iter().position(|given| given == label).unwrap();
    labels.iter().map(|label| probabilities[place(label)].clone()).collect()
}

#[test]
fn fine_tuned_classifiers_answer_as_the_pipeline_of_transformers() {
    let Pipeline { texts, models } = pipeline();
    assert_eq!(models.len(), 5);
    for Answers { checkpoint, labels, rows } in models {
        let place = Workplace::new();
        export(&place, &checkpoint);
        corpus(&place, &texts, &json!({}));
        let task = Bundle::open(&place.path("bundle")).unwrap().manifest.heads[0].task;
        let all = labels.len().to_string();
        let flags: &[&str] = match task {
            Task::Classification => &["--top-k", &all],
            Task::Multilabel => &["--min-probability", "0"],
            Task::Regression => &[],
        };
        classify(&place, &[&["-o", "all.jsonl"], flags].concat(), 0);
        let got = lines(&place, "all.jsonl");
        assert_eq!(got.len(), rows.len());
        for (got, want) in got.iter().zip(&rows) {
            let values = match task {
                Task::Regression if labels.len() == 1 => vec![got["value"].clone()],
                Task::Regression => labels.iter().map(|label| got[label].clone()).collect(),
                _ => by_label(got, "", &labels),
            };
            let fits = values.len() == want.len() && values.iter().zip(want).all(|(got, want)| close(got, *want));
            assert!(fits, "{checkpoint}: {got} for {want:?}");
        }
        if task == Task::Multilabel {
            classify(&place, &["-o", "given.jsonl"], 0);
            for (given, want) in lines(&place, "given.jsonl").iter().zip(&rows) {
                let expected = want.iter().filter(|probability| **probability >= 0.5).count();
                assert_eq!(given["labels"].as_array().unwrap().len(), expected, "{given}");
            }
        }
        assert!(!place.path("cache").exists(), "what a graph answers is not cached, so no cache is opened");
    }
}

/// Row-major numbers of a committed tensor, its last nine rows.
fn reference(name: &str) -> Vec<Vec<f64>> {
    let bytes = fs::read(root().join("tests/data/heads/tasks.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let numbers: Vec<f64> =
        tensor.data().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect();
    let rows: Vec<Vec<f64>> = numbers.chunks_exact(tensor.shape()[1]).map(<[f64]>::to_vec).collect();
    rows[rows.len() - 9..].to_vec()
}

/// A committed head, as one that was trained on the encoder in `bundle`.
fn head_for(place: &Workplace, bundle: &str, name: &str) -> Head {
    let mut head = Head::load(&root().join("tests/data/heads").join(format!("{name}.head"))).unwrap();
    head.identity = Bundle::open(bundle.as_ref()).unwrap().identity().fields().clone();
    head.save(&place.path(&format!("{name}.head"))).unwrap();
    head
}

#[test]
fn head_files_answer_as_scikit_learn_through_the_cache() {
    let place = Workplace::new();
    let bundle = tiny_reference_bundle("cls");
    let text = fs::read_to_string(root().join("tests/data/tiny-bert/cls/reference.json")).unwrap();
    let rows: Value = serde_json::from_str(&text).unwrap();
    let texts: Vec<String> =
        rows["rows"].as_array().unwrap().iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts.len(), 9);
    corpus(&place, &texts, &json!({}));
    for (round, name) in ["topic", "open", "tags", "numbers", "year"].into_iter().enumerate() {
        let head = head_for(&place, &bundle, name);
        let file = format!("{name}.head");
        let flags: &[&str] = match head.task {
            Task::Classification => &["--top-k", "9"],
            Task::Multilabel => &["--min-probability", "0"],
            Task::Regression => &[],
        };
        let args = ["classify", "papers.jsonl", "--model", &bundle, "--text-field", "text", "--head", &file];
        let account = place.run(&[&args, flags, &["-o", "got.jsonl", "--json"]].concat(), 0).json();
        let cached = if round == 0 { 0 } else { 9 };
        assert_eq!((&account["cached"], &account["rows"]), (&json!(cached), &json!(9)), "{name}");
        for (got, want) in lines(&place, "got.jsonl").iter().zip(reference(name)) {
            let values = match head.task {
                Task::Regression if head.labels.len() == 1 => vec![got["value"].clone()],
                Task::Regression => head.labels.iter().map(|label| got[label].clone()).collect(),
                _ => by_label(got, "", &head.labels),
            };
            assert_eq!(values.len(), want.len());
            for (got, want) in values.iter().zip(&want) {
                let difference = (got.as_f64().unwrap() - want).abs();
                assert!(difference <= TOLERANCE * want.abs().max(1.0), "{name}: {got} for {want}");
            }
        }
        if head.task == Task::Multilabel {
            place.run(&[&args[..], &["-o", "given.jsonl"]].concat(), 0);
            let thresholds = head.thresholds.clone().unwrap();
            for (given, want) in lines(&place, "given.jsonl").iter().zip(reference(name)) {
                let expected = want.iter().zip(&thresholds).filter(|(p, threshold)| p >= threshold).count();
                assert_eq!(given["labels"].as_array().unwrap().len(), expected, "{given}");
            }
        }
    }
}

#[test]
fn a_fused_bundle_answers_as_the_heads_in_it() {
    let place = Workplace::new();
    let bundle = tiny_reference_bundle("cls");
    let Pipeline { mut texts, .. } = pipeline();
    let cut = |n: usize| texts[2 + n % 4].split(' ').rev().take(1 + n % 5).collect::<Vec<_>>().join(" ");
    let more: Vec<String> = (0..60).map(cut).collect();
    texts.extend(more);
    corpus(&place, &texts, &json!({}));
    let names = ["topic", "tags", "numbers"];
    let heads = names.map(|name| head_for(&place, &bundle, name));
    let mut args = vec!["fuse", "--model", &bundle, "-o", "bundle"];
    args.extend(["--head", "topic.head", "--head", "tags.head", "--head", "numbers.head"]);
    place.run(&args, 0);
    classify(&place, &["-o", "fused.jsonl"], 0);
    let fused = lines(&place, "fused.jsonl");
    assert_eq!(fused.len(), 66);
    for (head, name) in heads.iter().zip(names) {
        let file = format!("{name}.head");
        let args = ["classify", "papers.jsonl", "--model", &bundle, "--text-field", "text", "--head", &file];
        place.run(&[&args[..], &["-o", "alone.jsonl"]].concat(), 0);
        for (fused, alone) in fused.iter().zip(lines(&place, "alone.jsonl")) {
            for (column, expected) in alone.as_object().unwrap().iter().filter(|(column, _)| *column != "id") {
                let got = &fused[format!("{name}_{column}")];
                let numbers = |value: &Value| -> Vec<f64> {
                    let list = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
                    list.iter().filter_map(Value::as_f64).collect()
                };
                let scale =
                    head.scaling.as_ref().map_or(1.0, |scaling| scaling.scale.iter().copied().fold(0.0, f64::max));
                let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-6 * scale + f64::from(f32::EPSILON) * b.abs();
                let (got_numbers, expected_numbers) = (numbers(got), numbers(expected));
                if expected_numbers.is_empty() {
                    assert_eq!(got, expected, "{column} of {name}: {fused}");
                } else {
                    assert!(got_numbers.len() == expected_numbers.len(), "{column} of {name}: {fused} for {alone}");
                    assert!(got_numbers.iter().zip(&expected_numbers).all(near), "{fused} for {alone}");
                }
            }
        }
    }
}

/// Makes a bundle say that its graph has these heads, in both places where it says so.
fn rewrite_heads(place: &Workplace, change: impl FnOnce(&mut Vec<GraphHead>)) {
    let mut bundle = Bundle::open(&place.path("bundle")).unwrap();
    change(&mut bundle.manifest.heads);
    let end = GraphMetadata::read(&bundle.graph_path()).unwrap().graph_end;
    let mut graph = fs::read(bundle.graph_path()).unwrap();
    graph.truncate(end as usize);
    let field = |number: u8, bytes: &[u8]| {
        let mut length = bytes.len();
        let mut out = vec![(number << 3) | 2];
        while length > 127 {
            out.push((length % 128) as u8 | 128);
            length /= 128;
        }
        out.push(length as u8);
        [out, bytes.to_vec()].concat()
    };
    for (key, value) in bundle.manifest.metadata() {
        let entry = [field(1, key.as_bytes()), field(2, value.as_bytes())].concat();
        graph.extend(field(14, &entry));
    }
    fs::write(bundle.graph_path(), graph).unwrap();
    fs::write(place.path("bundle/bundle.toml"), bundle.manifest.to_toml()).unwrap();
    Bundle::open(&place.path("bundle")).unwrap();
}

/// A bundle with the heads `topic` (one label of no, yes, maybe) and `strength` (three numbers), and papers.
fn two_heads() -> (Workplace, Vec<Vec<f64>>) {
    let place = Workplace::new();
    export(&place, "bert-a");
    rewrite_heads(&place, |heads| {
        let own = heads.remove(0);
        // Nothing but the answers is opened, so `topic` needs no logits of its own.
        let logits = "sentence_embedding".to_owned();
        let names = ["x", "y", "z"].map(str::to_owned).to_vec();
        let strength = GraphHead { task: Task::Regression, labels: names, probabilities: None, ..own.clone() };
        heads.extend([
            GraphHead { name: "topic".into(), logits, ..own },
            GraphHead { name: "strength".into(), ..strength },
        ]);
    });
    let Pipeline { texts, models } = pipeline();
    let truth = json!({"topic": "no", "right": [0.5, "1", 2], "split": "test"});
    corpus(&place, &texts, &truth);
    (place, models.into_iter().find(|model| model.checkpoint == "bert-a").unwrap().rows)
}

#[test]
fn several_heads_answer_in_one_pass() {
    let (place, rows) = two_heads();
    let said = classify(&place, &["-o", "both.jsonl", "--label", "topic=topic,strength=right", "--report", "r"], 0);
    said.expect(&["topic against `topic` of 6 papers: accuracy ", "strength x against `right` of 6 papers: R² "]);
    assert!(said.stdout.starts_with("title"), "{}", said.stdout);
    for column in ["topic_label", "topic_probability", "strength_x", "strength_z"] {
        assert!(said.stdout.lines().next().unwrap().contains(column), "{}", said.stdout);
    }
    for (got, want) in lines(&place, "both.jsonl").iter().zip(&rows) {
        let names: Vec<&String> = got.as_object().unwrap().keys().collect();
        assert_eq!(names, ["id", "strength_x", "strength_y", "strength_z", "topic_label", "topic_probability"]);
        let best = (0..3).max_by(|&a, &b| want[a].total_cmp(&want[b])).unwrap();
        assert_eq!(got["topic_label"], ["no", "yes", "maybe"][best]);
        assert!(close(&got["topic_probability"], want[best]), "{got} for {want:?}");
        // The numbers are the logits that softmax made the probabilities of.
        let exps: Vec<f64> =
            ["x", "y", "z"].map(|name| got[format!("strength_{name}")].as_f64().unwrap().exp()).to_vec();
        let share = exps[best] / exps.iter().sum::<f64>();
        assert!((share - want[best]).abs() <= TOLERANCE, "{got} for {want:?}");
    }
    let report: Value = serde_json::from_str(&place.read("r/report.json")).unwrap();
    let names: Vec<&str> =
        report["sections"].as_array().unwrap().iter().map(|section| section["name"].as_str().unwrap()).collect();
    for name in [
        "topic_papers_by_predicted_label",
        "topic_quality",
        "topic_classes_in_labelled_papers",
        "topic_confusion_in_labelled_papers",
        "strength_papers_by_predicted_value_of_x",
        "strength_quality",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }

    classify(&place, &["-o", "both.csv", "--keep", "split", "--top-k", "2"], 0);
    let header =
        "id,topic_label,topic_probability,topic_label_2,topic_probability_2,strength_x,strength_y,strength_z,split";
    assert_eq!(place.read("both.csv").lines().next().unwrap(), header);
    classify(&place, &["-o", "one.jsonl", "--head-name", "topic", "--label", "topic"], 0);
    for (one, both) in lines(&place, "one.jsonl").iter().zip(lines(&place, "both.jsonl")) {
        assert_eq!((&one["label"], &one["probability"]), (&both["topic_label"], &both["topic_probability"]));
        assert_eq!(one.as_object().unwrap().len(), 3);
    }
}

#[test]
fn flags_that_name_no_head_or_mean_nothing_are_errors() {
    let (place, _) = two_heads();
    let refused = |flags: &[&str], parts: &[&str]| {
        let said = classify(&place, &[flags, &["-o", "out.jsonl"]].concat(), 2);
        said.expect(parts);
        assert!(said.stdout.is_empty() && !place.path("out.jsonl").exists());
    };
    refused(
        &["--head-name", "tropic"],
        &["error: bundle `bundle` has no head `tropic`", "  hint: its heads are `topic`, `strength`"],
    );
    refused(
        &["--label", "topic"],
        &[
            "error: `--label topic` does not say which of the heads `topic`, `strength` it is for",
            "  hint: `--label topic=topic`",
        ],
    );
    refused(
        &["--label", "tropic=topic"],
        &["error: `--label tropic=topic` names no head in use", "  hint: there is `topic`, `strength`"],
    );
    refused(
        &["--label", "topic=topic", "--label", "topic=split"],
        &["error: `--label` is given twice for head `topic`"],
    );
    refused(&["--label", "topic="], &["error: `--label` is `topic=`, expected `FIELD` or `HEAD=FIELD`"]);
    refused(
        &["--head-name", "strength", "--top-k", "2"],
        &[
            "error: `--top-k` is about labels and their probabilities, and head `strength` gives numbers",
            "  hint: leave it out",
        ],
    );
    refused(&["--head-name", "strength", "--min-probability", "0.5"], &["error: `--min-probability` is about labels"]);
    refused(&["--label-separator", "|"], &["error: `--label-separator` is about a `--label` with several labels"]);
    refused(&["--head", "x.head", "--head-name", "topic"], &["cannot be used with"]);
    refused(&["--head", "x.head"], &["error: ", "x.head"]);
    refused(&["--min-probability", "2"], &["error: `--min-probability` is 2, expected 0 to 1"]);
    // With a head that has probabilities beside, both flags mean something.
    classify(&place, &["--min-probability", "0.5", "--top-k", "2"], 0);
}

#[test]
fn several_labels_are_written_as_lists_and_spread_in_csv() {
    let place = Workplace::new();
    export(&place, "bert-b");
    let Pipeline { texts, .. } = pipeline();
    corpus(&place, &texts[2..4], &json!({}));
    let said = classify(&place, &["-o", "all.csv", "--keep", "text"], 0);
    assert!(said.stdout.contains("c 0.871, a 0.861, b 0.699"), "{}", said.stdout);
    let csv = place.read("all.csv");
    let mut rows = csv.lines();
    assert_eq!(rows.next().unwrap().split(',').count(), 1 + 2 * 5 + 1);
    let cells: Vec<&str> = rows.next().unwrap().split(',').collect();
    assert_eq!((cells[1], cells[3], cells[5], cells[7]), ("c", "a", "b", ""));
    classify(&place, &["-o", "two.csv", "--top-k", "2"], 0);
    assert!(place.read("two.csv").starts_with("id,label,probability,label_2,probability_2\np0,c,0.87"));
    classify(&place, &["-o", "sure.jsonl", "--min-probability", "0.865"], 0);
    assert_eq!(lines(&place, "sure.jsonl")[0]["labels"], json!(["c"]));
    assert_eq!(lines(&place, "sure.jsonl")[1]["labels"], json!([]));
    let said = classify(&place, &["--min-probability", "0.865"], 0);
    assert!(said.stdout.lines().nth(3).unwrap().ends_with('–'), "{}", said.stdout);
    classify(&place, &["-o", "p.parquet"], 0);
    let batch = common::read_parquet(&place.path("p.parquet")).remove(0);
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["id", "labels", "probabilities"]);
}

#[test]
fn a_head_file_wins_over_the_heads_of_the_bundle() {
    let place = Workplace::new();
    export(&place, "bert-b");
    corpus(&place, &["a".to_owned()], &json!({}));
    let mut head = Head::load(&root().join("tests/data/heads/tags.head")).unwrap();
    head.identity = Bundle::open(&place.path("bundle")).unwrap().identity().fields().clone();
    let linear = head.linear_mut().unwrap();
    linear.coefficients = linear.coefficients.slice(ndarray::s![.., ..21]).to_owned();
    head.save(&place.path("tags.head")).unwrap();
    let said = classify(&place, &["--head", "tags.head", "-o", "x.jsonl", "--min-probability", "0"], 0);
    said.expect(&["note: `tags.head` is used; what the bundle has itself (`classifier`) is not"]);
    let got = &lines(&place, "x.jsonl")[0];
    assert_eq!(by_label(got, "", &head.labels).len(), 3);
}

#[test]
fn a_bundle_without_heads_says_what_to_give() {
    let place = Workplace::new();
    export(&place, "electra-b");
    corpus(&place, &["a".to_owned()], &json!({}));
    let said = classify(&place, &[], 2);
    said.expect(&[
        "error: bundle `bundle` has no classifier",
        "  hint: give `--head FILE`, put a head into the graph by `offprint fuse`, or export a checkpoint of a sequence",
    ]);
    assert!(!place.path("cache").exists());
}
