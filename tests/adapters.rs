//! Promise: an adapter of the `adapters` library or of peft gives the vectors that its library gives, within 1e-5 of a
//! row's norm, alone and padded, with CLS and mean pooling, and the same bits in any batch; of several adapters in one
//! graph, each text's own gives what it gives alone, within 1e-6, whatever its mates'.
//!
//! Adapters and references are made by `export/oracle/make_adapters.py`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Workplace;
use offprint::graph::{AdapterSource, ExportOptions, write_bundle};
use offprint::model::{Bundle, Pooling, SENTENCE_EMBEDDING};
use offprint::runtime::{Batch, EncoderSession, OnnxRuntime, ProviderChoice, RunBatch, SessionOptions};
use safetensors::tensor::{SafeTensors, TensorView};

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

/// A copy of the checkpoint of that name with the tokenizer that all of them share.
fn checkpoint(name: &str, into: &Path) {
    let tiny = common::root().join("tests/data/tiny-architectures");
    fs::create_dir_all(into).unwrap();
    for entry in fs::read_dir(tiny.join(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), into.join(entry.file_name())).unwrap();
    }
    fs::copy(tiny.join("tokenizer.json"), into.join("tokenizer.json")).unwrap();
}

/// The checkpoint that an adapter was made for.
fn base(adapter: &str) -> String {
    fs::read_to_string(adapters().join(adapter).join("base.txt")).unwrap().trim().to_owned()
}

fn options(place: &Workplace, adapter: &str, pooling: Pooling) -> ExportOptions {
    let folder = place.path("checkpoint");
    checkpoint(&base(adapter), &folder);
    ExportOptions { pooling: Some(pooling), normalize: Some(false), ..ExportOptions::new(folder) }
}

fn export(options: &ExportOptions, bundle: &Path) -> Bundle {
    fs::create_dir_all(bundle).unwrap();
    write_bundle(options, bundle).unwrap();
    Bundle::open(bundle).unwrap()
}

fn runtime() -> Option<OnnxRuntime> {
    match OnnxRuntime::load(None) {
        Ok(runtime) => Some(runtime),
        Err(error @ offprint::runtime::Error::LibraryNotFound { .. }) => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn session(runtime: &OnnxRuntime, bundle: &Bundle, threads: usize) -> EncoderSession {
    let options = SessionOptions { graph: bundle.graph_path(), provider: ProviderChoice::Cpu, threads };
    EncoderSession::open_outputs(runtime, &options, &[SENTENCE_EMBEDDING]).unwrap()
}

/// The rows of a reference: ids, and what the library gives with each pooling.
struct Reference {
    rows: Vec<Vec<i64>>,
    bytes: Vec<u8>,
}

impl Reference {
    fn open(name: &str) -> Self {
        let bytes = fs::read(adapters().join(name).join("reference.safetensors")).unwrap();
        let ints = |name: &str| -> Vec<i64> {
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let data = tensors.tensor(name).unwrap().data().to_vec();
            data.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]]).into()).collect()
        };
        let mut ids = ints("ids").into_iter();
        let rows = ints("lengths").into_iter().map(|length| ids.by_ref().take(length as usize).collect()).collect();
        Self { rows, bytes }
    }

    fn values(&self, pooling: Pooling) -> Vec<Vec<f32>> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = tensors.tensor(pooling.name()).unwrap();
        let floats: Vec<f32> =
            tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        floats.chunks_exact(tensor.shape()[1]).map(<[f32]>::to_vec).collect()
    }
}

fn batch(rows: &[&Vec<i64>], padding: usize) -> Batch {
    let columns = rows.iter().map(|row| row.len()).max().unwrap() + padding;
    let fill = |values: Vec<i64>, by: i64| -> Vec<i64> {
        let missing = columns - values.len();
        values.into_iter().chain(std::iter::repeat_n(by, missing)).collect()
    };
    Batch {
        // Other than the padding id of most families: what stands under the mask must not matter.
        ids: rows.iter().flat_map(|row| fill((*row).clone(), 4)).collect(),
        mask: rows.iter().flat_map(|row| fill(vec![1; row.len()], 0)).collect(),
        rows: rows.len(),
        columns,
        adapters: Vec::new(),
    }
}

fn run(session: &mut EncoderSession, batch: &Batch) -> Vec<Vec<f32>> {
    let matrix = session.run(batch).unwrap();
    matrix.data.chunks_exact(matrix.dim).map(<[f32]>::to_vec).collect()
}

fn largest_share(got: &[Vec<f32>], want: &[Vec<f32>]) -> f64 {
    assert_eq!(got.len(), want.len());
    let share = |(got, want): (&Vec<f32>, &Vec<f32>)| {
        assert_eq!(got.len(), want.len());
        let norm = want.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let delta = got.iter().zip(want).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).fold(0.0, f64::max);
        delta / norm
    };
    got.iter().zip(want).map(share).fold(0.0, f64::max)
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
        let reference = Reference::open(name);
        let rows: Vec<&Vec<i64>> = reference.rows.iter().collect();
        for pooling in Pooling::ALL {
            let adapter = Some(AdapterSource::new(adapters().join(name)));
            let options = ExportOptions { adapter, ..options(&place, name, pooling) };
            let bundle = export(&options, &place.path(pooling.name()));
            let mut sessions = [1, 2].map(|threads| session(&runtime, &bundle, threads));
            let alone: Vec<Vec<f32>> =
                rows.iter().map(|row| run(&mut sessions[0], &batch(&[row], 0)).remove(0)).collect();
            let share = largest_share(&alone, &reference.values(pooling));
            let padded = largest_share(&run(&mut sessions[1], &batch(&rows, 5)), &reference.values(pooling));
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
        checkpoint(base, &place.path("checkpoint"));
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

        let reference = Reference::open(list[0]);
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
    Reference::open(name).values(pooling)
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
    checkpoint("bert-b", &place.path("checkpoint"));
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
    let reference = Reference::open("bert-seq");
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
