//! Folds of whole groups, and folds that a column names: for rows that are not independent of each other. Knows names
//! only. Invariant: the rows of one group are validated together.

use std::collections::BTreeMap;

use super::super::error::{Error, FoldError};
use super::super::random::Random;
use super::super::trainer::Targets;
use super::{Fold, MOST_FOLDS, by_number};

/// The group of each row as a number, in the order of the groups' names; a row without one is a group by itself.
fn group_numbers(groups: &[Option<String>]) -> (Vec<usize>, usize) {
    let mut numbers: BTreeMap<&str, usize> = groups.iter().flatten().map(|name| (name.as_str(), 0)).collect();
    numbers.values_mut().enumerate().for_each(|(number, place)| *place = number);
    let mut count = numbers.len();
    let number = |name: &Option<String>| match name {
        Some(name) => numbers[name.as_str()],
        None => {
            count += 1;
            count - 1
        }
    };
    let of = groups.iter().map(number).collect();
    (of, count)
}

/// Divides rows into folds of whole groups, each class and label and the number of rows spread as evenly as a greedy
/// choice can: the largest groups first (`seed` orders equals), each to the fold where the squared shares stay smallest.
/// A row without a group is a group by itself.
///
/// # Errors
/// A group for each row is not given, fewer than two folds, more folds than groups, or more than 1,000.
pub fn group_folds(
    targets: &Targets,
    groups: &[Option<String>],
    (folds, seed): (usize, u64),
) -> Result<Vec<Fold>, Error> {
    if groups.len() != targets.rows() {
        return Err(FoldError::GroupNames { names: groups.len(), rows: targets.rows() }.into());
    }
    let (of, count) = group_numbers(groups);
    if folds < 2 || folds > count {
        return Err(FoldError::GroupCount { folds, groups: count }.into());
    }
    if folds > MOST_FOLDS {
        return Err(FoldError::TooMany { folds, rows: of.len(), most: MOST_FOLDS }.into());
    }
    let mut rows_of: Vec<Vec<usize>> = vec![Vec::new(); count];
    of.iter().enumerate().for_each(|(row, &group)| rows_of[group].push(row));
    let mut order: Vec<usize> = (0..count).collect();
    Random::new(seed).shuffle(&mut order);
    order.sort_by_key(|&group| std::cmp::Reverse(rows_of[group].len()));

    let mut shares = Shares::new(targets, folds);
    let mut fold_of = vec![None; of.len()];
    for (dealt, &group) in order.iter().enumerate() {
        let counts = count_labels(targets, &rows_of[group]);
        // With no more groups than empty folds left, each of these gets one.
        let must_fill = count - dealt <= shares.empty();
        let fold = shares.best(&counts, rows_of[group].len(), must_fill);
        shares.add(fold, &counts, rows_of[group].len());
        rows_of[group].iter().for_each(|&row| fold_of[row] = Some(fold));
    }
    Ok(by_number(&fold_of, folds))
}

/// How often each label is right in these rows, label by label.
fn count_labels(targets: &Targets, rows: &[usize]) -> Vec<(usize, f64)> {
    let mut counts: BTreeMap<usize, f64> = BTreeMap::new();
    for &row in rows {
        match targets {
            Targets::Classes { of, .. } => *counts.entry(of[row]).or_default() += 1.0,
            Targets::Labels { of, .. } => of[row].iter().for_each(|&label| *counts.entry(label).or_default() += 1.0),
            Targets::Numbers(_) => {}
        }
    }
    counts.into_iter().collect()
}

/// What each fold holds.
struct Shares {
    /// Rows of each fold, and of all.
    rows: (Vec<f64>, f64),
    /// By label: rows of each fold, and of all.
    labels: Vec<(Vec<f64>, f64)>,
}

impl Shares {
    fn new(targets: &Targets, folds: usize) -> Self {
        let labels = match targets {
            Targets::Classes { classes, .. } => *classes,
            Targets::Labels { labels, .. } => *labels,
            Targets::Numbers(_) => 0,
        };
        let all: Vec<usize> = (0..targets.rows()).collect();
        let mut shares =
            Self { rows: (vec![0.0; folds], all.len() as f64), labels: vec![(vec![0.0; folds], 1.0); labels] };
        for (label, count) in count_labels(targets, &all) {
            shares.labels[label].1 = count;
        }
        shares
    }

    fn empty(&self) -> usize {
        self.rows.0.iter().filter(|&&rows| rows == 0.0).count()
    }

    /// What the sum of the squared shares of labels and rows would gain.
    fn cost(&self, fold: usize, counts: &[(usize, f64)], rows: usize) -> f64 {
        let gain = |(held, all): &(Vec<f64>, f64), more: f64| held[fold] * more / (all * all);
        gain(&self.rows, rows as f64)
            + counts.iter().map(|&(label, count)| gain(&self.labels[label], count)).sum::<f64>()
    }

    /// The cheapest fold; of equals the one with fewer rows, then the first.
    fn best(&self, counts: &[(usize, f64)], rows: usize, must_fill: bool) -> usize {
        let allowed = |fold: &usize| !must_fill || self.rows.0[*fold] == 0.0;
        let price = |fold: usize| (self.cost(fold, counts, rows), self.rows.0[fold]);
        let cheaper = |best: usize, fold: usize| if price(fold) < price(best) { fold } else { best };
        (0..self.rows.0.len()).filter(allowed).reduce(cheaper).unwrap_or(0)
    }

    fn add(&mut self, fold: usize, counts: &[(usize, f64)], rows: usize) {
        self.rows.0[fold] += rows as f64;
        counts.iter().for_each(|&(label, count)| self.labels[label].0[fold] += count);
    }
}

/// The folds that a column names, in the order of the names, which come along; a row that names none is fitted on in
/// every fold and never scored, as in scikit-learn's `PredefinedSplit`.
///
/// # Errors
/// A name or none for each of `rows` rows is not given, fewer than two names, or more than 1,000.
pub fn named_folds(names: &[Option<String>], rows: usize) -> Result<(Vec<String>, Vec<Fold>), Error> {
    if names.len() != rows {
        return Err(FoldError::GroupNames { names: names.len(), rows }.into());
    }
    let mut all: Vec<String> = names.iter().flatten().cloned().collect();
    all.sort_unstable();
    all.dedup();
    if all.len() < 2 {
        return Err(FoldError::Named { name: all.pop(), rows }.into());
    }
    if all.len() > MOST_FOLDS {
        return Err(FoldError::TooManyNamed { folds: all.len(), rows, most: MOST_FOLDS }.into());
    }
    let number = |name: &Option<String>| name.as_ref().and_then(|name| all.binary_search(name).ok());
    let fold_of: Vec<Option<usize>> = names.iter().map(number).collect();
    let folds = by_number(&fold_of, all.len());
    Ok((all, folds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[&str]) -> Vec<Option<String>> {
        of.iter().map(|name| (!name.is_empty()).then(|| (*name).to_owned())).collect()
    }

    #[test]
    fn groups_stay_whole_and_classes_are_spread() {
        // 60 groups of 1 to 6 rows; the class goes with the group.
        let (mut groups, mut of) = (Vec::new(), Vec::new());
        for group in 0..60 {
            for _ in 0..=group % 6 {
                groups.push(Some(format!("source {group}")));
                of.push(usize::from(group % 4 == 0));
            }
        }
        let targets = Targets::Classes { of: of.clone(), classes: 2 };
        let folds = group_folds(&targets, &groups, (5, 3)).unwrap();
        let mut seen = vec![0; of.len()];
        for fold in &folds {
            fold.validation.iter().for_each(|&row| seen[row] += 1);
            assert!(fold.train.iter().all(|&row| fold.validation.iter().all(|&other| groups[row] != groups[other])));
            let share = of.len() / 5;
            assert!(fold.validation.len().abs_diff(share) <= 3, "{} of {share}", fold.validation.len());
            let second = fold.validation.iter().filter(|&&row| of[row] == 1).count();
            let share = of.iter().sum::<usize>() / 5;
            assert!(second.abs_diff(share) <= 3, "{second} of {share}");
        }
        assert!(seen.iter().all(|&count| count == 1));
        assert_eq!(folds, group_folds(&targets, &groups, (5, 3)).unwrap());
        assert_ne!(folds, group_folds(&targets, &groups, (5, 4)).unwrap());
    }

    #[test]
    fn every_fold_gets_a_group_however_large_one_is() {
        let groups = names(&["a", "a", "a", "a", "a", "a", "b", "c", ""]);
        let numbers = Targets::Numbers(ndarray::Array2::zeros((9, 1)));
        let folds = group_folds(&numbers, &groups, (4, 0)).unwrap();
        let mut sizes: Vec<usize> = folds.iter().map(|fold| fold.validation.len()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 1, 1, 6]);
        // All in one label: shares of labels alone would fill one fold twice before another once.
        let sets =
            Targets::Labels { of: (0..9).map(|row| if row < 6 { vec![0] } else { vec![] }).collect(), labels: 1 };
        assert!(group_folds(&sets, &groups, (4, 0)).unwrap().iter().all(|fold| !fold.validation.is_empty()));
    }

    #[test]
    fn more_folds_than_groups_are_refused() {
        let targets = Targets::Classes { of: vec![0, 1, 0, 1], classes: 2 };
        let groups = names(&["a", "a", "b", "b"]);
        assert!(group_folds(&targets, &groups, (2, 0)).is_ok());
        let error = group_folds(&targets, &groups, (3, 0)).unwrap_err();
        assert_eq!(error.to_string(), "rows of 2 groups cannot be split into 3 folds: a group is never parted");
        assert_eq!(error.hint().unwrap(), "ask for 2 folds");
        let error = group_folds(&targets, &names(&["a", "a", "a", "a"]), (2, 0)).unwrap_err();
        assert_eq!(error.hint().unwrap(), "name a field that parts the rows into at least two groups");
        let error = group_folds(&targets, &groups[..3], (2, 0)).unwrap_err();
        assert_eq!(error.to_string(), "got 3 names of groups or folds for 4 rows");
    }

    #[test]
    fn a_column_names_the_folds() {
        let column = names(&["b", "a", "", "b"]);
        let (all, folds) = named_folds(&column, 4).unwrap();
        assert_eq!(all, ["a", "b"]);
        assert_eq!(folds[0], Fold { train: vec![0, 2, 3], validation: vec![1] });
        assert_eq!(folds[1], Fold { train: vec![1, 2], validation: vec![0, 3] });
        let error = named_folds(&names(&["b", "", "b"]), 3).unwrap_err();
        assert_eq!(error.to_string(), "all of 3 rows that name a fold name `b`, expected at least two folds");
        let error = named_folds(&names(&["", ""]), 2).unwrap_err();
        assert_eq!(error.to_string(), "none of 2 rows names a fold, expected at least two folds");
    }

    #[test]
    fn a_column_with_a_name_for_each_row_is_refused() {
        let column: Vec<Option<String>> = (0..2002).map(|row| Some(format!("doc {}", row / 2))).collect();
        assert_eq!(named_folds(&column[..2000], 2000).unwrap().1.len(), 1000);
        let error = named_folds(&column, 2002).unwrap_err();
        let want = "the field that names folds has 1001 values in 2002 rows, expected at most 1000";
        assert_eq!(error.to_string(), want);
        assert!(error.hint().unwrap().starts_with("name a field with a few values"));
        let targets = Targets::Numbers(ndarray::Array2::zeros((2002, 1)));
        let error = group_folds(&targets, &column, (1001, 0)).unwrap_err();
        assert_eq!(error.to_string(), "got 1001 folds of 2002 rows, expected at most 1000");
    }
}
