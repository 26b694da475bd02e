//! Folds at random with every class and label spread evenly: what a cross-validation uses where nothing speaks against
//! it. Knows targets only. Invariant: every row is validated once.

use super::super::error::{Error, FoldError};
use super::super::random::Random;
use super::super::trainer::Targets;
use super::{Fold, MOST_FOLDS, by_number};

/// Divides rows into `count` folds: classes as [`stratified_folds`], label sets by iterative stratification, numbers at
/// random.
///
/// # Errors
/// Fewer than two folds, more folds than rows, or more than 1,000.
pub fn folds(targets: &Targets, count: usize, seed: u64) -> Result<Vec<Fold>, Error> {
    match targets {
        Targets::Classes { of, .. } => stratified_folds(of, count, seed),
        Targets::Labels { of, labels } => {
            check(of.len(), count)?;
            Ok(by_number(&spread_labels(of, *labels, (count, seed)), count))
        }
        Targets::Numbers(numbers) => stratified_folds(&vec![0; numbers.nrows()], count, seed),
    }
}

/// Splits the rows of `labels` into `k` folds, each class spread over the folds as evenly as its size allows and fold
/// sizes differing by one row at most. Which rows of a class go where is drawn by `seed`.
///
/// A class with fewer rows than folds is missing in some validation parts, a class with one row in one training part.
/// The share of each class per fold is that of scikit-learn's `StratifiedKFold` (its order of classes aside).
///
/// # Errors
/// Fewer than two folds, more folds than rows, or more than 1,000.
pub fn stratified_folds(labels: &[usize], k: usize, seed: u64) -> Result<Vec<Fold>, Error> {
    check(labels.len(), k)?;
    // Rows sorted by class (shuffled within): dealing them out in turn is even within classes and over all.
    let mut rows = shuffled(labels.len(), seed);
    rows.sort_by_key(|&row| labels[row]);
    let mut fold_of = vec![None; labels.len()];
    for (turn, &row) in rows.iter().enumerate() {
        fold_of[row] = Some(turn % k);
    }
    Ok(by_number(&fold_of, k))
}

fn check(rows: usize, folds: usize) -> Result<(), Error> {
    if folds < 2 || folds > rows {
        return Err(FoldError::RowCount { folds, rows }.into());
    }
    if folds > MOST_FOLDS {
        return Err(FoldError::TooMany { folds, rows, most: MOST_FOLDS }.into());
    }
    Ok(())
}

fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..count).collect();
    Random::new(seed).shuffle(&mut rows);
    rows
}

/// Iterative stratification (Sechidis, Tsoumakas, Vlahavas, "On the stratification of multi-label data", 2011): the rows
/// of the rarest label are dealt first, each to the fold that lacks most of that label, of equals to the one that lacks
/// most rows. Rows without labels come last and even out the sizes.
fn spread_labels(of: &[Vec<usize>], labels: usize, (folds, seed): (usize, u64)) -> Vec<Option<usize>> {
    let order = shuffled(of.len(), seed);
    let mut holders: Vec<Vec<usize>> = vec![Vec::new(); labels];
    for &row in &order {
        of[row].iter().for_each(|&label| holders[label].push(row));
    }
    let mut left: Vec<usize> = holders.iter().map(Vec::len).collect();
    let mut lacking: Vec<Vec<f64>> = left.iter().map(|&rows| vec![rows as f64 / folds as f64; folds]).collect();
    let mut rows_lacking = vec![of.len() as f64 / folds as f64; folds];
    let mut fold_of = vec![None; of.len()];
    loop {
        let rarest = (0..labels).filter(|&label| left[label] > 0).min_by_key(|&label| left[label]);
        let rows: Vec<usize> = match rarest {
            Some(label) => holders[label].iter().copied().filter(|&row| fold_of[row].is_none()).collect(),
            None => order.iter().copied().filter(|&row| fold_of[row].is_none()).collect(),
        };
        for row in rows {
            let wants = |fold: usize| (rarest.map_or(0.0, |label| lacking[label][fold]), rows_lacking[fold]);
            let fold = (1..folds).fold(0, |best, fold| if wants(fold) > wants(best) { fold } else { best });
            fold_of[row] = Some(fold);
            rows_lacking[fold] -= 1.0;
            for &label in &of[row] {
                lacking[label][fold] -= 1.0;
                left[label] -= 1;
            }
        }
        if rarest.is_none() {
            return fold_of;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let sets = Targets::Labels { of: vec![vec![0], vec![]], labels: 1 };
        assert!(folds(&sets, 2, 0).is_ok() && folds(&sets, 3, 0).is_err());
        let numbers = Targets::Numbers(ndarray::Array2::zeros((4, 1)));
        assert!(folds(&numbers, 4, 0).unwrap().iter().all(|fold| fold.validation.len() == 1));
        assert!(folds(&numbers, 5, 0).is_err());
    }

    #[test]
    fn more_folds_than_anybody_fits_are_refused() {
        let classes = Targets::Classes { of: (0..1001).map(|row| row % 2).collect(), classes: 2 };
        let sets = Targets::Labels { of: vec![vec![0]; 1001], labels: 1 };
        let numbers = Targets::Numbers(ndarray::Array2::zeros((1001, 1)));
        for targets in [classes, sets, numbers] {
            assert_eq!(folds(&targets, 1000, 0).unwrap().len(), 1000);
            let error = folds(&targets, 1001, 0).unwrap_err();
            assert_eq!(error.to_string(), "got 1001 folds of 1001 rows, expected at most 1000");
            assert_eq!(error.hint().unwrap(), "ask for 2 to 1000 folds, 5 or 10 are usual");
        }
    }

    proptest! {
        /// A label with so many rows is in every fold as often as its number allows, give or take one.
        #[test]
        fn labels_are_spread_over_the_folds(
            of in proptest::collection::vec(proptest::collection::btree_set(0usize..4, 0..3), 20..120), seed in 0u64..9,
        ) {
            let of: Vec<Vec<usize>> = of.into_iter().map(|set| set.into_iter().collect()).collect();
            let targets = Targets::Labels { of: of.clone(), labels: 4 };
            let folds = folds(&targets, 4, seed).unwrap();
            let mut validated: Vec<usize> = folds.iter().flat_map(|fold| fold.validation.clone()).collect();
            validated.sort_unstable();
            prop_assert_eq!(validated, (0..of.len()).collect::<Vec<_>>());
            for label in 0..4 {
                let rows = of.iter().filter(|set| set.contains(&label)).count();
                for fold in &folds {
                    let here = fold.validation.iter().filter(|&&row| of[row].contains(&label)).count();
                    prop_assert!(here.abs_diff(rows / 4) <= 3, "label {}: {} of {}", label, here, rows);
                }
            }
        }
    }
}
