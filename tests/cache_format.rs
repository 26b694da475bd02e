//! Cache format version 1 stays readable: the committed fixture is opened, read and merged as it was on its first day.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use offprint::cache::{CACHE_FORMAT, EmbeddingCache, Key, MergeScope, PartOrigin, RowMeta, Space, stat, verify};

const DIM: usize = 5;
const ROWS: u32 = 12;
/// Rows that two machines computed.
const TWICE: u32 = 4;
const FINGERPRINT: &str = "0123456789abcdef";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cache-v1")
}

fn space() -> Space {
    let fields = [("pooling", "mean"), ("max_length", "256"), ("precision", "fp32")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Space { fingerprint: FINGERPRINT.into(), dim: DIM, fields }
}

fn embedding(row: u32) -> Vec<f32> {
    (0..DIM).map(|column| row as f32 - column as f32 / 8.0).collect()
}

fn meta(row: u32) -> RowMeta {
    RowMeta { n_tokens: 2 + row, n_dropped: row % 4, title_cut: row.is_multiple_of(5) }
}

/// Rows `from..to` as one part, computed on this processor.
fn write(root: &Path, cpu: &str, rows: std::ops::Range<u32>) {
    let cache = EmbeddingCache::open(root, &space()).unwrap();
    let origin =
        PartOrigin { provider: "CPUExecutionProvider".into(), runtime_version: "1.25.0".into(), cpu: cpu.into() };
    cache.set_origin(origin).unwrap();
    for row in rows {
        cache.append(Key::of_text(&format!("paper {row}")), &embedding(row), meta(row)).unwrap();
    }
    cache.close_part().unwrap();
}

#[test]
fn a_cache_of_format_1_is_read() {
    assert_eq!(CACHE_FORMAT, 1, "a new format needs a fixture of its own beside this one");
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join(FINGERPRINT);
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(fixture().join(FINGERPRINT)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    let report = verify(root.path()).unwrap();
    assert_eq!((report.parts, report.rows, report.is_sound()), (3, (ROWS + TWICE).into(), true));
    let found = &stat(root.path()).unwrap().spaces[0];
    assert_eq!((&found.fields, found.duplicate_keys), (&space().fields, TWICE.into()));
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    for _ in 0..2 {
        let mut into = vec![0.0; DIM];
        for row in 0..ROWS {
            assert_eq!(cache.copy_row(&Key::of_text(&format!("paper {row}")), &mut into), Some(meta(row)));
            assert_eq!(into, embedding(row));
        }
        cache.merge(MergeScope::All).unwrap();
        assert_eq!((cache.parts(), cache.len()), (2, (ROWS + TWICE) as usize), "one part for each origin");
    }
}

/// Writes the fixture: `cargo test --test cache_format -- --ignored`, once per format version, before its release.
#[test]
#[ignore = "writes tests/data/cache-v1"]
fn write_the_fixture() {
    write(&fixture(), "any", 0..7);
    write(&fixture(), "any", 7..ROWS);
    // Another origin, and keys that another part has too.
    let folder = fixture().join(FINGERPRINT);
    let known = tempfile::tempdir().unwrap();
    write(known.path(), "another", 5..9);
    for entry in fs::read_dir(known.path().join(FINGERPRINT)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "arrow") {
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
    fs::remove_file(folder.join("last-used")).unwrap();
}
