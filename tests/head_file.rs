//! Head files: round trip, the committed format, other tools' files, and every way a file can be no head.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::Path;

use ndarray::array;
use offprint::heads::{
    Calibration, Error, Fitted, Head, HeadDescription, HeadKind, LinearModel, Metric, Model, NeighbourTrainer,
    Neighbours, Optimality, Steps, Targets, Weighting,
};
use offprint::model::{Conformal, Task};
use serde_json::{Value, json};

/// A head with every field filled, the same on every machine.
fn sample() -> Head {
    let fitted = Fitted {
        model: Model::Linear(LinearModel {
            coefficients: array![[0.1, -0.2], [1.0 / 3.0, 1e-300], [-4.5, 0.0]],
            intercepts: vec![0.5, -1.25, 1e17],
        }),
        strength: 0.1,
        optimality: Some(Optimality {
            solver: "newton".into(),
            iterations: 7,
            objective: 1.0 / 7.0,
            bound: "coefficient_error".into(),
            reached: 1e-4,
            allowed: 1e-3,
        }),
    };
    let description = HeadDescription {
        labels: ["cs.CL", "größe \"x\"", ""].map(str::to_owned).to_vec(),
        identity: BTreeMap::from([("pooling".into(), "mean".into()), ("weights".into(), "ab12".into())]),
        template_or_field: "{title}{sep}{abstract}".into(),
        metrics: json!({"f1_macro": 0.1 + 0.2, "rows": 120}),
    };
    let mut head = Head::new((Task::Classification, HeadKind::Logistic), fitted, description).unwrap();
    head.created_by = "offprint, for its tests".into();
    head
}

fn saved(head: &Head) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.head");
    head.save(&path).unwrap();
    std::fs::read(path).unwrap()
}

fn load(bytes: &[u8]) -> Result<Head, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.head");
    std::fs::write(&path, bytes).unwrap();
    Head::load(&path)
}

/// Everything but where the file lay.
fn assert_same(got: &Head, want: &Head) {
    assert_eq!((got.kind, &got.labels, &got.identity), (want.kind, &want.labels, &want.identity));
    assert_eq!((&got.model, got.strength), (&want.model, want.strength));
    assert_eq!((&got.template_or_field, &got.metrics), (&want.template_or_field, &want.metrics));
    assert_eq!((&got.optimality, &got.created_by), (&want.optimality, &want.created_by));
    assert_eq!((&got.calibration, &got.abstain, got.conformal), (&want.calibration, &want.abstain, want.conformal));
    assert_eq!((got.task, &got.thresholds, &got.scaling), (want.task, &want.thresholds, &want.scaling));
    assert_eq!(got.license, want.license);
}

/// The header as JSON and the numbers behind it.
fn split(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

fn join(header: &Value, data: &[u8]) -> Vec<u8> {
    let text = header.to_string().into_bytes();
    [&(text.len() as u64).to_le_bytes()[..], &text, data].concat()
}

/// What `load` says about the sample after `change` (without its checksum, so that the change itself is judged).
fn complaint(change: impl FnOnce(&mut Value, &mut Vec<u8>)) -> String {
    let (mut header, mut data) = split(&saved(&sample()));
    header["__metadata__"].as_object_mut().unwrap().remove("checksum").unwrap();
    change(&mut header, &mut data);
    let error = load(&join(&header, &data)).unwrap_err();
    assert!(
        error.to_string().starts_with("head `") && error.to_string().ends_with("x.head` cannot be used"),
        "{error}"
    );
    error.source().unwrap().to_string()
}

fn set_field(key: &str, value: impl Into<Value>) -> String {
    let value = value.into();
    complaint(|header, _| header["__metadata__"][key] = value)
}

#[test]
fn a_head_comes_back_as_it_was() {
    let head = sample();
    let bytes = saved(&head);
    assert_eq!(bytes, saved(&head), "the same head makes the same bytes");
    let back = load(&bytes).unwrap();
    assert_same(&back, &head);
    assert_eq!(saved(&back), bytes);
}

#[test]
fn the_committed_head_of_version_1_is_what_is_written_and_read() {
    let path = Path::new("tests/data/heads/version-1-optimality.head");
    if std::env::var_os("OFFPRINT_WRITE_FIXTURES").is_some() && !path.exists() {
        sample().save(path).unwrap();
    }
    assert_same(&Head::load(path).unwrap(), &sample());
    assert!(std::fs::read(path).unwrap() == saved(&sample()), "format 1 is written differently now");
}

#[test]
fn a_head_of_version_1_with_the_former_account_of_its_fit_is_read() {
    assert_same(&Head::load(Path::new("tests/data/heads/version-1.head")).unwrap(), &sample());
}

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

const KINDS: &str = "`logistic`, `linear`, `svm`, `ridge`, `elastic-net` or `knn`";

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

#[test]
fn a_head_of_another_tool_needs_no_checksum_and_may_be_f32() {
    let head = Head::load(Path::new("tests/data/heads/foreign.head")).unwrap();
    assert_eq!(head.labels, ["art", "biology", "physics"]);
    let linear = head.linear().unwrap();
    assert_eq!(linear.coefficients, array![[1.0, -2.0], [0.5, 0.25], [-1.5, 1.75]]);
    assert_eq!((&linear.intercepts[..], head.strength), (&[0.0, 1.0, -1.0][..], Some(1.0)));
    assert_eq!(head.optimality, None);
    assert_eq!((head.kind, head.dim()), (HeadKind::Logistic, 2));
}

#[test]
fn no_single_flipped_byte_or_cut_passes_as_another_head() {
    let head = sample();
    let good = saved(&head);
    let mut state = 1_u64;
    let mut draw = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % below
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.head");
    let attempt = |bytes: &[u8], must_equal: bool| {
        std::fs::write(&path, bytes).unwrap();
        if let Ok(loaded) = Head::load(&path) {
            let probabilities = loaded.predict(ndarray::Array2::zeros((1, loaded.dim())).view()).unwrap();
            assert_eq!(probabilities.ncols(), loaded.labels.len());
            if must_equal {
                assert_same(&loaded, &head);
            }
        }
    };
    for position in 0..good.len() {
        let mut bytes = good.clone();
        bytes[position] ^= 1 << draw(8);
        attempt(&bytes, true);
    }
    for _ in 0..600 {
        let mut bytes = good.clone();
        for _ in 0..1 + draw(6) {
            let position = if draw(2) == 0 { draw(bytes.len()) } else { draw(16) };
            bytes[position] = draw(256) as u8;
        }
        attempt(&bytes, false);
    }
    for length in (0..good.len()).step_by(5) {
        std::fs::write(folder.path().join("short.head"), &good[..length]).unwrap();
        Head::load(&folder.path().join("short.head")).unwrap_err();
    }
    let mut longer = good;
    longer.push(0);
    load(&longer).unwrap_err();
}

#[test]
fn sizes_that_do_not_add_up() {
    let text = |bytes: &[u8]| load(bytes).unwrap_err().source().unwrap().to_string();
    assert_eq!(text(b""), "its header needs 8 bytes, the file has 0");
    assert_eq!(text(&[0; 7]), "its header needs 8 bytes, the file has 7");
    assert_eq!(text(&[255; 8]), format!("its header needs {} bytes, the file has 8", u64::MAX));
    let more = [&3_u64.to_le_bytes()[..], b"{}"].concat();
    assert_eq!(text(&more), "its header needs 11 bytes, the file has 10");
    let exact = [&2_u64.to_le_bytes()[..], b"{}"].concat();
    assert_eq!(text(&exact), "its metadata has no `format`");
    assert_eq!(text(&[&2_u64.to_le_bytes()[..], b"no"].concat()), "it is not a valid safetensors file");
}

#[test]
fn a_file_too_large_for_a_head_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.head");
    std::fs::File::create(&path).unwrap().set_len((1 << 30) + 1).unwrap();
    let error = Head::load(&path).unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "it has 1073741825 bytes, heads have 1073741824 at most");
}

#[test]
fn versions_at_the_border() {
    let newer = complaint(|header, _| header["__metadata__"]["format"] = "4".into());
    assert_eq!(newer, "it has format version 4, this program reads up to 3");
    assert_eq!(set_field("format", "0"), "`format` of its metadata is `0`, expected a version number from 1");
    assert_eq!(set_field("format", "-1"), "`format` of its metadata is `-1`, expected a version number from 1");
    // A newer version is told apart before anything else is looked at.
    let hostile = complaint(|header, _| {
        header["__metadata__"] = json!({ "format": "7" });
        header["surprise"] = header["intercepts"].take();
        header.as_object_mut().unwrap().remove("intercepts");
    });
    assert_eq!(hostile, "it has format version 7, this program reads up to 3");
    let (mut header, data) = split(&saved(&sample()));
    header["__metadata__"]["format"] = "4".into();
    let error = load(&join(&header, &data)).unwrap_err();
    assert_eq!(error.hint().unwrap(), "use the version of offprint that wrote it, or train the head again");
}

#[test]
fn metadata_that_is_missing_or_wrong() {
    for key in ["kind", "labels", "identity", "template_or_field", "metrics", "c", "created_by"] {
        let text = complaint(|header, _| {
            header["__metadata__"].as_object_mut().unwrap().remove(key).unwrap();
        });
        assert_eq!(text, format!("its metadata has no `{key}`"));
    }
    assert_eq!(set_field("kind", "svm"), "`kind` of its metadata is `svm`, expected `logistic` or `linear`");
    assert_eq!(set_field("kind", "tree"), format!("`kind` of its metadata is `tree`, expected {KINDS}"));
    assert_eq!(set_field("labels", "[1, 2]"), "`labels` of its metadata is not a JSON list of texts");
    assert_eq!(set_field("identity", "[]"), "`identity` of its metadata is not a JSON object of texts");
    assert_eq!(set_field("metrics", "{"), "`metrics` of its metadata is not JSON");
    assert_eq!(set_field("optimality", "{}"), "`optimality` of its metadata is not the JSON object of a fit");
    assert_eq!(set_field("convergence", "{}"), "`convergence` of its metadata is not the JSON object of a fit");
    assert_eq!(set_field("c", "one"), "`c` of its metadata is `one`, expected a number");
    assert_eq!(set_field("c", "0"), "`c` of its metadata is `0`, expected a finite number above 0");
    assert_eq!(set_field("c", "NaN"), "`c` of its metadata is `NaN`, expected a finite number above 0");
    let long = set_field("kind", "\n".repeat(70));
    assert_eq!(long, format!("`kind` of its metadata is `{}...`, expected {KINDS}", "\u{fffd}".repeat(60)));
}

#[test]
fn labels_that_are_no_labels() {
    assert_eq!(set_field("labels", r#"["a"]"#), "it has 1 labels, expected at least 2");
    assert_eq!(set_field("labels", r#"["a", "b", "a"]"#), "label `a` is there twice (positions 0 and 2)");
    let four = set_field("labels", r#"["a", "b", "c", "d"]"#);
    assert_eq!(four, "tensor `coefficients` has shape [3, 2], 4 labels ask for [4, dim]");
    let two = set_field("labels", r#"["a", "b"]"#);
    assert_eq!(two, "tensor `coefficients` has shape [3, 2], 2 labels ask for [1, dim]");
}

#[test]
fn tensors_that_are_no_head() {
    let shape = |tensor: &'static str, shape: Value| complaint(move |header, _| header[tensor]["shape"] = shape);
    assert_eq!(shape("coefficients", json!([3, 3])), "it is not a valid safetensors file");
    assert_eq!(
        shape("coefficients", json!([2, 3])),
        "tensor `coefficients` has shape [2, 3], 3 labels ask for [3, dim]"
    );
    assert_eq!(
        shape("coefficients", json!([6])),
        "tensor `coefficients` has shape [6], 3 labels ask for two dimensions"
    );
    assert_eq!(
        shape("intercepts", json!([3, 1])),
        "tensor `intercepts` has shape [3, 1], 3 labels ask for one dimension"
    );
    let short = complaint(|header, data| {
        header["intercepts"]["shape"] = json!([2]);
        header["intercepts"]["data_offsets"] = json!([48, 64]);
        data.truncate(64);
    });
    assert_eq!(short, "tensor `intercepts` has shape [2], 3 labels ask for [3]");
    let empty = complaint(|header, data| {
        header["coefficients"] = json!({ "dtype": "F64", "shape": [3, 0], "data_offsets": [0, 0] });
        header["intercepts"]["data_offsets"] = json!([0, 24]);
        data.drain(..48);
    });
    assert_eq!(empty, "tensor `coefficients` has shape [3, 0], 3 labels ask for [3, dim]");
    let integers = complaint(|header, _| header["coefficients"]["dtype"] = "I64".into());
    assert_eq!(integers, "tensor `coefficients` is of type I64, expected F64 or F32");
    let renamed = complaint(|header, _| {
        header["bias"] = header["intercepts"].take();
        header.as_object_mut().unwrap().remove("intercepts");
    });
    assert_eq!(renamed, r#"its tensors are ["bias", "coefficients"], expected ["coefficients", "intercepts"]"#);
    let not_a_number = complaint(|_, data| data[16..24].copy_from_slice(&f64::NAN.to_le_bytes()));
    assert_eq!(not_a_number, "tensor `coefficients` has NaN at position 2, expected finite numbers");
    let infinite = complaint(|_, data| data[64..].copy_from_slice(&f64::INFINITY.to_le_bytes()));
    assert_eq!(infinite, "tensor `intercepts` has inf at position 2, expected finite numbers");
}

#[test]
fn a_damaged_number_is_found_by_the_checksum() {
    let mut bytes = saved(&sample());
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    let text = load(&bytes).unwrap_err().source().unwrap().to_string();
    assert!(text.starts_with("its content has checksum ") && text.contains(", its metadata says "), "{text}");
}

#[test]
fn files_that_cannot_be_read_or_written() {
    let missing = Head::load(Path::new("no/such.head")).unwrap_err();
    assert_eq!(missing.to_string(), "head `no/such.head` could not be read");
    assert!(missing.source().is_some());
    let unwritable = sample().save(Path::new("no/such.head")).unwrap_err();
    assert_eq!(unwritable.to_string(), "head `no/such.head` could not be written");
}

#[test]
fn a_head_that_does_not_fit_together_is_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.head");
    let mut head = sample();
    head.labels.pop();
    let error = head.save(&path).unwrap_err();
    assert_eq!(error.to_string(), "the head cannot be built");
    assert!(!path.exists());
}

#[test]
fn another_encoder_is_refused_with_every_difference() {
    let head = load(&saved(&sample())).unwrap();
    head.check_identity(&head.identity).unwrap();
    let other = BTreeMap::from([("pooling".into(), "cls".into()), ("adapter".into(), "proximity".into())]);
    let error = head.check_identity(&other).unwrap_err();
    let mut chain = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        chain.push(cause.to_string());
        source = cause.source();
    }
    assert!(chain[0].starts_with("head `") && chain[0].ends_with("x.head` was trained on another encoder"));
    assert_eq!(chain[1..], ["adapter: (none) -> proximity", "pooling: mean -> cls", "weights: ab12 -> (none)"]);
    assert_eq!(error.hint().unwrap(), "train it again on this bundle");
    let length = head.check_dim(3).unwrap_err();
    assert!(length.to_string().ends_with("x.head` is for vectors of 2 numbers, the encoder gives 3"), "{length}");
    assert_eq!(length.hint(), None);
    let unsaved = sample().check_identity(&other).unwrap_err();
    assert_eq!(unsaved.to_string(), "the head was trained on another encoder");
}

#[test]
fn rows_that_are_not_for_this_head() {
    let text = |error: Error| error.to_string();
    let wide = array![[0.0_f32, 1.0, 2.0]];
    assert_eq!(text(sample().predict(wide.view()).unwrap_err()), "rows have 3 dimensions, the head was trained on 2");
    let broken = array![[0.0_f32, 1.0], [f32::NAN, 0.0]];
    let not_finite = text(sample().predict(broken.view()).unwrap_err());
    assert_eq!(not_finite, "row 1 has NaN in column 0, expected finite numbers");
    let none = ndarray::Array2::<f32>::zeros((0, 2));
    assert_eq!(sample().predict(none.view()).unwrap().dim(), (0, 3));
}
