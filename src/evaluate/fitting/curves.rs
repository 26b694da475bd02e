//! Precision against recall of the labels that have most rows, thinned to what an eye can see. Knows answers and what is
//! right. Invariant: every point is the precision and recall of some cut; the area is that of all cuts.

use ndarray::ArrayView2;

use super::super::{average_precision, cut_points};
use crate::heads::Targets;

/// Points of a curve at most, the last one aside.
const MOST_POINTS: f64 = 50.0;
/// Answers that are pooled at most for the curve of all labels together.
const MOST_POOLED: usize = 20_000_000;

/// The curve of one label, or of all together.
#[derive(Debug, Clone, PartialEq)]
pub struct PrecisionRecall {
    /// Number of the label; none of all together.
    pub label: Option<usize>,
    /// Rows that have it.
    pub rows: usize,
    /// Average precision, over all cuts.
    pub average_precision: f64,
    /// Recall and precision, by rising recall.
    pub points: Vec<(f64, f64)>,
}

/// The curve of all labels together, then those of the `most` labels that are right in most rows. Of two classes that of
/// the second alone. Labels that are right nowhere have none; `answers` are rows × labels of a head.
pub fn precision_recall(truth: &Targets, answers: ArrayView2<'_, f32>, most: usize) -> Vec<PrecisionRecall> {
    let labels = answers.ncols();
    let (rights, columns): (Vec<Vec<bool>>, Vec<usize>) = match truth {
        Targets::Classes { of, .. } => {
            let columns: Vec<usize> = if labels == 2 { vec![1] } else { (0..labels).collect() };
            (columns.iter().map(|&column| of.iter().map(|&class| class == column).collect()).collect(), columns)
        }
        Targets::Labels { of, .. } => {
            let right = |column: usize| of.iter().map(|set| set.binary_search(&column).is_ok()).collect();
            ((0..labels).map(right).collect(), (0..labels).collect())
        }
        Targets::Numbers(_) => return Vec::new(),
    };
    let scores = |column: usize| answers.column(column).iter().map(|&answer| f64::from(answer)).collect::<Vec<_>>();
    let mut curves = Vec::new();
    if columns.len() > 1 && answers.len() <= MOST_POOLED {
        let pooled: Vec<f64> = columns.iter().flat_map(|&column| scores(column)).collect();
        curves.extend(curve(None, &rights.concat(), &pooled));
    }
    let support = |at: usize| rights[at].iter().filter(|right| **right).count();
    let mut order: Vec<(usize, usize)> = (0..columns.len()).map(|at| (at, support(at))).collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let largest = order.into_iter().filter(|(_, rows)| *rows > 0).take(most);
    curves.extend(largest.filter_map(|(at, _)| curve(Some(columns[at]), &rights[at], &scores(columns[at]))));
    curves
}

fn curve(label: Option<usize>, right: &[bool], scores: &[f64]) -> Option<PrecisionRecall> {
    let rows = right.iter().filter(|right| **right).count();
    let average_precision = average_precision(right, scores)?;
    let cuts = cut_points(right, scores);
    let mut points: Vec<(f64, f64)> = Vec::new();
    let last = cuts.len() - 1;
    for (at, cut) in cuts.iter().enumerate() {
        let point = (cut.recall(rows as u64), cut.precision());
        if at == last || points.last().is_none_or(|before| point.0 - before.0 >= 1.0 / MOST_POINTS) {
            points.push(point);
        }
    }
    Some(PrecisionRecall { label, rows, average_precision, points })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn curves_by_hand() {
        let truth = Targets::Labels { of: vec![vec![0], vec![], vec![0, 1], vec![0]], labels: 3 };
        let answers = array![[0.75, 0.5, 0.0], [0.5, 0.25, 0.0], [0.25, 0.75, 0.0], [0.875, 0.0, 0.0]];
        let curves = precision_recall(&truth, answers.view(), 5);
        assert_eq!(curves.iter().map(|curve| curve.label).collect::<Vec<_>>(), [None, Some(0), Some(1)]);
        assert_eq!(curves[1].points, [(1.0 / 3.0, 1.0), (2.0 / 3.0, 1.0), (1.0, 0.75)]);
        assert!((curves[1].average_precision - (2.0 / 3.0 + 0.25)).abs() < 1e-15);
        assert_eq!((curves[2].points[0], curves[0].rows), ((1.0, 1.0), 4));
        let two = Targets::Classes { of: vec![0, 1], classes: 2 };
        let curves = precision_recall(&two, array![[0.75, 0.25], [0.5, 0.5]].view(), 5);
        assert_eq!((curves.len(), curves[0].label), (1, Some(1)));
        let numbers = Targets::Numbers(array![[1.0]]);
        assert!(precision_recall(&numbers, array![[1.0]].view(), 5).is_empty());
    }

    #[test]
    fn long_curves_are_thinned_to_their_end() {
        let of = (0..10_000).map(|row| usize::from(row * 7 % 10 < 4)).collect();
        let truth = Targets::Classes { of, classes: 2 };
        let answers = Array2::from_shape_fn((10_000, 2), |(row, _)| (row * 7_919 % 10_000) as f32);
        let curves = precision_recall(&truth, answers.view(), 5);
        assert!((40..=52).contains(&curves[0].points.len()), "{}", curves[0].points.len());
        assert_eq!(curves[0].points.last().unwrap().0, 1.0);
        assert!(curves[0].points.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
