//! A head's figures by hand: answers are given, F1 is worked out.

use ndarray::{Array2, array};

use super::*;
use crate::model::Classification;

fn head(task: Task, labels: &[&str], thresholds: Option<Vec<f64>>) -> (GraphHead, GraphHead) {
    let labels = labels.iter().map(|&label| label.to_owned()).collect();
    let head = GraphHead { thresholds, ..GraphHead::of_checkpoint(&Classification { task, labels }) };
    (head.clone(), head)
}

/// Takes answers with what is right about each text, labels parted by blanks.
fn measure(
    mut answers: Answers,
    original: &Array2<f32>,
    new: &Array2<f32>,
    right: &[Option<&str>],
) -> Result<HeadQuality, Error> {
    let split = |labels: &str| labels.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let right: Vec<Option<Vec<String>>> = right.iter().map(|labels| labels.map(split)).collect();
    answers.take(original.view(), new.view(), &right.iter().map(Option::as_deref).collect::<Vec<_>>());
    answers.finish()
}

/// Probabilities of `down` and `up`.
fn directions(up: &[f32]) -> Array2<f32> {
    Array2::from_shape_fn((up.len(), 2), |(row, column)| if column == 1 { up[row] } else { 1.0 - up[row] })
}

#[test]
fn the_drop_is_that_of_scikit_learns_macro_f1() {
    let answers = Answers::of_graph(&head(Task::Classification, &["down", "up"], None), Some("direction"));
    let right = [Some("up"), Some("down"), None, Some("up"), Some("down")];
    // The original is right on all; the new one says `up` for the last, which is `down`. The third has no label.
    let (original, new) = (directions(&[0.75, 0.25, 0.75, 0.75, 0.25]), directions(&[0.75, 0.25, 0.25, 1.0, 0.5625]));
    let found = measure(answers, &original, &new, &right).unwrap();
    assert_eq!((found.name.as_str(), found.max_delta, found.answers_changed), ("classifier", 0.5, Some(2)));
    let f1 = found.f1.unwrap();
    assert_eq!((f1.label.as_str(), f1.texts, f1.unlabelled, f1.unknown_labels), ("direction", 4, 1, 0));
    // up: 2 of 3 right and all found, 0.8; down: its one right and half found, 2/3.
    assert_eq!((f1.macro_original, f1.micro_original, f1.micro), (1.0, None, None));
    assert!((f1.macro_new - (0.8 + 2.0 / 3.0) / 2.0).abs() < 1e-15, "{f1:?}");
    assert_eq!(f1.macro_drop, 1.0 - f1.macro_new);
}

#[test]
fn a_head_for_several_labels_gives_each_by_its_own_threshold() {
    let several = head(Task::Multilabel, &["east", "north"], Some(vec![0.7, 0.75]));
    let right = [Some("east"), Some("east north"), Some(""), None];
    let original = array![[0.71, 0.7], [0.8, 0.74], [0.1, 0.1], [0.9, 0.9]];
    let new = array![[0.7, 0.7], [0.69, 0.74], [0.8, 0.1], [0.9, 0.9]];
    let found = measure(Answers::of_graph(&several, Some("directions")), &original, &new, &right).unwrap();
    assert_eq!(found.answers_changed, Some(2));
    let f1 = found.f1.unwrap();
    assert_eq!((f1.texts, f1.unlabelled), (3, 1));
    // Original: east twice, both right; north missed. New: east for the first, right, and the third, wrong.
    assert_eq!((f1.macro_original, f1.micro_original), (0.5, Some(0.8)));
    assert_eq!((f1.macro_new, f1.micro, f1.macro_drop), (0.25, Some(0.4), 0.25));
}

/// Values are those of scikit-learn's `f1_score(right, given, labels=["a", "b"], average="macro", zero_division=0)`.
#[test]
fn a_stray_label_counts_by_what_it_takes_from_the_right_one() {
    let one = |given: &[usize]| Array2::from_shape_fn((4, 3), |(row, label)| f32::from(u8::from(given[row] == label)));
    let right = [Some("a"), Some("a"), Some("b"), Some("b")];
    let abc = || Answers::of_graph(&head(Task::Classification, &["a", "b", "c"], None), Some("field"));
    let f1 = |original: &[usize], new: &[usize]| {
        let f1 = measure(abc(), &one(original), &one(new), &right).unwrap().f1.unwrap();
        (f1.macro_original, f1.macro_new, f1.macro_drop)
    };
    let (all, without_one) = (1.0, (1.0 + 2.0 / 3.0) / 2.0);
    assert_eq!(f1(&[0, 0, 1, 1], &[0, 0, 1, 2]), (all, without_one, all - without_one));
    // A side that gives `c` once isn't the better one where the other has lost two right answers.
    assert_eq!(f1(&[0, 0, 1, 2], &[1, 0, 0, 1]), (without_one, 0.5, without_one - 0.5));
    let several = || Answers::of_graph(&head(Task::Multilabel, &["a", "b", "c"], None), Some("field"));
    let found = measure(several(), &one(&[0, 0, 1, 1]), &one(&[0, 0, 1, 2]), &right).unwrap().f1.unwrap();
    assert_eq!((found.macro_new, found.micro), (without_one, Some(0.75)));
}

#[test]
fn each_side_gives_labels_by_its_own_thresholds() {
    let (mut original, new) = head(Task::Multilabel, &["east", "north"], Some(vec![0.5, 0.5]));
    original.thresholds = Some(vec![0.75, 0.5]);
    let same = array![[0.6, 0.2], [0.8, 0.2]];
    let right = [Some("east"), Some("east")];
    let found = measure(Answers::of_graph(&(original, new), Some("field")), &same, &same, &right).unwrap();
    assert_eq!((found.max_delta, found.answers_changed), (0.0, Some(1)));
    let f1 = found.f1.unwrap();
    assert_eq!((f1.macro_original, f1.macro_new), (2.0 / 3.0, 1.0));
}

#[test]
fn numbers_change_by_an_amount_and_have_no_labels() {
    let answers = Answers::of_graph(&head(Task::Regression, &["year"], None), None);
    let found = measure(answers, &array![[1999.0], [2001.0]], &array![[1999.5], [1998.0]], &[None, None]).unwrap();
    assert_eq!((found.max_delta, found.answers_changed, found.f1), (3.0, None, None));
}

#[test]
fn labels_that_the_head_does_not_know_count_as_missed() {
    let answers = Answers::of_graph(&head(Task::Classification, &["down", "up"], None), Some("direction"));
    let right = [Some("up"), Some("left")];
    let f1 = measure(answers, &directions(&[0.9, 0.9]), &directions(&[0.9, 0.1]), &right).unwrap().f1.unwrap();
    assert_eq!((f1.texts, f1.unknown_labels), (2, 1));
    // up: 2/3 and left: 0 on the original; up: 1 and left: 0 on the new one.
    assert_eq!((f1.macro_original, f1.macro_new), (1.0 / 3.0, 0.5));
}

#[test]
fn a_field_without_a_known_label_is_refused() {
    let answers = || Answers::of_graph(&head(Task::Classification, &["down", "up"], None), Some("year"));
    let one = directions(&[0.9]);
    let error = measure(answers(), &one, &one, &[Some("1999")]).unwrap_err();
    assert_eq!(error.to_string(), "no text has a label in `year` that the head knows");
    assert_eq!(error.hint().unwrap(), "`--label` names a field with labels such as `down`; `year` has `1999`");
    let error = measure(answers(), &one, &one, &[None]).unwrap_err();
    assert_eq!(error.hint().unwrap(), "`--label` names a field with labels such as `down`");
}
