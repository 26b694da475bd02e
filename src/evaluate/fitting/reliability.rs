//! How far probabilities can be believed: the share of answers that are right, bin by bin, beside what they claim.
//! Knows pairs of a probability and whether it was right. Invariant: every pair is in one bin; empty bins are left out.

use serde::Serialize;

/// Bins of equal width.
const BINS: usize = 10;

/// Answers of about the same probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Answers in it.
    pub count: u64,
    /// Their mean probability.
    pub claimed: f64,
    /// Share of them that are right.
    pub right: f64,
}

/// How far probabilities are from what they claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reliability {
    /// Expected calibration error: the mean distance of claim and truth over the bins, each by its answers (Naeini et al.,
    /// "Obtaining well calibrated probabilities using Bayesian binning", 2015).
    pub ece: f64,
    /// Mean squared distance of a probability from 1 where it is right and 0 where not (Brier, 1950).
    pub brier: f64,
    /// By rising probability.
    pub bins: Vec<ReliabilityBin>,
}

/// Of probabilities and whether each was right. None of none.
pub fn reliability(answers: impl IntoIterator<Item = (f64, bool)>) -> Option<Reliability> {
    let mut sums = [(0_u64, 0.0, 0_u64); BINS];
    let (mut count, mut squares) = (0_u64, 0.0);
    for (probability, right) in answers {
        let truth = f64::from(u8::from(right));
        let bin = &mut sums[((probability * BINS as f64) as usize).min(BINS - 1)];
        *bin = (bin.0 + 1, bin.1 + probability, bin.2 + u64::from(right));
        squares += (probability - truth) * (probability - truth);
        count += 1;
    }
    if count == 0 {
        return None;
    }
    let filled = sums.iter().filter(|bin| bin.0 > 0);
    let bins: Vec<ReliabilityBin> = filled
        .map(|&(count, claimed, right)| {
            let of_all = count as f64;
            ReliabilityBin { count, claimed: claimed / of_all, right: right as f64 / of_all }
        })
        .collect();
    let distance = |bin: &ReliabilityBin| (bin.claimed - bin.right).abs() * bin.count as f64;
    let ece = bins.iter().map(distance).sum::<f64>() / count as f64;
    Some(Reliability { ece, brier: squares / count as f64, bins })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_by_hand() {
        let answers = [(0.25, false), (0.25, true), (0.75, true), (1.0, true), (0.0, false), (0.95, false)];
        let found = reliability(answers).unwrap();
        let counts: Vec<u64> = found.bins.iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [1, 2, 1, 2]);
        assert_eq!((found.bins[1].claimed, found.bins[1].right), (0.25, 0.5));
        assert_eq!((found.bins[3].claimed, found.bins[3].right), (0.975, 0.5));
        assert!((found.ece - (0.5 + 0.25 + 0.95) / 6.0).abs() < 1e-15, "{}", found.ece);
        let squares = 0.0625 + 0.5625 + 0.0625 + 0.9025;
        assert!((found.brier - squares / 6.0).abs() < 1e-15, "{}", found.brier);
        assert_eq!(reliability([]), None);
        let sure = reliability([(1.0, true), (0.0, false)]).unwrap();
        assert_eq!((sure.ece, sure.brier), (0.0, 0.0));
    }

    #[test]
    fn figures_are_scikit_learns() {
        let text = std::fs::read_to_string("tests/data/heads/calibration.json").unwrap();
        let fixture: serde_json::Value = serde_json::from_str(&text).unwrap();
        let case = &fixture["reliability"];
        let numbers = |key: &str| serde_json::from_value::<Vec<f64>>(case[key].clone()).unwrap();
        let right: Vec<bool> = serde_json::from_value(case["right"].clone()).unwrap();
        let found = reliability(numbers("answers").into_iter().zip(right)).unwrap();
        assert!((found.brier - case["brier"].as_f64().unwrap()).abs() < 1e-12, "{}", found.brier);
        let (shares, claimed) = (numbers("shares"), numbers("claimed"));
        assert_eq!(found.bins.len(), shares.len());
        for (bin, (share, claimed)) in found.bins.iter().zip(shares.into_iter().zip(claimed)) {
            assert!((bin.right - share).abs() < 1e-12 && (bin.claimed - claimed).abs() < 1e-12, "{bin:?}");
        }
    }
}
