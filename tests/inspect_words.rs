//! Promise: `inspect --fill` gives the pieces and probabilities of transformers for every architecture, its logits within
//! 1e-5 of a row's norm, and `inspect --word` the nearest rows of the table of word embeddings.
//!
//! Checkpoints and references are made by `export/oracle/make_masked_lm.py`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Workplace;
use offprint::graph::{MAX_GRAPH_BYTES, write_masked_lm};
use offprint::model::Checkpoint;
use offprint::runtime::{MaskedLmSession, OnnxRuntime, ProviderChoice, SessionOptions};
use safetensors::tensor::SafeTensors;
use serde_json::Value;

/// As a share of a row's norm; up to 4e-7 is measured.
const TOLERANCE: f64 = 1e-5;

const NAMES: [&str; 11] = [
    "albert",
    "bert",
    "bert-untied",
    "distilbert",
    "electra",
    "modernbert",
    "modernbert-no-decoder-bias",
    "modernbert-untied",
    "mpnet",
    "roberta",
    "xlm-roberta",
];

fn tiny() -> PathBuf {
    common::root().join("tests/data/tiny-masked-lm")
}

/// A copy of a checkpoint with the tokenizer that all of them share.
fn copy(name: &str, into: &Path) {
    fs::create_dir_all(into).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer_config.json"] {
        fs::copy(tiny().join(name).join(file), into.join(file)).unwrap();
    }
    fs::copy(tiny().join("tokenizer.json"), into.join("tokenizer.json")).unwrap();
}

fn reference(name: &str) -> Vec<Value> {
    serde_json::from_slice(&fs::read(tiny().join(name).join("reference.json")).unwrap()).unwrap()
}

fn ints(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
}

/// The largest difference of a logit, as a share of its row's norm.
fn worst(name: &str, graph: PathBuf) -> f64 {
    let runtime = OnnxRuntime::load(None).unwrap();
    let options = SessionOptions { graph, provider: ProviderChoice::Cpu.into(), threads: 2 };
    let mut session = MaskedLmSession::open(&runtime, &options).unwrap();
    let bytes = fs::read(tiny().join(name).join("reference.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor("logits").unwrap();
    let values: Vec<f32> =
        tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    let mut expected = values.chunks_exact(tensor.shape()[1]);
    let mut worst = 0.0_f64;
    for text in reference(name) {
        let places: Vec<i64> = text["masks"].as_array().unwrap().iter().map(|m| m["place"].as_i64().unwrap()).collect();
        let got = session.logits(&ints(&text["ids"]), &places).unwrap();
        for row in 0..got.rows {
            let want = expected.next().unwrap();
            assert_eq!(got.row(row).len(), want.len());
            let norm = want.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            let pairs = got.row(row).iter().zip(want);
            let largest = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max);
            worst = worst.max(largest / norm);
        }
    }
    assert!(expected.next().is_none());
    worst
}

#[test]
fn the_logits_of_every_architecture_are_those_of_transformers() {
    let place = Workplace::new();
    let entries = fs::read_dir(tiny()).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut known: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    known.sort();
    assert_eq!(known, NAMES);
    for name in NAMES {
        copy(name, &place.path(name));
        let checkpoint = Checkpoint::open(&place.path(name)).unwrap();
        let graph = place.path(&format!("{name}.onnx"));
        write_masked_lm(&checkpoint, &graph, MAX_GRAPH_BYTES).unwrap();
        let worst = worst(name, graph);
        println!("{name}: {worst:.1e}");
        assert!(worst <= TOLERANCE, "{name}: {worst}");
    }
}

/// As with a checkpoint that no single file holds; of the tiny one, the table of words is put beside the graph.
#[test]
fn weights_that_are_too_many_lie_beside_the_graph() {
    let place = Workplace::new();
    copy("bert", &place.path("bert"));
    let checkpoint = Checkpoint::open(&place.path("bert")).unwrap();
    let graph = place.path("lm.onnx");
    write_masked_lm(&checkpoint, &graph, 20_000).unwrap();
    assert!(fs::metadata(place.path("lm.onnx.data")).unwrap().len() > 4_096);
    let worst = worst("bert", graph);
    assert!(worst <= TOLERANCE, "{worst}");
}

#[test]
fn the_fillings_are_those_of_transformers() {
    let place = Workplace::new();
    for name in NAMES {
        copy(name, &place.path(name));
        for text in reference(name) {
            let said = place.run(&["inspect", name, "--fill", text["text"].as_str().unwrap(), "-k", "5", "--json"], 0);
            let (got, expected) = (said.json(), text["masks"].as_array().unwrap());
            let got = got["masks"].as_array().unwrap();
            assert_eq!(got.len(), expected.len(), "{name}");
            for (got, expected) in got.iter().zip(expected) {
                assert_eq!(got["place"], expected["place"]);
                let pairs = got["fillings"].as_array().unwrap().iter().zip(expected["fillings"].as_array().unwrap());
                assert_eq!(pairs.len(), 5);
                for (got, expected) in pairs {
                    assert_eq!((&got["id"], &got["piece"]), (&expected["id"], &expected["piece"]), "{name}");
                    let [got, expected] = [got, expected].map(|filling| filling["probability"].as_f64().unwrap());
                    assert!((got - expected).abs() < 1e-5, "{name}: {got}, {expected}");
                }
            }
        }
    }
}

#[test]
fn every_mask_is_listed_and_may_be_written_either_way() {
    let place = Workplace::new();
    copy("bert", &place.path("bert"));
    let said = place.run(&["inspect", "bert", "--fill", "we show a [MASK] model for [MASK]", "-k", "2"], 0);
    let other = place.run(&["inspect", "bert", "--fill", "we show a <mask> model for <mask>", "-k", "2"], 0);
    assert_eq!(said.stdout, other.stdout);
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!((lines[0], lines[6]), ("mask at token 4", "mask at token 7"), "{}", said.stdout);
    assert!(lines[1].starts_with("piece") && lines[1].ends_with("probability"));
}

#[test]
fn what_cannot_be_filled_says_why() {
    let place = Workplace::new();
    copy("bert", &place.path("bert"));
    place.run(&["inspect", "bert", "--fill", "no mask"], 2).expect(&[
        "error: the text has no `[MASK]` in it",
        "hint: write `[MASK]` where a word is to be guessed, as in \"the [MASK] of a protein\"",
    ]);
    let long = format!("[MASK] {}", "a ".repeat(40));
    place
        .run(&["inspect", "bert", "--fill", &long], 2)
        .expect(&["error: the text has 43 tokens, the encoder reads 29"]);
    let bundle = common::tiny_bundle();
    place.run(&["inspect", bundle, "--fill", "a [MASK]"], 2).expect(&[
        "has no masked-LM head: its graph gives vectors or labels, not words",
        "hint: give the checkpoint itself: `offprint inspect CHECKPOINT --fill \"..\"`",
    ]);
    let headless = common::tiny_checkpoint();
    place.run(&["inspect", headless.to_str().unwrap(), "--fill", "a [MASK]"], 2).expect(&[
        "model.safetensors` has no masked-LM head (no tensor `cls.predictions.transform.dense.weight`)",
        "hint: only a checkpoint as it was pre-trained has one (of ELECTRA, the generator): fine-tuning drops it",
    ]);
    // Tied by default; without tying, the last layer must be stored.
    let mut config: Value = serde_json::from_str(&place.read("bert/config.json")).unwrap();
    config["tie_word_embeddings"] = false.into();
    place.write("bert/config.json", config.to_string());
    place.run(&["inspect", "bert", "--fill", "a [MASK]"], 2).expect(&["cls.predictions.decoder.weight"]);
    let tokenizer = fs::read_to_string(place.path("bert/tokenizer.json")).unwrap();
    fs::write(place.path("bert/tokenizer.json"), tokenizer.replace("[MASK]", "[HOLE]")).unwrap();
    fs::copy(tiny().join("bert/config.json"), place.path("bert/config.json")).unwrap();
    place
        .run(&["inspect", "bert", "--fill", "a [MASK]"], 2)
        .expect(&["error: the tokenizer has no mask token (neither `[MASK]` nor `<mask>`)"]);
}

/// The nearest rows, reckoned in the plainest way from the checkpoint's own table.
#[test]
fn the_nearest_words_are_the_nearest_rows_of_the_table() {
    let place = Workplace::new();
    copy("bert", &place.path("bert"));
    let bytes = fs::read(place.path("bert/model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor("bert.embeddings.word_embeddings.weight").unwrap();
    let values: Vec<f64> =
        tensor.data().chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect();
    let rows: Vec<&[f64]> = values.chunks_exact(tensor.shape()[1]).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let tokenizer: Value = serde_json::from_str(&place.read("bert/tokenizer.json")).unwrap();
    let id = tokenizer["model"]["vocab"]["galaxy"].as_u64().unwrap() as usize;
    let cosine =
        |other: usize| dot(rows[id], rows[other]) / (dot(rows[id], rows[id]) * dot(rows[other], rows[other])).sqrt();
    let mut expected: Vec<usize> = (0..rows.len()).filter(|other| *other != id).collect();
    expected.sort_by(|a, b| cosine(*b).total_cmp(&cosine(*a)));

    let export = ["export", "--model", "bert", "-o", "bundle", "--pooling", "mean"];
    place.run(&export, 0);
    for subject in ["bert", "bundle", "bundle/model.onnx"] {
        let said = place.run(&["inspect", subject, "--word", "galaxy", "-k", "4", "--json"], 0).json();
        let pieces = said["words"][0]["pieces"].as_array().unwrap();
        assert_eq!((pieces.len(), &pieces[0]["piece"]), (1, &Value::from("galaxy")), "{subject}");
        let nearest = pieces[0]["nearest"].as_array().unwrap();
        assert_eq!(nearest.len(), 4);
        for (near, other) in nearest.iter().zip(&expected) {
            assert_eq!(near["id"], *other as u64, "{subject}");
            assert!((near["similarity"].as_f64().unwrap() - cosine(*other)).abs() < 1e-6);
        }
    }
    let page = place.run(&["inspect", "bundle", "--word", "galaxys"], 0).stdout;
    assert!(page.starts_with("galaxys is split into "), "{page}");
    fs::create_dir_all(place.path("far/away/from")).unwrap();
    fs::copy(place.path("bundle/model.onnx"), place.path("far/away/from/model.onnx")).unwrap();
    place
        .run(&["inspect", "far/away/from/model.onnx", "--word", "cell"], 2)
        .expect(&["error: there is no tokenizer.json beside", "hint: name it with `--tokenizer FILE`"]);
    let named = ["inspect", "far/away/from/model.onnx", "--word", "cell", "--tokenizer", "bert/tokenizer.json"];
    assert!(place.run(&named, 0).stdout.starts_with("nearest to `cell`"));
    let unknown = place.run(&["inspect", "bundle", "--word", "\u{2603} \u{2603}"], 2);
    unknown.expect(&["error: `\u{2603} \u{2603}` is not in the vocabulary, the tokenizer makes `[UNK] [UNK]` of it"]);
    let twice = place.run(&["inspect", "bundle", "--word", "galaxy galaxy", "--json"], 0).json();
    assert_eq!(twice["words"][0]["pieces"].as_array().unwrap().len(), 1);
    place.run(&["inspect", "bundle", "--word", ""], 2).expect(&["error: the tokenizer makes no word piece of ``"]);
}
