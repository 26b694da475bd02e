//! The two products of a block of rows: with coefficients, to logits, and with residuals, to a gradient.
//!
//! Knows no labels. Nothing is packed: rows, coefficients and gradients all lie feature after feature, logits and
//! residuals row after row of the block. Invariant: each sum runs in a fixed order.

#![expect(unsafe_code, reason = "loads in the inner loops; the lengths are asserted before")]

use crate::heads::lanes::{Lanes, Number};

/// Rows of a block: with 384 f32 features they stay in the second-level cache.
pub(super) const BLOCK: usize = 128;

/// Features are padded with zeros to a multiple of it: four of the widest registers.
pub(super) const PADDING: usize = 64;

/// Registers of features in a tile of the gradient.
const VECTORS: usize = 4;

/// `logits[column][row] = Σ block[row][feature]·coefficients[column][feature]`; `width` features.
#[inline(always)]
pub(super) fn logits<T: Number, V: Lanes<T>>(block: &[T], coefficients: &[T], width: usize, logits: &mut [T]) {
    let columns = coefficients.len() / width;
    assert!(width.is_multiple_of(PADDING) && block.len() == BLOCK * width);
    assert!(coefficients.len() == columns * width && logits.len() == columns * BLOCK);
    for (first, count) in tiles(columns, V::COLUMNS) {
        let coefficients = &coefficients[first * width..(first + count) * width];
        let logits = &mut logits[first * BLOCK..(first + count) * BLOCK];
        match count {
            1 => dots::<T, V, 8, 1>(block, coefficients, width, logits),
            2 => dots::<T, V, 4, 2>(block, coefficients, width, logits),
            3 => dots::<T, V, 4, 3>(block, coefficients, width, logits),
            4 => dots::<T, V, 4, 4>(block, coefficients, width, logits),
            5 => dots::<T, V, 4, 5>(block, coefficients, width, logits),
            _ => dots::<T, V, 4, 6>(block, coefficients, width, logits),
        }
    }
}

/// `gradient[column][feature] += Σ residuals[column][row]·block[row][feature]`; `width` features.
#[inline(always)]
pub(super) fn add_gradient<T: Number, V: Lanes<T>>(block: &[T], residuals: &[T], width: usize, gradient: &mut [T]) {
    let columns = residuals.len() / BLOCK;
    assert!(
        width.is_multiple_of(PADDING) && block.len() == BLOCK * width && PADDING.is_multiple_of(VECTORS * V::WIDTH)
    );
    assert!(residuals.len() == columns * BLOCK && gradient.len() == columns * width);
    for start in (0..width).step_by(VECTORS * V::WIDTH) {
        for (first, count) in tiles(columns, V::COLUMNS) {
            let residuals = &residuals[first * BLOCK..(first + count) * BLOCK];
            let gradient = &mut gradient[first * width..(first + count) * width];
            match count {
                1 => outer::<T, V, 1>(block, residuals, (start, width), gradient),
                2 => outer::<T, V, 2>(block, residuals, (start, width), gradient),
                3 => outer::<T, V, 3>(block, residuals, (start, width), gradient),
                4 => outer::<T, V, 4>(block, residuals, (start, width), gradient),
                5 => outer::<T, V, 5>(block, residuals, (start, width), gradient),
                _ => outer::<T, V, 6>(block, residuals, (start, width), gradient),
            }
        }
    }
}

/// First column and count of tiles of `largest` columns and of one for the rest.
fn tiles(columns: usize, largest: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = columns - first;
        (left > 0).then(|| {
            let count = left.min(largest);
            first += count;
            (first - count, count)
        })
    })
}

/// `C` columns of logits, `R` rows at a time.
#[expect(clippy::needless_range_loop, reason = "counted loops over constants are what the compiler keeps in registers")]
#[inline(always)]
fn dots<T: Number, V: Lanes<T>, const R: usize, const C: usize>(
    block: &[T],
    coefficients: &[T],
    width: usize,
    logits: &mut [T],
) {
    assert!(block.len() == BLOCK * width && coefficients.len() == C * width && width.is_multiple_of(V::WIDTH));
    let coefficients = coefficients.as_ptr();
    for row in (0..BLOCK).step_by(R) {
        let rows = block[row * width..(row + R) * width].as_ptr();
        let mut sums = [[V::splat(T::ZERO); C]; R];
        for feature in (0..width).step_by(V::WIDTH) {
            let mut factors = [V::splat(T::ZERO); C];
            for column in 0..C {
                // SAFETY: column < C and feature + WIDTH <= width, of C·width numbers.
                factors[column] = unsafe { V::load(coefficients.add(column * width + feature)) };
            }
            for offset in 0..R {
                // SAFETY: offset < R and feature + WIDTH <= width, of R·width numbers.
                let values = unsafe { V::load(rows.add(offset * width + feature)) };
                for column in 0..C {
                    sums[offset][column] = values.mul_add(factors[column], sums[offset][column]);
                }
            }
        }
        for (offset, sums) in sums.iter().enumerate() {
            for (column, sum) in sums.iter().enumerate() {
                logits[column * BLOCK + row + offset] = sum.sum();
            }
        }
    }
}

/// `C` columns of the gradient, of the features from `start` on that fill `VECTORS` registers.
#[expect(clippy::needless_range_loop, reason = "as above")]
#[inline(always)]
fn outer<T: Number, V: Lanes<T>, const C: usize>(
    block: &[T],
    residuals: &[T],
    (start, width): (usize, usize),
    gradient: &mut [T],
) {
    assert!(block.len() == BLOCK * width && residuals.len() == C * BLOCK && gradient.len() == C * width);
    assert!(start + VECTORS * V::WIDTH <= width);
    let mut sums = [[V::splat(T::ZERO); VECTORS]; C];
    let (block, residuals) = (block.as_ptr(), residuals.as_ptr());
    for row in 0..BLOCK {
        let mut values = [V::splat(T::ZERO); VECTORS];
        for vector in 0..VECTORS {
            // SAFETY: row < BLOCK and start + VECTORS·WIDTH <= width, of BLOCK·width numbers.
            values[vector] = unsafe { V::load(block.add(row * width + start + vector * V::WIDTH)) };
        }
        for column in 0..C {
            // SAFETY: column < C and row < BLOCK, of C·BLOCK numbers.
            let factor = V::splat(unsafe { *residuals.add(column * BLOCK + row) });
            for vector in 0..VECTORS {
                sums[column][vector] = values[vector].mul_add(factor, sums[column][vector]);
            }
        }
    }
    for (column, sums) in sums.iter().enumerate() {
        for (vector, sum) in sums.iter().enumerate() {
            let place = gradient[column * width + start + vector * V::WIDTH..][..V::WIDTH].as_mut_ptr();
            // SAFETY: the slice just taken is as wide as the register.
            unsafe { V::load(place).add(*sum).store(place) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::lanes::{Work, with_widest};

    struct Both<'a, T> {
        block: &'a [T],
        coefficients: &'a [T],
        width: usize,
        logits: &'a mut [T],
        gradient: &'a mut [T],
    }

    impl<T: Number> Work<T> for Both<'_, T> {
        type Output = ();

        #[inline(always)]
        fn run<V: Lanes<T>>(self) {
            logits::<T, V>(self.block, self.coefficients, self.width, self.logits);
            add_gradient::<T, V>(self.block, self.logits, self.width, self.gradient);
        }
    }

    fn check<T: Number>(columns: usize, plain: bool) {
        let width = 2 * PADDING;
        let number = |seed: usize| T::of(((seed * 7919) % 201) as f64 / 100.0 - 1.0);
        let block: Vec<T> = (0..BLOCK * width).map(number).collect();
        let coefficients: Vec<T> = (0..columns * width).map(|i| number(i + 5)).collect();
        let mut logits = vec![T::ZERO; columns * BLOCK];
        let mut gradient = vec![T::ONE; columns * width];
        let work =
            Both { block: &block, coefficients: &coefficients, width, logits: &mut logits, gradient: &mut gradient };
        if plain {
            work.run::<T::Narrow>()
        } else {
            with_widest(work)
        }
        for column in 0..columns {
            let of = |row: usize, feature: usize| block[row * width + feature].wide();
            let mut residuals = [0.0; BLOCK];
            for (row, residual) in residuals.iter_mut().enumerate() {
                let weight = |feature: usize| coefficients[column * width + feature].wide();
                *residual = (0..width).map(|feature| of(row, feature) * weight(feature)).sum();
                assert!((logits[column * BLOCK + row].wide() - *residual).abs() < 1e-4);
            }
            for feature in 0..width {
                let want: f64 = 1.0 + (0..BLOCK).map(|row| residuals[row] * of(row, feature)).sum::<f64>();
                assert!((gradient[column * width + feature].wide() - want).abs() < 1e-3 * (1.0 + want.abs()));
            }
        }
    }

    #[test]
    fn products_are_the_sums_for_any_number_of_columns() {
        for columns in [1, 2, 3, 4, 5, 6, 7, 13, 19] {
            check::<f32>(columns, false);
            check::<f64>(columns, false);
            check::<f32>(columns, true);
        }
    }
}
