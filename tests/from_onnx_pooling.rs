//! Promise: of an ONNX file that pools by itself, export records what its graph is seen to do, refuses what contradicts
//! it, and says so where it had to take somebody's word.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
mod wire;

use std::fs;

use common::{Workplace, onnx_source};
use offprint::model::{Bundle, Pooling};
use offprint::runtime::OnnxRuntime;
use wire::{Size, encoder, model, node, value};

const MEAN: &[&str] = &["--pooling", "mean"];
const READY: &[&str] = &["--onnx-output", "sentence_embedding"];

fn export(work: &Workplace, args: &[&str], status: i32) -> common::Said {
    work.run(&[&["export", "--from-onnx", "source/model.onnx", "-o", "bundle"], args].concat(), status)
}

/// The manifest of a bundle whose embedding was ready in the file.
fn manifest_of(work: &Workplace, args: &[&str]) -> (offprint::model::Manifest, common::Said) {
    let said = export(work, args, 0);
    (Bundle::open(&work.path("bundle")).unwrap().manifest, said)
}

#[test]
fn how_a_graph_pools_by_itself_is_seen_and_not_believed() {
    if let Err(error @ offprint::runtime::Error::LibraryNotFound { .. }) = OnnxRuntime::load(None) {
        return println!("skipped: {error}");
    }
    let work = onnx_source("optimum-sentence");
    let refused = |args: &[&str], what: &str| {
        let said = export(&work, &[READY, args].concat(), 2);
        said.expect(&[what, "hint: name what the graph does"]);
        assert!(!work.path("bundle").exists());
    };
    let made =
        "error: `sentence_embedding` of `source/model.onnx` is made by pooling mean, and pooling cls was asked for\n";
    refused(&["--pooling", "cls"], made);
    refused(
        &["--no-normalize"],
        "error: `sentence_embedding` of `source/model.onnx` has length 1 already, and vectors as the encoder makes them was \
         asked for\n",
    );
    let modules = work.read("source/1_Pooling/config.json");
    let swapped = modules.replace("\"pooling_mode_cls_token\": false", "\"pooling_mode_cls_token\": true");
    work.write(
        "source/1_Pooling/config.json",
        swapped.replace("\"pooling_mode_mean_tokens\": true", "\"pooling_mode_mean_tokens\": false"),
    );
    refused(&[], made);
    // What the graph does goes before what modules say, once it is named, and needs no name where they say nothing.
    let (manifest, _) = manifest_of(&work, &[READY, MEAN].concat());
    assert_eq!((manifest.pooling, manifest.pooling_stated), (Pooling::Mean, false));
    fs::remove_dir_all(work.path("source/1_Pooling")).unwrap();
    fs::remove_file(work.path("source/modules.json")).unwrap();
    let (manifest, said) = manifest_of(&work, READY);
    assert_eq!((manifest.pooling, manifest.pooling_stated, manifest.normalize), (Pooling::Mean, false, true));
    assert_eq!((manifest.dim, manifest.heads.len()), (16, 0));
    assert!(said.stderr.contains("pooling mean, normalized") && !said.stderr.contains("stated"), "{}", said.stderr);
    assert!(!work.read("bundle/bundle.toml").contains("pooling_stated"));
}

/// An encoder that gives `sentence_embedding` alone: the sum of the states, divided by the number of tokens or not.
fn pools_itself(divides: bool) -> wire::Graph {
    let keep = wire::field(5, [wire::field(1, "keepdims"), wire::number(3, 0), wire::number(20, 2)].concat());
    let mut graph = encoder();
    graph.tensors.push(
        [wire::number(1, 1), wire::number(2, 7), wire::field(8, "tokens"), wire::field(9, 1_i64.to_le_bytes())]
            .concat(),
    );
    let sum = if divides { "sum" } else { "sentence_embedding" };
    graph.nodes.push([node("ReduceSum", &["states", "tokens"], &[sum]), keep].concat());
    if divides {
        graph.nodes.push(node("ReduceSum", &["mask", "tokens"], &["count"]));
        graph.nodes.push(node("Div", &["sum", "count"], &["sentence_embedding"]));
    }
    graph.outputs = vec![value("sentence_embedding", 1, &[Size::Named("batch"), Size::Fixed(16)])];
    graph
}

#[test]
fn states_inside_of_a_graph_show_how_it_pools() {
    if let Err(error @ offprint::runtime::Error::LibraryNotFound { .. }) = OnnxRuntime::load(None) {
        return println!("skipped: {error}");
    }
    let work = onnx_source("optimum-states");
    work.write("source/model.onnx", model(&pools_itself(true).bytes(), 17));
    let (manifest, _) = manifest_of(&work, &[]);
    assert_eq!((manifest.pooling, manifest.pooling_stated, manifest.normalize), (Pooling::Mean, false, false));
    let (manifest, _) = manifest_of(&work, &["--normalize"]);
    assert!(manifest.normalize);
    export(&work, &["--pooling", "cls"], 2).expect(&["is made by pooling mean, and pooling cls was asked for"]);
}

#[test]
fn a_pooling_that_cannot_be_seen_is_recorded_as_stated() {
    if let Err(error @ offprint::runtime::Error::LibraryNotFound { .. }) = OnnxRuntime::load(None) {
        return println!("skipped: {error}");
    }
    let work = onnx_source("optimum-states");
    work.write("source/model.onnx", model(&pools_itself(false).bytes(), 17));
    export(&work, &[], 2).expect(&["hint: name the pooling that the model was trained with: `--pooling cls`"]);
    let (manifest, said) = manifest_of(&work, MEAN);
    assert_eq!((manifest.pooling, manifest.pooling_stated), (Pooling::Mean, true));
    said.expect(&[
        "note: the graph pools by itself, and how can't be seen: pooling mean is what was stated (`pooling_stated = true`)",
    ]);
    let page = work.run(&["inspect", "bundle"], 0).stdout;
    assert!(page.contains("mean, as was stated: it can't be seen in the graph"), "{page}");
    fs::create_dir(work.path("source/1_Pooling")).unwrap();
    work.write(
        "source/1_Pooling/config.json",
        "{\"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": false}",
    );
    export(&work, MEAN, 2).expect(&[
        "error: `sentence_embedding` of `source/model.onnx` is made by pooling cls, as `1_Pooling/config.json` says, and \
         pooling mean was asked for\n",
    ]);
    let (manifest, _) = manifest_of(&work, &[]);
    assert_eq!((manifest.pooling, manifest.pooling_stated), (Pooling::Cls, true));
}
