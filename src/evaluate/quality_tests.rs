//! A head's figures by hand, on vectors that are given, and the way of labelled texts through two encoders.

use ndarray::array;

use super::*;
use crate::encode::StubEncoder;

const STUB: StubEncoder = StubEncoder { dim: 2, max_length: 16 };

/// `up` where the first number is above 0, else `down`.
fn head() -> Head {
    let mut head = Head::load(std::path::Path::new("tests/data/heads/open.head")).unwrap();
    head.labels = ["down", "up"].map(str::to_owned).to_vec();
    head.coefficients = array![[10.0, 0.0]];
    head.intercepts = vec![0.0];
    head
}

/// Texts with their labels, which blanks part.
fn texts(labels: &[Option<&str>]) -> Vec<LabelledText> {
    let labelled = |(number, labels): (usize, &Option<&str>)| LabelledText {
        text: format!("text {number}"),
        labels: labels.map(|labels| labels.split_whitespace().map(str::to_owned).collect()),
    };
    labels.iter().enumerate().map(labelled).collect()
}

fn vectors(first: &[f32]) -> EmbeddingMatrix {
    EmbeddingMatrix { rows: first.len(), dim: 2, data: first.iter().flat_map(|&x| [x, 1.0]).collect() }
}

fn side(encoder: &StubEncoder) -> Side<'_> {
    Side { encoder, normalized: true, threads: 1 }
}

#[test]
fn the_drop_is_that_of_scikit_learns_macro_f1() {
    let head = head();
    let mut answers = Answers::new(&head, "direction");
    let window = texts(&[Some("up"), Some("down"), None, Some("up"), Some("down")]);
    // The original is right on all; the new one says `up` for the last, which is `down`. The third has no label.
    let (original, new) = (vectors(&[1.0, -1.0, 1.0, 1.0, -1.0]), vectors(&[1.0, -1.0, -1.0, 1.0, 1.0]));
    answers.take(&window, &original, &new).unwrap();
    let found = answers.finish().unwrap();
    assert_eq!((found.name.as_str(), found.label.as_str()), ("open.head", "direction"));
    assert_eq!((found.texts, found.unlabelled, found.unknown_labels, found.answers_changed), (4, 1, 0, 1));
    // up: 2 of 3 right and all found, 0.8; down: its one right and half found, 2/3.
    assert_eq!(found.f1_macro_original, 1.0);
    assert!((found.f1_macro - (0.8 + 2.0 / 3.0) / 2.0).abs() < 1e-15, "{found:?}");
    assert_eq!(found.f1_drop, 1.0 - found.f1_macro);
}

#[test]
fn a_head_for_several_labels_gives_each_by_its_own_threshold() {
    let mut head = Head::load(std::path::Path::new("tests/data/heads/tags.head")).unwrap();
    head.labels = ["east", "north"].map(str::to_owned).to_vec();
    head.coefficients = array![[1.0, 0.0], [0.0, 1.0]];
    head.intercepts = vec![0.0, 0.0];
    // sigmoid(1) = 0.73: enough for `east`, too little for `north`.
    head.thresholds = Some(vec![0.7, 0.75]);
    let mut answers = Answers::new(&head, "directions");
    let window = texts(&[Some("east"), Some("east north"), Some(""), None]);
    let (original, new) = (vectors(&[1.0, 1.0, 0.5, 9.0]), vectors(&[1.0, 0.5, 1.0, 9.0]));
    answers.take(&window, &original, &new).unwrap();
    let found = answers.finish().unwrap();
    assert_eq!((found.texts, found.unlabelled, found.answers_changed), (3, 1, 2));
    // Original: east twice, both right; north missed. New: east for the first, right, and the third, wrong.
    assert_eq!((found.f1_macro_original, found.f1_micro_original), (0.5, Some(0.8)));
    assert_eq!((found.f1_macro, found.f1_micro), (0.25, Some(0.4)));
    assert_eq!(found.f1_drop, 0.25);
}

#[test]
fn labels_that_the_head_does_not_know_count_as_missed() {
    let head = head();
    let mut answers = Answers::new(&head, "direction");
    answers.take(&texts(&[Some("up"), Some("left")]), &vectors(&[1.0, 1.0]), &vectors(&[1.0, -1.0])).unwrap();
    let found = answers.finish().unwrap();
    assert_eq!((found.texts, found.unknown_labels), (2, 1));
    // up: 2/3 and left: 0 on the original; up: 1, down: 0 and left: 0 on the new one.
    assert_eq!((found.f1_macro_original, found.f1_macro), (1.0 / 3.0, 1.0 / 3.0));
}

#[test]
fn a_field_without_a_known_label_is_refused() {
    let head = head();
    let mut answers = Answers::new(&head, "year");
    answers.take(&texts(&[Some("1999"), None]), &vectors(&[1.0, 1.0]), &vectors(&[1.0, 1.0])).unwrap();
    let error = answers.finish().unwrap_err();
    assert_eq!(error.to_string(), "no text has a label in `year` that the head knows");
    assert_eq!(error.hint().unwrap(), "`--label` names a field with labels such as `down`; `year` has `1999`");
    let error = Answers::new(&head, "year").finish().unwrap_err();
    assert_eq!(error.hint().unwrap(), "`--label` names a field with labels such as `down`");
}

#[test]
fn labelled_texts_go_through_both_encoders_in_windows() {
    let head = head();
    let labels: Vec<Option<&str>> = (0..600).map(|n| [Some("up"), Some("down"), None][n % 3]).collect();
    let job = QualityJob {
        original: side(&STUB),
        new: side(&STUB),
        budget: TokenBudget::new(64, 16).unwrap(),
        corpus: "papers.jsonl",
        head: Some((&head, "direction")),
    };
    let mut seen = Vec::new();
    let mut all = texts(&labels).into_iter().map(Ok);
    let (measured, found) = measure_quality(&job, &mut all, &mut |done| seen.push(done)).unwrap();
    assert_eq!(seen, [256, 512, 600]);
    assert_eq!((measured.texts, measured.cosine_min, measured.corpus.as_str()), (600, 1.0, "papers.jsonl"));
    let found = found.unwrap();
    assert_eq!((found.texts, found.unlabelled, found.answers_changed, found.f1_drop), (400, 200, 0, 0.0));

    let mut broken = [Err(io::ErrorKind::UnexpectedEof.into())].into_iter();
    let error = measure_quality(&job, &mut broken, &mut |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "the texts to compare on could not be read");
    let error = measure_quality(&job, &mut std::iter::empty(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().starts_with("0 texts that differ"), "{error}");
}
