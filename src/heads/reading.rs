//! From decision values to answers: probabilities, scores or numbers, one for each label. Owns what follows a model's
//! values, so that a head, the choice of its thresholds and a graph say the same.
//!
//! Knows no model. Invariant: a row's answers depend on that row's decision values alone.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1};

use super::arithmetic::{sigmoid, softmax};
use super::calibration::Calibration;
use super::error::Error;
use super::head::TargetScaling;
use super::kind::HeadKind;
use crate::model::{DEFAULT_THRESHOLD, HeadActivation, Task};

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// How probable a label is.
    Probability,
    /// How far a row is on a label's side; above 0 it is. Of any size, and not comparable between heads.
    Score,
    /// A number in the target's own units.
    Number,
}

impl Meaning {
    /// From which answer on a label of several is given, where nothing else is said.
    pub fn default_threshold(self) -> f64 {
        match self {
            Self::Probability => DEFAULT_THRESHOLD,
            Self::Score | Self::Number => 0.0,
        }
    }
}

/// How decision values are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// What answers are for.
    pub task: Task,
    /// What gave the decision values.
    pub kind: HeadKind,
    /// Answers of a row.
    pub labels: usize,
    /// What makes probabilities of them.
    pub calibration: Option<&'a Calibration>,
    /// Of a regression, what brings values into the target's own units.
    pub scaling: Option<&'a TargetScaling>,
}

impl Reading<'_> {
    /// What its answers are.
    pub fn meaning(&self) -> Meaning {
        match self.task {
            Task::Regression => Meaning::Number,
            _ if self.calibration.is_some() || self.kind.is_probabilistic() => Meaning::Probability,
            _ => Meaning::Score,
        }
    }

    /// From which answer on a label of several is given, where nothing else is said. Half of the neighbours is not most
    /// of them: as in scikit-learn, and where strengths are compared, a label with exactly half is not given.
    pub fn default_threshold(&self) -> f64 {
        let is_share = self.kind == HeadKind::Neighbours && self.calibration.is_none();
        match self.meaning() {
            // Answers are compared in f32.
            Meaning::Probability if is_share => f64::from((DEFAULT_THRESHOLD as f32).next_up()),
            meaning => meaning.default_threshold(),
        }
    }

    /// Columns of the decision values: one for two classes, else one for each label.
    pub fn columns(&self) -> usize {
        if self.is_one_for_two() { 1 } else { self.labels }
    }

    /// Answers (rows × labels) out of decision values (rows × columns).
    ///
    /// # Errors
    /// Another number of columns than it reads.
    pub fn answers(&self, decisions: ArrayView2<'_, f64>) -> Result<Array2<f64>, Error> {
        let (rows, got) = decisions.dim();
        if got != self.columns() {
            return Err(Error::DecisionShape { rows, got, expected: self.columns() });
        }
        let mut answers = Array2::zeros((rows, self.labels));
        for (values, mut out) in decisions.rows().into_iter().zip(answers.rows_mut()) {
            self.read(values, out.view_mut());
        }
        Ok(answers)
    }

    /// The answers of one row.
    pub(super) fn read(&self, values: ArrayView1<'_, f64>, mut out: ArrayViewMut1<'_, f64>) {
        if self.is_one_for_two() {
            let [first, second] = self.read_one_for_two(values[0]);
            (out[0], out[1]) = (first, second);
            return;
        }
        out.assign(&values);
        match (self.task, self.calibration) {
            (Task::Regression, _) => {
                let Some(TargetScaling { mean, scale }) = self.scaling else { return };
                for (column, value) in out.iter_mut().enumerate() {
                    *value = *value * scale[column] + mean[column];
                }
            }
            (task, Some(Calibration::Temperature { temperature })) => {
                out /= *temperature;
                if task == Task::Classification {
                    softmax(out);
                } else {
                    out.mapv_inplace(sigmoid);
                }
            }
            (task, Some(Calibration::Platt { slopes, intercepts })) => {
                for (column, value) in out.iter_mut().enumerate() {
                    *value = affine(*value, slopes[column], intercepts[column]);
                }
                if task == Task::Classification { normalized_sigmoid(out) } else { out.mapv_inplace(sigmoid) }
            }
            (task, Some(Calibration::Isotonic { columns })) => {
                out.iter_mut().zip(columns).for_each(|(value, steps)| *value = steps.read(*value));
                if task == Task::Classification {
                    normalize(out);
                }
            }
            (Task::Classification, None) if self.kind == HeadKind::Logistic => {
                softmax(out);
            }
            (Task::Multilabel, None) if self.kind == HeadKind::Logistic => out.mapv_inplace(sigmoid),
            // A share of neighbours with and one without a label differ by their decision value.
            (Task::Multilabel, None) if self.kind == HeadKind::Neighbours => out.mapv_inplace(share),
            (Task::Classification | Task::Multilabel, None) => {}
        }
    }

    /// Both answers out of the value whose sign tells two classes apart.
    fn read_one_for_two(&self, value: f64) -> [f64; 2] {
        match self.calibration {
            Some(Calibration::Temperature { temperature }) => both_sides(value / temperature),
            Some(Calibration::Platt { slopes, intercepts }) => both_sides(affine(value, slopes[0], intercepts[0])),
            Some(Calibration::Isotonic { columns }) => {
                let second = columns[0].read(value);
                [1.0 - second, second]
            }
            None if self.kind == HeadKind::Logistic => both_sides(value),
            None if self.kind == HeadKind::Neighbours => [share(-value), share(value)],
            None => [-value, value],
        }
    }

    /// What the graph does behind the values of [`super::FoldedHead`].
    ///
    /// # Errors
    /// A calibration that no graph of weighted sums, softmax and sigmoid has.
    pub(super) fn activation(&self) -> Result<HeadActivation, Error> {
        Ok(match (self.task, self.calibration) {
            (Task::Regression, _) => HeadActivation::None,
            (_, Some(Calibration::Isotonic { .. })) => return Err(Error::IsotonicInGraph),
            (_, None) if !self.kind.is_probabilistic() => HeadActivation::None,
            (Task::Multilabel, _) => HeadActivation::Sigmoid,
            (Task::Classification, Some(Calibration::Platt { .. })) if !self.is_one_for_two() => {
                HeadActivation::NormalizedSigmoid
            }
            (Task::Classification, _) => HeadActivation::Softmax,
        })
    }

    /// Whether one decision value tells two labels apart.
    pub(super) fn is_one_for_two(&self) -> bool {
        self.task == Task::Classification && self.labels == 2
    }
}

fn both_sides(logit: f64) -> [f64; 2] {
    [sigmoid(-logit), sigmoid(logit)]
}

/// From the difference of two shares that add up to 1 to the second of them.
fn share(difference: f64) -> f64 {
    (1.0 + difference) / 2.0
}

/// An infinite value stays what it is, whatever the slope: a class that a fold lacked.
fn affine(value: f64, slope: f64, intercept: f64) -> f64 {
    if value.is_finite() { slope * value + intercept } else { value }
}

/// Sigmoids over their sum. As σ(x) = e^min(x, 0) · σ(|x|), the part that could vanish is that of a softmax.
fn normalized_sigmoid(mut row: ArrayViewMut1<'_, f64>) {
    let beside = row.mapv(|x| sigmoid(x.abs()));
    row.mapv_inplace(|x| x.min(0.0));
    softmax(row.view_mut());
    row *= &beside;
    normalize(row);
}

/// Shares of their sum; equal ones where all are 0, as in scikit-learn.
fn normalize(mut row: ArrayViewMut1<'_, f64>) {
    let sum = row.sum();
    if sum > 0.0 { row /= sum } else { row.fill(1.0 / row.len() as f64) }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    /// A label is given where its decision value says so when strengths are compared: above 0.
    #[test]
    fn half_of_the_neighbours_do_not_give_a_label() {
        let several = |kind| Reading { task: Task::Multilabel, kind, labels: 3, calibration: None, scaling: None };
        let shares = several(HeadKind::Neighbours);
        let answers = shares.answers(array![[-0.25, 0.0, 1e-3]].view()).unwrap();
        let given = answers.mapv(|answer| answer as f32 >= shares.default_threshold() as f32);
        assert_eq!(given, array![[false, false, true]]);
        assert_eq!(several(HeadKind::Logistic).default_threshold(), 0.5);
        assert_eq!(several(HeadKind::Svm).default_threshold(), 0.0);
        let calibration = Calibration::Temperature { temperature: 2.0 };
        assert_eq!(Reading { calibration: Some(&calibration), ..shares }.default_threshold(), 0.5);
    }
}
