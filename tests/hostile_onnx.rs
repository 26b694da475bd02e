//! Promise: an ONNX file made to hurt is an error that names it. It costs no more memory than a small multiple of its
//! bytes, leads to no file outside of its folder, and never ends the program. Mutations of whole files: `hostile.rs`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
mod wire;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use offprint::graph::foreign::{Error, OnnxFile};
use offprint::graph::{ExportOptions, ImportOptions, InspectOptions, import_onnx, inspect};
use offprint::model::Pooling;
use wire::{Graph, Size, encoder, external, field, model, node, number, tensor, value, varint};

/// A folder with the companions of a file, which is written as `model.onnx`.
fn folder(bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = common::root().join("tests/data");
    for name in ["config.json", "tokenizer_config.json"] {
        fs::copy(data.join("onnx/optimum-states").join(name), folder.path().join(name)).unwrap();
    }
    fs::copy(data.join("tiny-architectures/tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    fs::write(folder.path().join("model.onnx"), bytes).unwrap();
    folder
}

/// What importing the file in the folder says; nothing where it succeeds.
fn import(folder: &Path) -> Option<String> {
    let into = folder.join("bundle");
    fs::create_dir_all(&into).unwrap();
    let export = ExportOptions { pooling: Some(Pooling::Mean), ..ExportOptions::new(folder) };
    let options = ImportOptions { file: folder.join("model.onnx"), output: None, export, seen: None };
    let error = import_onnx(&options, &into).err()?;
    let text = error.to_string();
    assert!(text.contains(&folder.display().to_string()), "{text}");
    Some(text.replace(&folder.display().to_string(), "DIR"))
}

fn refusal(bytes: &[u8]) -> String {
    import(folder(bytes).path()).unwrap()
}

fn open(bytes: &[u8]) -> Result<OnnxFile, Error> {
    OnnxFile::open(&folder(bytes).path().join("model.onnx"))
}

#[test]
fn the_file_that_the_others_are_made_of_is_whole() {
    assert_eq!(import(folder(&model(&encoder().bytes(), 17)).path()), None);
}

#[test]
fn more_nodes_than_any_encoder_has_are_not_decoded() {
    let one = field(1, node("Neg", &["a"], &["b"]));
    let text = refusal(&model(&one.repeat(1_000_000), 17));
    assert_eq!(text, "`DIR/model.onnx` holds more than 100000 nodes, which no encoder needs");
    // Empty ones take two bytes in the file and hundreds in memory.
    let text = refusal(&model(&field(1, []).repeat(90_000), 17));
    assert!(text.contains("bytes of memory beside its weights, which no encoder needs"), "{text}");
    for hollow in [field(1, field(5, []).repeat(1 << 20)), field(11, []).repeat(1 << 20)] {
        let text = refusal(&model(&hollow, 17));
        assert!(text.contains("bytes of memory beside its weights"), "{text}");
    }
    let packed = field(5, field(7, vec![0; 1 << 20]));
    assert!(open(&model(&packed, 17)).is_ok(), "a mebibyte of numbers is no more than 16 of memory");
}

#[test]
fn graphs_within_graphs_end() {
    assert!(
        refusal(&model(&body_of(30), 17))
            .ends_with("holds more than 64 messages within messages, which no encoder needs")
    );
    assert!(
        refusal(&model(&body_of(100_000), 17))
            .ends_with("holds more than 64 messages within messages, which no encoder needs")
    );
    assert!(open(&model(&body_of(20), 17)).is_ok());
}

/// A graph with a node with a graph, and so on, built from the inside without copying it each time.
fn body_of(depth: usize) -> Vec<u8> {
    let mut lengths = Vec::new();
    let mut length = 0_usize;
    for _ in 0..depth {
        let graph = varint(length as u64).len() + 1 + length;
        let attribute = varint(graph as u64).len() + 1 + graph;
        lengths.push((attribute, graph, length));
        length = varint(attribute as u64).len() + 1 + attribute;
    }
    let mut bytes = Vec::new();
    for (attribute, graph, inner) in lengths.into_iter().rev() {
        for (number, length) in [(1_u8, attribute), (5, graph), (6, inner)] {
            bytes.push(number << 3 | 2);
            bytes.extend(varint(length as u64));
        }
    }
    bytes
}

#[test]
fn values_made_twice_in_circles_or_not_at_all_are_named() {
    let with = |change: &dyn Fn(&mut Graph)| {
        let mut graph = encoder();
        change(&mut graph);
        refusal(&model(&graph.bytes(), 17))
    };
    let text = with(&|graph| graph.nodes.swap(2, 4));
    assert!(
        text.starts_with("the graph of `DIR/model.onnx` reads `column` in the node that makes `states` (MatMul)"),
        "{text}"
    );
    let text = with(&|graph| graph.nodes.push(node("Neg", &["ids"], &["mask"])));
    assert!(text.ends_with("makes `mask` in the node that makes `mask` (Neg), though it is there already"), "{text}");
    let text = with(&|graph| graph.tensors.push(graph.tensors[0].clone()));
    assert!(text.ends_with("has two constants called `last`"), "{text}");
    let text = with(&|graph| graph.inputs.push(graph.inputs[0].clone()));
    assert!(text.ends_with("has two inputs of the same name, or one without a name"), "{text}");
    let text = with(&|graph| graph.nodes.truncate(4));
    assert!(text.ends_with("has the output `states`, which no node makes"), "{text}");
}

#[test]
fn shapes_that_do_not_fit_their_bytes_are_named() {
    let with = |dims: &[i64], raw: &[u8]| {
        let mut graph = encoder();
        graph.tensors[1] = tensor("table", dims, raw);
        refusal(&model(&graph.bytes(), 17))
    };
    let subject = "tensor `table` in `DIR/model.onnx`";
    assert_eq!(with(&[1, 16], &[0; 63]), format!("{subject} has shape [1, 16] of float32 but 63 bytes, expected 64"));
    for giant in [[i64::MAX, i64::MAX], [-1, 16], [i64::MAX, 4]] {
        assert_eq!(with(&giant, &[0; 64]), format!("{subject} has shape {giant:?} of float32, which has no size"));
    }
    let most = (1_i64 << 58) - 1;
    assert_eq!(
        with(&[most], &[]),
        format!("{subject} has shape [{most}] of float32 but 0 bytes, expected {}", most as u64 * 4)
    );
}

#[test]
fn bytes_that_are_no_model_are_refused_with_their_place() {
    let whole = model(&encoder().bytes(), 17);
    for end in (0..whole.len()).step_by(7) {
        // The last field of a model stands alone: without it the file says no version.
        let text = refusal(&whole[..end]);
        assert!(text.contains("not a whole ONNX model") || text.contains("uses version 0"), "cut at {end}: {text}");
    }
    assert_eq!(refusal(b""), "`DIR/model.onnx` is not a whole ONNX model: no graph in its 0 bytes");
    assert!(refusal(b"{x").contains("field 15 at byte 0 has the wire type 3"));
    assert!(refusal(b"{}").ends_with("is not an ONNX file: it seems to be JSON, as a corpus is (JSONL)"));
    assert!(refusal(&[0xff; 12]).contains("the number at byte 0 has more than 10 bytes"));
    let long = [vec![0x3a], varint(u64::MAX)].concat();
    assert!(refusal(&long).contains(&format!("the field at byte 0 ends at byte {}, what it is in at 11", u64::MAX)));
    let inner = field(7, [vec![0x0a], varint(100)].concat());
    assert!(refusal(&inner).contains("the field at byte 2 ends at byte 104, what it is in at 4"));
    assert!(refusal(&[0x02, 0x00]).contains("the field at byte 0 has the number 0"));
    let two = [whole.clone(), field(7, [])].concat();
    assert!(refusal(&two).ends_with("more than one graph"));
    // A text that is no UTF-8, a number where a message belongs.
    assert_eq!(refusal(&model(&field(2, [0xff, 0xfe]), 17)), "`DIR/model.onnx` is not an ONNX model");
    assert_eq!(refusal(&model(&number(1, 5), 17)), "`DIR/model.onnx` is not an ONNX model");
}

#[test]
fn weights_of_other_files_lie_in_the_folder_and_inside_the_file() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, [0; 64]).unwrap();
    let place = |entries: &[&[(&str, &str)]]| {
        let mut graph = encoder();
        graph.tensors.truncate(1);
        let names = ["table", "second"];
        graph.tensors.extend(entries.iter().zip(names).map(|(entries, name)| external(name, &[1, 16], entries)));
        let folder = folder(&model(&graph.bytes(), 17));
        fs::write(folder.path().join("weights"), [0; 100]).unwrap();
        folder
    };
    let text = |entries: &[&[(&str, &str)]]| import(place(entries).path()).unwrap();
    let subject = "tensor `table` in `DIR/model.onnx` ";
    assert_eq!(import(place(&[&[("location", "weights"), ("offset", "36"), ("length", "64")]]).path()), None);
    assert_eq!(import(place(&[&[("location", "./weights")]]).path()), None);
    let absolute = secret.display().to_string();
    for location in ["../secret", "weights/../../secret", "/etc/passwd", &absolute] {
        let expected = format!(
            "{subject}lies in `{location}`, which leads out of the folder; expected a file in the folder of the model"
        );
        assert_eq!(text(&[&[("location", location)]]), expected);
    }
    assert_eq!(text(&[&[("offset", "0")]]), format!("{subject}lies in another file but names none (no `location`)"));
    assert!(text(&[&[("location", ".")]]).contains("lies in `.`, which is no file"));
    assert!(text(&[&[("location", "nothing")]]).contains("lies in `nothing`, which could not be found"));
    let offset =
        |offset: &str, length: &str| text(&[&[("location", "weights"), ("offset", offset), ("length", length)]]);
    assert_eq!(offset("37", "64"), format!("{subject}lies at 64 bytes from byte 37 of `weights`, which has 100"));
    let most = u64::MAX.to_string();
    assert_eq!(offset(&most, "64"), format!("{subject}lies at 64 bytes from byte {most} of `weights`, which has 100"));
    assert_eq!(offset("-1", "64"), format!("{subject}has the offset `-1`, expected a number of bytes"));
    assert_eq!(offset("0", "60"), format!("{subject}has shape [1, 16] of float32 but 60 bytes, expected 64"));
    let two = text(&[&[("location", "weights")], &[("location", "weights"), ("offset", "8")]]);
    assert_eq!(
        two,
        "tensor `second` in `DIR/model.onnx` begins at byte 8 of `weights`, inside `table`, which ends at 64"
    );
    assert_eq!(import(place(&[&[("location", "weights")], &[("location", "weights")]]).path()), None);
    // One file by several names.
    for other in ["./weights", "././weights", ".//weights"] {
        let two = text(&[&[("location", "weights")], &[("location", other), ("offset", "8")]]);
        let begins = format!("tensor `second` in `DIR/model.onnx` begins at byte 8 of `{other}`, inside `table`");
        assert!(two.starts_with(&begins), "{two}");
        assert_eq!(import(place(&[&[("location", "weights")], &[("location", other)]]).path()), None);
    }
    let two = text(&[&[("location", "weights")], &[("location", "a/../weights"), ("offset", "8")]]);
    assert!(two.contains("lies in `a/../weights`, which leads out of the folder"), "{two}");

    #[cfg(unix)]
    {
        let folder = place(&[&[("location", "weights")], &[("location", "other"), ("offset", "8")]]);
        std::os::unix::fs::symlink("weights", folder.path().join("other")).unwrap();
        assert!(import(folder.path()).unwrap().contains("begins at byte 8 of `other`, inside `table`"));
        let folder = place(&[&[("location", "link")]]);
        std::os::unix::fs::symlink(&secret, folder.path().join("link")).unwrap();
        assert!(import(folder.path()).unwrap().contains("lies in `link`, a link out of the folder"));
        let folder = place(&[&[("location", "deep/secret")]]);
        std::os::unix::fs::symlink(outside.path(), folder.path().join("deep")).unwrap();
        assert!(import(folder.path()).unwrap().contains("lies in `deep/secret`, a link out of the folder"));
    }
}

#[test]
fn nodes_that_no_file_can_hold_are_refused_before_anything_is_written() {
    const HOLE: u64 = 1_950_000_000;
    // A constant inside a node can't lie in a data file. Its numbers are a hole in the file: nothing is on the disk.
    let open = |number: u64, length: u64| [varint(number << 3 | 2), varint(length)].concat();
    let head = [number(1, HOLE as i64 / 4), number(2, 1), field(8, "hole"), open(9, HOLE)].concat();
    let name = [field(1, "value"), number(20, 4)].concat();
    let tensor = head.len() as u64 + HOLE;
    let attribute = [name, open(5, tensor)].concat();
    let length = attribute.len() as u64 + tensor;
    let constant = [node("Constant", &[], &["hole"]), open(5, length)].concat();
    let length = constant.len() as u64 + length;
    let hollow = [open(1, length), constant, attribute, head].concat();
    let mut graph = encoder();
    // What the output is made of stays in the graph.
    graph.nodes[4] = node("MatMul", &["column", "hole"], &["states"]);
    let after = graph.bytes();
    let length = hollow.len() as u64 + HOLE + after.len() as u64;
    let before = [number(1, 8), field(8, number(2, 17)), open(7, length), hollow].concat();

    let folder = folder(&before);
    let mut file = fs::OpenOptions::new().write(true).open(folder.path().join("model.onnx")).unwrap();
    file.seek(SeekFrom::Start(before.len() as u64 + HOLE)).unwrap();
    file.write_all(&after).unwrap();
    let text = import(folder.path()).unwrap();
    assert!(
        text.starts_with("the graph of `DIR/model.onnx` would take 19500")
            && text.ends_with(" bytes, one ONNX file holds at most 1900000000"),
        "{text}"
    );
    assert_eq!(fs::read_dir(folder.path().join("bundle")).unwrap().count(), 0);
}

#[test]
fn weights_of_other_files_inside_of_nodes_are_refused() {
    for location in ["data", "../data"] {
        let mut graph = encoder();
        let values = external("hidden", &[1, 16], &[("location", location)]);
        let attribute = field(5, [field(1, "value"), field(5, values), number(20, 4)].concat());
        graph.nodes.insert(0, [node("Constant", &[], &["hidden"]), attribute].concat());
        let text = refusal(&model(&graph.bytes(), 17));
        assert!(text.contains("`hidden`") && text.contains("no plain constant of the graph"), "{text}");
    }
}

#[test]
fn sizes_that_no_tensor_has_end_no_inspection() {
    let list = |name: &str, values: &[i64]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        [number(1, values.len() as i64), number(2, 7), field(8, name), field(9, bytes)].concat()
    };
    for size in [-7, 0, i64::MIN, i64::MAX] {
        for step in [1, -1] {
            let shape = || [Size::Fixed(size), Size::Fixed(3)];
            let graph = Graph {
                nodes: vec![
                    node("Slice", &["x", "starts", "ends", "axes", "steps"], &["cut"]),
                    node("Split", &["x"], &["left", "right"]),
                    node("Conv", &["image", "kernel"], &["seen"]),
                ],
                tensors: vec![list("starts", &[0]), list("ends", &[2]), list("axes", &[0]), list("steps", &[step])],
                inputs: vec![
                    value("x", 1, &shape()),
                    value("image", 1, &[Size::Fixed(1), Size::Fixed(1), Size::Fixed(9)]),
                    value("kernel", 1, &[Size::Fixed(1), Size::Fixed(1), Size::Fixed(size)]),
                ],
                outputs: vec![value("cut", 1, &shape())],
            };
            let file = open(&model(&graph.bytes(), 17)).unwrap();
            assert_eq!(inspect(&file, &InspectOptions::default()).operators.len(), 3, "{size} {step}");
        }
    }
}
