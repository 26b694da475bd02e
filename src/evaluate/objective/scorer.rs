//! One objective over decisions that are made: everything that does not change from one draw of the rows to the next is
//! worked out once. Knows targets and decision values. Invariant: the figure of rows that are each there once is the
//! figure of those rows.

use ndarray::ArrayView2;

use super::super::error::Error;
use super::Objective;
use super::counted::Counted;
use super::numbers::Numbers;
use super::ranked::Ranked;
use crate::heads::{HeadKind, Targets, decided, sigmoid};

/// What decision values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Probabilities before their softmax or sigmoid.
    Logits,
    /// Any numbers that order rows, or the predicted numbers themselves.
    Plain,
}

impl Scale {
    /// That of a kind's decision values.
    pub fn of(kind: HeadKind) -> Self {
        if kind == HeadKind::Logistic { Self::Logits } else { Self::Plain }
    }
}

/// What a head says about rows.
#[derive(Debug, Clone, Copy)]
pub enum Given<'a> {
    /// Decision values, rows × columns of the targets: no NaN, infinite only where the task has classes or labels. The
    /// class of the largest is given (of one column: the second if above 0), the labels above 0.
    Decisions(ArrayView2<'a, f64>, Scale),
    /// The class of each row.
    Classes(&'a [usize]),
    /// The labels of each row, ascending.
    Labels(&'a [Vec<usize>]),
}

/// An objective over the rows of one measurement.
#[derive(Debug)]
pub struct Scorer {
    objective: Objective,
    rows: usize,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Counted(Counted),
    Ranked(Ranked),
    /// The loss of each row.
    Losses(Vec<f64>),
    Numbers(Vec<Numbers>),
}

impl Scorer {
    /// Of `given` against what is right.
    ///
    /// # Errors
    /// No rows, an objective that is not of the task or asks for more than is given, counts that differ, class and label
    /// numbers out of range, NaN, numbers that are not finite.
    pub fn new(objective: Objective, truth: &Targets, given: Given<'_>) -> Result<Self, Error> {
        objective.check_task(truth.task())?;
        let rows = truth.rows();
        if rows == 0 {
            return Err(Error::Empty);
        }
        let form = match (truth, given) {
            (truth, Given::Decisions(values, scale)) => of_decisions(objective, truth, (values, scale))?,
            (Targets::Classes { of, classes }, Given::Classes(given)) => {
                of_answers(objective, (singles(of), singles(given)), *classes)?
            }
            (Targets::Labels { of, labels }, Given::Labels(given)) => {
                of_answers(objective, (of.iter().map(Vec::as_slice), given.iter().map(Vec::as_slice)), *labels)?
            }
            _ => return Err(Error::ObjectiveTask { objective, task: truth.task() }),
        };
        Ok(Self { objective, rows, form })
    }

    /// What it measures.
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// Rows measured.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers that a figure looks at, about.
    pub(in crate::evaluate) fn work(&self) -> usize {
        match &self.form {
            Form::Counted(counted) => counted.work(),
            Form::Ranked(ranked) => self.rows.saturating_mul(ranked.columns()),
            Form::Losses(losses) => losses.len(),
            Form::Numbers(columns) => self.rows.saturating_mul(columns.len()),
        }
    }

    /// The figure of all rows.
    ///
    /// # Errors
    /// It is not defined: the variants of [`Objective`] say when.
    pub fn score(&self) -> Result<f64, Error> {
        let undefined = Error::Undefined { objective: self.objective, rows: self.rows };
        self.score_drawn(&vec![1; self.rows]).ok_or(undefined)
    }

    /// The figure if row i is there `times[i]` times; none where it is not defined, or is beyond the floats' range.
    pub(in crate::evaluate) fn score_drawn(&self, times: &[u32]) -> Option<f64> {
        let figure = match &self.form {
            Form::Counted(counted) => counted.score(self.objective, times),
            Form::Ranked(ranked) => ranked.score(self.objective, times),
            Form::Losses(losses) => {
                let rows: f64 = times.iter().map(|&times| f64::from(times)).sum();
                Some(losses.iter().zip(times).map(|(loss, &times)| loss * f64::from(times)).sum::<f64>() / rows)
            }
            Form::Numbers(columns) => {
                let figures: Option<Vec<f64>> =
                    columns.iter().map(|column| column.score(self.objective, times)).collect();
                figures.map(|figures| figures.iter().sum::<f64>() / figures.len() as f64)
            }
        };
        figure.filter(|figure| figure.is_finite())
    }
}

fn singles(of: &[usize]) -> impl ExactSizeIterator<Item = &[usize]> + Clone {
    of.iter().map(std::slice::from_ref)
}

/// The class or the labels that each row's decision values give.
pub(in crate::evaluate) fn answers(truth: &Targets, values: ArrayView2<'_, f64>) -> Vec<Vec<usize>> {
    let above = |row: &[f64]| (0..row.len()).filter(|&label| row[label] > 0.0).collect();
    let class = |row: &[f64]| vec![decided(row.into())];
    let rows = values.rows().into_iter().map(|row| row.to_vec());
    match truth {
        Targets::Labels { .. } => rows.map(|row| above(&row)).collect(),
        Targets::Classes { .. } | Targets::Numbers(_) => rows.map(|row| class(&row)).collect(),
    }
}

fn of_answers<'a>(
    objective: Objective,
    (truth, given): (
        impl ExactSizeIterator<Item = &'a [usize]> + Clone,
        impl ExactSizeIterator<Item = &'a [usize]> + Clone,
    ),
    labels: usize,
) -> Result<Form, Error> {
    if matches!(objective, Objective::LogLoss | Objective::RocAuc | Objective::AveragePrecision) {
        return Err(Error::NeedsDecisions { objective });
    }
    if truth.len() != given.len() {
        return Err(Error::Count { truth: truth.len(), predicted: given.len() });
    }
    for (row, (truth, given)) in truth.clone().zip(given.clone()).enumerate() {
        if let Some(&class) = truth.iter().chain(given).find(|&&label| label >= labels) {
            return Err(Error::UnknownClass { row, class, classes: labels });
        }
    }
    Ok(Form::Counted(Counted::new(truth, given, labels)))
}

fn of_decisions(
    objective: Objective,
    truth: &Targets,
    (values, scale): (ArrayView2<'_, f64>, Scale),
) -> Result<Form, Error> {
    let expected = (truth.rows(), truth.columns());
    if values.dim() != expected {
        return Err(Error::DecisionShape { got: values.dim(), expected });
    }
    let finite = matches!(truth, Targets::Numbers(_));
    let wrong = |value: f64| if finite { !value.is_finite() } else { value.is_nan() };
    if let Some(((row, column), &value)) = values.indexed_iter().find(|(_, value)| wrong(**value)) {
        return Err(Error::Decision { row, column, value });
    }
    match (objective, truth) {
        (Objective::LogLoss, _) => losses(truth, values, scale).map(Form::Losses),
        (Objective::RocAuc | Objective::AveragePrecision, _) => ranked(truth, values, scale).map(Form::Ranked),
        (_, Targets::Numbers(numbers)) => {
            if let Some(((row, _), &truth)) = numbers.indexed_iter().find(|(_, value)| !value.is_finite()) {
                return Err(Error::NotFinite { row, truth, predicted: f32::NAN });
            }
            let column = |(truth, given): (ndarray::ArrayView1<'_, f64>, ndarray::ArrayView1<'_, f64>)| {
                Numbers::new(objective, &truth.to_vec(), &given.to_vec())
            };
            Ok(Form::Numbers(numbers.columns().into_iter().zip(values.columns()).map(column).collect()))
        }
        (_, Targets::Classes { of, classes }) => {
            let given = answers(truth, values);
            of_answers(objective, (singles(of), given.iter().map(Vec::as_slice)), *classes)
        }
        (_, Targets::Labels { of, labels }) => {
            let given = answers(truth, values);
            of_answers(objective, (of.iter().map(Vec::as_slice), given.iter().map(Vec::as_slice)), *labels)
        }
    }
}

/// Negative log probability of what is right in each row; probabilities are kept a rounding away from 0 and 1, as
/// scikit-learn does.
fn losses(truth: &Targets, values: ArrayView2<'_, f64>, scale: Scale) -> Result<Vec<f64>, Error> {
    if scale != Scale::Logits {
        return Err(Error::NeedsLogits { objective: Objective::LogLoss });
    }
    let loss = |probability: f64| -probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln();
    let rows = values.rows().into_iter().enumerate();
    match truth {
        Targets::Classes { of, classes } => {
            check_classes(of, *classes)?;
            Ok(rows.map(|(row, logits)| loss(softmax(&logits.to_vec())[of[row]])).collect())
        }
        Targets::Labels { of, labels } => {
            of.iter().enumerate().try_for_each(|(row, set)| check_labels(row, set, *labels))?;
            let side = |row: usize, label: usize| if of[row].binary_search(&label).is_ok() { 1.0 } else { -1.0 };
            let mean = |row: usize, logits: &[f64]| {
                let losses = logits.iter().enumerate().map(|(label, logit)| loss(sigmoid(side(row, label) * logit)));
                losses.sum::<f64>() / logits.len() as f64
            };
            Ok(rows.map(|(row, logits)| mean(row, &logits.to_vec())).collect())
        }
        Targets::Numbers(_) => Err(Error::ObjectiveTask { objective: Objective::LogLoss, task: truth.task() }),
    }
}

/// Columns to be ranked: of two classes the second's; of more each one's probability, or decision value where there are
/// no probabilities; of labels each one's decision value. Calibrated answers come as [`Scale::Plain`]: probabilities of
/// several classes are ranked otherwise than what they were made of, since each is a share of its row.
fn ranked(truth: &Targets, values: ArrayView2<'_, f64>, scale: Scale) -> Result<Ranked, Error> {
    match truth {
        Targets::Classes { of, classes: 2 } => {
            check_classes(of, 2)?;
            Ok(Ranked::new(1, |_| (of.iter().map(|&class| class == 1).collect(), values.column(0).to_vec())))
        }
        Targets::Classes { of, classes } => {
            check_classes(of, *classes)?;
            let mut scores = values.to_owned();
            if scale == Scale::Logits {
                for mut row in scores.rows_mut() {
                    row.assign(&ndarray::Array1::from(softmax(&row.to_vec())));
                }
            }
            let right = |column: usize| of.iter().map(|&class| class == column).collect();
            Ok(Ranked::new(*classes, |column| (right(column), scores.column(column).to_vec())))
        }
        Targets::Labels { of, labels } => {
            of.iter().enumerate().try_for_each(|(row, set)| check_labels(row, set, *labels))?;
            let right = |column: usize| of.iter().map(|set| set.binary_search(&column).is_ok()).collect();
            Ok(Ranked::new(*labels, |column| (right(column), values.column(column).to_vec())))
        }
        Targets::Numbers(_) => Err(Error::ObjectiveTask { objective: Objective::RocAuc, task: truth.task() }),
    }
}

fn check_classes(of: &[usize], classes: usize) -> Result<(), Error> {
    of.iter().enumerate().try_for_each(|(row, class)| check_labels(row, std::slice::from_ref(class), classes))
}

fn check_labels(row: usize, labels: &[usize], classes: usize) -> Result<(), Error> {
    match labels.iter().find(|&&label| label >= classes) {
        Some(&class) => Err(Error::UnknownClass { row, class, classes }),
        None => Ok(()),
    }
}

/// Probabilities of the classes; one logit is the second's of two.
fn softmax(logits: &[f64]) -> Vec<f64> {
    if let [logit] = logits {
        return vec![sigmoid(-logit), sigmoid(*logit)];
    }
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Of infinite logits the largest share what there is.
    let power = |logit: f64| if logit == largest { 1.0 } else { (logit - largest).exp() };
    let powers: Vec<f64> = logits.iter().map(|&logit| power(logit)).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}
