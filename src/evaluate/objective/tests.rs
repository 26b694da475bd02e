//! Objectives against scikit-learn's and scipy's figures (tests/data/heads/objectives.json), draws of rows against the
//! rows that they stand for, and what is refused.

use ndarray::{Array2, Axis, array};
use serde_json::Value;

use super::*;
use crate::heads::{HeadKind, Targets};

/// Of figures near 1; sums of a hundred rows in another order differ by less.
const TOLERANCE: f64 = 1e-12;

fn fixture() -> Value {
    serde_json::from_str(&std::fs::read_to_string("tests/data/heads/objectives.json").unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn whole(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as usize).collect()
}

fn table(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(numbers).collect();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

struct Case {
    name: String,
    truth: Targets,
    decisions: Array2<f64>,
    figures: Vec<(Objective, f64)>,
}

fn cases() -> Vec<Case> {
    let fixture = fixture();
    let case = |(name, case): (&String, &Value)| {
        let truth = match case["task"].as_str().unwrap() {
            "classification" => {
                Targets::Classes { of: whole(&case["truth"]), classes: case["classes"].as_u64().unwrap() as usize }
            }
            "multilabel" => Targets::Labels {
                of: case["truth"].as_array().unwrap().iter().map(whole).collect(),
                labels: case["labels"].as_u64().unwrap() as usize,
            },
            _ => Targets::Numbers(table(&case["truth"])),
        };
        let figure = |(name, value): (&String, &Value)| (name.parse().unwrap(), value.as_f64().unwrap());
        let figures = case["figures"].as_object().unwrap().iter().map(figure).collect();
        Case { name: name.clone(), truth, decisions: table(&case["logits"]), figures }
    };
    fixture["cases"].as_object().unwrap().iter().map(case).collect()
}

fn scorer(objective: Objective, truth: &Targets, decisions: &Array2<f64>) -> Result<Scorer, Error> {
    Scorer::new(objective, truth, Given::Decisions(decisions.view(), Scale::Logits))
}

fn score(objective: Objective, truth: &Targets, decisions: &Array2<f64>) -> Result<f64, Error> {
    scorer(objective, truth, decisions)?.score()
}

#[test]
fn figures_are_scikit_learns_and_scipys() {
    let mut seen = Vec::new();
    for case in cases() {
        for (objective, want) in &case.figures {
            let got = score(*objective, &case.truth, &case.decisions).unwrap();
            let near = (got - want).abs() <= TOLERANCE * want.abs().max(1.0);
            assert!(near, "{}: {objective} is {got}, expected {want}", case.name);
            seen.push(objective.name());
        }
    }
    assert!(seen.len() > 50 && Objective::ALL.iter().all(|objective| seen.contains(&objective.name())), "{seen:?}");
}

#[test]
fn rows_that_are_drawn_twice_count_as_two_rows() {
    for case in cases() {
        let rows = case.truth.rows();
        let times: Vec<u32> = (0..rows).map(|row| [2, 0, 1, 3][row * 7 % 4]).collect();
        let drawn: Vec<usize> = (0..rows).flat_map(|row| std::iter::repeat_n(row, times[row] as usize)).collect();
        let (truth, decisions) = (case.truth.select(&drawn), case.decisions.select(Axis(0), &drawn));
        for objective in Objective::ALL.into_iter().filter(|objective| objective.serves(truth.task())) {
            let got = scorer(objective, &case.truth, &case.decisions).unwrap().score_drawn(&times);
            let want = scorer(objective, &truth, &decisions).unwrap().score_drawn(&vec![1; drawn.len()]);
            let (got, want) = (got.unwrap(), want.unwrap());
            assert!((got - want).abs() < 1e-12 * want.abs().max(1.0), "{}: {objective}: {got} for {want}", case.name);
        }
    }
}

#[test]
fn answers_say_the_same_as_the_decisions_they_come_from() {
    for case in cases() {
        let answers = scorer::answers(&case.truth, case.decisions.view());
        let singles: Vec<usize> = answers.iter().filter_map(|labels| labels.first().copied()).collect();
        let given = match &case.truth {
            Targets::Classes { .. } => Given::Classes(&singles),
            Targets::Labels { .. } => Given::Labels(&answers),
            Targets::Numbers(_) => continue,
        };
        let by_answers = Scorer::new(Objective::F1Macro, &case.truth, given).unwrap().score().unwrap();
        assert_eq!(by_answers, score(Objective::F1Macro, &case.truth, &case.decisions).unwrap());
        let error = Scorer::new(Objective::RocAuc, &case.truth, given).unwrap_err();
        assert_eq!(error.to_string(), "`roc_auc` needs decision values, only labels are given");
    }
}

#[test]
fn curves_are_scikit_learns() {
    let curves = &fixture()["curves"];
    let right: Vec<bool> = whole(&curves["truth"]).iter().map(|&truth| truth == 1).collect();
    let cuts = cut_points(&right, &numbers(&curves["scores"]));
    let (all, others) =
        (right.iter().filter(|right| **right).count() as f64, right.iter().filter(|right| !**right).count() as f64);
    let close = |got: f64, want: f64| assert!((got - want).abs() < TOLERANCE, "{got} for {want}");
    // scikit-learn's curve rises with the threshold, ends with a cut that has no row, and starts where all are found.
    let (precision, recall) = (numbers(&curves["precision"]), numbers(&curves["recall"]));
    let thresholds = numbers(&curves["thresholds"]);
    assert_eq!((precision.len(), thresholds.len()), (cuts.len() + 1, cuts.len()));
    for (at, cut) in cuts.iter().rev().enumerate() {
        assert_eq!(cut.threshold, thresholds[at]);
        close(cut.precision(), precision[at]);
        close(cut.recall(all as u64), recall[at]);
    }
    let (rates, false_rates) = (numbers(&curves["true_positive_rate"]), numbers(&curves["false_positive_rate"]));
    for ((cut, rate), false_rate) in cuts.iter().zip(&rates[1..]).zip(&false_rates[1..]) {
        close(cut.hits as f64 / all, *rate);
        close(cut.false_hits as f64 / others, *false_rate);
    }
    assert_eq!(numbers(&curves["cuts"]), cuts.iter().map(|cut| cut.threshold).collect::<Vec<f64>>());
}

#[test]
fn a_class_that_was_not_fitted_is_never_given() {
    let truth = Targets::Classes { of: vec![0, 1, 2, 2], classes: 3 };
    let never = f64::NEG_INFINITY;
    let decisions = array![[1.0, 0.0, never], [0.0, 1.0, never], [1.0, 0.0, never], [0.0, 2.0, never]];
    assert_eq!(score(Objective::Accuracy, &truth, &decisions).unwrap(), 0.5);
    // Two rows have the probability 0, which is kept a rounding away from it.
    let loss = score(Objective::LogLoss, &truth, &decisions).unwrap();
    let want = (2.0 * -f64::EPSILON.ln() + 2.0 * (1.0 + (-1.0_f64).exp()).ln()) / 4.0;
    assert!((loss - want).abs() < 1e-12, "{loss} for {want}");
    assert!(score(Objective::RocAuc, &truth, &decisions).unwrap() > 0.5);
    let two = Targets::Classes { of: vec![0, 1], classes: 2 };
    assert_eq!(score(Objective::Accuracy, &two, &array![[f64::INFINITY], [f64::INFINITY]]).unwrap(), 0.5);
}

#[test]
fn what_has_no_figure_is_refused() {
    let refused = |objective, truth: &Targets, decisions: &Array2<f64>| score(objective, truth, decisions).unwrap_err();
    let one = Targets::Classes { of: vec![1, 1], classes: 2 };
    let error = refused(Objective::RocAuc, &one, &array![[1.0], [2.0]]);
    let reason = "no class has rows that are of it and rows that are not";
    assert_eq!(error.to_string(), format!("`roc_auc` is not defined on 2 rows as these: {reason}"));
    assert_eq!(error.hint().unwrap(), "measure more rows, or by `f1_macro`");
    let constant = Targets::Numbers(array![[3.0], [3.0]]);
    let error = refused(Objective::KendallTau, &constant, &array![[1.0], [2.0]]);
    assert!(error.to_string().ends_with("what is right is the same for all of them"), "{error}");
    let single = Targets::Numbers(array![[3.0]]);
    assert!(refused(Objective::R2, &single, &array![[1.0]]).to_string().contains("fewer than two"));
    let none = Targets::Labels { of: vec![vec![], vec![]], labels: 1 };
    assert!(
        refused(Objective::F1Macro, &none, &array![[-1.0], [-2.0]]).to_string().ends_with("no label is right or given")
    );
    assert!(
        refused(Objective::AveragePrecision, &none, &array![[1.0], [2.0]]).to_string().ends_with("no row has a label")
    );
    let large = Targets::Numbers(array![[1e300], [-1e300]]);
    assert!(
        refused(Objective::Rmse, &large, &array![[0.0], [0.0]]).to_string().ends_with("beyond the range of numbers")
    );
}

#[test]
fn a_constant_truth_or_answer_has_the_figure_that_is_written_down() {
    let (constant, rising) = (array![[3.0], [3.0], [3.0]], array![[1.0], [2.0], [4.0]]);
    let truth = Targets::Numbers(rising.clone());
    for objective in [Objective::Pearson, Objective::Spearman, Objective::KendallTau] {
        assert_eq!(score(objective, &truth, &constant).unwrap(), 0.0);
        assert!((score(objective, &truth, &rising).unwrap() - 1.0).abs() < 1e-15);
    }
    let truth = Targets::Numbers(constant.clone());
    assert_eq!(score(Objective::R2, &truth, &constant).unwrap(), 1.0);
    assert_eq!(score(Objective::R2, &truth, &rising).unwrap(), 0.0);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let refused =
        |objective, truth: &Targets, given: Given<'_>| Scorer::new(objective, truth, given).unwrap_err().to_string();
    let truth = Targets::Classes { of: vec![0, 2], classes: 3 };
    let narrow = array![[1.0], [2.0]];
    let of = |values| Given::Decisions(values, Scale::Logits);
    assert_eq!(refused(Objective::F1Macro, &truth, of(narrow.view())), "got 2 × 1 decision values, expected 2 × 3");
    let nan = array![[0.0, 1.0, 2.0], [0.0, f64::NAN, 2.0]];
    assert_eq!(refused(Objective::F1Macro, &truth, of(nan.view())), "row 1 has the decision value NaN in column 1");
    let fine = array![[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]];
    let plain = Given::Decisions(fine.view(), Scale::of(HeadKind::Linear));
    let expected = "`log_loss` needs probabilities, only logistic heads have them while they are fitted";
    assert_eq!(refused(Objective::LogLoss, &truth, plain), expected);
    assert_eq!(refused(Objective::Mae, &truth, plain), "`mae` says nothing about classification");
    assert_eq!(refused(Objective::Accuracy, &truth, Given::Classes(&[0])), "got 1 predictions for 2 labels");
    assert_eq!(
        refused(Objective::Accuracy, &truth, Given::Classes(&[0, 3])),
        "row 1 has class 3, expected a class below 3"
    );
    for objective in [Objective::F1Macro, Objective::LogLoss, Objective::RocAuc] {
        let beyond = Targets::Classes { of: vec![0, 3], classes: 3 };
        assert_eq!(refused(objective, &beyond, of(fine.view())), "row 1 has class 3, expected a class below 3");
        let beyond = Targets::Labels { of: vec![vec![], vec![1, 3]], labels: 3 };
        assert_eq!(refused(objective, &beyond, of(fine.view())), "row 1 has class 3, expected a class below 3");
    }
    let empty = Targets::Numbers(Array2::zeros((0, 1)));
    let nothing = Array2::zeros((0, 1));
    assert_eq!(refused(Objective::R2, &empty, of(nothing.view())), "no predictions to measure");
    let numbers = Targets::Numbers(array![[1.0], [2.0]]);
    let infinite = array![[1.0], [f64::INFINITY]];
    assert_eq!(refused(Objective::R2, &numbers, of(infinite.view())), "row 1 has the decision value inf in column 0");
}

#[test]
fn names_lead_back() {
    for objective in Objective::ALL {
        assert_eq!(objective.name().parse::<Objective>().unwrap(), objective);
        assert!(Task::ALL.iter().any(|&task| objective.serves(task)));
    }
    let error = "f1".parse::<Objective>().unwrap_err();
    assert_eq!(error.to_string(), "`f1` is no objective");
    assert!(error.hint().unwrap().contains("f1_macro"), "{:?}", error.hint());
    for task in Task::ALL {
        assert!(Objective::default_of(task).serves(task));
    }
    let error = Objective::R2.check_task(Task::Multilabel).unwrap_err();
    assert_eq!(error.to_string(), "`r2` says nothing about multilabel");
    let hint = "choose one of accuracy, f1_macro, f1_micro, f1_weighted, log_loss, roc_auc, average_precision";
    assert_eq!(error.hint().unwrap(), hint);
}
