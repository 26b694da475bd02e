//! The cache in a rough world: ten writers, a folder removed under a run, one that may only be read.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/cache_rows.rs"]
mod rows;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use offprint::cache::{CACHE_FORMAT, EmbeddingCache, Error, MergeScope, Space, stat, verify};
use rows::{append, assert_held, fill, parts, space};

#[test]
fn a_run_of_many_small_parts_merges_them_as_it_goes() {
    let root = tempfile::tempdir().unwrap();
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap().with_part_age(Duration::ZERO);
    let mut most = 0;
    for row in 0..400 {
        append(&cache, [row]);
        cache.tick().unwrap();
        most = most.max(cache.parts());
        assert_eq!(parts(root.path()).len(), cache.parts());
    }
    assert!((60..=65).contains(&most), "{most} parts");
    assert_held(&cache, 0..400);
    assert!(cache.take_warnings().is_empty());
    assert_eq!(cache.len(), 400);
}

#[test]
fn ten_writers_of_small_parts_keep_few_of_them_and_lose_nothing() {
    let root = tempfile::tempdir().unwrap();
    let most = thread::scope(|scope| {
        let writers: Vec<_> = (0..10)
            .map(|writer| {
                let root = root.path();
                scope.spawn(move || {
                    let cache = EmbeddingCache::open(root, &space()).unwrap().with_part_age(Duration::ZERO);
                    let mut most = 0;
                    for row in (0..60).map(|row| 1_000 * writer + row) {
                        append(&cache, [row]);
                        cache.tick().unwrap();
                        most = most.max(parts(root).len());
                    }
                    assert_held(&cache, 1_000 * writer..1_000 * writer + 60);
                    assert!(cache.take_warnings().is_empty());
                    most
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).max().unwrap()
    });
    assert!(most < 200, "{most} of 600 parts at once: one merges while nine write");
    let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
    (0..10).for_each(|writer| assert_held(&cache, 1_000 * writer..1_000 * writer + 60));
    cache.merge(MergeScope::All).unwrap();
    assert_eq!((cache.parts(), cache.len()), (1, 600));
}

#[test]
fn a_folder_removed_under_a_run_is_made_anew_with_one_warning() {
    for (what, all) in [("f00d", false), ("", true)] {
        let root = tempfile::tempdir().unwrap();
        let cache_root = root.path().join("cache");
        let cache = EmbeddingCache::open(&cache_root, &space()).unwrap();
        append(&cache, 0..10);
        cache.close_part().unwrap();
        append(&cache, 10..20);
        fs::remove_dir_all(cache_root.join(what)).unwrap();
        cache.close_part().unwrap();
        append(&cache, 20..30);
        cache.finish().unwrap();
        assert_held(&cache, 0..30);
        let warnings = cache.take_warnings();
        assert!(matches!(&warnings[..], [Error::FolderRemoved { path }] if *path == cache_root.join("f00d")), "{all}");
        assert!(warnings[0].hint().unwrap().contains("kept in a new one"));
        let next = EmbeddingCache::open(&cache_root, &space()).unwrap();
        assert_eq!(next.len(), 20, "what was in memory then and came since is kept");
        assert_held(&next, 10..30);
        assert!(verify(&cache_root).unwrap().is_sound());
    }
}

#[test]
fn a_folder_that_cannot_be_made_anew_is_named_and_the_rows_stay_in_memory() {
    let root = tempfile::tempdir().unwrap();
    let cache_root = root.path().join("cache");
    let cache = EmbeddingCache::open(&cache_root, &space()).unwrap();
    append(&cache, 0..10);
    fs::remove_dir_all(&cache_root).unwrap();
    fs::write(&cache_root, "a file").unwrap();
    let error = cache.close_part().unwrap_err();
    assert_eq!(error.to_string(), format!("could not make cache folder `{}`", cache_root.display()));
    assert_held(&cache, 0..10);
    fs::remove_file(&cache_root).unwrap();
    cache.close_part().unwrap();
    assert_held(&EmbeddingCache::open(&cache_root, &space()).unwrap(), 0..10);
}

#[test]
fn a_newer_format_is_left_as_it_is_and_named() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "any", 0..30, 10);
    let file = root.path().join("f00d/space.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"format\": 1", "\"format\": 9, \"other\": []")).unwrap();
    let error = EmbeddingCache::open(root.path(), &space()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` has cache format 9, this version reads format {CACHE_FORMAT}", file.display())
    );
    assert!(error.hint().unwrap().starts_with("a newer offprint wrote it"));
    let report = verify(root.path()).unwrap();
    assert!(matches!(report.undescribed[0].reason, Some(Error::Format { got: 9, .. })));
    assert!(report.undescribed[0].moved_to.is_none() && file.exists());
    let other = EmbeddingCache::open(root.path(), &Space { fingerprint: "beef".into(), ..space() }).unwrap();
    append(&other, 0..5);
    other.finish().unwrap();
    assert_eq!(stat(root.path()).unwrap().spaces.len(), 1, "other encoders are not held up");
}

#[cfg(unix)]
mod read_only {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    const CHILD_ROOT: &str = "OFFPRINT_TEST_READ_ONLY";
    /// The user of a child when the tests run as root, whom no permission binds.
    const NOBODY: u32 = 65_534;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs as a child of the test below; on its own it has nothing to do.
    #[test]
    fn child_that_reads() {
        let Some(root) = std::env::var_os(CHILD_ROOT) else { return };
        let root = Path::new(&root);
        let cache = EmbeddingCache::open(root, &space()).unwrap();
        append(&cache, 0..30);
        cache.tick().unwrap();
        cache.finish().unwrap();
        assert_held(&cache, 0..30);
        assert!(cache.take_warnings().is_empty(), "there was nothing to write");
        append(&cache, 30..40);
        let error = cache.close_part().unwrap_err();
        let folder = root.join("f00d");
        assert_eq!(error.to_string(), format!("could not write a part into `{}`", folder.display()));
        assert!(error.hint().unwrap().contains("--cache-dir"));
        assert_held(&cache, 0..40);
        let other = Space { fingerprint: "beef".into(), ..space() };
        let error = EmbeddingCache::open(root, &other).unwrap_err();
        assert_eq!(error.to_string(), format!("could not make cache folder `{}`", root.join("beef").display()));
    }

    #[test]
    fn a_cache_that_may_only_be_read_serves_hits_and_refuses_rows_by_name() {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), "any", 0..30, 10);
        let folder = root.path().join("f00d");
        fs::remove_file(folder.join("last-used")).unwrap();
        set_mode(root.path(), 0o555);
        set_mode(&folder, 0o555);
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "read_only::child_that_reads", "--test-threads=1"]).env(CHILD_ROOT, root.path());
        let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
        if is_root {
            child.uid(NOBODY);
        }
        let output = child.output().unwrap();
        set_mode(&folder, 0o755);
        set_mode(root.path(), 0o755);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
