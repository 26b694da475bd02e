use std::sync::Mutex;

use ndarray::{Array2, array, s};

use super::*;
use crate::heads::fixture::{Fixture, drawn, farthest, linear, relative, unweighted as data};
use crate::heads::folds::stratified_folds;
use crate::heads::rows::{Matrix, Selection};
use crate::heads::trainer::Targets;

/// Coefficients within a share of 1e-7 of scikit-learn's f64 answers; both sides' rounding is some 1e-10.
const COEFFICIENTS: f64 = 1e-7;
const DECISIONS: f64 = 1e-6;

fn message(result: Result<impl std::fmt::Debug, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn as_scikit_learn() {
    let fixture = Fixture::read("ridge");
    let fits = fixture.fits();
    assert_eq!(fits.len(), 31);
    for about in fits {
        let text = |name: &str| about[name].as_str().unwrap().to_owned();
        let (key, set) = (text("key"), text("set"));
        let rows = fixture.rows(&format!("{set}.rows"));
        let matrix = Matrix::of(rows.view()).unwrap();
        let classes = about["classes"].as_u64().unwrap_or_default() as usize;
        let (targets, weights) = (fixture.targets(&set, &text("task"), classes), fixture.weights(&set));
        let given = LabelledRows { rows: &matrix, targets: &targets, weights: weights.as_deref() };
        let trainer = RidgeTrainer { fit_intercept: about["intercept"].as_bool().unwrap(), ..Default::default() };
        let fitted = trainer.fit(&given, about["alpha"].as_f64().unwrap()).unwrap();
        let optimality = fitted.optimality.clone().unwrap();
        assert!(optimality.reached <= optimality.allowed && optimality.objective > 0.0, "{about}");

        let model = linear(fitted);
        let want = |name| fixture.matrix(&format!("{key}.{name}")).unwrap();
        let off = relative(&model.coefficients, &want("coefficients"));
        assert!(off < COEFFICIENTS, "{about}: coefficients off by {off:e}");
        let decisions = model.decisions(&matrix).unwrap();
        let wanted = want("decisions");
        let off = farthest(&decisions.slice(s![..wanted.nrows(), ..]).to_owned(), &wanted);
        assert!(off < DECISIONS, "{about}: decisions off by {off:e}");
    }
}

/// Many rows, whose products are in f32: as near the optimum as with products in f64, at every strength.
#[test]
fn products_in_single_precision_are_corrected() {
    let (rows, numbers, classes) = drawn((6000, 96), 19);
    let weights: Vec<f64> = (0..6000).map(|row| f64::from(row % 3) / 2.0).collect();
    let all = [Targets::Numbers(numbers), Targets::Classes { of: classes, classes: 2 }];
    // Far from the origin, and of any size.
    for (shift, scale) in [(0.0, 1.0), (50.0, 1.0), (0.0, 1e-3), (0.0, 1e30), (0.0, 1e-30)] {
        let rows = rows.mapv(|x| (x + shift) * scale);
        let matrix = Matrix::of(rows.view()).unwrap();
        for (targets, weights) in all.iter().zip([None, Some(&weights[..])]) {
            let given = LabelledRows { rows: &matrix, targets, weights };
            let sample = Sample::all(given);
            for alpha in [1e-3, 1.0, 1e3].map(|alpha: f64| alpha * f64::from(scale).powi(2)) {
                for intercept in [true, false] {
                    let trainer = RidgeTrainer { fit_intercept: intercept, ..Default::default() };
                    let Ok(wanted) = trainer.solve(&sample, alpha) else {
                        // Rows far from 0 without an intercept have no sums that are precise enough.
                        assert!(shift > 0.0 && !intercept);
                        continue;
                    };
                    let model = linear(trainer.fit(&given, alpha).unwrap());
                    let off = relative(&model.coefficients, &wanted.coefficients.t().to_owned());
                    assert!(off < 1e-6, "shift {shift}, scale {scale}, alpha {alpha}: off by {off:e}");
                    let solution = single::solve(&sample, intercept, (alpha, 1e-6));
                    // Squares that f32 does not hold are for f64 alone.
                    let holds = (1e-10..1e10).contains(&scale);
                    assert!(holds || solution.is_none(), "scale {scale}");
                    if holds && alpha >= f64::from(scale).powi(2) && (intercept || shift == 0.0) {
                        assert!(solution.is_some(), "shift {shift}, alpha {alpha}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_path_is_the_fits_of_its_folds() {
    let (rows, numbers, classes) = drawn((90, 7), 3);
    let matrix = Matrix::of(rows.view()).unwrap();
    let folds = stratified_folds(&classes, 3, 1).unwrap();
    let weights: Vec<f64> = (0..90).map(|row| f64::from(row % 4) / 2.0).collect();
    let strengths = [10.0, 0.1, 1.0];
    let all = [Targets::Numbers(numbers), Targets::Classes { of: classes, classes: 2 }];
    // Folds that part the rows share their sums, others do not.
    for folds in [&folds[..], &folds[1..]] {
        for (targets, weights) in all.iter().zip([None, Some(&weights[..])]) {
            let given = LabelledRows { rows: &matrix, targets, weights };
            let seen = Mutex::new(Vec::new());
            let take = |place: (usize, usize), decisions: ndarray::ArrayView2<'_, f64>| {
                seen.lock().unwrap().push((place, decisions.to_owned()));
                Ok(())
            };
            RidgeTrainer::default().path(&given, folds, &strengths, &take).unwrap();
            let seen = seen.into_inner().unwrap();
            assert_eq!(seen.len(), folds.len() * 3);
            for ((fold, at), decisions) in seen {
                let train = &folds[fold].train;
                let weights: Option<Vec<f64>> = weights.map(|weights| train.iter().map(|&row| weights[row]).collect());
                let (some, targets) = (Selection::new(&matrix, train), targets.select(train));
                let given = LabelledRows { rows: &some, targets: &targets, weights: weights.as_deref() };
                let alone = linear(RidgeTrainer::default().fit(&given, strengths[at]).unwrap());
                let wanted = alone.decisions(&Selection::new(&matrix, &folds[fold].validation)).unwrap();
                assert!(farthest(&decisions, &wanted) < 1e-10);
            }
        }
    }
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    let (rows, numbers, classes) = drawn((5000, 12), 5);
    let matrix = Matrix::of(rows.view()).unwrap();
    let targets = Targets::Numbers(numbers);
    let folds = stratified_folds(&classes, 3, 1).unwrap();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let seen = Mutex::new(vec![Array2::zeros((0, 0)); 6]);
        let take = |(fold, at): (usize, usize), decisions: ndarray::ArrayView2<'_, f64>| {
            seen.lock().unwrap()[fold * 2 + at] = decisions.to_owned();
            Ok(())
        };
        let fitted = pool.install(|| {
            let trainer = RidgeTrainer::default();
            trainer.path(&data(&matrix, &targets), &folds, &[1.0, 5.0], &take).unwrap();
            trainer.fit(&data(&matrix, &targets), 1.0).unwrap()
        });
        (fitted, seen.into_inner().unwrap())
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn a_class_that_a_fold_lacks_is_never_decided_for() {
    let (rows, _, _) = drawn((8, 3), 7);
    let matrix = Matrix::of(rows.view()).unwrap();
    let folds = [Fold { train: vec![0, 1, 2, 3], validation: vec![4, 5] }];
    let path = |targets: &Targets| {
        let seen = Mutex::new(Array2::zeros((0, 0)));
        let take = |_: (usize, usize), decisions: ndarray::ArrayView2<'_, f64>| {
            *seen.lock().unwrap() = decisions.to_owned();
            Ok(())
        };
        RidgeTrainer::default().path(&data(&matrix, targets), &folds, &[1.0], &take).unwrap();
        seen.into_inner().unwrap()
    };
    let three = path(&Targets::Classes { of: vec![0, 2, 0, 2, 1, 1, 0, 2], classes: 3 });
    assert!(three.column(1).iter().all(|&value| value == f64::NEG_INFINITY));
    assert!(three.column(0).iter().all(|value| value.is_finite()));
    let two = path(&Targets::Classes { of: vec![1, 1, 1, 1, 0, 0, 1, 1], classes: 2 });
    assert_eq!(two, array![[f64::INFINITY], [f64::INFINITY]]);
    let two = path(&Targets::Classes { of: vec![0, 0, 0, 0, 1, 1, 1, 1], classes: 2 });
    assert_eq!(two, array![[f64::NEG_INFINITY], [f64::NEG_INFINITY]]);
}

#[test]
fn a_thousand_classes_with_two_rows_each() {
    let (rows, _, _) = drawn((2000, 16), 9);
    let matrix = Matrix::of(rows.view()).unwrap();
    let of: Vec<usize> = (0..2000).map(|row| row % 1000).collect();
    let targets = Targets::Classes { of: of.clone(), classes: 1000 };
    let fitted = RidgeTrainer::default().fit(&data(&matrix, &targets), 1e-3).unwrap();
    let decisions = linear(fitted).decisions(&matrix).unwrap();
    assert_eq!(decisions.dim(), (2000, 1000));
    // Least squares on targets of 1 and -1 sums to 1 - 999 for each row.
    assert!(decisions.rows().into_iter().all(|row| (row.sum() + 998.0).abs() < 1e-6));
}

#[test]
fn constant_labels_get_their_constant() {
    let (rows, _, _) = drawn((30, 4), 11);
    let matrix = Matrix::of(rows.view()).unwrap();
    let of = (0..30).map(|row| if row % 3 == 0 { vec![0, 2] } else { vec![2] }).collect();
    let targets = Targets::Labels { of, labels: 3 };
    let weights: Vec<f64> = (0..30).map(|row| f64::from(row) * 0.37).collect();
    let given = LabelledRows { rows: &matrix, targets: &targets, weights: Some(&weights) };
    let model = linear(RidgeTrainer::default().fit(&given, 1.0).unwrap());
    for (label, constant) in [(1, -1.0), (2, 1.0)] {
        assert!(model.coefficients.row(label).iter().all(|value| value.abs() < 1e-14));
        assert!((model.intercepts[label] - constant).abs() < 1e-12);
    }
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let (mut rows, mut numbers, classes) = drawn((20, 3), 13);
    let fit = |rows: &Array2<f32>, targets: &Targets, weights: Option<&[f64]>, alpha: f64| {
        let matrix = Matrix::of(rows.view()).unwrap();
        message(RidgeTrainer::default().fit(&LabelledRows { rows: &matrix, targets, weights }, alpha))
    };
    let two = Targets::Classes { of: classes.clone(), classes: 2 };
    assert_eq!(fit(&rows, &two, None, 0.0), "alpha is 0, expected a finite number above 0");
    assert_eq!(fit(&rows, &two, None, f64::NAN), "alpha is NaN, expected a finite number above 0");
    assert_eq!(fit(&rows, &two, Some(&[1.0; 19]), 1.0), "got 19 weights for 20 rows");
    assert_eq!(fit(&rows, &two, Some(&[0.0; 20]), 1.0), "all 20 rows weigh 0");
    let mut weights = [1.0; 20];
    weights[4] = -0.5;
    assert_eq!(fit(&rows, &two, Some(&weights), 1.0), "row 4 weighs -0.5, expected a finite number from 0");
    assert_eq!(fit(&Array2::zeros((0, 3)), &two, None, 1.0), "nothing to fit: 0 rows of 3 dimensions");
    assert_eq!(fit(&Array2::zeros((2, 3)), &two, None, 1.0), "got 20 labels for 2 rows");
    let same = Array2::from_elem((20, 3), 0.1_f32);
    assert_eq!(fit(&same, &two, None, 1.0), "all 20 rows are the same vector, so nothing tells the classes apart");
    let one = Targets::Classes { of: vec![1; 20], classes: 2 };
    assert_eq!(fit(&rows, &one, None, 1.0), "all 20 rows are of one class, a classifier needs two");
    let lacks = Targets::Classes { of: classes.clone(), classes: 3 };
    assert_eq!(fit(&rows, &lacks, None, 1.0), "class 2 of 3 (counted from 0) has no rows");
    let beyond = Targets::Labels { of: vec![vec![0, 3]; 20], labels: 3 };
    assert_eq!(fit(&rows, &beyond, None, 1.0), "row 0 has label 3, expected a label below 3");
    let constant = Targets::Numbers(Array2::from_elem((20, 1), 0.5));
    assert_eq!(fit(&rows, &constant, None, 1.0), "target 0 is 0.5 in all 20 rows, so there is nothing to fit");
    numbers[[7, 0]] = 1e150;
    let large = Targets::Numbers(numbers);
    let refusal = format!("target 0 of row 7 is {}, expected a finite number between -1e150 and 1e150", 1e150_f64);
    assert_eq!(fit(&rows, &large, None, 1.0), refusal);
    rows[[2, 1]] = f32::NAN;
    assert_eq!(fit(&rows, &two, None, 1.0), "row 2 has NaN in column 1, expected finite numbers");
}

#[test]
fn a_tolerance_that_rounding_cannot_reach_is_said() {
    let (rows, numbers, _) = drawn((40, 5), 15);
    let matrix = Matrix::of(rows.view()).unwrap();
    let trainer = RidgeTrainer { tolerance: 1e-30, ..Default::default() };
    let error = trainer.fit(&data(&matrix, &Targets::Numbers(numbers)), 1.0).unwrap_err();
    let text = error.to_string();
    let begins = "ridge fit with alpha = 1 did not converge: after 3 corrections its relative coefficient error is ";
    assert!(text.starts_with(begins) && text.ends_with(", allowed 1.0e-30"), "{text}");
    assert_eq!(error.hint().unwrap(), "use a larger alpha or tolerance");
}

#[test]
fn folds_that_cannot_be_fitted_are_named() {
    let (mut rows, numbers, _) = drawn((9, 2), 17);
    rows.slice_mut(s![3.., ..]).fill(0.5);
    let matrix = Matrix::of(rows.view()).unwrap();
    let targets = Targets::Numbers(numbers);
    let take = |_: (usize, usize), _: ndarray::ArrayView2<'_, f64>| Ok(());
    let path = |folds: &[Fold]| RidgeTrainer::default().path(&data(&matrix, &targets), folds, &[2.0], &take);
    let part = |validation: std::ops::Range<usize>| Fold {
        train: (0..9).filter(|row| !validation.contains(row)).collect(),
        validation: validation.collect(),
    };
    let error = path(&[part(6..9), part(0..3)]).unwrap_err();
    assert_eq!(error.to_string(), "fold 2 of 2 could not be fitted with alpha = 2");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "all 6 rows are the same vector, so nothing tells the classes apart");
    let error = path(&[part(6..9), part(0..0)]).unwrap_err();
    assert_eq!(error.to_string(), "fold 2 has 9 rows to fit on and 0 to score on, expected at least 1 of each");
}
