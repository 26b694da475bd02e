//! A head with every field filled, and heads as bytes.

// Every test file compiles this module for itself and uses its own part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;

use ndarray::array;
use offprint::heads::{Error, Fitted, Head, HeadDescription, HeadKind, LinearModel, Model, Optimality};
use offprint::model::Task;
use serde_json::{Value, json};

/// What `kind` can be.
pub const KINDS: &str = "`logistic`, `linear`, `svm`, `ridge`, `elastic-net` or `knn`";

/// A head with every field filled, the same on every machine.
pub fn sample() -> Head {
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

pub fn saved(head: &Head) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.head");
    head.save(&path).unwrap();
    std::fs::read(path).unwrap()
}

pub fn load(bytes: &[u8]) -> Result<Head, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.head");
    std::fs::write(&path, bytes).unwrap();
    Head::load(&path)
}

/// Everything but where the file lay.
pub fn assert_same(got: &Head, want: &Head) {
    assert_eq!((got.kind, &got.labels, &got.identity), (want.kind, &want.labels, &want.identity));
    assert_eq!((&got.model, got.strength), (&want.model, want.strength));
    assert_eq!((&got.template_or_field, &got.metrics), (&want.template_or_field, &want.metrics));
    assert_eq!((&got.optimality, &got.created_by), (&want.optimality, &want.created_by));
    assert_eq!((&got.calibration, &got.abstain, got.conformal), (&want.calibration, &want.abstain, want.conformal));
    assert_eq!((got.task, &got.thresholds, &got.scaling), (want.task, &want.thresholds, &want.scaling));
    assert_eq!(got.license, want.license);
}

/// The header as JSON and the numbers behind it.
pub fn split(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

pub fn join(header: &Value, data: &[u8]) -> Vec<u8> {
    let text = header.to_string().into_bytes();
    [&(text.len() as u64).to_le_bytes()[..], &text, data].concat()
}
