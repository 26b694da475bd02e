//! What every cut of a list of scores gives, and the areas under the curves that the cuts draw. Knows scores and who is
//! right. Invariant: equal scores are cut together, so that the order of rows does not matter.

/// What is found at and above a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutPoint {
    /// The score.
    pub threshold: f64,
    /// Right rows at or above it.
    pub hits: u64,
    /// Other rows at or above it.
    pub false_hits: u64,
}

impl CutPoint {
    /// Share of the rows at or above it that are right; one is.
    pub fn precision(&self) -> f64 {
        self.hits as f64 / (self.hits + self.false_hits) as f64
    }

    /// Share of `right` rows that are at or above it; 0 of none.
    pub fn recall(&self, right: u64) -> f64 {
        if right == 0 { 0.0 } else { self.hits as f64 / right as f64 }
    }
}

/// The cuts of scores, which are no NaN, from the highest down: one for each score that occurs. The last has all rows.
/// With precision and recall they are scikit-learn's `precision_recall_curve` (whose last point is an empty cut), with
/// `hits` and `false_hits` its `roc_curve` with no point dropped.
pub fn cut_points(right: &[bool], scores: &[f64]) -> Vec<CutPoint> {
    RankedRows::new(right, scores).cuts(&vec![1; right.len()]).collect()
}

/// Area under the ROC curve; none where no row is right or none is not.
pub fn roc_auc(right: &[bool], scores: &[f64]) -> Option<f64> {
    RankedRows::new(right, scores).roc_auc(&vec![1; right.len()])
}

/// Average precision: the sum of each cut's precision times what it adds to recall; none where no row is right.
pub fn average_precision(right: &[bool], scores: &[f64]) -> Option<f64> {
    RankedRows::new(right, scores).average_precision(&vec![1; right.len()])
}

/// Rows by falling score.
#[derive(Debug)]
pub(super) struct RankedRows {
    rows: Vec<RankedRow>,
}

#[derive(Debug)]
struct RankedRow {
    row: usize,
    score: f64,
    right: bool,
}

impl RankedRows {
    /// Of as many rows as both slices have; scores are no NaN.
    pub(super) fn new(right: &[bool], scores: &[f64]) -> Self {
        let pairs = right.iter().zip(scores).enumerate();
        // The order of floats puts -0.0 below 0.0, which are equal.
        let mut rows: Vec<RankedRow> =
            pairs.map(|(row, (&right, &score))| RankedRow { row, score: score + 0.0, right }).collect();
        rows.sort_by(|a, b| b.score.total_cmp(&a.score));
        Self { rows }
    }

    /// The cuts if row i is there `times[i]` times; those that add no row are left out.
    pub(super) fn cuts(&self, times: &[u32]) -> impl Iterator<Item = CutPoint> {
        let (mut hits, mut false_hits) = (0, 0);
        self.rows.chunk_by(|a, b| a.score == b.score).filter_map(move |equal| {
            let before = hits + false_hits;
            for row in equal {
                *(if row.right { &mut hits } else { &mut false_hits }) += u64::from(times[row.row]);
            }
            (hits + false_hits > before).then_some(CutPoint { threshold: equal[0].score, hits, false_hits })
        })
    }

    pub(super) fn roc_auc(&self, times: &[u32]) -> Option<f64> {
        let mut area = 0.0;
        let mut last = (0, 0);
        for cut in self.cuts(times) {
            // Twice a trapezium: a whole number.
            area += ((cut.false_hits - last.1) as f64) * (cut.hits + last.0) as f64;
            last = (cut.hits, cut.false_hits);
        }
        (last.0 > 0 && last.1 > 0).then(|| area / (2.0 * last.0 as f64 * last.1 as f64))
    }

    pub(super) fn average_precision(&self, times: &[u32]) -> Option<f64> {
        let mut last = 0;
        let mut sum = 0.0;
        for cut in self.cuts(times) {
            sum += (cut.hits - last) as f64 * cut.precision();
            last = cut.hits;
        }
        (last > 0).then(|| sum / last as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_are_cut_together() {
        let right = [true, false, true, false, true];
        let cuts = cut_points(&right, &[0.5, 0.5, 2.0, f64::NEG_INFINITY, -0.0]);
        let found: Vec<(f64, u64, u64)> = cuts.iter().map(|cut| (cut.threshold, cut.hits, cut.false_hits)).collect();
        assert_eq!(found, [(2.0, 1, 0), (0.5, 2, 1), (0.0, 3, 1), (f64::NEG_INFINITY, 3, 2)]);
        assert_eq!((cuts[1].precision(), cuts[1].recall(3)), (2.0 / 3.0, 2.0 / 3.0));
        assert_eq!(roc_auc(&[true, false], &[0.0, -0.0]), Some(0.5));
    }

    #[test]
    fn areas_need_rows_of_both_sorts() {
        assert_eq!((roc_auc(&[true, true], &[1.0, 2.0]), roc_auc(&[false], &[1.0])), (None, None));
        assert_eq!((average_precision(&[true], &[1.0]), average_precision(&[false], &[1.0])), (Some(1.0), None));
    }
}
