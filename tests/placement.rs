//! Promise: a graph of ours runs wholly on OpenVINO's provider, with the fallback to the CPU disabled, and gives the
//! vectors of the CPU provider; asked for OpenVINO, a run goes there or is refused, and says which.
//!
//! Needs the library that `make openvino-venv` fetches, or `OFFPRINT_OPENVINO` that names it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Workplace, root, tiny_bundle};
use offprint::graph::{ExportOptions, write_bundle};
use offprint::model::{Bundle, Pooling, SENTENCE_EMBEDDING};
use offprint::runtime::{Batch, EncoderSession, Error, OnnxRuntime, ProviderChoice, RunBatch, SessionOptions};

/// Of a row's norm.
const TOLERANCE: f64 = 1e-5;

/// The library with OpenVINO's provider, where it is set up.
fn library() -> Option<PathBuf> {
    let named = std::env::var_os("OFFPRINT_OPENVINO").filter(|path| !path.is_empty()).map(PathBuf::from);
    let pattern = root().join(".venv-openvino/lib/python*/site-packages/onnxruntime/capi/libonnxruntime.so.*");
    let found = named.or_else(|| glob::glob(pattern.to_str()?).ok()?.flatten().next());
    if found.is_none() {
        println!("skipped: ONNX Runtime with OpenVINO is not there; `make openvino-venv` fetches it");
    }
    found
}

fn checkpoints() -> Vec<PathBuf> {
    let folder = root().join("tests/data/tiny-architectures");
    let mut folders: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

/// The bundle of a checkpoint, with the tokenizer that all of them share.
fn export(checkpoint: &Path, place: &Path, (pooling, plain): (Pooling, bool)) -> Bundle {
    let [copy, into] = ["checkpoint", "bundle"].map(|name| place.join(name));
    fs::create_dir_all(&copy).unwrap();
    fs::create_dir_all(&into).unwrap();
    for entry in fs::read_dir(checkpoint).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    fs::copy(checkpoint.with_file_name("tokenizer.json"), copy.join("tokenizer.json")).unwrap();
    let options = ExportOptions {
        pooling: Some(pooling),
        normalize: Some(pooling == Pooling::Mean),
        plain,
        ..ExportOptions::new(copy)
    };
    write_bundle(&options, &into).unwrap();
    Bundle::open(&into).unwrap()
}

/// Texts of these lengths, padded to one more than the longest.
fn batch(lengths: &[usize]) -> Batch {
    let columns = lengths.iter().max().unwrap() + 1;
    let id = |row: usize, column: usize| 5 + ((row * 31 + column * 7) % 40) as i64;
    let mask = |row: usize, column: usize| i64::from(column < lengths[row]);
    let cells = || (0..lengths.len()).flat_map(|row| (0..columns).map(move |column| (row, column)));
    Batch {
        ids: cells().map(|(row, column)| if mask(row, column) == 1 { id(row, column) } else { 4 }).collect(),
        mask: cells().map(|(row, column)| mask(row, column)).collect(),
        rows: lengths.len(),
        columns,
        adapters: Vec::new(),
    }
}

/// Largest difference of a component, as a share of its row's norm; of a row shorter than 1, such as the one number of a
/// regression that may lie near 0, the difference itself.
fn largest_share(got: &[f32], want: &[f32]) -> f64 {
    let norm = want.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt().max(1.0);
    let delta = got.iter().zip(want).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).fold(0.0, f64::max);
    delta / norm
}

#[test]
fn every_architecture_runs_wholly_on_openvino_with_the_vectors_of_the_cpu() {
    let Some(library) = library() else { return };
    let runtime = OnnxRuntime::load(Some(&library)).unwrap();
    let checkpoints = checkpoints();
    assert!(checkpoints.len() >= 14);
    let mut heads = 0;
    for checkpoint in &checkpoints {
        for (pooling, plain) in [(Pooling::Cls, false), (Pooling::Mean, false), (Pooling::Mean, true)] {
            let place = Workplace::new();
            let bundle = export(checkpoint, &place.path(""), (pooling, plain));
            let answers = bundle.manifest.heads.iter().map(|head| head.answer());
            let outputs: Vec<&str> = [SENTENCE_EMBEDDING].into_iter().chain(answers).collect();
            heads += outputs.len() - 1;
            let open = |provider| {
                let options = SessionOptions { graph: bundle.graph_path(), provider, threads: 2 };
                let what = format!("{} with {pooling}, plain: {plain}", checkpoint.display());
                EncoderSession::open_outputs(&runtime, &options, &outputs).unwrap_or_else(|e| panic!("{what}: {e:?}"))
            };
            let (mut cpu, mut openvino) = (open(ProviderChoice::Cpu), open(ProviderChoice::OpenVino));
            assert_eq!(openvino.provider(), "OpenVINOExecutionProvider");
            for lengths in [&[9][..], &[3, 12, 2, 7], &[2]] {
                let batch = batch(lengths);
                let (want, got) = (cpu.run(&batch).unwrap(), openvino.run(&batch).unwrap());
                let dim = bundle.manifest.dim;
                for row in 0..batch.rows {
                    for part in [0..dim, dim..want.dim].into_iter().filter(|part| !part.is_empty()) {
                        let share = largest_share(&got.row(row)[part.clone()], &want.row(row)[part.clone()]);
                        let name = checkpoint.display();
                        assert!(share <= TOLERANCE, "{name} with {pooling}, numbers {part:?} of {row}: {share:e}");
                    }
                }
            }
        }
    }
    assert!(heads > 6, "{heads} heads");
}

#[test]
fn what_openvino_does_not_take_is_refused_and_not_run_elsewhere() {
    let Some(library) = library() else { return };
    let runtime = OnnxRuntime::load(Some(&library)).unwrap();
    // It sums in f64.
    let graph = root().join("tests/data/tiny-graph/encoder.onnx");
    let options = SessionOptions { graph, provider: ProviderChoice::OpenVino, threads: 1 };
    let error = EncoderSession::open(&runtime, &options).unwrap_err();
    assert!(matches!(error, Error::NotPlaced { .. }), "{error:?}");
    assert!(error.to_string().ends_with("encoder.onnx` does not run wholly on `OpenVINOExecutionProvider`"), "{error}");
    assert!(error.hint().unwrap().contains("--provider cpu"));
    assert!(EncoderSession::open(&runtime, &SessionOptions { provider: ProviderChoice::Cpu, ..options }).is_ok());
}

#[test]
fn the_account_and_the_cache_name_the_provider_that_ran() {
    let Some(library) = library() else { return };
    let place = Workplace::new();
    place.write("papers.jsonl", "{\"id\": \"a\", \"title\": \"coral reefs\"}\n{\"id\": \"b\", \"title\": \"steel\"}\n");
    let library = library.to_str().unwrap();
    let args = ["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.jsonl", "--json"];
    let said = place.run(&[&args[..], &["--provider", "openvino", "--ort-lib", library]].concat(), 0);
    assert_eq!(said.json()["provider"], "OpenVINOExecutionProvider");
    let parts = glob::glob(place.path("cache/embeddings/*/*.arrow").to_str().unwrap()).unwrap();
    let parts: Vec<Vec<u8>> = parts.map(|part| fs::read(part.unwrap()).unwrap()).collect();
    let named = |part: &Vec<u8>| part.windows(25).any(|bytes| bytes == b"OpenVINOExecutionProvider");
    assert!(parts.len() == 1 && parts.iter().all(named), "{} parts", parts.len());

    let json = place.run(&["doctor", "--ort-lib", library, "--json"], 0).json();
    assert_eq!(json["library"]["choices"], serde_json::json!(["auto", "cpu", "openvino"]));
}

#[test]
fn check_allows_openvino_a_share_of_the_norm_and_the_cpu_no_bit() {
    let Some(library) = library() else { return };
    let place = Workplace::new();
    let library = library.to_str().unwrap();
    let check = |provider: &str| {
        let args = ["check", "--model", tiny_bundle(), "--threads", "1", "--json", "--provider", provider];
        place.run(&[&args[..], &["--ort-lib", library]].concat(), 0).json()
    };
    let [cpu, openvino] = ["cpu", "openvino"].map(check);
    assert_eq!((&cpu["provider"], &cpu["allowed"]), (&"CPUExecutionProvider".into(), &0.0.into()));
    assert_eq!(openvino["provider"], "OpenVINOExecutionProvider");
    let allowed = openvino["allowed"].as_f64().unwrap();
    assert!(allowed > 0.9e-5 && allowed < 1.1e-5, "{allowed}: the bundle normalizes");
    assert_eq!(openvino["invariant"], true);
}

#[test]
fn a_library_without_openvino_is_an_error_with_the_way_out() {
    let place = Workplace::new();
    place.write("papers.jsonl", "{\"id\": \"a\", \"title\": \"coral reefs\"}\n");
    let choices = place.run(&["doctor", "--json"], 0).json()["library"]["choices"].clone();
    if choices.as_array().unwrap().iter().any(|choice| choice == "openvino") {
        return println!("skipped: the library that is found has OpenVINO");
    }
    let args = ["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.jsonl", "--provider", "openvino"];
    let said = place.run(&args, 2);
    said.expect(&[
        "error: the loaded ONNX Runtime at `",
        "has no `OpenVINOExecutionProvider`",
        "hint: `pip install onnxruntime-openvino`, then name its library with `--ort-lib`",
    ]);
    assert!(!place.path("x.jsonl").exists());
}
