//! Measures of predictions against scikit-learn's and scipy's on committed cases, and what they refuse.
//!
//! The cases are made by `export/oracle/make_classify_fixtures.py`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use offprint::evaluate::{
    Error, LabelTally, MOST_CONFUSED, MOST_OTHER_LABELS, Regression, RegressionTally, SeveralTally,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    one_label: Vec<OneLabel>,
    several_labels: Vec<SeveralLabels>,
    numbers: Vec<Numbers>,
}

#[derive(Deserialize)]
struct OneLabel {
    labels: Vec<String>,
    truth: Vec<String>,
    predicted: Vec<String>,
    accuracy: f64,
    f1_macro: f64,
    classes: Vec<String>,
    f1: Vec<f64>,
    confusion: Vec<Vec<u64>>,
}

#[derive(Deserialize)]
struct SeveralLabels {
    labels: Vec<String>,
    truth: Vec<Vec<String>>,
    predicted: Vec<Vec<String>>,
    f1_micro: f64,
    f1_macro: f64,
    f1_samples: f64,
    classes: Vec<String>,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    support: Vec<u64>,
}

#[derive(Deserialize)]
struct Numbers {
    truth: Vec<f64>,
    predicted: Vec<f32>,
    r2: Option<f64>,
    mae: f64,
    rmse: f64,
    kendalltau: Option<f64>,
    pearson: Option<f64>,
}

fn cases() -> Cases {
    let path = Path::new("tests/data/classify/measures.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Equal but for the order in which sums are rounded.
fn close(got: f64, want: f64) -> bool {
    (got - want).abs() <= 1e-12 * want.abs().max(1.0)
}

fn regression(truth: &[f64], predicted: &[f32]) -> Result<Regression, Error> {
    assert_eq!(truth.len(), predicted.len());
    let mut tally = RegressionTally::new(1);
    truth.iter().zip(predicted).for_each(|(&truth, &predicted)| tally.add(truth, predicted));
    tally.finish()
}

#[test]
fn one_label_is_measured_as_scikit_learn_does() {
    let cases = cases().one_label;
    assert_eq!(cases.len(), 4);
    for case in cases {
        let mut tally = LabelTally::new(&case.labels);
        case.truth.iter().zip(&case.predicted).for_each(|(truth, predicted)| tally.add(truth, predicted));
        let got = tally.finish().unwrap();
        assert_eq!((got.rows, &got.classes, &got.confusion), (case.truth.len(), &case.classes, &case.confusion));
        assert!(close(got.accuracy, case.accuracy) && close(got.f1_macro, case.f1_macro), "{}", got.f1_macro);
        assert!(got.per_class.iter().zip(&case.f1).all(|(got, want)| close(got.f1, *want)));
        let unknown = case.truth.iter().filter(|label| !case.labels.contains(label)).count();
        assert_eq!(got.unknown_labels, unknown);
    }
}

#[test]
fn several_labels_are_measured_as_scikit_learn_does() {
    let cases = cases().several_labels;
    assert_eq!(cases.len(), 4);
    for case in cases {
        let mut tally = SeveralTally::new(&case.labels);
        case.truth.iter().zip(&case.predicted).for_each(|(truth, predicted)| tally.add(truth, predicted));
        let got = tally.finish().unwrap();
        assert_eq!((got.rows, &got.classes), (case.truth.len() as u64, &case.classes));
        for (got, want) in
            [(got.f1_micro, case.f1_micro), (got.f1_macro, case.f1_macro), (got.f1_samples, case.f1_samples)]
        {
            assert!(close(got, want), "{got} for {want}");
        }
        for (class, figures) in got.per_class.iter().enumerate() {
            assert!(close(figures.precision, case.precision[class]) && close(figures.recall, case.recall[class]));
            assert!(close(figures.f1, case.f1[class]));
            assert_eq!(figures.support, case.support[class]);
        }
        let unknown = case.truth.iter().flatten().filter(|label| !case.labels.contains(label)).count();
        assert_eq!(got.unknown_labels, unknown as u64);
    }
}

#[test]
fn numbers_are_measured_as_scikit_learn_and_scipy_do() {
    let cases = cases().numbers;
    assert_eq!(cases.len(), 10);
    for (at, case) in cases.iter().enumerate() {
        let got = regression(&case.truth, &case.predicted).unwrap();
        assert_eq!((got.rows, got.ranked), (case.truth.len() as u64, case.truth.len() as u64));
        assert!(close(got.mae, case.mae) && close(got.rmse, case.rmse), "case {at}: {} {}", got.mae, got.rmse);
        for (name, got, want) in [
            ("r2", got.r2, case.r2),
            ("kendalltau", got.kendalltau, case.kendalltau),
            ("pearson", got.pearson, case.pearson),
        ] {
            let equal = match (got, want) {
                (Some(got), Some(want)) => close(got, want),
                (got, want) => got.is_none() && want.is_none(),
            };
            assert!(equal, "{name} of case {at}: {got:?} for {want:?}");
        }
    }
}

#[test]
fn rank_correlation_counts_every_pair() {
    // Against the definition, pair by pair, on numbers with ties.
    let numbers = |seed: u64| (0..200_u64).map(move |n| ((n * n * seed + n * 31) % 23) as f64).collect::<Vec<_>>();
    let (a, b) = (numbers(7), numbers(12));
    let (mut balance, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for i in 0..a.len() {
        for j in 0..i {
            let sign = |x: f64| if x == 0.0 { 0.0 } else { x.signum() };
            let (x, y) = (sign(a[i] - a[j]), sign(b[i] - b[j]));
            balance += x * y;
            of_a += x * x;
            of_b += y * y;
        }
    }
    let predicted: Vec<f32> = b.iter().map(|&x| x as f32).collect();
    let got = regression(&a, &predicted).unwrap().kendalltau.unwrap();
    assert!(close(got, balance / (f64::sqrt(of_a) * f64::sqrt(of_b))), "{got}");
}

#[test]
fn zeros_of_both_signs_are_equal() {
    let tau = |truth: &[f64], predicted: &[f32]| regression(truth, predicted).unwrap().kendalltau.unwrap();
    // scipy.stats.kendalltau
    let expected = 0.816_496_580_927_726;
    for (truth, predicted) in [([-0.0, 0.0, 1.0], [2.0, 1.0, 3.0]), ([0.0, -0.0, 1.0], [1.0, 2.0, 3.0])] {
        assert!(close(tau(&truth, &predicted), expected), "{}", tau(&truth, &predicted));
        let (a, b) = (predicted.map(f64::from), truth.map(|value: f64| value as f32));
        assert!(close(tau(&a, &b), expected), "{}", tau(&a, &b));
    }
}

#[test]
fn what_cannot_be_measured_is_said() {
    let text = |error: Error| error.to_string();
    assert_eq!(text(LabelTally::new(&["a"]).finish().unwrap_err()), "no predictions to measure");
    assert_eq!(text(SeveralTally::new(&["a"]).finish().unwrap_err()), "no predictions to measure");
    assert_eq!(text(regression(&[], &[]).unwrap_err()), "no predictions to measure");
    assert_eq!(
        text(regression(&[1.0, 2.0], &[0.5, f32::NAN]).unwrap_err()),
        "row 1 has the value NaN for 2, expected finite numbers"
    );
    let huge = regression(&[1e300, -1e300], &[1.0, 2.0]).unwrap();
    assert_eq!((huge.r2, huge.pearson, huge.kendalltau), (None, None, Some(-1.0)));
}

#[test]
fn labels_are_told_apart_up_to_a_bound() {
    let message = format!("more than {MOST_OTHER_LABELS} labels are not among the 1 of the classifier");
    let (mut one, mut several) = (LabelTally::new(&["a"]), SeveralTally::new(&["a"]));
    for n in 0..MOST_OTHER_LABELS {
        one.add(&format!("x{n}"), "a");
        several.add(&[format!("x{n}")], &["a"]);
    }
    let rows = MOST_OTHER_LABELS as u64;
    let got = several.finish().unwrap();
    assert_eq!((got.rows, got.unknown_labels), (rows, rows));
    let mut several = SeveralTally::new(&["a"]);
    (0..=MOST_OTHER_LABELS).for_each(|n| several.add(&[format!("x{n}")], &["a"]));
    assert_eq!(several.finish().unwrap_err().to_string(), message);
    one.add("one too many", "a");
    one.add("a", "a");
    assert_eq!(one.finish().unwrap_err().to_string(), message);

    let drawn = |classes: usize| {
        let names: Vec<String> = (0..classes).map(|n| n.to_string()).collect();
        let mut tally = LabelTally::new(&names);
        names.iter().for_each(|name| tally.add(name, name));
        let part = tally.finish().unwrap();
        assert_eq!(part.accuracy, 1.0);
        part.confusion.len()
    };
    assert_eq!((drawn(MOST_CONFUSED), drawn(MOST_CONFUSED + 1)), (MOST_CONFUSED, 0));
}

#[test]
fn a_label_named_twice_counts_once() {
    let mut tally = SeveralTally::new(&["a", "a", "b"]);
    tally.add(&["a", "a"], &["a", "b", "a"]);
    let got = tally.finish().unwrap();
    assert_eq!(got.classes, ["a", "b"]);
    assert_eq!(got.f1_micro, 2.0 / 3.0);
}
