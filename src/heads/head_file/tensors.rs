//! A model's numbers as tensors of a head file, and back. Knows no metadata but what a model needs of it.
//! Invariant: tensors are listed by name, the order in which they lie in the file and in its checksum.

use ndarray::Array2;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::super::error::FileProblem;
use super::super::neighbours::{NeighbourTrainer, Neighbours};
use super::super::trainer::{LinearModel, Model, Targets};
use crate::model::Task;

const COEFFICIENTS: &str = "coefficients";
const INTERCEPTS: &str = "intercepts";
const ROWS: &str = "rows";
const TARGETS: &str = "targets";

/// A tensor as it is written.
pub(super) struct Stored {
    pub name: &'static str,
    pub dtype: &'static str,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// What a file says of its head beside the tensors.
pub(super) struct Described {
    pub task: Task,
    pub labels: usize,
    /// How many neighbours decide, and how; none of a linear model.
    pub neighbours: Option<(usize, NeighbourTrainer)>,
}

/// Names of the tensors of a kind's files, sorted.
pub(super) fn names_of(kind: Option<&str>) -> [&'static str; 2] {
    if kind == Some("knn") { [ROWS, TARGETS] } else { [COEFFICIENTS, INTERCEPTS] }
}

/// The tensors of a model, by name.
pub(super) fn stored(model: &Model) -> [Stored; 2] {
    let tensor = |name, dtype, shape: &[usize], bytes| Stored { name, dtype, shape: shape.to_vec(), bytes };
    match model {
        Model::Linear(LinearModel { coefficients, intercepts }) => [
            tensor(COEFFICIENTS, "F64", coefficients.shape(), wide(coefficients)),
            tensor(INTERCEPTS, "F64", &[intercepts.len()], wide(intercepts)),
        ],
        Model::Neighbours(neighbours) => {
            let rows = neighbours.rows();
            let bytes = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
            let targets = match neighbours.targets() {
                Targets::Classes { of, .. } => {
                    let bytes = of.iter().flat_map(|&class| (class as u32).to_le_bytes()).collect();
                    tensor(TARGETS, "U32", &[of.len()], bytes)
                }
                Targets::Labels { of, labels } => {
                    let given = |row: &Vec<usize>| (0..*labels).map(|label| u8::from(row.contains(&label))).collect();
                    tensor(
                        TARGETS,
                        "U8",
                        &[of.len(), *labels],
                        of.iter().flat_map(|row| -> Vec<u8> { given(row) }).collect(),
                    )
                }
                Targets::Numbers(numbers) => tensor(TARGETS, "F64", numbers.shape(), wide(numbers)),
            };
            [tensor(ROWS, "F32", rows.shape(), bytes), targets]
        }
    }
}

fn wide<'a>(values: impl IntoIterator<Item = &'a f64>) -> Vec<u8> {
    values.into_iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The model of a file.
pub(super) fn model(described: &Described, tensors: &SafeTensors<'_>) -> Result<Model, FileProblem> {
    match described.neighbours {
        None => linear(described.labels, tensors),
        Some((count, options)) => {
            let rows = tensor(ROWS, tensors)?;
            let (&[count_of_rows, dim], Dtype::F32) = (rows.shape(), rows.dtype()) else {
                return Err(shape((ROWS, &rows), described.labels, "two dimensions of type F32"));
            };
            let values = rows.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            let rows = Array2::from_shape_vec((count_of_rows, dim), values)
                .map_err(|_| shape((ROWS, &rows), described.labels, "as many numbers as it has"))?;
            let targets = targets(described, &tensor(TARGETS, tensors)?)?;
            let kept = Neighbours::new(rows, targets, count, options);
            kept.map(Model::Neighbours).map_err(|source| FileProblem::Neighbours { source: Box::new(source) })
        }
    }
}

/// What is right for the rows of neighbours.
fn targets(Described { task, labels, .. }: &Described, view: &TensorView<'_>) -> Result<Targets, FileProblem> {
    match (task, view.shape(), view.dtype()) {
        (Task::Classification, &[_], Dtype::U32) => {
            let of = view.data().as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize).collect();
            Ok(Targets::Classes { of, classes: *labels })
        }
        (Task::Multilabel, &[_, columns], Dtype::U8) if columns == *labels => {
            let given = |row: &[u8]| (0..columns).filter(|&label| row[label] != 0).collect();
            Ok(Targets::Labels { of: view.data().chunks(columns).map(given).collect(), labels: columns })
        }
        (Task::Regression, &[rows, columns], Dtype::F64) if columns == *labels => {
            let numbers = Array2::from_shape_vec((rows, columns), numbers(TARGETS, view)?);
            numbers.map(Targets::Numbers).map_err(|_| shape((TARGETS, view), *labels, "as many numbers as it has"))
        }
        (Task::Classification, ..) => Err(shape((TARGETS, view), *labels, "[rows] of type U32")),
        (Task::Multilabel, ..) => Err(shape((TARGETS, view), *labels, &format!("[rows, {labels}] of type U8"))),
        (Task::Regression, ..) => Err(shape((TARGETS, view), *labels, &format!("[rows, {labels}] of type F64"))),
    }
}

fn linear(labels: usize, tensors: &SafeTensors<'_>) -> Result<Model, FileProblem> {
    let (coefficients, intercepts) = (tensor(COEFFICIENTS, tensors)?, tensor(INTERCEPTS, tensors)?);
    let &[outputs, dim] = coefficients.shape() else {
        return Err(shape((COEFFICIENTS, &coefficients), labels, "two dimensions"));
    };
    let &[_] = intercepts.shape() else {
        return Err(shape((INTERCEPTS, &intercepts), labels, "one dimension"));
    };
    let coefficients = Array2::from_shape_vec((outputs, dim), numbers(COEFFICIENTS, &coefficients)?)
        .map_err(|_| shape((COEFFICIENTS, &coefficients), labels, "as many numbers as it has"))?;
    Ok(Model::Linear(LinearModel { coefficients, intercepts: numbers(INTERCEPTS, &intercepts)? }))
}

fn tensor<'t>(name: &str, tensors: &SafeTensors<'t>) -> Result<TensorView<'t>, FileProblem> {
    tensors.tensor(name).map_err(|source| FileProblem::Safetensors { source })
}

fn shape((tensor, view): (&'static str, &TensorView<'_>), labels: usize, expected: &str) -> FileProblem {
    FileProblem::Shape { tensor, got: view.shape().to_vec(), labels, expected: expected.to_owned() }
}

fn numbers(tensor: &'static str, view: &TensorView<'_>) -> Result<Vec<f64>, FileProblem> {
    match view.dtype() {
        Dtype::F64 => Ok(view.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()),
        Dtype::F32 => Ok(view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect()),
        other => Err(FileProblem::DataType { tensor, got: other.to_string() }),
    }
}
