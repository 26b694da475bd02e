//! The way of labelled texts through two encoders, to a head in a file and to heads in the graph.

use std::path::Path;

use ndarray::array;

use super::*;
use crate::encode::StubEncoder;
use crate::model::{Classification, Task};

const STUB: StubEncoder = StubEncoder { dim: 5, max_length: 16 };
const OTHER: StubEncoder = StubEncoder { dim: 5, max_length: 3 };

fn texts() -> Vec<LabelledText> {
    let labels = |n: usize| [Some("up"), Some("down"), None][n % 3].map(|label| vec![label.to_owned()]);
    (0..600).map(|n| LabelledText { text: format!("text {n}"), labels: labels(n) }).collect()
}

/// The first `dim` numbers are the vector.
fn side(encoder: &StubEncoder, dim: usize) -> Side<'_> {
    Side { encoder, dim, normalized: dim == encoder.dim, threads: 1 }
}

fn job<'a>(original: Side<'a>, new: Side<'a>) -> QualityJob<'a> {
    let budget = TokenBudget::new(64, 16).unwrap();
    QualityJob {
        original,
        new,
        budget,
        corpus: "papers.jsonl",
        graph_heads: &[],
        head: None,
        label: None,
        labelled_head: 0,
    }
}

fn measure(job: &QualityJob<'_>) -> (MeasuredQuality, Vec<HeadQuality>) {
    let mut seen = Vec::new();
    let measured = measure_quality(job, &mut texts().into_iter().map(Ok), &mut |done| seen.push(done)).unwrap();
    assert_eq!(seen, [256, 512, 600]);
    measured
}

#[test]
fn a_head_in_a_file_answers_on_the_vectors_of_both() {
    let mut head = Head::load(Path::new("tests/data/heads/open.head")).unwrap();
    head.labels = ["down", "up"].map(str::to_owned).to_vec();
    let linear = head.linear_mut().unwrap();
    linear.coefficients = array![[10.0, 0.0, 0.0, 0.0, 0.0]];
    linear.intercepts = vec![0.0];
    let with = |original, new| QualityJob { head: Some(&head), label: Some("direction"), ..job(original, new) };
    let (measured, heads) = measure(&with(side(&STUB, 5), side(&STUB, 5)));
    assert_eq!((measured.texts, measured.cosine_min, measured.corpus.as_str()), (600, 1.0, "papers.jsonl"));
    let [found] = heads.as_slice() else { panic!("{heads:?}") };
    assert_eq!((found.name.as_str(), found.max_delta, found.answers_changed), ("open.head", 0.0, Some(0)));
    let f1 = found.f1.as_ref().unwrap();
    assert_eq!((f1.texts, f1.unlabelled, f1.macro_drop), (400, 200, 0.0));

    // An encoder that sees one word only gives all texts one vector, and the head one answer.
    let (measured, heads) = measure(&with(side(&STUB, 5), side(&OTHER, 5)));
    assert!(measured.cosine_min < 0.5, "{measured:?}");
    let f1 = heads[0].f1.as_ref().unwrap();
    assert!((f1.macro_new - 1.0 / 3.0).abs() < 1e-12, "half of the texts, all called the same: {f1:?}");
    assert!(heads[0].answers_changed.unwrap() > 200 && heads[0].max_delta > 0.5, "{heads:?}");
}

#[test]
fn heads_in_the_graph_answer_behind_the_vectors() {
    let head = |task, labels: &[&str]| {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        let head = GraphHead::of_checkpoint(&Classification { task, labels });
        (head.clone(), head)
    };
    let heads = [head(Task::Classification, &["down", "up"]), head(Task::Regression, &["year"])];
    let with = |label| QualityJob { graph_heads: &heads, label, ..job(side(&STUB, 2), side(&OTHER, 2)) };
    let (_, found) = measure(&with(Some("direction")));
    let f1 = found[0].f1.as_ref().unwrap();
    assert!((f1.texts, f1.label.as_str()) == (400, "direction") && f1.macro_new < f1.macro_original, "{f1:?}");
    assert!(found[0].answers_changed.unwrap() > 0);
    assert_eq!((found.len(), found[1].answers_changed, &found[1].f1), (2, None, &None));
    assert!(found[1].max_delta > 0.0);
    assert_eq!(measure(&with(None)).1[0], HeadQuality { f1: None, ..found[0].clone() });
    let swapped = [heads[1].clone(), heads[0].clone()];
    let job = QualityJob { labelled_head: 1, graph_heads: &swapped, ..with(Some("direction")) };
    let (_, found) = measure(&job);
    assert!(found[0].f1.is_none() && found[1].f1.as_ref().unwrap().texts == 400, "{found:?}");
}

#[test]
fn texts_that_end_too_early_are_an_error() {
    let job = job(side(&STUB, 5), side(&STUB, 5));
    let mut broken = [Err(io::ErrorKind::UnexpectedEof.into())].into_iter();
    let error = measure_quality(&job, &mut broken, &mut |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "the texts to compare on could not be read");
    let error = measure_quality(&job, &mut std::iter::empty(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().starts_with("0 texts that differ"), "{error}");
}
