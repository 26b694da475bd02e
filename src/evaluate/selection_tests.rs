//! The choice of a strength by hand: folds of a trainer whose fits are quotients.

use ndarray::{Array2, array};

use super::super::stub_trainer::{StubTrainer, scattered};
use super::*;
use crate::heads::{HeadKind, Matrix, Targets, folds, stratified_folds};

/// Points with these means and standard errors, at strengths 0, 1, 2, ...
fn points(of: &[(f64, f64)]) -> Vec<StrengthPoint> {
    let point = |(at, &(mean, error)): (usize, &(f64, f64))| StrengthPoint {
        strength: at as f64,
        mean,
        spread: 0.0,
        standard_error: Some(error),
        scores: Vec::new(),
    };
    of.iter().enumerate().map(point).collect()
}

#[test]
fn the_rule_decides_between_the_best_and_the_simplest_that_is_near() {
    let of = points(&[(0.70, 0.5), (0.78, 0.5), (0.80, 0.03), (0.80, 0.5), (0.775, 0.5)]);
    let chosen = |objective, simplest, rule| choose(&of, (objective, simplest), rule);
    use Objective::{F1Macro, Mae};
    use Simplest::{Largest, Smallest};
    assert_eq!(chosen(F1Macro, Smallest, Rule::Best), (2, 2));
    assert_eq!(chosen(F1Macro, Smallest, Rule::OneStandardError), (2, 1));
    assert_eq!(chosen(F1Macro, Largest, Rule::Best), (3, 3));
    // Within 0.5 of the best is everything.
    assert_eq!(chosen(F1Macro, Largest, Rule::OneStandardError), (3, 4));
    assert_eq!(chosen(Mae, Largest, Rule::Best), (0, 0));
    assert_eq!(chosen(Mae, Smallest, Rule::OneStandardError), (0, 0));
}

#[test]
fn mean_spread_and_standard_error_are_those_of_the_folds() {
    let point = StrengthPoint::of(3.0, vec![1.0, 2.0, 6.0]);
    assert_eq!((point.strength, point.mean), (3.0, 3.0));
    assert!((point.spread - (14.0_f64 / 3.0).sqrt()).abs() < 1e-15);
    assert!((point.standard_error.unwrap() - (7.0_f64 / 3.0).sqrt()).abs() < 1e-15);
    assert_eq!(StrengthPoint::of(3.0, vec![1.0]).standard_error, None);
}

/// 40 rows with a number that is their first feature and some noise.
fn noisy() -> (Vec<f32>, Targets) {
    let rows = scattered((40, 2), 9);
    let number = |(row, _): (usize, usize)| f64::from(rows[2 * row]) * 0.5 + ((row * 37) % 11) as f64 / 5.0 - 1.0;
    let numbers = Array2::from_shape_fn((40, 1), number);
    (rows, Targets::Numbers(numbers))
}

fn search<'a>(folds: &'a [Fold], strengths: &'a [f64], objective: Objective) -> Search<'a> {
    Search { folds, strengths, objective, rule: Rule::Best }
}

#[test]
fn every_strength_is_scored_on_every_fold_and_the_best_one_kept() {
    let (rows, targets) = noisy();
    let matrix = Matrix::new(&rows, (40, 2)).unwrap();
    let data = LabelledRows { rows: &matrix, targets: &targets, weights: None };
    let folds = folds(&targets, 4, 1).unwrap();
    let strengths = [1000.0, 1.0, 1.0, 30.0, 50.0];
    let got = choose_strength(&StubTrainer::default(), &data, &search(&folds, &strengths, Objective::Rmse)).unwrap();
    let of: Vec<f64> = got.points.iter().map(|point| point.strength).collect();
    assert_eq!(of, [1.0, 30.0, 50.0, 1000.0]);
    assert_eq!((got.name.name, got.objective, got.best, got.chosen), ("alpha", Objective::Rmse, 1, 1));
    assert!([0, 2, 3].iter().all(|&other| got.points[1].mean < got.points[other].mean), "{got:?}");
    // What the chosen strength decided is what a fit on the fold's training rows says, row by row.
    assert_eq!(got.out_of_fold.rows, (0..40).collect::<Vec<_>>());
    for (place, &row) in got.out_of_fold.rows.iter().enumerate() {
        let fold = &folds[got.out_of_fold.folds[place]];
        assert!(fold.validation.contains(&row));
        let train = heads::Selection::new(&matrix, &fold.train);
        let own = targets.select(&fold.train);
        let model =
            StubTrainer::default().fit(&LabelledRows { rows: &train, targets: &own, weights: None }, 30.0).unwrap();
        let heads::Model::Linear(model) = model.model else { unreachable!("the stub's models are linear") };
        let want: f64 = (0..2).map(|at| model.coefficients[[0, at]] * f64::from(rows[2 * row + at])).sum();
        assert!((got.out_of_fold.decisions[[place, 0]] - want).abs() < 1e-12);
    }
    // The mean is that of the folds.
    let mean = got.points[1].scores.iter().sum::<f64>() / 4.0;
    assert_eq!(got.points[1].mean, mean);
    // Where too much would have to be kept, a second pass gives the same.
    let keeping =
        |most| choose_keeping(&StubTrainer::default(), &data, &search(&folds, &strengths, Objective::Rmse), most);
    assert_eq!(keeping((0, true)).unwrap(), got);
    // Where nobody needs them, there is none; the choice is the same, and what is kept anyway is handed out.
    let none = keeping((0, false)).unwrap();
    assert!(none.out_of_fold.rows.is_empty() && none.out_of_fold.decisions.dim() == (0, 1));
    assert_eq!((&none.points, none.best, none.chosen), (&got.points, got.best, got.chosen));
    assert_eq!(keeping((usize::MAX, false)).unwrap(), got);
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let alone = one_thread
        .install(|| choose_strength(&StubTrainer::default(), &data, &search(&folds, &strengths, Objective::Rmse)));
    assert_eq!(alone.unwrap(), got);
    let simple = Search { rule: Rule::OneStandardError, ..search(&folds, &strengths, Objective::Rmse) };
    let simple = choose_strength(&StubTrainer::default(), &data, &simple).unwrap();
    assert!((simple.best, simple.chosen, simple.strength()) == (1, 2, 50.0), "{simple:?}");
}

#[test]
fn a_class_that_a_fold_lacks_is_scored_as_it_is() {
    let rows: Vec<f32> = [[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]].iter().cycle().take(12).flatten().copied().collect();
    let matrix = Matrix::new(&rows, (12, 2)).unwrap();
    let mut of: Vec<usize> = (0..12).map(|row| row % 3).collect();
    of[11] = 3;
    let targets = Targets::Classes { of: of.clone(), classes: 4 };
    let data = LabelledRows { rows: &matrix, targets: &targets, weights: None };
    let folds = stratified_folds(&of, 3, 1).unwrap();
    let got = choose_strength(&StubTrainer::default(), &data, &search(&folds, &[1.0], Objective::Accuracy)).unwrap();
    let place = got.out_of_fold.rows.binary_search(&11).unwrap();
    assert_eq!(got.out_of_fold.decisions[[place, 3]], f64::NEG_INFINITY);
    assert!(got.points[0].mean > 0.8 && got.points[0].mean < 1.0, "{got:?}");
}

#[test]
fn a_part_that_chooses_is_one_fold() {
    let (rows, targets) = noisy();
    let matrix = Matrix::new(&rows, (40, 2)).unwrap();
    let data = LabelledRows { rows: &matrix, targets: &targets, weights: None };
    let dev = [Fold { train: (0..30).collect(), validation: vec![31, 33, 39] }];
    let got = choose_strength(&StubTrainer::default(), &data, &search(&dev, &[1.0, 10.0], Objective::Mae)).unwrap();
    assert_eq!((got.out_of_fold.rows.as_slice(), got.points[0].standard_error), (&[31, 33, 39][..], None));
    let rule = Search { rule: Rule::OneStandardError, ..search(&dev, &[1.0], Objective::Mae) };
    let error = choose_strength(&StubTrainer::default(), &data, &rule).unwrap_err();
    assert_eq!(error.to_string(), "one fold has no standard error to choose by");
    assert_eq!(error.hint().unwrap(), "use two folds or more, or choose the best strength");
}

#[test]
fn what_cannot_be_chosen_from_is_refused() {
    let (rows, targets) = noisy();
    let matrix = Matrix::new(&rows, (40, 2)).unwrap();
    let data = LabelledRows { rows: &matrix, targets: &targets, weights: None };
    let folds = folds(&targets, 4, 1).unwrap();
    let stub = StubTrainer::default();
    let refused = |search: &Search<'_>| choose_strength(&stub, &data, search).unwrap_err();
    let mae = Objective::Mae;
    assert_eq!(refused(&search(&folds, &[], mae)).to_string(), "nothing to choose from: 0 strengths on 4 folds");
    assert_eq!(refused(&search(&[], &[1.0], mae)).to_string(), "nothing to choose from: 1 strengths on 0 folds");
    assert_eq!(refused(&search(&folds, &[f64::NAN], mae)).to_string(), "alpha is NaN, expected a finite number");
    assert_eq!(
        refused(&search(&folds, &[1.0], Objective::F1Macro)).to_string(),
        "`f1_macro` says nothing about regression"
    );
    let twice = [folds[0].clone(), folds[0].clone()];
    let row = folds[0].validation[0];
    let expected = format!("row {row} is scored in the folds 1 and 2, expected once at most");
    assert_eq!(refused(&search(&twice, &[1.0], mae)).to_string(), expected);
    let beyond = [Fold { train: vec![0], validation: vec![40] }];
    assert_eq!(refused(&search(&beyond, &[1.0], mae)).to_string(), "fold 1 names row 40, expected a row below 40");
    // The trainer's own refusal passes through.
    assert_eq!(refused(&search(&folds, &[-1.0], mae)).to_string(), "alpha is -1, expected a finite number above 0");
    let lazy = StubTrainer { lazy: true, ..StubTrainer::default() };
    let error = choose_strength(&lazy, &data, &search(&folds, &[1.0, 2.0], mae)).unwrap_err().to_string();
    assert!(error.starts_with("fold 1 was not decided with alpha = 2; this is a bug in offprint"), "{error}");
}

#[test]
fn a_fold_without_a_figure_is_named() {
    let rows = scattered((6, 1), 5);
    let matrix = Matrix::new(&rows, (6, 1)).unwrap();
    let targets = Targets::Classes { of: vec![0, 1, 0, 1, 1, 1], classes: 2 };
    let data = LabelledRows { rows: &matrix, targets: &targets, weights: None };
    let folds = [
        Fold { train: vec![2, 3, 4, 5], validation: vec![0, 1] },
        Fold { train: vec![0, 1, 2, 3], validation: vec![4, 5] },
    ];
    let stub = StubTrainer::default();
    let error = choose_strength(&stub, &data, &search(&folds, &[2.5], Objective::RocAuc)).unwrap_err();
    assert_eq!(error.to_string(), "fold 2 of 2 could not be scored with alpha = 2.5");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.starts_with("`roc_auc` is not defined on 2 rows as these"), "{source}");
    assert_eq!(error.hint().unwrap(), "measure more rows, or by `f1_macro`");
    let error = choose_strength(&stub, &data, &search(&folds, &[2.5], Objective::LogLoss)).unwrap_err();
    assert!(matches!(error, Error::Fold { .. }), "{error}");
    let logistic = StubTrainer { kind: HeadKind::Logistic, ..stub };
    assert!(choose_strength(&logistic, &data, &search(&folds, &[2.5], Objective::LogLoss)).is_ok());
}

#[test]
fn decisions_come_in_the_order_of_the_rows() {
    let folds = [Fold { train: vec![1], validation: vec![0, 4] }, Fold { train: vec![0], validation: vec![2] }];
    let (rows, of) = scored_rows(&folds, 5).unwrap();
    assert_eq!((rows.as_slice(), of.as_slice()), (&[0, 2, 4][..], &[0, 1, 0][..]));
    let by_fold = [array![[1.0, 2.0], [3.0, 4.0]], array![[5.0, 6.0]]];
    assert_eq!(in_row_order(&folds, (&rows, 2), &by_fold), array![[1.0, 2.0], [5.0, 6.0], [3.0, 4.0]]);
}
