//! A head as one matrix product, the form in which it becomes part of a graph. Knows no graph.
//! Invariant: what belongs to the head's values alone is inside the product; softmax, sigmoid or nothing follows it.

use ndarray::{Array2, Axis, concatenate};

use super::head::{Head, TargetScaling};

/// Values of all labels are `row · weights + bias`, in f64.
#[derive(Debug, Clone, PartialEq)]
pub struct FoldedHead {
    /// dim × labels.
    pub weights: Array2<f64>,
    /// One for each label.
    pub bias: Vec<f64>,
}

impl Head {
    /// The head with a column for each label. Where one row of coefficients tells two labels apart, x becomes the two
    /// logits -x/2 and x/2, whose softmax is the sigmoid of -x and of x. A regression's scaling is multiplied in, so that
    /// values come in the target's own units.
    pub fn folded(&self) -> FoldedHead {
        let (mut rows, mut bias) = (self.coefficients.clone(), self.intercepts.clone());
        if self.one_row_for_two_labels() {
            let half = rows / 2.0;
            rows = concatenate![Axis(0), -&half, half];
            bias = vec![-bias[0] / 2.0, bias[0] / 2.0];
        }
        if let Some(TargetScaling { mean, scale }) = &self.scaling {
            for (column, mut row) in rows.rows_mut().into_iter().enumerate() {
                row *= scale[column];
                bias[column] = bias[column] * scale[column] + mean[column];
            }
        }
        FoldedHead { weights: rows.t().as_standard_layout().into_owned(), bias }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ndarray::Array1;

    use super::*;
    use crate::model::Task;

    #[test]
    fn the_product_and_what_follows_it_give_the_heads_answers() {
        for name in ["topic", "open", "tags", "numbers", "year"] {
            let head = Head::load(&Path::new("tests/data/heads").join(name).with_extension("head")).unwrap();
            let row = Array1::from_shape_fn(head.dim(), |column| (column as f32 * 0.7).sin());
            let FoldedHead { weights, bias } = head.folded();
            let mut values = row.mapv(f64::from).dot(&weights) + Array1::from(bias);
            match head.task {
                Task::Classification => {
                    values.mapv_inplace(f64::exp);
                    values /= values.sum();
                }
                Task::Multilabel => values.mapv_inplace(|value| 1.0 / (1.0 + (-value).exp())),
                Task::Regression => {}
            }
            let answers = head.predict(row.view().insert_axis(Axis(0))).unwrap();
            for (&answer, value) in answers.iter().zip(&values) {
                assert!((f64::from(answer) - value).abs() <= 1e-7 * value.abs().max(1.0), "{name}: {answer} {value}");
            }
        }
    }
}
