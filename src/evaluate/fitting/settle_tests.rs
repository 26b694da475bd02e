use ndarray::array;

use super::*;
use crate::heads::{Fitted, HeadDescription, HeadKind, LinearModel, Model};

fn head(classes: usize) -> Head {
    let columns = if classes == 2 { 1 } else { classes };
    let model = Model::Linear(LinearModel {
        coefficients: Array2::from_shape_fn((columns, 2), |(row, column)| (row + column) as f64),
        intercepts: vec![0.0; columns],
    });
    let labels = (0..classes).map(|class| format!("class {class}")).collect();
    let description = HeadDescription { labels, ..HeadDescription::default() };
    let fitted = Fitted { model, strength: 1.0, optimality: None };
    Head::new((Task::Classification, HeadKind::Logistic), fitted, description).unwrap()
}

/// Decision values of two classes, right in most rows.
fn two_classes(rows: usize) -> (Array2<f64>, Vec<usize>) {
    let of: Vec<usize> = (0..rows).map(|row| row % 2).collect();
    let value = |(row, _): (usize, usize)| {
        let noise = (row * 37 % 41) as f64 / 20.0 - 1.0;
        (if row % 2 == 1 { 0.6 } else { -0.6 }) + noise
    };
    (Array2::from_shape_fn((rows, 1), value), of)
}

#[test]
fn a_least_probability_is_a_floor_under_chosen_ones() {
    let logits = array![[4.0, 0.0, 0.0], [0.4, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 1.4, 0.0], [0.0, 0.0, 2.0]];
    let targets = Targets::Classes { of: vec![0, 0, 1, 0, 2], classes: 3 };
    let out_of_fold = OutOfFold { rows: (0..5).collect(), folds: vec![0; 5], decisions: logits };
    let precision = AnswerPlan { thresholds: Some(ThresholdRule::Precision(0.9)), ..AnswerPlan::default() };
    let settled = |plan: &AnswerPlan| {
        let mut head = head(3);
        let settled = settle(&mut head, (&out_of_fold, &targets), (plan, None)).unwrap();
        let least = head.abstain.unwrap();
        assert_eq!(least, settled.thresholds.iter().map(|threshold| threshold.value).collect::<Vec<_>>());
        settled.thresholds
    };
    let chosen = settled(&precision);
    let floored = settled(&AnswerPlan { abstain: Some(0.6), ..precision });
    assert!(chosen[0].value < 0.6 && chosen[1].value > 0.6, "{chosen:?}");
    assert_eq!((floored[0].value, floored[1]), (0.6, chosen[1]));
    // One of the two rows that are given the first class is not sure enough any more.
    assert_eq!((floored[0].precision, floored[0].recall, floored[0].reached), (1.0, 0.5, true));
}

#[test]
fn sets_are_fitted_on_answers_that_their_calibration_had_not_seen() {
    let (decisions, of) = two_classes(60);
    let targets = Targets::Classes { of: of.clone(), classes: 2 };
    let method = CalibrationMethod::Isotonic;
    let folds: Vec<usize> = (0..60).map(|row| row / 20).collect();
    let decided = Decided { decisions: decisions.view(), targets: &targets, weights: None };
    let mut head = head(2);
    head.calibration = Some(Calibration::fit(method, &decided).unwrap());
    let apart = calibrated_apart(&head, &decided, (method, &folds)).unwrap();
    let others: Vec<usize> = (20..60).collect();
    let (of_others, right) = (decisions.select(Axis(0), &others), targets.select(&others));
    let calibration =
        Calibration::fit(method, &Decided { decisions: of_others.view(), targets: &right, weights: None }).unwrap();
    let reading = Reading { calibration: Some(&calibration), ..head.reading() };
    let expected = reading.answers(decisions.view()).unwrap();
    assert!((0..20).all(|row| apart.row(row) == expected.row(row)));

    let out_of_fold = OutOfFold { rows: (0..60).collect(), folds, decisions: decisions.clone() };
    let plan = AnswerPlan { calibrate: Some(method), conformal: Some(0.1), ..AnswerPlan::default() };
    settle(&mut head, (&out_of_fold, &targets), (&plan, None)).unwrap();
    assert_eq!(head.conformal, Some(Conformal::fit(apart.view(), &of, 0.1).unwrap()));
    // Rows that were left out at once have no folds, and are calibrated apart all the same.
    let at_once = calibrated_apart(&head, &decided, (method, &[0; 60])).unwrap();
    assert_ne!(at_once, head.reading().answers(decisions.view()).unwrap());
}

#[test]
fn too_few_rows_keep_the_calibration_of_all() {
    let decisions = array![[0.5]];
    let targets = Targets::Classes { of: vec![1], classes: 2 };
    let method = CalibrationMethod::Isotonic;
    let decided = Decided { decisions: decisions.view(), targets: &targets, weights: None };
    let mut head = head(2);
    head.calibration = Some(Calibration::fit(method, &decided).unwrap());
    let apart = calibrated_apart(&head, &decided, (method, &[0])).unwrap();
    assert_eq!(apart, head.reading().answers(decisions.view()).unwrap());
}
