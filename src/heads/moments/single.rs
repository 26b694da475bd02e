//! The same sums with products in f32, for those who correct what follows from them: twice as fast, a few 1e-7 off.
//!
//! Knows samples and no penalty. Invariant: products of a segment are added in the order of its rows and segments in
//! theirs; registers differ from machine to machine, and with them the last bits of f32.
//!
//! Method: rows are copied to panels as wide as three registers, and each tile of products, four rows by a panel, is
//! kept in registers while a block of rows goes by (Goto, van de Geijn, "Anatomy of high-performance matrix
//! multiplication", ACM TOMS 2008). Only tiles that reach the upper triangle are computed.

#![expect(unsafe_code, reason = "reads and writes whole registers of panels that are as wide")]

use std::ops::Range;

use super::{Moments, in_order, segments};
use crate::heads::lanes::{Lanes, Work, with_widest};
use crate::heads::sample::{Origin, Sample, add};

/// Registers beside each other in a panel.
const ACROSS: usize = 3;

/// Rows of a tile; a panel is a multiple of it on every machine.
const TILE: usize = 4;

/// Rows of a block: a panel of them stays in the first-level cache.
const BLOCK: usize = 128;

impl Moments {
    /// Sums of all rows of a sample about `origin`, whose numbers should be of f32; products in f32.
    pub(in crate::heads) fn of_single(sample: &Sample<'_>, origin: &Origin) -> Self {
        let (dim, columns) = (sample.dim(), sample.columns());
        let mut total = Self::zero(dim, columns);
        let work = |rows| with_widest(Segment { sample, origin, rows });
        in_order((sample.count(), 4 * dim * (dim + columns)), work, |part: Part| part.add_to(&mut total));
        total
    }
}

struct Segment<'s, 'a> {
    sample: &'s Sample<'a>,
    origin: &'s Origin,
    rows: Range<usize>,
}

/// Sums of a segment.
struct Part {
    weight: f64,
    row: Vec<f64>,
    target: Vec<f64>,
    squares: Vec<f64>,
    /// Products of rows, then of targets, with rows: `width` numbers for each number of a row or target, what lies to
    /// the left of the diagonal is not filled, or not all of it.
    products: Vec<f32>,
    width: usize,
}

impl Part {
    fn add_to(&self, total: &mut Moments) {
        let (dim, columns) = (self.row.len(), self.target.len());
        total.weight += self.weight;
        add(&mut total.row, self.row.iter().copied());
        add(&mut total.target, self.target.iter().copied());
        add(&mut total.squares, self.squares.iter().copied());
        for (at, mut products) in total.products.rows_mut().into_iter().enumerate() {
            let own = &self.products[at * self.width..][at..dim];
            let upper = products.as_slice_mut().expect("standard layout");
            add(&mut upper[at..dim], own.iter().map(|&sum| f64::from(sum)));
            for column in 0..columns {
                upper[dim + column] += f64::from(self.products[(self.width + column) * self.width + at]);
            }
        }
    }
}

impl Work<f32> for Segment<'_, '_> {
    type Output = Part;

    #[inline(always)]
    fn run<V: Lanes<f32>>(self) -> Part {
        let Self { sample, origin, rows } = self;
        let (dim, columns) = (sample.dim(), sample.columns());
        let panel = ACROSS * V::WIDTH;
        let width = dim.next_multiple_of(panel);
        let beside = columns.next_multiple_of(TILE);
        let mut part = Part {
            weight: 0.0,
            row: vec![0.0; dim],
            target: vec![0.0; columns],
            squares: vec![0.0; columns],
            products: vec![0.0; (width + beside) * width],
            width,
        };
        let mut panels = vec![0.0_f32; width * BLOCK];
        let mut targets = vec![0.0_f32; beside * BLOCK];
        let mut given = vec![0.0; columns];
        let shift: Vec<f32> = origin.row.iter().map(|&value| value as f32).collect();
        for block in segments(rows, BLOCK) {
            let count = block.len();
            for (place, position) in block.enumerate() {
                sample.write_targets(position, &mut given);
                let weight = sample.weight(position);
                let root = part.count_targets(&given, weight, origin, &mut targets[place * beside..]);
                let row = sample.row(position);
                for (number, from) in (0..dim).step_by(panel).enumerate() {
                    let until = dim.min(from + panel);
                    let to = &mut panels[number * panel * BLOCK + place * panel..][..until - from];
                    let (row, shift, sums) = (&row[from..until], &shift[from..until], &mut part.row[from..until]);
                    for at in 0..to.len() {
                        to[at] = (row[at] - shift[at]) * root;
                    }
                    for at in 0..to.len() {
                        sums[at] += f64::from(row[at] - shift[at]) * weight;
                    }
                }
            }
            for (number, right) in panels.chunks_exact(panel * BLOCK).enumerate() {
                for left in 0..=number {
                    let values = &panels[left * panel * BLOCK..][..panel * BLOCK];
                    let to = &mut part.products[left * panel * width + number * panel..];
                    add_products::<V>((values, panel), (right, left == number), count, (to, width));
                }
                let to = &mut part.products[width * width + number * panel..];
                add_products::<V>((&targets, beside), (right, false), count, (to, width));
            }
        }
        part
    }
}

impl Part {
    /// Counts a row's weight and targets, writes the targets for products, and gives the root of the weight.
    #[inline(always)]
    fn count_targets(&mut self, given: &[f64], weight: f64, origin: &Origin, out: &mut [f32]) -> f32 {
        let root = weight.sqrt();
        self.weight += weight;
        for column in 0..given.len() {
            let value = given[column] - origin.target[column];
            out[column] = (value * root) as f32;
            self.target[column] += value * weight;
            self.squares[column] += value * value * weight;
        }
        root as f32
    }
}

/// Adds Σ left·rightᵀ over `count` rows to `to`, whose rows are `stride` apart: `left` has rows of `high` numbers, a
/// multiple of the tile, `right` those of a panel. Where both are the same panel, what registers hold that lie to the left
/// of the diagonal is left out.
#[inline(always)]
fn add_products<V: Lanes<f32>>(
    (left, high): (&[f32], usize),
    (right, same): (&[f32], bool),
    count: usize,
    (to, stride): (&mut [f32], usize),
) {
    assert!(left.len() >= count * high && right.len() >= count * ACROSS * V::WIDTH && high.is_multiple_of(TILE));
    for first in (0..high).step_by(TILE) {
        let (left, to) = ((&left[first..], high), (&mut to[first * stride..], stride));
        match if same { first / V::WIDTH } else { 0 } {
            0 => add_tile::<V, 0>(left, right, count, to),
            1 => add_tile::<V, 1>(left, right, count, to),
            _ => add_tile::<V, 2>(left, right, count, to),
        }
    }
}

/// One tile without its first `SKIP` registers.
#[expect(clippy::needless_range_loop, reason = "counted loops are unrolled, so that sums stay in registers")]
#[inline(always)]
fn add_tile<V: Lanes<f32>, const SKIP: usize>(
    (left, high): (&[f32], usize),
    right: &[f32],
    count: usize,
    (to, stride): (&mut [f32], usize),
) {
    let panel = ACROSS * V::WIDTH;
    let mut sums = [[V::splat(0.0); ACROSS]; TILE];
    for row in 0..count {
        // SAFETY: row < count, so both lie within the slices, as `add_products` has asserted.
        unsafe {
            let from = right.as_ptr().add(row * panel);
            let across: [V; ACROSS] = [V::load(from), V::load(from.add(V::WIDTH)), V::load(from.add(2 * V::WIDTH))];
            let down = left.as_ptr().add(row * high);
            for tile in 0..TILE {
                let factor = V::splat(*down.add(tile));
                for at in SKIP..ACROSS {
                    sums[tile][at] = across[at].mul_add(factor, sums[tile][at]);
                }
            }
        }
    }
    for tile in 0..TILE {
        let out = &mut to[tile * stride..][..panel];
        for at in SKIP..ACROSS {
            // SAFETY: the slice is a panel wide.
            unsafe {
                let place = out.as_mut_ptr().add(at * V::WIDTH);
                V::load(place).add(sums[tile][at]).store(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::fixture::drawn;
    use crate::heads::rows::Matrix;
    use crate::heads::trainer::{LabelledRows, Targets};

    #[test]
    fn as_in_double_precision() {
        for (dim, classes) in [(1, 2), (5, 3), (48, 2), (50, 5), (101, 9)] {
            let (rows, _, _) = drawn((2300, dim), 4);
            let matrix = Matrix::of(rows.view()).unwrap();
            let of = (0..2300).map(|row| (row * row + row / 7) % classes).collect();
            let targets = Targets::Classes { of, classes };
            let weights: Vec<f64> = (0..2300).map(|row| f64::from(row % 5) / 2.0).collect();
            for weights in [None, Some(&weights[..])] {
                let data = LabelledRows { rows: &matrix, targets: &targets, weights };
                let sample = Sample::all(data);
                let origin = Origin::near_middle(&sample).single();
                let (one, other) = (Moments::of(&sample, &origin), Moments::of_single(&sample, &origin));
                let (one, other) = (one.normal(&origin, true), other.normal(&origin, true));
                assert_eq!(one.weight, other.weight);
                let near = |a: f64, b: f64, size: f64| (a - b).abs() <= 1e-5 * size;
                assert!(one.mean.row.iter().zip(&other.mean.row).all(|(&a, &b)| near(a, b, 0.01)));
                assert!(one.mean.target.iter().zip(&other.mean.target).all(|(&a, &b)| near(a, b, 1e-6)));
                assert!(one.squares.iter().zip(&other.squares).all(|(&a, &b)| near(a, b, 1e-6 * a)));
                let size = one.gram.diag().fold(0.0, |most: f64, &value| most.max(value));
                assert!(one.gram.iter().zip(&other.gram).all(|(&a, &b)| near(a, b, size)), "dim {dim}");
                assert!(one.cross.iter().zip(&other.cross).all(|(&a, &b)| near(a, b, size + 2300.0)), "dim {dim}");
            }
        }
    }
}
