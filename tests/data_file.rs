//! Promise: weights that one file can't hold lie in a file beside the graph, with the same vectors; a bundle whose two
//! files don't belong together is not opened.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;
use std::path::Path;

use common::{Workplace, onnx_source, tiny_bundle, tiny_checkpoint};
use offprint::graph::{ExportOptions, ImportOptions, import_onnx, write_bundle};
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

/// The ONNX file of a layout as a bundle with a graph of up to `largest_graph` bytes.
fn imported(work: &Workplace, into: &str, largest_graph: u64) -> Bundle {
    fs::create_dir(work.path(into)).unwrap();
    let export =
        ExportOptions { pooling: Some(Pooling::Mean), largest_graph, ..ExportOptions::new(work.path("source")) };
    let file = work.path("source/model.onnx");
    import_onnx(&ImportOptions { file, output: None, export, seen: None }, &work.path(into)).unwrap();
    Bundle::open(&work.path(into)).unwrap()
}

#[test]
fn an_imported_graph_has_its_weights_beside_it_where_they_are_too_many() {
    for layout in ["optimum-states", "external-data"] {
        let work = onnx_source(layout);
        work.write(
            "papers.jsonl",
            "{\"id\": \"a\", \"title\": \"coral reefs\"}\n{\"id\": \"b\", \"title\": \"steel\"}\n",
        );
        let (whole, apart) = (imported(&work, "whole", u64::MAX), imported(&work, "apart", 20_000));
        apart.verify_graph().unwrap();
        assert_eq!((whole.manifest.data.as_ref(), whole.dir.join(DATA_FILE).exists()), (None, false));
        let data = apart.manifest.data.clone().unwrap();
        let bytes = fs::read(apart.dir.join(DATA_FILE)).unwrap();
        assert_eq!((data.bytes, data.hash), (bytes.len() as u64, blake3::hash(&bytes).to_hex().to_string()));
        let size = |bundle: &Bundle| fs::metadata(bundle.graph_path()).unwrap().len();
        // The table of words, 105 rows of 16; nothing else fills a page.
        assert_eq!(data.bytes, 105 * 16 * 4, "{layout}");
        assert!(size(&apart) < size(&whole) - 6_000, "{layout}");
        assert_eq!(apart.identity(), whole.identity());
        assert_eq!(apart.manifest.parameters, whole.manifest.parameters);
        for bundle in ["whole", "apart"] {
            let out = format!("{bundle}.jsonl");
            work.run(&["embed", "--model", bundle, "papers.jsonl", "-o", &out], 0);
        }
        assert_eq!(work.read("apart.jsonl"), work.read("whole.jsonl"), "{layout}");
    }
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
