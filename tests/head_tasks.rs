//! Promise: heads for every task answer as scikit-learn does, and a head that contradicts its task is an error.
//!
//! The heads and the answers are made by `export/oracle/make_head_fixtures.py`.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use std::error::Error as _;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use offprint::heads::{Error, FORMAT_VERSION, Head, HeadKind, TargetScaling};
use offprint::model::Task;
use safetensors::SafeTensors;
use serde_json::{Value, json};

/// Scikit-learn computes in f64 as we do, so what differs is the rounding to f32 at the end.
const LARGEST_SHARE: f64 = 1e-7;

fn fixture(name: &str) -> PathBuf {
    Path::new("tests/data/heads").join(name)
}

fn head(name: &str) -> Head {
    Head::load(&fixture(name)).unwrap()
}

fn saved(head: &Head) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    head.save(&folder.path().join("x.head")).unwrap();
    std::fs::read(folder.path().join("x.head")).unwrap()
}

fn load(bytes: &[u8]) -> Result<Head, Error> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.head"), bytes).unwrap();
    Head::load(&folder.path().join("x.head"))
}

/// The committed head `name` with its metadata changed.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Result<Head, Error> {
    let bytes = std::fs::read(fixture(name)).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    change(&mut header["__metadata__"]);
    let text = header.to_string().into_bytes();
    load(&[&(text.len() as u64).to_le_bytes()[..], &text, &bytes[8 + length..]].concat())
}

/// What is said of the committed head `name` with this field.
fn complaint(name: &str, key: &str, value: &str) -> String {
    let error = changed(name, |metadata| metadata[key] = value.into()).unwrap_err();
    error.source().unwrap().to_string()
}

#[test]
fn answers_are_those_of_scikit_learn() {
    let bytes = std::fs::read(fixture("tasks.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let rows = tensors.tensor("rows").unwrap();
    let numbers = rows.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    let rows = Array2::from_shape_vec((rows.shape()[0], rows.shape()[1]), numbers).unwrap();
    for (name, task, labels) in [
        ("topic", Task::Classification, 5),
        ("open", Task::Classification, 2),
        ("tags", Task::Multilabel, 3),
        ("numbers", Task::Regression, 2),
        ("year", Task::Regression, 1),
    ] {
        let head = head(&format!("{name}.head"));
        let kind = if task == Task::Regression { HeadKind::Linear } else { HeadKind::Logistic };
        assert_eq!((head.task, head.kind, head.labels.len()), (task, kind, labels));
        let got = head.predict(rows.view()).unwrap();
        let want = tensors.tensor(name).unwrap();
        assert_eq!((want.shape(), got.dim()), (&[rows.nrows(), labels][..], (rows.nrows(), labels)));
        let want = want.data().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()));
        for (number, (&got, want)) in got.iter().zip(want).enumerate() {
            let difference = (f64::from(got) - want).abs();
            assert!(difference <= LARGEST_SHARE * want.abs().max(1e-3), "{name} {number}: {got} for {want}");
        }
        for (row, alone) in rows.rows().into_iter().zip(got.rows()) {
            let row = row.insert_axis(ndarray::Axis(0));
            assert_eq!(head.predict(row).unwrap().row(0), alone, "{name}: a row beside others has other bits");
        }
    }
}

#[test]
fn thresholds_and_scaling_come_with_the_head() {
    assert_eq!(head("tags.head").thresholds.unwrap(), [0.35, 0.5, 0.8]);
    assert_eq!(head("tags.head").license.unwrap(), "CC0-1.0");
    let TargetScaling { mean, scale } = head("numbers.head").scaling.unwrap();
    assert!(mean.len() == 2 && (1950.0..2050.0).contains(&mean[0]) && scale[1] > 1000.0, "{mean:?} {scale:?}");
    let year = head("year.head");
    assert_eq!((year.scaling, year.thresholds, year.strength, year.license), (None, None, None, None));
}

#[test]
fn the_committed_head_of_version_2_is_what_is_written_and_read() {
    assert_eq!(FORMAT_VERSION, 3, "commit a fixture of the new version and keep reading this one");
    let path = fixture("version-2.head");
    let head = head("tags.head");
    if std::env::var_os("OFFPRINT_WRITE_FIXTURES").is_some() && !path.exists() {
        head.save(&path).unwrap();
    }
    let committed = std::fs::read(&path).unwrap();
    assert!(committed == saved(&head), "format 2 is written differently now");
    assert!(saved(&load(&committed).unwrap()) == committed, "a head does not come back as it was");
}

#[test]
fn only_heads_that_older_programs_would_misread_are_of_version_2() {
    let version = |head: &Head| {
        let bytes = saved(head);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        [1, 2].into_iter().find(|version| text.contains(&format!(r#""format":"{version}""#))).unwrap()
    };
    for (name, expected) in [("topic", 1), ("open", 1), ("tags", 2), ("numbers", 2), ("year", 2)] {
        let head = head(&format!("{name}.head"));
        assert_eq!(version(&head), expected, "{name}");
        let back = load(&saved(&head)).unwrap();
        assert_eq!((back.task, back.thresholds, back.scaling), (head.task, head.thresholds, head.scaling));
        assert_eq!((back.model, back.strength), (head.model, head.strength));
    }
    // Version 1 asks for a C.
    let mut without = head("topic.head");
    without.strength = None;
    assert_eq!(version(&without), 2);
    let back = load(&saved(&without)).unwrap();
    assert_eq!((back.task, back.strength), (Task::Classification, None));
}

#[test]
fn a_task_is_named_by_the_version_that_has_tasks() {
    let missing = changed("tags.head", |metadata| drop(metadata.as_object_mut().unwrap().remove("task")));
    assert_eq!(missing.unwrap_err().source().unwrap().to_string(), "its metadata has no `task`");
    assert_eq!(
        complaint("tags.head", "task", "ranking"),
        "`task` of its metadata is `ranking`, expected `classification`, `multilabel` or `regression`"
    );
    assert_eq!(
        complaint("tags.head", "format", "1"),
        "its task is multilabel, which heads of format version 1 cannot have"
    );
    assert_eq!(
        complaint("topic.head", "task", "regression"),
        "its task is regression, which heads of format version 1 cannot have"
    );
    assert_eq!(
        complaint("topic.head", "thresholds", "[0.5, 0.5, 0.5, 0.5, 0.5]"),
        "it has `thresholds`, which a head for classification cannot have"
    );
}

#[test]
fn a_kind_does_what_the_task_asks_for() {
    assert_eq!(
        complaint("numbers.head", "kind", "logistic"),
        "its kind is `logistic`, which a head for regression cannot have"
    );
    assert_eq!(
        complaint("tags.head", "kind", "linear"),
        "its kind is `linear`, which a head for multilabel cannot have"
    );
    assert_eq!(
        complaint("topic.head", "kind", "linear"),
        "its kind is `linear`, which a head for classification cannot have"
    );
    assert_eq!(
        complaint("numbers.head", "task", "multilabel"),
        "its kind is `linear`, which a head for multilabel cannot have"
    );
    assert_eq!(
        complaint("tags.head", "task", "classification"),
        "it has `thresholds`, which a head for classification cannot have"
    );
}

#[test]
fn thresholds_are_a_probability_for_each_label() {
    let thresholds = |list: &str| complaint("tags.head", "thresholds", list);
    assert_eq!(thresholds("[0.5, 0.5]"), "`thresholds` has length 2, 3 labels ask for a number each");
    assert_eq!(thresholds("[0.5, 1.5, 0.5]"), "`thresholds` has 1.5 at position 1, expected a probability from 0 to 1");
    assert_eq!(
        thresholds("[-0.1, 0.5, 0.5]"),
        "`thresholds` has -0.1 at position 0, expected a probability from 0 to 1"
    );
    assert_eq!(thresholds("[null, 0.5, 0.5]"), "`thresholds` of its metadata is not a JSON list of numbers");
    assert_eq!(
        complaint("numbers.head", "thresholds", "[0.5, 0.5]"),
        "it has `thresholds`, which a head for regression cannot have"
    );
}

#[test]
fn scaling_is_two_numbers_for_each_label() {
    let scaling = |value: Value| complaint("numbers.head", "scaling", &value.to_string());
    assert_eq!(
        scaling(json!({"mean": [0], "scale": [1, 1]})),
        "`scaling.mean` has length 1, 2 labels ask for a number each"
    );
    assert_eq!(
        scaling(json!({"mean": [0, 0], "scale": []})),
        "`scaling.scale` has length 0, 2 labels ask for a number each"
    );
    for scale in ["0", "-2.5"] {
        assert_eq!(
            scaling(json!({"mean": [0, 0], "scale": [1, scale.parse::<f64>().unwrap()]})),
            format!("`scaling.scale` has {scale} at position 1, expected a finite number above 0")
        );
    }
    let not_json = "`scaling` of its metadata is not a JSON object of the lists `mean` and `scale`";
    assert_eq!(scaling(json!({"mean": [0, 0]})), not_json);
    assert_eq!(scaling(json!({"mean": [0, 0], "scale": [1, 1], "shift": 1})), not_json);
    assert_eq!(complaint("numbers.head", "scaling", r#"{"mean": [1e999, 0], "scale": [1, 1]}"#), not_json);
    assert_eq!(
        complaint("tags.head", "scaling", r#"{"mean": [0, 0, 0], "scale": [1, 1, 1]}"#),
        "it has `scaling`, which a head for multilabel cannot have"
    );
    // What JSON can't say, a program can.
    let folder = tempfile::tempdir().unwrap();
    let endless = TargetScaling { mean: vec![0.0; 2], scale: vec![1.0, f64::INFINITY] };
    let mut head = head("numbers.head");
    head.scaling = Some(endless);
    let error = head.save(&folder.path().join("x.head")).unwrap_err();
    assert_eq!(error.to_string(), "the head cannot be built");
    assert_eq!(
        error.source().unwrap().to_string(),
        "`scaling.scale` has inf at position 1, expected a finite number above 0"
    );
}

#[test]
fn one_label_is_enough_where_it_is_given_or_not() {
    assert_eq!(complaint("year.head", "labels", "[]"), "it has 0 labels, expected at least 1");
    assert_eq!(complaint("open.head", "labels", r#"["open"]"#), "it has 1 labels, expected at least 2");
    let one = changed("year.head", |metadata| {
        metadata["task"] = "multilabel".into();
        metadata["kind"] = "logistic".into();
    });
    assert_eq!(one.unwrap().predict(Array2::zeros((1, 24)).view()).unwrap().dim(), (1, 1));
    // Two labels of which each may be given need a row of coefficients each.
    let two = changed("open.head", |metadata| {
        metadata["format"] = "2".into();
        metadata["task"] = "multilabel".into();
    });
    assert_eq!(
        two.unwrap_err().source().unwrap().to_string(),
        "tensor `coefficients` has shape [1, 24], 2 labels ask for [2, dim]"
    );
}
