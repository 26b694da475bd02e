//! Whether probabilities mean what they say: reliability bins, the expected calibration error, the Brier score.
//!
//! Knows probabilities and what is right, no head. Invariant: every row is in one bin, and a row's weight counts once.

use ndarray::ArrayView2;
use serde::Serialize;

use super::Error;
use crate::heads::{Targets, argmax};

/// Bins where nothing else is asked.
pub const RELIABILITY_BINS: usize = 15;

/// Rows with about the same probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Lower end, not in the bin except for 0.
    pub from: f64,
    /// Upper end, in the bin.
    pub to: f64,
    /// Labels given a probability in it: of one label of several, the most probable one of each row; of several labels,
    /// each of each row.
    pub count: u64,
    /// Their mean probability; none in an empty bin.
    pub probability: Option<f64>,
    /// The share of them that are right.
    pub right: Option<f64>,
}

/// What probabilities are worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reliability {
    /// Bins of equal width from 0 to 1.
    pub bins: Vec<ReliabilityBin>,
    /// Mean distance of probability and share by bins, weighted by their size (Naeini, Cooper, Hauskrecht, "Obtaining well
    /// calibrated probabilities using Bayesian binning", 2015).
    pub ece: f64,
    /// Mean square difference of probabilities and what is right, summed over the labels of a row; of two classes that of
    /// the second alone. As scikit-learn's `brier_score_loss`.
    pub brier: f64,
}

/// Measures probabilities, rows × labels, in `bins` bins of equal width.
///
/// # Errors
/// Numbers, no rows or none with a weight, counts that differ, no bins, and what is no probability.
pub fn reliability(
    probabilities: ArrayView2<'_, f64>,
    targets: &Targets,
    weights: Option<&[f64]>,
    bins: usize,
) -> Result<Reliability, Error> {
    let (rows, labels) = probabilities.dim();
    let expected = match targets {
        Targets::Classes { classes, .. } => *classes,
        targets => targets.columns(),
    };
    let same = targets.rows() == rows && weights.is_none_or(|weights| weights.len() == rows) && labels == expected;
    if rows == 0 || bins == 0 || !same || matches!(targets, Targets::Numbers(_)) {
        return Err(Error::NoReliability { rows, labels, bins });
    }
    if let Some(((row, _), &value)) = probabilities.indexed_iter().find(|(_, p)| !(-1e-9..=1.0 + 1e-9).contains(*p)) {
        return Err(Error::NotAProbability { row, value });
    }
    let mut bins = Bins::new(bins);
    let (mut squares, mut total) = (0.0, 0.0);
    for (row, answers) in probabilities.rows().into_iter().enumerate() {
        let weight = weights.map_or(1.0, |weights| weights[row]);
        total += weight;
        match targets {
            Targets::Classes { of, classes } => {
                let best = argmax(answers);
                bins.add((weight, answers[best]), best == of[row]);
                let square = |label: usize| (answers[label] - f64::from(u8::from(of[row] == label))).powi(2);
                squares += weight * if *classes == 2 { square(1) } else { (0..labels).map(square).sum() };
            }
            Targets::Labels { of, .. } => {
                for (label, &answer) in answers.iter().enumerate() {
                    let right = of[row].binary_search(&label).is_ok();
                    bins.add((weight, answer), right);
                    squares += weight * (answer - f64::from(u8::from(right))).powi(2);
                }
            }
            Targets::Numbers(_) => {}
        }
    }
    if total <= 0.0 {
        return Err(Error::NoReliability { rows, labels, bins: bins.0.len() });
    }
    let (bins, ece) = bins.finish();
    Ok(Reliability { bins, ece, brier: squares / total })
}

/// What a bin has seen.
#[derive(Debug, Clone, Copy, Default)]
struct BinSums {
    count: u64,
    weight: f64,
    /// Weight × probability.
    probability: f64,
    /// The weight of what is right.
    right: f64,
}

/// Sums by bins of equal width, so that nothing else is kept of the rows.
struct Bins(Vec<BinSums>);

impl Bins {
    fn new(bins: usize) -> Self {
        Self(vec![BinSums::default(); bins])
    }

    fn add(&mut self, (weight, probability): (f64, f64), right: bool) {
        let bins = self.0.len();
        // The upper end belongs to a bin; 0 to the first.
        let bin = ((probability * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        let sums = &mut self.0[bin];
        sums.count += 1;
        sums.weight += weight;
        sums.probability += weight * probability;
        sums.right += if right { weight } else { 0.0 };
    }

    /// The bins, and the mean distance of probability and share.
    fn finish(self) -> (Vec<ReliabilityBin>, f64) {
        let width = 1.0 / self.0.len() as f64;
        let total: f64 = self.0.iter().map(|sums| sums.weight).sum();
        let ece = self.0.iter().map(|sums| (sums.probability - sums.right).abs()).sum::<f64>() / total;
        let bin = |(at, sums): (usize, BinSums)| {
            let mean = |sum: f64| (sums.weight > 0.0).then(|| sum / sums.weight);
            let (from, to) = (at as f64 * width, (at + 1) as f64 * width);
            let (probability, right) = (mean(sums.probability), mean(sums.right));
            ReliabilityBin { from, to, count: sums.count, probability, right }
        };
        (self.0.into_iter().enumerate().map(bin).collect(), ece)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn bins_hold_every_row_once_and_their_upper_ends() {
        let targets = Targets::Labels { of: vec![vec![0], vec![], vec![0], vec![0], vec![]], labels: 1 };
        let probabilities = array![[0.0], [0.5], [0.500_000_1], [1.0], [1.0]];
        let got = reliability(probabilities.view(), &targets, None, 2).unwrap();
        assert_eq!(got.bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((got.bins[0].probability, got.bins[0].right), (Some(0.25), Some(0.5)));
        assert_eq!((got.bins[1].from, got.bins[1].to), (0.5, 1.0));
        let expected = (0.25 * 2.0 + (2.500_000_1_f64 / 3.0 - 2.0 / 3.0) * 3.0) / 5.0;
        assert!((got.ece - expected).abs() < 1e-12, "{}", got.ece);
        let empty = reliability(probabilities.view(), &targets, None, 10).unwrap().bins[3];
        assert_eq!((empty.count, empty.probability, empty.right), (0, None, None));
    }

    #[test]
    fn the_most_probable_class_counts_and_weights_do() {
        let targets = Targets::Classes { of: vec![0, 1, 2], classes: 3 };
        let probabilities = array![[0.8, 0.1, 0.1], [0.6, 0.4, 0.0], [0.1, 0.1, 0.8]];
        let got = reliability(probabilities.view(), &targets, Some(&[1.0, 2.0, 1.0]), 10).unwrap();
        let of = |bin: usize| (got.bins[bin].count, got.bins[bin].right);
        assert_eq!((of(5), of(7)), ((1, Some(0.0)), (2, Some(1.0))));
        let expected = (2.0 * 0.6 + 2.0 * 0.2) / 4.0;
        assert!((got.ece - expected).abs() < 1e-12, "{}", got.ece);
        // 0.04 + 0.01 + 0.01 once and again, 0.36 + 0.36 twice.
        assert!((got.brier - (2.0 * 0.06 + 2.0 * 0.72) / 4.0).abs() < 1e-12, "{}", got.brier);
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        let targets = Targets::Classes { of: vec![0, 1], classes: 2 };
        let error =
            |p: f64| reliability(array![[0.5, 0.5], [p, 0.5]].view(), &targets, None, 5).unwrap_err().to_string();
        assert_eq!(error(1.5), "row 1 has the answer 1.5, expected a probability from 0 to 1");
        assert_eq!(error(f64::NAN), "row 1 has the answer NaN, expected a probability from 0 to 1");
        let few = reliability(array![[0.5, 0.5]].view(), &targets, None, 5).unwrap_err();
        assert_eq!(few.to_string(), "1 rows × 2 labels in 5 bins say nothing about reliability");
    }
}
