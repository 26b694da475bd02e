//! Promise: a graph with adapters, one fused or several to choose from, runs wholly on OpenVINO's provider, with the
//! fallback to the CPU disabled, and gives the vectors of the CPU provider; written for other runtimes, too.
//!
//! Needs the library that `make openvino-venv` fetches, or `OFFPRINT_OPENVINO` that names it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Workplace, openvino_library, root};
use offprint::graph::{AdapterSource, ExportOptions, write_bundle};
use offprint::model::{Bundle, Pooling};
use offprint::runtime::{Batch, EncoderSession, OnnxRuntime, ProviderChoice, RunBatch, SessionOptions};

/// Of a row's norm.
const TOLERANCE: f64 = 1e-5;
const LENGTHS: [usize; 4] = [3, 12, 2, 7];

fn source(name: &str) -> AdapterSource {
    AdapterSource::new(root().join("tests/data/adapters").join(name))
}

fn checkpoint(place: &Path) -> PathBuf {
    let (tiny, into) = (root().join("tests/data/tiny-architectures"), place.join("checkpoint"));
    fs::create_dir_all(&into).unwrap();
    for file in ["bert-b/config.json", "bert-b/pytorch_model.bin", "tokenizer.json"] {
        let path = tiny.join(file);
        fs::copy(&path, into.join(path.file_name().unwrap())).unwrap();
    }
    into
}

/// Texts of those lengths, with an adapter each where there are several.
fn batch(adapters: usize) -> Batch {
    let (rows, columns) = (LENGTHS.len(), 13);
    let cells = || (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let is_token = |(row, column): (usize, usize)| i64::from(column < LENGTHS[row]);
    let own = |row: usize| (row % adapters) as i64;
    Batch {
        ids: cells().map(|(row, column)| 5 + ((row * 31 + column * 7) % 30) as i64).collect(),
        mask: cells().map(is_token).collect(),
        rows,
        columns,
        adapters: if adapters == 1 { Vec::new() } else { (0..rows).map(own).collect() },
    }
}

#[test]
fn graphs_with_adapters_run_wholly_on_openvino_with_the_vectors_of_the_cpu() {
    let Some(library) = openvino_library() else { return };
    let runtime = OnnxRuntime::load(Some(&library)).unwrap();
    let several = ["bert-seq", "bert-double", "bert-by-layer"];
    let fused = ["bert-seq", "bert-norms", "bert-plus"].map(|name| vec![name]);
    for names in fused.iter().chain([&several.to_vec()]) {
        for (pooling, plain) in [(Pooling::Cls, false), (Pooling::Mean, true)] {
            let place = Workplace::new();
            let (adapter, adapters) = match names.as_slice() {
                [one] => (Some(source(one)), Vec::new()),
                all => (None, all.iter().map(|name| ((*name).to_owned(), source(name))).collect()),
            };
            let options = ExportOptions {
                pooling: Some(pooling),
                plain,
                adapter,
                adapters,
                ..ExportOptions::new(checkpoint(&place.path("")))
            };
            let into = place.path("bundle");
            fs::create_dir_all(&into).unwrap();
            write_bundle(&options, &into).unwrap();
            let bundle = Bundle::open(&into).unwrap();
            let run = |provider: ProviderChoice| {
                let options = SessionOptions { graph: bundle.graph_path(), provider: provider.into(), threads: 2 };
                let mut session = EncoderSession::open(&runtime, &options).unwrap();
                session.run(&batch(names.len())).unwrap()
            };
            let (want, got) = (run(ProviderChoice::Cpu), run(ProviderChoice::OpenVino));
            for row in 0..want.rows {
                let norm = want.row(row).iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
                let pairs = got.row(row).iter().zip(want.row(row));
                let delta = pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).fold(0.0, f64::max);
                assert!(delta / norm <= TOLERANCE, "{names:?} {pooling} {plain}: {:e}", delta / norm);
            }
        }
    }
}
