//! A head is fitted on the `train` rows of a corpus, with C given or chosen, and measured on every part of the split.

mod map;
mod mistakes;

use ndarray::Array2;
use serde::Serialize;

pub use map::{PlaneMap, plane_map};
pub use mistakes::{GivenAnswer, Mistake, worst_mistakes};

use super::error::Error;
use super::metrics::{ClassFigures, classification, f1_macro};
use crate::heads::{
    DEV, Fold, LogisticFit, LogisticOptions, PathOverC, TRAIN, Targets, TrainingSet, choose_c, fit_logistic,
    stratified_folds,
};

/// Folds of the cross-validation that chooses C where the corpus has no `dev` rows.
const FOLDS: usize = 5;
/// Its seed: the choice is the same for the same rows in the same order.
const SEED: u64 = 42;

/// How strongly a head is regularized.
#[derive(Debug, Clone, PartialEq)]
pub enum Strength {
    /// scikit-learn's C.
    Fixed(f64),
    /// The one of these that gives the best macro-F1 on `dev`, else in a stratified 5-fold cross-validation.
    Grid(Vec<f64>),
}

/// A fitted head's numbers with all that was measured.
#[derive(Debug)]
pub struct Fitting {
    /// Coefficients, intercepts, convergence.
    pub fit: LogisticFit,
    /// The C that was used.
    pub c: f64,
    /// What each C of a grid reached, and on which rows.
    pub choice: Option<Choice>,
    /// One entry for each part of the split, train first.
    pub parts: Vec<PartReport>,
}

/// How C was chosen.
#[derive(Debug, Serialize)]
pub struct Choice {
    /// `dev`, or `5-fold on train`.
    pub on: String,
    /// The scores.
    pub path: PathOverC,
}

/// Quality on one part of the split.
#[derive(Debug, Clone, Serialize)]
pub struct PartReport {
    /// Name of the part: train, dev, test, test_group, held_out, ...
    pub part: String,
    /// Rows.
    pub rows: usize,
    /// Share of rows with the right label.
    pub accuracy: f64,
    /// Mean of the classes' F1.
    pub f1_macro: f64,
    /// Per-class figures, in the order of `classes`.
    pub per_class: Vec<ClassFigures>,
    /// Names of the classes of the confusion matrix.
    pub classes: Vec<String>,
    /// Rows of class i (first index) that were given class j; empty where there are too many classes to show.
    pub confusion: Vec<Vec<u64>>,
    /// Rows whose label no training row has; they count as wrong.
    pub unknown_labels: usize,
}

/// Fits a logistic regression on the `train` rows and measures it everywhere.
///
/// # Errors
/// Fewer than two classes in `train`, values that are not finite, or a fit that did not converge.
pub fn fit_and_measure(set: &TrainingSet, strength: &Strength) -> Result<Fitting, Error> {
    let train = set.rows_of(TRAIN);
    let (x, y) = classes_of(set, &train);
    let classes = set.classes.trained;
    let (c, choice) = match strength {
        Strength::Fixed(c) => (*c, None),
        Strength::Grid(grid) => {
            let choice = choose(set, (&train, &x, &y), grid)?;
            (choice.path.chosen, Some(choice))
        }
    };
    let fit = fit_logistic(x.view(), &y, classes, &LogisticOptions { c, ..LogisticOptions::default() })?;
    let parts = set.parts().iter().map(|part| measure(set, part, &fit)).collect::<Result<_, _>>()?;
    Ok(Fitting { fit, c, choice, parts })
}

fn classes_of(set: &TrainingSet, rows: &[usize]) -> (Array2<f32>, Vec<usize>) {
    let of = match set.targets.select(rows) {
        Targets::Classes { of, .. } => of,
        _ => Vec::new(),
    };
    (set.copied(rows), of)
}

/// Chooses C on `dev` where there is one, else by cross-validation on `train`.
fn choose(set: &TrainingSet, (train, x, y): (&[usize], &Array2<f32>, &[usize]), grid: &[f64]) -> Result<Choice, Error> {
    let dev: Vec<usize> = set.rows_of(DEV).into_iter().filter(|&row| set.is_known(row)).collect();
    if dev.is_empty() {
        let folds = stratified_folds(y, FOLDS, SEED)?;
        let path = choose_c(x.view(), y, &folds, grid, f1_macro)?;
        return Ok(Choice { on: format!("{FOLDS}-fold on {TRAIN}"), path });
    }
    let rows: Vec<usize> = train.iter().chain(&dev).copied().collect();
    let (x, y) = classes_of(set, &rows);
    let fold = Fold { train: (0..train.len()).collect(), validation: (train.len()..rows.len()).collect() };
    let path = choose_c(x.view(), &y, &[fold], grid, f1_macro)?;
    Ok(Choice { on: DEV.to_owned(), path })
}

fn measure(set: &TrainingSet, part: &str, fit: &LogisticFit) -> Result<PartReport, Error> {
    let (x, truth) = classes_of(set, &set.rows_of(part));
    let predicted = fit.predict(x.view());
    let unknown_labels = truth.iter().filter(|&&label| label >= set.classes.trained).count();
    Ok(PartReport { unknown_labels, ..describe(part, &truth, &predicted, &set.classes.names)? })
}

/// A class that neither occurs nor is predicted says nothing about a part and is left out of its figures.
fn describe(part: &str, truth: &[usize], predicted: &[usize], names: &[String]) -> Result<PartReport, Error> {
    let measured = classification(truth, predicted, names.len())?;
    let seen = |class: usize| truth.contains(&class) || predicted.contains(&class);
    let present: Vec<usize> = (0..names.len()).filter(|&class| seen(class)).collect();
    let row = |class: usize| present.iter().map(|&other| measured.confusion[class][other]).collect();
    Ok(PartReport {
        part: part.to_owned(),
        rows: truth.len(),
        accuracy: measured.accuracy,
        f1_macro: measured.f1_macro,
        per_class: present.iter().map(|&class| measured.per_class[class]).collect(),
        classes: present.iter().map(|&class| names[class].clone()).collect(),
        confusion: present.iter().map(|&class| row(class)).collect(),
        unknown_labels: 0,
    })
}
