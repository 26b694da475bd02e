//! Half-written is normal: the cache is stopped before, or failed at, every single step by which it changes the disk.
//!
//! Stopped means that the process dies without unwinding (a child of this test binary aborts itself), so that its
//! temporary files stay and its locks go. After each, a part is whole or absent, and the next run goes on.

use std::fs;
use std::path::Path;
use std::thread;

use super::*;
use crate::durable::fail_points::{Step, Watch, asked_to_die, die_in_child};

const DIM: usize = 64;
/// Enough for several writes per part.
const ROWS: u32 = 3_000;

fn space() -> Space {
    Space { fingerprint: "f00d".into(), dim: DIM, fields: [("pooling".to_owned(), "mean".to_owned())].into() }
}

fn key(row: u32) -> Key {
    Key::of_text(&format!("text {row}"))
}

fn embedding(row: u32) -> Vec<f32> {
    (0..DIM).map(|column| row as f32 + column as f32 / 128.0).collect()
}

fn append(cache: &EmbeddingCache, rows: impl Iterator<Item = u32>) -> Result<(), Error> {
    rows.into_iter().try_for_each(|row| cache.append(key(row), &embedding(row), meta(row)))
}

fn meta(row: u32) -> RowMeta {
    RowMeta { n_tokens: row, n_dropped: row / 2, title_cut: row.is_multiple_of(3) }
}

fn held(cache: &EmbeddingCache, rows: impl Iterator<Item = u32>) -> usize {
    let mut into = vec![0.0; DIM];
    let mut found = 0;
    for row in rows {
        if let Some(got) = cache.copy_row(&key(row), &mut into) {
            assert_eq!((got, &into), (meta(row), &embedding(row)), "row {row}");
            found += 1;
        }
    }
    found
}

fn temporary_files(root: &Path) -> usize {
    let entries = fs::read_dir(root.join("f00d")).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp")).count()
}

/// Two parts on disk, and a third in memory.
fn fill(root: &Path) -> EmbeddingCache {
    let cache = EmbeddingCache::open(root, &space()).unwrap();
    for part in 0..2 {
        append(&cache, part * ROWS / 3..(part + 1) * ROWS / 3).unwrap();
        cache.close_part().unwrap();
    }
    append(&cache, 2 * ROWS / 3..ROWS).unwrap();
    cache
}

/// The steps of one `finish`: a part, then a merge of three.
fn steps() -> Vec<Step> {
    let root = tempfile::tempdir().unwrap();
    let cache = fill(root.path());
    let watch = Watch::count(root.path());
    cache.finish().unwrap();
    watch.taken()
}

#[test]
fn every_step_is_watched() {
    let steps = steps();
    let count = |name| steps.iter().filter(|step| step.action == name).count();
    assert_eq!((count("create"), count("sync"), count("rename"), count("remove")), (2, 2, 2, 3), "{steps:?}");
    assert_eq!(count("sync folder"), 3, "after each rename, and after the removals");
    assert!(count("write") >= 6, "{steps:?}");
}

#[test]
fn a_disk_that_refuses_any_step_loses_no_row() {
    for step in steps() {
        let root = tempfile::tempdir().unwrap();
        let cache = fill(root.path());
        let watch = Watch::fail_at(root.path(), &step);
        let outcome = cache.finish();
        drop(watch);
        let closed = outcome.is_ok();
        let warnings = cache.take_warnings();
        assert_eq!(warnings.len(), usize::from(closed), "a close fails, a merge warns (step {step})");
        if let Err(error) = outcome {
            assert!(error.hint().unwrap().contains("--cache-dir"), "{error}");
        }
        assert_eq!(held(&cache, 0..ROWS), ROWS as usize, "step {step}");
        assert_eq!(temporary_files(root.path()), 0, "step {step}");
        let other = EmbeddingCache::open(root.path(), &space()).unwrap();
        assert!(held(&other, 0..ROWS) >= 2 * ROWS as usize / 3, "step {step}");
        finish_merged(&cache);
        assert_eq!((cache.parts(), cache.len()), (1, ROWS as usize), "the next attempt goes through (step {step})");
    }
}

/// Finishes until the merge was done: a child that another test is just starting holds a copy of the lock for a moment.
fn finish_merged(cache: &EmbeddingCache) {
    for _ in 0..200 {
        cache.finish().unwrap();
        if cache.parts() == 1 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Runs as a child of the test below; on its own it has nothing to do.
#[test]
fn child_that_dies() {
    let Some((root, step)) = asked_to_die() else { return };
    let cache = fill(&root);
    let _watch = Watch::die_at(&root, &step);
    cache.finish().unwrap();
}

#[test]
fn a_process_that_dies_at_any_step_leaves_whole_parts_and_the_next_run_goes_on() {
    let steps = steps();
    let closing = steps.iter().position(|step| step.action == "sync folder").unwrap();
    let mut merged_twice = 0;
    for (number, step) in steps.iter().enumerate() {
        let root = tempfile::tempdir().unwrap();
        let status = die_in_child("cache::crash_tests::child_that_dies", root.path(), step);
        assert!(!status.success(), "the child was to die at step {step}");
        let left = temporary_files(root.path());
        let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
        assert_eq!(temporary_files(root.path()), 0, "step {step} left {left}");
        assert!(cache.take_warnings().is_empty());
        let expected = if number < closing { 2 * ROWS / 3 } else { ROWS };
        assert_eq!(held(&cache, 0..ROWS), expected as usize, "step {step}");
        assert!(verify(root.path()).unwrap().damaged.is_empty());
        merged_twice += usize::from(cache.len() > expected as usize);
        append(&cache, 0..ROWS).unwrap();
        cache.finish().unwrap();
        assert_eq!((cache.parts(), cache.len()), (1, ROWS as usize), "step {step}");
        assert_eq!(held(&cache, 0..ROWS), ROWS as usize, "step {step}");
    }
    assert!(merged_twice >= 2, "some deaths fall between the merged part and the removal of its sources");
}

#[test]
fn a_failed_part_and_the_rows_after_it_are_both_written_later() {
    let root = tempfile::tempdir().unwrap();
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    append(&cache, 0..10).unwrap();
    let step = Step { action: "write".into(), path: "f00d".into(), nth: 0 };
    let watch = Watch::fail_at(root.path(), &step);
    cache.close_part().unwrap_err();
    drop(watch);
    append(&cache, 0..20).unwrap();
    cache.close_part().unwrap();
    assert_eq!((cache.parts(), cache.len()), (2, 20));
    assert_eq!(held(&EmbeddingCache::open(root.path(), &space()).unwrap(), 0..20), 20);
}

#[test]
fn readers_never_miss_a_row_while_parts_come_and_merge() {
    let root = tempfile::tempdir().unwrap();
    let base = EmbeddingCache::open(root.path(), &space()).unwrap();
    append(&base, 0..50).unwrap();
    base.close_part().unwrap();
    thread::scope(|scope| {
        for writer in 1..3 {
            let root = root.path();
            scope.spawn(move || {
                for round in 0..15 {
                    let cache = EmbeddingCache::open(root, &space()).unwrap();
                    append(&cache, 1_000 * writer + 10 * round..1_000 * writer + 10 * round + 10).unwrap();
                    cache.finish().unwrap();
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..60 {
                assert_eq!(held(&EmbeddingCache::open(root.path(), &space()).unwrap(), 0..50), 50);
                assert_eq!(held(&base, 0..50), 50);
            }
        });
    });
    base.finish().unwrap();
    assert_eq!((base.parts(), base.len()), (1, 350));
}

/// A space with a part, and one that was set aside.
fn fill_and_damage(root: &Path) {
    let cache = fill(root);
    cache.close_part().unwrap();
    drop(cache);
    let part = folder::part_paths(&root.join("f00d")).unwrap().remove(0);
    folder::set_aside(&part).unwrap();
}

#[test]
fn a_prune_that_fails_at_any_step_leaves_no_half_of_a_space_and_the_next_one_ends_it() {
    let damaged = PruneOptions { damaged: true, ..PruneOptions::default() };
    let all = PruneOptions { keep_bytes: Some(0), ..PruneOptions::default() };
    for (options, expected) in [(&damaged, ["remove", "remove empty folder"]), (&all, ["rename", "remove folder"])] {
        // The name of what is moved aside is another one each time.
        let actions = {
            let root = tempfile::tempdir().unwrap();
            fill_and_damage(root.path());
            let watch = Watch::count(root.path());
            prune(root.path(), options).unwrap();
            watch.taken().into_iter().map(|step| step.action).collect::<Vec<String>>()
        };
        assert!(expected.iter().all(|action| actions.iter().any(|taken| taken == action)), "{actions:?}");
        for (number, action) in actions.iter().enumerate() {
            let root = tempfile::tempdir().unwrap();
            fill_and_damage(root.path());
            let watch = Watch::fail_after(root.path(), number);
            let outcome = prune(root.path(), options);
            drop(watch);
            let parts = folder::part_paths(&root.path().join("f00d")).map_or(0, |parts| parts.len());
            assert!(parts == 0 || parts == 2, "{parts} parts, {action}: {outcome:?}");
            prune(root.path(), options).unwrap();
            let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left.len(), if options.damaged { 3 } else { 2 }, "{action}: {left:?}");
        }
    }
}
