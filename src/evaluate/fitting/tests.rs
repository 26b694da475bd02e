//! What is refused before a fit, and what a finished fit must not be lost for.

use ndarray::Array2;

use super::*;
use crate::heads::{
    CalibrationMethod, Classes, DEV, Fitted, Fold, HeadKind, LabelledRows, LogisticTrainer, NeighbourTrainer, Simplest,
    StrengthName, TakeDecisions, Targets, TaskReason, ThresholdRule,
};
use crate::{evaluate, heads};

/// Asked for a fit, it says so.
struct NeverAsked(HeadKind);

impl Trainer for NeverAsked {
    fn kind(&self) -> HeadKind {
        self.0
    }

    fn strength(&self) -> StrengthName {
        StrengthName { name: "C", simplest: Simplest::Smallest }
    }

    fn fit(&self, _: &LabelledRows<'_>, _: f64) -> Result<Fitted, heads::Error> {
        panic!("a fit was asked for")
    }

    fn path(&self, _: &LabelledRows<'_>, _: &[Fold], _: &[f64], _: TakeDecisions<'_>) -> Result<(), heads::Error> {
        panic!("a path was asked for")
    }
}

/// Rows that are near the corner of their class; the first `trained` classes are those of the `train` rows.
fn set(of: Vec<usize>, parts: &[&str], trained: usize) -> TrainingSet {
    let names = ["a", "b", "c", "d"];
    let classes = of.iter().max().unwrap() + 1;
    let value = |(row, column): (usize, usize)| {
        let noise = ((row * 31 + column * 17) % 23) as f32 / 23.0;
        if of[row] == column { 1.0 + noise } else { noise }
    };
    TrainingSet {
        vectors: Array2::from_shape_fn((of.len(), 4), value).into(),
        ids: (0..of.len()).map(|row| format!("p{row}")).collect(),
        titles: vec![String::new(); of.len()],
        splits: parts.iter().map(|part| Some((*part).to_owned())).collect(),
        targets: Targets::Classes { of, classes },
        classes: Classes { names: names[..classes].iter().map(|&name| name.to_owned()).collect(), trained },
        groups: None,
        folds: None,
        weights: None,
        reason: TaskReason::Texts,
        look_alikes: Vec::new(),
        unlabelled: 0,
        without_split: 0,
    }
}

/// `train` rows of so many classes, in turn, and a part `test` of four rows that all have the class `tested`.
fn train_and_test(classes: usize, tested: usize) -> TrainingSet {
    let of = (0..60).map(|row| row % classes).chain([tested; 4]).collect();
    let parts: Vec<&str> = [TRAIN; 60].into_iter().chain(["test"; 4]).collect();
    set(of, &parts, classes)
}

fn plan(trainer: &dyn Trainer) -> FitPlan<'_> {
    FitPlan {
        trainer,
        strengths: &[1.0],
        folds: None,
        seed: 1,
        objective: Objective::F1Macro,
        rule: Rule::Best,
        balanced: false,
        answers: AnswerPlan::default(),
        learning_curve: false,
        nested: false,
        unknown: UnknownRule::Missed,
        leaks: LeakOptions::default(),
    }
}

fn fit(set: &TrainingSet, plan: &FitPlan<'_>) -> Result<Fitting, Error> {
    fit_and_measure(set, plan, HeadDescription::default())
}

#[test]
fn what_no_head_can_answer_is_refused_before_a_fit() {
    let three = train_and_test(3, 0);
    let (logistic, svm) = (NeverAsked(HeadKind::Logistic), NeverAsked(HeadKind::Svm));
    let plain = plan(&logistic);
    let answers = |answers| FitPlan { answers, ..plan(&logistic) };

    let error = fit(&three, &FitPlan { objective: Objective::LogLoss, ..plan(&svm) }).unwrap_err();
    assert!(matches!(error, Error::NeedsLogits { .. }) && error.hint().is_some(), "{error}");
    let rules = [ThresholdRule::F1, ThresholdRule::Recall(0.9), ThresholdRule::Cost { missed: 1.0, wrong: 2.0 }];
    for rule in rules {
        let error = fit(&three, &answers(AnswerPlan { thresholds: Some(rule), ..AnswerPlan::default() })).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Head(heads::Error::Calibration(heads::CalibrationError::ThresholdsOfClasses { classes: 3, .. }))
            ),
            "{error}"
        );
    }
    let abstain = AnswerPlan { abstain: Some(0.5), ..AnswerPlan::default() };
    let error = fit(&three, &FitPlan { answers: abstain, ..plan(&svm) }).unwrap_err();
    assert_eq!(error.to_string(), "0.5 is a probability, and a head of the kind svm gives scores of any size");
    assert!(error.hint().unwrap().contains("--calibration platt"));
    let unknown = train_and_test(3, 3);
    let error = fit(&unknown, &FitPlan { unknown: UnknownRule::LeaveOut, ..plain }).unwrap_err();
    assert!(matches!(&error, Error::NothingKnown { part, rows: 4 } if part == "test"), "{error}");
}

#[test]
fn inner_folds_that_cannot_be_made_are_refused_before_a_fit() {
    let never = NeverAsked(HeadKind::Logistic);
    let nested = FitPlan { nested: true, ..plan(&never) };
    let names = |count: usize| Some((0..64).map(|row| Some(format!("{}", row / 3 % count))).collect());
    let named = TrainingSet { folds: names(2), ..train_and_test(3, 0) };
    let error = fit(&named, &nested).unwrap_err();
    assert_eq!(error.to_string(), "the rows beside fold 1 of 2 cannot be divided into folds of their own");
    let grouped = TrainingSet { groups: names(5), ..train_and_test(3, 0) };
    let error = fit(&grouped, &nested).unwrap_err();
    assert!(matches!(error, Error::InnerFolds { folds: 5, .. }) && error.hint().is_some(), "{error}");
    let trainer = LogisticTrainer::default();
    let enough = TrainingSet { folds: names(3), ..train_and_test(3, 0) };
    assert!(fit(&enough, &FitPlan { nested: true, ..plan(&trainer) }).unwrap().nested.is_some());
}

#[test]
fn a_part_without_known_labels_has_no_figure_of_decision_values() {
    let trainer = LogisticTrainer::default();
    for objective in [Objective::RocAuc, Objective::LogLoss, Objective::AveragePrecision] {
        let fitting = fit(&train_and_test(3, 3), &FitPlan { objective, ..plan(&trainer) }).unwrap();
        let figures = &fitting.parts[1].figures;
        assert_eq!((figures.part.as_str(), figures.rows), ("test", 4));
        assert!(figures.figures.iter().all(|figure| figure.objective != objective.name()));
    }
}

#[test]
fn a_learning_curve_leaves_out_shares_with_fewer_rows_than_neighbours() {
    let trainer = NeighbourTrainer::default();
    let plan = FitPlan { strengths: &[15.0], learning_curve: true, ..plan(&trainer) };
    let curve = fit(&train_and_test(3, 0), &plan).unwrap().learning_curve.unwrap();
    // Of 48 rows to fit on, a tenth and a fifth are fewer than 15.
    assert_eq!(curve.iter().map(|point| point.share).collect::<Vec<_>>(), [0.4, 0.6, 0.8, 1.0]);
}

#[test]
fn class_weights_are_for_fits_and_own_weights_for_what_is_settled() {
    let of: Vec<usize> = (0..80).map(|row| usize::from(row % 8 == 0)).collect();
    let parts: Vec<&str> = (0..80).map(|row| if row < 48 { TRAIN } else { DEV }).collect();
    let trainer = LogisticTrainer::default();
    let answers = AnswerPlan { calibrate: Some(CalibrationMethod::Platt), ..AnswerPlan::default() };
    let plan = FitPlan { balanced: true, answers, ..plan(&trainer) };
    let plain = set(of, &parts, 2);
    let bench = Bench::new(&plain, &plan).unwrap();
    assert_eq!((bench.weights().unwrap().len(), bench.own_weights()), (80, None));
    assert!(bench.weights().unwrap()[0] > 3.0);
    let own: Vec<f64> = (0..80).map(|row| 1.0 + (row % 3) as f64).collect();
    let weighted = TrainingSet { weights: Some(own.clone()), ..plain };
    let bench = Bench::new(&weighted, &plan).unwrap();
    assert_eq!(bench.own_weights(), Some(&own[..]));
    // With the dev rows as they are, calibrated answers are as often right as they say.
    let fitting = fit(&weighted, &plan).unwrap();
    let chosen = &fitting.choice.as_ref().unwrap().chosen.out_of_fold;
    let second = fitting.head.reading().answers(chosen.decisions.view()).unwrap().column(1).to_vec();
    let weight = |place: usize| own[chosen.rows[place]];
    let all: f64 = (0..second.len()).map(weight).sum();
    let said = (0..second.len()).map(|place| weight(place) * second[place]).sum::<f64>() / all;
    let right = (0..second.len()).filter(|&place| chosen.rows[place].is_multiple_of(8)).map(weight).sum::<f64>() / all;
    assert!((said - right).abs() < 0.03, "{said} for {right}");
}

#[test]
fn areas_go_by_a_calibration_that_changes_the_order_of_rows() {
    let (logistic, svm) = (LogisticTrainer::default(), heads::SvmTrainer::default());
    let methods = [CalibrationMethod::Temperature, CalibrationMethod::Platt, CalibrationMethod::Isotonic];
    let mut moved = 0;
    for (classes, method, trainer) in methods.into_iter().flat_map(|method| {
        [(2, method, &logistic as &dyn Trainer), (3, method, &logistic), (3, method, &svm), (2, method, &svm)]
    }) {
        // Neighbouring classes by noise, so that there are mistakes, and a test of all classes.
        let of: Vec<usize> = (0..120).map(|row| if row % 5 == 0 { row / 5 % classes } else { row % classes }).collect();
        let parts: Vec<&str> = (0..120).map(|row| if row / 7 % 3 == 0 { "test" } else { TRAIN }).collect();
        let mut set = set(of, &parts, classes);
        let all: Vec<usize> = (0..120).collect();
        let mut matrix = set.copied(&all);
        matrix.indexed_iter_mut().for_each(|((row, column), value)| {
            *value += ((row * 13 + column * 29) % 41) as f32 / 20.0;
        });
        set.vectors = matrix.into();
        for objective in [Objective::RocAuc, Objective::AveragePrecision] {
            let answers = AnswerPlan { calibrate: Some(method), ..AnswerPlan::default() };
            let fitting = fit(&set, &FitPlan { objective, answers, ..plan(trainer) }).unwrap();
            let part = fitting.parts.iter().find(|part| part.figures.part == "test").unwrap();
            let figure = |figure: &&Figure| figure.objective == objective.name();
            let got = part.figures.figures.iter().find(figure).unwrap().interval.value;
            let rows = set.copied(&part.rows);
            let truth = set.learnt(&part.rows);
            let decisions = fitting.head.decisions(rows.view()).unwrap();
            let answers = fitting.head.reading().answers(decisions.view()).unwrap();
            // One against the rest, in the answers as they are given.
            let area = |values: &Array2<f64>, column: usize| {
                let right: Vec<bool> = match &truth {
                    Targets::Classes { of, .. } => of.iter().map(|&class| class == column).collect(),
                    _ => panic!("classes"),
                };
                let values = values.column(column).to_vec();
                match objective {
                    Objective::RocAuc => evaluate::roc_auc(&right, &values).unwrap(),
                    _ => evaluate::average_precision(&right, &values).unwrap(),
                }
            };
            let columns = if classes == 2 { 1..2 } else { 0..classes };
            let mean = |values| columns.clone().map(|column| area(values, column)).sum::<f64>() / columns.len() as f64;
            assert!((got - mean(&answers)).abs() < 1e-12, "{classes} classes, {method}: {got} for {}", mean(&answers));
            if classes == 3 {
                moved += usize::from((mean(&answers) - mean(&decisions)).abs() > 1e-6);
            }
        }
    }
    assert!(moved > 4, "only {moved} areas differ from those of the decision values");
}

#[test]
fn the_loss_of_a_part_goes_by_the_calibration() {
    let trainer = LogisticTrainer::default();
    for (classes, method) in [(2, CalibrationMethod::Platt), (3, CalibrationMethod::Temperature)] {
        let mut set = train_and_test(classes, 0);
        // A mistake in each dozen, so that there is a temperature.
        let Targets::Classes { of, .. } = &mut set.targets else { panic!("classes") };
        (0..60).step_by(12).for_each(|row| of[row] = 1);
        let answers = AnswerPlan { calibrate: Some(method), ..AnswerPlan::default() };
        let fitting = fit(&set, &FitPlan { objective: Objective::LogLoss, answers, ..plan(&trainer) }).unwrap();
        let figure = |figure: &&Figure| figure.objective == Objective::LogLoss.name();
        let got = fitting.parts[1].figures.figures.iter().find(figure).unwrap().interval.value;
        let rows = set.copied(&fitting.parts[1].rows);
        let answers = fitting.head.predict(rows.view()).unwrap();
        let expected = evaluate::log_loss(&[0; 4], answers.view()).unwrap();
        assert!((got - expected).abs() < 1e-6, "{got} for {expected}");
    }
}

#[test]
fn rows_of_seen_and_unseen_groups_have_figures_of_their_own() {
    // In `test` six rows of a group that `train` has, all right, and four others, all wrong; in `test_group` two others.
    let of: Vec<usize> = (0..72).map(|row| row % 3).collect();
    let parts: Vec<&str> = (0..72)
        .map(|row| match row {
            0..60 => TRAIN,
            60..70 => "test",
            _ => "test_group",
        })
        .collect();
    let mut set = set(of, &parts, 3);
    let Targets::Classes { of, .. } = &mut set.targets else { panic!("classes") };
    (66..72).for_each(|row| of[row] = (of[row] + 1) % 3);
    let group = |row: usize| match row {
        0..60 => Some(format!("g{}", row / 3 % 10)),
        60..66 => Some("g3".to_owned()),
        66..68 => None,
        _ => Some("new".to_owned()),
    };
    set.groups = Some((0..72).map(group).collect());
    let trainer = LogisticTrainer::default();
    let accuracy = FitPlan { objective: Objective::Accuracy, ..plan(&trainer) };
    let fitting = fit(&set, &accuracy).unwrap();
    let of_part = |part: usize| fitting.parts[part].figures.groups.as_ref();
    assert!(of_part(0).is_none(), "`train` has all of its groups");
    let value = |interval: &Option<evaluate::Interval>| interval.map(|interval| interval.value);
    let test = of_part(1).unwrap();
    assert_eq!((&test.parts[..], test.seen_rows, test.unseen_rows), (&["test".to_owned()][..], 6, 4));
    assert_eq!((value(&test.seen), value(&test.unseen), value(&test.lost)), (Some(1.0), Some(0.0), Some(1.0)));
    let other = of_part(2).unwrap();
    assert_eq!((other.seen_rows, other.unseen_rows, value(&other.seen), other.lost), (0, 2, None, None));
    let all = fitting.seen_groups.as_ref().unwrap();
    assert_eq!((all.parts.join(", ").as_str(), all.seen_rows, all.unseen_rows), ("test, test_group", 6, 6));
    assert_eq!((value(&all.unseen), value(&all.lost)), (Some(0.0), Some(1.0)));
    let kept = &fitting.head.metrics;
    assert_eq!((kept[1]["groups"]["lost"]["value"].as_f64(), kept[0].get("groups")), (Some(1.0), None));
    // A loss is a loss whichever way the objective goes, also of decision values; and an area of few rows has no figure.
    let of_loss = fit(&set, &FitPlan { objective: Objective::LogLoss, ..plan(&trainer) }).unwrap();
    assert!(of_loss.parts[1].figures.groups.as_ref().unwrap().lost.unwrap().value > 0.5);
    let Targets::Classes { of, .. } = &mut set.targets else { panic!("classes") };
    (60..66).for_each(|row| of[row] = 1);
    let of_area = fit(&set, &FitPlan { objective: Objective::RocAuc, ..plan(&trainer) }).unwrap();
    let groups = of_area.parts[1].figures.groups.as_ref().unwrap();
    assert_eq!((groups.seen_rows, groups.seen, groups.lost), (6, None, None));
    assert!(groups.unseen.is_some());
    set.groups = None;
    let plain = fit(&set, &accuracy).unwrap();
    assert!(plain.seen_groups.is_none() && plain.parts.iter().all(|part| part.figures.groups.is_none()));
}
