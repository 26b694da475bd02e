//! Promise: an fp16 bundle has half the weights, rounded and nothing else, and gives nearly the vectors of the fp32 one, for
//! every architecture; the same bits in any batch. It is refused on the CPU provider, before anything is opened, unless
//! `--fallback` says otherwise; it serves the heads of the fp32 bundle and shares no cached row with it.
//!
//! What is measured here ran on the CPU provider, which computes half precision in fp32 between conversions.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
mod tiny_rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Workplace, oracle_python, root, tiny_bundle, tiny_checkpoint};
use offprint::graph::{ExportOptions, write_bundle};
use offprint::model::{Bundle, LOGITS, PROBABILITIES, Pooling, Precision, SENTENCE_EMBEDDING};
use offprint::runtime::{EncoderSession, ProviderChoice, SessionOptions};
use safetensors::tensor::{SafeTensors, TensorView};
use tiny_rows::{batch, checkpoints, copy, cosine, reference_of, run, runtime};

/// Least cosine between the two vectors of a text; 0.999999 is measured for the worst.
const LEAST_COSINE: f64 = 0.99999;
/// Largest change of a logit or probability, as a share of the row's norm where that is above 1.
const LARGEST_CHANGE: f64 = 2e-3;

const REFUSAL: [&str; 2] = [
    "the bundle computes in fp16, and `CPUExecutionProvider` (chosen by `--provider",
    "  hint: export it with `--precision fp32` for this machine, which does not round and takes no more memory, or run it all the same with \
     `--fallback warn`",
];

/// The bundles of a tiny checkpoint in fp32 and in fp16.
fn both(place: &Workplace, name: &str, pooling: Pooling) -> [Bundle; 2] {
    [Precision::Fp32, Precision::Fp16].map(|precision| {
        let folder = place.path(&format!("{pooling}-{precision}"));
        fs::create_dir_all(&folder).unwrap();
        let checkpoint = ExportOptions::new(place.path(name));
        let options = ExportOptions { pooling: Some(pooling), normalize: Some(false), precision, ..checkpoint };
        write_bundle(&options, &folder).unwrap();
        let bundle = Bundle::open(&folder).unwrap();
        bundle.verify_graph().unwrap();
        bundle
    })
}

#[test]
fn every_architecture_is_near_its_fp32_graph_and_the_same_in_any_batch() {
    let Some(runtime) = runtime() else { return };
    let (mut worst, mut largest) = (1.0_f64, 0.0_f64);
    for name in checkpoints() {
        let place = Workplace::new();
        copy(&name, &place.path(&name));
        let rows = reference_of(&name).rows;
        for pooling in Pooling::ALL {
            let bundles = both(&place, &name, pooling);
            for output in [SENTENCE_EMBEDDING, LOGITS, PROBABILITIES] {
                let has = |head: &offprint::model::GraphHead| head.outputs().any(|other| other == output);
                if output != SENTENCE_EMBEDDING && !bundles[0].manifest.heads.iter().any(has) {
                    continue;
                }
                let [mut full, mut half] = bundles.each_ref().map(|bundle| {
                    let options =
                        SessionOptions { graph: bundle.graph_path(), provider: ProviderChoice::Cpu.into(), threads: 2 };
                    EncoderSession::open_outputs(&runtime, &options, &[output]).unwrap()
                });
                let alone: Vec<Vec<f32>> =
                    rows.iter().map(|row| run(&mut half, &batch(&[row], 0, 4)).remove(0)).collect();
                let all: Vec<&Vec<i64>> = rows.iter().collect();
                for (row, (got, want)) in alone.iter().zip(run(&mut full, &batch(&all, 3, 4))).enumerate() {
                    let what = format!("{output} of row {row} of {name} with {pooling}");
                    if output == SENTENCE_EMBEDDING {
                        let got = cosine(got, &want);
                        worst = worst.min(got);
                        assert!(got >= LEAST_COSINE, "{what}: {got}");
                    } else {
                        let norm = want.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt().max(1.0);
                        let delta = got.iter().zip(&want).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
                        largest = largest.max(delta / norm);
                        assert!(delta <= LARGEST_CHANGE * norm, "{what}: {delta} of {norm}");
                    }
                }
                // A row of one token takes a kernel of its own when it is alone; every text has two.
                for (start, end, padding) in [(1, 5, 0), (1, 3, 2), (3, 5, 4)] {
                    let together = run(&mut half, &batch(&all[start..end], padding, 4));
                    for (row, values) in together.iter().enumerate() {
                        let same = values.iter().zip(&alone[start + row]).all(|(a, b)| a.to_bits() == b.to_bits());
                        assert!(same, "{output} of row {} of {name} in {start}..{end}", start + row);
                    }
                }
            }
        }
    }
    println!("worst cosine {worst:.9}, largest change of a logit or probability {largest:.1e}");
    assert!(worst < 1.0, "nothing was rounded");
}

#[test]
fn weights_are_those_that_numpy_rounds_and_onnx_finds_nothing_wrong() {
    let Some(python) = oracle_python() else { return };
    for name in checkpoints() {
        let place = Workplace::new();
        copy(&name, &place.path(&name));
        let [full, half] = both(&place, &name, Pooling::Mean);
        let script = root().join("export/oracle/check_half.py");
        let output = Command::new(&python).arg(script).args([full.dir, half.dir]).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        println!("{name}: {}", String::from_utf8_lossy(&output.stdout).trim());
    }
}

/// Numbers of a vector of the tiny checkpoint, and papers that it is run on.
const DIM: usize = 24;
const PAPERS: usize = 30;

/// The vectors that `embed` wrote of the papers.
fn vectors(place: &Workplace, name: &str) -> Vec<f32> {
    let bytes = fs::read(place.path(name)).unwrap();
    let numbers = &bytes[bytes.len() - PAPERS * DIM * 4..];
    numbers.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// The tiny checkpoint in fp16, as `half`, and papers.
fn place() -> Workplace {
    let place = Workplace::new();
    let checkpoint = tiny_checkpoint();
    let export = ["export", "--model", checkpoint.to_str().unwrap(), "-o", "half", "--pooling", "mean", "--normalize"];
    let said = place.run(&[&export[..], &["--dtype", "fp16"]].concat(), 0);
    said.expect(&[
        "compared with the fp32 graph of the same checkpoint on ",
        ", CPUExecutionProvider",
        "note: the bundle is for GPU providers; on the CPU provider, which checked it, `--fallback warn` runs it",
    ]);
    let papers = (0..PAPERS).map(|n| {
        let (field, word) = if n % 2 == 0 { ("sea", "coral reef fish") } else { ("metal", "steel copper alloy") };
        format!("{{\"id\": \"p{n}\", \"title\": \"{word} {n}\", \"abstract\": \"{word}\", \"field\": \"{field}\"}}\n")
    });
    place.write("papers.jsonl", papers.collect::<String>());
    place
}

#[test]
fn a_bundle_says_what_it_is_and_how_far_from_fp32() {
    let place = place();
    let [full, half] = [tiny_bundle().into(), place.path("half")].map(|folder: PathBuf| Bundle::open(&folder).unwrap());
    assert_eq!((half.manifest.precision, half.manifest.parameters), (Precision::Fp16, full.manifest.parameters));
    assert_eq!(half.identity(), full.identity());
    let changes: Vec<String> =
        full.fingerprint().differences(&half.fingerprint()).iter().map(|change| change.name.clone()).collect();
    assert_eq!(changes, ["graph", "precision"]);
    let measured = half.manifest.quality.as_ref().unwrap().measured.as_ref().unwrap();
    assert!(measured.cosine_min >= LEAST_COSINE && measured.cosine_min < 1.0, "{measured:?}");
    assert_eq!(measured.provider, "CPUExecutionProvider");
    let said = place.run(&["inspect", "half"], 0);
    assert!(said.stdout.contains("fp16") && said.stdout.contains("float16"), "{}", said.stdout);

    let checkpoint = tiny_checkpoint();
    let export = ["export", "--model", checkpoint.to_str().unwrap(), "-o", "worse", "--pooling", "mean"];
    let said = place.run(&[&export[..], &["--precision", "fp16", "--min-cosine", "1"]].concat(), 1);
    said.expect(&["the new bundle is worse than was asked; nothing was written", "(`--min-cosine`)"]);
    assert!(!place.path("worse").exists());
}

#[test]
fn it_is_refused_on_the_cpu_provider_before_anything_is_opened() {
    let place = place();
    // There is no such library: opening anything would say so. What `auto` may choose depends on the library.
    let nowhere = ["--ort-lib", "nowhere.so"];
    for (flags, library, chosen) in [
        (&["--provider", "auto"][..], &[][..], "auto"),
        (&["--provider", "cpu"], &nowhere, "cpu"),
        (&["--provider", "CPUExecutionProvider", "--fallback", "error"], &nowhere, "cpu"),
    ] {
        for command in [&["embed"][..], &["train", "--label", "field"], &["check"]] {
            let output = if command[0] == "check" { &["--json"][..] } else { &["-o", "out.npy"] };
            let common = [&["--model", "half", "papers.jsonl"], library].concat();
            let said = place.run(&[command, &common, output, flags].concat(), 2);
            said.expect(&REFUSAL);
            said.expect(&[&format!("(chosen by `--provider {chosen}`)")]);
            assert!(said.stdout.is_empty() && !place.path("out.npy").exists(), "{}", said.stdout);
        }
    }
}

#[test]
fn fallback_runs_it_and_warn_says_so() {
    let place = place();
    let embed = ["embed", "--model", "half", "papers.jsonl", "-o", "half.npy", "--fallback"];
    let warning = "warning: the bundle computes in fp16, which CPUExecutionProvider turns into fp32 and back at each step; \
                   an fp32 bundle rounds nothing there and takes no more memory";
    let said = place.run(&[&embed[..], &["warn", "--no-cache"]].concat(), 0);
    said.expect(&[
        warning,
        "  fp16: vectors as measured at export against the fp32 graph of the same checkpoint: least cosine 0.99",
    ]);
    let json = place.run(&[&embed[..], &["allow", "--json"]].concat(), 0);
    assert!(!json.stderr.contains("warning"), "{}", json.stderr);
    let account = json.json();
    assert_eq!((&account["embedded"], &account["provider"]), (&30.into(), &"CPUExecutionProvider".into()));
    assert!(account["quality"]["cosine_min"].as_f64().unwrap() >= LEAST_COSINE, "{account}");

    // What is in the cache needs no provider, and the fp32 bundle finds none of it.
    let again = place.run(&["embed", "--model", "half", "papers.jsonl", "--json"], 0).json();
    assert_eq!((&again["embedded"], &again["cached"]), (&0.into(), &30.into()));
    let full = place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "full.npy", "--json"], 0).json();
    assert_eq!(
        (&full["embedded"], &full["cached"], &full["quality"]),
        (&30.into(), &0.into(), &serde_json::Value::Null)
    );
    let (half, full) = (vectors(&place, "half.npy"), vectors(&place, "full.npy"));
    assert_ne!(half, full);
    for (half, full) in half.chunks(DIM).zip(full.chunks(DIM)) {
        assert!(cosine(half, full) >= LEAST_COSINE);
    }

    let said = place.run(&["check", "--model", "half", "--threads", "2", "--fallback", "warn"], 0);
    said.expect(&[warning]);
    assert!(said.stdout.contains("the same bits in every composition"), "{}", said.stdout);
    let said = place.run(&[&embed[..], &["cpu"]].concat(), 2);
    said.expect(&["unknown fallback `cpu`, known are: error, warn, allow"]);
}

#[test]
fn a_head_of_the_fp32_bundle_serves_it_and_can_be_fused_into_it() {
    let place = place();
    place.run(&["train", "--model", tiny_bundle(), "papers.jsonl", "--label", "field", "-o", "field.head"], 0);
    let classify = ["classify", "--model", "half", "--head", "field.head", "papers.jsonl", "--label", "field"];
    let said = place.run(&[&classify[..], &["--fallback", "allow", "-o", "half.jsonl"]].concat(), 0);
    said.expect(&[
        "  fp16: vectors as measured at export against the fp32 graph of the same checkpoint: least cosine 0.99",
    ]);
    assert!(!said.stderr.contains("another encoder"), "{}", said.stderr);
    place.run(&["fuse", "--model", "half", "--head", "field.head", "-o", "fused"], 0);
    let fused = Bundle::open(&place.path("fused")).unwrap().manifest;
    assert_eq!((fused.precision, fused.heads.len()), (Precision::Fp16, 1));
    let refused = place.run(&["classify", "--model", "fused", "papers.jsonl"], 2);
    refused.expect(&REFUSAL);
    place.run(&["classify", "--model", "fused", "papers.jsonl", "--fallback", "allow", "-o", "fused.jsonl"], 0);
    let labels = |name: &str| -> Vec<String> {
        let rows = place.read(name);
        let row = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        rows.lines().map(|line| row(line)["label"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(labels("half.jsonl"), labels("fused.jsonl"));
    assert_eq!(labels("half.jsonl").len(), PAPERS);
}

#[test]
fn a_provider_that_is_missing_is_an_error_unless_fallback_lets_the_cpu_take_it() {
    let Some(runtime) = runtime() else { return };
    if runtime.providers().iter().any(|name| name == "OpenVINOExecutionProvider") {
        return println!("skipped: this ONNX Runtime has OpenVINO");
    }
    let place = place();
    let embed =
        ["embed", "--model", tiny_bundle(), "papers.jsonl", "--no-cache", "-o", "x.npy", "--provider", "openvino"];
    let said = place.run(&embed, 2);
    said.expect(&["has no `OpenVINOExecutionProvider`", "  hint: `pip install onnxruntime-openvino`"]);
    assert!(!place.path("x.npy").exists());
    let said = place.run(&[&embed[..], &["--fallback", "warn", "--json"]].concat(), 0);
    assert_eq!(said.json()["provider"], "CPUExecutionProvider");
    let warning =
        "`--provider openvino` could not run the bundle; CPUExecutionProvider did: the loaded ONNX Runtime at `";
    said.expect(&[&format!("warning: {warning}")]);
    let account = said.json();
    assert!(account["warnings"][0].as_str().unwrap().starts_with(warning), "{account}");
    assert_eq!(
        (&account["passed_over"][0]["provider"], account["warnings"].as_array().unwrap().len()),
        (&"openvino".into(), 1)
    );
    let said = place.run(&[&embed[..], &["--fallback", "allow"]].concat(), 0);
    assert!(!said.stderr.contains("warning") && said.stderr.contains("on CPUExecutionProvider"), "{}", said.stderr);
}

#[test]
fn openvino_takes_it_wholly() {
    let Some(library) = std::env::var_os("OFFPRINT_OPENVINO").filter(|library| !library.is_empty()) else {
        return println!("skipped: OFFPRINT_OPENVINO names no ONNX Runtime with OpenVINO");
    };
    let place = place();
    let embed = |bundle: &str, flags: &[&str]| -> Vec<f32> {
        let output = format!("{}.npy", flags.len());
        let args = ["embed", "--model", bundle, "papers.jsonl", "--no-cache", "-o", &output];
        place.run(&[&args[..], flags].concat(), 0);
        vectors(&place, &output)
    };
    let half = embed("half", &["--provider", "openvino", "--ort-lib", library.to_str().unwrap()]);
    for (half, full) in half.chunks(DIM).zip(embed(tiny_bundle(), &[]).chunks(DIM)) {
        assert!(cosine(half, full) >= LEAST_COSINE);
    }
}

#[test]
fn a_weight_beyond_half_precision_is_named() {
    let place = Workplace::new();
    let folder = place.path("large");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(tiny_checkpoint()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let name = "bert.encoder.layer.1.output.dense.weight";
    put_into(&folder.join("model.safetensors"), name, -70000.0);
    let export = ["export", "--model", "large", "-o", "new", "--pooling", "mean"];
    place.run(&export, 0);
    fs::remove_dir_all(place.path("new")).unwrap();
    let said = place.run(&[&export[..], &["--precision", "fp16"]].concat(), 2);
    said.expect(&[
        &format!("error: the constant `{name}` holds -70000, in half precision numbers end at 65504"),
        "  hint: export this checkpoint with `--precision fp32`",
    ]);
    assert!(!place.path("new").exists());
}

/// Overwrites the third number of a tensor.
fn put_into(path: &Path, name: &str, value: f32) {
    let bytes = fs::read(path).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<(String, TensorView<'_>)> = stored.tensors();
    let (_, tensor) = tensors.iter().find(|(other, _)| other == name).unwrap();
    let (element, shape) = (tensor.dtype(), tensor.shape().to_vec());
    let mut data = tensor.data().to_vec();
    data[8..12].copy_from_slice(&value.to_le_bytes());
    tensors.retain(|(other, _)| other != name);
    tensors.push((name.to_owned(), TensorView::new(element, shape, &data).unwrap()));
    safetensors::serialize_to_file(tensors, None, path).unwrap();
}

#[test]
fn bf16_is_refused_with_what_was_found_and_what_to_use() {
    let place = Workplace::new();
    let checkpoint = tiny_checkpoint();
    let export = ["export", "--model", checkpoint.to_str().unwrap(), "-o", "new", "--pooling", "mean"];
    let said = place.run(&[&export[..], &["--precision", "bf16"]].concat(), 2);
    said.expect(&[
        "invalid value 'bf16' for '--precision <PRECISION>': ONNX Runtime's CPU provider has no kernels for products of \
         bf16 matrices, and ",
        "use fp32 on processors and fp16 on GPU providers",
    ]);
    let amx = fs::read_to_string("/proc/cpuinfo").unwrap_or_default().contains("amx_bf16");
    said.expect(&[if amx { "has AMX for it, which ONNX Runtime leaves unused" } else { "has no AMX for it either" }]);
    let said = place.run(&[&export[..], &["--precision", "fp64"]].concat(), 2);
    said.expect(&["unknown precision `fp64`, known are: fp32, fp16"]);
    assert!(!place.path("new").exists());

    // What the message says of ONNX Runtime is true of this one.
    let Some(runtime) = runtime() else { return };
    let graph = root().join("tests/data/tiny-graph/bf16.onnx");
    let options = SessionOptions { graph, provider: ProviderChoice::Cpu.into(), threads: 1 };
    let error = EncoderSession::open_outputs(&runtime, &options, &[SENTENCE_EMBEDDING]).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("Could not find an implementation for MatMul"), "{source}");
}

#[test]
fn the_graph_of_another_program_keeps_its_numbers() {
    let work = common::onnx_source("optimum-states");
    let args = ["export", "--from-onnx", "source/model.onnx", "--model", "source", "-o", "new", "--precision", "fp16"];
    let said = work.run(&args, 2);
    said.expect(&[
        "error: `--precision fp16` is about weights, and `--from-onnx` takes a graph with its numbers",
        "  hint: leave it out, or export the checkpoint behind the graph",
    ]);
    assert!(!work.path("new").exists());
}
