//! Head files of version 3: kinds, calibrations, abstain bands, sets and neighbours come back as they were, and every way
//! in which they can be none is an error.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

#[path = "common/head_bytes.rs"]
mod head_bytes;

use std::error::Error as _;
use std::path::Path;

use head_bytes::{KINDS, assert_same, join, load, sample, saved, split};
use ndarray::array;
use offprint::heads::{
    Calibration, Fitted, Head, HeadDescription, HeadKind, Metric, Model, NeighbourTrainer, Neighbours, Steps, Targets,
    Weighting,
};
use offprint::model::{Conformal, Task};
use serde_json::Value;

/// A head with everything that version 3 has.
fn of_version_3() -> Head {
    let mut head = sample();
    head.kind = HeadKind::Svm;
    let steps = |at: &[f64], value: &[f64]| Steps { at: at.to_vec(), value: value.to_vec() };
    head.calibration = Some(Calibration::Isotonic {
        columns: vec![
            steps(&[-1.5, 0.1 + 0.2, 7.0], &[0.0, 1.0 / 3.0, 1.0]),
            steps(&[0.25], &[0.5]),
            steps(&[-1e300, 2.0], &[0.125, 0.125]),
        ],
    });
    head.abstain = Some(vec![0.5, 1.0 / 7.0, 0.0]);
    head.conformal = Some(Conformal { alpha: 0.1, least: Some(0.3), rows: 120 });
    head
}

#[test]
fn the_committed_head_of_version_3_is_what_is_written_and_read() {
    let path = Path::new("tests/data/heads/version-3.head");
    if std::env::var_os("OFFPRINT_WRITE_FIXTURES").is_some() && !path.exists() {
        of_version_3().save(path).unwrap();
    }
    assert_same(&Head::load(path).unwrap(), &of_version_3());
    assert!(std::fs::read(path).unwrap() == saved(&of_version_3()), "format 3 is written differently now");
}

/// What is said of the head of version 3 with this field.
fn complaint_of_3(key: &str, value: &str) -> String {
    let (mut header, data) = split(&saved(&of_version_3()));
    let metadata = header["__metadata__"].as_object_mut().unwrap();
    metadata.remove("checksum").unwrap();
    metadata.insert(key.to_owned(), value.into());
    load(&join(&header, &data)).unwrap_err().source().unwrap().to_string()
}

#[test]
fn what_version_3_has_is_checked() {
    let calibration = |json: &str| complaint_of_3("calibration", json);
    let not_one = "`calibration` of its metadata is not the JSON object of a calibration";
    for wrong in
        ["{}", r#"{"method": "magic"}"#, r#"{"method": "temperature"}"#, r#"{"method": "platt", "slopes": [1]}"#]
    {
        assert_eq!(calibration(wrong), not_one);
    }
    assert_eq!(
        calibration(r#"{"method": "temperature", "temperature": 0}"#),
        "`calibration.temperature` has 0 at position 0, expected a finite number above 0"
    );
    assert_eq!(
        calibration(r#"{"method": "platt", "slopes": [1, 1], "intercepts": [0, 0, 0]}"#),
        "`calibration.slopes` has length 2, expected 3"
    );
    assert_eq!(
        calibration(r#"{"method": "isotonic", "columns": []}"#),
        "`calibration.columns` has length 0, expected 3"
    );
    let steps = |at: &str, value: &str| {
        let one = format!(r#"{{"at": {at}, "value": {value}}}"#);
        calibration(&format!(r#"{{"method": "isotonic", "columns": [{one}, {one}, {one}]}}"#))
    };
    assert_eq!(steps("[]", "[]"), "`calibration.columns.at` has length 0, expected 1");
    assert_eq!(steps("[1, 2]", "[0.5]"), "`calibration.columns.value` has length 1, expected 2");
    assert_eq!(
        steps("[1, 1]", "[0, 1]"),
        "`calibration.columns.at` has 1 at position 1, expected finite numbers that rise"
    );
    assert_eq!(
        steps("[1, 2]", "[0.5, 0.25]"),
        "`calibration.columns.value` has 0.25 at position 1, expected probabilities that do not fall"
    );
    assert_eq!(
        steps("[1, 2]", "[0.5, 1.25]"),
        "`calibration.columns.value` has 1.25 at position 1, expected probabilities that do not fall"
    );
    assert_eq!(complaint_of_3("abstain", "[0.5]"), "`abstain` has length 1, 3 labels ask for a number each");
    assert_eq!(
        complaint_of_3("abstain", "[0.5, 1.5, 0]"),
        "`abstain` has 1.5 at position 1, expected a probability from 0 to 1"
    );
    assert_eq!(
        complaint_of_3("conformal", "[]"),
        "`conformal` of its metadata is not the JSON object of a conformal set"
    );
    assert_eq!(
        complaint_of_3("conformal", r#"{"alpha": 1, "rows": 9}"#),
        "`conformal.alpha` has 1 at position 0, expected a share above 0 and below 1"
    );
    assert_eq!(
        complaint_of_3("conformal", r#"{"alpha": 0.1, "least": -1, "rows": 9}"#),
        "`conformal.least` has -1 at position 0, expected a probability from 0 to 1"
    );
    assert_eq!(
        complaint_of_3("thresholds", "[0.5]"),
        "it has `thresholds`, which a head for classification cannot have"
    );
    assert_eq!(
        complaint_of_3("kind", "elastic-net"),
        "its kind is `elastic-net`, which a head for classification cannot have"
    );
    assert_eq!(complaint_of_3("kind", "svm2"), format!("`kind` of its metadata is `svm2`, expected {KINDS}"));
}

/// Heads of neighbours for each task, around the same four rows.
fn neighbours(task: Task) -> Head {
    let rows = array![[0.0_f32, 1.0], [1.0, 0.0], [0.5, -0.5], [0.25, 0.75]];
    let (targets, labels) = match task {
        Task::Classification => (Targets::Classes { of: vec![0, 1, 2, 0], classes: 3 }, 3),
        Task::Multilabel => (Targets::Labels { of: vec![vec![0, 1], vec![], vec![1], vec![0]], labels: 2 }, 2),
        Task::Regression => (Targets::Numbers(array![[1.5], [-2.0], [1e-300], [7.0]]), 1),
    };
    let options = NeighbourTrainer { metric: Metric::Cosine, weighting: Weighting::Distance };
    let model = Model::Neighbours(Neighbours::new(rows, targets, 2, options).unwrap());
    let names = ["a", "b", "c"][..labels].iter().map(|&name| name.to_owned()).collect();
    let description = HeadDescription { labels: names, ..HeadDescription::default() };
    let fitted = Fitted { model, strength: 2.0, optimality: None };
    let mut head = Head::new((task, HeadKind::Neighbours), fitted, description).unwrap();
    head.created_by = "offprint, for its tests".into();
    head
}

#[test]
fn neighbours_come_back_for_every_task_and_answer_as_before() {
    let rows = array![[0.1_f32, 0.9], [0.9, 0.2], [-1.0, -1.0]];
    for task in Task::ALL {
        let head = neighbours(task);
        let back = load(&saved(&head)).unwrap();
        assert_same(&back, &head);
        assert_eq!(back.predict(rows.view()).unwrap(), head.predict(rows.view()).unwrap(), "{task}");
        assert_eq!(saved(&back), saved(&head));
        assert_eq!(back.linear(), None);
    }
    let shares = neighbours(Task::Classification).predict(array![[0.0_f32, 2.0]].view()).unwrap();
    assert_eq!(shares, array![[1.0, 0.0, 0.0]], "a row at distance 0 outvotes the others");
}

#[test]
fn the_committed_head_of_neighbours_is_what_is_written_and_read() {
    let path = Path::new("tests/data/heads/version-3-neighbours.head");
    let head = neighbours(Task::Multilabel);
    if std::env::var_os("OFFPRINT_WRITE_FIXTURES").is_some() && !path.exists() {
        head.save(path).unwrap();
    }
    assert_same(&Head::load(path).unwrap(), &head);
    assert!(std::fs::read(path).unwrap() == saved(&head), "neighbours are written differently now");
}

#[test]
fn neighbours_that_are_none() {
    let complaint = |task, change: &dyn Fn(&mut Value, &mut Vec<u8>)| {
        let (mut header, mut data) = split(&saved(&neighbours(task)));
        header["__metadata__"].as_object_mut().unwrap().remove("checksum").unwrap();
        change(&mut header, &mut data);
        let error = load(&join(&header, &data)).unwrap_err();
        let problem = error.source().unwrap();
        let cause = problem.source().map_or(String::new(), |cause| format!(": {cause}"));
        format!("{problem}{cause}")
    };
    let one = Task::Classification;
    let field = |key: &'static str, value: &'static str| {
        complaint(one, &move |header, _| header["__metadata__"][key] = value.into())
    };
    assert_eq!(field("n_neighbors", "2.5"), "`n_neighbors` of its metadata is `2.5`, expected a whole number from 1");
    assert_eq!(field("n_neighbors", "x"), "`n_neighbors` of its metadata is `x`, expected a number");
    assert!(field("n_neighbors", "5").starts_with("its rows and targets cannot be looked up: "));
    let lookup = "`neighbours` of its metadata is not a JSON object of `metric` and `weighting`";
    for wrong in ["{}", r#"{"metric": "l1", "weighting": "uniform"}"#, "2"] {
        assert!(field("neighbours", wrong).starts_with(&format!("{lookup}: ")));
    }
    assert_eq!(field("kind", "svm"), r#"its tensors are ["rows", "targets"], expected ["coefficients", "intercepts"]"#);
    let broken = complaint(one, &|_, data| data[4..8].copy_from_slice(&f32::NAN.to_le_bytes()));
    assert_eq!(broken, "its rows and targets cannot be looked up: row 0 has NaN in column 1, expected finite numbers");
    let beyond = complaint(one, &|_, data| data[36] = 3);
    assert_eq!(beyond, "its rows and targets cannot be looked up: row 1 is of class 3, expected a class below 3");
    let retyped =
        |task, dtype: &'static str| complaint(task, &move |header, _| header["targets"]["dtype"] = dtype.into());
    assert_eq!(retyped(one, "F32"), "tensor `targets` has shape [4], 3 labels ask for [rows] of type U32");
    assert_eq!(
        retyped(Task::Multilabel, "I8"),
        "tensor `targets` has shape [4, 2], 2 labels ask for [rows, 2] of type U8"
    );
    assert_eq!(
        retyped(Task::Regression, "I64"),
        "tensor `targets` has shape [4, 1], 1 labels ask for [rows, 1] of type F64"
    );
    let wide = complaint(one, &|header, _| header["rows"]["dtype"] = "I32".into());
    assert_eq!(wide, "tensor `rows` has shape [4, 2], 3 labels ask for two dimensions of type F32");
    let mut other = neighbours(one);
    other.kind = HeadKind::Svm;
    let error = other.save(Path::new("no/such.head")).unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "its kind is `svm`, its numbers are those of another");
    let mut other = neighbours(one);
    other.strength = Some(3.0);
    let error = other.save(Path::new("no/such.head")).unwrap_err().source().unwrap().to_string();
    assert_eq!(error, "`n_neighbors` of its metadata is `3`, expected the number of its neighbours");
    let mut other = neighbours(Task::Multilabel);
    other.labels.push("c".into());
    let error = other.save(Path::new("no/such.head")).unwrap_err().source().unwrap().to_string();
    assert_eq!(error, "its rows are labelled for multilabel, the head is for multilabel with 3 labels");
}

#[test]
fn scores_have_thresholds_of_any_size_and_probabilities_have_not() {
    let mut head = sample();
    head.labels.pop();
    let linear = head.linear_mut().unwrap();
    linear.coefficients = array![[1.0, 2.0]];
    linear.intercepts = vec![0.0];
    head.kind = HeadKind::Svm;
    head.thresholds = Some(vec![-2.5]);
    assert_same(&load(&saved(&head)).unwrap(), &head);
    let problem = |head: &Head| {
        let error = head.save(Path::new("no/such.head")).unwrap_err();
        error.source().unwrap().to_string()
    };
    head.calibration = Some(Calibration::Temperature { temperature: 2.0 });
    assert_eq!(problem(&head), "`thresholds` has -2.5 at position 0, expected a probability from 0 to 1");
    head.thresholds = Some(vec![0.5, 0.5]);
    assert_eq!(problem(&head), "`thresholds` has length 2, two labels have one: that of the second");
}

#[test]
fn an_older_program_is_told_a_number_where_it_would_misread() {
    let version = |head: &Head| split(&saved(head)).0["__metadata__"]["format"].as_str().unwrap().to_owned();
    assert_eq!(version(&sample()), "1");
    let with = |change: &dyn Fn(&mut Head)| {
        let mut head = sample();
        change(&mut head);
        version(&head)
    };
    assert_eq!(with(&|head| head.kind = HeadKind::Ridge), "3");
    assert_eq!(with(&|head| head.abstain = Some(vec![0.5; 3])), "3");
    assert_eq!(with(&|head| head.conformal = Some(Conformal { alpha: 0.5, least: None, rows: 1 })), "3");
    assert_eq!(with(&|head| head.calibration = Some(Calibration::Temperature { temperature: 2.0 })), "3");
    assert_eq!(with(&|head| head.strength = None), "2");
    let (mut header, data) = split(&saved(&of_version_3()));
    header["__metadata__"]["format"] = "2".into();
    header["__metadata__"].as_object_mut().unwrap().remove("checksum").unwrap();
    let error = load(&join(&header, &data)).unwrap_err().source().unwrap().to_string();
    assert_eq!(error, "`kind` of its metadata is `svm`, expected `logistic` or `linear`");
}
