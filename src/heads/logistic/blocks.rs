//! Blocks of rows in the coordinates of the frame, padded with zeros to whole blocks and registers: made for each pass
//! anew, or kept for all of them.
//!
//! Knows no weights, no targets and no coefficients. Invariant: a kept block has the bits that one made anew has.

use std::any::Any;
use std::ops::Range;

use rayon::prelude::*;

use super::super::rows::Rows;
use super::objective::Frame;
use super::products::BLOCK;
use crate::heads::lanes::Number;

/// Bytes of blocks that are kept, beside the rows themselves. Passes of few columns save a third of their time; larger sets
/// do not stay in any cache, so that reading blocks takes the time that making them does.
const KEPT: usize = 64 << 20;

/// All rows for passes in f32.
#[derive(Debug)]
pub(super) struct KeptBlocks {
    values: Vec<f32>,
    width: usize,
}

impl KeptBlocks {
    /// `None` where they would take more than [`KEPT`] bytes.
    pub fn of(rows: &dyn Rows, frame: &Frame) -> Option<Self> {
        let filler = Filler::new(frame);
        let (width, count) = (filler.width, rows.count());
        let size = count.next_multiple_of(BLOCK) * width;
        if size * size_of::<f32>() > KEPT {
            return None;
        }
        let mut values = vec![0.0; size];
        values.par_chunks_exact_mut(BLOCK * width).enumerate().for_each(|(block, out)| {
            let start = block * BLOCK;
            filler.fill_into(out, rows, start..(start + BLOCK).min(count));
        });
        Some(Self { values, width })
    }

    /// The block that begins with the row `start`, for passes in f32.
    pub fn get<T: Number>(&self, start: usize) -> Option<&[T]> {
        let values: &Vec<T> = (&self.values as &dyn Any).downcast_ref()?;
        Some(&values[start * self.width..][..BLOCK * self.width])
    }
}

/// Room for one block.
pub(super) struct Filler<T> {
    block: Vec<T>,
    centre: Vec<T>,
    scale: T,
    width: usize,
}

impl<T: Number> Filler<T> {
    pub fn new(frame: &Frame) -> Self {
        let width = frame.width();
        Self {
            block: Vec::new(),
            centre: frame.centre.iter().map(|&value| T::of(value)).collect(),
            scale: T::of(frame.scale),
            width,
        }
    }

    /// The block of these rows, up to `BLOCK`.
    #[inline(always)]
    pub fn fill(&mut self, rows: &dyn Rows, numbers: Range<usize>) -> &[T] {
        let mut block = std::mem::take(&mut self.block);
        block.resize(BLOCK * self.width, T::ZERO);
        self.fill_into(&mut block, rows, numbers);
        self.block = block;
        &self.block
    }

    /// `block` is padded with zeros.
    #[inline(always)]
    fn fill_into(&self, block: &mut [T], rows: &dyn Rows, numbers: Range<usize>) {
        let dim = self.centre.len();
        block[numbers.len() * self.width..].fill(T::ZERO);
        for (out, row) in block.chunks_exact_mut(self.width).zip(numbers) {
            for ((out, &value), &centre) in out[..dim].iter_mut().zip(rows.row(row)).zip(&self.centre) {
                *out = (T::from_row(value) - centre) * self.scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::rows::{HeldRows, Matrix};
    use super::super::products::PADDING;
    use super::*;

    #[test]
    fn kept_blocks_are_those_made_anew_and_only_for_their_precision() {
        let (count, dim) = (BLOCK + 3, 70);
        let values: Vec<f32> = (0..count * dim).map(|i| ((i * 7919) % 1009) as f32 / 500.0 - 1.0).collect();
        let rows = Matrix::new(&values, (count, dim)).unwrap();
        let frame = Frame { centre: vec![0.3; dim].into(), scale: 4.0 };
        let kept = KeptBlocks::of(&rows, &frame).unwrap();
        let mut filler = Filler::<f32>::new(&frame);
        for range in [0..BLOCK, BLOCK..count] {
            assert_eq!(kept.get::<f32>(range.start).unwrap(), filler.fill(&rows, range.clone()));
            assert!(kept.get::<f64>(range.start).is_none());
        }
        let last = kept.get::<f32>(BLOCK).unwrap();
        assert_eq!(last[0], (values[BLOCK * dim] - 0.3) * 4.0);
        assert!(last[dim..2 * PADDING].iter().chain(&last[3 * 2 * PADDING..]).all(|&value| value == 0.0));
        let many = HeldRows::new(vec![0.0; KEPT / 4 + PADDING], (KEPT / 4 / PADDING + 1, PADDING)).unwrap();
        assert!(KeptBlocks::of(&many, &Frame::plain(PADDING)).is_none());
    }
}
