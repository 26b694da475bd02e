//! Measures of predicted numbers, as scikit-learn and scipy define them.
//!
//! Numbers pass by once; memory is bounded whatever their number. Invariant: every sum runs over the rows in their order,
//! so that the same rows give the same figures.

use serde::Serialize;

use super::error::Error;
use super::objective::kendall_tau_b;
use crate::heads::Random;

/// What predicted numbers are worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Regression {
    /// Rows measured.
    pub rows: u64,
    /// Share of the truth's variance that is explained; of a constant truth 1 if every row is right, else 0; none below
    /// two rows.
    pub r2: Option<f64>,
    /// Mean absolute error, in the unit of the numbers.
    pub mae: f64,
    /// Root of the mean squared error, in the unit of the numbers.
    pub rmse: f64,
    /// Kendall's tau-b; none where one side is constant.
    pub kendalltau: Option<f64>,
    /// Rows that tau-b is of: all, or of many as many as are kept, drawn at random.
    pub ranked: u64,
    /// Pearson's correlation; none where one side is constant.
    pub pearson: Option<f64>,
}

/// Rows of a column of numbers that are kept for Kendall's tau-b, of all columns together; at most 28 bytes each. Of more
/// rows, so many are drawn: tau of a million pairs is within 0.001 of that of all.
pub const MOST_RANKED: usize = 1 << 20;
/// What each column keeps at least, however many there are.
const LEAST_RANKED: usize = 256;

/// Pairs of a right and a predicted number, measured as they pass by.
#[derive(Debug)]
pub struct RegressionTally {
    sums: Sums,
    sample: Sample,
    /// The first pair that is none of two numbers, with its row.
    not_finite: Option<(usize, f64, f32)>,
}

impl RegressionTally {
    /// For one of so many columns that are measured at once.
    pub fn new(columns: usize) -> Self {
        Self::keeping((MOST_RANKED / columns.max(1)).max(LEAST_RANKED))
    }

    fn keeping(rows: usize) -> Self {
        Self { sums: Sums::default(), sample: Sample::of(rows), not_finite: None }
    }

    /// Counts one row.
    pub fn add(&mut self, truth: f64, predicted: f32) {
        if !(truth.is_finite() && predicted.is_finite()) {
            let row = usize::try_from(self.sums.rows).unwrap_or(usize::MAX);
            self.not_finite.get_or_insert((row, truth, predicted));
        }
        self.sums.add(truth, f64::from(predicted));
        self.sample.add(truth, predicted);
    }

    /// The figures of all rows; tau-b of those that were kept, in n log n steps.
    ///
    /// # Errors
    /// No rows, or a number that is not finite.
    pub fn finish(self) -> Result<Regression, Error> {
        let Sums { rows, absolute, squared, constant_truth, constant, .. } = &self.sums;
        if let Some((row, truth, predicted)) = self.not_finite {
            return Err(Error::NotFinite { row, truth, predicted });
        }
        if *rows == 0 {
            return Err(Error::Empty);
        }
        let count = *rows as f64;
        let squared = squared.value();
        let [of_truth, of_predicted, of_both] = self.sums.about_the_means();
        let r2 = match rows {
            1 => None,
            _ if *constant_truth => Some(if squared == 0.0 { 1.0 } else { 0.0 }),
            _ => measured(1.0 - squared / of_truth),
        };
        let pearson = measured(of_both / (of_truth.sqrt() * of_predicted.sqrt())).filter(|_| !constant);
        Ok(Regression {
            rows: *rows,
            r2,
            mae: absolute.value() / count,
            rmse: (squared / count).sqrt(),
            kendalltau: if *constant { None } else { kendall_tau_b(self.sample.pairs()) },
            ranked: self.sample.kept.len() as u64,
            pearson: pearson.map(|pearson| pearson.clamp(-1.0, 1.0)),
        })
    }
}

/// A sum with what its additions lost: Kahan and Babuska's, as Neumaier put it. Near the end of the floats' range it is
/// infinite or none, as a plain sum.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    pub(super) fn add(&mut self, value: f64) {
        let (sum, lost) = two_sum(self.high, value);
        self.high = sum;
        self.low += lost;
    }

    /// Adds a product without rounding it.
    fn add_product(&mut self, a: f64, b: f64) {
        let product = a * b;
        self.add(product);
        self.low += a.mul_add(b, -product);
    }

    pub(super) fn value(self) -> f64 {
        if self.high.is_finite() { self.high + self.low } else { self.high }
    }

    /// `self - a · b / count`, of which only the result is rounded; NaN where a sum went beyond the floats' range.
    fn less_product(self, a: Self, b: Self, count: f64) -> f64 {
        let product = a.high * b.high;
        let rest = a.high.mul_add(b.high, -product) + a.high * b.low + a.low * b.high;
        let share = product / count;
        let share_rest = ((-share).mul_add(count, product) + rest) / count;
        let (difference, lost) = two_sum(self.high, -share);
        difference + (lost + self.low - share_rest)
    }
}

/// The rounded sum and what it lost (Knuth, The Art of Computer Programming, 4.2.2).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

/// Sums over all rows.
#[derive(Debug, Default)]
struct Sums {
    rows: u64,
    /// The first pair: what is summed of others is their distance from it, so that squares stay small.
    first: (f64, f64),
    constant_truth: bool,
    /// Whether one side is.
    constant: bool,
    constant_predicted: bool,
    absolute: Sum,
    squared: Sum,
    truth: Sum,
    predicted: Sum,
    truth_squared: Sum,
    predicted_squared: Sum,
    product: Sum,
}

impl Sums {
    fn add(&mut self, truth: f64, predicted: f64) {
        if self.rows == 0 {
            self.first = (truth, predicted);
            (self.constant_truth, self.constant_predicted) = (true, true);
        }
        self.rows += 1;
        // Told by the values: rounding may leave a constant some variance.
        self.constant_truth &= truth == self.first.0;
        self.constant_predicted &= predicted == self.first.1;
        self.constant = self.constant_truth || self.constant_predicted;
        let error = truth - predicted;
        self.absolute.add(error.abs());
        self.squared.add_product(error, error);
        let (a, b) = (truth - self.first.0, predicted - self.first.1);
        self.truth.add(a);
        self.predicted.add(b);
        self.truth_squared.add_product(a, a);
        self.predicted_squared.add_product(b, b);
        self.product.add_product(a, b);
    }

    /// The sums of squares of the truth and of the predictions and that of their products, each about its mean.
    fn about_the_means(&self) -> [f64; 3] {
        let Self { truth, predicted, rows, .. } = *self;
        let count = rows as f64;
        [
            self.truth_squared.less_product(truth, truth, count),
            self.predicted_squared.less_product(predicted, predicted, count),
            self.product.less_product(truth, predicted, count),
        ]
    }
}

/// So many of the rows, each as likely as any other (Vitter's algorithm R). The same rows in the same order give the same
/// sample, and each column of a row is in it or none.
#[derive(Debug)]
struct Sample {
    most: usize,
    kept: Vec<(f64, f32)>,
    seen: u64,
    random: Random,
}

impl Sample {
    fn of(most: usize) -> Self {
        Self { most, kept: Vec::new(), seen: 0, random: Random::new(0) }
    }

    fn add(&mut self, truth: f64, predicted: f32) {
        self.seen += 1;
        if self.kept.len() < self.most {
            return self.kept.push((truth, predicted));
        }
        // What the remainder prefers is beyond measure: rows are few against 2^64.
        let at = usize::try_from(self.random.next() % self.seen).unwrap_or(usize::MAX);
        if let Some(kept) = self.kept.get_mut(at) {
            *kept = (truth, predicted);
        }
    }

    /// As numbers to be sorted: the order of floats puts -0.0 before 0.0, which are equal.
    fn pairs(&self) -> Vec<(f64, f64)> {
        self.kept.iter().map(|&(truth, predicted)| (truth + 0.0, f64::from(predicted) + 0.0)).collect()
    }
}

/// Numbers near the end of the floats' range have sums beyond it.
fn measured(figure: f64) -> Option<f64> {
    figure.is_finite().then_some(figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(rows: usize, keep: usize) -> RegressionTally {
        let mut tally = RegressionTally::keeping(keep);
        for row in 0..rows {
            let truth = ((row * 7_919) % rows) as f64;
            tally.add(truth, (truth + ((row * 104_729) % rows) as f64 * 0.5) as f32);
        }
        tally
    }

    #[test]
    fn memory_is_bounded_and_a_sample_is_near_the_whole() {
        let whole = filled(50_000, usize::MAX).finish().unwrap();
        assert_eq!(whole.ranked, 50_000);
        let drawn = filled(50_000, 5_000);
        assert_eq!(drawn.sample.kept.len(), 5_000);
        // Rows from everywhere: the mean of those kept is near the mean of all.
        let mean = drawn.sample.kept.iter().map(|pair| pair.0).sum::<f64>() / 5_000.0;
        assert!((mean - 25_000.0).abs() < 1_000.0, "{mean}");
        let drawn = drawn.finish().unwrap();
        assert_eq!((drawn.ranked, drawn.rows), (5_000, 50_000));
        assert_eq!((drawn.r2, drawn.mae, drawn.rmse, drawn.pearson), (whole.r2, whole.mae, whole.rmse, whole.pearson));
        let (drawn, whole) = (drawn.kendalltau.unwrap(), whole.kendalltau.unwrap());
        assert!(drawn != whole && (drawn - whole).abs() < 0.02, "{drawn} for {whole}");
        assert_eq!(filled(50_000, 5_000).finish().unwrap().kendalltau, Some(drawn));
        for (columns, rows) in [(0, MOST_RANKED), (1, MOST_RANKED), (4, MOST_RANKED / 4), (1 << 30, LEAST_RANKED)] {
            assert_eq!(RegressionTally::new(columns).sample.most, rows);
        }
    }

    #[test]
    fn sums_far_from_zero_lose_nothing() {
        // A variance of 2/3 at 1e9: plain sums of squares have no digit of it.
        let mut tally = RegressionTally::new(1);
        for (truth, predicted) in [(1e9, 1e9_f32), (1e9 + 1.0, 1e9), (1e9 + 2.0, 1e9)] {
            (0..10_000).for_each(|_| tally.add(truth, predicted));
        }
        let got = tally.finish().unwrap();
        // 1 - (0 + 1 + 4) / 3 / (2 / 3)
        assert!((got.r2.unwrap() + 1.5).abs() < 1e-14, "{got:?}");
    }
}
