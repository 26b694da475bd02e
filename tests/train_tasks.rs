//! Promise: `train` fits every kind of head for every task that it serves, says what it decided, and what a head file says
//! is what `classify` gives.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use common::{Workplace, tiny_bundle};
use offprint::heads::{Head, HeadKind, Model};
use serde_json::{Value, json};

const TOPICS: [(&str, &str); 3] =
    [("reef", "coral ocean fish"), ("alloy", "steel copper lattice"), ("parser", "grammar syntax token")];

/// Easy papers with a label, a list of labels, a number and more, in fields of their own.
fn corpus(rows: usize) -> String {
    let mut text = String::new();
    for n in 0..rows {
        let topic = n % 3;
        let (label, words) = TOPICS[topic];
        let words: Vec<&str> = words.split(' ').collect();
        let title = format!("{} {} {label} {n}", words[n % 3], words[(n / 3) % 3]);
        let mut labels = vec![label];
        if n % 5 == 0 {
            labels.push("fifth");
        }
        let row = json!({
            "id": format!("p{n}"), "title": title, "field": label, "labels": labels, "two": if topic == 0 { "yes" } else { "no" },
            "value": topic as f64 + 0.25, "year": 2000 + n / 10, "source": format!("s{}", n % 9), "weight": 1 + n % 2,
            "part": format!("fold {}", (n / 3) % 4),
        });
        text.push_str(&format!("{row}\n"));
    }
    text
}

fn place() -> Workplace {
    let place = Workplace::new();
    place.write("papers.jsonl", corpus(120));
    place
}

fn train(place: &Workplace, label: &str, more: &[&str], status: i32) -> common::Said {
    let args = ["train", "--model", tiny_bundle(), "--label", label, "papers.jsonl", "-o", "x.head"];
    place.run(&[&args[..], more].concat(), status)
}

fn predictions(place: &Workplace) -> Vec<Value> {
    let args = ["classify", "--model", tiny_bundle(), "--head", "x.head", "papers.jsonl", "-o", "p.jsonl"];
    place.run(&args, 0);
    place.read("p.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_kind_classifies() {
    let place = place();
    let kinds: [(&[&str], HeadKind); 7] = [
        (&["--kind", "logistic"], HeadKind::Logistic),
        (&["--kind", "logistic", "--solver", "linfa"], HeadKind::Logistic),
        (&["--kind", "svm"], HeadKind::Svm),
        (&["--kind", "svm", "--loss", "hinge", "--no-intercept"], HeadKind::Svm),
        (&["--kind", "logistic", "--no-intercept"], HeadKind::Logistic),
        (&["--kind", "ridge"], HeadKind::Ridge),
        (&["--kind", "knn", "--weights", "distance"], HeadKind::Neighbours),
    ];
    for (flags, kind) in kinds {
        train(&place, "field", flags, 0).expect(&["task: classification (the field has one label a row)", "held_out"]);
        assert_eq!(Head::load(&place.path("x.head")).unwrap().kind, kind);
        let rows = predictions(&place);
        let right = (0..120).filter(|&n| rows[n]["label"] == TOPICS[n % 3].0).count();
        assert!(right > 80, "{flags:?}: {right} of 120 right");
        let number = if matches!(kind, HeadKind::Svm | HeadKind::Ridge) { "score" } else { "probability" };
        assert!(rows[0][number].is_number(), "{flags:?}: {}", rows[0]);
    }
}

#[test]
fn a_tolerance_is_kept_by_every_kind_that_has_one() {
    let place = place();
    let kinds: [(&str, &[&str]); 5] = [
        ("field", &["--kind", "logistic"]),
        ("field", &["--kind", "logistic", "--solver", "linfa"]),
        ("field", &["--kind", "svm"]),
        ("value", &["--kind", "ridge"]),
        ("value", &["--kind", "elastic-net"]),
    ];
    for (label, flags) in kinds {
        train(&place, label, &[flags, &["--tolerance", "1e-8"]].concat(), 0);
        let optimality = Head::load(&place.path("x.head")).unwrap().optimality.unwrap();
        assert_eq!(optimality.allowed, 1e-8, "{flags:?}");
        assert!(optimality.reached <= 1e-8, "{flags:?}: {}", optimality.reached);
    }
    for tolerance in ["0", "-1", "1", "NaN"] {
        train(&place, "field", &["--tolerance", tolerance], 2).expect(&[
            &format!("error: `--tolerance` is {tolerance}, expected a number above 0 and below 1"),
            "hint: ",
        ]);
    }
    train(&place, "field", &["--kind", "knn", "--tolerance", "0.1"], 2)
        .expect(&["error: `--tolerance` is about logistic, svm, ridge and elastic-net, and the head is to be knn"]);
    train(&place, "value", &["--kind", "ridge", "--tolerance", "1e-40"], 2)
        .expect(&["error: ridge fit with alpha = 1 did not converge", "hint: use a larger alpha or tolerance"]);
}

#[test]
fn lists_of_labels_train_a_head_for_several() {
    let place = place();
    let kinds: [&[&str]; 4] = [
        &["--c", "1000"],
        &["--kind", "svm", "--c", "100"],
        &["--kind", "ridge", "--alpha", "0.001"],
        &["--kind", "knn"],
    ];
    for flags in kinds {
        train(&place, "labels", flags, 0).expect(&["task: multilabel (the field has lists)", "f1_samples"]);
        let head = Head::load(&place.path("x.head")).unwrap();
        assert_eq!(head.labels, ["alloy", "fifth", "parser", "reef"]);
        let rows = predictions(&place);
        let has = |n: usize| rows[n]["labels"].as_array().unwrap().iter().any(|label| *label == TOPICS[n % 3].0);
        let right = (0..120).filter(|&n| has(n)).count();
        assert!(right > 100, "{flags:?}: {right} of 120");
    }
}

#[test]
fn fractions_train_a_regression() {
    let place = place();
    for (flags, kind) in [
        (&[][..], HeadKind::Ridge),
        (&["--kind", "svm", "--epsilon", "0.1"], HeadKind::Svm),
        (&["--kind", "elastic-net", "--l1-ratio", "0.2"], HeadKind::ElasticNet),
        (&["--kind", "knn"], HeadKind::Neighbours),
    ] {
        train(&place, "value", flags, 0).expect(&["task: regression (the field has numbers, with fractions)", "r2"]);
        let head = Head::load(&place.path("x.head")).unwrap();
        assert_eq!((head.kind, head.labels), (kind, vec!["value".to_owned()]));
        let rows = predictions(&place);
        let off = |n: usize| (rows[n]["value"].as_f64().unwrap() - ((n % 3) as f64 + 0.25)).abs();
        let mean = (0..120).map(off).sum::<f64>() / 120.0;
        // Always guessing the mean is off by two thirds.
        assert!(mean < 0.6, "{flags:?}: off by {mean}");
    }
    train(&place, "year", &["--task", "regression"], 0).expect(&["task: regression (as asked for)"]);
}

#[test]
fn the_strength_is_chosen_on_folds_by_an_objective() {
    let place = place();
    let chosen = |more: &[&str]| train(&place, "field", &[&["--c-grid=0.001,1,1000"], more].concat(), 0);
    chosen(&[]).expect(&["(chosen on 5-fold on train by f1_macro)", "± "]);
    chosen(&["--folds", "3", "--objective", "log_loss"]).expect(&["(chosen on 3-fold on train by log_loss)"]);
    chosen(&["--group-field", "source"]).expect(&["5 folds of whole groups of train", "on unseen groups: f1_macro"]);
    chosen(&["--fold-field", "part"]).expect(&["4 named folds of train"]);
    // One strength is measured in folds, too, where any are asked for.
    for (flag, value, on) in [
        ("--folds", "3", "on 3-fold on train: f1_macro"),
        ("--fold-field", "part", "on 4 named folds of train: f1_macro"),
        ("--group-field", "source", "on 5 folds of whole groups of train: f1_macro"),
    ] {
        train(&place, "field", &[flag, value], 0).expect(&[on]);
    }
    train(&place, "field", &["--one-standard-error"], 2)
        .expect(&["error: `--one-standard-error` chooses among heads, and there is one", "--c-grid"]);
    let strict = chosen(&["--one-standard-error", "--nested", "--learning-curve"]);
    strict.expect(&["with the choice inside each fold: f1_macro", "f1_macro by rows: "]);
    let seeded = |seed: &str| {
        train(&place, "field", &["--c-grid", "--seed", seed], 0);
        std::fs::read(place.path("x.head")).unwrap()
    };
    assert_eq!(seeded("1"), seeded("1"));
    for (kind, flag, name) in
        [("ridge", "--alpha-grid=0.01,1", "alpha"), ("knn", "--neighbours-grid=1,5", "n_neighbors")]
    {
        train(&place, "field", &["--kind", kind, flag], 0).expect(&[&format!("{name} = "), "(chosen on 5-fold"]);
    }
    train(&place, "field", &["--c-grid", "1,10"], 2)
        .expect(&["error: corpus `1,10` does not exist", "hint: a grid follows `=`, as in `--c-grid=1,10`"]);
    train(&place, "field", &["--kind", "ridge", "--alpha-grid", "1"], 2).expect(&["as in `--alpha-grid=1`"]);
    assert!(!train(&place, "field", &["2024"], 2).stderr.contains("grid"));
    let said = train(&place, "field", &["--c-grid=1,2,3,1e-6", "--json"], 0);
    let head = Head::load(&place.path("x.head")).unwrap();
    let fit = &said.json()["fit"];
    assert_eq!(fit["strength"].as_f64(), head.strength);
    assert_eq!(fit["selection"]["chosen"].as_f64(), head.strength);
    let points = fit["selection"]["points"].as_array().unwrap();
    assert_eq!(points.iter().map(|point| point["scores"].as_array().unwrap().len()).collect::<Vec<_>>(), [5; 4]);
    assert_eq!(fit["parts"], head.metrics);
    assert_eq!(fit["labels"].as_array().unwrap().len(), 3);
    assert!(fit["optimality"]["reached"].as_f64() <= fit["optimality"]["allowed"].as_f64(), "{fit}");
    assert!(head.strength.unwrap() >= 1.0, "{}", said.stderr);
}

#[test]
fn splits_hold_out_rows_groups_and_years() {
    let place = place();
    train(&place, "field", &["--split", "year", "--split-share", "0.25"], 0)
        .expect(&["logistic regression on 90 rows"]);
    train(&place, "field", &["--split", "group", "--group-field", "source"], 0).expect(&["held_out"]);
    train(&place, "field", &["--split", "random", "--split-share", "0.5"], 0)
        .expect(&["logistic regression on 60 rows"]);
    // Two years with half of the rows each: the later one is held out, though a fifth was meant.
    let halves: Vec<String> = corpus(120)
        .lines()
        .enumerate()
        .map(|(n, line)| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            row["year"] = (2000 + n / 60).into();
            row.to_string()
        })
        .collect();
    place.write("halves.jsonl", halves.join("\n"));
    let of_halves = |more: &[&str], status: i32| {
        let args = ["train", "--model", tiny_bundle(), "--label", "field", "halves.jsonl", "-o", "y.head"];
        place.run(&[&args[..], more].concat(), status)
    };
    of_halves(&["--split", "year"], 0).expect(&["logistic regression on 60 rows", "held_out"]);
    // Named groups are held out whole without a word.
    let said = of_halves(&["--group-field", "year"], 0);
    said.expect(&["logistic regression on 60 rows", "held_out", "warning: the train rows are of 1 group, too few"]);
    of_halves(&["--split", "stratified", "--split-share", "0.001"], 2)
        .expect(&["error: a share of 0.001 of 120 rows holds none out", "hint: "]);
    of_halves(&["--split-share", "0.001"], 0).expect(&["warning: no row is held out"]);
    train(&place, "field", &["--split", "group"], 2)
        .expect(&["error: `--split group` is given without `--group-field`"]);
    train(&place, "field", &["--year-field", "year"], 2).expect(&["error: `--year-field` is given without"]);
    let said = train(&place, "field", &["--split-share", "1"], 2);
    said.expect(&["error: `--split-share` is 1, expected a number above 0 and below 1"]);
}

#[test]
fn weights_count_and_knn_refuses_them() {
    let place = place();
    let coefficients = |more: &[&str]| {
        train(&place, "field", more, 0);
        match Head::load(&place.path("x.head")).unwrap().model {
            Model::Linear(linear) => linear.coefficients,
            Model::Neighbours(_) => panic!("a linear head is expected"),
        }
    };
    let plain = coefficients(&[]);
    assert_ne!(coefficients(&["--weight-field", "weight"]), plain);
    // Three classes of as many rows: balanced weights are all the same.
    let balanced = coefficients(&["--class-weight", "balanced"]);
    let largest = (&balanced - &plain).iter().fold(0.0, |largest: f64, d| largest.max(d.abs()));
    assert!(largest < 0.05, "{largest}");
    train(&place, "field", &["--kind", "knn", "--weight-field", "weight"], 2).expect(&["error: ", "weigh"]);
    train(&place, "value", &["--class-weight", "balanced"], 2).expect(&["error: ", "classes can be weighted only"]);
    place.write("papers.jsonl", corpus(120).replacen("\"weight\":1", "\"weight\":-1", 1));
    train(&place, "field", &["--weight-field", "weight"], 2).expect(&["has -1 as its weight", "paper `p0`"]);
}

#[test]
fn answers_are_settled_on_rows_that_were_left_out() {
    let place = place();
    for method in ["temperature", "platt", "isotonic"] {
        for kind in ["logistic", "svm"] {
            let said = train(&place, "field", &["--kind", kind, "--calibration", method], 0);
            said.expect(&[&format!("calibration: {method}, on rows that were left out of the fits")]);
            let head = Head::load(&place.path("x.head")).unwrap();
            assert_eq!(head.calibration.unwrap().method().to_string(), method);
            let rows = predictions(&place);
            assert!((0.0..=1.0).contains(&rows[0]["probability"].as_f64().unwrap()), "{kind} {method}: {}", rows[0]);
        }
    }
    train(&place, "two", &["--thresholds", "recall=0.9"], 0).expect(&["threshold: "]);
    assert_eq!(Head::load(&place.path("x.head")).unwrap().thresholds.unwrap().len(), 1);
    train(&place, "labels", &["--thresholds", "f1"], 0).expect(&["thresholds: 4, from "]);
    assert_eq!(Head::load(&place.path("x.head")).unwrap().thresholds.unwrap().len(), 4);
    train(&place, "field", &["--thresholds", "precision=0.9"], 0);
    assert_eq!(Head::load(&place.path("x.head")).unwrap().abstain.unwrap().len(), 3);
    train(&place, "field", &["--thresholds", "f1"], 2).expect(&["error: `f1` chooses a threshold for each label"]);
    train(&place, "field", &["--thresholds", "f2"], 2).expect(&["error: `f2` is no rule for thresholds"]);
    train(&place, "field", &["--conformal", "0.1"], 0).expect(&["held_out: ", "of the sets hold the right label"]);
    assert_eq!(Head::load(&place.path("x.head")).unwrap().conformal.unwrap().alpha, 0.1);
    assert!(predictions(&place)[0]["label_set"].is_array());
    train(&place, "labels", &["--conformal", "0.1"], 2).expect(&["error: sets of labels are for one label of several"]);
    train(&place, "field", &["--abstain", "0.99"], 0);
    assert!(predictions(&place).iter().any(|row| row["label"] == "unknown"));
    train(&place, "field", &["--abstain", "1.5"], 2).expect(&["error: `--abstain` is 1.5"]);
    let said = train(&place, "field", &["--kind", "svm", "--abstain", "0.5"], 2);
    said.expect(&["error: 0.5 is a probability, and a head of the kind svm gives scores", "`--calibration platt`"]);
    train(&place, "field", &["--kind", "svm", "--abstain", "0.5", "--calibration", "platt"], 0);
    train(&place, "labels", &["--abstain", "0.9"], 2)
        .expect(&["error: a head gives no label where it is unsure only if"]);
}

#[test]
fn flags_of_another_kind_or_task_are_refused() {
    let place = place();
    let refused = |label: &str, more: &[&str], parts: &[&str]| {
        train(&place, label, more, 2).expect(parts);
        assert!(!place.path("x.head").exists());
    };
    refused(
        "field",
        &["--kind", "svm", "--alpha", "1"],
        &["error: `--alpha` is about ridge and elastic-net, and the head is to be svm"],
    );
    refused(
        "field",
        &["--neighbours", "3"],
        &["error: `--neighbours` is about knn, and the head is to be logistic or ridge", "hint: "],
    );
    refused("value", &["--kind", "logistic"], &["error: `--kind logistic` cannot be fitted for regression", "`ridge`"]);
    refused(
        "field",
        &["--kind", "elastic-net", "--task", "classification"],
        &["`--kind elastic-net` cannot be fitted for classification"],
    );
    refused(
        "field",
        &["--kind", "svm", "--loss", "epsilon"],
        &["error: `--loss epsilon` is no loss for classification"],
    );
    refused(
        "field",
        &["--objective", "r2"],
        &["error: `--objective r2` says nothing about classification", "f1_macro"],
    );
    refused("field", &["--objective", "beauty"], &["error: "]);
    refused("field", &["--task", "regression"], &["error: no row has a label"]);
    refused(
        "field",
        &["--kind", "knn", "--neighbours", "0"],
        &["error: `--neighbours` is 0, expected a positive number"],
    );
    refused("value", &["--task", "regression", "--calibration", "platt"], &["error: `--calibration` is about labels"]);
    refused("field", &["--folds", "1"], &["error: "]);
}

#[test]
fn labels_that_look_alike_and_unknown_ones_are_said() {
    let place = Workplace::new();
    let text = corpus(120).replacen("\"field\":\"reef\"", "\"field\":\"Reef\"", 20);
    place.write("papers.jsonl", text);
    train(&place, "field", &[], 0).expect(&["labels `Reef` (", "and `reef` (", "differ by case or blanks alone"]);
    // Seven spellings of a label in other rows alone: five pairs are named, the others counted.
    let mut text = String::new();
    for (n, line) in corpus(120).lines().enumerate() {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row["split"] = if n < 14 { "test".into() } else { "train".into() };
        if n < 7 {
            row["field"] = format!("{}alloy", " ".repeat(n + 1)).into();
        }
        text.push_str(&format!("{row}\n"));
    }
    place.write("papers.jsonl", text);
    let said = train(&place, "field", &[], 0);
    said.expect(&[" (no train row) differ by case or blanks alone", "2 more pairs of labels differ by case or blanks"]);
    let mut text = String::new();
    for (n, line) in corpus(120).lines().enumerate() {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row["split"] = if n % 4 == 0 { "test".into() } else { "train".into() };
        if n % 40 == 0 {
            row["field"] = "unheard".into();
        }
        text.push_str(&format!("{row}\n"));
    }
    place.write("papers.jsonl", text);
    train(&place, "field", &[], 0).expect(&["3 rows of test have a label that no train row has"]);
    let said = train(&place, "field", &["--unknown-labels", "leave-out"], 0);
    said.expect(&["3 rows of test were left out: no train row has the label"]);
    train(&place, "field", &["--unknown-labels", "refuse"], 2)
        .expect(&["error: paper `p0` of test has the label `unheard`, which no train row has"]);
}

#[test]
fn targets_and_rows_that_cannot_be_fitted_are_errors() {
    let place = Workplace::new();
    place.write(
        "papers.jsonl",
        corpus(60).replace("\"value\":0.25", "\"value\":1.25").replace("\"value\":2.25", "\"value\":1.25"),
    );
    train(&place, "value", &[], 2).expect(&["error: target 0 is 1.25 in all 48 rows, so there is nothing to fit"]);
    place.write("papers.jsonl", corpus(60).replace("\"value\":0.25", "\"value\":1e200"));
    let said = train(&place, "value", &[], 2);
    said.expect(&["error: paper `p0` has 1e200 as its number, expected one between "]);
    place.write("papers.jsonl", corpus(12));
    train(&place, "field", &["--c-grid", "--folds", "50"], 2).expect(&["error: ", "50 folds"]);
    train(&place, "field", &["--c-grid", "--group-field", "year"], 2).expect(&["error: ", "groups"]);
    train(&place, "field", &["--kind", "knn", "--neighbours", "500"], 2).expect(&["error: n_neighbors is 500"]);
    train(&place, "field", &["--c", "-1"], 2).expect(&["error: `--c` is -1, expected a positive number"]);
    train(&place, "field", &["--task", "regression"], 2).expect(&[
        "error: no row has a label",
        "hint: 12 rows were rejected; each stands with its reason in x.head.rejects",
    ]);
}

#[test]
fn twins_across_parts_are_found() {
    let place = Workplace::new();
    let mut text = corpus(60);
    for (n, line) in corpus(12).lines().enumerate() {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row["id"] = format!("copy {n}").into();
        row["split"] = "test".into();
        text.push_str(&format!("{row}\n"));
    }
    let text: Vec<String> = text
        .lines()
        .map(|line| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            if row.get("split").is_none() {
                row["split"] = "train".into();
            }
            row.to_string()
        })
        .collect();
    place.write("papers.jsonl", text.join("\n"));
    train(&place, "field", &[], 0).expect(&["warning: 12 of 12 rows of test are also in train (12 exactly, 0 nearly)"]);
    let off = train(&place, "field", &["--near-duplicates", "off"], 0);
    off.expect(&["warning: 12 of 12 rows of test are also in train exactly; near ones were not looked for"]);
    for wrong in ["0", "1.01", "nan", "on"] {
        train(&place, "field", &["--near-duplicates", wrong], 2).expect(&[
            &format!("`--near-duplicates` is `{wrong}`, expected a cosine above 0 and at most 1, or `off`"),
            "hint: 0.98 finds texts that differ by a few words",
        ]);
    }
}

#[test]
fn rows_of_seen_and_unseen_groups_are_told_apart() {
    let place = Workplace::new();
    let mut text = String::new();
    for (n, line) in corpus(120).lines().enumerate() {
        let mut row: Value = serde_json::from_str(line).unwrap();
        let (split, source) = match n {
            0..60 => ("train", format!("s{}", n % 6)),
            60..90 => ("test", format!("s{}", n % 12)),
            _ => ("test_group", format!("other {}", n % 4)),
        };
        (row["split"], row["source"]) = (split.into(), source.into());
        text.push_str(&format!("{row}\n"));
    }
    place.write("papers.jsonl", text);
    let said = train(&place, "field", &["--group-field", "source", "--report", "report", "--json"], 0);
    let groups = &said.json()["fit"]["seen_groups"];
    assert_eq!((groups["seen_rows"].as_u64(), groups["unseen_rows"].as_u64()), (Some(18), Some(42)));
    said.expect(&[
        "test: f1_macro ",
        " on 18 rows of groups that train has, ",
        " on 12 rows of others; lost ",
        "test_group: 30 rows, all of groups that train lacks",
        "test and test_group: f1_macro ",
        " on 42 rows of others; lost ",
    ]);
    let report: Value = serde_json::from_str(&place.read("report/report.json")).unwrap();
    let facts = |title: &str| {
        let sections = report["sections"].as_array().unwrap();
        sections.iter().find(|section| section["title"] == title).unwrap()["facts"].clone()
    };
    assert_eq!(facts("Figures of test")["rows of groups that train has"], 18);
    assert_eq!(facts("Figures of test_group")["rows of other groups"], 30);
    assert!(facts("Figures of test")["f1_macro lost on other groups"].is_string());
    assert_eq!(facts("Beyond these rows")["test and test_group: rows of other groups"], 42);
}
