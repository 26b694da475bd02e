//! Promise: token ids are those of transformers. Vectors of MiniLM are within 2e-6 of transformers' in fp32; those of
//! two random checkpoints of odd shapes are within 2e-6, as a share of the largest entry, of torch's in f64.
//!
//! The references are made by `export/oracle/make_minilm_reference.py` and `export/oracle/make_tiny_bert.py`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use offprint::encode::{BundleEncoder, OpenEncoder, Tokenizer, assemble};
use offprint::model::Bundle;
use safetensors::SafeTensors;

/// Both sides compute in f32, in another order of operations.
const LARGEST_DIFFERENCE: f32 = 2e-6;

/// As a share of a vector's largest entry. The reference is in f64, so this is the whole rounding error of f32: at most
/// 6e-7 was measured, and three times that leaves room for other kernels and other orders of summation. A wrong operator
/// is far outside: the two GELUs alone are up to 5e-4 apart.
const LARGEST_SHARE: f64 = 2e-6;

struct Case {
    name: String,
    text: String,
    max_length: usize,
}

fn cases() -> Vec<Case> {
    let path = common::root().join("tests/data/minilm-reference/cases.jsonl");
    let field = |row: &serde_json::Value, name: &str| row[name].as_str().map(str::to_owned);
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            // A long text stands as a rule.
            let text = field(&row, "text").unwrap_or_else(|| {
                let times = row["times"].as_u64().unwrap() as usize;
                field(&row, "repeat").unwrap().repeat(times) + &field(&row, "tail").unwrap()
            });
            let max_length = row["max_length"].as_u64().unwrap() as usize;
            Case { name: field(&row, "name").unwrap(), text, max_length }
        })
        .collect()
}

#[test]
fn ids_and_vectors_are_those_of_transformers() {
    let Some(bundle) = common::minilm_bundle() else { return };
    let bytes = std::fs::read(common::root().join("tests/data/minilm-reference/reference.safetensors")).unwrap();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |name: &str, width: usize| -> Vec<Vec<u8>> {
        reference.tensor(name).unwrap().data().chunks_exact(width).map(<[u8]>::to_vec).collect()
    };
    let ids: Vec<u32> =
        numbers("ids", 2).iter().map(|b| u16::from_le_bytes(b[..].try_into().unwrap()).into()).collect();
    let offsets: Vec<usize> =
        numbers("offsets", 8).iter().map(|b| i64::from_le_bytes(b[..].try_into().unwrap()) as usize).collect();
    let vectors: Vec<f32> =
        numbers("embeddings", 4).iter().map(|b| f32::from_le_bytes(b[..].try_into().unwrap())).collect();

    let bundle = Bundle::open(bundle.as_ref()).unwrap();
    let tokenizer_path = bundle.tokenizer_path();
    let dim = bundle.manifest.dim;
    let mut encoder = BundleEncoder::on_cpu(bundle, 2).open().unwrap();
    let cases = cases();
    assert_eq!(cases.len() + 1, offsets.len());
    for (n, case) in cases.iter().enumerate() {
        let tokenizer = Tokenizer::open(&tokenizer_path, case.max_length).unwrap();
        let encoding = tokenizer.encode(&case.text, 0).unwrap();
        assert_eq!(encoding.ids, ids[offsets[n]..offsets[n + 1]], "ids of {} at {}", case.name, case.max_length);
        let vector = encoder.sessions[0].run(&assemble(&[&encoding], tokenizer.pad_id())).unwrap().data;
        let expected = &vectors[n * dim..(n + 1) * dim];
        let difference = vector.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference <= LARGEST_DIFFERENCE, "{} at {}: {difference:e}", case.name, case.max_length);
    }
}

#[test]
fn random_checkpoints_give_the_vectors_of_torch() {
    for name in ["cls", "mean"] {
        let path = common::root().join("tests/data/tiny-bert").join(name).join("reference.json");
        let reference: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let bundle = Bundle::open(common::tiny_reference_bundle(name).as_ref()).unwrap();
        let tokenizer = Tokenizer::open(&bundle.tokenizer_path(), bundle.manifest.max_length).unwrap();
        let dim = bundle.manifest.dim;
        let mut encoder = BundleEncoder::on_cpu(bundle, 2).open().unwrap();
        let rows = reference["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 9);
        for row in rows {
            let text = row["text"].as_str().unwrap();
            let encoding = tokenizer.encode(text, 0).unwrap();
            let ids: Vec<u64> = row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
            assert_eq!(
                encoding.ids.iter().map(|&id| u64::from(id)).collect::<Vec<_>>(),
                ids,
                "ids of {text:?}, {name}"
            );
            let vector = encoder.sessions[0].run(&assemble(&[&encoding], tokenizer.pad_id())).unwrap().data;
            let expected: Vec<f64> = row["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
            assert_eq!((vector.len(), expected.len()), (dim, dim));
            let largest = expected.iter().map(|x| x.abs()).fold(0.0, f64::max);
            let difference = vector.iter().zip(&expected).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
            assert!(difference <= LARGEST_SHARE * largest, "{text:?}, {name}: {difference:e} of {largest}");
        }
    }
}
