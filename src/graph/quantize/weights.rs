//! A matrix as integers: one scale for each column, the nearest integer for each number, and the bias that makes up for what
//! is known of the difference. Reads a matrix in blocks, three times in all. Invariant: the integers that are written are
//! those that the bias was made for.

use super::super::constants::{Constant, Problem, Put, Scratch};
use super::super::onnx::ElementType;
use super::plan::MatrixPlan;

/// A matrix [inputs, outputs] of f32 that is written as integers of 8 bits.
#[derive(Debug)]
pub(in crate::graph) struct Integers<'a> {
    matrix: Constant<'a>,
    /// What each row is multiplied with; empty: nothing.
    rows: Vec<f32>,
    /// What an integer of each column stands for.
    columns: Vec<f32>,
    largest: f32,
    /// What is added to an integer when it is written, as u8 then; `None`: i8.
    zero: Option<u8>,
}

impl<'a> Integers<'a> {
    /// Finds the scales of the columns: the largest number of each becomes `largest`.
    pub(super) fn new(
        matrix: Constant<'a>,
        rows: Vec<f32>,
        (largest, zero): (f32, Option<u8>),
    ) -> Result<Self, Problem> {
        let columns = vec![0.0_f32; matrix.shape[1]];
        let mut integers = Self { matrix, rows, columns, largest, zero };
        let mut peaks = integers.columns.clone();
        integers.walk(|(_, column), value| peaks[column] = peaks[column].max(value.abs()))?;
        // A column of zeros stays one.
        integers.columns = peaks.iter().map(|peak| if *peak > 0.0 { peak / largest } else { 1.0 }).collect();
        Ok(integers)
    }

    /// The type that they are written in.
    pub(super) fn element(&self) -> ElementType {
        if self.zero.is_some() { ElementType::Uint8 } else { ElementType::Int8 }
    }

    /// What an integer of each column stands for, [outputs].
    pub(super) fn columns(&self) -> &[f32] {
        &self.columns
    }

    /// What is added to the bias: the product of the plan's shift and the matrix, and the product of the mean that is left
    /// behind shift and scale and what rounding takes from the matrix. `None` if that is nothing.
    pub(super) fn added(&self, plan: &MatrixPlan) -> Result<Option<Vec<f64>>, Problem> {
        if plan.shift.is_empty() && plan.mean.is_empty() {
            return Ok(None);
        }
        let at = |values: &[f32], row: usize, other: f64| values.get(row).map_or(other, |value| f64::from(*value));
        let mut added = vec![0.0_f64; self.columns.len()];
        self.walk(|(row, column), value| {
            let (shift, scale) = (at(&plan.shift, row, 0.0), at(&plan.scale, row, 1.0));
            let left = (at(&plan.mean, row, shift) - shift) / scale;
            let lost = f64::from(value) - f64::from(self.integer(column, value)) * f64::from(self.columns[column]);
            added[column] += f64::from(value) * shift / scale + left * lost;
        })?;
        Ok(Some(added))
    }

    /// Hands out the integers, row by row.
    pub(in crate::graph) fn stream(&self, put: &mut Put<'_>) -> Result<(), Problem> {
        let (mut block, mut at) = (Vec::new(), 0);
        self.matrix.stream(&mut Scratch::default(), &mut |bytes| {
            block.clear();
            for value in floats(bytes) {
                let (row, column) = (at / self.columns.len(), at % self.columns.len());
                let integer = self.integer(column, self.scaled(row, value)) as i16;
                block.push((integer + i16::from(self.zero.unwrap_or(0))) as u8);
                at += 1;
            }
            put(&block)
        })
    }

    /// Visits the numbers of the matrix as they are behind the scales of the rows.
    fn walk(&self, mut visit: impl FnMut((usize, usize), f32)) -> Result<(), Problem> {
        let (width, mut at) = (self.matrix.shape[1], 0);
        self.matrix.stream(&mut Scratch::default(), &mut |bytes| {
            for value in floats(bytes) {
                let row = at / width;
                visit((row, at % width), self.scaled(row, value));
                at += 1;
            }
            Ok(())
        })
    }

    fn scaled(&self, row: usize, value: f32) -> f32 {
        self.rows.get(row).map_or(value, |scale| value * scale)
    }

    fn integer(&self, column: usize, value: f32) -> f32 {
        (value / self.columns[column]).round_ties_even().clamp(-self.largest, self.largest)
    }
}

/// The numbers of a block, in which none is cut in two.
pub(super) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}
