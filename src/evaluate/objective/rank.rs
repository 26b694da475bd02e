//! Rank correlations. Knows pairs of numbers. Invariant: equal numbers share a rank, whichever of them comes first.

/// Kendall's tau-b of finite pairs, by Knight's way: sorted by the first numbers, the swaps that sort the second ones are
/// the pairs in disagreement. None where one side is constant.
pub(in crate::evaluate) fn kendall_tau_b(mut pairs: Vec<(f64, f64)>) -> Option<f64> {
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    kendall_of_sorted(&pairs)
}

/// The same of pairs that are sorted by both numbers.
pub(super) fn kendall_of_sorted(pairs: &[(f64, f64)]) -> Option<f64> {
    let all = pairs_of(pairs.len());
    let tied_first = tied(pairs, |a, b| a.0 == b.0);
    let tied_both = tied(pairs, |a, b| a == b);
    let mut second: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    let swaps = sort_counting_swaps(&mut second);
    let tied_second = tied(&second, |a, b| a == b);
    let balance = all - tied_first - tied_second + tied_both - 2 * swaps;
    let tau = balance as f64 / ((all - tied_first) as f64).sqrt() / ((all - tied_second) as f64).sqrt();
    tau.is_finite().then(|| tau.clamp(-1.0, 1.0))
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

/// Rows by rising number, to rank them again and again.
#[derive(Debug)]
pub(super) struct Ascending {
    order: Vec<usize>,
}

impl Ascending {
    /// Of finite numbers.
    pub(super) fn new(values: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        Self { order }
    }

    /// The rank of each of `values` if row i is there `times[i]` times: the mean of the places of its equals.
    pub(super) fn ranks(&self, values: &[f64], times: &[u32]) -> Vec<f64> {
        let mut ranks = vec![0.0; values.len()];
        let mut below = 0_u64;
        for equal in self.order.chunk_by(|&a, &b| values[a] == values[b]) {
            let here: u64 = equal.iter().map(|&row| u64::from(times[row])).sum();
            let rank = below as f64 + (here as f64 + 1.0) / 2.0;
            equal.iter().for_each(|&row| ranks[row] = rank);
            below += here;
        }
        ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_there_twice_rank_as_two_rows() {
        let once = [3.0, 1.0, 3.0, 2.0];
        let twice = [3.0, 3.0, 1.0, 2.0, 2.0, 2.0];
        let ranks = Ascending::new(&once).ranks(&once, &[2, 1, 0, 3]);
        let expected = Ascending::new(&twice).ranks(&twice, &[1; 6]);
        assert_eq!([ranks[0], ranks[1], ranks[3]], [expected[0], expected[2], expected[3]]);
        assert_eq!(Ascending::new(&once).ranks(&once, &[1; 4]), [3.5, 1.0, 3.5, 2.0]);
    }

    #[test]
    fn a_constant_side_has_no_tau() {
        assert_eq!(kendall_tau_b(vec![(1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(kendall_tau_b(vec![(1.0, 2.0)]), None);
        assert_eq!(kendall_tau_b(vec![(2.0, 2.0), (1.0, 3.0)]), Some(-1.0));
    }
}
