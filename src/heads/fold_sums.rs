//! Sums over the training rows of each fold, every row being looked at once: all rows less those that are left out.
//!
//! Knows folds and sums, no penalty. Invariant: the same sums on any number of threads.

use rayon::prelude::*;

use super::folds::Fold;
use super::moments::Moments;
use super::sample::{Origin, Sample};
use super::trainer::LabelledRows;

/// Whether every row is validated in one fold and fitted on in all others.
pub(super) fn part_the_rows(folds: &[Fold], rows: usize) -> bool {
    let mut validated_in = vec![usize::MAX; rows];
    for (number, fold) in folds.iter().enumerate() {
        for &row in &fold.validation {
            if validated_in[row] != usize::MAX {
                return false;
            }
            validated_in[row] = number;
        }
    }
    let others = |(number, fold): (usize, &Fold)| {
        fold.train.len() + fold.validation.len() == rows
            && fold.train.is_sorted_by(|one, next| one < next)
            && fold.train.iter().all(|&row| validated_in[row] != number)
    };
    !validated_in.contains(&usize::MAX) && folds.iter().enumerate().all(others)
}

/// Sums over the training rows of each fold, and the origin that they are about; cheaper than looking at each fold's
/// rows by itself where the folds part the rows.
pub(super) fn sums_of_folds(data: &LabelledRows<'_>, folds: &[Fold], intercept: bool) -> (Vec<Moments>, Origin) {
    let all = Sample::all(*data);
    let origin = if intercept { Origin::near_middle(&all) } else { Origin::zero(&all) };
    let sums = |rows: &[usize]| Moments::of(&Sample::of(*data, rows), &origin);
    if !part_the_rows(folds, all.count()) {
        return (folds.iter().map(|fold| sums(&fold.train)).collect(), origin);
    }
    let parts: Vec<Moments> = folds.par_iter().map(|fold| sums(&fold.validation)).collect();
    let mut total = sums(&[]);
    parts.iter().for_each(|part| total.add(part, 1.0));
    let train = |part: &Moments| {
        let mut train = total.clone();
        train.add(part, -1.0);
        train
    };
    (parts.iter().map(train).collect(), origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(train: &[usize], validation: &[usize]) -> Fold {
        Fold { train: train.to_vec(), validation: validation.to_vec() }
    }

    #[test]
    fn what_parts_the_rows() {
        assert!(part_the_rows(&[fold(&[1, 2], &[0]), fold(&[0, 2], &[1]), fold(&[0, 1], &[2])], 3));
        // A row left out of all, validated twice, not fitted on, fitted on though validated, fitted on twice.
        assert!(!part_the_rows(&[fold(&[1, 2], &[0]), fold(&[0, 2], &[1])], 3));
        assert!(!part_the_rows(&[fold(&[2], &[0, 1]), fold(&[0], &[1, 2])], 3));
        assert!(!part_the_rows(&[fold(&[1], &[0]), fold(&[0], &[1, 2])], 3));
        assert!(!part_the_rows(&[fold(&[0, 1], &[0]), fold(&[0], &[1, 2])], 3));
        assert!(!part_the_rows(&[fold(&[1, 1], &[0]), fold(&[0], &[1, 2])], 3));
    }
}
