//! Promise: a graph of ours runs wholly on OpenVINO's provider, with the fallback to the CPU disabled, and gives the
//! vectors of the CPU provider; asked for OpenVINO, a run goes there or is refused, and says which.
//!
//! Needs the library that `make openvino-venv` fetches, or `OFFPRINT_OPENVINO` that names it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
#[path = "common/fused.rs"]
mod fused;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use common::{Workplace, minilm_bundle, openvino_library, root, tiny_bundle};
use ndarray::Array2;
use offprint::graph::{ExportOptions, write_bundle};
use offprint::model::{Bundle, Pooling, SENTENCE_EMBEDDING};
use offprint::runtime::{
    Batch, CpuSettings, EncoderSession, OnnxRuntime, PlacedNode, ProviderChoice, RunBatch, SessionOptions,
};

/// Of a row's norm.
const TOLERANCE: f64 = 1e-5;

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
    let Some(library) = openvino_library() else { return };
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
            let open = |provider: ProviderChoice| {
                let options = SessionOptions { graph: bundle.graph_path(), provider: provider.into(), threads: 2 };
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

/// Saves the committed heads as if they had been trained on `bundle`, whatever the length of its vectors; gives the flags
/// that name them.
fn save_heads(place: &Workplace, bundle: &Bundle) -> Vec<String> {
    let dim = bundle.manifest.dim;
    let mut flags = Vec::new();
    for name in fused::HEADS {
        let mut head = fused::head_for(bundle.dir.to_str().unwrap(), name);
        let known = head.dim();
        let wave = |(row, column): (usize, usize)| ((row * 5 + column) as f64 * 0.37).sin();
        if known != dim {
            let linear = head.linear_mut().unwrap();
            linear.coefficients = Array2::from_shape_fn((linear.coefficients.nrows(), dim), wave);
        }
        fused::save(place, &head, name);
        flags.extend(["--head".to_owned(), format!("{name}.head")]);
    }
    flags
}

fn fuse(place: &Workplace, bundle: &str, heads: &[String]) -> String {
    let mut args = vec!["fuse", "--model", bundle, "-o", "fused"];
    args.extend(heads.iter().map(String::as_str));
    place.run(&args, 0).stderr
}

#[test]
fn a_fused_bundle_runs_wholly_on_openvino_with_the_answers_of_the_cpu() {
    let Some(library) = openvino_library() else { return };
    let runtime = OnnxRuntime::load(Some(&library)).unwrap();
    // MiniLM's vectors are long enough for heads that are summed in parts.
    for bundle in [Some(fused::bundle()), minilm_bundle().map(str::to_owned)].into_iter().flatten() {
        let place = Workplace::new();
        let heads = save_heads(&place, &Bundle::open(Path::new(&bundle)).unwrap());
        let said = fuse(&place, &bundle, &heads);
        assert!(!said.contains("f64"), "{said}");
        let bundle = Bundle::open(&place.path("fused")).unwrap();
        let outputs: Vec<&str> = bundle.manifest.heads.iter().flat_map(|head| head.outputs()).collect();
        assert_eq!(outputs.len(), 8);
        let open = |provider: ProviderChoice| {
            let options = SessionOptions { graph: bundle.graph_path(), provider: provider.into(), threads: 2 };
            EncoderSession::open_outputs(&runtime, &options, &outputs).unwrap()
        };
        let (mut cpu, mut openvino) = (open(ProviderChoice::Cpu), open(ProviderChoice::OpenVino));
        assert_eq!(openvino.provider(), "OpenVINOExecutionProvider");
        for lengths in [&[9][..], &[3, 12, 2, 7]] {
            let batch = batch(lengths);
            let (want, got) = (cpu.run(&batch).unwrap(), openvino.run(&batch).unwrap());
            for row in 0..batch.rows {
                let mut start = 0;
                for (output, width) in outputs.iter().zip(cpu.widths()) {
                    let share = largest_share(&got.row(row)[start..][..width], &want.row(row)[start..][..width]);
                    // Heads have coefficients of up to ten, by which they multiply what the vectors differ by.
                    assert!(share <= 10.0 * TOLERANCE, "{output} of {row}: {share:e}");
                    start += width;
                }
            }
        }
    }
}

#[test]
fn a_fused_bundle_with_a_head_in_f64_says_that_openvino_does_not_take_it() {
    let Some(library) = openvino_library() else { return };
    let runtime = OnnxRuntime::load(Some(&library)).unwrap();
    let place = Workplace::new();
    // Large coefficients, and a text for which they cancel.
    let row = fused::Graph::open(fused::bundle().as_ref(), &[("sentence_embedding", 24)]).rows(&["Offprints"], 1);
    let mut head = fused::head_for(&fused::bundle(), "topic");
    let linear = head.linear_mut().unwrap();
    linear.coefficients *= 500.0;
    linear.intercepts = linear.coefficients.dot(&row.row(0).mapv(f64::from)).mapv(|logit| 0.1 - logit).to_vec();
    fused::save(&place, &head, "steep");
    let said = fuse(&place, &fused::bundle(), &["--head".to_owned(), "steep.head".to_owned()]);
    let note = "note: the graph holds f64, so that it runs on the CPU provider; OpenVINO's does not take it";
    assert!(said.contains(note), "{said}");
    let graph = place.path("fused/model.onnx");
    let options = SessionOptions { graph, provider: ProviderChoice::OpenVino.into(), threads: 1 };
    let error = EncoderSession::open_outputs(&runtime, &options, &["probabilities"]).unwrap_err();
    assert!(error.is_placement(), "{error:?}");
}

#[test]
fn what_openvino_does_not_take_is_refused_and_not_run_elsewhere() {
    let Some(library) = openvino_library() else { return };
    let runtime = OnnxRuntime::load(Some(&library)).unwrap();
    // It sums in f64.
    let graph = root().join("tests/data/tiny-graph/encoder.onnx");
    let options = SessionOptions { graph, provider: ProviderChoice::OpenVino.into(), threads: 1 };
    let error = EncoderSession::open(&runtime, &options).unwrap_err();
    assert!(error.is_placement(), "{error:?}");
    assert!(error.to_string().ends_with("encoder.onnx` does not run wholly on `OpenVINOExecutionProvider`"), "{error}");
    assert!(error.hint().unwrap().contains("--provider cpu"));
    assert!(
        EncoderSession::open(&runtime, &SessionOptions { provider: ProviderChoice::Cpu.into(), ..options }).is_ok()
    );
}

#[test]
fn what_may_stay_with_the_cpu_is_counted_and_what_is_left_is_named() {
    let Some(library) = openvino_library() else { return };
    let runtime = OnnxRuntime::load(Some(&library)).unwrap();
    // It sums in f64.
    let graph = root().join("tests/data/tiny-graph/encoder.onnx");
    let options = SessionOptions { graph, provider: ProviderChoice::OpenVino.into(), threads: 1 };
    let open = |may_stay: &dyn Fn(&PlacedNode) -> bool| {
        EncoderSession::open_with(&runtime, &options, &[SENTENCE_EMBEDDING], (&CpuSettings::default(), may_stay))
    };
    let seen = RefCell::new(Vec::new());
    let mut mixed = open(&|node| {
        seen.borrow_mut().push((node.operator.clone(), node.provider.clone()));
        true
    })
    .unwrap();
    let nodes = mixed.placement().nodes().clone();
    let seen = seen.into_inner();
    assert_eq!(nodes["CPUExecutionProvider"], seen.len() as u64, "{nodes:?}, {seen:?}");
    assert!(
        nodes["OpenVINOExecutionProvider"] > 0 && seen.iter().all(|(_, provider)| provider == "CPUExecutionProvider")
    );
    let plain = SessionOptions { provider: ProviderChoice::Cpu.into(), ..options.clone() };
    let mut cpu = EncoderSession::open(&runtime, &plain).unwrap();
    assert_eq!(cpu.placement().share("CPUExecutionProvider"), 1.0);
    let batch = batch(&[3]);
    let share = largest_share(mixed.run(&batch).unwrap().row(0), cpu.run(&batch).unwrap().row(0));
    assert!(share <= TOLERANCE, "{share:e}");

    let first = seen[0].0.clone();
    let error = open(&|node| node.operator != first).unwrap_err();
    assert!(error.is_placement(), "{error:?}");
    let left = std::error::Error::source(&error).unwrap().to_string();
    assert!(left.contains(&format!("of {first} left to CPUExecutionProvider")), "{left}");
}

/// A graph from elsewhere whose vectors are reshaped by a shape that is computed in f64, which OpenVINO does not take; or
/// that is multiplied by a number in f64.
const IN_F64: &str = r#"
import sys, onnx
from onnx import helper, TensorProto as T
model = onnx.load(sys.argv[1])
graph, (old,) = model.graph, [o for o in model.graph.output if o.name == "last_hidden_state"]
for node in graph.node:
    node.output[:] = ["before" if name == old.name else name for name in node.output]
    node.input[:] = ["before" if name == old.name else name for name in node.input]
if sys.argv[3] == "shape":
    graph.node.extend([
        helper.make_node("Shape", ["before"], ["s"], name="t/shape"),
        helper.make_node("Cast", ["s"], ["d"], name="t/double", to=T.DOUBLE),
        helper.make_node("Sqrt", ["d"], ["r"], name="t/root"),
        helper.make_node("Mul", ["r", "r"], ["q"], name="t/square"),
        helper.make_node("Round", ["q"], ["n"], name="t/round"),
        helper.make_node("Cast", ["n"], ["i"], name="t/whole", to=T.INT64),
        helper.make_node("Reshape", ["before", "i"], [old.name], name="t/reshape"),
    ])
else:
    graph.node.extend([
        helper.make_node("Cast", ["before"], ["d"], name="t/double", to=T.DOUBLE),
        helper.make_node("Sin", ["d"], ["r"], name="t/sine"),
        helper.make_node("Cast", ["r"], [old.name], name="t/single", to=T.FLOAT),
    ])
onnx.save(model, sys.argv[2])
"#;

#[test]
fn an_imported_graph_may_leave_shapes_to_the_cpu_and_nothing_else() {
    let (Some(library), Some(python)) = (openvino_library(), common::oracle_python()) else { return };
    let library = library.to_str().unwrap();
    let place = common::onnx_source("optimum-states");
    place.write("papers.jsonl", "{\"id\": \"a\", \"title\": \"coral reefs\"}\n{\"id\": \"b\", \"title\": \"steel\"}\n");
    let embed = |bundle: &str, flags: &[&str], status| {
        let args = ["embed", "--model", bundle, "papers.jsonl", "-o", "x.npy", "--no-cache", "--ort-lib", library];
        place.run(&[&args[..], flags].concat(), status)
    };
    for kind in ["shape", "number"] {
        fs::create_dir(place.path(kind)).unwrap();
        for file in fs::read_dir(place.path("source")).unwrap().map(Result::unwrap).filter(|file| file.path().is_file())
        {
            fs::copy(file.path(), place.path(kind).join(file.file_name())).unwrap();
        }
        let [from, to] = ["source", kind].map(|folder| place.path(folder).join("model.onnx"));
        let mut made = std::process::Command::new(&python);
        assert!(made.args(["-c", IN_F64]).arg(from).arg(to).arg(kind).status().unwrap().success());
        let bundle = format!("{kind}-bundle");
        let export = ["export", "--from-onnx", &format!("{kind}/model.onnx"), "-o", &bundle, "--pooling", "mean"];
        place.run(&[&export[..], &["--no-normalize"]].concat(), 0);
    }
    let nodes = embed("shape-bundle", &["--provider", "openvino", "--json"], 0).json()["nodes"].clone();
    let count = |provider: &str| nodes[provider].as_u64().unwrap_or(0);
    assert!((1..=6).contains(&count("CPUExecutionProvider")) && count("OpenVINOExecutionProvider") > 50, "{nodes}");

    let said = embed("number-bundle", &["--provider", "openvino"], 2);
    said.expect(&["does not run wholly on `OpenVINOExecutionProvider`", "of Sin left to CPUExecutionProvider"]);
    let flags = ["--provider", "openvino", "--fallback", "allow", "--json"];
    let nodes = embed("number-bundle", &flags, 0).json()["nodes"].clone();
    assert_eq!(nodes.as_object().unwrap().keys().collect::<Vec<_>>(), ["CPUExecutionProvider"], "all of it");
}

#[test]
fn the_account_and_the_cache_name_the_provider_that_ran() {
    let Some(library) = openvino_library() else { return };
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
    let Some(library) = openvino_library() else { return };
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
