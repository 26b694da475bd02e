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
    let rows = RankedRows::new(right, scores);
    let point = |cut: Cut| CutPoint { threshold: scores[cut.row] + 0.0, hits: cut.hits, false_hits: cut.false_hits };
    rows.cuts(&vec![1; right.len()]).map(point).collect()
}

/// Area under the ROC curve; none where no row is right or none is not.
pub fn roc_auc(right: &[bool], scores: &[f64]) -> Option<f64> {
    RankedRows::new(right, scores).roc_auc(&vec![1; right.len()])
}

/// Average precision: the sum of each cut's precision times what it adds to recall; none where no row is right.
pub fn average_precision(right: &[bool], scores: &[f64]) -> Option<f64> {
    RankedRows::new(right, scores).average_precision(&vec![1; right.len()])
}

/// Rows by falling score, one word each: there is one list for each class or label.
#[derive(Debug)]
pub(super) struct RankedRows {
    rows: Vec<RankedRow>,
}

/// The row's number, whether it is right, and whether it is the last of its equals.
#[derive(Debug, Clone, Copy)]
struct RankedRow(usize);

impl RankedRow {
    fn new(row: usize, right: bool, last: bool) -> Self {
        Self(row << 2 | usize::from(right) << 1 | usize::from(last))
    }

    fn row(self) -> usize {
        self.0 >> 2
    }

    fn is_right(self) -> bool {
        self.0 & 2 != 0
    }

    fn is_last(self) -> bool {
        self.0 & 1 != 0
    }
}

/// What is found down to a row.
struct Cut {
    /// The last row.
    row: usize,
    hits: u64,
    false_hits: u64,
}

impl RankedRows {
    /// Of as many rows as both slices have; scores are no NaN.
    pub(super) fn new(right: &[bool], scores: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..right.len().min(scores.len())).collect();
        // The order of floats puts -0.0 below 0.0, which are equal.
        order.sort_by(|&a, &b| (scores[b] + 0.0).total_cmp(&(scores[a] + 0.0)));
        let ranked = |(place, &row): (usize, &usize)| {
            let last = order.get(place + 1).is_none_or(|&next| scores[next] != scores[row]);
            RankedRow::new(row, right[row], last)
        };
        Self { rows: order.iter().enumerate().map(ranked).collect() }
    }

    /// The cuts if row i is there `times[i]` times; those that add no row are left out.
    fn cuts(&self, times: &[u32]) -> impl Iterator<Item = Cut> {
        let (mut hits, mut false_hits, mut before) = (0, 0, 0);
        self.rows.iter().filter_map(move |row| {
            let there = u64::from(times[row.row()]);
            *(if row.is_right() { &mut hits } else { &mut false_hits }) += there;
            let new = row.is_last() && hits + false_hits > before;
            if new {
                before = hits + false_hits;
            }
            new.then_some(Cut { row: row.row(), hits, false_hits })
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
            sum += (cut.hits - last) as f64 * (cut.hits as f64 / (cut.hits + cut.false_hits) as f64);
            last = cut.hits;
        }
        (last > 0).then(|| sum / last as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        /// The area is the share of pairs of a right and another row that are in order, a tie half.
        #[test]
        fn the_area_is_the_share_of_pairs_in_order(
            rows in proptest::collection::vec((proptest::bool::ANY, -3i32..4), 2..40),
        ) {
            let (right, scores): (Vec<bool>, Vec<f64>) =
                rows.iter().map(|&(right, score)| (right, f64::from(score) / 3.0)).unzip();
            let (mut pairs, mut in_order) = (0.0, 0.0);
            for (a, _) in rows.iter().enumerate().filter(|(_, row)| row.0) {
                for (b, _) in rows.iter().enumerate().filter(|(_, row)| !row.0) {
                    pairs += 1.0;
                    in_order += if scores[a] > scores[b] { 1.0 } else if scores[a] == scores[b] { 0.5 } else { 0.0 };
                }
            }
            match roc_auc(&right, &scores) {
                Some(area) => prop_assert!((area - in_order / pairs).abs() < 1e-12),
                None => prop_assert!(pairs == 0.0),
            }
        }
    }
}
