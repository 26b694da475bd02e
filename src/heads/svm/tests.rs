//! Agreement with liblinear on small sets, the statements of a fit about itself, and what is refused.

use std::sync::Mutex;

use linfa::ParamGuard;
use linfa::traits::{Fit, Predict};
use ndarray::{Array2, array};

use super::*;
use crate::heads::fixture::{Fixture, drawn, relative};
use crate::heads::rows::Matrix;
use crate::heads::trainer::Targets;

fn fitted(trainer: &SvmTrainer, rows: &Array2<f32>, targets: &Targets, c: f64) -> Result<Fitted, Error> {
    trainer.fit(&LabelledRows { rows: &Matrix::of(rows.view()).unwrap(), targets, weights: None }, c)
}

fn linear(fitted: Fitted) -> LinearModel {
    let Model::Linear(model) = fitted.model else { panic!("support vectors make linear models") };
    model
}

fn tight() -> SvmTrainer {
    SvmTrainer { tolerance: 1e-10, ..SvmTrainer::default() }
}

/// liblinear at a tolerance of 1e-11: coefficients within a thousandth, decision values within 1e-4 of their size.
#[test]
fn agrees_with_scikit_learn() {
    agrees_with("svm");
}

/// The same of lightning, which has no intercept, at a tolerance of 1e-7.
#[test]
fn agrees_with_lightning() {
    agrees_with("svm-lightning");
}

fn agrees_with(name: &str) {
    let fixture = Fixture::read(name);
    for about in fixture.fits() {
        let text = |key: &str| about[key].as_str().unwrap().to_owned();
        let number = |key: &str| about[key].as_f64().unwrap();
        let (set, key) = (text("set"), text("key"));
        let rows = fixture.rows(&format!("{set}.rows"));
        let classes = fixture.matrix(&format!("{set}.labels")).unwrap().iter().fold(0.0, |a: f64, &b| a.max(b));
        let targets = fixture.targets(&set, &text("kind"), classes as usize + 1);
        let weights = about["weighted"].as_bool().unwrap().then(|| fixture.weights(&set).unwrap());
        let trainer = SvmTrainer {
            loss: SvmLoss::ALL.into_iter().find(|loss| loss.name() == text("loss")),
            epsilon: number("epsilon"),
            fit_intercept: about["fit_intercept"].as_bool().unwrap(),
            intercept_scaling: number("intercept_scaling"),
            ..tight()
        };
        let matrix = Matrix::of(rows.view()).unwrap();
        let data = LabelledRows { rows: &matrix, targets: &targets, weights: weights.as_deref() };
        let fitted = trainer.fit(&data, number("c")).unwrap_or_else(|error| panic!("{about}: {error}"));
        let optimality = fitted.optimality.clone().unwrap();
        assert!(optimality.reached <= 1e-10 && optimality.iterations > 0, "{about}: {optimality:?}");
        let model = linear(fitted);
        if let Some(want) = fixture.matrix(&format!("{key}.coefficients")) {
            let far = relative(&model.coefficients, &want);
            assert!(far < 1e-3, "{about}: coefficients are off by {far:.1e}");
            let want = fixture.matrix(&format!("{key}.intercepts")).unwrap();
            for (got, want) in model.intercepts.iter().zip(&want) {
                assert!((got - want).abs() < 1e-3 * want.abs().max(1e-2), "{about}: intercept {got} is not {want}");
            }
        }
        let want = fixture.matrix(&format!("{key}.decisions")).unwrap();
        let asked = rows.slice(ndarray::s![..want.nrows(), ..]).to_owned();
        let got = model.decisions(&Matrix::of(asked.view()).unwrap()).unwrap();
        for (got, want) in got.iter().zip(&want) {
            assert!((got - want).abs() < 1e-4 * want.abs().max(1.0), "{about}: {got} is not {want}");
        }
    }
}

/// The objective and the dual, summed up in the plainest way from the model.
#[test]
fn the_objective_and_its_gap_are_what_they_are_called() {
    let (rows, _, classes) = drawn((200, 7), 3);
    let targets = Targets::Classes { of: classes.clone(), classes: 2 };
    for loss in [SvmLoss::Hinge, SvmLoss::SquaredHinge] {
        let found = |tolerance| {
            let trainer = SvmTrainer { loss: Some(loss), tolerance, ..SvmTrainer::default() };
            let fitted = fitted(&trainer, &rows, &targets, 2.0).unwrap();
            let optimality = fitted.optimality.clone().unwrap();
            let model = linear(fitted);
            let penalty: f64 = model.coefficients.iter().chain(&model.intercepts).map(|w| w * w).sum();
            let outputs = model.decisions(&Matrix::of(rows.view()).unwrap()).unwrap();
            let losses = outputs.iter().zip(&classes).map(|(&f, &class)| {
                let missing = (1.0 - if class == 1 { f } else { -f }).max(0.0);
                if loss == SvmLoss::Hinge { missing } else { missing * missing }
            });
            let objective = 0.5 * penalty + 2.0 * losses.sum::<f64>();
            assert!((objective / optimality.objective - 1.0).abs() < 1e-12);
            (objective, optimality)
        };
        let (best, _) = found(1e-12);
        for tolerance in [0.5, 0.1, 1e-2, 1e-4] {
            let (objective, optimality) = found(tolerance);
            assert!(optimality.reached <= tolerance && optimality.allowed == tolerance);
            // The gap bounds how far the objective is above the optimum.
            assert!(objective - best <= optimality.reached * objective * (1.0 + 1e-9), "{loss} {tolerance}");
        }
    }
}

#[test]
fn the_same_bits_for_any_number_of_threads_and_another_order_for_another_seed() {
    let (rows, _, _) = drawn((300, 40), 5);
    let of = (0..300).map(|row| row % 11).collect();
    let targets = Targets::Classes { of, classes: 11 };
    let fit = |threads, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let trainer = SvmTrainer { seed, ..SvmTrainer::default() };
        pool.install(|| linear(fitted(&trainer, &rows, &targets, 1.0).unwrap()))
    };
    let one = fit(1, 7);
    assert_eq!(one, fit(3, 7));
    assert_ne!(one, fit(1, 8));
}

#[test]
fn labels_are_columns_by_themselves() {
    let (rows, _, classes) = drawn((120, 6), 9);
    // The second label is on no row, the third on all.
    let of = classes.iter().map(|&class| if class == 1 { vec![0, 2] } else { vec![2] }).collect();
    let labels = Targets::Labels { of, labels: 3 };
    let several = linear(fitted(&tight(), &rows, &labels, 1.0).unwrap());
    let one = linear(fitted(&tight(), &rows, &Targets::Classes { of: classes, classes: 2 }, 1.0).unwrap());
    assert!(relative(&several.coefficients.slice(ndarray::s![..1, ..]).to_owned(), &one.coefficients) < 1e-4);
    let decisions = several.decisions(&Matrix::of(rows.view()).unwrap()).unwrap();
    assert!(decisions.column(1).iter().all(|&margin| margin < 0.0));
    assert!(decisions.column(2).iter().all(|&margin| margin > 0.0));
}

/// A path from fold to fold gives what fits of the training rows give.
#[test]
fn a_path_is_fits_of_the_training_rows() {
    let (rows, numbers, _) = drawn((90, 5), 2);
    let of: Vec<usize> = (0..90).map(|row| if row < 45 { row % 2 } else { 2 }).collect();
    let classes = Targets::Classes { of, classes: 3 };
    // The second fold's training rows lack classes 0 and 1 but for one row each.
    let folds = [
        Fold { train: (0..60).collect(), validation: (60..90).collect() },
        Fold { train: (44..90).collect(), validation: (0..44).collect() },
    ];
    let strengths = [1.0, 0.01, 100.0];
    let matrix = Matrix::of(rows.view()).unwrap();
    let weights: Vec<f64> = (0..90).map(|row| if row % 7 == 0 { 0.0 } else { 1.0 + (row % 3) as f64 }).collect();
    for targets in [classes, Targets::Numbers(numbers)] {
        let taken = Mutex::new(Vec::new());
        let trainer = SvmTrainer { tolerance: 1e-6, ..SvmTrainer::default() };
        let data = LabelledRows { rows: &matrix, targets: &targets, weights: Some(&weights) };
        let take = |at: (usize, usize), decisions: ndarray::ArrayView2<'_, f64>| {
            taken.lock().unwrap().push((at, decisions.to_owned()));
            Ok(())
        };
        trainer.path(&data, &folds, &strengths, &take).unwrap();
        let taken = taken.into_inner().unwrap();
        assert_eq!(taken.len(), 6);
        for ((fold, strength), decisions) in taken {
            let train = &folds[fold].train;
            let part = rows.select(ndarray::Axis(0), train);
            let few: Vec<f64> = train.iter().map(|&row| weights[row]).collect();
            let some = targets.select(train);
            let matrix = Matrix::of(part.view()).unwrap();
            let data = LabelledRows { rows: &matrix, targets: &some, weights: Some(&few) };
            let Ok(fitted) = tight().fit(&data, strengths[strength]) else {
                // Class 0 is not there.
                assert_eq!(fold, 1);
                assert!(decisions.column(1).iter().all(|&margin| margin == f64::NEG_INFINITY));
                continue;
            };
            let held_out = rows.select(ndarray::Axis(0), &folds[fold].validation);
            let want = linear(fitted).decisions(&Matrix::of(held_out.view()).unwrap()).unwrap();
            let far = relative(&decisions, &want);
            assert!(far < 1e-2, "fold {fold}, C = {}: off by {far:.1e}", strengths[strength]);
        }
    }
}

/// Large C, where Newton's steps end what coordinates began: the gradient of the objective is zero there.
#[test]
fn a_squared_loss_with_a_large_c_ends_at_a_point_without_slope() {
    let (rows, numbers, classes) = drawn((150, 12), 6);
    let signs: Vec<f64> = classes.iter().map(|&class| 2.0 * class as f64 - 1.0).collect();
    let c = 1e5;
    for targets in [Targets::Classes { of: classes, classes: 2 }, Targets::Numbers(numbers.clone())] {
        let loss = matches!(targets, Targets::Numbers(_)).then_some(SvmLoss::SquaredEpsilonInsensitive);
        let trainer = SvmTrainer { loss, epsilon: 0.05, ..tight() };
        let model = linear(fitted(&trainer, &rows, &targets, c).unwrap());
        let outputs = model.decisions(&Matrix::of(rows.view()).unwrap()).unwrap();
        let mut gradient = model.coefficients.row(0).to_owned();
        for (at, row) in rows.rows().into_iter().enumerate() {
            let f = outputs[[at, 0]];
            let missing = match loss {
                None => signs[at] * (1.0 - signs[at] * f).max(0.0),
                Some(_) => ((numbers[[at, 0]] - f).abs() - 0.05).max(0.0).copysign(numbers[[at, 0]] - f),
            };
            gradient.scaled_add(-2.0 * c * missing, &row.mapv(f64::from));
        }
        let size = model.coefficients.row(0).dot(&model.coefficients.row(0)).sqrt();
        assert!(gradient.dot(&gradient).sqrt() < 1e-2 * size, "{gradient}");
    }
}

/// Large C, where an interior point method ends what coordinates began: every row's variable fits its output.
#[test]
fn a_linear_loss_with_a_large_c_ends_at_its_optimum() {
    let (rows, numbers, classes) = drawn((600, 24), 8);
    let signs: Vec<f64> = classes.iter().map(|&class| 2.0 * class as f64 - 1.0).collect();
    for (targets, scale) in
        [(Targets::Classes { of: classes, classes: 2 }, 30.0), (Targets::Numbers(numbers.clone()), 1.0)]
    {
        let loss = if matches!(targets, Targets::Numbers(_)) { SvmLoss::EpsilonInsensitive } else { SvmLoss::Hinge };
        let trainer = SvmTrainer { loss: Some(loss), epsilon: 0.05, tolerance: 1e-7, ..SvmTrainer::default() };
        let rows = rows.mapv(|x| x * scale);
        let fitted = fitted(&trainer, &rows, &targets, 1e4).unwrap();
        let optimality = fitted.optimality.clone().unwrap();
        assert!(optimality.reached <= 1e-7 && optimality.iterations < 2000, "{optimality:?}");
        let model = linear(fitted);
        let outputs = model.decisions(&Matrix::of(rows.view()).unwrap()).unwrap();
        let missing = |row: usize| match loss {
            SvmLoss::Hinge => (1.0 - signs[row] * outputs[[row, 0]]).max(0.0),
            _ => ((numbers[[row, 0]] - outputs[[row, 0]]).abs() - 0.05).max(0.0),
        };
        let penalty: f64 = model.coefficients.iter().chain(&model.intercepts).map(|w| w * w).sum();
        let objective = 0.5 * penalty + 1e4 * (0..600).map(missing).sum::<f64>();
        assert!((objective / optimality.objective - 1.0).abs() < 1e-9, "{objective} {optimality:?}");
    }
}

#[test]
fn rows_of_any_size_and_rows_of_zeros() {
    let (rows, _, classes) = drawn((60, 4), 1);
    let targets = Targets::Classes { of: classes, classes: 2 };
    let plain = SvmTrainer { fit_intercept: false, ..tight() };
    let one = linear(fitted(&plain, &rows, &targets, 1.0).unwrap());
    for scale in [1e-12_f32, 1e12] {
        let c = 1.0 / f64::from(scale).powi(2);
        let other = linear(fitted(&plain, &rows.mapv(|x| x * scale), &targets, c).unwrap());
        let far = relative(&other.coefficients.mapv(|w| w * f64::from(scale)), &one.coefficients);
        assert!(far < 1e-5, "rows × {scale}: off by {far:.1e}");
    }
    let mut some = rows.clone();
    some.row_mut(3).fill(0.0);
    for loss in [SvmLoss::Hinge, SvmLoss::SquaredHinge] {
        let trainer = SvmTrainer { loss: Some(loss), ..plain };
        assert!(fitted(&trainer, &some, &targets, 1.0).unwrap().optimality.unwrap().reached <= 1e-10);
    }
}

fn refused(trainer: &SvmTrainer, targets: &Targets, c: f64) -> (String, Option<String>) {
    let (rows, _, _) = drawn((6, 2), 1);
    let error = fitted(trainer, &rows, targets, c).unwrap_err();
    (error.to_string(), error.hint())
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let usual = SvmTrainer::default();
    let classes = |of: &[usize], classes| Targets::Classes { of: of.to_vec(), classes };
    let two = classes(&[0, 1, 0, 1, 0, 1], 2);
    let texts = [
        (refused(&usual, &classes(&[1; 6], 2), 1.0).0, "all 6 rows are of one class, a classifier needs two"),
        (refused(&usual, &classes(&[0, 2, 0, 2, 0, 2], 3), 1.0).0, "class 1 of 3 (counted from 0) has no rows"),
        (refused(&usual, &two, 0.0).0, "C is 0, expected a finite number above 0"),
        (
            refused(&SvmTrainer { epsilon: -0.5, ..usual }, &two, 1.0).0,
            "epsilon is -0.5, expected a finite number of 0 or more",
        ),
        (
            refused(&SvmTrainer { intercept_scaling: 0.0, ..usual }, &two, 1.0).0,
            "intercept_scaling is 0, expected a finite number above 0",
        ),
        (
            refused(&usual, &Targets::Numbers(Array2::from_elem((6, 1), 3.0)), 1.0).0,
            "target 0 is 3 in all 6 rows, so there is nothing to fit",
        ),
    ];
    for (got, want) in texts {
        assert_eq!(got, want);
    }
    let hinge = SvmTrainer { loss: Some(SvmLoss::Hinge), ..usual };
    let (text, hint) = refused(&hinge, &Targets::Numbers(array![[1.0], [2.0], [3.0], [1.0], [2.0], [3.0]]), 1.0);
    assert_eq!(text, "the loss `hinge` is not one for regression");
    assert_eq!(hint.unwrap(), "numbers take `epsilon_insensitive` and `squared_epsilon_insensitive`");
    let forgiving = SvmTrainer { loss: Some(SvmLoss::EpsilonInsensitive), ..usual };
    let (text, hint) = refused(&forgiving, &two, 1.0);
    assert_eq!(text, "the loss `epsilon_insensitive` is not one for classification");
    assert_eq!(hint.unwrap(), "classes and labels take `hinge` and `squared_hinge`");
}

#[test]
fn a_fit_that_is_not_near_the_optimum_is_an_error() {
    let (rows, _, classes) = drawn((200, 7), 3);
    let targets = Targets::Classes { of: classes, classes: 2 };
    let hasty = SvmTrainer { tolerance: 1e-9, max_iterations: 1, loss: Some(SvmLoss::Hinge), ..SvmTrainer::default() };
    let error = fitted(&hasty, &rows, &targets, 100.0).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("svm fit with C = 100 did not converge: after 1 passes its duality gap"), "{text}");
    assert!(text.ends_with("allowed 1.0e-9"), "{text}");
    assert_eq!(error.hint().unwrap(), "use a smaller C or a larger tolerance");
    // Beyond the range of f64 no way ends at an optimum, and none panics.
    for loss in [SvmLoss::Hinge, SvmLoss::SquaredHinge] {
        let trainer = SvmTrainer { loss: Some(loss), max_iterations: 2000, ..SvmTrainer::default() };
        assert!(fitted(&trainer, &rows, &targets, 1e160).is_err(), "{loss:?}");
    }
}

#[test]
fn linfas_traits_give_the_same_fit() {
    let (rows, numbers, classes) = drawn((80, 5), 4);
    let names: ndarray::Array1<String> = classes.iter().map(|&class| ["b", "a"][class].to_owned()).collect();
    let svm =
        SvmTrainer::classifier().c(3.0).loss(SvmLoss::Hinge).fit(&linfa::Dataset::new(rows.clone(), names.clone()));
    let svm = svm.unwrap();
    assert_eq!(svm.classes(), ["a", "b"]);
    let right = svm.predict(&rows).iter().zip(&names).filter(|(one, other)| one == other).count();
    assert!(right > 70, "{right} of 80 are right");
    let turned = Targets::Classes { of: classes.iter().map(|class| 1 - class).collect(), classes: 2 };
    let trainer = SvmTrainer { loss: Some(SvmLoss::Hinge), ..SvmTrainer::default() };
    assert_eq!(linear(svm.fitted().clone()), linear(fitted(&trainer, &rows, &turned, 3.0).unwrap()));

    let svr = SvmTrainer::regressor().epsilon(0.1).fit(&linfa::Dataset::new(rows.clone(), numbers.clone())).unwrap();
    assert!(svr.fitted().optimality.as_ref().unwrap().reached <= 1e-3);
    let far = (&svr.predict(&rows) - &numbers).mapv(f64::abs).mean().unwrap();
    assert!(far < 0.1, "off by {far} on average");
    assert!(matches!(svr.decision_values(&array![[0.0_f32]]), Err(Error::RowWidth { got: 1, expected: 5 })));
    assert!(matches!(svm.decision_values(&array![[f32::NAN; 5]]), Err(Error::NotFinite { .. })));
    assert!(matches!(SvmTrainer::classifier().c(-1.0).check(), Err(Error::NotPositive { name: "C", .. })));
    assert!(SvmTrainer::regressor().tolerance(f64::NAN).check_ref().is_err());
}

/// A model of zeros costs nothing where every number is within ε of 0, and would answer with a constant.
#[test]
fn numbers_within_epsilon_of_zero_are_refused() {
    let (rows, _, _) = drawn((6, 2), 1);
    let numbers = Targets::Numbers(Array2::from_shape_fn((6, 1), |(row, _)| row as f64));
    for loss in [SvmLoss::EpsilonInsensitive, SvmLoss::SquaredEpsilonInsensitive] {
        for epsilon in [5.0, 10.0] {
            let trainer = SvmTrainer { loss: Some(loss), epsilon, ..SvmTrainer::default() };
            let (text, hint) = refused(&trainer, &numbers, 1.0);
            let want = format!(
                "svm fit with epsilon = {epsilon} has no coefficient but 0 for target 0: no number is further from 0 than 5"
            );
            assert_eq!(text, want);
            assert_eq!(hint.unwrap(), "use an epsilon well below 5");
        }
    }
    let narrow = SvmTrainer { epsilon: 4.9, ..SvmTrainer::default() };
    let model = linear(fitted(&narrow, &rows, &numbers, 1.0).unwrap());
    assert!(model.coefficients.iter().any(|&weight| weight != 0.0));
    // A row that weighs nothing is no reason to move.
    let matrix = Matrix::of(rows.view()).unwrap();
    let data = LabelledRows { rows: &matrix, targets: &numbers, weights: Some(&[1.0, 1.0, 1.0, 1.0, 1.0, 0.0]) };
    let error = narrow.fit(&data, 1.0).unwrap_err();
    assert!(matches!(error, Error::Fit(FitError::WithinEpsilon { target: 0, largest: 4.0, .. })), "{error}");
}
