//! Logistic fits against scikit-learn's, on committed sets (tests/data/heads), and what fitting refuses.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use ndarray::{Array1, Array2, ArrayView2, Axis, array};
use offprint::evaluate::{self, ChosenStrength, Objective, Rule, Search, choose_strength, f1_macro};
use offprint::heads::{
    Fold, Head, HeadDescription, HeadKind, LabelledRows, LogisticFit, LogisticOptions, LogisticTrainer, Matrix,
    Targets, fit_logistic, most_probable, stratified_folds,
};
use offprint::model::Task;
use safetensors::{Dtype, SafeTensors};

struct Fixture {
    bytes: Vec<u8>,
}

struct Case {
    name: String,
    rows: Array2<f32>,
    labels: Vec<usize>,
    classes: usize,
    c: f64,
    coefficients: Array2<f64>,
    intercepts: Array1<f64>,
    probabilities: Array2<f64>,
    f1_macro: f64,
}

impl Fixture {
    fn open() -> Self {
        Self { bytes: std::fs::read("tests/data/heads/fits.safetensors").unwrap() }
    }

    fn numbers(&self, name: &str) -> Array2<f64> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        let data = tensor.data();
        let values: Vec<f64> = match tensor.dtype() {
            Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
            Dtype::F64 => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::U32 => data.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
            other => panic!("{other}"),
        };
        let columns = tensor.shape().get(1).copied().unwrap_or(1);
        Array2::from_shape_vec((tensor.shape()[0], columns), values).unwrap()
    }

    fn cases(&self) -> Vec<Case> {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).unwrap();
        let about = &header.metadata().as_ref().unwrap()["about"];
        let about: serde_json::Value = serde_json::from_str(about).unwrap();
        let case = |fit: &serde_json::Value| {
            let (set, key) = (fit["set"].as_str().unwrap(), fit["key"].as_str().unwrap());
            let labels = self.numbers(&format!("{set}.labels"));
            Case {
                name: format!("{set}, C = {}", fit["c"]),
                rows: self.numbers(&format!("{set}.rows")).mapv(|value| value as f32),
                labels: labels.iter().map(|&label| label as usize).collect(),
                classes: fit["classes"].as_u64().unwrap() as usize,
                c: fit["c"].as_f64().unwrap(),
                coefficients: self.numbers(&format!("{key}.coefficients")),
                intercepts: self.numbers(&format!("{key}.intercepts")).remove_axis(Axis(1)),
                probabilities: self.numbers(&format!("{key}.probabilities")),
                f1_macro: fit["f1_macro"].as_f64().unwrap(),
            }
        };
        about["fits"].as_array().unwrap().iter().map(case).collect()
    }
}

fn case(name: &str) -> Case {
    Fixture::open().cases().into_iter().find(|case| case.name.starts_with(name)).unwrap()
}

fn fit(case: &Case, tolerance: f64) -> LogisticFit {
    let options = LogisticOptions { c: case.c, tolerance, ..LogisticOptions::default() };
    fit_logistic(case.rows.view(), &case.labels, case.classes, &options)
        .unwrap_or_else(|e| panic!("{}: {e}", case.name))
}

fn relative(got: &Array2<f64>, want: &Array2<f64>) -> f64 {
    let norm = |a: &Array2<f64>| a.iter().map(|v| v * v).sum::<f64>().sqrt();
    norm(&(got - want)) / norm(want)
}

fn head(fit: LogisticFit, classes: usize) -> Head {
    let labels = (0..classes).map(|class| format!("class {class}")).collect();
    let description = HeadDescription { labels, ..HeadDescription::default() };
    Head::new((Task::Classification, HeadKind::Logistic), fit.into(), description).unwrap()
}

fn refusal(x: ArrayView2<'_, f32>, y: &[usize], classes: usize) -> String {
    fit_logistic(x, y, classes, &LogisticOptions::default()).unwrap_err().to_string()
}

#[test]
fn coefficients_are_scikit_learns() {
    let cases = Fixture::open().cases();
    assert_eq!(cases.len(), 13);
    for case in cases {
        let fitted = fit(&case, 1e-7);
        let error = relative(&fitted.coefficients, &case.coefficients);
        assert!(error < 1e-6, "{}: coefficients differ by a share of {error:.1e}", case.name);
        let intercepts = Array1::from(fitted.intercepts.clone());
        let error = (&intercepts - &case.intercepts).fold(0.0, |max: f64, d| max.max(d.abs()));
        assert!(error < 1e-4, "{}: intercepts differ by {error:.1e}", case.name);
    }
}

#[test]
fn the_default_tolerance_holds_what_it_says() {
    for case in Fixture::open().cases() {
        let fitted = fit(&case, LogisticOptions::default().tolerance);
        let bound = fitted.convergence.coefficient_error;
        let error = relative(&fitted.coefficients, &case.coefficients);
        assert!(bound <= 1e-3 && error <= bound + 1e-6, "{}: off by {error:.1e}, bound {bound:.1e}", case.name);
    }
}

#[test]
fn probabilities_and_f1_are_scikit_learns() {
    for case in Fixture::open().cases() {
        let head = head(fit(&case, 1e-7), case.classes);
        let probabilities = head.predict(case.rows.view()).unwrap();
        for (row, want) in case.probabilities.rows().into_iter().enumerate() {
            for (class, &want) in want.iter().enumerate() {
                let got = f64::from(probabilities[[row, class]]);
                assert!((got - want).abs() < 1e-5, "{}: row {row} class {class}: {got} for {want}", case.name);
            }
        }
        let f1 = f1_macro(&case.labels, &most_probable(probabilities.view()));
        assert!((f1 - case.f1_macro).abs() < 1e-12, "{}: {f1} for {}", case.name, case.f1_macro);
    }
}

#[test]
fn swapping_two_classes_negates_the_model() {
    // linfa's positive class is the more frequent one: one of the two fits has it reversed.
    let case = case("two, C = 1");
    let swapped = Case { labels: case.labels.iter().map(|label| 1 - label).collect(), ..case };
    let error = relative(&-fit(&swapped, 1e-7).coefficients, &swapped.coefficients);
    assert!(error < 1e-6, "{error:.1e}");
}

#[test]
fn the_reported_gradient_is_that_of_the_mean_objective() {
    let case = case("three, C = 1");
    let loose = fit(&case, 0.5).convergence;
    let tight = fit(&case, 1e-7).convergence;
    assert!(tight.gradient_norm < 1e-7 && tight.gradient_norm < loose.gradient_norm);
    assert!(tight.objective <= loose.objective);
}

#[test]
fn a_row_has_the_same_probabilities_in_any_company() {
    let case = case("nineteen");
    let head = head(fit(&case, 1e-3), case.classes);
    let together = head.predict(case.rows.view()).unwrap();
    for (row, alone) in case.rows.axis_chunks_iter(Axis(0), 1).zip(together.rows()) {
        assert_eq!(head.predict(row).unwrap().row(0), alone);
    }
}

#[test]
fn wide_logits_converge() {
    // Rows on which linfa-logistic's loss is wrong (a logit of 60 beside small ones), so that it stops elsewhere.
    let x = array![[60.0_f32, 0.0], [0.0, 1.0], [0.0, -1.0], [59.0, 0.1]];
    let options = LogisticOptions { c: 1e4, tolerance: 1e-6, ..LogisticOptions::default() };
    let fitted = fit_logistic(x.view(), &[0, 1, 2, 0], 3, &options).unwrap();
    assert!(fitted.convergence.coefficient_error <= 1e-6);
}

#[test]
fn large_features_are_not_a_zero_model() {
    let x = array![[1000.0_f32, 0.0], [2000.0, 1.0], [-1000.0, 0.0], [-1500.0, 500.0], [900.0, -300.0]];
    let fitted = fit_logistic(x.view(), &[1, 1, 0, 0, 1], 2, &LogisticOptions::default()).unwrap();
    assert!(fitted.coefficients[[0, 0]] > 1e-3);
    let probabilities = head(fitted, 2).predict(x.view()).unwrap();
    assert_eq!(most_probable(probabilities.view()), [1, 1, 0, 0, 1]);
}

#[test]
fn a_fit_that_is_not_there_yet_is_refused() {
    let case = case("three, C = 100");
    let options = LogisticOptions { c: 100.0, max_iterations: 1, ..LogisticOptions::default() };
    let error = fit_logistic(case.rows.view(), &case.labels, 3, &options).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("logistic fit with C = 100 did not converge: after 1 steps its relative coefficient error is")
            && text.ends_with("allowed 1.0e-3"),
        "{text}"
    );
    assert_eq!(error.hint().unwrap(), "use a smaller C or a larger tolerance");
}

#[test]
fn what_is_no_problem_to_solve_is_refused() {
    let x = array![[0.0_f32, 1.0], [1.0, 0.0], [0.5, 0.5]];
    assert_eq!(refusal(x.view(), &[0, 1], 2), "got 2 labels for 3 rows");
    assert_eq!(refusal(x.view(), &[0, 0, 0], 1), "all 3 rows are of one class, a classifier needs two");
    assert_eq!(refusal(x.view(), &[1, 1, 1], 2), "all 3 rows are of one class, a classifier needs two");
    assert_eq!(refusal(x.view(), &[0, 1, 2], 2), "row 2 is of class 2, expected a class below 2");
    assert_eq!(refusal(x.view(), &[0, 1, 3], 4), "3 rows are fewer than the 4 classes");
    assert_eq!(refusal(x.view(), &[0, 2, 2], 3), "class 1 of 3 (counted from 0) has no rows");
    assert_eq!(refusal(x.slice(ndarray::s![..0, ..]), &[], 2), "nothing to fit: 0 rows of 2 dimensions");
    assert_eq!(refusal(x.slice(ndarray::s![.., ..0]), &[0, 1, 0], 2), "nothing to fit: 3 rows of 0 dimensions");
    let same = Array2::from_elem((3, 2), 0.7_f32);
    let same_text = "all 3 rows are the same vector, so nothing tells the classes apart";
    assert_eq!(refusal(same.view(), &[0, 1, 0], 2), same_text);
    let mut broken = x.clone();
    broken[[1, 0]] = f32::NAN;
    assert_eq!(refusal(broken.view(), &[0, 1, 0], 2), "row 1 has NaN in column 0, expected finite numbers");
    broken[[1, 0]] = f32::NEG_INFINITY;
    assert_eq!(refusal(broken.view(), &[0, 1, 0], 2), "row 1 has -inf in column 0, expected finite numbers");
}

#[test]
fn options_at_the_border() {
    let x = array![[0.0_f32, 1.0], [1.0, 0.0]];
    let with = |c, tolerance| {
        fit_logistic(x.view(), &[0, 1], 2, &LogisticOptions { c, tolerance, ..LogisticOptions::default() })
    };
    assert!(with(1e-9, 1e-3).is_ok() && with(1e9, 1e-3).is_ok());
    assert_eq!(with(0.0, 1e-3).unwrap_err().to_string(), "C is 0, expected a finite number above 0");
    assert_eq!(with(f64::INFINITY, 1e-3).unwrap_err().to_string(), "C is inf, expected a finite number above 0");
    assert_eq!(with(1.0, f64::NAN).unwrap_err().to_string(), "tolerance is NaN, expected a finite number above 0");
}

/// The strengths of `grid` on all folds, by an objective.
fn chosen(case: &Case, folds: &[Fold], grid: &[f64], objective: Objective) -> Result<ChosenStrength, evaluate::Error> {
    let rows = Matrix::of(case.rows.view()).unwrap();
    let targets = Targets::Classes { of: case.labels.clone(), classes: case.classes };
    let data = LabelledRows { rows: &rows, targets: &targets, weights: None };
    let search = Search { folds, strengths: grid, objective, rule: Rule::Best };
    choose_strength(&LogisticTrainer::default(), &data, &search)
}

#[test]
fn c_is_chosen_by_the_score_the_smallest_of_equals() {
    let case = case("three, C = 1");
    let folds = stratified_folds(&case.labels, 5, 3).unwrap();
    let grid = [10.0, 0.001, 1.0];
    let path = chosen(&case, &folds, &grid, Objective::F1Macro).unwrap();
    assert_eq!(path.points.iter().map(|point| point.strength).collect::<Vec<_>>(), [0.001, 1.0, 10.0]);
    let best = path.points.iter().map(|point| point.mean).fold(0.0, f64::max);
    assert_eq!(path.strength(), path.points.iter().find(|point| point.mean == best).unwrap().strength);
    assert!(path.strength() > 0.001 && path.points[0].mean < best);
    for point in &path.points {
        assert_eq!(point.scores.len(), 5);
        assert!((point.scores.iter().sum::<f64>() / 5.0 - point.mean).abs() < 1e-12 && point.spread > 0.0);
    }
    // Too weak to move a class.
    let equal = chosen(&case, &folds, &[1e-7, 1e-9, 1e-8], Objective::Accuracy).unwrap();
    assert!(equal.points.iter().all(|point| point.scores == equal.points[0].scores), "{:?}", equal.points);
    assert_eq!(equal.strength(), 1e-9);
    let again = chosen(&case, &folds, &grid, Objective::F1Macro).unwrap();
    assert_eq!(path, again);
}

#[test]
fn a_fold_without_a_rare_class_never_predicts_it() {
    let case = case("uneven");
    let train: Vec<usize> = (0..case.labels.len()).filter(|&row| case.labels[row] != 2).collect();
    let validation: Vec<usize> = (0..case.labels.len()).filter(|&row| case.labels[row] == 2).collect();
    let fold = Fold { train, validation: validation.clone() };
    let path = chosen(&case, &[fold], &[1.0], Objective::Accuracy).unwrap();
    assert_eq!(path.out_of_fold.rows, validation);
    let decisions = path.out_of_fold.decisions.mapv(|value| value as f32);
    let predicted = most_probable(decisions.view());
    assert!(predicted.iter().all(|&label| label != 2) && predicted.contains(&0));
    assert_eq!((path.points[0].mean, path.points[0].spread), (0.0, 0.0));
}

#[test]
fn choices_that_cannot_be_made() {
    let case = case("two, C = 1");
    let y = &case.labels;
    let error = |folds: &[Fold], grid: &[f64]| chosen(&case, folds, grid, Objective::RocAuc).unwrap_err();
    let good = stratified_folds(y, 3, 0).unwrap();
    assert_eq!(error(&good, &[]).to_string(), "nothing to choose from: 0 strengths on 3 folds");
    assert_eq!(error(&[], &[1.0]).to_string(), "nothing to choose from: 1 strengths on 0 folds");
    assert_eq!(error(&good, &[1.0, -1.0]).to_string(), "C is -1, expected a finite number above 0");
    let fold = |train, validation| [Fold { train, validation }];
    let empty = error(&fold(vec![0], vec![]), &[1.0]).to_string();
    assert_eq!(empty, "fold 1 has 1 rows to fit on and 0 to score on, expected at least 1 of each");
    let outside = error(&fold(vec![0, 180], vec![1]), &[1.0]).to_string();
    assert_eq!(outside, "fold 1 names row 180, expected a row below 180");
    let (ones, others): (Vec<usize>, Vec<usize>) = (0..y.len()).partition(|&row| y[row] == 1);
    // A fold of one class to fit on says that class of all rows.
    let one_class = chosen(&case, &fold(ones.clone(), others), &[2.0], Objective::Accuracy).unwrap();
    assert_eq!(one_class.points[0].scores, [0.0]);
    let undefined = error(&fold((0..20).collect(), ones.into_iter().filter(|&row| row >= 20).collect()), &[2.0]);
    assert_eq!(undefined.to_string(), "fold 1 of 1 could not be scored with C = 2");
    let evaluate::Error::Fold { source, .. } = undefined else { panic!("not about a fold") };
    assert!(matches!(*source, evaluate::Error::Undefined { .. }), "{source}");
}
