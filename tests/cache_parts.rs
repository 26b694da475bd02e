//! What the cache promises about its parts: found again, merged to the same bytes in any order, never used when damaged.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use offprint::cache::{
    Damage, EmbeddingCache, Error, Key, MergeScope, PartOrigin, RowMeta, Space, miss_reason, spaces, stat, verify,
};

const DIM: usize = 8;

fn space() -> Space {
    let fields = [("pooling", "mean"), ("max_length", "256")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Space { fingerprint: "f00d".into(), dim: DIM, fields }
}

fn key(row: u32) -> Key {
    Key::of_text(&format!("text {row}"))
}

fn embedding(row: u32) -> Vec<f32> {
    (0..DIM).map(|column| row as f32 + column as f32 / 16.0).collect()
}

fn meta(row: u32) -> RowMeta {
    RowMeta { n_tokens: row + 2, n_dropped: row % 5, title_cut: row.is_multiple_of(2) }
}

fn append(cache: &EmbeddingCache, rows: impl IntoIterator<Item = u32>) {
    for row in rows {
        cache.append(key(row), &embedding(row), meta(row)).unwrap();
    }
}

fn assert_held(cache: &EmbeddingCache, rows: impl IntoIterator<Item = u32>) {
    let mut into = vec![0.0; DIM];
    for row in rows {
        assert_eq!(cache.copy_row(&key(row), &mut into), Some(meta(row)), "row {row}");
        assert_eq!(into, embedding(row), "row {row}");
    }
}

fn parts(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("f00d")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "arrow")).collect();
    paths.sort();
    paths
}

/// Two parts as two processes write them that do not know of each other.
fn write_overlapping(root: &Path, rows: [std::ops::Range<u32>; 2]) {
    let handles = [0, 1].map(|_| EmbeddingCache::open(root, &space()).unwrap());
    for (cache, rows) in handles.iter().zip(rows) {
        append(cache, rows);
        cache.close_part().unwrap();
    }
}

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
    let again = EmbeddingCache::open_existing(root.path(), "f00d").unwrap();
    assert_eq!(again.space(), &space());
    assert_held(&again, 0..120);
    assert!(!again.contains(&key(120)));
    let mut matrix = vec![0.0; 2 * DIM];
    again.copy_rows(&[key(7), key(3)], &mut matrix).unwrap();
    assert_eq!(matrix, [embedding(7), embedding(3)].concat());
    assert_eq!(again.copy_rows(&[key(7), key(999)], &mut matrix), Err(key(999)));
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
    assert_eq!(after.len(), 2, "a part and space.json: not even a lock file, so that leave to write is not needed");
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

#[test]
fn a_flipped_byte_anywhere_is_found_and_the_part_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    append(&cache, 0..20);
    cache.close_part().unwrap();
    append(&cache, 15..30);
    cache.close_part().unwrap();
    drop(cache);
    let [first, second] = <[PathBuf; 2]>::try_from(parts(root.path())).unwrap();
    let bytes = fs::read(&first).unwrap();
    for place in (0..bytes.len()).step_by(29) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        fs::write(&first, &changed).unwrap();
        // Opening must not panic, whatever the byte means; looking at rows neither.
        let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
        (0..30).for_each(|row| _ = cache.copy_row(&key(row), &mut [0.0; DIM]));
        drop(cache);
        let report = verify(root.path()).unwrap();
        assert_eq!((report.parts, report.damaged.len()), (2, 1), "byte {place}");
        assert!(matches!(report.damaged[0].damage, Damage::Content { .. }));
        assert_eq!(report.damaged[0].path, first);
        assert!(report.damaged[0].moved_to.is_file() && !first.exists());
        fs::write(&first, &bytes).unwrap();
    }
    let sound = verify(root.path()).unwrap();
    assert_eq!((sound.parts, sound.rows, sound.damaged.len()), (2, 30, 0));
    assert_eq!(sound.bytes, bytes.len() as u64 + second.metadata().unwrap().len());
}

#[test]
fn verify_says_how_many_rows_will_be_computed_again() {
    let root = tempfile::tempdir().unwrap();
    write_overlapping(root.path(), [0..20, 12..30]);
    let part = parts(root.path()).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = fs::read(&part).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(&part, &bytes).unwrap();
    let report = verify(root.path()).unwrap();
    assert_eq!(report.damaged[0].rows_lost, Some(12), "20 rows, 8 of them in the other part too");
    assert_eq!(stat(root.path()).unwrap().spaces[0].set_aside, 1);
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["damaged"][0]["damage"].as_str().unwrap().starts_with("its content hashes to `"));
}

#[test]
fn a_part_cut_anywhere_is_passed_over_with_one_warning() {
    let root = tempfile::tempdir().unwrap();
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    append(&cache, 0..20);
    cache.close_part().unwrap();
    append(&cache, 20..30);
    cache.close_part().unwrap();
    drop(cache);
    let part = parts(root.path()).remove(0);
    let bytes = fs::read(&part).unwrap();
    for length in (0..bytes.len()).step_by(23).chain([bytes.len() - 1]) {
        fs::write(&part, &bytes[..length]).unwrap();
        let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
        assert_eq!(cache.parts(), 1, "cut at {length}");
        let warnings = cache.take_warnings();
        assert!(matches!(&warnings[..], [Error::PartDamaged { path, .. }] if *path == part), "{warnings:?}");
        assert!(warnings[0].hint().unwrap().contains("offprint cache verify"));
        cache.finish().unwrap();
        assert!(cache.take_warnings().is_empty(), "once");
        assert_eq!(stat(root.path()).unwrap().spaces[0].unusable_parts, 1);
    }
}

#[test]
fn a_merge_sets_damage_aside_instead_of_giving_it_a_sound_name() {
    let root = tempfile::tempdir().unwrap();
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    for rows in [0..20, 20..40, 40..60] {
        append(&cache, rows);
        cache.close_part().unwrap();
    }
    let part = parts(root.path()).remove(1);
    let mut bytes = fs::read(&part).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(&part, &bytes).unwrap();
    cache.finish().unwrap();
    let warnings = cache.take_warnings();
    assert!(matches!(&warnings[..], [Error::PartDamaged { source: Damage::Content { .. }, .. }]), "{warnings:?}");
    assert_eq!((cache.parts(), cache.len()), (1, 40));
    assert!(verify(root.path()).unwrap().damaged.is_empty());
}

#[test]
fn a_folder_of_another_encoder_or_format_is_refused() {
    let root = tempfile::tempdir().unwrap();
    EmbeddingCache::open(root.path(), &space()).unwrap();
    let mut other = space();
    other.fields.insert("pooling".into(), "cls".into());
    other.dim = 9;
    let error = EmbeddingCache::open(root.path(), &other).unwrap_err();
    assert!(error.to_string().ends_with("was made for another encoder: dim: 8 -> 9, pooling: mean -> cls"), "{error}");
    let file = root.path().join("f00d/space.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    let error = EmbeddingCache::open(root.path(), &space()).unwrap_err();
    assert!(matches!(error, Error::Format { got: 2, .. }), "{error}");
    assert!(error.hint().unwrap().contains("f00d"));
    fs::write(&file, "{").unwrap();
    assert!(matches!(EmbeddingCache::open(root.path(), &space()), Err(Error::SpaceFile { .. })));
    for fingerprint in ["", "..", "a/b", "a b", &"a".repeat(129)] {
        let bad = Space { fingerprint: fingerprint.into(), ..space() };
        assert!(matches!(EmbeddingCache::open(root.path(), &bad), Err(Error::Fingerprint { .. })), "{fingerprint}");
    }
    for dim in [0, 1 << 31] {
        let bad = Space { fingerprint: "d".into(), dim, ..space() };
        assert!(matches!(EmbeddingCache::open(root.path(), &bad), Err(Error::Dim { .. })));
    }
    assert!(matches!(EmbeddingCache::open_existing(root.path(), "beef"), Err(Error::NoSpace { .. })));
}

#[test]
fn a_part_of_another_encoder_is_not_used() {
    let root = tempfile::tempdir().unwrap();
    let other = Space { fingerprint: "beef".into(), ..space() };
    let cache = EmbeddingCache::open(root.path(), &other).unwrap();
    append(&cache, 0..5);
    cache.close_part().unwrap();
    EmbeddingCache::open(root.path(), &space()).unwrap();
    let part = fs::read_dir(root.path().join("beef")).unwrap().map(|entry| entry.unwrap().path());
    let part = part.into_iter().find(|path| path.extension().is_some_and(|e| e == "arrow")).unwrap();
    fs::copy(&part, root.path().join("f00d").join(part.file_name().unwrap())).unwrap();
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    assert!(cache.is_empty());
    let warnings = cache.take_warnings();
    let cause = std::error::Error::source(&warnings[0]).unwrap().to_string();
    assert_eq!(cause, "its fingerprint is `beef`, expected `f00d`");
}

#[test]
fn a_miss_explains_itself_by_the_nearest_encoder() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(miss_reason(root.path(), &space()), None);
    let mut far = Space { fingerprint: "a".into(), ..space() };
    far.fields = [("pooling", "cls"), ("max_length", "512")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
    EmbeddingCache::open(root.path(), &far).unwrap();
    let mut near = Space { fingerprint: "b".into(), ..space() };
    near.fields.insert("adapter".into(), "prox".into());
    EmbeddingCache::open(root.path(), &near).unwrap();
    assert_eq!(miss_reason(root.path(), &space()).unwrap(), "adapter: prox -> none");
    EmbeddingCache::open(root.path(), &space()).unwrap();
    assert_eq!(miss_reason(root.path(), &space()), None);
    let names: Vec<String> = spaces(root.path()).unwrap().into_iter().map(|space| space.fingerprint).collect();
    assert_eq!(names, ["a", "b", "f00d"]);
}

#[test]
fn only_an_empty_folder_is_marked_as_a_cache() {
    let root = tempfile::tempdir().unwrap();
    let (new, used) = (root.path().join("new/cache"), root.path().join("used"));
    fs::create_dir(&used).unwrap();
    fs::write(used.join("thesis.txt"), "mine").unwrap();
    EmbeddingCache::open(&new, &space()).unwrap();
    EmbeddingCache::open(&used, &space()).unwrap();
    assert_eq!(fs::read_to_string(new.join(".gitignore")).unwrap(), "*\n");
    assert!(
        fs::read_to_string(new.join("CACHEDIR.TAG"))
            .unwrap()
            .starts_with("Signature: 8a477f597d28d172789f06886806bc55")
    );
    assert!(!used.join(".gitignore").exists() && !used.join("CACHEDIR.TAG").exists());
}

#[test]
fn stat_counts_rows_parts_bytes_and_duplicates() {
    let root = tempfile::tempdir().unwrap();
    assert!(stat(&root.path().join("none")).unwrap().spaces.is_empty());
    write_overlapping(root.path(), [0..10, 5..15]);
    let stat = stat(root.path()).unwrap();
    let [found] = &stat.spaces[..] else { panic!("one space") };
    assert_eq!((found.rows, found.parts, found.duplicate_keys, found.dim), (20, 2, 5, DIM));
    assert_eq!((found.unusable_parts, found.set_aside), (0, 0));
    assert_eq!(found.bytes, parts(root.path()).iter().map(|path| path.metadata().unwrap().len()).sum::<u64>());
    assert_eq!(found.fields, space().fields);
}
