//! Classes and labels that folds lack, so that nobody wonders at a score. Knows targets and folds. Invariant: what is
//! listed is warned of and scored as it is: a class that no row of a fold was fitted on is never predicted there, one
//! that no row is validated of takes no part in means over classes.

use super::super::trainer::Targets;
use super::Fold;

/// A class or label without rows in one part of a fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingClass {
    /// 1-based fold.
    pub fold: usize,
    /// Number of the class or label.
    pub class: usize,
    /// Whether it is the rows to fit on that lack it, which costs quality; else those to score on.
    pub in_training: bool,
}

/// All that is missing, fold by fold; none for numbers, nor for classes that no row of all has.
pub fn missing_classes(targets: &Targets, folds: &[Fold]) -> Vec<MissingClass> {
    let everywhere: Vec<usize> = (0..targets.rows()).collect();
    let of_all = present(targets, &everywhere);
    let mut missing = Vec::new();
    for (index, fold) in folds.iter().enumerate() {
        for (rows, in_training) in [(&fold.train, true), (&fold.validation, false)] {
            let here = present(targets, rows);
            let lacks = (0..of_all.len()).filter(|&class| of_all[class] && !here[class]);
            missing.extend(lacks.map(|class| MissingClass { fold: index + 1, class, in_training }));
        }
    }
    missing
}

/// By class or label, whether a row of these has it.
fn present(targets: &Targets, rows: &[usize]) -> Vec<bool> {
    match targets {
        Targets::Classes { of, classes } => {
            let mut present = vec![false; *classes];
            rows.iter().for_each(|&row| present[of[row]] = true);
            present
        }
        Targets::Labels { of, labels } => {
            let mut present = vec![false; *labels];
            rows.iter().flat_map(|&row| &of[row]).for_each(|&label| present[label] = true);
            present
        }
        Targets::Numbers(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::stratified_folds;
    use super::*;

    #[test]
    fn rare_classes_are_named_with_the_folds_that_lack_them() {
        let of = vec![0, 0, 0, 1, 1, 1, 2];
        let folds = stratified_folds(&of, 3, 1).unwrap();
        let missing = missing_classes(&Targets::Classes { of, classes: 4 }, &folds);
        let alone = folds.iter().position(|fold| fold.validation.contains(&6)).unwrap() + 1;
        let expected: Vec<MissingClass> =
            (1..=3).map(|fold| MissingClass { fold, class: 2, in_training: fold == alone }).collect();
        assert_eq!(missing, expected);
        let sets = Targets::Labels { of: vec![vec![0], vec![0, 1]], labels: 2 };
        let folds = [Fold { train: vec![0], validation: vec![1] }];
        assert_eq!(missing_classes(&sets, &folds), [MissingClass { fold: 1, class: 1, in_training: true }]);
    }
}
