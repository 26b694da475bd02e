//! The large constants of an ONNX file, where they lie: what all sessions of one graph can be given instead of a copy
//! each. Copies nothing but constants that a file spells out number by number; small ones are left where they are.

use std::collections::HashSet;
use std::path::Path;

use prost::bytes::Bytes;

use super::error::Error;
use super::foreign::OnnxFile;
use super::onnx::{ElementType, TensorProto};

/// Constants below this many bytes are not worth sharing: all of MiniLM's together are 300 KiB.
const LEAST: u64 = 64 << 10;

/// A constant of a graph.
#[derive(Debug, Clone)]
pub(crate) struct LargeWeight {
    /// Its name in the graph.
    pub name: String,
    /// Its sizes, all of them known.
    pub shape: Vec<i64>,
    /// What it holds.
    pub element: ElementType,
    /// Its elements, little-endian, row-major; at any address.
    pub bytes: Bytes,
}

/// The floats and bytes of a graph that take 64 KiB or more, in the order of the file. A constant that is an input as
/// well is none: whoever runs the graph may replace it.
///
/// # Errors
/// A file that cannot be read or is no ONNX model; a constant whose bytes don't fit its shape.
pub(crate) fn large_weights(path: &Path) -> Result<Vec<LargeWeight>, Error> {
    let file = OnnxFile::open(path)?;
    let graph = file.graph();
    let inputs: HashSet<&str> = graph.input.iter().filter_map(|input| input.name.as_deref()).collect();
    let mut weights = Vec::new();
    for tensor in &graph.initializer {
        let Some(name) = tensor.name.as_deref().filter(|name| !name.is_empty() && !inputs.contains(name)) else {
            continue;
        };
        let Some(element) = large(tensor) else { continue };
        let bytes = file.tensor_bytes(tensor)?;
        weights.push(LargeWeight { name: name.to_owned(), shape: tensor.dims.clone(), element, bytes });
    }
    Ok(weights)
}

/// What a constant holds, if it is large enough and of a type that kernels pack.
fn large(tensor: &TensorProto) -> Option<ElementType> {
    use ElementType::{Float, Float16, Int8, Uint8};
    let element = tensor.element().filter(|element| matches!(element, Float | Float16 | Int8 | Uint8))?;
    tensor.byte_len().filter(|&bytes| bytes >= LEAST).map(|_| element)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::graph::onnx::{GraphProto, ModelProto, ValueInfoProto};

    fn tensor(name: &str, element: ElementType, dims: &[i64]) -> TensorProto {
        let mut tensor = TensorProto::of_bytes(name, element, dims, Bytes::new());
        let bytes: Vec<u8> = (0..tensor.byte_len().unwrap()).map(|byte| (byte % 251) as u8).collect();
        tensor.raw_data = Some(bytes.into());
        tensor
    }

    #[test]
    fn large_floats_and_bytes_are_found_where_they_lie() {
        let initializer = vec![
            tensor("matrix", ElementType::Float, &[128, 128]),
            tensor("bias", ElementType::Float, &[128]),
            tensor("bytes", ElementType::Int8, &[256, 256]),
            tensor("places", ElementType::Int64, &[128, 128]),
            tensor("input", ElementType::Float, &[128, 128]),
        ];
        let input = vec![ValueInfoProto { name: Some("input".to_owned()), ..ValueInfoProto::default() }];
        let graph = GraphProto { initializer: initializer.clone(), input, ..GraphProto::default() };
        let model = ModelProto { ir_version: Some(9), graph: Some(graph), ..ModelProto::default() };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        let weights = large_weights(&path).unwrap();
        let names: Vec<&str> = weights.iter().map(|weight| weight.name.as_str()).collect();
        assert_eq!(names, ["matrix", "bytes"]);
        assert_eq!((&weights[0].shape[..], weights[0].element), (&[128, 128][..], ElementType::Float));
        assert_eq!(Some(&weights[0].bytes), initializer[0].raw_data.as_ref());
        assert_eq!(Some(&weights[1].bytes), initializer[2].raw_data.as_ref());
    }

    #[test]
    fn a_file_that_is_no_model_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, b"no model").unwrap();
        assert!(large_weights(&path).is_err());
        assert!(large_weights(&folder.path().join("nowhere.onnx")).is_err());
    }
}
