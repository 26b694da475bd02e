//! Int8 graphs for tests: the fp32 graph is observed on rows of token ids, one row a run, and all of its matrices planned.
#![allow(dead_code, reason = "no test file uses all of it")]

use std::path::Path;

use offprint::graph::quantize::{InputStatistics, Matrix, MatrixPlan, QuantizePlan, write_calibration};
use offprint::graph::{ExportOptions, write_graph};
use offprint::runtime::{Batch, EncoderSession, OnnxRuntime, ProbeSession, ProviderChoice, SessionOptions};

pub fn session_options(graph: &Path) -> SessionOptions {
    SessionOptions { graph: graph.to_owned(), provider: ProviderChoice::Cpu.into(), threads: 2 }
}

pub fn open(runtime: &OnnxRuntime, graph: &Path) -> EncoderSession {
    EncoderSession::open(runtime, &session_options(graph)).unwrap()
}

/// What the matrices read on these rows.
pub fn observed(
    runtime: &OnnxRuntime,
    options: &ExportOptions,
    (folder, rows): (&Path, &[Vec<i64>]),
) -> Vec<(Matrix, InputStatistics)> {
    let graph = folder.join("observed.onnx");
    let matrices = write_calibration(options, &graph).unwrap();
    let mut session = ProbeSession::open(runtime, &session_options(&graph)).unwrap();
    let names = matrices.iter().flat_map(|matrix| [&matrix.lowest, &matrix.highest, &matrix.mean]);
    let names: Vec<&str> = names.map(String::as_str).collect();
    let mut seen = vec![InputStatistics::default(); matrices.len()];
    let tokens: usize = rows.iter().map(Vec::len).sum();
    for row in rows {
        let batch =
            Batch { ids: row.clone(), mask: vec![1; row.len()], rows: 1, columns: row.len(), adapters: Vec::new() };
        let share = row.len() as f32 / tokens as f32;
        for (seen, found) in seen.iter_mut().zip(session.run(&batch, &names).unwrap().chunks_exact(3)) {
            if seen.mean.is_empty() {
                (seen.lowest, seen.highest) = (found[0].clone(), found[1].clone());
                seen.mean = vec![0.0; found[2].len()];
            }
            let channels = seen.lowest.iter_mut().zip(&mut seen.highest).zip(&mut seen.mean).enumerate();
            for (at, ((lowest, highest), mean)) in channels {
                (*lowest, *highest) = (lowest.min(found[0][at]), highest.max(found[1][at]));
                *mean += share * found[2][at];
            }
        }
    }
    std::fs::remove_file(graph).unwrap();
    matrices.into_iter().zip(seen).collect()
}

/// All matrices, each in the form that is best for it.
pub fn planned(seen: &[(Matrix, InputStatistics)]) -> QuantizePlan {
    let plan =
        |(matrix, seen): &(Matrix, InputStatistics)| (matrix.name.clone(), MatrixPlan::from_statistics(matrix, seen));
    QuantizePlan { matrices: seen.iter().map(plan).collect(), ..QuantizePlan::default() }
}

/// Writes the graph of a plan.
pub fn write(options: &ExportOptions, plan: &QuantizePlan, graph: &Path) {
    write_graph(&ExportOptions { quantize: Some(plan.clone()), ..options.clone() }, graph).unwrap();
}
