//! What the cache promises about its parts: found again, merged to the same bytes in any order, searched one by one and at once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/cache_rows.rs"]
mod rows;

use std::fs;
use std::time::Duration;

use offprint::cache::{EmbeddingCache, Error, Key, MergeScope, PartOrigin, RowMeta, Space, space_by_prefix};
use rows::{DIM, append, assert_held, embedding, key, meta, parts, space, write_overlapping};

#[test]
fn rows_are_found_before_and_after_they_are_written_and_by_the_next_run() {
    let root = tempfile::tempdir().unwrap();
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    assert!(cache.is_empty() && !cache.contains(&key(0)));
    append(&cache, 0..100);
    assert_held(&cache, 0..100);
    assert_eq!((cache.len(), cache.parts()), (100, 0));
    cache.close_part().unwrap();
    append(&cache, 90..120);
    assert_eq!((cache.len(), cache.parts()), (120, 1), "a key again is passed over");
    assert_held(&cache, 0..120);
    cache.finish().unwrap();
    assert_eq!((cache.len(), cache.parts()), (120, 1));
    let again = EmbeddingCache::open(root.path(), &space_by_prefix(root.path(), "f0").unwrap()).unwrap();
    assert_eq!(again.space(), &space());
    assert_held(&again, 0..120);
    assert!(!again.contains(&key(120)));
}

#[test]
fn many_look_ups_at_once_find_what_single_ones_find_in_parts_and_in_memory() {
    let root = tempfile::tempdir().unwrap();
    write_overlapping(root.path(), [0..900, 800..2_000]);
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    append(&cache, 2_000..2_500);
    let rows: Vec<u32> = (0..5_000).map(|row| row * 7 % 3_001).collect();
    let keys: Vec<Key> = rows.iter().map(|row| key(*row)).collect();
    // Again and again, so that parts make their filters.
    for _ in 0..3 {
        let held = cache.contains_all(&keys);
        assert!(rows.iter().zip(&held).all(|(row, held)| *held == (*row < 2_500)));
        let mut matrix = vec![-1.0; rows.len() * DIM];
        let metas = cache.copy_rows(keys.iter().copied().zip(matrix.chunks_exact_mut(DIM)));
        for ((row, found), values) in rows.iter().zip(metas).zip(matrix.chunks_exact(DIM)) {
            match *row < 2_500 {
                true => assert_eq!((found, values), (Some(meta(*row)), &embedding(*row)[..])),
                false => assert_eq!((found, values), (None, &[-1.0; DIM][..])),
            }
        }
        assert!(keys.iter().zip(held).all(|(key, held)| cache.contains(key) == held));
    }
    assert!(cache.contains_all(&[]).is_empty());
}

#[test]
fn a_walk_visits_every_key_once_in_ascending_order_and_can_be_stopped() {
    let root = tempfile::tempdir().unwrap();
    write_overlapping(root.path(), [0..40, 25..60]);
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    let mut seen: Vec<Key> = Vec::new();
    let mut expected: Vec<(Key, u32)> = (0..60).map(|row| (key(row), row)).collect();
    expected.sort();
    cache
        .for_each_row::<()>(&mut |key, values, found| {
            let (expected_key, row) = expected[seen.len()];
            assert_eq!((*key, values, *found), (expected_key, &embedding(row)[..], meta(row)));
            seen.push(*key);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen.len(), 60);
    let mut visits = 0;
    let stopped = cache.for_each_row(&mut |_, _, _| {
        visits += 1;
        if visits == 7 { Err("full") } else { Ok(()) }
    });
    assert_eq!((stopped, visits), (Err("full"), 7));
}

#[test]
fn a_run_that_is_all_hits_writes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    append(&cache, 0..10);
    cache.finish().unwrap();
    let files = || fs::read_dir(root.path().join("f00d")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut before: Vec<_> = files().collect();
    let again = EmbeddingCache::open(root.path(), &space()).unwrap();
    append(&again, 0..10);
    again.finish().unwrap();
    let mut after: Vec<_> = files().collect();
    before.sort();
    after.sort();
    assert_eq!(before, after);
    assert_eq!(after.len(), 3, "a part, space.json and last-used: not even a lock file");
}

#[test]
fn the_first_row_of_a_key_stays() {
    let root = tempfile::tempdir().unwrap();
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    append(&cache, [1]);
    cache.append(key(1), &[9.0; DIM], RowMeta::default()).unwrap();
    assert_held(&cache, [1]);
    let error = cache.append(key(2), &[0.0; DIM - 1], RowMeta::default()).unwrap_err();
    assert!(matches!(error, Error::RowLength { got: 7, expected: 8 }), "{error}");
}

#[test]
fn of_two_parts_with_one_key_the_smaller_name_wins_before_and_after_a_merge() {
    let root = tempfile::tempdir().unwrap();
    let [one, two] = [1.0, 2.0].map(|value| {
        let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
        (cache, value)
    });
    for (cache, value) in [&one, &two] {
        cache.append(key(0), &[*value; DIM], RowMeta::default()).unwrap();
        let before = parts(root.path());
        cache.close_part().unwrap();
        assert_eq!(parts(root.path()).len(), before.len() + 1);
    }
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    let (mut first, mut merged) = ([0.0; DIM], [0.0; DIM]);
    cache.copy_row(&key(0), &mut first).unwrap();
    let winner = tempfile::tempdir().unwrap();
    let alone = EmbeddingCache::open(winner.path(), &space()).unwrap();
    alone.append(key(0), &first, RowMeta::default()).unwrap();
    alone.close_part().unwrap();
    assert_eq!(parts(winner.path())[0].file_name(), parts(root.path())[0].file_name(), "the smaller name");
    let report = cache.merge(MergeScope::All).unwrap();
    assert_eq!((report.sources, report.written, report.rows, report.duplicates), (2, 1, 1, 1));
    cache.copy_row(&key(0), &mut merged).unwrap();
    assert_eq!(first, merged);
    assert_eq!(parts(root.path()).len(), 1, "the merged part can be one of its sources");
}

#[test]
fn the_same_rows_merge_to_the_same_bytes_in_whatever_order_they_came() {
    let orders: [Vec<Vec<u32>>; 3] = [
        vec![(0..60).collect()],
        vec![(40..60).rev().collect(), (0..20).collect(), (20..40).collect()],
        vec![(0..60).step_by(2).collect(), (0..60).rev().collect()],
    ];
    let names = orders.map(|order| {
        let root = tempfile::tempdir().unwrap();
        for rows in order {
            let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
            append(&cache, rows);
            cache.close_part().unwrap();
        }
        EmbeddingCache::open(root.path(), &space()).unwrap().merge(MergeScope::All).unwrap();
        let parts = parts(root.path());
        assert_eq!(parts.len(), 1);
        parts[0].file_name().unwrap().to_owned()
    });
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
}

#[test]
fn one_process_merges_at_a_time_and_the_others_go_on_without() {
    let root = tempfile::tempdir().unwrap();
    write_overlapping(root.path(), [0..10, 5..15]);
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    let other = fs::File::create(root.path().join("f00d/.merge.lock")).unwrap();
    other.lock().unwrap();
    assert!(cache.merge(MergeScope::All).unwrap().busy);
    cache.finish().unwrap();
    assert_eq!((cache.parts(), cache.take_warnings().len()), (2, 0));
    other.unlock().unwrap();
    cache.finish().unwrap();
    assert_eq!((cache.parts(), cache.len()), (1, 15));
}

#[test]
fn parts_of_different_origin_stay_apart() {
    let root = tempfile::tempdir().unwrap();
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    for (round, version) in ["1.24.1", "1.24.1", "1.25.0"].into_iter().enumerate() {
        let origin =
            PartOrigin { provider: "CPUExecutionProvider".into(), runtime_version: version.into(), cpu: "x".into() };
        cache.set_origin(origin).unwrap();
        append(&cache, 10 * round as u32..10 * round as u32 + 10);
        cache.close_part().unwrap();
    }
    cache.finish().unwrap();
    assert_eq!((cache.parts(), cache.len()), (2, 30));
    append(&cache, [30]);
    cache.set_origin(PartOrigin::default()).unwrap();
    assert_eq!(cache.parts(), 3, "a part has one origin");
}

#[test]
fn a_part_is_closed_when_it_is_old_enough_and_not_before() {
    let root = tempfile::tempdir().unwrap();
    let young = EmbeddingCache::open(root.path(), &space()).unwrap();
    append(&young, 0..3);
    young.tick().unwrap();
    assert_eq!(young.parts(), 0);
    let old = EmbeddingCache::open(root.path(), &space()).unwrap().with_part_age(Duration::ZERO);
    old.tick().unwrap();
    assert_eq!(old.parts(), 0, "nothing to write");
    append(&old, 0..3);
    old.tick().unwrap();
    assert_eq!(old.parts(), 1);
}

#[test]
fn a_full_part_is_closed_by_the_next_row() {
    let root = tempfile::tempdir().unwrap();
    let wide = Space { dim: 1 << 20, ..space() };
    let cache = EmbeddingCache::open(root.path(), &wide).unwrap();
    for row in 0..17 {
        cache.append(key(row), &vec![row as f32; wide.dim], meta(row)).unwrap();
        assert_eq!(cache.parts(), usize::from(row == 16), "16 rows of 4 MiB fill a part of 64 MiB (row {row})");
    }
    cache.merge(MergeScope::All).unwrap();
    let mut into = vec![0.0; wide.dim];
    for row in 0..17 {
        assert_eq!(cache.copy_row(&key(row), &mut into), Some(meta(row)));
        assert!(into.iter().all(|value| *value == row as f32));
    }
}
