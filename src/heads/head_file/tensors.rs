//! A model's numbers as tensors of a head file, and back. Knows no metadata.
//! Invariant: tensors are listed by name, the order in which they lie in the file and in its checksum.

use ndarray::Array2;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::super::file_problem::FileProblem;
use super::super::kind::HeadKind;
use super::super::trainer::{LinearModel, Model};

const COEFFICIENTS: &str = "coefficients";
const INTERCEPTS: &str = "intercepts";

/// A tensor as it is written.
pub(super) struct Stored {
    pub name: &'static str,
    pub dtype: &'static str,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// Names of the tensors of a kind's files, sorted.
pub(super) fn names_of(_kind: Option<&str>) -> Vec<&'static str> {
    vec![COEFFICIENTS, INTERCEPTS]
}

/// The tensors of a model, by name.
pub(super) fn stored(model: &Model) -> Vec<Stored> {
    let wide = |values: &mut dyn Iterator<Item = &f64>| values.flat_map(|value| value.to_le_bytes()).collect();
    match model {
        Model::Linear(LinearModel { coefficients, intercepts }) => vec![
            Stored {
                name: COEFFICIENTS,
                dtype: "F64",
                shape: coefficients.shape().to_vec(),
                bytes: wide(&mut coefficients.iter()),
            },
            Stored {
                name: INTERCEPTS,
                dtype: "F64",
                shape: vec![intercepts.len()],
                bytes: wide(&mut intercepts.iter()),
            },
        ],
        Model::Neighbours(_) => Vec::new(),
    }
}

/// The model of a file for so many labels.
pub(super) fn model(kind: HeadKind, labels: usize, tensors: &SafeTensors<'_>) -> Result<Model, FileProblem> {
    let _ = kind;
    let tensor = |name| tensors.tensor(name).map_err(|source| FileProblem::Safetensors { source });
    let shape = |tensor, view: &TensorView<'_>, expected: &str| FileProblem::Shape {
        tensor,
        got: view.shape().to_vec(),
        labels,
        expected: expected.to_owned(),
    };
    let (coefficients, intercepts) = (tensor(COEFFICIENTS)?, tensor(INTERCEPTS)?);
    let &[outputs, dim] = coefficients.shape() else {
        return Err(shape(COEFFICIENTS, &coefficients, "two dimensions"));
    };
    let &[_] = intercepts.shape() else {
        return Err(shape(INTERCEPTS, &intercepts, "one dimension"));
    };
    let coefficients = Array2::from_shape_vec((outputs, dim), numbers(COEFFICIENTS, &coefficients)?)
        .map_err(|_| shape(COEFFICIENTS, &coefficients, "as many numbers as it has"))?;
    Ok(Model::Linear(LinearModel { coefficients, intercepts: numbers(INTERCEPTS, &intercepts)? }))
}

fn numbers(tensor: &'static str, view: &TensorView<'_>) -> Result<Vec<f64>, FileProblem> {
    match view.dtype() {
        Dtype::F64 => Ok(view.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()),
        Dtype::F32 => Ok(view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect()),
        other => Err(FileProblem::DataType { tensor, got: other.to_string() }),
    }
}
