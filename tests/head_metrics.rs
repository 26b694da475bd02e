//! Metrics against scikit-learn's on committed predictions (tests/data/heads/metrics.json), and what they refuse.

use ndarray::{Array2, array};
use offprint::evaluate::{Error, accuracy, classification, f1_macro, log_loss};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    classes: usize,
    truth: Vec<usize>,
    predicted: Vec<usize>,
    probabilities: Vec<Vec<f32>>,
    accuracy: f64,
    f1_macro: f64,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    support: Vec<u64>,
    confusion: Vec<Vec<u64>>,
    log_loss: f64,
}

fn close(got: f64, want: f64) -> bool {
    (got - want).abs() < 1e-12
}

#[test]
fn figures_are_scikit_learns() {
    let text = std::fs::read_to_string("tests/data/heads/metrics.json").unwrap();
    let Cases { cases } = serde_json::from_str(&text).unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let measured = classification(&case.truth, &case.predicted, case.classes).unwrap();
        assert_eq!(measured.rows, case.truth.len() as u64);
        assert_eq!(measured.confusion, case.confusion);
        assert!(close(measured.accuracy, case.accuracy) && close(measured.f1_macro, case.f1_macro));
        assert!(close(accuracy(&case.truth, &case.predicted), case.accuracy));
        assert!(close(f1_macro(&case.truth, &case.predicted), case.f1_macro));
        for (class, figures) in measured.per_class.iter().enumerate() {
            assert!(close(figures.precision, case.precision[class]), "precision of {class}");
            assert!(close(figures.recall, case.recall[class]), "recall of {class}");
            assert!(close(figures.f1, case.f1[class]), "f1 of {class}");
            assert_eq!(figures.support, case.support[class]);
        }
        let flat = case.probabilities.concat();
        let probabilities = Array2::from_shape_vec((case.truth.len(), case.classes), flat).unwrap();
        let loss = log_loss(&case.truth, probabilities.view()).unwrap();
        // scikit-learn sums these f32 probabilities in f32.
        assert!((loss - case.log_loss).abs() < 1e-5 * case.log_loss.max(1.0), "{loss} for {}", case.log_loss);
    }
}

#[test]
fn numbers_that_do_not_belong_together_are_refused() {
    let text = |error: Error| error.to_string();
    assert_eq!(text(classification(&[0], &[0, 1], 2).unwrap_err()), "got 2 predictions for 1 labels");
    assert_eq!(text(classification(&[], &[], 2).unwrap_err()), "no predictions to measure");
    assert!(classification(&[1], &[0], 2).is_ok());
    assert_eq!(text(classification(&[0, 2], &[0, 0], 2).unwrap_err()), "row 1 has class 2, expected a class below 2");
    assert_eq!(text(classification(&[0], &[2], 2).unwrap_err()), "row 0 has class 2, expected a class below 2");

    let probabilities = array![[0.25_f32, 0.75]];
    assert_eq!(text(log_loss(&[0, 1], probabilities.view()).unwrap_err()), "got 1 predictions for 2 labels");
    assert_eq!(text(log_loss(&[2], probabilities.view()).unwrap_err()), "row 0 has class 2, expected a class below 2");
    let broken = array![[f32::NAN, 1.5]];
    assert_eq!(text(log_loss(&[0], broken.view()).unwrap_err()), "row 0 has a probability of NaN, expected 0 to 1");
    assert_eq!(text(log_loss(&[1], broken.view()).unwrap_err()), "row 0 has a probability of 1.5, expected 0 to 1");
    assert_eq!(text(log_loss(&[], Array2::zeros((0, 2)).view()).unwrap_err()), "no predictions to measure");
}

#[test]
fn scores_of_nothing_are_zero() {
    assert_eq!((accuracy(&[], &[]), f1_macro(&[], &[])), (0.0, 0.0));
    assert_eq!(accuracy(&[1, 1], &[1]), 0.5);
}
