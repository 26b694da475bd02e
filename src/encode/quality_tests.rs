//! Every figure by hand on vectors that are given, the same figures by numpy on the committed example, and the way
//! through two encoders.

use std::path::Path;

use super::*;
use crate::encode::{StubEncoder, comparison_texts};

const STUB: StubEncoder = StubEncoder { dim: 16, max_length: 64 };

fn origin() -> PartOrigin {
    PartOrigin { provider: "cpu".into(), runtime_version: "1.2.3".into(), cpu: "any".into() }
}

fn matrix(rows: &[&[f32]]) -> EmbeddingMatrix {
    EmbeddingMatrix { rows: rows.len(), dim: rows[0].len(), data: rows.concat() }
}

fn measure(original: &EmbeddingMatrix, new: &EmbeddingMatrix) -> Result<MeasuredQuality, Error> {
    let texts: Vec<String> = (0..original.rows).map(|row| format!("text {row}")).collect();
    let mut figures = Figures::new(NEIGHBOUR_TEXTS);
    figures.take(&texts.iter().map(String::as_str).collect::<Vec<_>>(), (original, new));
    figures.finish("papers", &origin())
}

fn side(encoder: &dyn OpenEncoder) -> Side<'_> {
    Side { encoder, dim: encoder.dim(), normalized: true, threads: 1 }
}

fn budget() -> TokenBudget {
    TokenBudget::new(256, 64).unwrap()
}

#[test]
fn figures_are_those_of_the_vectors() {
    // Cosines 1, 0.6, 0 and 0.8; the second vector is also twice as long, which no cosine sees.
    let original = matrix(&[&[1.0, 0.0], &[1.0, 0.0], &[0.0, 1.0], &[0.0, 1.0]]);
    let new = matrix(&[&[1.0, 0.0], &[1.2, 1.6], &[1.0, 0.0], &[0.6, 0.8]]);
    let found = measure(&original, &new).unwrap();
    let close = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-7, "{got}, expected {expected}");
    close(found.cosine_min, 0.0);
    // 1 % of the way over three gaps: 0.03 of the first, from 0 to 0.6.
    close(found.cosine_1_percent, 0.018);
    close(found.cosine_median, 0.7);
    close(found.cosine_mean, 0.6);
    close(found.max_delta, 1.6);
    assert_eq!((found.texts, found.neighbour_texts, found.neighbours), (4, 4, 3));
    assert_eq!(found.neighbours_kept, 1.0, "with three others, all of them are neighbours on both sides");
    assert_eq!((found.corpus.as_str(), found.onnxruntime.as_str(), found.cpu.as_str()), ("papers", "1.2.3", "any"));
}

#[test]
fn equal_bits_are_exactly_one_and_nothing_changes() {
    let rows: Vec<f32> = (0..30_u8).flat_map(|n| [f32::from(n).cos(), f32::from(n).sin(), 0.1]).collect();
    let vectors = EmbeddingMatrix { rows: 30, dim: 3, data: rows };
    let found = measure(&vectors, &vectors).unwrap();
    let all = [found.cosine_min, found.cosine_1_percent, found.cosine_median, found.cosine_mean];
    assert_eq!((all, found.max_delta), ([1.0; 4], 0.0));
    assert_eq!((found.neighbours, found.neighbours_kept, found.first_neighbour_kept), (10, 1.0, 1.0));
}

#[test]
fn quantiles_lie_between_the_values_around_them() {
    assert_eq!(quantile(&[2.0], 0.01), 2.0);
    assert_eq!(quantile(&[0.0, 1.0], 0.5), 0.5);
    assert_eq!(quantile(&[0.0, 1.0, 5.0], 0.75), 3.0);
    assert_eq!(quantile(&[0.0, 1.0, 5.0], 1.0), 5.0);
}

#[test]
fn one_text_and_none_are_too_few() {
    let error = Figures::new(9).finish("none", &origin()).unwrap_err();
    assert_eq!(error.to_string(), "0 texts that differ from each other, two encoders are compared on 2 or more");
    let mut comparison = Comparison::open(side(&STUB), side(&STUB), budget()).unwrap();
    comparison.window(&["same", "same"]).unwrap();
    let error = comparison.finish("one").unwrap_err();
    assert!(error.to_string().starts_with("1 texts that differ"), "{error}");
}

#[test]
fn the_sample_of_neighbours_is_bounded_and_does_not_depend_on_the_order() {
    let texts: Vec<String> = (0..60).map(|n| format!("text {n}")).collect();
    let sampled = |order: &[&str]| {
        let mut comparison = Comparison::open(side(&STUB), side(&STUB), budget()).unwrap();
        comparison.figures = Figures::new(20);
        for window in order.chunks(7) {
            comparison.window(window).unwrap();
        }
        assert_eq!(comparison.figures.cosines.len(), 60);
        comparison.figures.sample.into_keys().collect::<Vec<_>>()
    };
    let forwards: Vec<&str> = texts.iter().map(String::as_str).collect();
    let backwards: Vec<&str> = forwards.iter().rev().copied().collect();
    assert_eq!(sampled(&forwards).len(), 20);
    assert_eq!(sampled(&forwards), sampled(&backwards));
}

#[test]
fn windows_give_what_one_window_gives_and_vectors_come_back_in_order() {
    let texts = comparison_texts(64);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let other = StubEncoder { max_length: 9, ..STUB };
    let measured = |rows: usize| {
        let mut comparison = Comparison::open(side(&STUB), side(&other), budget()).unwrap();
        for window in texts.chunks(rows) {
            let pair = comparison.window(window).unwrap();
            assert_eq!((pair.original.vectors.rows, pair.new.vectors.rows), (window.len(), window.len()));
        }
        comparison.finish("built-in texts").unwrap()
    };
    let (whole, parts) = (measured(1_000), measured(13));
    assert_eq!(whole.texts, texts.len() as u64);
    // Texts of up to seven words have the same vector on both, longer ones are cut by one of them alone.
    let short = texts.iter().filter(|text| text.split_whitespace().count() <= 7).count();
    assert!(short > 2 && whole.cosine_min < 0.9 && whole.cosine_mean < 1.0 && whole.neighbours_kept < 1.0, "{whole:?}");
    assert_eq!(MeasuredQuality { cosine_mean: whole.cosine_mean, ..parts.clone() }, whole);
    assert!((parts.cosine_mean - whole.cosine_mean).abs() < 1e-12);
}

#[test]
fn vectors_of_another_length_are_refused() {
    let wide = StubEncoder { dim: 17, max_length: 64 };
    let error = Comparison::open(side(&STUB), side(&wide), budget()).map(|_| ()).unwrap_err();
    let expected = "the encoder failed its check: its vectors have 17 numbers, those of the original 16";
    assert_eq!(error.to_string(), expected);
    // The same vectors with another number of answers behind them.
    let answered = Side { dim: 16, ..side(&wide) };
    let error = Comparison::open(side(&STUB), answered, budget()).map(|_| ()).unwrap_err();
    assert!(error.to_string().ends_with("its rows have 17 numbers, those of the original 16"), "{error}");
}

#[test]
fn answers_stand_behind_the_vectors_and_are_no_part_of_them() {
    let split = Side { dim: 12, normalized: false, ..side(&STUB) };
    let mut comparison = Comparison::open(split, split, budget()).unwrap();
    let pair = comparison.window(&["one text", "and another"]).unwrap();
    let whole = Comparison::open(side(&STUB), side(&STUB), budget()).unwrap().window(&["and another"]).unwrap();
    let WindowRows { vectors, answers } = &pair.original;
    assert_eq!((vectors.dim, answers.dim, answers.rows), (12, 4, 2));
    assert_eq!([vectors.row(1), answers.row(1)].concat(), whole.new.vectors.data);
    assert_eq!(whole.new.answers.data.len(), 0);
}

/// Against numpy and scikit-learn; made by `export/oracle/make_quality_reference.py`.
#[test]
fn figures_agree_with_numpy_and_scikit_learn() {
    #[derive(serde::Deserialize)]
    struct Reference {
        original: Vec<Vec<f32>>,
        new: Vec<Vec<f32>>,
        figures: std::collections::BTreeMap<String, f64>,
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/quality/reference.json");
    let reference: Reference = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let matrix = |rows: &[Vec<f32>]| matrix(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let found = measure(&matrix(&reference.original), &matrix(&reference.new)).unwrap();
    let found = serde_json::to_value(found).unwrap();
    assert_eq!(reference.figures.len(), 7);
    for (name, expected) in &reference.figures {
        let got = found[name].as_f64().unwrap();
        assert!((got - expected).abs() <= 1e-12, "{name}: {got}, expected {expected}");
    }
}
