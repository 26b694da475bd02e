use std::sync::Mutex;

use ndarray::s;

use super::*;
use crate::heads::fixture::{Fixture, drawn, farthest, linear, relative, unweighted as data};
use crate::heads::folds::stratified_folds;
use crate::heads::rows::{Matrix, Selection};

/// Agreement with scikit-learn at a duality gap of 1e-14 of the target's squares.
const COEFFICIENTS: f64 = 1e-4;
const DECISIONS: f64 = 1e-4;

#[test]
fn as_scikit_learn() {
    let fixture = Fixture::read("elastic");
    let fits = fixture.fits();
    assert_eq!(fits.len(), 68);
    let mut without_coefficients = 0;
    for about in fits {
        let text = |name: &str| about[name].as_str().unwrap().to_owned();
        let number = |name: &str| about[name].as_f64().unwrap();
        let (key, set) = (text("key"), text("set"));
        let want = |name| fixture.matrix(&format!("{key}.{name}")).unwrap();
        let rows = fixture.rows(&format!("{set}.rows"));
        let matrix = Matrix::of(rows.view()).unwrap();
        let (targets, weights) = (fixture.targets(&set, "numbers", 0), fixture.weights(&set));
        let given = LabelledRows { rows: &matrix, targets: &targets, weights: weights.as_deref() };
        let trainer = ElasticNetTrainer {
            l1_ratio: number("l1_ratio"),
            fit_intercept: about["intercept"].as_bool().unwrap(),
            ..Default::default()
        };
        let wanted = want("coefficients");
        let fitted = match trainer.fit(&given, number("alpha")) {
            Err(Error::Fit(FitError::AllZero { target, .. })) => {
                assert!(wanted.row(target).iter().all(|&value| value == 0.0), "{about}");
                without_coefficients += 1;
                continue;
            }
            other => other.unwrap_or_else(|error| panic!("{about}: {error}")),
        };
        let optimality = fitted.optimality.clone().unwrap();
        assert!(optimality.reached <= optimality.allowed, "{about}");
        let model = linear(fitted);
        let off = relative(&model.coefficients, &wanted);
        assert!(off < COEFFICIENTS, "{about}: coefficients off by {off:e}");
        let wanted = want("decisions");
        let decisions = model.decisions(&matrix).unwrap().slice(s![..wanted.nrows(), ..]).to_owned();
        let off = farthest(&decisions, &wanted);
        assert!(off < DECISIONS, "{about}: decisions off by {off:e}");
    }
    assert!(without_coefficients < 10, "{without_coefficients} fits have nothing to compare");
}

#[test]
fn a_path_is_the_fits_of_its_folds_on_any_number_of_threads() {
    let (rows, numbers, classes) = drawn((90, 7), 3);
    let matrix = Matrix::of(rows.view()).unwrap();
    let targets = Targets::Numbers(numbers);
    let folds = stratified_folds(&classes, 3, 1).unwrap();
    let strengths = [0.01, 0.1, 0.001];
    let trainer = ElasticNetTrainer { tolerance: 1e-14, ..Default::default() };
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let seen = Mutex::new(vec![Array2::zeros((0, 0)); 9]);
        let take = |(fold, at): (usize, usize), decisions: ndarray::ArrayView2<'_, f64>| {
            seen.lock().unwrap()[fold * 3 + at] = decisions.to_owned();
            Ok(())
        };
        pool.install(|| trainer.path(&data(&matrix, &targets), &folds, &strengths, &take)).unwrap();
        seen.into_inner().unwrap()
    };
    let decided = run(1);
    assert_eq!(decided, run(3));
    for (place, decisions) in decided.iter().enumerate() {
        let fold = &folds[place / 3];
        let (some, targets) = (Selection::new(&matrix, &fold.train), targets.select(&fold.train));
        let alone = linear(trainer.fit(&data(&some, &targets), strengths[place % 3]).unwrap());
        let wanted = alone.decisions(&Selection::new(&matrix, &fold.validation)).unwrap();
        assert!(farthest(decisions, &wanted) < 1e-6);
    }
}

#[test]
fn a_penalty_that_leaves_nothing_is_refused_with_the_border() {
    let (rows, numbers, _) = drawn((50, 4), 21);
    let matrix = Matrix::of(rows.view()).unwrap();
    let targets = Targets::Numbers(numbers);
    let fit = |alpha| ElasticNetTrainer::default().fit(&data(&matrix, &targets), alpha);
    let error = fit(100.0).unwrap_err();
    let Error::Fit(FitError::AllZero { none_from, target: 0, .. }) = error else { panic!("{error}") };
    let text = format!(
        "elastic-net fit with alpha = 100 has no coefficient but 0 for target 0: \
         from alpha = {none_from:.3e} on there is none"
    );
    assert_eq!(error.to_string(), text);
    assert_eq!(error.hint().unwrap(), format!("use an alpha well below {none_from:.3e}"));
    assert!(matches!(fit(none_from * 1.000_001), Err(Error::Fit(FitError::AllZero { .. }))));
    assert!(fit(none_from * 0.999).is_ok());
    // On a path the constant is an answer like others.
    let folds = [Fold { train: (0..40).collect(), validation: (40..50).collect() }];
    let take = |_: (usize, usize), decisions: ndarray::ArrayView2<'_, f64>| {
        assert!(decisions.iter().all(|&value| value == decisions[[0, 0]] && value.is_finite()));
        Ok(())
    };
    ElasticNetTrainer::default().path(&data(&matrix, &targets), &folds, &[100.0], &take).unwrap();
}

#[test]
fn without_an_l1_penalty_it_is_ridge() {
    let (rows, numbers, _) = drawn((60, 5), 23);
    let matrix = Matrix::of(rows.view()).unwrap();
    let targets = Targets::Numbers(numbers);
    let trainer = ElasticNetTrainer { l1_ratio: 0.0, ..Default::default() };
    let net = linear(trainer.fit(&data(&matrix, &targets), 0.1).unwrap());
    let ridge = linear(crate::heads::RidgeTrainer::default().fit(&data(&matrix, &targets), 6.0).unwrap());
    assert!(relative(&net.coefficients, &ridge.coefficients) < 1e-4);
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let (rows, numbers, classes) = drawn((20, 3), 13);
    let matrix = Matrix::of(rows.view()).unwrap();
    let targets = Targets::Numbers(numbers);
    let fit = |trainer: ElasticNetTrainer| trainer.fit(&data(&matrix, &targets), 0.01).unwrap_err().to_string();
    let defaults = ElasticNetTrainer::default;
    assert_eq!(
        fit(ElasticNetTrainer { l1_ratio: 1.5, ..defaults() }),
        "l1_ratio is 1.5, expected a number from 0 to 1"
    );
    assert_eq!(
        fit(ElasticNetTrainer { l1_ratio: f64::NAN, ..defaults() }),
        "l1_ratio is NaN, expected a number from 0 to 1"
    );
    assert_eq!(
        fit(ElasticNetTrainer { tolerance: 0.0, ..defaults() }),
        "tolerance is 0, expected a finite number above 0"
    );
    let text = fit(ElasticNetTrainer { max_passes: 1, tolerance: 1e-14, ..defaults() });
    let begins = "elastic-net fit with alpha = 0.01 did not converge: after 1 passes its relative duality gap is ";
    assert!(text.starts_with(begins) && text.ends_with(", allowed 1.0e-14"), "{text}");
    let two = Targets::Classes { of: classes, classes: 2 };
    let error = defaults().fit(&data(&matrix, &two), 1.0).unwrap_err();
    let text = "a head of kind `elastic-net` cannot be fitted for classification: it answers with numbers";
    assert_eq!(error.to_string(), text);
    let same = ndarray::Array2::from_elem((20, 3), 0.1_f32);
    let error = defaults().fit(&data(&Matrix::of(same.view()).unwrap(), &targets), 1.0).unwrap_err();
    assert!(matches!(error, Error::IdenticalRows { rows: 20 }));
}
