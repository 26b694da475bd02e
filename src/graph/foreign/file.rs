//! An opened ONNX file: mapped, looked over, decoded. Weights stay in the map. Owns the way to a tensor's bytes,
//! wherever they lie.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use prost::Message;
use prost::bytes::Bytes;

use super::external::{ExternalFiles, ExternalPlace};
use super::scan::{self, Problem};
use super::{Error, OtherFile};
use crate::graph::onnx::{ElementType, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

/// An ONNX file of any origin, decoded.
#[derive(Debug)]
pub struct OnnxFile {
    path: PathBuf,
    bytes: Bytes,
    model: ModelProto,
    external: ExternalFiles,
}

impl OnnxFile {
    /// Maps the file, checks lengths, nesting and counts, and decodes it; weights are not copied. The file must not be
    /// shortened while it is open.
    ///
    /// # Errors
    /// A file that can't be read, that is no whole ONNX model, or that would take far more memory than it has bytes.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = map(path)?;
        scan::scan(&bytes).map_err(|problem| match problem {
            Problem::Form(problem) => match OtherFile::of(&bytes) {
                Some(seems) => Error::OtherFile { path: path.to_owned(), seems },
                None => Error::NotOnnx { path: path.to_owned(), problem },
            },
            Problem::Limit { what, limit } => Error::Limit { path: path.to_owned(), what, limit },
        })?;
        let model =
            ModelProto::decode(bytes.clone()).map_err(|source| Error::Decode { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), bytes, model, external: ExternalFiles::beside(path) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything in it.
    pub(crate) fn model(&self) -> &ModelProto {
        &self.model
    }

    /// Its graph.
    pub(crate) fn graph(&self) -> &GraphProto {
        self.model.graph.as_ref().expect("a file without a graph was refused when it was opened")
    }

    /// The elements of one of its tensors, little-endian, without a copy where they lie so in a file.
    ///
    /// # Errors
    /// Bytes that don't fit shape and type, or that lie outside of the file's folder; texts, which have no such form.
    pub(crate) fn tensor_bytes(&self, tensor: &TensorProto) -> Result<Bytes, Error> {
        let wrong = |problem: String| self.wrong(tensor, problem);
        let shape = || format!("{:?} of {}", tensor.dims, element_name(tensor));
        let expected = tensor.byte_len().ok_or_else(|| wrong(format!("has shape {}, which has no size", shape())))?;
        let bytes = if tensor.is_external() {
            self.external.bytes_of(tensor, expected).map_err(wrong)?
        } else if let Some(raw) = &tensor.raw_data {
            raw.clone()
        } else {
            Bytes::from(tensor.typed_bytes())
        };
        if bytes.len() as u64 != expected {
            return Err(wrong(format!("has shape {} but {} bytes, expected {expected}", shape(), bytes.len())));
        }
        Ok(bytes)
    }

    /// Its graph with every constant in it, those of other files too, each compared with its type and shape. Nothing is
    /// copied: bytes stay where they are mapped.
    ///
    /// # Errors
    /// As [`OnnxFile::tensor_bytes`]; ranges of other files that overlap; weights of other files inside of nodes.
    pub(crate) fn with_weights(&self) -> Result<GraphProto, Error> {
        let mut graph = self.graph().clone();
        self.check_ranges(&graph)?;
        let model = self.model();
        let functions = model.functions.iter().flat_map(|function| &function.node);
        let hidden = graph.node.iter().chain(functions).find_map(external_in_node);
        let sparse = graph.sparse_initializer.iter().find_map(external_in_sparse);
        if let Some(tensor) = hidden.or(sparse) {
            return Err(
                self.wrong(tensor, "lies in another file, though it is no plain constant of the graph".to_owned())
            );
        }
        for tensor in &mut graph.initializer {
            if tensor.element() == Some(ElementType::Text) && !tensor.is_external() {
                continue;
            }
            let bytes = self.tensor_bytes(tensor)?;
            if tensor.is_external() {
                tensor.raw_data = Some(bytes);
                tensor.data_location = None;
                tensor.external_data.clear();
            }
        }
        Ok(graph)
    }

    /// Two constants may share their bytes, but not a part of them.
    fn check_ranges(&self, graph: &GraphProto) -> Result<(), Error> {
        let mut ranges = Vec::new();
        // The system is asked once for each name.
        let mut files: HashMap<String, PathBuf> = HashMap::new();
        for tensor in graph.initializer.iter().filter(|tensor| tensor.is_external()) {
            let place = ExternalPlace::of(tensor).map_err(|problem| self.wrong(tensor, problem))?;
            let length = place.length.or(tensor.byte_len()).unwrap_or(0);
            let file = files.entry(place.file()).or_insert_with(|| self.external.identity(&place)).clone();
            ranges.push(((file, place.offset, place.offset.saturating_add(length)), place.location, tensor));
        }
        ranges.sort_by(|one, other| one.0.cmp(&other.0));
        for pair in ranges.windows(2) {
            let [((file, start, end), _, before), ((other, begin, stop), location, tensor)] = [&pair[0], &pair[1]];
            if file == other && begin < end && (start, end) != (begin, stop) {
                let name = before.name.as_deref().unwrap_or_default();
                let problem = format!("begins at byte {begin} of `{location}`, inside `{name}`, which ends at {end}");
                return Err(self.wrong(tensor, problem));
            }
        }
        Ok(())
    }

    /// BLAKE3 of the whole file, in hex; with weights in other files, the BLAKE3 of theirs in the order of their names.
    pub fn hash(&self) -> String {
        let hash = |bytes: &Bytes| blake3::hash(bytes).to_hex().to_string();
        let others = self.external.opened();
        if others.is_empty() {
            return hash(&self.bytes);
        }
        let all: String = std::iter::once(&self.bytes).chain(&others).map(hash).collect();
        blake3::hash(all.as_bytes()).to_hex().to_string()
    }

    fn wrong(&self, tensor: &TensorProto, problem: String) -> Error {
        Error::Tensor { path: self.path.clone(), tensor: tensor.name.clone().unwrap_or_default(), problem }
    }
}

fn element_name(tensor: &TensorProto) -> String {
    tensor.element().map_or_else(|| format!("type {}", tensor.data_type.unwrap_or_default()), |kind| kind.to_string())
}

/// A file as bytes that are read when they are used.
pub(super) fn map(path: &Path) -> Result<Bytes, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    if file.metadata().map_err(read)?.is_dir() {
        return Err(read(std::io::ErrorKind::IsADirectory.into()));
    }
    #[expect(unsafe_code, reason = "the map is read only; a file that shrinks under it is outside the contract")]
    let map = unsafe { Mmap::map(&file) }.map_err(read)?;
    Ok(Bytes::from_owner(map))
}

/// A tensor inside of a node, or of the graphs in it, whose values lie in another file.
fn external_in_node(node: &NodeProto) -> Option<&TensorProto> {
    let mut own =
        node.attribute.iter().flat_map(|attribute| attribute.t.as_deref().into_iter().chain(&attribute.tensors));
    let mut sparse = node
        .attribute
        .iter()
        .flat_map(|attribute| attribute.sparse_tensor.as_deref().into_iter().chain(&attribute.sparse_tensors));
    own.find(|tensor| tensor.is_external())
        .or_else(|| sparse.find_map(external_in_sparse))
        .or_else(|| node.subgraphs().find_map(external_in_graph))
}

/// The same in a graph inside of a node, its constants included.
fn external_in_graph(graph: &GraphProto) -> Option<&TensorProto> {
    let dense = graph.initializer.iter().find(|tensor| tensor.is_external());
    let sparse = || graph.sparse_initializer.iter().find_map(external_in_sparse);
    dense.or_else(sparse).or_else(|| graph.node.iter().find_map(external_in_node))
}

fn external_in_sparse(tensor: &SparseTensorProto) -> Option<&TensorProto> {
    tensor.values.iter().chain(&tensor.indices).find(|tensor| tensor.is_external())
}
