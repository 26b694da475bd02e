//! `offprint cache merge`, `prune` and `verify` as a user meets them: words, status, JSON.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/cache_rows.rs"]
mod rows;

use std::fs;
use std::path::Path;
use std::process::Command;

use assert_cmd::cargo::CommandCargoExt;
use offprint::cache::{EmbeddingCache, PartOrigin};
use rows::{append, damage, embedding, fill, key, meta, parts, space};

/// Status, stdout and stderr of `offprint cache ...`.
fn offprint(cache_dir: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("offprint").unwrap();
    let output = command.arg("cache").args(args).arg("--cache-dir").arg(cache_dir).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn merge_takes_cache_folders_and_says_what_differs_and_what_was_left_out() {
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str| root.path().join(name);
    fill(&folder("a/embeddings"), "any", 0..40, 20);
    let other = EmbeddingCache::open(&folder("b/embeddings"), &space()).unwrap();
    other.set_origin(PartOrigin::default()).unwrap();
    other.append(key(0), &embedding(0).iter().map(|value| value + 0.5).collect::<Vec<_>>(), meta(0)).unwrap();
    append(&other, 1..3);
    other.close_part().unwrap();
    let (a, inner_b) = (folder("a").display().to_string(), folder("b/embeddings").display().to_string());
    let (status, said, _) = offprint(&folder("into"), &["merge", &a, &inner_b]);
    assert_eq!(status, 0);
    assert_eq!(
        said,
        "f00d  3 parts taken, 0 known already; 40 new keys, 43 rows in 2 parts now\n  \
         1 key differs in its bits, largest |Δ| 5e-1: computed on different processors\n"
    );
    damage(&parts(&folder("a/embeddings"))[0]);
    let (status, said, _) = offprint(&folder("into"), &["merge", &a]);
    assert_eq!(status, 1);
    assert!(said.starts_with("left out: cache part `") && said.contains("is damaged: its content hashes to"), "{said}");
    let (status, said, error) = offprint(&folder("into"), &["merge", &folder("none").display().to_string()]);
    assert_eq!((status, said.as_str()), (2, ""));
    assert!(
        error.starts_with("error: there is no cache in `") && error.contains("\n  hint: give the folder"),
        "{error}"
    );
}

#[test]
fn prune_shows_and_removes_and_wants_to_be_told_what() {
    let root = tempfile::tempdir().unwrap();
    fill(&root.path().join("embeddings"), "any", 0..40, 20);
    let (status, _, error) = offprint(root.path(), &["prune"]);
    assert_eq!(status, 2);
    assert!(error.contains("nothing was said that may be removed") && error.contains("`--unused-for 90d`"), "{error}");
    let (status, _, error) = offprint(root.path(), &["prune", "--unused-for", "90"]);
    assert_eq!(status, 2);
    assert!(error.contains("`90` is no length of time"), "{error}");
    let (status, said, _) = offprint(root.path(), &["prune", "--encoder", "f0", "--dry-run"]);
    assert_eq!(status, 0);
    assert!(said.starts_with("would remove f00d  ") && said.contains(" would go, 0 B stay"), "{said}");
    let (status, _, error) = offprint(root.path(), &["prune", "--encoder", ""]);
    assert_eq!(status, 2);
    assert!(error.starts_with("error: an empty fingerprint says nothing") && error.contains("cache stat"), "{error}");
    let (_, json, _) = offprint(root.path(), &["prune", "--keep-size", "0", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&report["removed"][0]["fingerprint"], &report["bytes_left"]), (&"f00d".into(), &0.into()));
    assert!(!root.path().join("embeddings/f00d").exists());
}

#[test]
fn the_embeddings_of_a_cache_may_be_named_themselves() {
    let root = tempfile::tempdir().unwrap();
    let embeddings = root.path().join("embeddings");
    fill(&embeddings, "any", 0..40, 20);
    for mark in [true, false] {
        if !mark {
            fs::remove_file(embeddings.join("CACHEDIR.TAG")).unwrap();
        }
        let stats = [root.path(), embeddings.as_path()].map(|folder| offprint(folder, &["stat", "--json"]).1);
        assert!(stats[0] == stats[1] && stats[0].contains("f00d"), "{stats:?}");
    }
    let source = root.path().display().to_string();
    let into = root.path().join("into");
    offprint(&into, &["merge", &source]);
    offprint(&into.join("embeddings"), &["merge", &source]);
    assert!(into.join("embeddings/f00d").exists() && !into.join("embeddings/embeddings").exists());
    fs::remove_dir_all(&embeddings).unwrap();
    fs::create_dir(&embeddings).unwrap();
    offprint(&embeddings, &["merge", &into.display().to_string()]);
    assert!(embeddings.join("embeddings/f00d").exists(), "an empty folder of that name is like any other");
}

#[test]
fn verify_says_how_rows_without_a_description_come_back() {
    let root = tempfile::tempdir().unwrap();
    fill(&root.path().join("embeddings"), "any", 0..40, 20);
    assert_eq!(offprint(root.path(), &["verify"]).0, 0);
    fs::write(root.path().join("embeddings/f00d/space.json"), "{").unwrap();
    let (status, said, _) = offprint(root.path(), &["verify"]);
    assert_eq!(status, 1);
    assert!(said.contains("2 sound parts are there, the next run with their bundle writes the file again"), "{said}");
}
