//! Stratified folds: every row is validated once, every class is spread evenly.
//!
//! Knows class numbers only. Invariant: the same labels, count and seed give the same folds on every machine.

use super::error::Error;

/// Row numbers to fit on and to score on; no row is in both, both ascend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Rows to fit on.
    pub train: Vec<usize>,
    /// Rows to score on.
    pub validation: Vec<usize>,
}

/// Splits the rows of `labels` into `k` folds, each class spread over the folds as evenly as its size allows and fold
/// sizes differing by one row at most. Which rows of a class go where is drawn by `seed`.
///
/// A class with fewer rows than folds is missing in some validation parts, a class with one row in one training part.
/// The share of each class per fold is that of scikit-learn's `StratifiedKFold` (its order of classes aside).
///
/// # Errors
/// Fewer than two folds, or more folds than rows.
pub fn stratified_folds(labels: &[usize], k: usize, seed: u64) -> Result<Vec<Fold>, Error> {
    if k < 2 || k > labels.len() {
        return Err(Error::FoldCount { folds: k, rows: labels.len() });
    }
    // Rows sorted by class (shuffled within): dealing them out in turn is even within classes and over all.
    let mut rows: Vec<usize> = (0..labels.len()).collect();
    let mut state = seed;
    for last in (1..rows.len()).rev() {
        let other = (u128::from(split_mix(&mut state)) * (last as u128 + 1)) >> 64;
        rows.swap(last, other as usize);
    }
    rows.sort_by_key(|&row| labels[row]);
    let mut fold_of = vec![0; labels.len()];
    for (turn, &row) in rows.iter().enumerate() {
        fold_of[row] = turn % k;
    }
    let fold = |index| {
        let (validation, train) = (0..labels.len()).partition(|&row| fold_of[row] == index);
        Fold { train, validation }
    };
    Ok((0..k).map(fold).collect())
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_validated_once_and_classes_are_spread() {
        let labels: Vec<usize> = (0..103).map(|row| if row % 10 == 0 { 2 } else { row % 2 }).collect();
        let folds = stratified_folds(&labels, 5, 7).unwrap();
        let mut seen = vec![0; labels.len()];
        for fold in &folds {
            assert_eq!(fold.train.len() + fold.validation.len(), labels.len());
            assert!((20..=21).contains(&fold.validation.len()));
            for class in 0..3 {
                let total = labels.iter().filter(|&&label| label == class).count();
                let here = fold.validation.iter().filter(|&&row| labels[row] == class).count();
                assert!((total / 5..=total.div_ceil(5)).contains(&here), "class {class}: {here} of {total}");
            }
            fold.validation.iter().for_each(|&row| seen[row] += 1);
        }
        assert!(seen.iter().all(|&count| count == 1));
    }

    #[test]
    fn the_seed_decides() {
        let labels: Vec<usize> = (0..40).map(|row| row % 2).collect();
        assert_eq!(stratified_folds(&labels, 4, 1).unwrap(), stratified_folds(&labels, 4, 1).unwrap());
        assert_ne!(stratified_folds(&labels, 4, 1).unwrap(), stratified_folds(&labels, 4, 2).unwrap());
    }

    #[test]
    fn fold_counts_at_the_border() {
        assert!(stratified_folds(&[0, 1], 2, 0).is_ok());
        let error = stratified_folds(&[0, 1], 3, 0).unwrap_err();
        assert_eq!(error.to_string(), "2 rows cannot be split into 3 folds: 2 to 2 are possible");
        assert!(stratified_folds(&[0, 1], 1, 0).is_err());
    }
}
