//! Writes a graph as an ONNX file without ever holding it: sizes are known before the weights are read, so each
//! constant is read, written and forgotten block by block. Order in the file: versions, graph, then producer and metadata; the graph's
//! hash covers what stands before the producer, and so does not change with the program's version or the metadata.

use std::io::{self, Write};

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::builder::Graph;
use super::constants::{Constant, Problem, Scratch};
use super::onnx::{GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto};

/// Operators are taken from this version of the standard set (Gelu is new in it).
const OPSET: i64 = 20;
/// The file format that belongs to it.
const IR_VERSION: i64 = 9;

pub(super) const MODEL_GRAPH: u32 = 7;
pub(super) const GRAPH_INITIALIZER: u32 = 5;
pub(super) const TENSOR_RAW_DATA: u32 = 9;

/// A graph with all sizes computed.
#[derive(Debug)]
pub(super) struct GraphWriter<'g, 'a> {
    constants: &'g [Constant<'a>],
    opening: Vec<u8>,
    shell: Vec<u8>,
    graph_len: u64,
}

impl<'g, 'a> GraphWriter<'g, 'a> {
    pub(super) fn new(graph: &'g Graph<'a>) -> Self {
        let version = OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) };
        let head = ModelProto { ir_version: Some(IR_VERSION), opset_import: vec![version], ..ModelProto::default() };
        let shell = GraphProto {
            node: graph.nodes.clone(),
            name: Some(graph.name.clone()),
            initializer: Vec::new(),
            input: graph.inputs.clone(),
            output: graph.outputs.clone(),
            ..GraphProto::default()
        }
        .encode_to_vec();
        let constants = graph.constants.iter().map(|constant| framed_len(GRAPH_INITIALIZER, tensor_len(constant)));
        let graph_len = shell.len() as u64 + constants.sum::<u64>();
        let mut opening = head.encode_to_vec();
        open_field(MODEL_GRAPH, graph_len, &mut opening);
        Self { constants: &graph.constants, opening, shell, graph_len }
    }

    /// Bytes of the file up to the end of the graph.
    pub(super) fn len(&self) -> u64 {
        self.opening.len() as u64 + self.graph_len
    }

    /// Writes everything up to the end of the graph and gives its BLAKE3 in hex.
    pub(super) fn write_graph(&self, out: &mut impl Write) -> Result<String, Problem> {
        let mut hasher = blake3::Hasher::new();
        let mut put = |bytes: &[u8]| {
            hasher.update(bytes);
            out.write_all(bytes)
        };
        put(&self.opening)?;
        put(&self.shell)?;
        let mut scratch = Scratch::default();
        for constant in self.constants {
            let mut frame = Vec::new();
            open_field(GRAPH_INITIALIZER, tensor_len(constant), &mut frame);
            frame.extend(tensor_head(constant));
            open_field(TENSOR_RAW_DATA, constant.byte_len(), &mut frame);
            put(&frame)?;
            constant.stream(&mut scratch, &mut put)?;
        }
        Ok(hasher.finalize().to_hex().to_string())
    }
}

/// Writes what follows the graph: who wrote the file, and the metadata.
pub(super) fn write_metadata(metadata: Vec<(String, String)>, out: &mut impl Write) -> io::Result<()> {
    let entry = |(key, value)| StringStringEntryProto { key: Some(key), value: Some(value) };
    let tail = ModelProto {
        producer_name: Some(env!("CARGO_PKG_NAME").to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        metadata_props: metadata.into_iter().map(entry).collect(),
        ..ModelProto::default()
    };
    out.write_all(&tail.encode_to_vec())
}

fn tensor_head(constant: &Constant<'_>) -> Vec<u8> {
    TensorProto {
        dims: constant.shape.iter().map(|size| *size as i64).collect(),
        data_type: Some(constant.element as i32),
        name: Some(constant.name.clone()),
        ..TensorProto::default()
    }
    .encode_to_vec()
}

fn tensor_len(constant: &Constant<'_>) -> u64 {
    tensor_head(constant).len() as u64 + framed_len(TENSOR_RAW_DATA, constant.byte_len())
}

/// Bytes of a length-delimited field with `len` bytes of content.
pub(super) fn framed_len(field: u32, len: u64) -> u64 {
    let mut key = Vec::new();
    encode_key(field, WireType::LengthDelimited, &mut key);
    key.len() as u64 + encoded_len_varint(len) as u64 + len
}

pub(super) fn open_field(field: u32, len: u64, into: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, into);
    encode_varint(len, into);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::graph::encoder::{self, Ending};
    use crate::model::{Checkpoint, EncoderConfig, Pooling, Weights};

    use super::*;

    fn tiny() -> Checkpoint {
        Checkpoint::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-bert/cls")).unwrap()
    }

    fn floats(tensor: &TensorProto) -> Vec<f32> {
        let bytes = tensor.raw_data.as_deref().unwrap();
        bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    fn stored(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
        let mut values = Vec::new();
        let tensor = checkpoint.weights().get(name).unwrap();
        tensor.read(0..tensor.count(), &mut values).unwrap();
        values
    }

    #[test]
    fn what_is_streamed_decodes_to_the_graph_that_was_built() {
        let checkpoint = tiny();
        let ending = Ending { pooling: Pooling::Mean, normalize: true };
        let graph = encoder::build(checkpoint.config(), checkpoint.weights(), ending).unwrap();
        let writer = GraphWriter::new(&graph);
        let mut bytes = Vec::new();
        let hash = writer.write_graph(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, writer.len());
        assert_eq!(hash, blake3::hash(&bytes).to_hex().to_string());
        write_metadata(vec![("k".to_owned(), "v".to_owned())], &mut bytes).unwrap();

        let model = ModelProto::decode(bytes.as_slice()).unwrap();
        assert_eq!((model.ir_version, model.metadata_props.len()), (Some(IR_VERSION), 1));
        let decoded = model.graph.unwrap();
        assert_eq!(decoded.node, graph.nodes);
        assert_eq!(decoded.initializer.len(), graph.constants.len());
        for (tensor, constant) in decoded.initializer.iter().zip(&graph.constants) {
            assert_eq!(tensor.raw_data.as_ref().unwrap().len() as u64, constant.byte_len(), "{}", constant.name);
        }
    }

    #[test]
    fn weights_enter_transposed_scaled_and_summed() {
        let checkpoint = tiny();
        let ending = Ending { pooling: Pooling::Cls, normalize: false };
        let graph = encoder::build(checkpoint.config(), checkpoint.weights(), ending).unwrap();
        let mut bytes = Vec::new();
        GraphWriter::new(&graph).write_graph(&mut bytes).unwrap();
        let tensors = ModelProto::decode(bytes.as_slice()).unwrap().graph.unwrap().initializer;
        let written = |name: &str| floats(tensors.iter().find(|tensor| tensor.name.as_deref() == Some(name)).unwrap());

        let name = "bert.encoder.layer.0.intermediate.dense.weight";
        let (from, to) = (stored(&checkpoint, name), written(name));
        assert_eq!((to[1], to[40], to[40 * 24 - 1]), (from[24], from[1], from[40 * 24 - 1]));
        let name = "bert.encoder.layer.1.attention.self.query.bias";
        let scale = (1.0 / 8.0_f64.sqrt()) as f32;
        assert_eq!(written(name)[5], stored(&checkpoint, name)[5] * scale);
        let [positions, types] =
            ["position", "token_type"].map(|kind| format!("bert.embeddings.{kind}_embeddings.weight"));
        let expected = stored(&checkpoint, &positions)[24 * 3 + 2] + stored(&checkpoint, &types)[2];
        assert_eq!(written(&positions)[24 * 3 + 2], expected);
    }

    /// Config and weights of each checkpoint in tests/data.
    fn all_checkpoints() -> Vec<(EncoderConfig, Weights)> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let families = std::fs::read_dir(data.join("tiny-architectures")).unwrap().map(|entry| entry.unwrap().path());
        let folders = families.filter(|path| path.is_dir()).chain([data.join("tiny-bert/cls")]);
        let open = |folder: std::path::PathBuf| {
            (EncoderConfig::open(&folder.join("config.json")).unwrap(), Weights::in_folder(&folder).unwrap().unwrap())
        };
        folders.map(open).collect()
    }

    #[test]
    fn no_operator_computes_with_shapes() {
        let checkpoints = all_checkpoints();
        assert_eq!(checkpoints.len(), 15);
        for (config, weights) in &checkpoints {
            for pooling in Pooling::ALL {
                let graph = encoder::build(config, weights, Ending { pooling, normalize: true }).unwrap();
                let name = config.architecture.name;
                let constants: Vec<&str> = graph.constants.iter().map(|constant| constant.name.as_str()).collect();
                for node in &graph.nodes {
                    let kind = node.op_type.as_deref().unwrap();
                    let banned = ["Shape", "Size", "Range", "Expand", "ConstantOfShape", "NonZero"];
                    assert!(!banned.contains(&kind), "{kind} in {name} with pooling {pooling}");
                    let bounds = node.input.iter().skip(1);
                    let computed = ["Slice", "Reshape"].contains(&kind)
                        && bounds.clone().any(|bound| !constants.contains(&bound.as_str()));
                    assert!(!computed, "computed {kind} in {name} with pooling {pooling}");
                }
            }
        }
    }

    #[test]
    fn layers_that_share_weights_share_constants() {
        let albert = |(config, _): &(EncoderConfig, Weights)| config.architecture.name == "albert";
        for (config, weights) in all_checkpoints().iter().filter(|checkpoint| albert(checkpoint)) {
            let ending = Ending { pooling: Pooling::Mean, normalize: false };
            let graph = encoder::build(config, weights, ending).unwrap();
            let stored = graph.constants.iter().filter(|constant| constant.name.ends_with("ffn.weight")).count();
            assert!(stored == config.stored_layers() && stored < config.layers, "{stored}");
            let numbers: u64 = graph
                .constants
                .iter()
                .filter(|c| c.name.contains("embeddings") || c.name.contains("encoder"))
                .map(|constant| constant.shape.iter().product::<usize>() as u64)
                .sum();
            let types = (config.token_types * config.embedding_size) as u64;
            let head = graph
                .constants
                .iter()
                .filter(|c| c.name.contains("classifier") || c.name.contains("pooler"))
                .map(|constant| constant.shape.iter().product::<usize>() as u64)
                .sum::<u64>();
            assert_eq!(graph.parameters, numbers + types + head);
        }
    }
}
