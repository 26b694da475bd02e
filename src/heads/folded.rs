//! A head as one matrix product, the form in which it becomes part of a graph. Knows no graph.
//! Invariant: what belongs to the head's values alone is inside the product, a temperature and Platt's slopes too; softmax,
//! sigmoid or nothing follows it.

use ndarray::{Array2, Axis, concatenate};

use super::calibration::Calibration;
use super::error::Error;
use super::head::{Head, TargetScaling};
use super::trainer::LinearModel;
use crate::model::HeadActivation;

/// Values of all labels are `row · weights + bias`, in f64; `activation` makes answers of them.
#[derive(Debug, Clone, PartialEq)]
pub struct FoldedHead {
    /// dim × labels.
    pub weights: Array2<f64>,
    /// One for each label.
    pub bias: Vec<f64>,
    /// What follows.
    pub activation: HeadActivation,
}

impl Head {
    /// The head with a column for each label. Where one row of coefficients tells two labels apart, a logit x becomes the
    /// two logits -x/2 and x/2, whose softmax is the sigmoid of -x and of x, and a score x becomes -x and x. A
    /// calibration and a regression's scaling are multiplied in.
    ///
    /// # Errors
    /// A head that is no matrix product, or whose calibration is none.
    pub fn folded(&self) -> Result<FoldedHead, Error> {
        let activation = self.reading().activation()?;
        let LinearModel { coefficients: mut rows, mut intercepts } =
            self.linear().cloned().ok_or(Error::NotLinear { kind: self.kind })?;
        let mut change = |column: usize, (factor, shift): (f64, f64)| {
            let mut row = rows.row_mut(column);
            row *= factor;
            intercepts[column] = intercepts[column] * factor + shift;
        };
        let columns = 0..self.reading().columns();
        match &self.calibration {
            Some(Calibration::Temperature { temperature }) => {
                columns.for_each(|at| change(at, (1.0 / temperature, 0.0)))
            }
            Some(Calibration::Platt { slopes, intercepts }) => {
                columns.for_each(|at| change(at, (slopes[at], intercepts[at])));
            }
            Some(Calibration::Isotonic { .. }) | None => {}
        }
        if let Some(TargetScaling { mean, scale }) = &self.scaling {
            (0..mean.len()).for_each(|at| change(at, (scale[at], mean[at])));
        }
        if self.reading().is_one_for_two() {
            let share = if activation == HeadActivation::Softmax { 0.5 } else { 1.0 };
            rows *= share;
            rows = concatenate![Axis(0), -&rows, rows];
            intercepts = vec![-intercepts[0] * share, intercepts[0] * share];
        }
        Ok(FoldedHead { weights: rows.t().as_standard_layout().into_owned(), bias: intercepts, activation })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ndarray::Array1;

    use super::*;

    #[test]
    fn the_product_and_what_follows_it_give_the_heads_answers() {
        for name in ["topic", "open", "tags", "numbers", "year"] {
            let head = Head::load(&Path::new("tests/data/heads").join(name).with_extension("head")).unwrap();
            let row = Array1::from_shape_fn(head.dim(), |column| (column as f32 * 0.7).sin());
            let FoldedHead { weights, bias, activation } = head.folded().unwrap();
            let mut values = row.mapv(f64::from).dot(&weights) + Array1::from(bias);
            match activation {
                HeadActivation::Softmax => {
                    values.mapv_inplace(f64::exp);
                    values /= values.sum();
                }
                HeadActivation::Sigmoid | HeadActivation::NormalizedSigmoid => {
                    values.mapv_inplace(|value| 1.0 / (1.0 + (-value).exp()));
                    if activation == HeadActivation::NormalizedSigmoid {
                        values /= values.sum();
                    }
                }
                HeadActivation::None => {}
            }
            let answers = head.predict(row.view().insert_axis(Axis(0))).unwrap();
            for (&answer, value) in answers.iter().zip(&values) {
                assert!((f64::from(answer) - value).abs() <= 1e-7 * value.abs().max(1.0), "{name}: {answer} {value}");
            }
        }
    }
}
