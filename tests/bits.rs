//! Promise: on the CPU provider an embedding is a pure function of its text, to the bit: alone, in any batch, with any
//! padding, in any order, on any number of threads.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use offprint::encode::{BundleEncoder, Encoding, OpenEncoder, OpenedEncoder, assemble};
use offprint::model::Bundle;
use offprint::runtime::{Batch, ProviderChoice};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const WORDS: [&str; 12] =
    ["coral", "reef", "lattice", "steel", "grammar", "parser", "cost", "hospital", "the", "of", "β-sheet", "🙂"];

fn open(bundle: &str, threads: usize) -> OpenedEncoder {
    let bundle = Bundle::open(bundle.as_ref()).unwrap();
    BundleEncoder { bundle, ort_lib: None, provider: ProviderChoice::Cpu, threads }.open().unwrap()
}

/// Texts of 0 to 120 words.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let text = prop::collection::vec(0..WORDS.len(), 0..120)
        .prop_map(|words| words.into_iter().map(|word| WORDS[word]).collect::<Vec<_>>().join(" "));
    prop::collection::vec(text, 1..24)
}

fn padded(batch: &Batch, more: usize, pad_id: i64) -> Batch {
    let columns = batch.columns + more;
    let widen = |values: &[i64], fill: i64| -> Vec<i64> {
        values
            .chunks(batch.columns)
            .flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(fill, more)))
            .collect()
    };
    Batch { ids: widen(&batch.ids, pad_id), mask: widen(&batch.mask, 0), rows: batch.rows, columns }
}

fn check(bundle: &str, cases: u32) {
    let mut sessions = [open(bundle, 1), open(bundle, 2)];
    let tokenizer = open(bundle, 1).tokenizer;
    let pad_id = tokenizer.pad_id();
    let mut runner = TestRunner::new_with_rng(
        Config { cases, failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let sessions = std::cell::RefCell::new(&mut sessions);
    let strategy = (texts().prop_shuffle(), 0..40_usize, 0..2_usize);
    runner
        .run(&strategy, |(texts, more, threads)| {
            let texts: Vec<(&str, usize)> = texts.iter().map(|text| (text.as_str(), 0)).collect();
            let encodings: Vec<Encoding> = tokenizer.encode_all(&texts).into_iter().map(Result::unwrap).collect();
            let all: Vec<&Encoding> = encodings.iter().collect();
            let mut sessions = sessions.borrow_mut();
            let batch = padded(&assemble(&all, pad_id), more, pad_id.into());
            let together = sessions[threads].sessions[0].run(&batch).unwrap();
            for (row, encoding) in encodings.iter().enumerate() {
                let alone = sessions[0].sessions[0].run(&assemble(&[encoding], pad_id)).unwrap();
                let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                let row_bits = bits(&together.data[row * together.dim..(row + 1) * together.dim]);
                prop_assert_eq!(bits(&alone.data), row_bits, "row {} of {}", row, texts.len());
            }
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
        check(bundle, 12);
    }
}
