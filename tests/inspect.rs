//! Promise: `inspect` tells what any ONNX file, bundle or checkpoint consists of: parameters and FLOPs to the digit, and of
//! a damaged bundle whatever can be read. `export/oracle/check_inspect.py` compares its counts with the onnx package's.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
#[path = "common/fused.rs"]
mod fused;

use std::fs;
use std::path::Path;

use common::{Said, Workplace};
use offprint::graph::{ExportOptions, write_bundle};
use offprint::model::{BUNDLE_FILES, Pooling};
use serde_json::{Value, json};

fn graph_of(said: &Said) -> Value {
    said.json()["graph"].clone()
}

/// The files of a bundle in a folder that may be damaged.
fn copy(bundle: &str, into: &Path) {
    fs::create_dir_all(into).unwrap();
    for name in BUNDLE_FILES.map(|name| Path::new(bundle).join(name)).into_iter().filter(|path| path.is_file()) {
        fs::copy(&name, into.join(name.file_name().unwrap())).unwrap();
    }
}

/// tests/data/tiny-bert/cls has 2 layers of 24 with 3 heads and 40 inside the feed-forward block.
#[test]
fn the_cost_of_a_bundle_follows_from_its_sizes() {
    let place = Workplace::new();
    let graph = graph_of(&place.run(&["inspect", common::tiny_bundle(), "--json"], 0));
    let (hidden, inner, layers) = (24_u64, 40, 2);
    let linear = layers * 2 * (4 * hidden * hidden + 2 * hidden * inner);
    let law = &graph["cost"]["law"];
    assert_eq!(law["linear_per_token"], linear, "{law}");
    assert_eq!(graph["cost"]["not_counted"], json!([]));
    for at in graph["cost"]["lengths"].as_array().unwrap() {
        let n = at["length"].as_u64().unwrap();
        assert_eq!(at["linear"], linear * n);
        // Attention of each layer, the sums of mean pooling in two columns, and the vector's length.
        assert_eq!(at["attention"], layers * 4 * hidden * n * n + 2 * 2 * hidden * n + 2 * hidden, "{at}");
    }
    let terms = ["attention_per_pair", "attention_per_token", "attention_per_text"].map(|term| law[term].clone());
    assert_eq!(terms, [layers * 4 * hidden, 4 * hidden, 2 * hidden].map(Value::from));
    let names: Vec<&str> =
        graph["inputs"].as_array().unwrap().iter().map(|port| port["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["input_ids", "attention_mask"]);
    assert_eq!(graph["inputs"][0]["shape"], json!(["batch", "sequence"]));
    assert_eq!(
        graph["outputs"][0],
        json!({"name": "sentence_embedding", "element": "float32", "shape": ["batch", "24"]})
    );
}

/// The law of every architecture gives the cost at each length, with and without a cut last layer.
#[test]
fn the_cost_of_every_architecture_follows_a_law() {
    let place = Workplace::new();
    let folder = common::root().join("tests/data/tiny-architectures");
    let tokenizer = folder.join("tokenizer.json");
    let mut seen = 0;
    for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().into_string().unwrap();
        fs::create_dir(place.path(&name)).unwrap();
        fs::copy(&tokenizer, place.path(&name).join("tokenizer.json")).unwrap();
        for file in fs::read_dir(entry.path()).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), place.path(&name).join(file.file_name())).unwrap();
        }
        let said = place.run(&["inspect", &name, "--json"], 0).json();
        let cost = &said["checkpoint"]["graph"]["cost"];
        assert_eq!(cost["not_counted"], json!([]), "{name}");
        let term = |term: &str| cost["law"][term].as_u64().unwrap_or_else(|| panic!("{name}: {cost}"));
        for at in cost["lengths"].as_array().unwrap() {
            let n = at["length"].as_u64().unwrap();
            assert_eq!(at["linear"], term("linear_per_token") * n + term("linear_per_text"), "{name}");
            let pairs = term("attention_per_pair") * n * n;
            let attention = pairs + term("attention_per_token") * n + term("attention_per_text");
            assert_eq!(at["attention"], attention, "{name}");
        }
        seen += 1;
    }
    assert!(seen >= 16, "{seen}");
}

#[test]
fn a_bundle_with_its_weights_beside_the_graph_is_inspected_and_verified() {
    let place = Workplace::new();
    fs::create_dir(place.path("apart")).unwrap();
    let options = ExportOptions {
        pooling: Some(Pooling::Mean),
        largest_graph: 20_000,
        license: Some("CC0-1.0".to_owned()),
        plain: true,
        ..ExportOptions::new(common::tiny_checkpoint())
    };
    write_bundle(&options, &place.path("apart")).unwrap();
    copy(place.path("apart").to_str().unwrap(), &place.path("b"));
    let said = place.run(&["inspect", "b", "--verify"], 0).stdout;
    for part in [
        "model.onnx.data  ",
        "license          CC0-1.0",
        "operators        plain: of opset 17 alone",
        "vectors          the same bits in any batch",
        "lie in model.onnx.data",
    ] {
        assert!(said.contains(part), "expected {part:?} in:\n{said}");
    }
    assert_eq!(said.matches(", compared with the file").count(), 2, "{said}");
    let data = place.path("b/model.onnx.data");
    let mut bytes = fs::read(&data).unwrap();
    bytes[100] ^= 1;
    fs::write(&data, &bytes).unwrap();
    place.run(&["inspect", "b"], 0);
    let said = place.run(&["inspect", "b", "--verify"], 1);
    said.expect(&["error: `b/model.onnx.data` has BLAKE3 "]);
    assert!(said.stdout.contains("the file or the weights beside it DIFFER"), "{}", said.stdout);
    fs::write(&data, &bytes[1..]).unwrap();
    place.run(&["inspect", "b"], 1).expect(&["model.onnx.data` has "]);
}

#[test]
fn quality_and_heads_stand_on_the_page() {
    let place = Workplace::new();
    let checkpoint = common::tiny_checkpoint();
    let export = ["export", "--model", checkpoint.to_str().unwrap(), "--pooling", "mean", "-o"];
    place.run(&[&export[..], &["old"]].concat(), 0);
    place.run(&[&export[..], &["new", "--against", "old"]].concat(), 0);
    let page = place.run(&["inspect", "new"], 0).stdout;
    for part in ["\nquality beside ", "texts        ", "cosine       least 1.0", " nearest kept, 100.00 % of the first"]
    {
        assert!(page.contains(part), "expected {part:?} in:\n{page}");
    }
    let bundle = fused::bundle();
    fused::save_heads(&place);
    place.run(&["fuse", "--model", &bundle, "-o", "fused", "--head", "tags.head", "--head", "topic.head"], 0);
    let page = place.run(&["inspect", "fused"], 0).stdout;
    for part in
        ["\nhead tags: several labels, 3 columns", "    survey  from 0.35\n", "\nhead topic: one label", "fused into"]
    {
        assert!(page.contains(part), "expected {part:?} in:\n{page}");
    }
}

#[test]
fn cutting_the_last_layer_is_told_with_what_it_saves() {
    let place = Workplace::new();
    let cost = graph_of(&place.run(&["inspect", &common::tiny_reference_bundle("cls"), "--json"], 0))["cost"].clone();
    assert_eq!(cost["cut"]["layer"], "layer.1");
    let saved = cost["cut"]["saved"][0].as_f64().unwrap();
    assert!((0.2..0.5).contains(&saved), "{saved}");
    assert!(cost["law"]["linear_per_text"].as_u64().unwrap() > 0);
}

/// 6 layers of 384 with 1,536 inside; transformers counts 22,713,216 parameters with the pooler (147,840), which no vector
/// passes, and token types (768), which are added to the positions.
#[test]
fn the_numbers_of_minilm_are_the_known_ones() {
    let Some(bundle) = common::minilm_bundle() else { return };
    let graph = graph_of(&Workplace::new().run(&["inspect", bundle, "--json"], 0));
    let parameters = graph["parameters"].as_u64().unwrap();
    assert!((22_564_608..22_566_000).contains(&parameters), "{parameters}");
    assert_eq!(graph["cost"]["law"]["linear_per_token"], 6 * 12 * 384 * 384 * 2);
    let layers: Vec<&Value> = graph["layers"].as_array().unwrap().iter().collect();
    let layer = |name: &str| layers.iter().find(|layer| layer["name"] == name).unwrap();
    assert_eq!(layer("layer.5")["parameters"], 1_774_464);
    let whole = layers.iter().map(|layer| layer["parameters"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(whole, parameters);
}

#[test]
fn a_page_for_people_says_the_same() {
    let place = Workplace::new();
    let page = place.run(&["inspect", common::tiny_bundle()], 0).stdout;
    for part in [
        "bundle, format ",
        "pooling",
        "not compared (`--verify`)",
        "input_ids       int64  [batch, sequence]",
        "weights: ",
        "cost of a text, in FLOPs",
    ] {
        assert!(page.contains(part), "expected {part:?} in:\n{page}");
    }
    assert!(!page.contains("nodes\n  name"));
    let listed = place.run(&["inspect", common::tiny_bundle(), "--nodes"], 0).stdout;
    assert!(listed.contains("layer.0/attention/MatMul"), "{listed}");
    let verified = place.run(&["inspect", common::tiny_bundle(), "--verify"], 0).stdout;
    assert!(verified.contains(", compared with the file"), "{verified}");
}

#[test]
fn a_checkpoint_shows_its_tensors_and_the_graph_they_make() {
    let said = Workplace::new().run(&["inspect", common::tiny_checkpoint().to_str().unwrap(), "--json"], 0).json();
    let checkpoint = &said["checkpoint"];
    assert_eq!((&checkpoint["architecture"], &checkpoint["layers"]), (&json!("bert"), &json!(2)));
    assert_eq!(checkpoint["masked_lm"], false);
    assert!(checkpoint["graph"]["parameters"].as_u64().unwrap() > 0);
    assert_eq!(checkpoint["tensors"][0]["element"], "float32");
}

#[test]
fn files_of_others_are_inspected_whatever_they_hold() {
    let place = Workplace::new();
    let folder = common::root().join("tests/data/tiny-graph");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "onnx") {
            let graph = graph_of(&place.run(&["inspect", path.to_str().unwrap(), "--json"], 0));
            assert!(graph["nodes"].as_u64().unwrap() > 0);
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
    // One node `strange.Unheard(x) -> y`, and a model that multiplies what nobody knows the shape of.
    let text = |field: u8, text: &str| [&[field << 3 | 2, text.len() as u8], text.as_bytes()].concat();
    let message = |field: u8, content: &[u8]| [&[field << 3 | 2, content.len() as u8], content].concat();
    let node = |inputs: &[&str], output: &str, operator: &str, domain: &str| {
        let inputs: Vec<u8> = inputs.iter().flat_map(|input| text(1, input)).collect();
        message(1, &[inputs, text(2, output), text(4, operator), text(7, domain)].concat())
    };
    let graph = [node(&["x"], "y", "Unheard", "strange"), node(&["y", "y"], "z", "MatMul", "")].concat();
    let path = place.write("strange.onnx", message(7, &graph));
    let said = place.run(&["inspect", path.to_str().unwrap(), "--json"], 0);
    let graph = graph_of(&said);
    assert_eq!(graph["operators"][1], json!({"operator": "Unheard", "domain": "strange", "count": 1}));
    let not_counted = &graph["cost"]["not_counted"][0];
    assert_eq!((&not_counted["operator"], &not_counted["count"]), (&json!("MatMul"), &json!(1)));
    let page = place.run(&["inspect", path.to_str().unwrap()], 0).stdout;
    assert!(page.contains("not counted: 1 MatMul (the sizes can't be told from the file)"), "{page}");
}

#[test]
fn a_damaged_bundle_says_what_is_wrong_and_shows_the_rest() {
    let place = Workplace::new();
    copy(common::tiny_bundle(), &place.path("b"));
    let whole = fs::read(place.path("b/model.onnx")).unwrap();
    fs::write(place.path("b/model.onnx"), &whole[..whole.len() / 2]).unwrap();
    let said = place.run(&["inspect", "b"], 1);
    said.expect(&["error: `b/model.onnx` is not a whole ONNX model"]);
    assert!(said.stdout.contains("max length") && !said.stdout.contains("inputs"), "{}", said.stdout);
    assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);

    // A weight that was changed: only reading the whole graph finds it.
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(place.path("b/model.onnx"), changed).unwrap();
    place.run(&["inspect", "b"], 0);
    place.run(&["inspect", "b", "--verify"], 1).expect(&["error: ", "b/model.onnx"]);

    fs::write(place.path("b/model.onnx"), &whole).unwrap();
    fs::write(place.path("b/bundle.toml"), "format = 2\n").unwrap();
    let said = place.run(&["inspect", "b"], 1);
    assert!(said.stdout.contains("bundle without a readable bundle.toml") && said.stdout.contains("inputs"));
    said.expect(&["bundle.toml"]);
}

#[test]
fn what_cannot_be_inspected_says_so() {
    let place = Workplace::new();
    place.run(&["inspect", "nowhere.onnx"], 2).expect(&["error: model `nowhere.onnx` not found"]);
    place.write("text.onnx", "hello");
    let said = place.run(&["inspect", "text.onnx"], 2);
    said.expect(&["error: `text.onnx` is not a whole ONNX model"]);
    assert_eq!(said.stdout, "");
    let head = common::root().join("tests/data/heads/topic.head");
    place.write("topic.head", fs::read(head).unwrap());
    place.run(&["inspect", "topic.head"], 2).expect(&[
        "error: `topic.head` is not an ONNX file: it seems to be a head that `offprint train` made\n",
        "hint: `offprint fuse --head` puts a head into a bundle, `offprint classify --head` uses it",
    ]);
    place.write("papers.jsonl", "{\"id\": \"1\", \"title\": \"x\"}\n");
    place.run(&["inspect", "papers.jsonl"], 2).expect(&[
        "error: `papers.jsonl` is not an ONNX file: it seems to be JSON, as a corpus is (JSONL)\n",
        "hint: `offprint embed` and `offprint classify` take a corpus, beside a bundle",
    ]);
    place.run(&["inspect", "."], 2).expect(&[
        "error: `.` holds neither bundle.toml nor model.onnx nor a checkpoint",
        "hint: name the file: `offprint inspect ./text.onnx`",
    ]);
    let graph = common::root().join("tests/data/tiny-graph/encoder.onnx");
    place.run(&["inspect", graph.to_str().unwrap(), "--verify"], 2).expect(&["hint: give the bundle's folder"]);
    let checkpoint = common::tiny_checkpoint();
    place.run(&["inspect", checkpoint.to_str().unwrap(), "--verify"], 2).expect(&["is a checkpoint"]);
}
