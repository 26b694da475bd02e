//! Weights of classes as weights of their rows, the one kind of weight that trainers know. Knows class numbers only.
//! Invariant: as in scikit-learn's logistic regression and ridge, a weight of a class multiplies the weight of each of its
//! rows. Its LinearSVC differs beyond two classes: liblinear weighs a row by its class in that class's own column alone.

use super::error::Error;
use super::trainer::Targets;

/// How much the rows of each class count.
#[derive(Debug, Clone, PartialEq)]
pub enum ClassWeights {
    /// Every class as much as any other: n / (classes · count), where both count weights of rows. Classes are those that
    /// have rows.
    Balanced,
    /// By class number, finite and not negative.
    Given(Vec<f64>),
}

/// The weight of each row: that of its class times its own (`weights`; 1 where there are none).
///
/// Balanced weights go by all rows that are given; scikit-learn balances each training part of a cross-validation by
/// itself, which stratified folds make the same but for rounding.
///
/// # Errors
/// Targets that are no classes, weights that are not one for each class or row, negative or not finite, or all 0.
pub fn class_weights(targets: &Targets, classes: &ClassWeights, weights: Option<&[f64]>) -> Result<Vec<f64>, Error> {
    let Targets::Classes { of, classes: count } = targets else {
        return Err(Error::ClassWeightTask { task: targets.task() });
    };
    let own = match weights {
        Some(weights) if weights.len() != of.len() => {
            return Err(Error::WeightCount { weights: weights.len(), rows: of.len() });
        }
        Some(weights) => weights.to_vec(),
        None => vec![1.0; of.len()],
    };
    if let Some(row) = own.iter().position(|&weight| !is_weight(weight)) {
        return Err(Error::Weight { row, value: own[row] });
    }
    let by_class = match classes {
        ClassWeights::Balanced => balanced(of, &own, *count),
        ClassWeights::Given(given) if given.len() != *count => {
            return Err(Error::ClassWeightCount { got: given.len(), classes: *count });
        }
        ClassWeights::Given(given) => given.clone(),
    };
    if let Some(class) = by_class.iter().position(|&weight| !is_weight(weight)) {
        return Err(Error::ClassWeight { class, value: by_class[class] });
    }
    let weighted: Vec<f64> = of.iter().zip(&own).map(|(&class, own)| by_class[class] * own).collect();
    if weighted.iter().all(|&weight| weight == 0.0) {
        return Err(Error::NoWeight { rows: of.len() });
    }
    Ok(weighted)
}

fn is_weight(weight: f64) -> bool {
    weight.is_finite() && weight >= 0.0
}

fn balanced(of: &[usize], own: &[f64], classes: usize) -> Vec<f64> {
    let mut held = vec![0.0; classes];
    of.iter().zip(own).for_each(|(&class, own)| held[class] += own);
    let all: f64 = held.iter().sum();
    let present = held.iter().filter(|&&held| held > 0.0).count() as f64;
    held.iter().map(|&held| if held > 0.0 { all / (present * held) } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Targets {
        Targets::Classes { of: vec![0, 0, 0, 1, 1, 2], classes: 4 }
    }

    /// scikit-learn 1.9.1: `compute_sample_weight("balanced", [0, 0, 0, 1, 1, 2])`, and with `sample_weight` by
    /// `compute_class_weight`.
    #[test]
    fn balanced_weights_are_scikit_learns() {
        let got = class_weights(&targets(), &ClassWeights::Balanced, None).unwrap();
        assert_eq!(got, [6.0 / 9.0, 6.0 / 9.0, 6.0 / 9.0, 1.0, 1.0, 2.0]);
        let own = [1.0, 2.0, 3.0, 0.5, 0.5, 2.0];
        let got = class_weights(&targets(), &ClassWeights::Balanced, Some(&own)).unwrap();
        assert_eq!(got, [0.5, 1.0, 1.5, 1.5, 1.5, 3.0]);
    }

    #[test]
    fn given_weights_multiply_those_of_the_rows() {
        let given = ClassWeights::Given(vec![1.0, 10.0, 0.0, 7.0]);
        assert_eq!(class_weights(&targets(), &given, None).unwrap(), [1.0, 1.0, 1.0, 10.0, 10.0, 0.0]);
        let own = [2.0; 6];
        assert_eq!(class_weights(&targets(), &given, Some(&own)).unwrap(), [2.0, 2.0, 2.0, 20.0, 20.0, 0.0]);
    }

    #[test]
    fn what_is_no_weight_is_refused() {
        let refused = |classes: Vec<f64>, rows: Option<&[f64]>| {
            class_weights(&targets(), &ClassWeights::Given(classes), rows).unwrap_err().to_string()
        };
        assert_eq!(refused(vec![1.0; 3], None), "got 3 weights for 4 classes");
        assert_eq!(refused(vec![1.0; 4], Some(&[1.0])), "got 1 weights for 6 rows");
        assert_eq!(
            refused(vec![1.0, -1.0, 1.0, 1.0], None),
            "class 1 has the weight -1, expected a finite number from 0"
        );
        assert_eq!(
            refused(vec![1.0; 4], Some(&[1.0, 1.0, f64::NAN, 1.0, 1.0, 1.0])),
            "row 2 weighs NaN, expected a finite number from 0"
        );
        assert_eq!(refused(vec![0.0; 4], None), "all 6 rows weigh 0");
        let sets = Targets::Labels { of: vec![vec![0]], labels: 1 };
        let error = class_weights(&sets, &ClassWeights::Balanced, None).unwrap_err();
        let expected = "classes can be weighted only where each row is of one class, the task is multilabel";
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.hint().unwrap(), "weight rows by a field instead");
    }
}
