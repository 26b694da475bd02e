//! The constants of a graph: small ones held as bytes, weights held as a place in the checkpoint and read when the file
//! is written, one at a time. Owns the forms in which a stored tensor enters the graph (transposed, scaled, summed).

use crate::model::{self, Tensor};

use super::onnx::ElementType;

/// A named constant (an ONNX initializer).
#[derive(Debug)]
pub(super) struct Constant<'a> {
    pub name: String,
    pub element: ElementType,
    pub shape: Vec<usize>,
    pub values: Values<'a>,
}

/// Where a constant's values come from.
#[derive(Debug)]
pub(super) enum Values<'a> {
    /// Little-endian bytes.
    Bytes(Vec<u8>),
    /// A tensor as it is stored, each value times `scale`.
    Stored { tensor: Tensor<'a>, scale: f32 },
    /// A matrix stored as [out, in], written as [in, out], each value times `scale`.
    Transposed { tensor: Tensor<'a>, scale: f32 },
    /// A matrix with the first row of another added to each of its rows.
    PlusFirstRow { table: Tensor<'a>, other: Tensor<'a> },
}

impl Constant<'_> {
    /// Bytes that the values take.
    pub(super) fn byte_len(&self) -> u64 {
        let width: u64 = match self.element {
            ElementType::Float => 4,
            ElementType::Int64 | ElementType::Double => 8,
        };
        self.shape.iter().map(|size| *size as u64).product::<u64>() * width
    }

    /// Replaces `bytes` by the values, little-endian. `scratch` is memory to be used again.
    pub(super) fn fill(&self, bytes: &mut Vec<u8>, scratch: &mut Vec<f32>) -> Result<(), model::Error> {
        bytes.clear();
        match &self.values {
            Values::Bytes(own) => bytes.extend_from_slice(own),
            Values::Stored { tensor, scale } => {
                tensor.read(scratch)?;
                bytes.extend(scratch.iter().flat_map(|value| (value * scale).to_le_bytes()));
            }
            Values::Transposed { tensor, scale } => {
                tensor.read(scratch)?;
                let columns = tensor.shape()[1];
                for column in 0..columns {
                    let values = scratch.iter().skip(column).step_by(columns);
                    bytes.extend(values.flat_map(|value| (value * scale).to_le_bytes()));
                }
            }
            Values::PlusFirstRow { table, other } => {
                other.read(scratch)?;
                let row = scratch[..table.shape()[1]].to_vec();
                table.read(scratch)?;
                let sums = scratch.chunks_exact(row.len()).flat_map(|values| values.iter().zip(&row));
                bytes.extend(sums.flat_map(|(value, added)| (value + added).to_le_bytes()));
            }
        }
        Ok(())
    }
}
