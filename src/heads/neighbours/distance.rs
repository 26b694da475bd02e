//! Distances between two rows, in f64 and in a fixed order.
//!
//! Knows rows only. Invariant: a distance depends on its two rows alone, to the bit; equal rows are at distance 0.

use serde::{Deserialize, Serialize};

/// How far apart two rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Root of the sum of squared differences.
    #[default]
    L2,
    /// 1 less the cosine of the angle, from 0 to 2; a row of zeros is at 1 from all.
    Cosine,
}

impl Metric {
    /// The distance of rows whose squared norms (see [`squared_norm`]) are given.
    pub(super) fn distance(self, (one, one_norm): (&[f32], f64), (other, other_norm): (&[f32], f64)) -> f64 {
        match self {
            Self::L2 => sum(one, other, |a, b| (a - b) * (a - b)).sqrt(),
            Self::Cosine => {
                let norms = (one_norm * other_norm).sqrt();
                if norms == 0.0 { 1.0 } else { (1.0 - sum(one, other, |a, b| a * b) / norms).clamp(0.0, 2.0) }
            }
        }
    }
}

/// Sum of the squares of a row.
pub(super) fn squared_norm(row: &[f32]) -> f64 {
    sum(row, row, |a, b| a * b)
}

/// Eight running sums, so that the compiler may use vector registers without changing the order.
fn sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += term(f64::from(a[lane]), f64::from(b[lane]));
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(&a, &b)| term(f64::from(a), f64::from(b))).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(metric: Metric, one: &[f32], other: &[f32]) -> f64 {
        metric.distance((one, squared_norm(one)), (other, squared_norm(other)))
    }

    #[test]
    fn known_distances() {
        assert_eq!(distance(Metric::L2, &[0.0, 3.0], &[4.0, 0.0]), 5.0);
        assert_eq!(distance(Metric::Cosine, &[0.0, 3.0], &[4.0, 0.0]), 1.0);
        assert_eq!(distance(Metric::Cosine, &[1.0, 1.0], &[-2.0, -2.0]), 2.0);
        assert_eq!(distance(Metric::Cosine, &[0.0, 0.0], &[4.0, 0.0]), 1.0);
    }

    #[test]
    fn a_row_is_at_distance_0_from_itself() {
        let row: Vec<f32> = (0..37_u8).map(|at| (f32::from(at) * 0.37).sin()).collect();
        assert_eq!(distance(Metric::L2, &row, &row), 0.0);
        assert_eq!(distance(Metric::Cosine, &row, &row), 0.0);
    }
}
