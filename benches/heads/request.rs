//! What a benchmark program is asked: one JSON object from standard input, and the files of numbers that it names.
//!
//! Knows no kind of head. Invariant: nothing of it is within the time that is measured.

use std::error::Error;
use std::io::{Read, Write};
use std::path::Path;

use ndarray::Array2;
use offprint::heads::Targets;
use serde::de::DeserializeOwned;

/// The request; none where nothing was asked, as by `cargo bench` without a script.
pub fn read<T: DeserializeOwned>() -> Result<Option<T>, Box<dyn Error>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(if text.is_empty() { None } else { Some(serde_json::from_str(&text)?) })
}

/// A file of f32.
pub fn rows(path: &Path) -> std::io::Result<Vec<f32>> {
    numbers(path, f32::from_le_bytes)
}

/// A file of f64, one for each row: classes by number, or numbers where `classes` is 0.
pub fn targets(path: &Path, classes: usize) -> Result<Targets, Box<dyn Error>> {
    let given: Vec<f64> = numbers(path, f64::from_le_bytes)?;
    Ok(match classes {
        0 => Targets::Numbers(Array2::from_shape_vec((given.len(), 1), given)?),
        classes => Targets::Classes { of: given.iter().map(|&class| class as usize).collect(), classes },
    })
}

/// Writes a file of f64.
pub fn write(path: &Path, values: impl IntoIterator<Item = f64>) -> std::io::Result<()> {
    let bytes: Vec<u8> = values.into_iter().flat_map(f64::to_le_bytes).collect();
    std::fs::File::create(path)?.write_all(&bytes)
}

/// Processor time of all threads of this process so far, as Linux counts it.
pub fn processor_seconds() -> Result<f64, Box<dyn Error>> {
    let mut sum = 0.0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += text.split(' ').next().unwrap_or("0").parse::<f64>()?;
    }
    Ok(sum * 1e-9)
}

fn numbers<T, const N: usize>(path: &Path, read: fn([u8; N]) -> T) -> std::io::Result<Vec<T>> {
    Ok(std::fs::read(path)?.as_chunks::<N>().0.iter().map(|&bytes| read(bytes)).collect())
}
