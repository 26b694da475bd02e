//! Several processes fill one cache at the same time, without a lock, and some of them are killed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use offprint::cache::{EmbeddingCache, Key, MergeScope, RowMeta, Space, stat, verify};

const DIM: usize = 32;
const ROWS: u32 = 4_000;
const ROOT: &str = "OFFPRINT_TEST_CACHE_ROOT";
const START: &str = "OFFPRINT_TEST_CACHE_START";
const ENDLESS: &str = "OFFPRINT_TEST_CACHE_ENDLESS";

fn space() -> Space {
    Space { fingerprint: "f00d".into(), dim: DIM, fields: [("pooling".to_owned(), "mean".to_owned())].into() }
}

fn key(row: u32) -> Key {
    Key::of_text(&row.to_string())
}

fn embedding(row: u32) -> Vec<f32> {
    (0..DIM).map(|column| (row * 31 + column as u32) as f32).collect()
}

/// Fills the cache with all rows, beginning at another one than its fellows do, in many small parts.
fn fill(root: &Path, start: u32) {
    let cache = EmbeddingCache::open(root, &space()).unwrap().with_part_age(Duration::from_millis(3));
    for row in (start..ROWS).chain(0..start) {
        cache.append(key(row), &embedding(row), RowMeta { n_tokens: row, ..RowMeta::default() }).unwrap();
        cache.tick().unwrap();
        if row % 1_000 == 999 {
            cache.finish().unwrap();
        }
    }
    cache.finish().unwrap();
    assert!(cache.take_warnings().is_empty());
}

fn assert_complete(root: &Path) {
    let cache = EmbeddingCache::open(root, &space()).unwrap();
    assert!(cache.take_warnings().is_empty());
    let mut into = vec![0.0; DIM];
    for row in 0..ROWS {
        assert_eq!(cache.copy_row(&key(row), &mut into).map(|meta| meta.n_tokens), Some(row));
        assert_eq!(into, embedding(row));
    }
    assert!(verify(root).unwrap().damaged.is_empty());
    cache.merge(MergeScope::All).unwrap();
    assert_eq!(cache.parts(), 1);
    assert_eq!(stat(root).unwrap().spaces[0].duplicate_keys, 0);
}

/// Runs as a child of the test below; on its own it has nothing to do.
#[test]
fn child_that_fills() {
    let (Ok(root), Ok(start)) = (std::env::var(ROOT), std::env::var(START)) else { return };
    let (root, start) = (Path::new(&root), start.parse().unwrap());
    fill(root, start);
    if std::env::var(ENDLESS).is_ok_and(|value| value == "true") {
        let cache = EmbeddingCache::open(root, &space()).unwrap().with_part_age(Duration::ZERO);
        for row in ROWS + start.. {
            cache.append(key(row), &embedding(row), RowMeta::default()).unwrap();
            cache.tick().unwrap();
            cache.merge(MergeScope::Small).unwrap();
        }
    }
}

fn spawn(root: &Path, start: u32, endless: bool) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_fills", "--test-threads=1", "--quiet"])
        .env(ROOT, root)
        .env(START, start.to_string())
        .env(ENDLESS, endless.to_string())
        .spawn()
        .unwrap()
}

#[test]
fn processes_that_append_the_same_keys_lose_nothing_even_if_some_are_killed() {
    let root = tempfile::tempdir().unwrap();
    let mut doomed: Vec<Child> = [500, 2_500].map(|start| spawn(root.path(), start, true)).into();
    let living: Vec<Child> = [0, 1_000, 3_000].map(|start| spawn(root.path(), start, false)).into();
    for (index, child) in doomed.iter_mut().enumerate() {
        thread::sleep(Duration::from_millis(40 + 30 * index as u64));
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "it was at work when it was killed");
    }
    for mut child in living {
        assert!(child.wait().unwrap().success());
    }
    assert_complete(root.path());
    let left = std::fs::read_dir(root.path().join("f00d")).unwrap();
    let left: Vec<String> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
}

#[test]
fn threads_with_handles_of_their_own_and_threads_on_one_handle_lose_nothing() {
    let root = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for start in [0, 1_500, 3_500] {
            let root = root.path();
            scope.spawn(move || fill(root, start));
        }
    });
    assert_complete(root.path());
    assert_eq!(EmbeddingCache::open(root.path(), &space()).unwrap().len(), ROWS as usize);

    let root = tempfile::tempdir().unwrap();
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap().with_part_age(Duration::from_millis(1));
    thread::scope(|scope| {
        for start in [0, 1_000, 2_000] {
            let cache = &cache;
            scope.spawn(move || {
                for row in (start..ROWS).chain(0..start) {
                    let meta = RowMeta { n_tokens: row, ..RowMeta::default() };
                    cache.append(key(row), &embedding(row), meta).unwrap();
                    cache.tick().unwrap();
                    assert!(cache.contains(&key(row)), "a row can be read from when it was appended");
                }
            });
        }
    });
    cache.finish().unwrap();
    assert_eq!(cache.len(), ROWS as usize, "one handle computes nothing twice");
    assert_complete(root.path());
}
