//! Promise: an ONNX file of optimum, sentence-transformers or torch becomes a bundle that gives the values of the file
//! itself under onnxruntime, pooled and scaled, and those of transformers; what can't be understood is an error that
//! lists inputs and outputs.
//!
//! Files and references are made by `export/oracle/make_onnx_fixtures.py`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
mod wire;

use std::fs;

use common::{Workplace, onnx_source};
use offprint::model::{Bundle, LOGITS, PROBABILITIES, Precision, SENTENCE_EMBEDDING};
use offprint::runtime::{Batch, EncoderSession, OnnxRuntime, ProviderChoice, RunBatch, SessionOptions};
use serde_json::Value;
use wire::{Size, encoder, model, node, value};

fn export(work: &Workplace, file: &str, args: &[&str], status: i32) -> common::Said {
    let file = format!("source/{file}");
    work.run(&[&["export", "--from-onnx", &file, "-o", "bundle"], args].concat(), status)
}

fn rows(reference: &Value, of: &str, what: &str) -> Vec<Vec<f64>> {
    serde_json::from_value(reference[of][what].clone()).unwrap()
}

fn batch(rows: &[Vec<i64>], padding: usize) -> Batch {
    let columns = rows.iter().map(Vec::len).max().unwrap() + padding;
    let wide = |row: &Vec<i64>, fill: Option<i64>| -> Vec<i64> {
        let own = row.iter().map(|id| fill.unwrap_or(*id));
        own.chain(std::iter::repeat_n(0, columns - row.len())).collect()
    };
    Batch {
        ids: rows.iter().flat_map(|row| wide(row, None)).collect(),
        mask: rows.iter().flat_map(|row| wide(row, Some(1))).collect(),
        rows: rows.len(),
        columns,
        adapters: Vec::new(),
    }
}

/// What the bundle gives for each row: alone, and all of them padded together.
fn run(bundle: &Bundle, output: &'static str, rows: &[Vec<i64>]) -> [Vec<Vec<f32>>; 2] {
    let runtime = OnnxRuntime::load(None).unwrap();
    let options = SessionOptions { graph: bundle.graph_path(), provider: ProviderChoice::Cpu.into(), threads: 2 };
    let mut session = EncoderSession::open_outputs(&runtime, &options, &[output]).unwrap();
    let mut run = |batch: &Batch| {
        let matrix = session.run(batch).unwrap();
        matrix.data.chunks_exact(matrix.dim).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    let alone = rows.iter().flat_map(|row| run(&batch(std::slice::from_ref(row), 0))).collect();
    [alone, run(&batch(rows, 5))]
}

/// Largest difference, as a share of the row's norm.
fn share(got: &[Vec<f32>], want: &[Vec<f64>]) -> f64 {
    assert_eq!(got.len(), want.len());
    let share = |(got, want): (&Vec<f32>, &Vec<f64>)| {
        assert_eq!(got.len(), want.len());
        let norm = want.iter().map(|value| value.powi(2)).sum::<f64>().sqrt();
        got.iter().zip(want).map(|(got, want)| (f64::from(*got) - want).abs()).fold(0.0, f64::max) / norm
    };
    got.iter().zip(want).map(share).fold(0.0, f64::max)
}

/// A layout: its folder, the file in it, flags, and how far values may be from those of transformers.
struct Case {
    name: &'static str,
    file: &'static str,
    args: &'static [&'static str],
    tolerance: f64,
}

const EXACT: f64 = 1e-5;
/// Weights and states are rounded to 11 bits.
const HALF: f64 = 1e-2;
/// Up to 3e-7 is measured: the same nodes, pooled in f32 here and in f64 there.
const OF_THE_FILE: f64 = 1e-6;

const MEAN: &[&str] = &["--pooling", "mean"];

#[rustfmt::skip]
const CASES: [Case; 8] = [
    Case { name: "optimum-states", file: "model.onnx", args: MEAN, tolerance: EXACT },
    Case { name: "external-data", file: "model.onnx", args: MEAN, tolerance: EXACT },
    Case { name: "optimum-sentence", file: "model.onnx", args: &[], tolerance: EXACT },
    Case { name: "sentence-transformers", file: "onnx/model.onnx", args: &[], tolerance: EXACT },
    Case { name: "optimum-classifier", file: "model.onnx", args: &["--pooling", "cls"], tolerance: EXACT },
    Case { name: "torch-traced-int32", file: "encoder.onnx", args: MEAN, tolerance: EXACT },
    Case { name: "torch-program", file: "encoder.onnx", args: MEAN, tolerance: EXACT },
    Case { name: "half", file: "encoder.onnx", args: MEAN, tolerance: HALF },
];

#[test]
fn each_layout_gives_the_values_of_the_file_and_of_transformers() {
    if let Err(error @ offprint::runtime::Error::LibraryNotFound { .. }) = OnnxRuntime::load(None) {
        return println!("skipped: {error}");
    }
    for case in CASES {
        let Case { name, file, args, tolerance } = case;
        let work = onnx_source(name);
        let said = export(&work, file, args, 0);
        let bundle = Bundle::open(&work.path("bundle")).unwrap();
        bundle.verify_graph().unwrap();
        let reference: Value = serde_json::from_str(&work.read("source/reference.json")).unwrap();
        let ids: Vec<Vec<i64>> = serde_json::from_value(reference["rows"].clone()).unwrap();
        let mut outputs = vec![(SENTENCE_EMBEDDING, "embedding")];
        if name == "optimum-classifier" {
            outputs.push((LOGITS, "logits"));
        }
        for (output, what) in outputs {
            let own = rows(&reference, "onnxruntime", what);
            for (got, how) in run(&bundle, output, &ids).iter().zip(["alone", "padded"]) {
                let far = share(got, &rows(&reference, "transformers", what));
                assert!(far <= tolerance, "{name}: {what} {how} differs from transformers by {far:e}");
                // A classifier's file has no states to compare with.
                let far = if own.is_empty() { 0.0 } else { share(got, &own) };
                // Half numbers are summed in another order with padding.
                let most = if tolerance == HALF { HALF } else { OF_THE_FILE };
                assert!(far <= most, "{name}: {what} {how} differs from the file by {far:e}");
            }
        }
        let manifest = &bundle.manifest;
        let known = if name.starts_with("torch-p") {
            "distilbert"
        } else if name.starts_with("torch-t") {
            "roberta"
        } else {
            "bert"
        };
        assert_eq!((manifest.architecture.as_str(), manifest.dim), (known, 16), "{name}");
        let precision = if name == "half" { Precision::Mixed } else { Precision::Fp32 };
        assert_eq!(manifest.precision, precision, "{name}");
        println!("{name}: {}", said.stderr.trim());
    }
}

/// Few texts can't show what many do: `check` is the one that measures.
#[test]
fn no_promise_is_made_of_a_graph_that_another_program_wrote() {
    if let Err(error @ offprint::runtime::Error::LibraryNotFound { .. }) = OnnxRuntime::load(None) {
        return println!("skipped: {error}");
    }
    for (name, status) in [("half", 1), ("optimum-states", 0)] {
        let work = onnx_source(name);
        let file = if name == "half" { "encoder.onnx" } else { "model.onnx" };
        let said = export(&work, file, MEAN, 0);
        said.expect(&["the graph is that of another program", "(`batch_invariant = false`)"]);
        assert!(work.read("bundle/bundle.toml").contains("\nbatch_invariant = false\n"), "{name}");
        let said = work.run(&["check", "--model", "bundle", "--threads", "1"], status);
        assert!(said.stdout.contains("bundle.toml promises nothing (`batch_invariant = false`)"), "{}", said.stdout);
    }
}

#[test]
fn scores_become_probabilities_as_the_config_says() {
    if let Err(error @ offprint::runtime::Error::LibraryNotFound { .. }) = OnnxRuntime::load(None) {
        return println!("skipped: {error}");
    }
    for (problem, softmax) in [("multi_label_classification", false), ("single_label_classification", true)] {
        let work = onnx_source("optimum-classifier");
        let config = work.read("source/config.json").replace("multi_label_classification", problem);
        work.write("source/config.json", config);
        export(&work, "model.onnx", &["--pooling", "cls"], 0)
            .expect(&["out of 3 (a, b, c), outputs `logits`, `probabilities`"]);
        let bundle = Bundle::open(&work.path("bundle")).unwrap();
        let reference: Value = serde_json::from_str(&work.read("source/reference.json")).unwrap();
        let ids: Vec<Vec<i64>> = serde_json::from_value(reference["rows"].clone()).unwrap();
        let expected = rows(&reference, "transformers", "logits").into_iter().map(|row| {
            let sum: f64 = row.iter().map(|score| score.exp()).sum();
            row.iter().map(|score| if softmax { score.exp() / sum } else { 1.0 / (1.0 + (-score).exp()) }).collect()
        });
        let far = share(&run(&bundle, PROBABILITIES, &ids)[0], &expected.collect::<Vec<Vec<f64>>>());
        assert!(far <= EXACT, "{problem}: {far:e}");
        work.write("papers.jsonl", "{\"id\": \"1\", \"title\": \"a b\", \"abstract\": \"c\"}\n");
        let said = work.run(&["classify", "--model", "bundle", "papers.jsonl", "-o", "out.jsonl"], 0);
        assert!(work.path("out.jsonl").is_file(), "{}", said.stderr);
    }
    let work = onnx_source("optimum-classifier");
    let config = work.read("source/config.json").replace("\"2\": \"c\"", "\"2\": \"c\", \"3\": \"d\"");
    work.write("source/config.json", config);
    export(&work, "model.onnx", &["--pooling", "cls"], 2)
        .expect(&["config.json has 4 labels, `logits` of", "gives 3 scores"]);
}

#[test]
fn the_output_that_was_named_is_taken() {
    if let Err(error @ offprint::runtime::Error::LibraryNotFound { .. }) = OnnxRuntime::load(None) {
        return println!("skipped: {error}");
    }
    let work = onnx_source("optimum-sentence");
    let hash = |args: &[&str]| {
        export(&work, "model.onnx", args, 0);
        let bundle = Bundle::open(&work.path("bundle")).unwrap();
        let reference: Value = serde_json::from_str(&work.read("source/reference.json")).unwrap();
        let ids: Vec<Vec<i64>> = serde_json::from_value(reference["rows"].clone()).unwrap();
        let far = share(&run(&bundle, SENTENCE_EMBEDDING, &ids)[0], &rows(&reference, "onnxruntime", "embedding"));
        assert!(far <= OF_THE_FILE, "{args:?}: {far:e}");
        bundle.fingerprint().hash()
    };
    let states = hash(&["--onnx-output", "token_embeddings"]);
    let ready = hash(&["--onnx-output", "sentence_embedding"]);
    assert_ne!(states, ready);
    export(&work, "model.onnx", &["--onnx-output", "nothing"], 2).expect(&[
        "has no output `nothing`; expected one of its outputs; its inputs are `input_ids`: int64 [batch_size, sequence_length]",
        "its outputs are `token_embeddings`: float32 [batch_size, sequence_length, 16]",
    ]);
}

/// What export says about a file with this graph, whose companions are those of a layout.
fn refusal(graph: &[u8], opset: i64, args: &[&str]) -> String {
    let work = onnx_source("optimum-states");
    work.write("source/model.onnx", model(graph, opset));
    let said = export(&work, "model.onnx", args, 2);
    assert!(!work.path("bundle").exists());
    said.stderr.trim_start_matches("error: `source/model.onnx` ").to_owned()
}

#[test]
fn what_cannot_be_understood_lists_what_was_seen() {
    let free = || [Size::Named("batch"), Size::Named("sequence")];
    let mut graph = encoder();
    graph.inputs.remove(1);
    graph.nodes[1] = node("Cast", &["input_ids"], &["mask"]);
    assert_eq!(
        refusal(&graph.bytes(), 17, MEAN),
        "has no input `attention_mask`; expected `input_ids`, `attention_mask`; its inputs are `input_ids`: int64 [batch, \
         sequence]; its outputs are `states`: float32 [batch, sequence, 16]\n"
    );
    let mut graph = encoder();
    graph.inputs.push(value("pixels", 1, &[Size::Fixed(3)]));
    assert!(
        refusal(&graph.bytes(), 17, MEAN).starts_with("reads `pixels`; expected only `input_ids`, `attention_mask`")
    );
    let mut graph = encoder();
    graph.inputs[0] = value("input_ids", 7, &[Size::Fixed(1), Size::Named("sequence")]);
    assert!(
        refusal(&graph.bytes(), 17, MEAN)
            .starts_with("reads `input_ids` as int64 [1, sequence]; expected int64 or int32")
    );
    let mut graph = encoder();
    graph.inputs[0] = value("input_ids", 1, &free());
    assert!(
        refusal(&graph.bytes(), 17, MEAN).starts_with("reads `input_ids` as float32 [batch, sequence]; expected int64")
    );
    let mut graph = encoder();
    graph.inputs.push(value("position_ids", 7, &free()));
    let work = onnx_source("optimum-states");
    work.write("source/model.onnx", model(&graph.bytes(), 17));
    work.write("source/config.json", work.read("source/config.json").replace("\"bert\"", "\"unheard-of\""));
    export(&work, "model.onnx", MEAN, 2)
        .expect(&["reads `position_ids`, and how they are counted for the `model_type`"]);

    let mut graph = encoder();
    graph.nodes.push(node("Identity", &["states"], &["other"]));
    graph.outputs.push(value("other", 1, &[Size::Named("batch"), Size::Named("sequence"), Size::Fixed(16)]));
    let text = refusal(&graph.bytes(), 17, MEAN);
    assert!(
        text.starts_with("has several outputs that could be token states (`states`, `other`); expected token states")
    );
    assert!(text.ends_with("hint: name the one to take with `--onnx-output`\n"), "{text}");
    let mut graph = encoder();
    graph.outputs[0] = value("states", 7, &free());
    assert!(
        refusal(&graph.bytes(), 17, MEAN).starts_with("has no output that an embedding could be made of; expected")
    );
    let text = refusal(&graph.bytes(), 17, &["--onnx-output", "states", "--pooling", "cls"]);
    assert!(text.starts_with("gives `states` as int64 [batch, sequence]; expected numbers of shape"), "{text}");
    let mut graph = encoder();
    graph.outputs[0] = value("logits", 1, &[Size::Named("batch"), Size::Fixed(2)]);
    graph.nodes.push(node("ReduceMax", &["states"], &["logits"]));
    let text = refusal(&graph.bytes(), 17, MEAN);
    assert!(text.starts_with("gives a classifier's scores alone, and it can't be seen which token states"), "{text}");
    let text = refusal(&encoder().bytes(), 11, MEAN);
    assert!(text.starts_with("uses version 11 of the standard operators, expected at least 13"), "{text}");
    assert!(refusal(&encoder().bytes(), 17, &[]).contains("--pooling"));
}

#[test]
fn fixed_sizes_and_missing_companions_are_named() {
    let work = onnx_source("torch-fixed");
    export(&work, "encoder.onnx", MEAN, 2).expect(&[
        "reads `input_ids` as int64 [2, 9]; expected int64 or int32 of shape [batch, sequence], both free",
        "its outputs are `last_hidden_state`: float32 [2, 9, 16]",
    ]);
    export(&work, "nothing.onnx", MEAN, 2).expect(&["there is no file `source/nothing.onnx`"]);
    let bare = Workplace::new();
    for (file, what) in [("x.head", "a head that `offprint train` made"), ("x.jsonl", "JSON, as a corpus is (JSONL)")] {
        let head = fs::read(common::root().join("tests/data/heads/topic.head")).unwrap();
        bare.write(file, if file == "x.head" { head } else { b"{\"id\": \"1\"}\n".to_vec() });
        let expected = format!("error: `{file}` is not an ONNX file: it seems to be {what}\n");
        bare.run(&["export", "--from-onnx", file, "-o", "bundle"], 2).expect(&[&expected]);
    }
    fs::remove_file(work.path("source/tokenizer.json")).unwrap();
    export(&work, "encoder.onnx", MEAN, 2).expect(&["tokenizer.json"]);
    fs::remove_file(work.path("source/config.json")).unwrap();
    export(&work, "encoder.onnx", MEAN, 2).expect(&["config.json"]);
    work.run(&["export", "-o", "bundle"], 2).expect(&["--model"]);
    work.run(&["export", "--model", "source", "--onnx-output", "x", "-o", "bundle"], 2).expect(&["--from-onnx"]);
}

#[test]
fn a_length_or_a_size_that_nothing_says_is_named() {
    let work = onnx_source("optimum-states");
    let mut graph = encoder();
    graph.outputs[0] = value("states", 1, &["batch", "sequence", "width"].map(Size::Named));
    work.write("source/model.onnx", model(&graph.bytes(), 17));
    let config = work.read("source/config.json");
    work.write("source/config.json", config.replace("hidden_size", "width"));
    export(&work, "model.onnx", MEAN, 2).expect(&[
        "error: neither `source/model.onnx` nor config.json (`hidden_size`) says how many numbers `states` has for a token or \
         text",
    ]);
    assert!(!work.path("bundle").exists());
    let positions = config.replace("max_position_embeddings", "positions");
    work.write("source/config.json", positions);
    let tokenizer = work.read("source/tokenizer_config.json").replace("model_max_length", "length");
    work.write("source/tokenizer_config.json", tokenizer);
    export(&work, "model.onnx", MEAN, 2).expect(&[
        "error: no file in `",
        "source` says how many tokens an input may have\n",
        "hint: name the longest input that the model was made for: `--max-length N`",
    ]);
    if let Err(error @ offprint::runtime::Error::LibraryNotFound { .. }) = OnnxRuntime::load(None) {
        return println!("skipped: {error}");
    }
    export(&work, "model.onnx", &["--pooling", "mean", "--max-length", "20"], 0);
    let manifest = Bundle::open(&work.path("bundle")).unwrap().manifest;
    assert_eq!((manifest.max_length, manifest.dim), (20, 16));
}

#[test]
fn positions_and_token_types_are_made_of_the_mask() {
    if let Err(error @ offprint::runtime::Error::LibraryNotFound { .. }) = OnnxRuntime::load(None) {
        return println!("skipped: {error}");
    }
    let free = || [Size::Named("batch"), Size::Named("sequence")];
    let mut graph = encoder();
    // The states become ids × mask + 100 × positions + token types.
    let cast = |from: &str, to: &str| {
        [
            node("Cast", &[from], &[to]),
            wire::field(5, [wire::field(1, "to"), wire::number(3, 1), wire::number(20, 2)].concat()),
        ]
        .concat()
    };
    graph.nodes[2] = node("Mul", &["ids", "mask"], &["plain"]);
    let hundred = [wire::number(2, 1), wire::field(8, "hundred"), wire::field(9, 100_f32.to_le_bytes())].concat();
    graph.tensors.push(hundred);
    let added = [
        cast("position_ids", "places"),
        cast("token_type_ids", "types"),
        node("Mul", &["places", "hundred"], &["far"]),
        node("Add", &["plain", "far"], &["sum"]),
        node("Add", &["sum", "types"], &["product"]),
    ];
    graph.nodes.splice(3..3, added);
    graph.inputs.push(value("position_ids", 6, &free()));
    graph.inputs.push(value("token_type_ids", 7, &free()));
    let work = onnx_source("optimum-states");
    work.write("source/model.onnx", model(&graph.bytes(), 17));
    export(&work, "model.onnx", &["--pooling", "mean"], 0);
    let bundle = Bundle::open(&work.path("bundle")).unwrap();
    let ids = vec![vec![7, 8, 9], vec![5, 6]];
    for got in run(&bundle, SENTENCE_EMBEDDING, &ids) {
        // (7 + 8 + 9 + 100 (0 + 1 + 2)) / 3 and (5 + 6 + 100) / 2, times the first column of the table.
        assert_eq!([got[0][0], got[1][0]], [-3.5 * 108.0, -3.5 * 55.5]);
    }
}
