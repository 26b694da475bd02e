//! Writes a decoded model again, as `GraphWriter` writes a new one: versions, functions, graph without its constants,
//! then the constants one by one, each in its place in the map and never copied. Producer and metadata follow through
//! `write_metadata`; the hash covers what stands before them. A model that `GraphWriter` wrote gives the same bytes.

use std::io::{self, Write};

use prost::Message;

use crate::graph::onnx::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::graph::writer::{GRAPH_INITIALIZER, MODEL_GRAPH, TENSOR_RAW_DATA, framed_len, open_field};

const GRAPH_NODE: u32 = 1;

/// A model about to be written, with all sizes computed. Its producer and metadata are not written.
#[derive(Debug)]
pub(crate) struct ModelWriter<'m> {
    graph: &'m GraphProto,
    /// All of the model before the graph, and the graph's key and length.
    opening: Vec<u8>,
    graph_len: u64,
}

impl<'m> ModelWriter<'m> {
    /// `model` without its graph, and the graph.
    pub(crate) fn new(model: &ModelProto, graph: &'m GraphProto) -> Self {
        let head = ModelProto {
            ir_version: model.ir_version,
            domain: model.domain.clone(),
            model_version: model.model_version,
            doc_string: model.doc_string.clone(),
            opset_import: model.opset_import.clone(),
            training_info: model.training_info.clone(),
            functions: model.functions.clone(),
            configuration: model.configuration.clone(),
            ..ModelProto::default()
        };
        let nodes = graph.node.iter().map(|node| framed_len(GRAPH_NODE, node.encoded_len() as u64));
        let tensors = graph.initializer.iter().map(|tensor| framed_len(GRAPH_INITIALIZER, tensor.encoded_len() as u64));
        let graph_len = nodes.sum::<u64>() + shell(graph).encoded_len() as u64 + tensors.sum::<u64>();
        let mut opening = head.encode_to_vec();
        open_field(MODEL_GRAPH, graph_len, &mut opening);
        Self { graph, opening, graph_len }
    }

    /// Bytes of the file up to the end of the graph.
    pub(crate) fn len(&self) -> u64 {
        self.opening.len() as u64 + self.graph_len
    }

    /// Writes everything up to the end of the graph and gives its BLAKE3 in hex.
    pub(crate) fn write_graph(&self, out: &mut impl Write) -> io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        let mut put = |bytes: &[u8]| {
            hasher.update(bytes);
            out.write_all(bytes)
        };
        put(&self.opening)?;
        for node in &self.graph.node {
            put(&framed_node(node))?;
        }
        put(&shell(self.graph).encode_to_vec())?;
        for tensor in &self.graph.initializer {
            put_tensor(tensor, &mut put)?;
        }
        Ok(hasher.finalize().to_hex().to_string())
    }
}

/// A graph without nodes and constants, which are written one by one.
fn shell(graph: &GraphProto) -> GraphProto {
    GraphProto {
        name: graph.name.clone(),
        doc_string: graph.doc_string.clone(),
        input: graph.input.clone(),
        output: graph.output.clone(),
        value_info: graph.value_info.clone(),
        quantization_annotation: graph.quantization_annotation.clone(),
        sparse_initializer: graph.sparse_initializer.clone(),
        metadata_props: graph.metadata_props.clone(),
        ..GraphProto::default()
    }
}

fn framed_node(node: &NodeProto) -> Vec<u8> {
    let mut bytes = Vec::new();
    open_field(GRAPH_NODE, node.encoded_len() as u64, &mut bytes);
    node.encode(&mut bytes).expect("a list of bytes has room for more");
    bytes
}

/// Raw bytes come last and straight from where they are.
fn put_tensor(tensor: &TensorProto, put: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut bytes = Vec::new();
    open_field(GRAPH_INITIALIZER, tensor.encoded_len() as u64, &mut bytes);
    let Some(raw) = &tensor.raw_data else {
        tensor.encode(&mut bytes).expect("a list of bytes has room for more");
        return put(&bytes);
    };
    let head = TensorProto { raw_data: None, ..tensor.clone() };
    head.encode(&mut bytes).expect("a list of bytes has room for more");
    open_field(TENSOR_RAW_DATA, raw.len() as u64, &mut bytes);
    put(&bytes)?;
    put(raw)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::graph::foreign::OnnxFile;
    use crate::graph::onnx::TensorProto;
    use crate::graph::{ExportOptions, write_bundle};
    use crate::model::{GRAPH_FILE, Pooling};

    use super::*;

    #[test]
    fn a_graph_of_ours_is_written_again_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        for checkpoint in ["tiny-bert/cls", "tiny-bert/mean"] {
            let mut options = ExportOptions::new(data.join(checkpoint));
            options.pooling = Some(Pooling::Mean);
            let manifest = write_bundle(&options, folder.path()).unwrap();
            let path = folder.path().join(GRAPH_FILE);
            let file = OnnxFile::open(&path).unwrap();
            let writer = ModelWriter::new(file.model(), file.graph());
            let mut bytes = Vec::new();
            assert_eq!(writer.write_graph(&mut bytes).unwrap(), manifest.graph_hash);
            assert_eq!(bytes.len() as u64, writer.len());
            let whole = std::fs::read(&path).unwrap();
            assert!(whole.starts_with(&bytes));
        }
    }

    #[test]
    fn what_is_added_is_there_when_it_is_read_again_and_nothing_is_lost() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-graph/encoder.onnx");
        let file = OnnxFile::open(&path).unwrap();
        let mut graph = file.graph().clone();
        graph.initializer.push(TensorProto { float_data: vec![1.0, 2.0], ..TensorProto::default() });
        graph.node.push(NodeProto { domain: Some("d".into()), overload: Some("o".into()), ..NodeProto::default() });
        let mut bytes = Vec::new();
        let writer = ModelWriter::new(file.model(), &graph);
        writer.write_graph(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, writer.len());
        let again = ModelProto::decode(bytes.as_slice()).unwrap();
        assert_eq!(again.graph.as_ref(), Some(&graph));
        assert_eq!(again.opset_import, file.model().opset_import);
    }
}
