//! Rows for tests of the cache: everything about a row follows from its number.

#![allow(dead_code, reason = "each test program uses some of it")]

use std::fs;
use std::path::{Path, PathBuf};

use offprint::cache::{EmbeddingCache, Key, PartOrigin, RowMeta, Space};

pub const DIM: usize = 8;

pub fn space() -> Space {
    let fields = [("pooling", "mean"), ("max_length", "256")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Space { fingerprint: "f00d".into(), dim: DIM, fields }
}

pub fn key(row: u32) -> Key {
    Key::of_text(&format!("text {row}"))
}

pub fn embedding(row: u32) -> Vec<f32> {
    (0..DIM).map(|column| row as f32 + column as f32 / 16.0).collect()
}

pub fn meta(row: u32) -> RowMeta {
    RowMeta { n_tokens: row + 2, n_dropped: row % 5, title_cut: row.is_multiple_of(2) }
}

pub fn origin(cpu: &str) -> PartOrigin {
    PartOrigin { provider: "CPUExecutionProvider".into(), runtime_version: "1.25.0".into(), cpu: cpu.into() }
}

pub fn append(cache: &EmbeddingCache, rows: impl IntoIterator<Item = u32>) {
    for row in rows {
        cache.append(key(row), &embedding(row), meta(row)).unwrap();
    }
}

pub fn assert_held(cache: &EmbeddingCache, rows: impl IntoIterator<Item = u32>) {
    let mut into = vec![0.0; DIM];
    for row in rows {
        assert_eq!(cache.copy_row(&key(row), &mut into), Some(meta(row)), "row {row}");
        assert_eq!(into, embedding(row), "row {row}");
    }
}

/// Fills a cache of its own with these rows as a run on a machine with this CPU does, one part for each `chunk`.
pub fn fill(root: &Path, cpu: &str, rows: impl IntoIterator<Item = u32>, chunk: usize) {
    let cache = EmbeddingCache::open(root, &space()).unwrap();
    cache.set_origin(origin(cpu)).unwrap();
    let rows: Vec<u32> = rows.into_iter().collect();
    for rows in rows.chunks(chunk) {
        append(&cache, rows.iter().copied());
        cache.close_part().unwrap();
    }
}

/// Two parts as two processes write them that do not know of each other.
pub fn write_overlapping(root: &Path, rows: [std::ops::Range<u32>; 2]) {
    let handles = [0, 1].map(|_| EmbeddingCache::open(root, &space()).unwrap());
    for (cache, rows) in handles.iter().zip(rows) {
        append(cache, rows);
        cache.close_part().unwrap();
    }
}

/// The parts in the space's folder, by name.
pub fn parts(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("f00d")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "arrow")).collect();
    paths.sort();
    paths
}

/// Names and bytes of all files below a folder.
pub fn tree(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Turns one bit in the middle of a file.
pub fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(path, bytes).unwrap();
}
