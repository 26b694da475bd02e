//! A nested estimate against the choices that it is made of.

use ndarray::Array2;

use super::super::objective::Objective;
use super::super::selection::{Rule, choose_strength};
use super::super::stub_trainer::{StubTrainer, scattered};
use super::*;
use crate::heads::{Matrix, Random, Targets, folds};

const ROWS: usize = 60;

#[test]
fn each_outer_fold_chooses_for_itself() {
    let rows = scattered((ROWS, 3), 9);
    let matrix = Matrix::new(&rows, (ROWS, 3)).unwrap();
    // Nothing to learn: what a choice finds is luck.
    let mut random = Random::new(3);
    let targets = Targets::Numbers(Array2::from_shape_fn((ROWS, 1), |_| random.below(1000) as f64 / 500.0 - 1.0));
    let data = LabelledRows { rows: &matrix, targets: &targets, weights: None };
    let outer = folds(&targets, 5, 1).unwrap();
    let strengths = [1.0, 100.0, 10_000.0];
    let search = Search { folds: &outer, strengths: &strengths, objective: Objective::R2, rule: Rule::Best };
    let inner = FoldPlan::Shuffled { folds: 4, seed: 9 };
    let got = nested_estimate(&StubTrainer::default(), &data, &search, &inner).unwrap();
    assert_eq!((got.folds.len(), got.out_of_fold.rows.len()), (5, ROWS));
    let chosen_on_all = choose_strength(&StubTrainer::default(), &data, &search).unwrap();
    assert!(got.mean <= chosen_on_all.points[chosen_on_all.best].mean, "{got:?}");
    for (index, (fold, outer)) in got.folds.iter().zip(&outer).enumerate() {
        let inner_folds = inner.split_within(&targets, &outer.train).unwrap();
        assert!(inner_folds.iter().all(|inner| inner.validation.iter().all(|row| !outer.validation.contains(row))));
        let choice =
            choose_strength(&StubTrainer::default(), &data, &Search { folds: &inner_folds, ..search }).unwrap();
        assert_eq!(choice.strength(), fold.strength);
        // Its score is the one that this strength has on the fold, wherever it is scored.
        let at = chosen_on_all.points.iter().position(|point| point.strength == fold.strength).unwrap();
        assert_eq!(fold.score, chosen_on_all.points[at].scores[index]);
    }
    let none = Search { folds: &[], ..search };
    let error = nested_estimate(&StubTrainer::default(), &data, &none, &inner).unwrap_err();
    assert_eq!(error.to_string(), "nothing to choose from: 3 strengths on 0 folds");
    let error = nested_estimate(&StubTrainer::default(), &data, &search, &FoldPlan::Shuffled { folds: 50, seed: 0 });
    assert_eq!(error.unwrap_err().to_string(), "48 rows cannot be split into 50 folds: 2 to 48 are possible");
}
