//! Promise: on the CPU provider an embedding is a pure function of its text, to the bit: alone, in any batch, with any
//! padding, in any order, on any number of threads.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use offprint::encode::{BundleEncoder, InvarianceOptions, Threaded, TokenBudget, built_in_texts, check_invariance};
use offprint::model::{Bundle, Precision};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const WORDS: [&str; 12] =
    ["coral", "reef", "lattice", "steel", "grammar", "parser", "cost", "hospital", "the", "of", "β-sheet", "🙂"];

/// Texts of 0 to 120 words.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let text = prop::collection::vec(0..WORDS.len(), 0..120)
        .prop_map(|words| words.into_iter().map(|word| WORDS[word]).collect::<Vec<_>>().join(" "));
    prop::collection::vec(text, 1..40)
}

/// The texts are run in every composition, on one and on two threads.
fn differences(bundle: &str, texts: &[String]) -> Vec<String> {
    let bundle = Bundle::open(bundle.as_ref()).unwrap();
    let max_length = bundle.manifest.max_length;
    let normalized = bundle.manifest.normalize;
    let encoders = [1, 2].map(|threads| BundleEncoder::on_cpu(bundle.clone(), threads));
    let threaded = encoders.each_ref().map(|encoder| Threaded { threads: encoder.threads, encoder });
    let budget = TokenBudget::new(max_length.max(512), max_length).unwrap();
    let options =
        InvarianceOptions { budget, max_length, normalized, precision: Precision::Fp32, adapters: Vec::new() };
    let report = check_invariance(&threaded, texts, &options, &mut |_| ()).unwrap();
    assert_eq!(report.texts, texts.len());
    // Two of the eight are the same batches where there are few texts.
    assert!((7..=8).contains(&report.compositions.len()), "{:?}", report.compositions);
    let differ = report.compositions.iter().filter(|compared| compared.rows_differ > 0 || compared.max_delta > 0.0);
    differ.map(|compared| format!("{compared:?}")).collect()
}

fn check(bundle: &str, cases: u32) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner
        .run(&texts().prop_shuffle(), |texts| {
            prop_assert_eq!(differences(bundle, &texts), Vec::<String>::new());
            Ok(())
        })
        .unwrap();
}

#[test]
fn tiny_vectors_do_not_depend_on_their_batch() {
    check(common::tiny_bundle(), 40);
}

#[test]
fn minilm_vectors_do_not_depend_on_their_batch() {
    if let Some(bundle) = common::minilm_bundle() {
        check(bundle, 2);
        assert_eq!(differences(bundle, &built_in_texts(256)), Vec::<String>::new());
    }
}
