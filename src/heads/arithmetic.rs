//! Small functions of numbers that several kinds of heads need. Knows no head. Invariant: sums run in a fixed order.

use ndarray::{ArrayView1, ArrayViewMut1};

/// Eight running sums, so that the compiler may use vector registers without changing the order.
#[inline(always)]
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// 1 / (1 + e^-x) without overflow.
pub(crate) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// e^x over their sum, in place and without overflow; gives the log of the sum. All are finite, or negative infinity and
/// not all.
pub(super) fn softmax(mut row: ArrayViewMut1<'_, f64>) -> f64 {
    let max = row.fold(f64::NEG_INFINITY, |max, &logit| max.max(logit));
    row.mapv_inplace(|logit| (logit - max).exp());
    let sum = row.sum();
    row /= sum;
    max + sum.ln()
}

/// Index of the largest value, the first of equals.
pub(crate) fn argmax<'a, T: PartialOrd + 'a>(values: impl IntoIterator<Item = &'a T>) -> usize {
    let mut best: Option<(usize, &T)> = None;
    for (index, value) in values.into_iter().enumerate() {
        if best.is_none_or(|(_, largest)| value > largest) {
            best = Some((index, value));
        }
    }
    best.map_or(0, |(index, _)| index)
}

/// The class that decision values give: of one column the second above 0, else that of the largest, the first of equals.
pub(crate) fn decided(values: ArrayView1<'_, f64>) -> usize {
    if values.len() == 1 { usize::from(values[0] > 0.0) } else { argmax(values) }
}
