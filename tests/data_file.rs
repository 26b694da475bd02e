//! Promise: weights that one file can't hold lie in a file beside the graph, with the same vectors; a bundle whose two
//! files don't belong together is not opened.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;
use std::path::Path;

use common::{Workplace, tiny_bundle, tiny_checkpoint};
use offprint::graph::{ExportOptions, write_bundle};
use offprint::model::{Bundle, DATA_FILE, Pooling};

/// The tiny bundle, its weights beside the graph.
fn apart(into: &Path) -> Bundle {
    fs::create_dir_all(into).unwrap();
    let options = ExportOptions {
        pooling: Some(Pooling::Mean),
        normalize: Some(true),
        largest_graph: 20_000,
        ..ExportOptions::new(tiny_checkpoint())
    };
    write_bundle(&options, into).unwrap();
    Bundle::open(into).unwrap()
}

#[test]
fn vectors_are_the_same_with_the_weights_beside_the_graph() {
    let place = Workplace::new();
    place.write("papers.jsonl", "{\"id\": \"a\", \"title\": \"coral reefs\"}\n{\"id\": \"b\", \"title\": \"steel\"}\n");
    let bundle = apart(&place.path("bundle"));
    bundle.verify_graph().unwrap();
    let (graph, data) = (fs::metadata(bundle.graph_path()).unwrap().len(), bundle.manifest.data.clone().unwrap());
    let whole = Bundle::open(tiny_bundle().as_ref()).unwrap();
    assert_eq!(whole.manifest.data, None);
    // The tables of words; other tensors of the tiny checkpoint are smaller than a page.
    let whole_graph = fs::metadata(whole.graph_path()).unwrap().len();
    assert!(data.bytes > 9_000 && graph + data.bytes < whole_graph + 4_096, "{graph}, {whole_graph}, {data:?}");
    assert_eq!(bundle.identity(), whole.identity());
    let changed = whole.fingerprint().differences(&bundle.fingerprint());
    let changed: Vec<String> = changed.iter().map(ToString::to_string).collect();
    assert!(changed.iter().any(|change| change.starts_with("data: none -> ")), "{changed:?}");

    for (model, out) in [("bundle", "apart.jsonl"), (tiny_bundle(), "whole.jsonl")] {
        place.run(&["embed", "--model", model, "papers.jsonl", "-o", out], 0);
    }
    assert_eq!(place.read("apart.jsonl"), place.read("whole.jsonl"));
    place.run(&["export", "--model", tiny_checkpoint().to_str().unwrap(), "-o", "bundle", "--pooling", "mean"], 0);
    assert!(!place.path("bundle").join(DATA_FILE).exists(), "the older bundle was not replaced as a whole");
}

#[test]
fn weights_that_are_not_the_graphs_are_refused() {
    let place = Workplace::new();
    let bundle = apart(&place.path("bundle"));
    let path = bundle.dir.join(DATA_FILE);
    let bytes = fs::read(&path).unwrap();

    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    fs::write(&path, flipped).unwrap();
    let error = Bundle::open(&bundle.dir).unwrap().verify_graph().unwrap_err();
    let hash = &bundle.manifest.data.as_ref().unwrap().hash;
    assert!(error.to_string().ends_with(&format!("expected {hash}")), "{error}");
    assert!(error.to_string().contains("model.onnx.data` has BLAKE3 "), "{error}");

    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = Bundle::open(&bundle.dir).unwrap_err();
    let (got, expected) = (bytes.len() - 1, bytes.len());
    assert!(error.to_string().ends_with(&format!("model.onnx.data` has {got} bytes, expected {expected}")), "{error}");
    assert_eq!(error.hint().as_deref(), Some("copy the bundle again, or export it again"));

    fs::remove_file(&path).unwrap();
    let error = Bundle::open(&bundle.dir).unwrap_err();
    assert!(error.to_string().contains("model.onnx.data"), "{error}");
}
