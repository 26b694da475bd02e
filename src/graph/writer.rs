//! Writes a graph as an ONNX file without ever holding it: sizes are known before the weights are read, so each
//! constant is read, written and forgotten block by block. Order in the file: versions, graph, then producer and metadata; the graph's
//! hash covers what stands before the producer, and so does not change with the program's version or the metadata.

use std::io::{self, Write};

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::builder::{Graph, OPSET};
use super::constants::{Constant, Problem, Scratch};
use super::onnx::{EXTERNAL, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto};
use super::quantize::RUNTIME_DOMAIN;

pub(super) const MODEL_GRAPH: u32 = 7;
pub(super) const GRAPH_INITIALIZER: u32 = 5;
pub(super) const TENSOR_RAW_DATA: u32 = 9;

/// Constants of this size on go into a data file, where there is one: ONNX Runtime maps it, page by page.
pub(super) const PAGE: u64 = 4096;

/// The file format that belongs to an operator set.
fn ir_version(opset: i64) -> i64 {
    if opset >= OPSET { 9 } else { 8 }
}

/// A graph with all sizes computed.
#[derive(Debug)]
pub(super) struct GraphWriter<'g, 'a> {
    constants: Vec<Placed<'g, 'a>>,
    opening: Vec<u8>,
    shell: Vec<u8>,
    graph_len: u64,
    data_len: u64,
}

/// A constant and where its bytes go.
#[derive(Debug)]
struct Placed<'g, 'a> {
    constant: &'g Constant<'a>,
    /// Its message without the bytes.
    head: Vec<u8>,
    /// Where its bytes begin in the data file; `None`: they stand in the graph.
    offset: Option<u64>,
}

impl<'g, 'a> GraphWriter<'g, 'a> {
    /// All in one file.
    pub(super) fn new(graph: &'g Graph<'a>) -> Self {
        Self::placing(graph, None)
    }

    /// Large constants in a file of that name, beside the graph's.
    pub(super) fn with_data_file(graph: &'g Graph<'a>, name: &str) -> Self {
        Self::placing(graph, Some(name))
    }

    fn placing(graph: &'g Graph<'a>, data_file: Option<&str>) -> Self {
        let set =
            |domain: &str, version| OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) };
        let foreign = graph.nodes.iter().any(|node| node.domain.as_deref() == Some(RUNTIME_DOMAIN));
        let sets = [Some(set("", graph.opset)), foreign.then(|| set(RUNTIME_DOMAIN, 1))];
        let ir_version = Some(ir_version(graph.opset));
        let head =
            ModelProto { ir_version, opset_import: sets.into_iter().flatten().collect(), ..ModelProto::default() };
        let shell = GraphProto {
            node: graph.nodes.clone(),
            name: Some(graph.name.clone()),
            initializer: Vec::new(),
            input: graph.inputs.clone(),
            output: graph.outputs.clone(),
            ..GraphProto::default()
        }
        .encode_to_vec();
        let mut data_len = 0_u64;
        let place = |constant| match data_file.filter(|_| Constant::byte_len(constant) >= PAGE) {
            Some(name) => {
                let offset = data_len.next_multiple_of(PAGE);
                data_len = offset + constant.byte_len();
                Placed { constant, head: tensor_head(constant, Some((name, offset))), offset: Some(offset) }
            }
            None => Placed { constant, head: tensor_head(constant, None), offset: None },
        };
        let constants: Vec<Placed<'g, 'a>> = graph.constants.iter().map(place).collect();
        let framed = constants.iter().map(|placed| framed_len(GRAPH_INITIALIZER, placed.message_len()));
        let graph_len = shell.len() as u64 + framed.sum::<u64>();
        let mut opening = head.encode_to_vec();
        open_field(MODEL_GRAPH, graph_len, &mut opening);
        Self { constants, opening, shell, graph_len, data_len }
    }

    /// Bytes of the file up to the end of the graph.
    pub(super) fn len(&self) -> u64 {
        self.opening.len() as u64 + self.graph_len
    }

    /// Bytes of the data file.
    pub(super) fn data_len(&self) -> u64 {
        self.data_len
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
        for placed in &self.constants {
            let mut frame = Vec::new();
            open_field(GRAPH_INITIALIZER, placed.message_len(), &mut frame);
            frame.extend(&placed.head);
            if placed.offset.is_none() {
                open_field(TENSOR_RAW_DATA, placed.constant.byte_len(), &mut frame);
            }
            put(&frame)?;
            if placed.offset.is_none() {
                placed.constant.stream(&mut scratch, &mut put)?;
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Writes the data file and gives its BLAKE3 in hex.
    pub(super) fn write_data(&self, out: &mut impl Write) -> Result<String, Problem> {
        let mut hasher = blake3::Hasher::new();
        let mut written = 0_u64;
        let mut put = |bytes: &[u8]| {
            hasher.update(bytes);
            written += bytes.len() as u64;
            out.write_all(bytes)
        };
        let mut scratch = Scratch::default();
        let mut end = 0;
        for placed in &self.constants {
            let Some(offset) = placed.offset else { continue };
            put(&[0; PAGE as usize][..(offset - end) as usize])?;
            placed.constant.stream(&mut scratch, &mut put)?;
            end = offset + placed.constant.byte_len();
        }
        debug_assert_eq!(written, self.data_len, "offsets were computed from the same lengths");
        Ok(hasher.finalize().to_hex().to_string())
    }
}

impl Placed<'_, '_> {
    /// Bytes of the constant's message.
    fn message_len(&self) -> u64 {
        let raw = || framed_len(TENSOR_RAW_DATA, self.constant.byte_len());
        self.head.len() as u64 + if self.offset.is_none() { raw() } else { 0 }
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

/// A constant's message without its bytes; those in a data file are named by the file and the place in it.
fn tensor_head(constant: &Constant<'_>, place: Option<(&str, u64)>) -> Vec<u8> {
    let head = TensorProto {
        dims: constant.shape.iter().map(|size| *size as i64).collect(),
        data_type: Some(constant.element as i32),
        name: Some(constant.name.clone()),
        ..TensorProto::default()
    };
    let Some((file, offset)) = place else { return head.encode_to_vec() };
    let external_data = external_place(file, offset, constant.byte_len());
    TensorProto { external_data, data_location: Some(EXTERNAL), ..head }.encode_to_vec()
}

/// What a tensor says of its bytes in another file.
pub(super) fn external_place(file: &str, offset: u64, len: u64) -> Vec<StringStringEntryProto> {
    let entry = |(key, value): (&str, String)| StringStringEntryProto { key: Some(key.to_owned()), value: Some(value) };
    [("location", file.to_owned()), ("offset", offset.to_string()), ("length", len.to_string())].map(entry).to_vec()
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
    use crate::graph::shape_free::assert_shape_free;
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
        assert_eq!((model.ir_version, model.metadata_props.len()), (Some(9), 1));
        let decoded = model.graph.unwrap();
        assert_eq!(decoded.node, graph.nodes);
        assert_eq!(decoded.initializer.len(), graph.constants.len());
        for (tensor, constant) in decoded.initializer.iter().zip(&graph.constants) {
            assert_eq!(tensor.raw_data.as_ref().unwrap().len() as u64, constant.byte_len(), "{}", constant.name);
        }
    }

    #[test]
    fn large_constants_lie_in_the_data_file_where_their_message_says() {
        let checkpoint = tiny();
        let ending = Ending { pooling: Pooling::Mean, normalize: true };
        let graph = encoder::build(checkpoint.config(), checkpoint.weights(), ending).unwrap();
        let (mut whole, mut bytes, mut data) = (Vec::new(), Vec::new(), Vec::new());
        GraphWriter::new(&graph).write_graph(&mut whole).unwrap();
        let writer = GraphWriter::with_data_file(&graph, "beside");
        writer.write_graph(&mut bytes).unwrap();
        let hash = writer.write_data(&mut data).unwrap();
        assert_eq!((bytes.len() as u64, data.len() as u64), (writer.len(), writer.data_len()));
        assert_eq!(hash, blake3::hash(&data).to_hex().to_string());

        let [inside, beside] =
            [&whole, &bytes].map(|bytes| ModelProto::decode(bytes.as_slice()).unwrap().graph.unwrap());
        assert_eq!(inside.node, beside.node);
        let mut large = 0;
        for (inside, beside) in inside.initializer.iter().zip(&beside.initializer) {
            let expected = inside.raw_data.as_ref().unwrap();
            assert_eq!(beside.is_external(), expected.len() as u64 >= PAGE, "{:?}", inside.name);
            if !beside.is_external() {
                assert_eq!(inside, beside);
                continue;
            }
            large += 1;
            let value = |key: &str| {
                let entry = beside.external_data.iter().find(|entry| entry.key.as_deref() == Some(key)).unwrap();
                entry.value.clone().unwrap()
            };
            let [offset, length] = ["offset", "length"].map(|key| value(key).parse::<usize>().unwrap());
            assert_eq!((value("location").as_str(), offset as u64 % PAGE), ("beside", 0));
            assert_eq!(&data[offset..offset + length], &expected[..]);
        }
        assert!(large > 0 && large < graph.constants.len(), "{large}");
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
        assert_eq!(checkpoints.len(), 17);
        for (config, weights) in &checkpoints {
            for pooling in Pooling::ALL {
                let graph = encoder::build(config, weights, Ending { pooling, normalize: true }).unwrap();
                let name = config.architecture.name;
                let constants: Vec<&str> = graph.constants.iter().map(|constant| constant.name.as_str()).collect();
                assert_shape_free(&graph.nodes, &constants, &format!("{name} with pooling {pooling}"));
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
