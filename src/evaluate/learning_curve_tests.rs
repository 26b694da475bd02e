//! Learning curves of a trainer whose fits are quotients.

use super::super::stub_trainer::{StubTrainer, scattered};
use super::*;
use crate::heads::{Matrix, stratified_folds};

const ROWS: usize = 120;

/// Three classes by the sign of two features, the labels of every ninth row moved on.
fn labelled() -> (Vec<f32>, Vec<usize>) {
    let rows = scattered((ROWS, 2), 7);
    let class = |row: usize| match (rows[2 * row], rows[2 * row + 1]) {
        (first, _) if first > 0.0 => 0,
        (_, second) if second > 0.0 => 1,
        _ => 2,
    };
    let of = (0..ROWS).map(|row| (class(row) + usize::from(row % 9 == 0)) % 3).collect();
    (rows, of)
}

#[test]
fn shares_grow_within_each_other_and_scores_with_them() {
    let (rows, of) = labelled();
    let matrix = Matrix::new(&rows, (ROWS, 2)).unwrap();
    let folds = stratified_folds(&of, 5, 3).unwrap();
    let targets = Targets::Classes { of, classes: 3 };
    let data = LabelledRows { rows: &matrix, targets: &targets, weights: None };
    let curve = LearningCurve {
        folds: &folds,
        strength: 1.0,
        shares: &[1.0, 0.04, 0.3, 0.3],
        objective: Objective::F1Macro,
        seed: 1,
    };
    let got = learning_curve(&StubTrainer::default(), &data, &curve).unwrap();
    let shares: Vec<f64> = got.iter().map(|point| point.share).collect();
    assert_eq!(shares, [0.04, 0.3, 1.0]);
    assert!((got[2].rows, got[2].scores.len()) == (96.0, 5) && (27.0..31.0).contains(&got[1].rows), "{got:?}");
    assert!(got[0].mean < got[2].mean && got[0].spread > 0.0, "{got:?}");
    assert_eq!(got, learning_curve(&StubTrainer::default(), &data, &curve).unwrap());
    for fold in &folds {
        let taken = |share| take_share(&targets, &fold.train, (share, Random::new(5)));
        let [few, more, all] = [taken(0.01), taken(0.5), taken(1.0)];
        assert_eq!((few.len(), all.as_slice()), (3, fold.train.as_slice()));
        assert!(few.iter().all(|row| more.contains(row)) && more.is_sorted());
    }
}

#[test]
fn shares_out_of_range_are_refused() {
    let (rows, of) = labelled();
    let matrix = Matrix::new(&rows, (ROWS, 2)).unwrap();
    let folds = stratified_folds(&of, 5, 3).unwrap();
    let targets = Targets::Classes { of, classes: 3 };
    let data = LabelledRows { rows: &matrix, targets: &targets, weights: None };
    let refused = |shares: &[f64], objective| {
        let curve = LearningCurve { folds: &folds, strength: 1.0, shares, objective, seed: 1 };
        learning_curve(&StubTrainer::default(), &data, &curve).unwrap_err().to_string()
    };
    for share in ["0", "1.5", "-1", "NaN"] {
        let expected =
            format!("{share} of the training rows cannot be fitted on, expected a share above 0 and at most 1");
        assert_eq!(refused(&[0.5, share.parse().unwrap()], Objective::Accuracy), expected);
    }
    assert_eq!(refused(&[], Objective::Accuracy), "nothing to choose from: 0 strengths on 5 folds");
    assert_eq!(refused(&[0.5], Objective::R2), "`r2` says nothing about classification");
}
