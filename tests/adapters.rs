//! Promise: an adapter of the `adapters` library or of peft gives the vectors that its library gives, within 1e-5 of a
//! row's norm, alone and padded, with CLS and mean pooling, and the same bits in any batch; of several adapters in one
//! graph, each text's own gives what it gives alone, within 1e-6, whatever its mates'.
//!
//! Adapters and references are made by `export/oracle/make_adapters.py`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
mod tiny_rows;

use std::fs;
use std::path::{Path, PathBuf};

use common::Workplace;
use offprint::graph::{AdapterSource, ExportOptions, write_bundle};
use offprint::model::{Bundle, Pooling, SENTENCE_EMBEDDING};
use offprint::runtime::{Batch, EncoderSession, OnnxRuntime, ProviderChoice, SessionOptions};
use safetensors::tensor::TensorView;
use tiny_rows::{Reference, copy, largest_share, run, runtime};

/// As a share of a row's norm.
const TOLERANCE: f64 = 1e-5;

fn adapters() -> PathBuf {
    common::root().join("tests/data/adapters")
}

fn names() -> Vec<String> {
    let entries = fs::read_dir(adapters()).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The checkpoint that an adapter was made for.
fn base(adapter: &str) -> String {
    fs::read_to_string(adapters().join(adapter).join("base.txt")).unwrap().trim().to_owned()
}

fn options(place: &Workplace, adapter: &str, pooling: Pooling) -> ExportOptions {
    let folder = place.path("checkpoint");
    copy(&base(adapter), &folder);
    ExportOptions { pooling: Some(pooling), normalize: Some(false), ..ExportOptions::new(folder) }
}

fn export(options: &ExportOptions, bundle: &Path) -> Bundle {
    fs::create_dir_all(bundle).unwrap();
    write_bundle(options, bundle).unwrap();
    Bundle::open(bundle).unwrap()
}

fn session(runtime: &OnnxRuntime, bundle: &Bundle, threads: usize) -> EncoderSession {
    let options = SessionOptions { graph: bundle.graph_path(), provider: ProviderChoice::Cpu.into(), threads };
    EncoderSession::open_outputs(runtime, &options, &[SENTENCE_EMBEDDING]).unwrap()
}

/// Rows filled up with another id than the padding id of most families: what stands under the mask must not matter.
fn batch(rows: &[&Vec<i64>], padding: usize) -> Batch {
    tiny_rows::batch(rows, padding, 4)
}

fn bits(row: &[f32]) -> Vec<u32> {
    row.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn every_adapter_gives_the_vectors_of_its_library_in_any_batch() {
    let Some(runtime) = runtime() else { return };
    let names = names();
    assert_eq!(names.len(), 18);
    for name in &names {
        let place = Workplace::new();
        let reference = Reference::open(&adapters().join(name));
        let rows: Vec<&Vec<i64>> = reference.rows.iter().collect();
        for pooling in Pooling::ALL {
            let adapter = Some(AdapterSource::new(adapters().join(name)));
            let options = ExportOptions { adapter, ..options(&place, name, pooling) };
            let bundle = export(&options, &place.path(pooling.name()));
            let mut sessions = [1, 2].map(|threads| session(&runtime, &bundle, threads));
            let alone: Vec<Vec<f32>> =
                rows.iter().map(|row| run(&mut sessions[0], &batch(&[row], 0)).remove(0)).collect();
            let share = largest_share(&alone, &reference.values(pooling.name()).unwrap());
            let padded =
                largest_share(&run(&mut sessions[1], &batch(&rows, 5)), &reference.values(pooling.name()).unwrap());
            println!("{name} {pooling}: {share:.1e} alone, {padded:.1e} padded");
            assert!(share <= TOLERANCE && padded <= TOLERANCE, "{name} {pooling}: {share:e} alone, {padded:e} padded");
            // A row of one token takes a kernel of its own when it is alone; every text has two.
            for (start, end, padding) in [(1, 5, 0), (1, 5, 3), (1, 3, 1), (2, 4, 0), (3, 5, 4), (1, 2, 2)] {
                for session in &mut sessions {
                    let together = run(session, &batch(&rows[start..end], padding));
                    for (row, values) in together.iter().enumerate() {
                        assert_eq!(
                            bits(values),
                            bits(&alone[start + row]),
                            "{name}: row {} of {start}..{end}",
                            start + row
                        );
                    }
                }
            }
        }
    }
}

/// Pairs of bases and lists of adapters: of one form, of several forms and functions, behind attention too, and with
/// layers that some leave out.
const SEVERAL: [(&str, &[&str]); 3] = [
    ("bert-b", &["bert-seq", "bert-by-layer", "bert-double", "bert-left-out", "bert-parallel", "bert-plain-sum"]),
    ("bert-b", &["bert-seq", "bert-left-out"]),
    ("roberta-a", &["roberta-double", "roberta-seq"]),
];

/// As a share of a row's norm: the separate graphs add the same numbers in another order.
const SAME: f64 = 1e-6;

#[test]
fn each_text_of_a_mixed_batch_gets_the_vector_of_its_own_adapter() {
    let Some(runtime) = runtime() else { return };
    for ((base, list), pooling) in SEVERAL.iter().flat_map(|several| Pooling::ALL.map(|pooling| (several, pooling))) {
        let place = Workplace::new();
        copy(base, &place.path("checkpoint"));
        let plain = ExportOptions {
            pooling: Some(pooling),
            normalize: Some(false),
            ..ExportOptions::new(place.path("checkpoint"))
        };
        let source = |name: &str| AdapterSource::new(adapters().join(name));
        let named = list.iter().map(|name| ((*name).to_owned(), source(name))).collect();
        let bundle = export(&ExportOptions { adapters: named, ..plain.clone() }, &place.path("several"));
        let names: Vec<&str> = bundle.manifest.adapters.iter().map(|adapter| &*adapter.name).collect();
        assert_eq!(names, *list);
        let mut several = [1, 2].map(|threads| session(&runtime, &bundle, threads));

        let reference = Reference::open(&adapters().join(list[0]));
        let rows: Vec<&Vec<i64>> = reference.rows.iter().collect();
        let mut alone = Vec::new();
        for (number, name) in list.iter().enumerate() {
            let options = ExportOptions { adapter: Some(source(name)), ..plain.clone() };
            let fused = export(&options, &place.path(name));
            assert_eq!(fused.manifest.fused_adapter.as_ref().unwrap().hash, bundle.manifest.adapters[number].hash);
            let want = run(&mut session(&runtime, &fused, 2), &batch(&rows, 0));
            let one = |row: &&Vec<i64>| Batch { adapters: vec![number as i64], ..batch(&[row], 0) };
            let got: Vec<Vec<f32>> = rows.iter().map(|row| run(&mut several[0], &one(row)).remove(0)).collect();
            let share = largest_share(&got, &want);
            println!("{name} of {} {pooling}: {share:.1e}", list.len());
            assert!(share <= SAME, "{name} of {list:?} {pooling}: {share:e}");
            assert!(largest_share(&got, &reference_of(name, pooling)) <= TOLERANCE, "{name} {pooling}");
            alone.push(got);
        }
        // Every row with every adapter, in batches that mix them; a row of one token takes a kernel of its own.
        for (shift, padding) in [(0, 0), (1, 3), (2, 1), (3, 6)] {
            let owners: Vec<usize> = (1..rows.len()).map(|row| (row * (shift + 1) + shift) % list.len()).collect();
            let adapters = owners.iter().map(|owner| *owner as i64).collect();
            let mixed = Batch { adapters, ..batch(&rows[1..], padding) };
            for session in &mut several {
                let got = run(session, &mixed);
                for (row, values) in got.iter().enumerate() {
                    assert_eq!(bits(values), bits(&alone[owners[row]][row + 1]), "row {row} of {owners:?}");
                }
            }
        }
    }
}

fn reference_of(name: &str, pooling: Pooling) -> Vec<Vec<f32>> {
    Reference::open(&adapters().join(name)).values(pooling.name()).unwrap()
}

/// Writes a bottleneck adapter for `bert-b`, of this width and function, with numbers drawn by a seed.
fn write_adapter(folder: &Path, (size, function): (usize, &str), seed: u64) {
    fs::create_dir_all(folder).unwrap();
    let hidden = 21;
    let mut state = seed;
    let mut draw = || {
        // Knuth's MMIX generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0) * 0.3
    };
    let mut tensors = Vec::new();
    for layer in 0..2 {
        for (part, shape) in [
            ("adapter_down.0.weight", vec![size, hidden]),
            ("adapter_down.0.bias", vec![size]),
            ("adapter_up.weight", vec![hidden, size]),
            ("adapter_up.bias", vec![hidden]),
        ] {
            let values: Vec<u8> = (0..shape.iter().product()).flat_map(|_| draw().to_le_bytes()).collect();
            tensors.push((format!("encoder.layer.{layer}.output.adapters.own.{part}"), shape, values));
        }
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    fs::write(folder.join("adapter.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    let config = serde_json::json!({"config": {
        "original_ln_before": true, "non_linearity": function, "reduction_factor": hidden as f64 / (size as f64 + 0.5),
    }});
    fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
}

#[test]
fn wide_bottlenecks_and_functions_that_are_not_0_far_below_can_be_chosen_too() {
    let Some(runtime) = runtime() else { return };
    let place = Workplace::new();
    copy("bert-b", &place.path("checkpoint"));
    let plain = ExportOptions {
        pooling: Some(Pooling::Mean),
        normalize: Some(false),
        ..ExportOptions::new(place.path("checkpoint"))
    };
    let sizes =
        [(131, "relu"), (7, "relu"), (9, "tanh"), (140, "tanh"), (12, "gelu"), (12, "silu"), (12, "quick_gelu")];
    let mut named = Vec::new();
    for (number, size) in sizes.iter().enumerate() {
        let name = format!("a{number}");
        write_adapter(&place.path(&name), *size, number as u64 + 1);
        named.push((name.clone(), AdapterSource::new(place.path(&name))));
    }
    let bundle = export(&ExportOptions { adapters: named.clone(), ..plain.clone() }, &place.path("several"));
    let mut several = [1, 2].map(|threads| session(&runtime, &bundle, threads));
    let reference = Reference::open(&adapters().join("bert-seq"));
    let rows: Vec<&Vec<i64>> = reference.rows.iter().skip(1).collect();
    let mut alone = Vec::new();
    for (number, (name, source)) in named.iter().enumerate() {
        let options = ExportOptions { adapter: Some(source.clone()), ..plain.clone() };
        let fused = export(&options, &place.path(&format!("fused-{name}")));
        let want = run(&mut session(&runtime, &fused, 2), &batch(&rows, 0));
        let one = |row: &&Vec<i64>| Batch { adapters: vec![number as i64], ..batch(&[row], 0) };
        let got: Vec<Vec<f32>> = rows.iter().map(|row| run(&mut several[0], &one(row)).remove(0)).collect();
        let threads: Vec<Vec<f32>> = rows.iter().map(|row| run(&mut several[1], &one(row)).remove(0)).collect();
        assert_eq!(got, threads, "{name} on two threads");
        let share = largest_share(&got, &want);
        assert!(share <= SAME, "{name} {:?}: {share:e}", sizes[number]);
        alone.push(got);
    }
    for shift in 0..sizes.len() {
        let owners: Vec<usize> = (0..rows.len()).map(|row| (row + shift) % sizes.len()).collect();
        let mixed = Batch { adapters: owners.iter().map(|owner| *owner as i64).collect(), ..batch(&rows, shift) };
        for session in &mut several {
            for (row, values) in run(session, &mixed).iter().enumerate() {
                assert_eq!(bits(values), bits(&alone[owners[row]][row]), "row {row} of {owners:?}");
            }
        }
    }
}
