//! The tiny checkpoints of all architectures, references (token ids, and what another library makes of them), and how
//! rows are compared, for tests that run them.
// Every test file compiles this module for itself and uses its own part of it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

use offprint::runtime::{Batch, EncoderSession, OnnxRuntime, RunBatch};
use safetensors::tensor::SafeTensors;

use crate::common::root;

fn tiny() -> PathBuf {
    root().join("tests/data/tiny-architectures")
}

/// Their names, in order.
pub fn checkpoints() -> Vec<String> {
    let entries = fs::read_dir(tiny()).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 16);
    names
}

/// A copy of a checkpoint with the tokenizer that all of them share.
pub fn copy(name: &str, into: &Path) {
    fs::create_dir_all(into).unwrap();
    for entry in fs::read_dir(tiny().join(name)).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), into.join(entry.file_name())).unwrap();
    }
    fs::copy(tiny().join("tokenizer.json"), into.join("tokenizer.json")).unwrap();
}

/// The reference of a tiny checkpoint.
pub fn reference_of(name: &str) -> Reference {
    Reference::open(&tiny().join(name))
}

/// Token ids by row, and values by name.
pub struct Reference {
    pub rows: Vec<Vec<i64>>,
    bytes: Vec<u8>,
}

impl Reference {
    /// That of a folder of fixtures.
    pub fn open(folder: &Path) -> Self {
        let bytes = fs::read(folder.join("reference.safetensors")).unwrap();
        let ints = |name: &str| -> Vec<i64> {
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let data = tensors.tensor(name).unwrap().data().to_vec();
            data.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]]).into()).collect()
        };
        let mut ids = ints("ids").into_iter();
        let rows = ints("lengths").into_iter().map(|length| ids.by_ref().take(length as usize).collect()).collect();
        Self { rows, bytes }
    }

    /// One row for each row of ids.
    pub fn values(&self, name: &str) -> Option<Vec<Vec<f32>>> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = tensors.tensor(name).ok()?;
        let floats: Vec<f32> =
            tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        Some(floats.chunks_exact(tensor.shape()[1]).map(<[f32]>::to_vec).collect())
    }
}

/// ONNX Runtime; `None`, and a line that says so, where it is not here.
pub fn runtime() -> Option<OnnxRuntime> {
    match OnnxRuntime::load(None) {
        Ok(runtime) => Some(runtime),
        Err(error @ offprint::runtime::Error::LibraryNotFound { .. }) => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The largest difference of a number as a share of its row's norm.
pub fn largest_share(got: &[Vec<f32>], want: &[Vec<f32>]) -> f64 {
    assert_eq!(got.len(), want.len());
    let share = |(got, want): (&Vec<f32>, &Vec<f32>)| {
        assert_eq!(got.len(), want.len());
        let norm = want.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let delta = got.iter().zip(want).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).fold(0.0, f64::max);
        delta / norm
    };
    got.iter().zip(want).map(share).fold(0.0, f64::max)
}

/// The cosine of two vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Rows filled up with `pad_id` to one length, and `padding` columns more.
pub fn batch(rows: &[&Vec<i64>], padding: usize, pad_id: i64) -> Batch {
    let columns = rows.iter().map(|row| row.len()).max().unwrap() + padding;
    let fill = |values: Vec<i64>, by: i64| -> Vec<i64> {
        let missing = columns - values.len();
        values.into_iter().chain(std::iter::repeat_n(by, missing)).collect()
    };
    Batch {
        ids: rows.iter().flat_map(|row| fill((*row).clone(), pad_id)).collect(),
        mask: rows.iter().flat_map(|row| fill(vec![1; row.len()], 0)).collect(),
        rows: rows.len(),
        columns,
        adapters: Vec::new(),
    }
}

/// What a batch gives, row by row.
pub fn run(session: &mut EncoderSession, batch: &Batch) -> Vec<Vec<f32>> {
    let matrix = session.run(batch).unwrap();
    matrix.data.chunks_exact(matrix.dim).map(<[f32]>::to_vec).collect()
}
