//! Promise: what a reader of `train`'s figures should doubt is said, and a flag that means nothing for the head that the
//! labels ask for is refused.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use common::{Said, Workplace, tiny_bundle};
use offprint::heads::{Calibration, Head};
use serde_json::{Value, json};

const TOPICS: [(&str, &str); 3] =
    [("reef", "coral ocean fish"), ("alloy", "steel copper lattice"), ("parser", "grammar syntax token")];

/// Rows of three topics; `dev` takes every fourth paper of the topics that it has.
fn papers(rows: usize, dev_has: &[&str]) -> String {
    let row = |n: usize| {
        let (label, words) = TOPICS[n % 3];
        let words: Vec<&str> = words.split(' ').collect();
        let title = format!("{} {} {label} {n}", words[n % 3], words[(n / 3) % 3]);
        let split = match n % 4 {
            0 if dev_has.contains(&label) => "dev",
            1 => "test",
            _ => "train",
        };
        let weight = usize::from(label != "alloy");
        let mut row = json!({ "id": format!("p{n}"), "title": title, "field": label, "split": split, "value": n as f64 / 7.0, "weight": weight });
        let source = if n.is_multiple_of(10) { Value::Null } else { format!("s{}", n % 9).into() };
        row["source"] = source;
        format!("{row}\n")
    };
    (0..rows).map(row).collect()
}

fn train(place: &Workplace, label: &str, more: &[&str], status: i32) -> Said {
    let args = ["train", "--model", tiny_bundle(), "--label", label, "papers.jsonl", "-o", "x.head"];
    place.run(&[&args[..], more].concat(), status)
}

fn place(dev_has: &[&str]) -> Workplace {
    let place = Workplace::new();
    place.write("papers.jsonl", papers(240, dev_has));
    place
}

#[test]
fn a_label_that_dev_lacks_is_calibrated_on_train_and_can_still_be_given() {
    let place = place(&["reef", "parser"]);
    for method in ["platt", "isotonic"] {
        let said = train(&place, "field", &["--calibration", method], 0);
        said.expect(&["on 5-fold on train (dev lacks 1 of 3 labels): f1_macro "]);
        assert!(!said.stderr.contains("figures of dev are better"), "{}", said.stderr);
        place.run(&["classify", "--model", tiny_bundle(), "--head", "x.head", "papers.jsonl", "-o", "p.jsonl"], 0);
        let given = |line: &str| serde_json::from_str::<Value>(line).unwrap()["label"] == "alloy";
        let alloys = place.read("p.jsonl").lines().filter(|line| given(line)).count();
        assert!(alloys > 40, "{method}: {alloys} of 80");
    }
    // One temperature is for all labels, and needs no row of each.
    train(&place, "field", &["--calibration", "temperature"], 0).expect(&["on dev: f1_macro "]);
}

#[test]
fn figures_of_the_rows_that_answers_were_settled_on_are_in_doubt() {
    let place = place(&["reef", "alloy", "parser"]);
    let words = "figures of dev are better than new papers will give, for its rows settled calibration";
    let said = train(&place, "field", &["--calibration", "platt", "--json"], 0);
    said.expect(&[&format!("warning: {words}"), "`--folds 5` leaves that to train"]);
    assert!(said.json()["fit"]["warnings"].to_string().contains(words), "{}", said.stdout);
    assert!(matches!(Head::load(&place.path("x.head")).unwrap().calibration, Some(Calibration::Platt { .. })));
    for more in [&["--calibration", "platt", "--folds", "5"][..], &["--c-grid=0.1,1,10"]] {
        let said = train(&place, "field", more, 0);
        assert!(!said.stderr.contains("figures of dev are better"), "{}", said.stderr);
    }
    // One fold has no spread.
    let said = train(&place, "field", &["--c-grid=0.1,1,10", "--nested"], 0);
    said.expect(&["with the choice inside each fold: f1_macro "]);
    assert!(!said.stderr.contains("spread"), "{}", said.stderr);
}

#[test]
fn a_head_that_says_the_same_of_all_rows_is_said_so() {
    let place = place(&[]);
    let constant = "to every row of train, on which it was fitted: another strength, kind or scale of the numbers";
    place.write("papers.jsonl", papers(240, &[]).replace("\"field\":\"parser\"", "\"field\":\"reef\""));
    for flags in [&["--c", "1e-9"][..], &["--kind", "ridge", "--alpha", "1e12"]] {
        train(&place, "field", flags, 0).expect(&["warning: the head gives `reef`", constant]);
    }
    let said = train(&place, "field", &[], 0);
    assert!(!said.stderr.contains(constant), "{}", said.stderr);
    let nothing = "warning: the head explains nothing of train (r2 ";
    train(&place, "value", &["--kind", "ridge", "--alpha", "1e20"], 0).expect(&[nothing]);
    assert!(!train(&place, "value", &[], 0).stderr.contains(nothing));
}

#[test]
fn rows_without_a_group_or_fold_are_counted() {
    let place = place(&[]);
    let said = train(&place, "field", &["--group-field", "source", "--folds", "3"], 0);
    said.expect(&["warning: 24 rows of train name no `source`: each is a group by itself"]);
    let said = train(&place, "field", &["--fold-field", "source"], 0);
    said.expect(&["warning: 24 rows of train name no `source`: fitted on in every fold, scored in none"]);
}

#[test]
fn flags_that_mean_nothing_for_what_the_labels_ask_for_are_refused() {
    let place = place(&[]);
    let refused = |label: &str, flags: &[&str], parts: &[&str]| {
        train(&place, label, flags, 2).expect(parts);
        assert!(!place.path("x.head").exists());
    };
    refused("value", &["--c-grid"], &["error: `--c-grid` is about logistic and svm, and the head is to be ridge"]);
    refused("value", &["--solver", "linfa"], &["error: `--solver` is about logistic, and the head is to be ridge"]);
    refused(
        "field",
        &["--alpha", "2"],
        &["error: `--alpha` is about ridge and elastic-net, and the head is to be log"],
    );
    let what = "error: `--epsilon` is how far a number may be off, and the task is classification";
    refused("field", &["--kind", "svm", "--epsilon", "0.3"], &[what, "hint: leave it out, or `--task regression`"]);
    train(&place, "value", &["--kind", "svm", "--epsilon", "0.3"], 0);
}

#[test]
fn labels_without_weight_and_numbers_beyond_all_answers_are_named() {
    let place = place(&[]);
    let weights = ["--weight-field", "weight"];
    train(&place, "field", &weights, 2).expect(&["error: no row of train with the label `alloy` has a weight above 0"]);
    place.write("papers.jsonl", papers(240, &[]).replacen("\"value\":0.0", "\"value\":1e39", 1));
    let beyond = "error: paper `p0` has 1e39 as its number, expected one between -3.4028235e38 and 3.4028235e38";
    for kind in ["ridge", "svm", "elastic-net", "knn"] {
        train(&place, "value", &["--kind", kind], 2).expect(&[beyond, "hint: divide the numbers by a common factor"]);
    }
    // One number that is text makes labels of all.
    place.write("papers.jsonl", papers(240, &[]).replacen("\"value\":0.0", "\"value\":\"NaN\"", 1));
    train(&place, "value", &[], 0).expect(&["rows of train have ", "if `value` holds numbers, `--task regression`"]);
}
