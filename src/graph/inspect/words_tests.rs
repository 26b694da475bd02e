//! Tables of words in the forms that exporters and quantizers leave them in, in files that are written here.

use std::path::PathBuf;

use prost::Message;
use prost::bytes::Bytes;

use super::super::foreign::OnnxFile;
use super::super::onnx::{Dimension, ElementType, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use super::super::{Error, WordTable};

fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(operator.to_owned()),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

/// A table `words` of two rows of two numbers, and what is to be one number, `zero`.
fn file(element: ElementType, bytes: &[u8], zero: u8, nodes: Vec<NodeProto>) -> (tempfile::TempDir, PathBuf) {
    let tokens = ["batch", "sequence"].map(|name| Dimension::Named(name.to_owned())).to_vec();
    let tensor = |name: &str, dims: &[i64], bytes: &[u8]| {
        TensorProto::of_bytes(name, element, dims, Bytes::copy_from_slice(bytes))
    };
    let graph = GraphProto {
        node: nodes,
        initializer: vec![tensor("words", &[2, 2], bytes), tensor("zero", &[], &[zero])],
        input: vec![ValueInfoProto::tensor("input_ids", ElementType::Int64, tokens)],
        ..GraphProto::default()
    };
    let model = ModelProto { graph: Some(graph), ..ModelProto::default() };
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    (place, path)
}

fn rows(element: ElementType, bytes: &[u8], zero: u8, nodes: Vec<NodeProto>) -> [Vec<f32>; 2] {
    let (_place, path) = file(element, bytes, zero, nodes);
    let file = OnnxFile::open(&path).unwrap();
    let table = WordTable::of_graph(&file).unwrap();
    assert_eq!((table.name(), table.rows(), table.width()), ("words", 2, 2));
    [0, 1].map(|index| {
        let mut row = Vec::new();
        table.row(index, &mut row).unwrap();
        row
    })
}

fn gather() -> Vec<NodeProto> {
    vec![node("Gather", &["words", "input_ids"], "states")]
}

#[test]
fn floats_of_each_width_are_read() {
    let values = [0.5_f32, -1.5, 2.0, 0.25];
    let expected = [vec![0.5, -1.5], vec![2.0, 0.25]];
    let single: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let double: Vec<u8> = values.iter().flat_map(|value| f64::from(*value).to_le_bytes()).collect();
    let half: Vec<u8> = values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect();
    let brain: Vec<u8> = values.iter().flat_map(|value| half::bf16::from_f32(*value).to_le_bytes()).collect();
    for (element, bytes) in [
        (ElementType::Float, single),
        (ElementType::Double, double),
        (ElementType::Float16, half),
        (ElementType::Bfloat16, brain),
    ] {
        assert_eq!(rows(element, &bytes, 0, gather()), expected, "{element}");
    }
}

#[test]
fn quantized_rows_count_from_their_zero_point() {
    let before = || {
        vec![node("DequantizeLinear", &["words", "", "zero"], "table"), node("Gather", &["table", "input_ids"], "y")]
    };
    let behind =
        || vec![node("Gather", &["words", "input_ids"], "rows"), node("DequantizeLinear", &["rows", "", "zero"], "y")];
    let inputs: Vec<&str> = (0..14)
        .map(|place| match place {
            0 => "input_ids",
            2 => "words",
            13 => "zero",
            _ => "",
        })
        .collect();
    let block = || vec![node("QEmbedLayerNormalization", &inputs, "y")];
    for nodes in [before(), behind(), block()] {
        let unsigned = rows(ElementType::Uint8, &[128, 0, 255, 130], 128, nodes.clone());
        assert_eq!(unsigned, [vec![0.0, -128.0], vec![127.0, 2.0]]);
        let signed = rows(ElementType::Int8, &[0, 0x80, 0x7f, 0xfd], 0xfd, nodes);
        assert_eq!(signed, [vec![3.0, -125.0], vec![130.0, 0.0]]);
    }
    // Where nothing dequantizes, numbers count from zero.
    assert_eq!(rows(ElementType::Int8, &[1, 2, 3, 4], 9, gather()), [vec![1.0, 2.0], vec![3.0, 4.0]]);
}

#[test]
fn what_is_no_table_of_words_says_so() {
    let words = |element, bytes: &[u8], nodes| {
        let (_place, path) = file(element, bytes, 0, nodes);
        let error = WordTable::of_graph(&OnnxFile::open(&path).unwrap()).unwrap_err();
        (error, path)
    };
    let (error, path) = words(ElementType::Float, &[0; 16], vec![node("Cast", &["input_ids"], "y")]);
    assert!(matches!(error, Error::NoWordTable { .. }));
    let expected = format!("`{}` has no table of word embeddings that its token ids read from", path.display());
    assert_eq!(error.to_string(), expected);
    let (error, path) = words(ElementType::Int64, &[0; 32], gather());
    assert!(matches!(error, Error::WordTableType { .. }));
    let expected =
        format!("the word embeddings `words` in `{}` are int64, expected floats, int8 or uint8", path.display());
    assert_eq!(error.to_string(), expected);
}
