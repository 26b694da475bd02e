//! How numbers are spread, counted while they pass by, without knowing their range beforehand.
//!
//! Bins have a power of two as width and begin at its multiples. Invariant: whatever the numbers and their order, the
//! bins from the lowest to the highest are the finest of which there are at most [`MOST_BINS`].

use std::collections::BTreeMap;

/// Bins at the end.
pub const MOST_BINS: i64 = 24;
/// Exponent of the finest width, 2⁻²⁰.
const FINEST: i32 = -20;
/// Numbers of bins that an f64 holds exactly.
const MOST_BIN: f64 = (1_u64 << 53) as f64;

/// Counts of numbers by bins, with the mean and the range of the numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    exponent: i32,
    bins: BTreeMap<i64, u64>,
    count: u64,
    sum: f64,
    least: f64,
    most: f64,
}

/// A bin: numbers from `from` up to, not including, `to`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Where it begins.
    pub from: f64,
    /// Where the next one begins.
    pub to: f64,
    /// Numbers in it.
    pub count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        let (least, most) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { exponent: FINEST, bins: BTreeMap::new(), count: 0, sum: 0.0, least, most }
    }
}

impl Histogram {
    /// Counts a finite number.
    pub fn add(&mut self, value: f32) {
        let value = f64::from(value);
        while (value / self.width()).abs() >= MOST_BIN {
            self.widen();
        }
        *self.bins.entry((value / self.width()).floor() as i64).or_default() += 1;
        while self.span() > MOST_BINS {
            self.widen();
        }
        self.count += 1;
        self.sum += value;
        self.least = self.least.min(value);
        self.most = self.most.max(value);
    }

    /// Mean, least and greatest of the numbers; none without numbers.
    pub fn summary(&self) -> Option<(f64, f64, f64)> {
        (self.count > 0).then(|| (self.sum / self.count as f64, self.least, self.most))
    }

    /// All bins from the lowest to the highest, empty ones too.
    pub fn bins(&self) -> Vec<Bin> {
        let (Some((&first, _)), Some((&last, _))) = (self.bins.first_key_value(), self.bins.last_key_value()) else {
            return Vec::new();
        };
        let bin = |number: i64| Bin {
            from: number as f64 * self.width(),
            to: (number + 1) as f64 * self.width(),
            count: self.bins.get(&number).copied().unwrap_or_default(),
        };
        (first..=last).map(bin).collect()
    }

    fn width(&self) -> f64 {
        2_f64.powi(self.exponent)
    }

    fn span(&self) -> i64 {
        match (self.bins.first_key_value(), self.bins.last_key_value()) {
            (Some((first, _)), Some((last, _))) => last - first + 1,
            _ => 0,
        }
    }

    /// Puts two neighbours together.
    fn widen(&mut self) {
        self.exponent += 1;
        let mut bins = BTreeMap::new();
        for (number, count) in &self.bins {
            *bins.entry(number.div_euclid(2)).or_default() += count;
        }
        self.bins = bins;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&value| histogram.add(value));
        histogram
    }

    #[test]
    fn the_order_of_the_numbers_does_not_matter() {
        let values: Vec<f32> = (0..500).map(|n| ((n * 7919) % 500) as f32 / 10.0 - 20.0).collect();
        let reversed: Vec<f32> = values.iter().rev().copied().collect();
        assert_eq!(of(&values).bins(), of(&reversed).bins());
        let bins = of(&values).bins();
        assert!((13..=24).contains(&bins.len()), "{}", bins.len());
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 500);
        for bin in &bins {
            let inside = values.iter().filter(|&&value| bin.from <= value.into() && f64::from(value) < bin.to);
            assert_eq!(inside.count() as u64, bin.count);
        }
        let (mean, least, most) = of(&values).summary().unwrap();
        let greatest = values.iter().copied().fold(0.0, f32::max);
        assert!((mean - 4.95).abs() < 1e-5 && (least, most) == (-20.0, f64::from(greatest)), "{mean} {least} {most}");
    }

    #[test]
    fn the_ends_of_the_floats_range_are_counted() {
        let bins = of(&[f32::MAX, f32::MIN, f32::MIN_POSITIVE, 0.0, -0.0]).bins();
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 5);
        assert_eq!(of(&[1e-3, -1e-3]).bins().iter().map(|bin| bin.count).sum::<u64>(), 2);
    }

    #[test]
    fn one_number_is_one_bin_and_none_are_none() {
        assert_eq!(of(&[2.5, 2.5]).bins(), [Bin { from: 2.5, to: 2.5 + 2_f64.powi(-20), count: 2 }]);
        assert_eq!((of(&[]).bins(), of(&[]).summary()), (vec![], None));
    }
}
