//! Protobuf by hand, for ONNX files that no library would write.

// Every test file compiles this module for itself and uses its own part of it.
#![allow(dead_code)]

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field with a length.
pub fn field(number: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// A field with a number.
pub fn number(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value as u64)].concat()
}

/// A size of a shape: a name or a number.
pub enum Size {
    Named(&'static str),
    Fixed(i64),
}

/// A `ValueInfoProto` of a tensor.
pub fn value(name: &str, element: i64, shape: &[Size]) -> Vec<u8> {
    let size = |size: &Size| match size {
        Size::Named(name) => field(1, field(2, name)),
        Size::Fixed(size) => field(1, number(1, *size)),
    };
    let shape: Vec<u8> = shape.iter().flat_map(size).collect();
    [field(1, name), field(2, field(1, [number(1, element), field(2, shape)].concat()))].concat()
}

/// A `NodeProto`.
pub fn node(kind: &str, inputs: &[&str], outputs: &[&str]) -> Vec<u8> {
    let names = |number: u64, names: &[&str]| names.iter().flat_map(|name| field(number, name)).collect::<Vec<u8>>();
    [names(1, inputs), names(2, outputs), field(4, kind)].concat()
}

/// A `TensorProto` of f32 with its raw bytes.
pub fn tensor(name: &str, dims: &[i64], raw: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|size| number(1, *size)).collect();
    [dims, number(2, 1), field(8, name), field(9, raw)].concat()
}

/// A `TensorProto` of f32 whose bytes lie in another file.
pub fn external(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|size| number(1, *size)).collect();
    let entries = entries.iter().flat_map(|(key, value)| field(13, [field(1, key), field(2, value)].concat()));
    [dims, number(2, 1), field(8, name), entries.collect(), number(14, 1)].concat()
}

/// The fields of a `GraphProto`.
#[derive(Default)]
pub struct Graph {
    pub nodes: Vec<Vec<u8>>,
    pub tensors: Vec<Vec<u8>>,
    pub inputs: Vec<Vec<u8>>,
    pub outputs: Vec<Vec<u8>>,
}

impl Graph {
    pub fn bytes(&self) -> Vec<u8> {
        let all = |number: u64, fields: &[Vec<u8>]| fields.iter().flat_map(|bytes| field(number, bytes)).collect();
        [all(1, &self.nodes), all(5, &self.tensors), all(11, &self.inputs), all(12, &self.outputs)]
            .map(|bytes: Vec<u8>| bytes)
            .concat()
    }
}

/// A `ModelProto` with this graph.
pub fn model(graph: &[u8], opset: i64) -> Vec<u8> {
    [number(1, 8), field(7, graph), field(8, number(2, opset))].concat()
}

/// An encoder of a kind: the states are ids × mask as floats, [batch, sequence, 1] times a table of 16 columns.
pub fn encoder() -> Graph {
    let free = || [Size::Named("batch"), Size::Named("sequence")];
    let cast = |from: &str, to: &str| {
        [node("Cast", &[from], &[to]), field(5, [field(1, "to"), number(3, 1), number(20, 2)].concat())].concat()
    };
    let axes = [number(1, 1), number(2, 7), field(8, "last"), field(9, 2_i64.to_le_bytes())].concat();
    let table: Vec<u8> = (0..16_u8).flat_map(|column| (f32::from(column) - 3.5).to_le_bytes()).collect();
    Graph {
        nodes: vec![
            cast("input_ids", "ids"),
            cast("attention_mask", "mask"),
            node("Mul", &["ids", "mask"], &["product"]),
            node("Unsqueeze", &["product", "last"], &["column"]),
            node("MatMul", &["column", "table"], &["states"]),
        ],
        tensors: vec![axes, tensor("table", &[1, 16], &table)],
        inputs: ["input_ids", "attention_mask"].map(|name| value(name, 7, &free())).to_vec(),
        outputs: vec![value("states", 1, &[Size::Named("batch"), Size::Named("sequence"), Size::Fixed(16)])],
    }
}
