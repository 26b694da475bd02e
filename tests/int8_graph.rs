//! Promise: an int8 graph gives nearly the vectors of the fp32 one, for every architecture, and the same bits in any batch;
//! all matrices of its layers are int8 where the plan says so, nothing else is; no weight goes beyond the reach that was
//! asked for; a plan that does not fit is refused.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod calibrated;
mod common;
mod tiny_rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use calibrated::{observed, open, planned, write};
use common::{Workplace, oracle_python, root};
use offprint::encode::{Tokenizer, built_in_texts, comparison_texts};
use offprint::graph::quantize::{MatrixPlan, QuantizePlan, RowScale, WeightReach};
use offprint::graph::{Error, ExportOptions, write_graph};
use offprint::model::Pooling;
use offprint::runtime::{EncoderSession, OnnxRuntime};
use tiny_rows::{batch, checkpoints, copy, cosine, reference_of, run, runtime};

/// Least cosine between the two vectors of a text, for tiny checkpoints: their widths of 20 to 40 leave little to average,
/// above all behind a gate, whose rows each have a scale of their own.
const LEAST_TINY: f64 = 0.995;
/// The same for MiniLM with all of its matrices in int8, over built-in texts that were not calibrated on.
const LEAST_MINILM: f64 = 0.998;

/// Each row alone.
fn alone(session: &mut EncoderSession, rows: &[Vec<i64>]) -> Vec<Vec<f32>> {
    rows.iter().flat_map(|row| run(session, &batch(&[row], 0, 0))).collect()
}

/// Every row has the same bits in all of these batches.
fn assert_same_bits(session: &mut EncoderSession, rows: &[Vec<i64>], (alone, pad): (&[Vec<f32>], i64), name: &str) {
    let all: Vec<&Vec<i64>> = rows.iter().collect();
    for padding in [0, 3] {
        assert_eq!(run(session, &batch(&all, padding, pad)), alone, "{name}, {padding} columns of padding");
    }
    let turned: Vec<&Vec<i64>> = rows.iter().rev().collect();
    let mut found = run(session, &batch(&turned, 1, pad));
    found.reverse();
    assert_eq!(found, alone, "{name}, in another order");
}

#[test]
fn every_architecture_is_near_its_fp32_graph_and_the_same_in_any_batch() {
    let Some(runtime) = runtime() else { return };
    let mut worst = 1.0_f64;
    for name in checkpoints() {
        let place = Workplace::new();
        let checkpoint = place.path(&name);
        copy(&name, &checkpoint);
        let rows = reference_of(&name).rows;
        for pooling in Pooling::ALL {
            let options =
                ExportOptions { pooling: Some(pooling), normalize: Some(false), ..ExportOptions::new(&checkpoint) };
            let plan = planned(&observed(&runtime, &options, (&place.path(""), &rows)));
            let [full, int8] = ["full.onnx", "int8.onnx"].map(|file| place.path(file));
            write_graph(&options, &full).unwrap();
            write(&options, &plan, &int8);
            let [mut full, mut int8] = [full, int8].map(|graph| open(&runtime, &graph));
            let found = alone(&mut int8, &rows);
            for (expected, found) in alone(&mut full, &rows).iter().zip(&found) {
                let cosine = cosine(expected, found);
                worst = worst.min(cosine);
                assert!(cosine >= LEAST_TINY, "{name}, {pooling}: {cosine}");
                assert!(expected != found, "{name}, {pooling}: nothing was rounded");
            }
            assert_same_bits(&mut int8, &rows, (&found, 0), &format!("{name}, {pooling}"));
        }
    }
    println!("least cosine {worst}");
}

/// A tiny checkpoint with the plan for all of its matrices.
fn tiny(place: &Workplace, name: &str, runtime: &OnnxRuntime) -> (ExportOptions, QuantizePlan) {
    let checkpoint = place.path(name);
    copy(name, &checkpoint);
    let options =
        ExportOptions { pooling: Some(Pooling::Mean), normalize: Some(false), ..ExportOptions::new(checkpoint) };
    let plan = planned(&observed(runtime, &options, (&place.path(""), &reference_of(name).rows)));
    (options, plan)
}

#[test]
fn integers_are_the_nearest_and_onnx_finds_nothing_wrong() {
    let Some(runtime) = runtime() else { return };
    let Some(python) = oracle_python() else { return };
    for name in checkpoints() {
        let place = Workplace::new();
        let (options, plan) = tiny(&place, &name, &runtime);
        let [full, int8] = ["full.onnx", "int8.onnx"].map(|file| place.path(file));
        write_graph(&options, &full).unwrap();
        for reach in [WeightReach::Full, WeightReach::Half] {
            write(&options, &QuantizePlan { reach, ..plan.clone() }, &int8);
            let script = root().join("export/oracle/check_int8.py");
            let largest = if reach == WeightReach::Full { "127" } else { "64" };
            let output = Command::new(&python).arg(script).args([&full, &int8]).arg(largest).output().unwrap();
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
            assert!(output.status.success(), "{name}: {}", said[1]);
            let matrices = format!("{} matrices of integers", plan.matrices.len());
            assert!(said[0].starts_with(&matrices), "{name}: {}", said[0]);
        }
    }
}

/// Two products of u8 with integers up to 64 fit into 16 bits; with larger ones some processors cut their sum.
#[test]
fn half_the_reach_fits_into_the_sums_of_any_processor() {
    let sums = [WeightReach::Half, WeightReach::Full].map(|reach| 2.0 * 255.0 * reach.largest());
    assert!(sums[0] <= f32::from(i16::MAX) && sums[1] > f32::from(i16::MAX), "{sums:?}");
}

#[test]
fn inputs_beyond_all_that_was_seen_are_cut_off_and_give_numbers() {
    let Some(runtime) = runtime() else { return };
    let place = Workplace::new();
    let (options, mut plan) = tiny(&place, "bert-a", &runtime);
    for matrix in plan.matrices.values_mut() {
        matrix.rows = match matrix.rows {
            RowScale::Fixed { low, high } => RowScale::Fixed { low: low / 50.0, high: high / 50.0 },
            other => other,
        };
    }
    let graph = place.path("narrow.onnx");
    write(&options, &plan, &graph);
    let rows = reference_of("bert-a").rows;
    let mut session = open(&runtime, &graph);
    let found = alone(&mut session, &rows);
    assert!(found.iter().flatten().all(|value| value.is_finite()));
    assert_same_bits(&mut session, &rows, (&found, 0), "bert-a");
}

#[test]
fn a_plan_that_does_not_fit_is_refused() {
    let place = Workplace::new();
    let checkpoint = place.path("bert-a");
    copy("bert-a", &checkpoint);
    let options = ExportOptions { pooling: Some(Pooling::Mean), ..ExportOptions::new(&checkpoint) };
    let refused = |name: &str, matrix: MatrixPlan| -> Error {
        let quantize =
            QuantizePlan { matrices: [(name.to_owned(), matrix)].into_iter().collect(), ..QuantizePlan::default() };
        let options = ExportOptions { quantize: Some(quantize), ..options.clone() };
        write_graph(&options, &place.path("refused.onnx")).unwrap_err()
    };
    let said = refused("encoder.layer.9.weight", MatrixPlan::default()).to_string();
    let folder = checkpoint.display();
    assert_eq!(
        said,
        format!("the int8 plan names `encoder.layer.9.weight`, which is no matrix of a layer of `{folder}`")
    );
    let matrices = offprint::graph::quantize::write_calibration(&options, &place.path("observed.onnx")).unwrap();
    let (name, inputs) = (matrices[0].name.as_str(), matrices[0].inputs);
    let long = refused(name, MatrixPlan { shift: vec![0.0; inputs + 1], ..MatrixPlan::default() });
    let expected = format!("the int8 plan for `{name}` has {} numbers of `shift`, expected {inputs}", inputs + 1);
    assert_eq!(long.to_string(), expected);
    let zero = refused(name, MatrixPlan { scale: vec![0.0; inputs], ..MatrixPlan::default() });
    let expected = format!("the int8 plan for `{name}` has 0 in `scale`, expected finite numbers, and scales above 0");
    assert_eq!(zero.to_string(), expected);
    let rows = RowScale::Fixed { low: 0.0, high: f32::NAN };
    let unknown = refused(name, MatrixPlan { rows, ..MatrixPlan::default() });
    assert!(unknown.to_string().contains("has NaN in `range`"), "{unknown}");
}

/// Token ids of the built-in texts that read like papers.
fn science_rows(checkpoint: &Path) -> Vec<Vec<i64>> {
    let tokenizer = Tokenizer::open(&checkpoint.join("tokenizer.json"), 256).unwrap();
    let texts = comparison_texts(256).split_off(built_in_texts(256).len());
    let asked: Vec<(&str, usize)> = texts.iter().map(|text| (text.as_str(), 0)).collect();
    let encoded = tokenizer.encode_all(&asked).into_iter().map(Result::unwrap);
    encoded.map(|encoding| encoding.ids.iter().map(|id| i64::from(*id)).collect()).collect()
}

#[test]
fn minilm_keeps_its_vectors_and_its_bits() {
    let (Some(runtime), Some(checkpoint)) = (runtime(), std::env::var_os("OFFPRINT_MINILM")) else {
        println!("skipped: needs ONNX Runtime and OFFPRINT_MINILM");
        return;
    };
    let (place, options) = (Workplace::new(), ExportOptions::new(PathBuf::from(&checkpoint)));
    let rows = science_rows(Path::new(&checkpoint));
    let (seen, unseen): (Vec<_>, Vec<_>) = rows.into_iter().enumerate().partition(|(at, _)| at % 2 == 0);
    let [seen, unseen] = [seen, unseen].map(|rows| rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>());
    let plan = planned(&observed(&runtime, &options, (&place.path(""), &seen)));
    assert_eq!(plan.matrices.len(), 36);
    let [full, int8] = ["full.onnx", "int8.onnx"].map(|file| place.path(file));
    write_graph(&options, &full).unwrap();
    write(&options, &plan, &int8);
    let sizes = [&full, &int8].map(|graph| fs::metadata(graph).unwrap().len());
    assert!(sizes[0] - sizes[1] > 30_000_000, "three of four bytes of 10.6 M weights are saved: {sizes:?}");
    let [mut full, mut int8] = [full, int8].map(|graph| open(&runtime, &graph));
    let found = alone(&mut int8, &unseen);
    let cosines: Vec<f64> =
        alone(&mut full, &unseen).iter().zip(&found).map(|(full, int8)| cosine(full, int8)).collect();
    let worst = cosines.iter().copied().fold(1.0, f64::min);
    println!(
        "{} texts, least cosine {worst}, mean {}",
        cosines.len(),
        cosines.iter().sum::<f64>() / cosines.len() as f64
    );
    assert!(worst >= LEAST_MINILM, "{worst}");
    assert_same_bits(&mut int8, &unseen, (&found, 0), "MiniLM");
}

/// Writes the int8 graph of the checkpoint `OFFPRINT_EXPORT_FROM` to `OFFPRINT_EXPORT_INTO`, observed on the rows of
/// token ids in `OFFPRINT_EXPORT_ROWS`, one JSON list a line; `benches/int8` measures it.
#[test]
#[ignore = "a tool for benches/int8: needs OFFPRINT_EXPORT_FROM, OFFPRINT_EXPORT_INTO and OFFPRINT_EXPORT_ROWS"]
fn export_a_folder() {
    let variable = |name: &str| PathBuf::from(std::env::var_os(format!("OFFPRINT_EXPORT_{name}")).unwrap());
    let lines = fs::read_to_string(variable("ROWS")).unwrap();
    let rows: Vec<Vec<i64>> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (place, options) = (Workplace::new(), ExportOptions::new(variable("FROM")));
    let plan = planned(&observed(&runtime().unwrap(), &options, (&place.path(""), &rows)));
    write(&options, &plan, &variable("INTO"));
}
