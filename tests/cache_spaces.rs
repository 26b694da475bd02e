//! Spaces of a cache: told apart by fingerprint and fields, never mixed, counted, marked as a cache where they are alone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/cache_rows.rs"]
mod rows;

use std::fs;

use offprint::cache::{EmbeddingCache, Error, Space, miss_reason, space_by_prefix, spaces, stat};
use rows::{DIM, append, parts, space, write_overlapping};

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
    assert!(matches!(space_by_prefix(root.path(), "beef"), Err(Error::NoSpace { .. })));
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
