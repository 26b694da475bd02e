//! Caches of several machines become the one that a single machine would have made, and nothing but that.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/cache_rows.rs"]
mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use offprint::cache::{EmbeddingCache, Error, JoinedSpace, Key, MergeScope, RowMeta, merge_caches, stat, verify};
use rows::{DIM, append, assert_held, damage, embedding, fill, key, meta, origin, parts, space, tree};

/// Names and bytes of the parts alone.
fn part_bytes(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let name = |path: &PathBuf| PathBuf::from(path.file_name().unwrap());
    parts(root).iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

/// What one machine leaves that embeds all these rows.
fn single(root: &Path, rows: std::ops::Range<u32>) {
    let cache = EmbeddingCache::open(root, &space()).unwrap();
    cache.set_origin(origin("any")).unwrap();
    append(&cache, rows);
    cache.finish().unwrap();
}

#[test]
fn caches_of_three_shards_become_the_cache_of_one_run_whatever_their_order() {
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str| root.path().join(name);
    single(&folder("single"), 0..900);
    for shard in 0..3 {
        let rows = (0..900).filter(|row| row * 7 % 3 == shard || row % 50 == 0);
        fill(&folder(&format!("shard{shard}")), "any", rows, 40 + 30 * shard as usize);
    }
    let sources: Vec<PathBuf> = (0..3).map(|shard| folder(&format!("shard{shard}"))).collect();
    let before: Vec<_> = sources.iter().map(|source| tree(source)).collect();
    for order in [[0, 1, 2], [2, 0, 1]] {
        let into = folder(&format!("into{order:?}"));
        let from = order.map(|shard| sources[shard].clone());
        let report = merge_caches(&from, &into).unwrap();
        let JoinedSpace { new_keys, rows, parts, differing_keys, .. } = report.spaces[0];
        assert_eq!((new_keys, rows, parts, differing_keys), (900, 900, 1, 0));
        assert!(report.left.is_empty());
        assert_eq!(part_bytes(&into), part_bytes(&folder("single")));
        let merged = tree(&into);
        let again = merge_caches(&from, &into).unwrap();
        assert_eq!((again.spaces[0].taken, again.spaces[0].new_keys), (0, 0));
        assert!(again.spaces[0].known > 0);
        assert_eq!(part_bytes(&into), part_bytes(&folder("single")), "once more changes nothing");
        assert_eq!(tree(&into).len(), merged.len());
    }
    assert_eq!(sources.iter().map(|source| tree(source)).collect::<Vec<_>>(), before, "sources are only read");
    let one_after_the_other = folder("steps");
    for source in &sources {
        merge_caches(std::slice::from_ref(source), &one_after_the_other).unwrap();
    }
    assert_eq!(part_bytes(&one_after_the_other), part_bytes(&folder("single")));
}

#[test]
fn without_a_source_the_parts_of_the_cache_become_one_for_each_origin() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "one", 0..50, 7);
    fill(root.path(), "other", 50..90, 7);
    let report = merge_caches(&[], root.path()).unwrap();
    let joined = &report.spaces[0];
    assert_eq!((joined.parts, joined.rows, joined.taken, joined.new_keys), (2, 90, 0, 0));
    assert_held(&EmbeddingCache::open(root.path(), &space()).unwrap(), 0..90);
}

#[test]
fn origins_stay_apart_and_keys_with_other_bits_are_counted() {
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str| root.path().join(name);
    fill(&folder("a"), "avx2", 0..40, 100);
    let b = EmbeddingCache::open(&folder("b"), &space()).unwrap();
    b.set_origin(origin("avx512")).unwrap();
    for row in 30..60 {
        let mut values = embedding(row);
        values[3] += if row < 35 { 0.25 } else { 0.0 };
        b.append(key(row), &values, meta(row)).unwrap();
    }
    b.close_part().unwrap();
    let report = merge_caches(&[folder("a"), folder("b")], &folder("into")).unwrap();
    let joined = &report.spaces[0];
    assert_eq!((joined.parts, joined.rows, joined.new_keys), (2, 70, 60));
    assert_eq!((joined.differing_keys, joined.largest_difference), (5, 0.25));
    let names = |name: &str| part_bytes(&folder(name));
    let mut both: Vec<_> = names("a").into_iter().chain(names("b")).collect();
    both.sort();
    assert_eq!(names("into"), both, "each origin's part is that of its machine");
    let merged = EmbeddingCache::open(&folder("into"), &space()).unwrap();
    let winner = if names("into")[0] == names("a")[0] { "a" } else { "b" };
    let winner = EmbeddingCache::open(&folder(winner), &space()).unwrap();
    let (mut got, mut expected) = ([0.0; DIM], [0.0; DIM]);
    for row in 30..35 {
        merged.copy_row(&key(row), &mut got).unwrap();
        winner.copy_row(&key(row), &mut expected).unwrap();
        assert_eq!(got, expected, "the part with the smaller name wins");
    }
}

#[test]
fn rows_that_are_damaged_in_the_target_are_taken_from_a_source() {
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str| root.path().join(name);
    fill(&folder("a"), "any", 0..23, 23);
    let whole = part_bytes(&folder("a"));
    let flip: fn(&Path) = damage;
    let cut: fn(&Path) = |path| fs::write(path, "cut").unwrap();
    for (name, spoil, set_aside) in [("flipped", flip, true), ("cut", cut, false)] {
        let into = folder(name);
        fill(&into, "any", 0..23, 23);
        spoil(&parts(&into)[0]);
        let report = merge_caches(&[folder("a")], &into).unwrap();
        let joined = &report.spaces[0];
        assert_eq!(
            (joined.taken, joined.known, joined.new_keys, joined.rows, joined.parts),
            (1, 0, 23, 23, 1),
            "{name}"
        );
        assert!(matches!(report.left[0].reason, Error::PartDamaged { .. }), "{:?}", report.left);
        assert_eq!(part_bytes(&into), whole, "{name}");
        assert_eq!(into.join("f00d/damaged").exists(), set_aside);
        let again = merge_caches(&[folder("a")], &into).unwrap();
        assert_eq!((again.spaces[0].taken, again.spaces[0].known, again.left.len()), (0, 1, 0));
    }
    let into = folder("part of it");
    fill(&into, "any", 0..40, 10);
    damage(&parts(&into)[2]);
    let report = merge_caches(&[folder("a")], &into).unwrap();
    assert_eq!((report.spaces[0].parts, report.left.len()), (1, 1));
    assert_held(&EmbeddingCache::open(&into, &space()).unwrap(), 0..23);
}

#[test]
fn damaged_parts_and_other_encoders_are_left_out_and_named() {
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str| root.path().join(name);
    fill(&folder("a"), "any", 0..60, 20);
    damage(&parts(&folder("a"))[1]);
    fs::write(&parts(&folder("a"))[2], b"cut").unwrap();
    let mut other = space();
    other.fields.insert("pooling".into(), "cls".into());
    EmbeddingCache::open(&folder("b"), &other).unwrap();
    fs::create_dir(folder("c")).unwrap();
    EmbeddingCache::open(&folder("d"), &space()).unwrap();
    fs::write(folder("d/f00d/space.json"), "{").unwrap();
    let before = tree(&folder("a"));
    let report = merge_caches(&[folder("a"), folder("b"), folder("d")], &folder("into")).unwrap();
    let left: Vec<_> = report.left.iter().map(|left| (left.path.clone(), left.reason.to_string())).collect();
    assert_eq!(left.len(), 4, "{left:?}");
    for part in [1, 2] {
        let path = parts(&folder("a"))[part].clone();
        let text = format!("cache part `{}` is damaged", path.display());
        assert!(left.contains(&(path, text)), "{left:?}");
    }
    assert!(left.iter().any(|(path, text)| *path == folder("b/f00d") && text.ends_with("pooling: mean -> cls")));
    assert!(left.iter().any(|(path, _)| *path == folder("d/f00d")));
    assert_eq!(report.spaces[0].rows, 20);
    assert_eq!(tree(&folder("a")), before);
    assert!(verify(&folder("into")).unwrap().is_sound());
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["left"][0]["reason"].as_str().unwrap().contains("`"));
    for (from, into) in [("c", "into"), ("none", "into")] {
        let error = merge_caches(&[folder(from)], &folder(into)).unwrap_err();
        assert!(matches!(error, Error::NoCache { .. }), "{error}");
    }
    let error = merge_caches(&[folder("a")], &folder("a")).unwrap_err();
    assert!(matches!(error, Error::SameCache { .. }), "{error}");
}

#[test]
fn a_cache_can_be_filled_and_merged_into_at_the_same_time() {
    let root = tempfile::tempdir().unwrap();
    let folder = |name: String| root.path().join(name);
    for source in 0..4 {
        fill(&folder(format!("source{source}")), "any", 1_000 * source..1_000 * source + 100, 9);
    }
    let into = folder("into".into());
    thread::scope(|scope| {
        for source in 0..4 {
            let (from, into) = (folder(format!("source{source}")), &into);
            scope.spawn(move || merge_caches(&[from], into).unwrap());
        }
        for writer in 4..6 {
            let into = &into;
            scope.spawn(move || {
                let cache = EmbeddingCache::open(into, &space()).unwrap().with_part_age(Duration::ZERO);
                cache.set_origin(origin("any")).unwrap();
                for row in 1_000 * writer..1_000 * writer + 100 {
                    append(&cache, [row]);
                    cache.tick().unwrap();
                }
                cache.finish().unwrap();
                assert_held(&cache, 1_000 * writer..1_000 * writer + 100);
            });
        }
    });
    let cache = EmbeddingCache::open(&into, &space()).unwrap();
    (0..6).for_each(|block| assert_held(&cache, 1_000 * block..1_000 * block + 100));
    cache.merge(MergeScope::All).unwrap();
    assert_eq!((cache.parts(), cache.len()), (1, 600));
    assert!(verify(&into).unwrap().is_sound());
}

const CHILD_FOLDER: &str = "OFFPRINT_TEST_MERGE_FOLDER";

/// Runs as a child of the test below; on its own it has nothing to do.
#[test]
fn child_that_merges() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER).map(PathBuf::from) else { return };
    let sources: Vec<PathBuf> = (0..3).map(|source| folder.join(format!("source{source}"))).collect();
    merge_caches(&sources, &folder.join("into")).unwrap();
}

#[test]
fn a_merge_that_is_killed_leaves_a_sound_cache_and_can_be_run_again() {
    let root = tempfile::tempdir().unwrap();
    let sources: Vec<PathBuf> = (0..3).map(|source| root.path().join(format!("source{source}"))).collect();
    for (source, start) in sources.iter().zip([0, 2_000, 4_000]) {
        fill(source, "any", start..start + 2_500, 250);
    }
    let into = root.path().join("into");
    fill(&into, "any", 5_000..7_000, 400);
    let mut killed = 0;
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_merges", "--test-threads=1", "--quiet"])
            .env(CHILD_FOLDER, root.path())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(4 * round));
        let _ = child.kill();
        killed += u32::from(!child.wait().unwrap().success());
        let cache = EmbeddingCache::open(&into, &space()).unwrap();
        assert_held(&cache, 5_000..7_000);
        drop(cache);
        assert!(verify(&into).unwrap().is_sound());
    }
    assert!(killed > 0, "some were at work when they were killed");
    merge_caches(&sources, &into).unwrap();
    let cache = EmbeddingCache::open(&into, &space()).unwrap();
    assert_held(&cache, 0..7_000);
    assert_eq!(stat(&into).unwrap().spaces[0].rows, 7_000);
    single(&root.path().join("single"), 0..7_000);
    assert_eq!(part_bytes(&into), part_bytes(&root.path().join("single")));
}

#[test]
fn a_merge_keeps_what_the_target_has_and_stays_the_same_when_it_is_run_again() {
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str| root.path().join(name);
    for (name, value) in [("a", 1.0), ("into", 2.0)] {
        let cache = EmbeddingCache::open(&folder(name), &space()).unwrap();
        cache.append(Key::of_text("same"), &[value; DIM], RowMeta::default()).unwrap();
        cache.close_part().unwrap();
    }
    for _ in 0..2 {
        let report = merge_caches(&[folder("a")], &folder("into")).unwrap();
        assert_eq!((report.spaces[0].taken, report.spaces[0].differing_keys), (0, 1));
        let mut got = [0.0; DIM];
        let cache = EmbeddingCache::open(&folder("into"), &space()).unwrap();
        cache.copy_row(&Key::of_text("same"), &mut got).unwrap();
        assert_eq!(got, [2.0; DIM]);
    }
}
