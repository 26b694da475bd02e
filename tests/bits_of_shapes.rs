//! Promise: the bits of an embedding do not depend on batch, padding or threads whatever the sizes of the encoder are:
//! odd ones, one wide head or several, short texts among long ones. ONNX Runtime chooses its kernels by such sizes.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use common::{Workplace, tiny_checkpoint};
use offprint::graph::{ExportOptions, write_bundle};
use offprint::model::Pooling;
use offprint::runtime::{Batch, EncoderSession, OnnxRuntime, ProviderChoice, RunBatch, SessionOptions};
use safetensors::tensor::{Dtype, TensorView};

/// Tokens of the longest text, and words in the table.
const POSITIONS: usize = 512;
const WORDS: usize = 128;

/// Hidden sizes with their heads: odd ones, some above a kernel's block of 128, heads of 1 to 128.
const SIZES: [(usize, usize); 7] = [(7, 7), (33, 3), (65, 5), (96, 1), (128, 1), (129, 3), (130, 2)];

/// Numbers from a seed (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }

    /// Of about the size of trained weights.
    fn weight(&mut self) -> f32 {
        ((self.next() >> 40) as f32 / (1_u64 << 24) as f32 - 0.5) * 0.8
    }
}

/// A BERT of one layer with random weights.
fn checkpoint(folder: &Path, (hidden, heads): (usize, usize)) {
    fs::create_dir_all(folder).unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(tiny_checkpoint().join(file), folder.join(file)).unwrap();
    }
    let text = fs::read_to_string(tiny_checkpoint().join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let inner = hidden + 6;
    for (field, value) in [
        ("hidden_size", hidden),
        ("num_attention_heads", heads),
        ("num_hidden_layers", 1),
        ("intermediate_size", inner),
        ("max_position_embeddings", POSITIONS),
        ("vocab_size", WORDS),
    ] {
        config[field] = value.into();
    }
    fs::write(folder.join("config.json"), config.to_string()).unwrap();

    let layer = "encoder.layer.0";
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    let [words, positions, types] =
        ["word", "position", "token_type"].map(|kind| format!("embeddings.{kind}_embeddings.weight"));
    shapes.extend([(words, vec![WORDS, hidden]), (positions, vec![POSITIONS, hidden]), (types, vec![2, hidden])]);
    for norm in ["embeddings".to_owned(), format!("{layer}.attention.output"), format!("{layer}.output")] {
        let kinds = ["weight", "bias"].map(|kind| (format!("{norm}.LayerNorm.{kind}"), vec![hidden]));
        shapes.extend(kinds);
    }
    let attention = ["self.query", "self.key", "self.value", "output.dense"];
    let attention = attention.map(|part| (format!("attention.{part}"), hidden, hidden));
    let others = [("intermediate.dense".to_owned(), inner, hidden), ("output.dense".to_owned(), hidden, inner)];
    for (part, outputs, inputs) in attention.into_iter().chain(others) {
        shapes.push((format!("{layer}.{part}.weight"), vec![outputs, inputs]));
        shapes.push((format!("{layer}.{part}.bias"), vec![outputs]));
    }
    let mut random = Random(hidden as u64 * 7919 + 1);
    let values: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(_, shape)| (0..shape.iter().product()).flat_map(|_| random.weight().to_le_bytes()).collect())
        .collect();
    let tensors: HashMap<String, TensorView<'_>> = shapes
        .iter()
        .zip(&values)
        .map(|((name, shape), bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()))
        .collect();
    safetensors::serialize_to_file(tensors, None, &folder.join("model.safetensors")).unwrap();
}

/// Texts padded to `columns`, what stands under the mask being of no meaning.
fn batch(texts: &[&Vec<i64>], columns: usize, random: &mut Random) -> Batch {
    let mut batch = Batch { ids: Vec::new(), mask: Vec::new(), rows: texts.len(), columns, adapters: Vec::new() };
    for text in texts {
        batch.ids.extend(text.iter());
        batch.mask.extend(text.iter().map(|_| 1));
        for _ in text.len()..columns {
            batch.ids.push(random.below(WORDS) as i64);
            batch.mask.push(0);
        }
    }
    batch
}

fn bits(row: &[f32]) -> Vec<u32> {
    row.iter().map(|value| value.to_bits()).collect()
}

/// Texts in random batches with random padding, each against its vector alone on one thread.
fn check(runtime: &OnnxRuntime, graph: &Path, random: &mut Random, what: &str) {
    let options = |threads| SessionOptions { graph: graph.to_owned(), provider: ProviderChoice::Cpu.into(), threads };
    let mut sessions = [1, 2, 3, 4].map(|threads| EncoderSession::open(runtime, &options(threads)).unwrap());
    let lengths = [2, 3, 7, 16, 31, 63, 64, 65, 127, 128, 129, 200, 255, 256, 257, 300, 384, 511, 512];
    let text = |length: &usize, random: &mut Random| (0..*length).map(|_| random.below(WORDS) as i64).collect();
    let texts: Vec<Vec<i64>> = lengths.iter().map(|length| text(length, random)).collect();
    let alone: Vec<Vec<u32>> =
        texts.iter().map(|text| bits(sessions[0].run(&batch(&[text], text.len(), random)).unwrap().row(0))).collect();
    for trial in 0..40 {
        // Many short texts, or a few of any length.
        let (rows, kinds) = if trial % 4 == 0 { (64, 6) } else { (1 + random.below(4), texts.len()) };
        let chosen: Vec<usize> = (0..rows).map(|_| random.below(kinds)).collect();
        let rows: Vec<&Vec<i64>> = chosen.iter().map(|&at| &texts[at]).collect();
        let longest = rows.iter().map(|text| text.len()).max().unwrap();
        let most = if trial % 4 == 0 { 70 } else { 500 };
        let padding = [0, 1, 2, 3, 5, 17, 64, most][random.below(8)];
        let batch = batch(&rows, longest + padding, random);
        let threads = random.below(sessions.len());
        let vectors = sessions[threads].run(&batch).unwrap();
        for (row, &at) in chosen.iter().enumerate() {
            let (length, rows, threads) = (texts[at].len(), batch.rows, threads + 1);
            let place = format!("{length} tokens in {rows} rows of {} on {threads} threads", batch.columns);
            assert_eq!(bits(vectors.row(row)), alone[at], "{what}: {place}");
        }
    }
}

#[test]
fn bits_depend_on_the_text_alone_whatever_the_sizes() {
    let runtime = match OnnxRuntime::load(None) {
        Ok(runtime) => runtime,
        Err(error @ offprint::runtime::Error::LibraryNotFound { .. }) => return println!("skipped: {error}"),
        Err(error) => panic!("{error}"),
    };
    let mut random = Random(4);
    for sizes in SIZES {
        let place = Workplace::new();
        checkpoint(&place.path("checkpoint"), sizes);
        for pooling in Pooling::ALL {
            let bundle = place.path(pooling.name());
            fs::create_dir_all(&bundle).unwrap();
            let options = ExportOptions {
                pooling: Some(pooling),
                normalize: Some(true),
                ..ExportOptions::new(place.path("checkpoint"))
            };
            write_bundle(&options, &bundle).unwrap();
            let what = format!("hidden size and heads {sizes:?}, pooling {pooling}");
            check(&runtime, &bundle.join("model.onnx"), &mut random, &what);
        }
    }
}
