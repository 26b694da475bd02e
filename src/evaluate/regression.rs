//! Measures of predicted numbers, as scikit-learn and scipy define them.
//!
//! Invariant: every sum runs over the rows in their order, so that the same rows give the same figures.

use serde::Serialize;

use super::error::Error;

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
    /// Pearson's correlation; none where one side is constant.
    pub pearson: Option<f64>,
}

/// Measures predicted numbers against the right ones. Takes n log n steps and 24 bytes a row.
///
/// # Errors
/// No rows, counts that differ, or a number that is not finite.
pub fn regression(truth: &[f64], predicted: &[f32]) -> Result<Regression, Error> {
    if truth.len() != predicted.len() {
        return Err(Error::Count { truth: truth.len(), predicted: predicted.len() });
    }
    if truth.is_empty() {
        return Err(Error::Empty);
    }
    let finite = |(truth, predicted): (&f64, &f32)| truth.is_finite() && predicted.is_finite();
    if let Some(row) = truth.iter().zip(predicted).position(|pair| !finite(pair)) {
        return Err(Error::NotFinite { row, truth: truth[row], predicted: predicted[row] });
    }
    let pairs = || truth.iter().zip(predicted).map(|(&truth, &predicted)| (truth, f64::from(predicted)));
    let rows = truth.len() as f64;
    let (sum_truth, sum_predicted) = pairs().fold((0.0, 0.0), |(a, b), (truth, predicted)| (a + truth, b + predicted));
    let (mean_truth, mean_predicted) = (sum_truth / rows, sum_predicted / rows);
    let (mut absolute, mut squared) = (0.0, 0.0);
    let (mut of_truth, mut of_predicted, mut of_both) = (0.0, 0.0, 0.0);
    for (truth, predicted) in pairs() {
        let error = truth - predicted;
        absolute += error.abs();
        squared += error * error;
        let (a, b) = (truth - mean_truth, predicted - mean_predicted);
        of_truth += a * a;
        of_predicted += b * b;
        of_both += a * b;
    }
    // Told by the values: rounding may leave a constant some variance.
    let truth_is_constant = truth.iter().all(|&value| value == truth[0]);
    let constant = truth_is_constant || predicted.iter().all(|&value| value == predicted[0]);
    let r2 = match truth.len() {
        1 => None,
        _ if truth_is_constant => Some(if squared == 0.0 { 1.0 } else { 0.0 }),
        _ => measured(1.0 - squared / of_truth),
    };
    let norms = measured(of_truth.sqrt() * of_predicted.sqrt());
    let pearson = norms.map(|norms| (of_both / norms).clamp(-1.0, 1.0));
    Ok(Regression {
        rows: truth.len() as u64,
        r2,
        mae: absolute / rows,
        rmse: (squared / rows).sqrt(),
        kendalltau: if constant { None } else { kendall_tau_b(pairs().map(without_sign_of_zero).collect()) },
        pearson: if constant { None } else { pearson },
    })
}

/// Numbers near the end of the floats' range have sums beyond it.
fn measured(figure: f64) -> Option<f64> {
    figure.is_finite().then_some(figure)
}

/// The order of floats puts -0.0 before 0.0, which are equal.
fn without_sign_of_zero((truth, predicted): (f64, f64)) -> (f64, f64) {
    (truth + 0.0, predicted + 0.0)
}

/// Knight's way: sorted by the first numbers, the swaps that sort the second ones are the pairs in disagreement.
fn kendall_tau_b(mut pairs: Vec<(f64, f64)>) -> Option<f64> {
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let all = pairs_of(pairs.len());
    let tied_first = tied(&pairs, |a, b| a.0 == b.0);
    let tied_both = tied(&pairs, |a, b| a == b);
    let mut second: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    drop(pairs);
    let swaps = sort_counting_swaps(&mut second);
    let tied_second = tied(&second, |a, b| a == b);
    let balance = all - tied_first - tied_second + tied_both - 2 * swaps;
    let tau = balance as f64 / ((all - tied_first) as f64).sqrt() / ((all - tied_second) as f64).sqrt();
    measured(tau.clamp(-1.0, 1.0))
}

/// Pairs within `count` things.
fn pairs_of(count: usize) -> i64 {
    let count = count as i64;
    count * (count - 1) / 2
}

/// Pairs of equals in a sorted list.
fn tied<T>(sorted: &[T], same: impl Fn(&T, &T) -> bool) -> i64 {
    sorted.chunk_by(same).map(|group| pairs_of(group.len())).sum()
}

/// Merge sort from the bottom up; the number of pairs that stood the wrong way round.
fn sort_counting_swaps(values: &mut Vec<f64>) -> i64 {
    let mut swaps = 0;
    let mut width = 1;
    let mut merged = Vec::with_capacity(values.len());
    while width < values.len() {
        merged.clear();
        for block in values.chunks(2 * width) {
            let (left, right) = block.split_at(width.min(block.len()));
            let (mut a, mut b) = (0, 0);
            while a < left.len() && b < right.len() {
                if left[a] <= right[b] {
                    merged.push(left[a]);
                    a += 1;
                } else {
                    merged.push(right[b]);
                    b += 1;
                    swaps += (left.len() - a) as i64;
                }
            }
            merged.extend_from_slice(&left[a..]);
            merged.extend_from_slice(&right[b..]);
        }
        std::mem::swap(values, &mut merged);
        width *= 2;
    }
    swaps
}
