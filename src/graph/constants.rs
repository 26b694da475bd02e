//! The constants of a graph: small ones held as bytes, weights held as a place in the checkpoint and streamed into the
//! file in blocks, so that memory does not grow with a table. Owns the forms in which a stored tensor enters the graph.

use std::io;
use std::ops::Range;

use half::f16;

use crate::model::{self, LowRank, Tensor};

use super::onnx::ElementType;
use super::quantize::Integers;

/// Numbers that are held at a time.
const BLOCK: usize = 1 << 18;

/// A named constant (an ONNX initializer). Where `element` is `Float16`, the values are f32 and rounded as they are
/// written.
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
    /// The rows of several matrices of the same width as one, transposed; rows of zeros behind those of each fill up to a
    /// number.
    TransposedRows(Vec<(Tensor<'a>, usize)>),
    /// A matrix stored as [out, in] plus `change`, written as [in, out], each value times `scale`.
    Merged { tensor: Tensor<'a>, change: LowRank<'a>, scale: f32 },
    /// Several, one behind the other.
    InTurn(Vec<Part<'a>>),
    /// A matrix with the first row of another added to each of its rows.
    PlusFirstRow { table: Tensor<'a>, other: Tensor<'a> },
    /// A matrix [buckets, heads], written as [heads, distances]: at each distance the row of its bucket.
    ByDistance { table: Tensor<'a>, distances: usize, bucket: fn(i64) -> usize },
    /// A matrix as integers.
    Integers(Box<Integers<'a>>),
    /// Numbers that no tensor holds.
    Computed(Box<dyn Computed>),
}

/// One of several tensors that make up a constant.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// A tensor as it is stored, each value times `scale`.
    Stored { tensor: Tensor<'a>, scale: f32 },
    /// A matrix stored as [out, in], written as [in, out], each value times `scale`.
    Transposed { tensor: Tensor<'a>, scale: f32 },
    /// So many times the same.
    Filled { count: usize, value: f32 },
}

/// Numbers of which each is computed from its place.
pub(super) trait Computed: std::fmt::Debug {
    /// The number in that place, counted row by row.
    fn value(&self, index: usize) -> f32;
}

/// What stopped the writing.
#[derive(Debug)]
pub(super) enum Problem {
    Weights(model::Error),
    Io(io::Error),
    /// A number that f16 can't hold.
    BeyondHalf {
        tensor: String,
        value: f32,
    },
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<model::Error> for Problem {
    fn from(error: model::Error) -> Self {
        Self::Weights(error)
    }
}

/// Takes bytes of the file, in their order.
pub(super) type Put<'p> = dyn FnMut(&[u8]) -> io::Result<()> + 'p;

/// Memory that is used again for each block.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    values: Vec<f32>,
    bytes: Vec<u8>,
}

impl Constant<'_> {
    /// Bytes that the values take.
    pub(super) fn byte_len(&self) -> u64 {
        let bits = self.element.bits().map_or(0, u64::from);
        self.shape.iter().map(|size| *size as u64).product::<u64>() * bits / 8
    }

    /// Hands out the values, little-endian, in blocks.
    pub(super) fn stream(&self, scratch: &mut Scratch, put: &mut Put<'_>) -> Result<(), Problem> {
        if self.element != ElementType::Float16 {
            return self.stream_values(scratch, put);
        }
        let (mut halves, mut beyond) = (Vec::new(), None);
        let mut put = |floats: &[u8]| {
            halves.clear();
            for float in floats.chunks_exact(size_of::<f32>()) {
                let value = f32::from_le_bytes(float.try_into().expect("four bytes are an f32"));
                if value.abs() > f32::from(f16::MAX) {
                    beyond = Some(value);
                    return Err(io::ErrorKind::InvalidData.into());
                }
                halves.extend(f16::from_f32(value).to_le_bytes());
            }
            put(&halves)
        };
        let streamed = self.stream_values(scratch, &mut put);
        beyond.map_or(streamed, |value| Err(Problem::BeyondHalf { tensor: self.name.clone(), value }))
    }

    /// Hands out the values as they are held, whatever `element` says.
    fn stream_values(&self, scratch: &mut Scratch, put: &mut Put<'_>) -> Result<(), Problem> {
        match &self.values {
            Values::Bytes(own) => Ok(put(own)?),
            Values::Stored { tensor, scale } => stored(*tensor, *scale, scratch, put),
            Values::Transposed { tensor, scale } => one_transposed(*tensor, *scale, scratch, put),
            Values::TransposedRows(tensors) => rows_transposed(tensors, scratch, put),
            Values::Merged { tensor, change, scale } => merged_transposed((*tensor, change, *scale), scratch, put),
            Values::InTurn(parts) => parts.iter().try_for_each(|part| match part {
                Part::Stored { tensor, scale } => stored(*tensor, *scale, scratch, put),
                Part::Transposed { tensor, scale } => one_transposed(*tensor, *scale, scratch, put),
                Part::Filled { count, value } => Ok(put(&value.to_le_bytes().repeat(*count))?),
            }),
            Values::PlusFirstRow { table, other } => {
                let width = table.shape()[1];
                other.read(0..width, &mut scratch.values)?;
                let row = scratch.values.clone();
                let block = (BLOCK / width).max(1) * width;
                for start in (0..table.count()).step_by(block) {
                    table.read(start..(start + block).min(table.count()), &mut scratch.values)?;
                    scratch.put(|value, index| value + row[index % width], put)?;
                }
                Ok(())
            }
            Values::Integers(matrix) => matrix.stream(put),
            Values::ByDistance { table, distances, bucket } => by_distance(*table, (*distances, *bucket), scratch, put),
            Values::Computed(numbers) => {
                let count = self.shape.iter().product::<usize>();
                for start in (0..count).step_by(BLOCK) {
                    scratch.values.clear();
                    scratch.values.extend((start..(start + BLOCK).min(count)).map(|index| numbers.value(index)));
                    scratch.put(|value, _| value, put)?;
                }
                Ok(())
            }
        }
    }
}

impl Scratch {
    /// Hands out all values, each changed by `change`, which also gets its place among them.
    fn put(&mut self, change: impl Fn(f32, usize) -> f32, put: &mut Put<'_>) -> io::Result<()> {
        self.bytes.clear();
        let values = self.values.iter().enumerate();
        self.bytes.extend(values.flat_map(|(index, value)| change(*value, index).to_le_bytes()));
        put(&self.bytes)
    }
}

fn stored(tensor: Tensor<'_>, scale: f32, scratch: &mut Scratch, put: &mut Put<'_>) -> Result<(), Problem> {
    for start in (0..tensor.count()).step_by(BLOCK) {
        tensor.read(start..(start + BLOCK).min(tensor.count()), &mut scratch.values)?;
        scratch.put(|value, _| value * scale, put)?;
    }
    Ok(())
}

/// Reads some numbers of a row.
type ReadRow<'r> = dyn FnMut(usize, Range<usize>, &mut Vec<f32>) -> Result<(), Problem> + 'r;

/// A block of columns at a time, each row's part of it read once.
fn transposed(
    [rows, columns]: [usize; 2],
    read: &mut ReadRow<'_>,
    scratch: &mut Scratch,
    put: &mut Put<'_>,
) -> Result<(), Problem> {
    let width = (BLOCK / rows).clamp(1, columns);
    let mut block = Vec::new();
    for start in (0..columns).step_by(width) {
        let width = width.min(columns - start);
        block.clear();
        block.resize(width * rows, 0.0_f32);
        for row in 0..rows {
            read(row, start..start + width, &mut scratch.values)?;
            for (column, value) in scratch.values.iter().enumerate() {
                block[column * rows + row] = *value;
            }
        }
        std::mem::swap(&mut scratch.values, &mut block);
        scratch.put(|value, _| value, put)?;
        std::mem::swap(&mut scratch.values, &mut block);
    }
    Ok(())
}

/// One matrix, each value times `scale`.
fn one_transposed(tensor: Tensor<'_>, scale: f32, scratch: &mut Scratch, put: &mut Put<'_>) -> Result<(), Problem> {
    let [rows, columns] = sizes(tensor);
    let mut read = |row, part: Range<usize>, values: &mut Vec<f32>| {
        read_row(tensor, row, part, values)?;
        values.iter_mut().for_each(|value| *value *= scale);
        Ok(())
    };
    transposed([rows, columns], &mut read, scratch, put)
}

/// The rows of several matrices of the same width as those of one.
fn rows_transposed(tensors: &[(Tensor<'_>, usize)], scratch: &mut Scratch, put: &mut Put<'_>) -> Result<(), Problem> {
    let rows: Vec<(Tensor<'_>, usize)> =
        tensors.iter().flat_map(|(tensor, count)| (0..*count).map(|row| (*tensor, row))).collect();
    let columns = tensors.first().map_or(0, |(tensor, _)| sizes(*tensor)[1]);
    let mut read = |row: usize, part: Range<usize>, values: &mut Vec<f32>| {
        let (tensor, row) = rows[row];
        if row < sizes(tensor)[0] {
            return read_row(tensor, row, part, values);
        }
        values.clear();
        values.resize(part.len(), 0.0);
        Ok(())
    };
    transposed([rows.len(), columns], &mut read, scratch, put)
}

/// A matrix plus a product of two narrow ones, which are held whole; each sum is made in f64 and rounded once.
fn merged_transposed(
    (tensor, change, scale): (Tensor<'_>, &LowRank<'_>, f32),
    scratch: &mut Scratch,
    put: &mut Put<'_>,
) -> Result<(), Problem> {
    let ([rows, columns], rank) = (sizes(tensor), sizes(change.down)[0]);
    let (mut down, mut up) = (Vec::new(), Vec::new());
    change.down.read(0..change.down.count(), &mut down)?;
    change.up.read(0..change.up.count(), &mut up)?;
    let mut read = |row: usize, part: Range<usize>, values: &mut Vec<f32>| {
        read_row(tensor, row, part.clone(), values)?;
        let factors = &up[row * rank..(row + 1) * rank];
        for (column, value) in part.zip(values) {
            let terms =
                factors.iter().enumerate().map(|(at, up)| f64::from(*up) * f64::from(down[at * columns + column]));
            *value = ((f64::from(*value) + change.scale * terms.sum::<f64>()) as f32) * scale;
        }
        Ok(())
    };
    transposed([rows, columns], &mut read, scratch, put)
}

fn read_row(tensor: Tensor<'_>, row: usize, part: Range<usize>, values: &mut Vec<f32>) -> Result<(), Problem> {
    let at = row * sizes(tensor)[1];
    Ok(tensor.read(at + part.start..at + part.end, values)?)
}

/// Rows and columns of a matrix.
fn sizes(tensor: Tensor<'_>) -> [usize; 2] {
    let shape = tensor.shape();
    [shape[0], shape[1]]
}

/// Distances run from 1 − n to n − 1, with n the longest input.
fn by_distance(
    table: Tensor<'_>,
    (distances, bucket): (usize, fn(i64) -> usize),
    scratch: &mut Scratch,
    put: &mut Put<'_>,
) -> Result<(), Problem> {
    let heads = table.shape()[1];
    let mut values = Vec::new();
    table.read(0..table.count(), &mut values)?;
    let first = -((distances / 2) as i64);
    for head in 0..heads {
        for start in (0..distances).step_by(BLOCK) {
            let block = start..(start + BLOCK).min(distances);
            scratch.values.clear();
            scratch.values.extend(block.map(|at| values[bucket(first + at as i64) * heads + head]));
            scratch.put(|value, _| value, put)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(values: &[f32]) -> Result<Vec<u16>, Problem> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let constant = Constant {
            name: "w".to_owned(),
            element: ElementType::Float16,
            shape: vec![values.len()],
            values: Values::Bytes(bytes),
        };
        let mut written = Vec::new();
        constant.stream(&mut Scratch::default(), &mut |bytes| {
            written.extend(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])));
            Ok(())
        })?;
        assert_eq!(constant.byte_len(), 2 * written.len() as u64);
        Ok(written)
    }

    #[test]
    fn halves_are_those_of_numpy() {
        // np.array([..], np.float32).astype(np.float16).view(np.uint16)
        let pairs: [(f32, u16); 13] = [
            (1.0 / 3.0, 0x3555),
            (-0.1, 0xae66),
            (65504.0, 0x7bff),
            (65503.9, 0x7bff),
            (1e-8, 0x0),
            (3e-8, 0x1),
            (6e-8, 0x1),
            (6.1e-5, 0x3ff),
            (1.0 + 1.0 / 2048.0, 0x3c00),
            (1.0 + 3.0 / 2048.0, 0x3c02),
            (2049.0, 0x6800),
            (2051.0, 0x6802),
            (-1e-7, 0x8002),
        ];
        let (values, expected): (Vec<f32>, Vec<u16>) = pairs.into_iter().unzip();
        assert_eq!(halves(&values).unwrap(), expected);
    }

    #[test]
    fn a_number_beyond_half_precision_is_named_with_its_constant() {
        let next = f32::from_bits(65504.0_f32.to_bits() + 1);
        for value in [next, -1e9, f32::INFINITY] {
            let problem = halves(&[1.0, value, 2e9]).unwrap_err();
            assert!(matches!(problem, Problem::BeyondHalf { tensor, value: got } if tensor == "w" && got == value));
        }
    }
}
