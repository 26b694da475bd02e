//! Calibrations, thresholds and sets against scikit-learn, by `export/oracle/make_calibration_fixtures.py`, and what they
//! refuse.

use ndarray::{Array2, array};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::heads::reading::{Meaning, Reading};
use crate::heads::{HeadKind, TargetScaling};
use crate::model::{Conformal, Task};

#[derive(Deserialize)]
struct Fixture {
    calibrations: Vec<Case>,
    thresholds: Vec<serde_json::Value>,
    conformal: Vec<Sets>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    task: Task,
    classes: usize,
    decisions: Vec<Vec<f64>>,
    asked: Vec<Vec<f64>>,
    labels: serde_json::Value,
    weights: Option<Vec<f64>>,
    slopes: Vec<f64>,
    intercepts: Vec<f64>,
    steps: Vec<Steps>,
    inverse_temperature: f64,
    sigmoid: Vec<Vec<f64>>,
    isotonic: Vec<Vec<f64>>,
    temperature: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Sets {
    answers: Vec<Vec<f64>>,
    classes: Vec<usize>,
    alpha: f64,
    least: Option<f64>,
}

fn fixture() -> Fixture {
    let text = std::fs::read_to_string("tests/data/heads/calibration.json").unwrap();
    serde_json::from_str(&text).unwrap()
}

fn matrix(rows: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

impl Case {
    fn targets(&self) -> Targets {
        match self.task {
            Task::Multilabel => {
                Targets::Labels { of: serde_json::from_value(self.labels.clone()).unwrap(), labels: self.classes }
            }
            _ => Targets::Classes { of: serde_json::from_value(self.labels.clone()).unwrap(), classes: self.classes },
        }
    }

    fn fit(&self, method: CalibrationMethod) -> Calibration {
        let (decisions, targets) = (matrix(&self.decisions), self.targets());
        let decided = Decided { decisions: decisions.view(), targets: &targets, weights: self.weights.as_deref() };
        Calibration::fit(method, &decided).unwrap()
    }

    fn answers(&self, calibration: &Calibration) -> Array2<f64> {
        let reading = reading((self.task, HeadKind::Svm), self.classes, Some(calibration));
        assert_eq!(reading.meaning(), Meaning::Probability);
        reading.answers(matrix(&self.asked).view()).unwrap()
    }
}

fn reading((task, kind): (Task, HeadKind), labels: usize, calibration: Option<&Calibration>) -> Reading<'_> {
    Reading { task, kind, labels, calibration, scaling: None }
}

fn largest_difference(got: &Array2<f64>, want: &Array2<f64>) -> f64 {
    assert_eq!(got.dim(), want.dim());
    got.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0, f64::max)
}

#[test]
fn temperatures_are_scikit_learns() {
    for case in fixture().calibrations {
        let calibration = case.fit(CalibrationMethod::Temperature);
        let Calibration::Temperature { temperature } = calibration else { panic!("{calibration:?}") };
        let share = (1.0 / temperature - case.inverse_temperature).abs() / case.inverse_temperature;
        // The loss is flat at its least, so that a search by its values ends 1e-8 away.
        assert!(share < 1e-6, "{}: off by a share of {share:e}", case.name);
        let difference = largest_difference(&case.answers(&calibration), &matrix(&case.temperature));
        assert!(difference < 1e-6, "{}: probabilities differ by {difference:e}", case.name);
    }
}

#[test]
fn sigmoids_are_platts_to_the_end_and_scikit_learns_as_far_as_it_goes() {
    for case in fixture().calibrations {
        let calibration = case.fit(CalibrationMethod::Platt);
        let Calibration::Platt { slopes, intercepts } = &calibration else { panic!("{calibration:?}") };
        for column in 0..slopes.len() {
            let error = |got: f64, want: f64| (got - want).abs() / want.abs().max(1e-3);
            let (slope, intercept) =
                (error(slopes[column], case.slopes[column]), error(intercepts[column], case.intercepts[column]));
            assert!(slope.max(intercept) < 1e-7, "{} {column}: off by {slope:e}, {intercept:e}", case.name);
        }
        // A row that all classes are far from has probabilities of e^-400 and less, of which scikit-learn's early end is
        // not a small share.
        let (got, want) = (case.answers(&calibration), matrix(&case.sigmoid));
        let near = if case.task == Task::Classification && case.classes > 2 { 1 } else { 0 };
        let rows = ndarray::s![near.., ..];
        let difference = largest_difference(&got.slice(rows).to_owned(), &want.slice(rows).to_owned());
        assert!(difference < 2e-4, "{}: probabilities differ by {difference:e}", case.name);
    }
}

#[test]
fn steps_are_scikit_learns() {
    for case in fixture().calibrations {
        let calibration = case.fit(CalibrationMethod::Isotonic);
        let Calibration::Isotonic { columns } = &calibration else { panic!("{calibration:?}") };
        for (column, (got, want)) in columns.iter().zip(&case.steps).enumerate() {
            assert_eq!(got.at, want.at, "{} {column}", case.name);
            let difference = got.value.iter().zip(&want.value).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(difference < 1e-12, "{} {column}: {difference:e}", case.name);
        }
        let difference = largest_difference(&case.answers(&calibration), &matrix(&case.isotonic));
        assert!(difference < 1e-12, "{}: probabilities differ by {difference:e}", case.name);
    }
}

#[test]
fn thresholds_reach_what_the_best_of_all_reach() {
    for (number, case) in fixture().thresholds.iter().enumerate() {
        let list = |key: &str| serde_json::from_value::<Option<Vec<f64>>>(case[key].clone()).unwrap();
        let answers = list("answers").unwrap();
        let right = list("right").unwrap();
        let (weights, rows) = (list("weights"), answers.len());
        let answers = Array2::from_shape_vec((rows, 1), answers).unwrap();
        let of = right.iter().map(|&right| if right > 0.0 { vec![0] } else { vec![] }).collect();
        let targets = Targets::Labels { of, labels: 1 };
        let answered = Answered {
            answers: answers.view(),
            meaning: Meaning::Probability,
            targets: &targets,
            weights: weights.as_deref(),
        };
        for rule in ["f1", "cost=3:1", "recall=0.8", "precision=0.75"] {
            let want = &case[rule];
            let got = choose_thresholds(&answered, rule.parse().unwrap()).unwrap()[0];
            let figure = |key: &str| want[key].as_f64().unwrap();
            assert!(got.reached, "{number} {rule}");
            for (got, key) in [(got.precision, "precision"), (got.recall, "recall"), (got.f1, "f1")] {
                assert!((got - figure(key)).abs() < 1e-12, "{number} {rule}: {key} is {got} for {}", figure(key));
            }
            // As many rows as scikit-learn's threshold gives, and it lies between two answers.
            let given = |least: f64| answers.iter().filter(|answer| **answer as f32 >= least as f32).count();
            assert_eq!(given(got.value), given(figure("threshold")), "{number} {rule}");
            assert!(got.value <= figure("threshold"), "{number} {rule}");
        }
    }
}

#[test]
fn sets_begin_where_the_quantile_of_split_conformal_prediction_says() {
    for (number, case) in fixture().conformal.iter().enumerate() {
        let sets = Conformal::fit(matrix(&case.answers).view(), &case.classes, case.alpha).unwrap();
        let same = match (sets.least, case.least) {
            (Some(got), Some(want)) => (got - want).abs() < 1e-12,
            (got, want) => got.is_none() && want.is_none(),
        };
        assert!(same, "{number}: {:?} for {:?}", sets.least, case.least);
        let held =
            case.classes.iter().zip(&case.answers).filter(|(class, row)| sets.holds(row[**class] as f32)).count();
        assert!(held as f64 >= (1.0 - case.alpha) * case.classes.len() as f64, "{number}: {held}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// New rows like those that sets were fitted on have their label in them as often as was promised.
    #[test]
    fn sets_hold_the_right_label_as_often_as_they_promise(seed in 0_u64..10_000, alpha in 0.05_f64..0.4) {
        let mut state = seed;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut draw = |rows: usize| {
            let mut answers = Array2::zeros((rows, 3));
            let mut classes = Vec::new();
            for mut row in answers.rows_mut() {
                row.mapv_inplace(|_: f64| uniform().powi(3) + 1e-3);
                let sum = row.sum();
                row /= sum;
                let at = uniform();
                classes.push(if at < row[0] { 0 } else if at < row[0] + row[1] { 1 } else { 2 });
            }
            (answers, classes)
        };
        // The mean of so many draws is within 0.004 of what is promised of them all, two times out of three.
        let (mut held, mut asked) = (0, 0);
        for _ in 0..60 {
            let (answers, classes) = draw(400);
            let sets = Conformal::fit(answers.view(), &classes, alpha).unwrap();
            let (answers, classes) = draw(800);
            let hits = classes.iter().zip(answers.rows()).filter(|(class, row)| sets.holds(row[**class] as f32));
            held += hits.count();
            asked += classes.len();
        }
        let share = f64::from(held as u32) / f64::from(asked as u32);
        prop_assert!(share >= 1.0 - alpha - 0.02 && share <= 1.0 - alpha + 0.03, "{share} for {alpha}");
    }

    /// Nothing that can be measured makes a fit panic, and steps never fall.
    #[test]
    fn steps_never_fall(values in prop::collection::vec((-3_i8..4, any::<bool>()), 1..40)) {
        let decisions = Array2::from_shape_fn((values.len(), 1), |(row, _)| f64::from(values[row].0) / 3.0);
        let targets = Targets::Classes { of: values.iter().map(|(_, right)| usize::from(*right)).collect(), classes: 2 };
        let decided = Decided { decisions: decisions.view(), targets: &targets, weights: None };
        let calibration = Calibration::fit(CalibrationMethod::Isotonic, &decided).unwrap();
        prop_assert!(calibration.check(1).is_ok());
        let platt = Calibration::fit(CalibrationMethod::Platt, &decided).unwrap();
        prop_assert!(platt.check(1).is_ok());
        if let Ok(temperature) = Calibration::fit(CalibrationMethod::Temperature, &decided) {
            prop_assert!(temperature.check(1).is_ok());
        }
    }
}

#[test]
fn a_class_that_a_fold_lacked_is_left_out_of_fits_and_gets_no_probability() {
    let gone = f64::NEG_INFINITY;
    let whole = array![[2.0, 0.5, -1.0], [0.1, 1.5, -0.2], [-1.0, 0.3, 2.0], [0.4, 0.6, 0.2], [1.0, -2.0, 0.9]];
    let of = vec![0, 1, 2, 0, 2];
    let fit = |decisions: &Array2<f64>, of: &[usize], method| {
        let targets = Targets::Classes { of: of.to_vec(), classes: 3 };
        Calibration::fit(method, &Decided { decisions: decisions.view(), targets: &targets, weights: None }).unwrap()
    };
    let mut torn = whole.clone();
    torn.push_row(array![0.3, gone, 0.4].view()).unwrap();
    let torn_of = [&of[..], &[1]].concat();
    // Its right class was not there to decide for: a temperature does not see the row.
    let method = CalibrationMethod::Temperature;
    assert_eq!(fit(&torn, &torn_of, method), fit(&whole, &of, method));
    for method in [CalibrationMethod::Temperature, CalibrationMethod::Platt, CalibrationMethod::Isotonic] {
        let calibration = fit(&torn, &torn_of, method);
        let answers =
            reading((Task::Classification, HeadKind::Svm), 3, Some(&calibration)).answers(torn.view()).unwrap();
        assert!(answers.iter().all(|p| (0.0..=1.0).contains(p)), "{method}: {answers}");
        assert!(answers.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-12), "{method}: {answers}");
        if method != CalibrationMethod::Isotonic {
            assert_eq!(answers[[5, 1]], 0.0, "{method}");
        }
    }
}

#[test]
fn what_has_no_temperature_says_so() {
    let fit = |sign: f64| {
        let decisions = array![[-1.0], [-2.0], [1.0], [3.0]] * sign;
        let targets = Targets::Classes { of: vec![0, 0, 1, 1], classes: 2 };
        let decided = Decided { decisions: decisions.view(), targets: &targets, weights: None };
        Calibration::fit(CalibrationMethod::Temperature, &decided).unwrap_err()
    };
    let right = fit(1.0);
    assert_eq!(right.to_string(), "no temperature is best: all rows are decided rightly");
    assert_eq!(right.hint().unwrap(), "use `platt`, whose targets are smoothed");
    let wrong = fit(-1.0);
    assert_eq!(wrong.to_string(), "no temperature is best: decisions are no better than chance");
    assert_eq!(wrong.hint(), None);
}

#[test]
fn a_label_that_no_row_has_gets_a_small_probability_and_its_default_threshold() {
    let decisions = array![[0.5], [-0.25], [2.0], [0.5]];
    let targets = Targets::Labels { of: vec![vec![]; 4], labels: 1 };
    let decided = Decided { decisions: decisions.view(), targets: &targets, weights: None };
    let calibration = Calibration::fit(CalibrationMethod::Platt, &decided).unwrap();
    let answers = reading((Task::Multilabel, HeadKind::Svm), 1, Some(&calibration)).answers(decisions.view()).unwrap();
    // Platt's target for four rows without it.
    assert!(answers.iter().all(|p| (p - 1.0 / 6.0).abs() < 1e-6), "{answers}");
    let answered =
        Answered { answers: answers.view(), meaning: Meaning::Probability, targets: &targets, weights: None };
    let chosen = choose_thresholds(&answered, ThresholdRule::F1).unwrap()[0];
    assert_eq!((chosen.value, chosen.reached, chosen.f1), (0.5, false, 0.0));
}

#[test]
fn a_precision_that_no_threshold_reaches_gives_the_best_there_is() {
    let answers = array![[0.9], [0.8], [0.7], [0.2]];
    let targets = Targets::Labels { of: vec![vec![], vec![0], vec![0], vec![]], labels: 1 };
    let answered =
        Answered { answers: answers.view(), meaning: Meaning::Probability, targets: &targets, weights: None };
    let chosen = choose_thresholds(&answered, ThresholdRule::Precision(0.9)).unwrap()[0];
    assert!(!chosen.reached && (chosen.precision - 2.0 / 3.0).abs() < 1e-12 && chosen.recall == 1.0, "{chosen:?}");
    assert!((chosen.value - 0.45).abs() < 1e-12, "{chosen:?}");
    // Where giving nothing is cheapest, the threshold is above all answers, but a probability still.
    let never = choose_thresholds(&answered, ThresholdRule::Cost { missed: 1.0, wrong: 100.0 }).unwrap()[0];
    assert!(never.value > 0.9 && never.value <= 1.0 && never.recall == 0.0, "{never:?}");
}

#[test]
fn of_two_classes_the_second_has_the_threshold_and_of_more_none() {
    let answers = array![[0.9, 0.1], [0.6, 0.4], [0.55, 0.45], [0.2, 0.8]];
    let two = Targets::Classes { of: vec![0, 1, 1, 1], classes: 2 };
    let answered = Answered { answers: answers.view(), meaning: Meaning::Probability, targets: &two, weights: None };
    let chosen = choose_thresholds(&answered, ThresholdRule::F1).unwrap();
    assert_eq!((chosen.len(), chosen[0].f1), (1, 1.0));
    assert!((chosen[0].value - 0.25).abs() < 1e-12);
    let three = Targets::Classes { of: vec![0, 1, 2], classes: 3 };
    let answers = array![[0.8, 0.1, 0.1], [0.1, 0.5, 0.4], [0.3, 0.4, 0.3]];
    let answered = Answered { answers: answers.view(), meaning: Meaning::Probability, targets: &three, weights: None };
    let error = choose_thresholds(&answered, ThresholdRule::Recall(0.5)).unwrap_err();
    assert_eq!(error.to_string(), "`recall=0.5` chooses a threshold for each label, but each row has one of 3 classes");
    assert_eq!(error.hint().unwrap(), "use `precision=P`: rows below it get no label");
    let least = choose_abstention(&answered, 0.9, None).unwrap();
    // Of the two rows that class 1 is given, the one with the greater answer is right.
    assert!(least[1].reached && (least[1].value - 0.45).abs() < 1e-12, "{least:?}");
    assert!(least[0].reached && least[0].value == 0.8 && !least[2].reached, "{least:?}");
}

#[test]
fn answers_of_every_kind_without_a_calibration() {
    let answers = |of, labels, row: &[f64]| {
        let reading = reading(of, labels, None);
        let values = Array2::from_shape_vec((1, row.len()), row.to_vec()).unwrap();
        (reading.meaning(), reading.answers(values.view()).unwrap().into_raw_vec_and_offset().0)
    };
    let (one, several) = (Task::Classification, Task::Multilabel);
    for kind in [HeadKind::Svm, HeadKind::Ridge] {
        assert_eq!(answers((one, kind), 2, &[0.75]), (Meaning::Score, vec![-0.75, 0.75]));
        assert_eq!(answers((one, kind), 3, &[0.75, -2.0, 9.0]), (Meaning::Score, vec![0.75, -2.0, 9.0]));
        assert_eq!(answers((several, kind), 2, &[0.75, -2.0]), (Meaning::Score, vec![0.75, -2.0]));
    }
    let shares = HeadKind::Neighbours;
    assert_eq!(answers((one, shares), 2, &[0.5]), (Meaning::Probability, vec![0.25, 0.75]));
    assert_eq!(answers((one, shares), 3, &[0.5, 0.25, 0.25]), (Meaning::Probability, vec![0.5, 0.25, 0.25]));
    assert_eq!(answers((several, shares), 2, &[-1.0, 0.5]), (Meaning::Probability, vec![0.0, 0.75]));
    assert_eq!(answers((one, HeadKind::Logistic), 2, &[0.0]), (Meaning::Probability, vec![0.5, 0.5]));
    let scaling = TargetScaling { mean: vec![2000.0], scale: vec![10.0] };
    let numbers = Reading { scaling: Some(&scaling), ..reading((Task::Regression, HeadKind::Ridge), 1, None) };
    assert_eq!(
        (numbers.meaning(), numbers.answers(array![[0.5]].view()).unwrap()),
        (Meaning::Number, array![[2005.0]])
    );
    let error = numbers.answers(array![[0.5, 0.5]].view()).unwrap_err();
    assert_eq!(error.to_string(), "1 rows have 2 decision values each, expected 1");
}

#[test]
fn rules_and_methods_are_read_as_they_are_written() {
    for rule in ["f1", "precision=0.9", "recall=0.5", "cost=5:1"] {
        assert_eq!(rule.parse::<ThresholdRule>().unwrap().to_string(), rule);
    }
    for wrong in ["F1", "f1=1", "precision", "precision=1.5", "recall=0", "cost=1", "cost=0:1", "cost=1:inf", "", "a=b"]
    {
        let expected = "`f1`, `precision=P`, `recall=P` or `cost=MISSED:WRONG`";
        let error = wrong.parse::<ThresholdRule>().unwrap_err().to_string();
        assert_eq!(error, format!("`{wrong}` is no rule for thresholds, expected {expected}"));
    }
    for method in ["temperature", "platt", "isotonic"] {
        assert_eq!(method.parse::<CalibrationMethod>().unwrap().to_string(), method);
    }
    assert!("sigmoid".parse::<CalibrationMethod>().is_err());
}

#[test]
fn what_cannot_be_calibrated_is_refused() {
    let fit = |decisions: &Array2<f64>, targets: &Targets, method| {
        Calibration::fit(method, &Decided { decisions: decisions.view(), targets, weights: None })
            .unwrap_err()
            .to_string()
    };
    let platt = CalibrationMethod::Platt;
    let numbers = Targets::Numbers(array![[1.0]]);
    assert_eq!(fit(&array![[1.0]], &numbers, platt), "there are no labels to calibrate, a regression gives numbers");
    let two = Targets::Classes { of: vec![0, 1], classes: 2 };
    assert_eq!(fit(&array![[1.0]], &two, platt), "got 2 labels for 1 rows");
    assert_eq!(fit(&array![[1.0, 2.0], [1.0, 2.0]], &two, platt), "2 rows have 2 decision values each, expected 1");
    assert_eq!(
        fit(&array![[1.0], [f64::NAN]], &two, platt),
        "row 1 has no decision value in column 0, expected a number"
    );
    let gone = array![[f64::NEG_INFINITY], [f64::INFINITY]];
    for method in [platt, CalibrationMethod::Isotonic] {
        assert_eq!(fit(&gone, &two, method), "column 0 has no row with a finite decision value to calibrate on");
    }
    let sets = |answers: Array2<f64>, alpha| Conformal::fit(answers.view(), &[0], alpha).unwrap_err().to_string();
    assert_eq!(
        sets(array![[0.5, 0.5]], 1.0),
        "the share of sets without the right label is 1, expected a number above 0 and below 1"
    );
    assert_eq!(sets(Array2::zeros((0, 2)), 0.1), "got 1 labels for 0 rows");
}
