//! Sets by hand: tasks, numbers, splits, and what is refused.

use std::sync::Arc;

use ndarray::{Array2, array};
use serde_json::{Value, json};

use super::*;
use crate::cache::Key;
use crate::encode::{EmbeddedWindow, RowKey, Sink};
use crate::heads::Error;
use crate::paper::{Label, Origin, Paper, PaperText};

/// A paper with a label, a part of a split, and the values of the fields that are carried along.
fn paper(n: usize, label: Option<Label>, split: Option<&str>, kept: &[Value]) -> Paper {
    Paper {
        id: n.to_string(),
        origin: Origin { file: Arc::from("papers.jsonl"), line: n as u64 + 1 },
        text: PaperText::Plain(format!("text {n}")),
        labels: vec![label],
        split: split.map(str::to_owned),
        adapter: None,
        kept: kept.iter().cloned().map(Some).collect(),
    }
}

fn set(options: TrainingOptions, papers: Vec<Paper>) -> Result<TrainingSet, String> {
    let mut sink = TrainingSink::new(TrainingOptions { dim: 1, ..options }, &[]);
    let embeddings = Array2::from_shape_fn((papers.len(), 1), |(row, _)| row as f32);
    let keys = papers.iter().map(|paper| RowKey { adapter: 0, key: Key::of_text(&paper.id) }).collect();
    let metas = Vec::new();
    sink.window(EmbeddedWindow { papers, embeddings, keys, metas }).map_err(|error| error.to_string())?;
    sink.finish().map_err(|error: Error| error.to_string())
}

fn options() -> TrainingOptions {
    TrainingOptions::new(1, "field")
}

fn one(text: &str) -> Option<Label> {
    Some(Label::One(text.to_owned()))
}

fn several(labels: &[&str]) -> Option<Label> {
    Some(Label::Several(labels.iter().map(|&label| label.to_owned()).collect()))
}

#[test]
fn classes_of_training_rows_come_first_in_the_order_of_their_names() {
    let rows = [("z", Some("train")), ("a", Some("test")), ("m", Some("train")), ("z", None)];
    let papers = rows.iter().enumerate().map(|(n, (label, split))| paper(n, one(label), *split, &[])).collect();
    let set = set(options(), papers).unwrap();
    assert_eq!((set.task(), set.reason), (Task::Classification, TaskReason::Texts));
    assert_eq!(set.classes.names, ["m", "z", "a"]);
    assert_eq!(set.classes.trained, 2);
    assert_eq!(set.targets, Targets::Classes { of: vec![1, 2, 0, 1], classes: 3 });
    assert_eq!(set.without_split, 1);
    assert_eq!(set.parts(), ["train", "test"]);
    assert_eq!(set.learnt(&set.rows_of("train")), Targets::Classes { of: vec![1, 0], classes: 2 });
    assert_eq!((set.is_known(0), set.is_known(1)), (true, false));
    assert_eq!((set.truth_of(1), set.titles[2].as_str()), ("a".to_owned(), "text 2"));
    assert_eq!(set.copied(&[2]), array![[2.0]]);
}

#[test]
fn lists_make_several_labels_and_fractions_a_regression() {
    let train = Some("train");
    let rows = vec![
        paper(0, several(&["b", "a"]), train, &[]),
        paper(1, several(&[]), train, &[]),
        paper(2, one("b; c"), train, &[]),
        paper(3, several(&["d", "b"]), Some("test"), &[]),
    ];
    let lists = set(options(), rows).unwrap();
    assert_eq!((lists.task(), lists.reason), (Task::Multilabel, TaskReason::Lists));
    assert_eq!(lists.classes.names, ["a", "b", "c", "d"]);
    assert_eq!(lists.targets, Targets::Labels { of: vec![vec![0, 1], vec![], vec![1, 2], vec![1, 3]], labels: 4 });
    assert_eq!(lists.learnt(&[3]), Targets::Labels { of: vec![vec![1]], labels: 3 });
    assert_eq!((lists.is_known(3), lists.truth_of(0)), (false, "a; b".to_owned()));

    let numbers =
        |texts: &[&str]| texts.iter().enumerate().map(|(n, text)| paper(n, one(text), train, &[])).collect::<Vec<_>>();
    let fractions = set(options(), numbers(&["1", "2.5", "-3"])).unwrap();
    assert_eq!((fractions.task(), fractions.reason), (Task::Regression, TaskReason::Fractions));
    assert_eq!(fractions.targets, Targets::Numbers(array![[1.0], [2.5], [-3.0]]));
    assert_eq!(fractions.classes.names, ["field"]);
    assert_eq!(set(options(), numbers(&["1", "2", "3"])).unwrap().task(), Task::Classification);
    assert_eq!(set(options(), numbers(&["1", "2.5", "x"])).unwrap().task(), Task::Classification);
    let asked = TrainingOptions { task: Some(Task::Regression), ..options() };
    assert_eq!(set(asked.clone(), numbers(&["1", "2"])).unwrap().reason, TaskReason::Asked);
    let error = set(asked.clone(), numbers(&["1", "x"])).unwrap_err();
    assert_eq!(error, "paper `1` has others as its label, expected a number");
    let error = set(asked, numbers(&["4", "4"])).unwrap_err();
    assert_eq!(error, "target 0 is 4 in all 2 rows, so there is nothing to fit");
    let none = vec![paper(0, several(&[]), train, &[])];
    assert_eq!(set(options(), none).unwrap_err(), "none of the 1 train rows has a label");
}

#[test]
fn without_a_split_a_fifth_is_held_out() {
    let papers = || (0..50).map(|n| paper(n, one(if n.is_multiple_of(2) { "a" } else { "b" }), None, &[])).collect();
    let fifth = set(options(), papers()).unwrap();
    assert_eq!((fifth.rows_of(HELD_OUT).len(), fifth.rows_of(TRAIN).len(), fifth.without_split), (10, 40, 0));
    let split = SplitPlan { by: Some(SplitBy::Random), share: 0.5 };
    assert_eq!(set(TrainingOptions { split, ..options() }, papers()).unwrap().rows_of(HELD_OUT).len(), 25);
    let split = SplitPlan { by: None, share: 1.0 };
    let error = set(TrainingOptions { split, ..options() }, papers()).unwrap_err();
    assert_eq!(error, "the share of held-out rows is 1, expected a number above 0 and below 1");
}

#[test]
fn groups_are_held_out_whole_and_years_from_the_last() {
    let fields = TrainingFields { group: Some(0), year: Some(1), ..TrainingFields::default() };
    let row = |n: usize| {
        let year = if n == 7 { Value::Null } else { json!(2000 + n / 10) };
        paper(n, one(if n.is_multiple_of(2) { "a" } else { "b" }), Some("train"), &[json!(n % 8), year])
    };
    let by = |by, share| {
        let split = SplitPlan { by: Some(by), share };
        set(TrainingOptions { fields, split, ..options() }, (0..100).map(row).collect()).unwrap()
    };
    let groups = by(SplitBy::Group, 0.25);
    let names = groups.groups.as_ref().unwrap();
    let held: Vec<usize> = groups.rows_of(HELD_OUT);
    assert!((20..=40).contains(&held.len()), "{}", held.len());
    assert!(groups.rows_of(TRAIN).iter().all(|&train| held.iter().all(|&held| names[held] != names[train])));
    let years = by(SplitBy::Year, 0.2);
    assert_eq!(years.rows_of(HELD_OUT), (80..100).collect::<Vec<_>>());
    assert_eq!((years.rows_of(TRAIN).len(), years.without_split), (79, 1));
    assert_eq!(by(SplitBy::Year, 0.99).rows_of(TRAIN).len(), 9, "the first year stays");

    let split = SplitPlan { by: Some(SplitBy::Group), share: 0.2 };
    let same = (0..4).map(|n| paper(n, one("a"), None, &[json!("x"), json!(2000)])).collect();
    let error = set(TrainingOptions { fields, split, ..options() }, same).unwrap_err();
    assert_eq!(error, "all rows have the group `x`, and a split by group needs two");
}

#[test]
fn what_a_row_has_to_say_is_asked_of_every_row() {
    let with = |fields, value: Value| {
        let papers = vec![paper(0, one("a"), Some(TRAIN), &[json!(2)]), paper(1, one("b"), Some(TRAIN), &[value])];
        set(TrainingOptions { fields, ..options() }, papers)
    };
    let weight = TrainingFields { weight: Some(0), ..TrainingFields::default() };
    assert_eq!(with(weight, json!("0.5")).unwrap().weights, Some(vec![2.0, 0.5]));
    let error = with(weight, json!(-1)).unwrap_err();
    assert_eq!(error, "paper `1` has -1 as its weight, expected a number of 0 or above");
    let group = TrainingFields { group: Some(0), ..TrainingFields::default() };
    assert_eq!(with(group, Value::Null).unwrap().groups, Some(vec![Some("2".to_owned()), None]));
    let error = with(group, json!([1])).unwrap_err();
    assert_eq!(error, "paper `1` has [1] as its group, expected text, an integer or a boolean");
    assert_eq!(
        with(weight, Value::Null).unwrap_err(),
        "paper `1` has nothing as its weight, expected a number of 0 or above"
    );
    let fold = TrainingFields { fold: Some(0), ..TrainingFields::default() };
    assert_eq!(with(fold, json!("x")).unwrap().folds, Some(vec![Some("2".to_owned()), Some("x".to_owned())]));
    let year = TrainingFields { year: Some(0), ..TrainingFields::default() };
    assert!(with(year, json!("2021-04-30")).is_ok());
    assert_eq!(with(year, json!("soon")).unwrap_err(), "paper `1` has \"soon\" as its year, expected an integer");
}

#[test]
fn labels_that_look_alike_are_found() {
    let labels = ["Reef", "reef", "a  b", "a b", "other"];
    let papers = labels.iter().enumerate().map(|(n, label)| paper(n, one(label), Some("train"), &[])).collect();
    let set = set(options(), papers).unwrap();
    let pair = |a: &str, b: &str| LookAlike { labels: [(a.to_owned(), 1), (b.to_owned(), 1)] };
    assert_eq!(set.look_alikes, [pair("a  b", "a b"), pair("Reef", "reef")]);
}

#[test]
fn labels_of_other_rows_may_look_like_those_of_train_rows() {
    let rows =
        [("math", "train"), ("math", "train"), ("art", "train"), ("Math", "test"), ("Law", "test"), ("law", "test")];
    let papers = rows.iter().enumerate().map(|(n, (label, part))| paper(n, one(label), Some(*part), &[])).collect();
    let found = set(options(), papers).unwrap().look_alikes;
    assert_eq!(found, [LookAlike { labels: [("math".to_owned(), 2), ("Math".to_owned(), 0)] }]);
    let names: Vec<String> = (0..25).flat_map(|n| [format!("label {n}"), format!("Label {n}")]).collect();
    let papers = names.iter().enumerate().map(|(n, label)| paper(n, one(label), Some("train"), &[])).collect();
    assert_eq!(set(options(), papers).unwrap().look_alikes.len(), 25, "all are kept");
}

#[test]
fn named_groups_are_held_out_whole_without_a_word() {
    let fields = TrainingFields { group: Some(0), ..TrainingFields::default() };
    let row = |n: usize, part| paper(n, one(if n.is_multiple_of(2) { "a" } else { "b" }), part, &[json!(n / 10)]);
    let grouped = set(TrainingOptions { fields, ..options() }, (0..100).map(|n| row(n, None)).collect()).unwrap();
    let (held, train) = (grouped.rows_of(HELD_OUT), grouped.rows_of(TRAIN));
    assert_eq!((held.len(), grouped.groups_in(&held), grouped.groups_in(&train)), (20, 2, 8));
    // The corpus' own split goes before.
    let part = |n: usize| Some(if n.is_multiple_of(2) || n < 10 { TRAIN } else { "test" });
    let own = (0..100).map(|n| row(n, part(n))).collect();
    assert_eq!(set(TrainingOptions { fields, ..options() }, own).unwrap().parts(), [TRAIN, "test"]);
    let without = set(options(), (0..4).map(|n| row(n, Some(TRAIN))).collect()).unwrap();
    assert_eq!(without.groups_in(&[0, 1]), 0);
}

#[test]
fn a_split_that_was_asked_for_holds_something_out() {
    let papers =
        || (0..4).map(|n| paper(n, one(if n.is_multiple_of(2) { "a" } else { "b" }), None, &[json!(n % 2)])).collect();
    let of = |by| {
        let fields = TrainingFields { year: Some(0), group: Some(0), ..TrainingFields::default() };
        set(TrainingOptions { fields, split: SplitPlan { by: Some(by), share: 0.2 }, ..options() }, papers())
    };
    let error = of(SplitBy::Stratified).unwrap_err();
    assert_eq!(error, "a share of 0.2 of 4 rows holds none out, expected a split with at least one");
    // A group or a year is a class here: one of them is held out all the same, so one is left to fit on.
    for by in [SplitBy::Group, SplitBy::Year] {
        assert!(of(by).unwrap_err().contains("all 2 train rows have the label"), "{by:?}");
    }
    assert_eq!(set(options(), papers()).unwrap().parts(), [TRAIN], "nobody asked for a split");
}

#[test]
fn a_split_without_train_rows_names_what_it_has() {
    let papers = vec![paper(0, one("a"), Some("test"), &[]), paper(1, one("b"), Some("dev"), &[])];
    let error = set(options(), papers).unwrap_err();
    assert!(error.contains("dev, test"), "{error}");
    let unlabelled = vec![paper(0, None, None, &[])];
    assert_eq!(set(options(), unlabelled).unwrap_err(), "no row has a label (rows read: 1)");
}
