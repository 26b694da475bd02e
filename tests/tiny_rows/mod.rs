//! The tiny checkpoints of all architectures and the token ids that their references are made of, for tests that run them.

use std::fs;
use std::path::{Path, PathBuf};

use offprint::runtime::{Batch, EncoderSession, RunBatch};
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

/// The token ids of a checkpoint's reference texts.
pub fn rows_of(name: &str) -> Vec<Vec<i64>> {
    let bytes = fs::read(tiny().join(name).join("reference.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let ints = |name: &str| -> Vec<i64> {
        let data = tensors.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]]).into()).collect()
    };
    let mut ids = ints("ids").into_iter();
    ints("lengths").into_iter().map(|length| ids.by_ref().take(length as usize).collect()).collect()
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
    }
}

/// What a batch gives, row by row.
pub fn run(session: &mut EncoderSession, batch: &Batch) -> Vec<Vec<f32>> {
    let matrix = session.run(batch).unwrap();
    matrix.data.chunks_exact(matrix.dim).map(<[f32]>::to_vec).collect()
}
