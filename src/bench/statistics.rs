//! What may be said of repeated measurements: medians with intervals that assume no distribution, percentiles, and
//! ratios that claim a difference only where intervals lie apart. Knows nothing of what was measured.
//!
//! Invariant: an interval states the confidence that it really has; with too few repeats that is less than 95 %, and then
//! nothing is claimed of it.

use serde::{Deserialize, Serialize};

/// Confidence that a claim asks of both intervals.
pub const CONFIDENCE: f64 = 0.95;

/// The least number of repeats of which the smallest and the largest enclose the median with [`CONFIDENCE`]: one minus
/// two in 2⁶.
pub const REPEATS_FOR_CLAIMS: usize = 6;

/// The median of some repeats, and between which two of them the true median lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The median; the mean of both where two stand in the middle.
    pub median: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The probability that the ends enclose the true median, whatever the distribution; 0 for a single repeat.
    pub confidence: f64,
}

impl Interval {
    /// The median of `values`, enclosed by two order statistics: the pair nearest to the middle that reaches
    /// [`CONFIDENCE`] by the binomial distribution of how many repeats fall below the median, else the outermost pair.
    /// None without values, or if one is not finite.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let count = sorted.len();
        let (below, confidence) = order(count);
        let median = f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]);
        Some(Self { median, low: sorted[below], high: sorted[count - 1 - below], confidence })
    }
}

/// How many repeats lie outside on either side, and the confidence of what lies within.
fn order(count: usize) -> (usize, f64) {
    // The probability that `below` of `count` repeats fall below the median, summed from none of them on.
    let mut probability = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let mut outside = probability;
    let mut best = (0, (1.0 - 2.0 * outside).max(0.0));
    for below in 1..count / 2 {
        probability *= (count - below + 1) as f64 / below as f64;
        outside += probability;
        let confidence = 1.0 - 2.0 * outside;
        if confidence < CONFIDENCE {
            break;
        }
        best = (below, confidence);
    }
    best
}

/// The value below which the share `share` (0 to 1) of sorted values lies: the nearest rank, so that it was really
/// measured. None without values.
pub fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// What can be said of one measurement beside another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Clearly more.
    Higher,
    /// Clearly less.
    Lower,
    /// The intervals overlap, or there were too few repeats.
    NoClaim,
}

/// How many times as much one measurement is as another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Of the medians.
    pub ratio: f64,
    /// The least that both intervals allow.
    pub low: f64,
    /// The most that both intervals allow.
    pub high: f64,
    /// What may be claimed.
    pub verdict: Verdict,
}

impl Ratio {
    /// `this` beside `other`; none where `other` is not above 0, so that there is no ratio.
    pub fn of(this: &Interval, other: &Interval) -> Option<Self> {
        if other.low <= 0.0 {
            return None;
        }
        let (low, high) = (this.low / other.high, this.high / other.low);
        let enough = this.confidence.min(other.confidence) >= CONFIDENCE;
        let verdict = match (enough, low > 1.0, high < 1.0) {
            (true, true, _) => Verdict::Higher,
            (true, _, true) => Verdict::Lower,
            _ => Verdict::NoClaim,
        };
        Some(Self { ratio: this.median / other.median, low, high, verdict })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_order_statistics_with_their_own_confidence() {
        let interval = |count: usize| Interval::of(&(1..=count).map(|n| n as f64).collect::<Vec<_>>()).unwrap();
        // Tables of the sign test: with 6 repeats the extremes, with 9 the second ones, with 20 the sixth ones.
        for (count, median, low, high, confidence) in [
            (1, 1.0, 1.0, 1.0, 0.0),
            (2, 1.5, 1.0, 2.0, 0.5),
            (5, 3.0, 1.0, 5.0, 0.9375),
            (6, 3.5, 1.0, 6.0, 0.96875),
            (9, 5.0, 2.0, 8.0, 0.9609375),
            (20, 10.5, 6.0, 15.0, 0.958_610_534_667_968_8),
        ] {
            assert_eq!(interval(count), Interval { median, low, high, confidence }, "{count}");
        }
        assert!(interval(REPEATS_FOR_CLAIMS).confidence >= CONFIDENCE);
        assert!(interval(REPEATS_FOR_CLAIMS - 1).confidence < CONFIDENCE);
        assert_eq!(Interval::of(&[3.0, 1.0, 2.0]).unwrap().median, 2.0, "order is of no account");
        assert_eq!((Interval::of(&[]), Interval::of(&[1.0, f64::NAN])), (None, None));
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<f64> = (1..=200).map(f64::from).collect();
        let at = |share| percentile(&sorted, share).unwrap();
        assert_eq!([at(0.0), at(0.5), at(0.9), at(0.99), at(1.0)], [1.0, 100.0, 180.0, 198.0, 200.0]);
        assert_eq!((percentile(&[7.0], 0.99), percentile(&[], 0.5)), (Some(7.0), None));
    }

    #[test]
    fn a_difference_is_claimed_only_where_intervals_lie_apart() {
        let interval = |low: f64, high: f64, confidence| {
            let median = f64::midpoint(low, high);
            Interval { median, low, high, confidence }
        };
        let verdict = |this: &Interval, other: &Interval| Ratio::of(this, other).unwrap().verdict;
        let (low, high) = (interval(90.0, 100.0, 0.96), interval(101.0, 109.0, 0.96));
        assert_eq!((verdict(&high, &low), verdict(&low, &high)), (Verdict::Higher, Verdict::Lower));
        assert_eq!(verdict(&low, &interval(100.0, 120.0, 0.96)), Verdict::NoClaim, "they touch");
        assert_eq!(verdict(&interval(101.0, 109.0, 0.9375), &low), Verdict::NoClaim, "too few repeats");
        let ratio = Ratio::of(&high, &low).unwrap();
        assert_eq!((ratio.ratio, ratio.low, ratio.high), (105.0 / 95.0, 101.0 / 100.0, 109.0 / 90.0));
        assert_eq!(Ratio::of(&high, &interval(0.0, 1.0, 0.96)), None);
    }
}
