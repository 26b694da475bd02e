//! A graph of products of square matrices and nothing else: what a machine can do at most through the same library.
//! Its input is one number and so is its output, so that a device spends no time on copies. Knows no encoder.

use std::path::Path;

use half::f16;
use prost::Message;
use prost::bytes::Bytes;

use super::Error;
use super::onnx::{
    AttributeProto, Dimension, ElementType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    ValueInfoProto,
};

/// The operator set, and the version of the file format that came with it.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;

/// The graph's input: one f32, with which the first matrix is filled.
const GEMM_INPUT: &str = "x";
/// The graph's output: one f32.
const GEMM_OUTPUT: &str = "y";

/// Products of `size` × `size` matrices with a constant one, `depth` of them one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GemmChain {
    /// Rows and columns.
    pub size: usize,
    /// Products.
    pub depth: usize,
    /// Whether they are computed in fp16 instead of fp32.
    pub half: bool,
}

impl GemmChain {
    /// Floating-point operations of a run; a multiplication and an addition are two.
    pub fn flops(&self) -> f64 {
        2.0 * (self.size as f64).powi(3) * self.depth as f64
    }

    /// Writes the graph. The constant matrix keeps the size of numbers, so that nothing overflows or becomes denormal.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let bytes = self.model().encode_to_vec();
        std::fs::write(path, bytes).map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    fn model(&self) -> ModelProto {
        let size = self.size as i64;
        let element = if self.half { ElementType::Float16 } else { ElementType::Float };
        let shape = [size, size].map(i64::to_le_bytes).concat();
        let constants = vec![
            TensorProto::of_bytes("shape", ElementType::Int64, &[2], Bytes::from(shape)),
            TensorProto::of_bytes("w", element, &[size, size], Bytes::from(self.weights())),
        ];
        let mut nodes = vec![NodeProto::new("Expand", &[GEMM_INPUT, "shape"], "filled", Vec::new())];
        let cast = |from: &str, to: &str, element: ElementType| {
            NodeProto::new("Cast", &[from], to, vec![AttributeProto::int("to", element as i64)])
        };
        nodes.push(cast("filled", "product.0", element));
        for product in 0..self.depth {
            let (from, to) = (format!("product.{product}"), format!("product.{}", product + 1));
            nodes.push(NodeProto::new("MatMul", &[&from, "w"], &to, Vec::new()));
        }
        nodes.push(cast(&format!("product.{}", self.depth), "last", ElementType::Float));
        nodes.push(NodeProto::new("ReduceMax", &["last"], GEMM_OUTPUT, vec![AttributeProto::int("keepdims", 0)]));
        let graph = GraphProto {
            node: nodes,
            name: Some("gemm".to_owned()),
            initializer: constants,
            input: vec![ValueInfoProto::tensor(GEMM_INPUT, ElementType::Float, vec![Dimension::Fixed(1)])],
            output: vec![ValueInfoProto::tensor(GEMM_OUTPUT, ElementType::Float, Vec::new())],
            ..GraphProto::default()
        };
        let opset = OperatorSetIdProto { domain: None, version: Some(OPSET) };
        ModelProto {
            ir_version: Some(IR_VERSION),
            graph: Some(graph),
            opset_import: vec![opset],
            ..ModelProto::default()
        }
    }

    /// Pseudo-random numbers of variance 1 / size, the same in every file.
    fn weights(&self) -> Vec<u8> {
        let reach = (3.0 / self.size as f32).sqrt();
        let mut state = 1_u32;
        let mut bytes = Vec::with_capacity(self.size * self.size * if self.half { 2 } else { 4 });
        for _ in 0..self.size * self.size {
            // The constants of Numerical Recipes' quick generator; only the upper bits are used.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = ((state >> 8) as f32 / (1_u32 << 23) as f32 - 1.0) * reach;
            match self.half {
                true => bytes.extend(f16::from_f32(value).to_le_bytes()),
                false => bytes.extend(value.to_le_bytes()),
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::foreign::OnnxFile;
    use crate::graph::{InspectOptions, inspect};

    #[test]
    fn the_graph_is_as_large_as_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gemm.onnx");
        for half in [false, true] {
            let chain = GemmChain { size: 8, depth: 3, half };
            chain.write(&path).unwrap();
            let inspection = inspect(&OnnxFile::open(&path).unwrap(), &InspectOptions::default());
            let products = inspection.operators.iter().find(|operator| operator.operator == "MatMul").unwrap();
            assert_eq!((products.count, inspection.parameters), (3, 64));
            assert_eq!(inspection.cost.lengths[0].total as f64, chain.flops());
        }
        assert_eq!(GemmChain { size: 1_000, depth: 4, half: false }.flops(), 8e9);
        let error = GemmChain { size: 1, depth: 1, half: false }.write(folder.path()).unwrap_err();
        assert!(error.to_string().starts_with("could not write `"), "{error}");
    }
}
