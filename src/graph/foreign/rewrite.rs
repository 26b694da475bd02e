//! Writes a decoded model again, as `GraphWriter` writes a new one: versions, functions, graph without its constants,
//! then the constants one by one, each in its place in the map and never copied; large ones into a data file where one
//! file is too small. Producer and metadata follow through
//! `write_metadata`; the hash covers what stands before them. A model that `GraphWriter` wrote gives the same bytes.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use prost::Message;

use crate::durable::PendingFile;
use crate::graph::Error;
use crate::graph::export::MAX_GRAPH_BYTES;
use crate::graph::onnx::{EXTERNAL, ElementType, GraphProto, ModelProto, NodeProto, TensorProto};
use crate::graph::writer::{
    GRAPH_INITIALIZER, MODEL_GRAPH, PAGE, TENSOR_RAW_DATA, external_place, framed_len, open_field,
};
use crate::model::{DATA_FILE, DataFile};

const GRAPH_NODE: u32 = 1;

/// A model about to be written, with all sizes computed. Its producer and metadata are not written.
#[derive(Debug)]
pub(crate) struct ModelWriter<'m> {
    graph: &'m GraphProto,
    constants: Vec<Placed<'m>>,
    /// All of the model before the graph, and the graph's key and length.
    opening: Vec<u8>,
    graph_len: u64,
    data_len: u64,
}

/// A constant and where its bytes go.
#[derive(Debug)]
struct Placed<'m> {
    tensor: &'m TensorProto,
    /// Of one in the data file: its message, and where its bytes begin there.
    apart: Option<(TensorProto, u64)>,
}

impl<'m> ModelWriter<'m> {
    /// `model` without its graph, and the graph; all in one file.
    pub(crate) fn new(model: &ModelProto, graph: &'m GraphProto) -> Self {
        Self::placing(model, graph, place_all(graph, None))
    }

    /// In one file of up to `largest` bytes, else with large constants in [`DATA_FILE`]. `folder` is named in errors. Typed
    /// lists of constants must have the lengths that their shapes ask for, as [`super::OnnxFile::with_weights`] checks.
    ///
    /// # Errors
    /// More than one file holds in nodes and small constants alone.
    pub(crate) fn fitting(
        model: &ModelProto,
        graph: &'m GraphProto,
        (largest, folder): (u64, &Path),
    ) -> Result<Self, Error> {
        let whole = Self::new(model, graph);
        if whole.len() <= largest {
            return Ok(whole);
        }
        Self::placing(model, graph, place_all(graph, Some(DATA_FILE))).within_limit(folder)
    }

    /// An error if one file can't hold what stands in the graph.
    pub(crate) fn within_limit(self, folder: &Path) -> Result<Self, Error> {
        let (bytes, limit) = (self.len(), MAX_GRAPH_BYTES);
        if bytes <= limit { Ok(self) } else { Err(Error::TooLarge { folder: folder.to_owned(), bytes, limit }) }
    }

    fn placing(model: &ModelProto, graph: &'m GraphProto, (constants, data_len): (Vec<Placed<'m>>, u64)) -> Self {
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
        let tensors =
            constants.iter().map(|placed| framed_len(GRAPH_INITIALIZER, placed.message().encoded_len() as u64));
        let graph_len = nodes.sum::<u64>() + shell(graph).encoded_len() as u64 + tensors.sum::<u64>();
        let mut opening = head.encode_to_vec();
        open_field(MODEL_GRAPH, graph_len, &mut opening);
        Self { graph, constants, opening, graph_len, data_len }
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
        for placed in &self.constants {
            put_tensor(placed.message(), &mut put)?;
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Writes the data file into the folder `into`, where there is anything for it.
    pub(crate) fn publish_data(&self, into: &Path) -> Result<Option<DataFile>, Error> {
        if self.data_len == 0 {
            return Ok(None);
        }
        let path = into.join(DATA_FILE);
        let write = || -> io::Result<DataFile> {
            let mut file = PendingFile::create(&path)?;
            let hash = self.write_data(&mut file)?;
            file.publish()?;
            Ok(DataFile { bytes: self.data_len, hash })
        };
        write().map(Some).map_err(|source| Error::Write { path: path.clone(), source })
    }

    /// Writes the bytes of the data file and gives their BLAKE3 in hex.
    fn write_data(&self, out: &mut impl Write) -> io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        let mut put = |bytes: &[u8]| {
            hasher.update(bytes);
            out.write_all(bytes)
        };
        let mut end = 0;
        for placed in &self.constants {
            // Constants that share their bytes are written with the first of them.
            let Some((_, offset)) = placed.apart.as_ref().filter(|(_, offset)| *offset >= end) else { continue };
            put(&[0; PAGE as usize][..(offset - end) as usize])?;
            let written = match &placed.tensor.raw_data {
                Some(raw) => put(raw).map(|()| raw.len()),
                None => {
                    let bytes = placed.tensor.typed_bytes();
                    put(&bytes).map(|()| bytes.len())
                }
            }?;
            end = offset + written as u64;
        }
        debug_assert_eq!(end, self.data_len, "offsets were computed from the same lengths");
        Ok(hasher.finalize().to_hex().to_string())
    }
}

impl Placed<'_> {
    /// What stands in the graph.
    fn message(&self) -> &TensorProto {
        self.apart.as_ref().map_or(self.tensor, |(message, _)| message)
    }
}

/// The place of each constant, and the size of the data file; without a name for it, it is empty.
fn place_all<'m>(graph: &'m GraphProto, data_file: Option<&str>) -> (Vec<Placed<'m>>, u64) {
    let mut data_len = 0_u64;
    let mut known: HashMap<(*const u8, u64), u64> = HashMap::new();
    let mut place = |tensor: &'m TensorProto| {
        let len = bytes_here(tensor).filter(|len| *len >= PAGE);
        let Some((name, len)) = data_file.zip(len) else { return Placed { tensor, apart: None } };
        let mut next = || {
            let offset = data_len.next_multiple_of(PAGE);
            data_len = offset + len;
            offset
        };
        let offset = match &tensor.raw_data {
            Some(raw) => *known.entry((raw.as_ptr(), len)).or_insert_with(next),
            None => next(),
        };
        let message = TensorProto {
            external_data: external_place(name, offset, len),
            data_location: Some(EXTERNAL),
            ..without_bytes(tensor)
        };
        Placed { tensor, apart: Some((message, offset)) }
    };
    let placed = graph.initializer.iter().map(&mut place).collect();
    (placed, data_len)
}

/// Bytes of the constant's elements, if they stand in its message; texts have no such form.
fn bytes_here(tensor: &TensorProto) -> Option<u64> {
    if tensor.is_external() || tensor.element() == Some(ElementType::Text) {
        return None;
    }
    tensor.raw_data.as_ref().map_or_else(|| tensor.byte_len(), |raw| Some(raw.len() as u64))
}

/// What a tensor's message says beside its elements.
fn without_bytes(tensor: &TensorProto) -> TensorProto {
    TensorProto {
        dims: tensor.dims.clone(),
        data_type: tensor.data_type,
        segment: tensor.segment.clone(),
        name: tensor.name.clone(),
        doc_string: tensor.doc_string.clone(),
        metadata_props: tensor.metadata_props.clone(),
        ..TensorProto::default()
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
    use prost::bytes::Bytes;

    use crate::graph::foreign::OnnxFile;
    use crate::graph::foreign::external::ExternalPlace;
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

    #[test]
    fn large_constants_lie_in_the_data_file_where_their_message_says() {
        let raw = Bytes::from((0..=u8::MAX).cycle().take(5_000).collect::<Vec<u8>>());
        let float = |name: &str, raw: &Bytes| {
            TensorProto::of_bytes(name, ElementType::Float, &[raw.len() as i64 / 4], raw.clone())
        };
        let typed = TensorProto {
            name: Some("typed".into()),
            dims: vec![2_000],
            data_type: Some(ElementType::Int64 as i32),
            int64_data: (0..2_000).collect(),
            ..TensorProto::default()
        };
        let text = TensorProto {
            name: Some("text".into()),
            dims: vec![1],
            data_type: Some(ElementType::Text as i32),
            string_data: vec![vec![b'a'; 5_000].into()],
            ..TensorProto::default()
        };
        let own = Bytes::from(raw.to_vec());
        let small = float("small", &raw.slice(..4_092));
        let tensors =
            vec![float("one", &raw), small.clone(), float("same", &raw), typed, text.clone(), float("own", &own)];
        let graph = GraphProto { initializer: tensors, ..GraphProto::default() };
        let folder = tempfile::tempdir().unwrap();
        let writer = ModelWriter::fitting(&ModelProto::default(), &graph, (20_000, folder.path())).unwrap();
        let data = writer.publish_data(folder.path()).unwrap().unwrap();
        let mut bytes = Vec::new();
        let hash = writer.write_graph(&mut bytes).unwrap();
        assert_eq!((bytes.len() as u64, hash), (writer.len(), blake3::hash(&bytes).to_hex().to_string()));
        let written = std::fs::read(folder.path().join(DATA_FILE)).unwrap();
        assert_eq!((data.bytes, data.hash), (written.len() as u64, blake3::hash(&written).to_hex().to_string()));
        // Shared bytes are written once, and each constant begins on a page.
        assert_eq!(data.bytes, 2 * 4_096 + 4 * 4_096 + 5_000);

        let path = folder.path().join(GRAPH_FILE);
        std::fs::write(&path, bytes).unwrap();
        let file = OnnxFile::open(&path).unwrap();
        let places: Vec<u64> = file
            .graph()
            .initializer
            .iter()
            .filter(|tensor| tensor.is_external())
            .map(|tensor| ExternalPlace::of(tensor).unwrap().offset)
            .collect();
        assert_eq!(places, [0, 0, 8_192, 24_576]);
        assert_eq!((&file.graph().initializer[1], &file.graph().initializer[4]), (&small, &text));
        for (tensor, expected) in
            file.graph().initializer.iter().zip(&graph.initializer).filter(|(got, _)| got.is_external())
        {
            let expected = expected.raw_data.clone().unwrap_or_else(|| expected.typed_bytes().into());
            assert_eq!(file.tensor_bytes(tensor).unwrap(), expected, "{:?}", tensor.name);
        }
    }
}
