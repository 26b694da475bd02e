//! What a prune may remove, and what it never does: a space in use, a file that is not the cache's.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/cache_rows.rs"]
mod rows;

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use offprint::cache::{
    EmbeddingCache, Error, KeepReason, MergeScope, PruneOptions, PruneReport, Space, prune, spaces, stat, verify,
};
use rows::{append, assert_held, damage, fill, space, tree};

const DAY: u64 = 86_400;

fn named(fingerprint: &str) -> Space {
    Space { fingerprint: fingerprint.into(), ..space() }
}

/// A cache with a space of each of these names, with rows, last used so many days ago.
fn cache_of(root: &Path, names: &[(&str, u32, u64)]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (name, rows, days) in names {
        let cache = EmbeddingCache::open(root, &named(name)).unwrap();
        append(&cache, 0..*rows);
        cache.finish().unwrap();
        drop(cache);
        stamp(root, name, now - days * DAY);
    }
}

/// As if the space had been used last at that time.
fn stamp(root: &Path, name: &str, seconds: u64) {
    let folder = root.join(name);
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    for entry in fs::read_dir(&folder).unwrap() {
        let file = fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(time).unwrap();
    }
    fs::write(folder.join("last-used"), format!("{seconds:020}\n")).unwrap();
}

fn left(root: &Path) -> Vec<String> {
    spaces(root).unwrap().into_iter().map(|space| space.fingerprint).collect()
}

fn gone(report: &PruneReport) -> Vec<&str> {
    report.removed.iter().map(|space| space.fingerprint.as_str()).collect()
}

#[test]
fn encoders_go_by_name_by_age_and_by_size() {
    let root = tempfile::tempdir().unwrap();
    cache_of(root.path(), &[("aa1", 100, 200), ("aa2", 100, 10), ("bb", 400, 100), ("cc", 50, 0)]);
    let bytes = |name: &str| {
        fs::read_dir(root.path().join(name)).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    let all: u64 = ["aa1", "aa2", "bb", "cc"].map(bytes).iter().sum();
    let try_out = |options: PruneOptions| {
        let before = tree(root.path());
        let report = prune(root.path(), &PruneOptions { dry_run: true, ..options }).unwrap();
        let content = |tree: Vec<(std::path::PathBuf, Vec<u8>)>| {
            tree.into_iter().filter(|(path, _)| !path.ends_with(".merge.lock")).collect::<Vec<_>>()
        };
        assert_eq!(content(tree(root.path())), content(before), "only shown");
        assert_eq!(report.bytes + report.bytes_left, all);
        report
    };
    let days = |days| Some(Duration::from_secs(days * DAY));
    let old = try_out(PruneOptions { unused_for: days(90), ..PruneOptions::default() });
    assert_eq!(gone(&old), ["aa1", "bb"], "unused for longest first");
    assert_eq!(old.removed[0].unused_seconds / DAY, 200);
    let both = PruneOptions { encoders: vec!["aa1".into(), "cc".into()], unused_for: days(90), ..Default::default() };
    assert_eq!(gone(&try_out(both)), ["aa1"], "one that fits both");
    let room = |bytes| try_out(PruneOptions { keep_bytes: Some(bytes), ..PruneOptions::default() });
    assert_eq!(gone(&room(all)), Vec::<&str>::new());
    assert_eq!(gone(&room(all - 1)), ["aa1"]);
    assert_eq!(gone(&room(all - bytes("aa1") - 1)), ["aa1", "bb"]);
    assert_eq!(gone(&room(0)), ["aa1", "bb", "aa2", "cc"]);
    let expected = bytes("aa2");
    let report = prune(root.path(), &PruneOptions { encoders: vec!["aa2".into()], ..Default::default() }).unwrap();
    assert_eq!((gone(&report), report.bytes, report.bytes_left), (vec!["aa2"], expected, all - expected));
    assert_eq!(left(root.path()), ["aa1", "bb", "cc"]);
    prune(root.path(), &PruneOptions { unused_for: days(90), ..Default::default() }).unwrap();
    assert_eq!(left(root.path()), ["cc"]);
    assert_held(&EmbeddingCache::open(root.path(), &named("cc")).unwrap(), 0..50);
    let names: Vec<_> = fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "cc and the two marks of a cache: {names:?}");
}

#[test]
fn options_that_choose_nothing_none_or_several_are_refused() {
    let root = tempfile::tempdir().unwrap();
    cache_of(root.path(), &[("aa1", 1, 0), ("aa2", 1, 0)]);
    let refused = |encoders: &[&str]| {
        let encoders = encoders.iter().map(|name| (*name).to_owned()).collect();
        prune(root.path(), &PruneOptions { encoders, ..PruneOptions::default() }).unwrap_err()
    };
    assert!(matches!(refused(&[]), Error::NothingSelected));
    assert!(refused(&[]).hint().unwrap().contains("--unused-for 90d"));
    assert_eq!(refused(&["aa"]).to_string(), "fingerprint `aa` fits 2 encoders: aa1, aa2");
    assert!(matches!(refused(&[""]), Error::PrefixEmpty));
    assert!(matches!(refused(&["aa1", "zz"]), Error::NoSpace { .. }));
    assert_eq!(left(root.path()), ["aa1", "aa2"]);
}

#[test]
fn a_time_in_the_future_or_before_any_run_counts_as_now() {
    let root = tempfile::tempdir().unwrap();
    cache_of(root.path(), &[("a", 5, 0), ("b", 5, 0)]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    stamp(root.path(), "a", now + 400 * DAY);
    stamp(root.path(), "b", 1_000);
    let options = PruneOptions { unused_for: Some(Duration::from_secs(1)), ..PruneOptions::default() };
    assert!(prune(root.path(), &options).unwrap().removed.is_empty());
    assert_eq!(left(root.path()), ["a", "b"]);
}

#[test]
fn a_space_in_use_stays_and_so_does_one_with_a_file_of_the_users() {
    let root = tempfile::tempdir().unwrap();
    cache_of(root.path(), &[("open", 20, 500), ("mine", 5, 500)]);
    let cache = EmbeddingCache::open(root.path(), &named("open")).unwrap();
    fs::write(root.path().join("mine/notes.txt"), "keep").unwrap();
    let options = PruneOptions { keep_bytes: Some(0), ..PruneOptions::default() };
    let report = prune(root.path(), &options).unwrap();
    assert!(report.removed.is_empty());
    let reason = |name: &str| report.kept.iter().find(|kept| kept.fingerprint == name).unwrap().reason.clone();
    assert_eq!(reason("open"), KeepReason::InUse);
    assert_eq!(reason("mine"), KeepReason::ForeignFile(root.path().join("mine/notes.txt")));
    assert_held(&cache, 0..20);
    drop(cache);
    fs::remove_file(root.path().join("mine/notes.txt")).unwrap();
    assert_eq!(prune(root.path(), &options).unwrap().removed.len(), 2);
    assert!(left(root.path()).is_empty());
}

#[test]
fn parts_set_aside_go_alone_and_a_killed_prune_is_brought_to_its_end() {
    let root = tempfile::tempdir().unwrap();
    cache_of(root.path(), &[("f00d", 20, 0), ("bb", 20, 0)]);
    let part = rows::parts(root.path()).remove(0);
    damage(&part);
    let bytes = part.metadata().unwrap().len();
    verify(root.path()).unwrap();
    assert_eq!(stat(root.path()).unwrap().spaces[1].set_aside, 1);
    fs::create_dir(root.path().join(".pruned-old")).unwrap();
    fs::write(root.path().join(".pruned-old/space.json"), "{}").unwrap();
    let damaged = PruneOptions { damaged: true, ..PruneOptions::default() };
    let shown = prune(root.path(), &PruneOptions { dry_run: true, ..damaged.clone() }).unwrap();
    assert_eq!((shown.damaged_files, shown.bytes), (1, bytes));
    assert!(root.path().join(".pruned-old").exists());
    let report = prune(root.path(), &damaged).unwrap();
    assert_eq!((report.damaged_files, report.bytes), (1, bytes));
    assert!(!root.path().join("f00d/damaged").exists() && !root.path().join(".pruned-old").exists());
    assert_eq!(left(root.path()), ["bb", "f00d"]);
    assert!(prune(&root.path().join("none"), &damaged).unwrap().removed.is_empty());
}

/// Writers hold a space while they have it open; between two of their runs it can go, never with a row of a run at work.
#[test]
fn writers_and_prunes_at_the_same_time_lose_no_row_of_a_run() {
    let root = tempfile::tempdir().unwrap();
    let options = PruneOptions { keep_bytes: Some(0), ..PruneOptions::default() };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let root = root.path();
                scope.spawn(move || {
                    for round in 0..30 {
                        let start = 1_000 * writer + 10 * round;
                        let cache = EmbeddingCache::open(root, &space()).unwrap();
                        append(&cache, start..start + 10);
                        cache.close_part().unwrap();
                        assert_held(&EmbeddingCache::open(root, &space()).unwrap(), start..start + 10);
                        cache.finish().unwrap();
                        let warnings = cache.take_warnings();
                        assert!(warnings.is_empty(), "it was not removed under the writer: {warnings:?}");
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            prune(root.path(), &options).unwrap();
            thread::yield_now();
        }
    });
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    cache.merge(MergeScope::All).unwrap();
    assert!(verify(root.path()).unwrap().is_sound());
}

/// Whoever loses the race counts nothing, and needs no second attempt.
#[test]
fn of_two_prunes_at_the_same_time_one_removes_a_space() {
    for _ in 0..40 {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), "any", 0..5, 5);
        let options = PruneOptions { keep_bytes: Some(0), ..PruneOptions::default() };
        let start = Barrier::new(2);
        let reports = thread::scope(|scope| {
            let prunes = [0, 1].map(|_| {
                scope.spawn(|| {
                    start.wait();
                    prune(root.path(), &options).unwrap()
                })
            });
            prunes.map(|prune| prune.join().unwrap())
        });
        assert_eq!(reports.iter().map(|report| report.removed.len()).sum::<usize>(), 1, "{reports:?}");
        assert!(left(root.path()).is_empty());
    }
}
