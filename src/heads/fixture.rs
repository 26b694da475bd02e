//! Reads what scikit-learn made of small sets, for tests. Knows the layout of those files only.

use ndarray::Array2;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::rows::Rows;
use super::trainer::{Fitted, LabelledRows, LinearModel, Model, Targets};

/// One of the files of `tests/data/heads`.
pub(super) struct Fixture {
    bytes: Vec<u8>,
}

impl Fixture {
    pub fn read(name: &str) -> Self {
        Self { bytes: std::fs::read(format!("tests/data/heads/{name}.safetensors")).unwrap() }
    }

    /// What is said about each fit.
    pub fn fits(&self) -> Vec<Value> {
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).unwrap();
        let about: Value = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["about"]).unwrap();
        about["fits"].as_array().unwrap().clone()
    }

    /// A tensor as a matrix; none of that name.
    pub fn matrix(&self, name: &str) -> Option<Array2<f64>> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = tensors.tensor(name).ok()?;
        let bytes = tensor.data();
        let values: Vec<f64> = match tensor.dtype() {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
            Dtype::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::U32 => bytes.as_chunks().0.iter().map(|&b| f64::from(u32::from_le_bytes(b))).collect(),
            other => panic!("{name} is {other:?}"),
        };
        let shape = tensor.shape();
        Some(Array2::from_shape_vec((shape[0], shape.get(1).copied().unwrap_or(1)), values).unwrap())
    }

    pub fn rows(&self, name: &str) -> Array2<f32> {
        self.matrix(name).unwrap().mapv(|value| value as f32)
    }

    pub fn weights(&self, set: &str) -> Option<Vec<f64>> {
        self.matrix(&format!("{set}.weights")).map(|weights| weights.into_iter().collect())
    }

    pub fn targets(&self, set: &str, task: &str, classes: usize) -> Targets {
        let matrix = |name| self.matrix(&format!("{set}.{name}")).unwrap();
        match task {
            "numbers" => Targets::Numbers(matrix("numbers")),
            "classes" => {
                Targets::Classes { of: matrix("labels").iter().map(|&class| class as usize).collect(), classes }
            }
            _ => {
                let given = matrix("given");
                let labels = given.ncols();
                let of = given.rows().into_iter().map(|row| (0..labels).filter(|&label| row[label] == 1.0).collect());
                Targets::Labels { of: of.collect(), labels }
            }
        }
    }
}

/// Rows in a few directions with noise, numbers that depend on them and classes by their size, drawn from a seed.
pub(super) fn drawn((count, dim): (usize, usize), seed: u64) -> (Array2<f32>, Array2<f64>, Vec<usize>) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    let rows = Array2::from_shape_simple_fn((count, dim), || draw() as f32);
    let numbers = Array2::from_shape_fn((count, 1), |(row, _)| {
        let sum: f64 = rows.row(row).iter().enumerate().map(|(at, &value)| f64::from(value) / (at + 1) as f64).sum();
        sum + 0.1 * draw()
    });
    let classes = numbers.iter().map(|&number| usize::from(number > 0.0)).collect();
    (rows, numbers, classes)
}

/// Rows that all count the same.
pub(super) fn unweighted<'a>(rows: &'a dyn Rows, targets: &'a Targets) -> LabelledRows<'a> {
    LabelledRows { rows, targets, weights: None }
}

/// The model of a fit that is linear.
pub(super) fn linear(fitted: Fitted) -> LinearModel {
    match fitted.model {
        Model::Linear(model) => model,
        other => panic!("{other:?}"),
    }
}

/// |got - want| / |want| over all elements (|got| where `want` is 0).
pub(super) fn relative(got: &Array2<f64>, want: &Array2<f64>) -> f64 {
    assert_eq!(got.dim(), want.dim());
    let norm = |matrix: &Array2<f64>| matrix.iter().map(|value| value * value).sum::<f64>().sqrt();
    let size = norm(want);
    norm(&(got - want)) / if size == 0.0 { 1.0 } else { size }
}

/// The largest |got - want|.
pub(super) fn farthest(got: &Array2<f64>, want: &Array2<f64>) -> f64 {
    assert_eq!(got.dim(), want.dim());
    got.iter().zip(want).fold(0.0, |most, (got, want)| most.max((got - want).abs()))
}
