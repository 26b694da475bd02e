//! Damage to parts is found, named and set aside; a damaged part is never used as if it were sound.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/cache_rows.rs"]
mod rows;

use std::fs;
use std::path::{Path, PathBuf};

use offprint::cache::{Damage, EmbeddingCache, Error, stat, verify, verify_watched};
use rows::{DIM, append, assert_held, damage, fill, key, parts, space, write_overlapping};

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
        assert!(report.damaged[0].moved_to.as_ref().unwrap().is_file() && !first.exists());
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
fn verify_names_every_kind_of_damage_and_goes_on() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "any", 0..60, 10);
    let [flipped, cut, empty, folder, ..] = &parts(root.path())[..] else { panic!("six parts") };

    let bytes = fs::read(cut).unwrap();
    damage(flipped);
    fs::write(cut, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(empty, "").unwrap();
    fs::remove_file(folder).unwrap();
    fs::create_dir(folder).unwrap();
    let space_folder = root.path().join("f00d");
    for name in ["notes.txt", "abc.arrow", &format!("{}.arrow.bak", "0".repeat(64))] {
        fs::write(space_folder.join(name), "mine").unwrap();
    }
    let mut seen = Vec::new();
    let report = verify_watched(root.path(), &mut |read, total| seen.push((read, total))).unwrap();
    assert!(!report.is_sound());
    let find = |path: &Path| report.damaged.iter().find(|part| part.path == *path).unwrap();
    assert!(matches!(find(flipped).damage, Damage::Content { .. }));
    assert_eq!(find(flipped).rows_lost, Some(10));
    assert_eq!((find(cut).rows_lost, find(empty).rows_lost), (None, None));
    assert_eq!(report.damaged.len(), 3);
    for part in &report.damaged {
        assert!(part.moved_to.as_ref().unwrap().is_file() && !part.path.exists());
    }
    assert_eq!(report.unreadable.len(), 1);
    assert_eq!(report.unreadable[0].path, *folder);
    assert_eq!((report.parts, report.rows), (6, 20));
    let foreign: Vec<_> = report.foreign.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(foreign, [&format!("{}.arrow.bak", "0".repeat(64)), "abc.arrow", "notes.txt"]);
    assert!(report.foreign.iter().all(|path| path.exists()));
    assert!(seen.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 == pair[1].1));
    assert_eq!(seen.last().unwrap().0, report.bytes, "all bytes were announced");
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["unreadable"][0]["reason"].as_str().unwrap().starts_with("could not map cache part `"), "{json}");
    let again = verify(root.path()).unwrap();
    assert_eq!((again.damaged.len(), again.unreadable.len(), again.rows), (0, 1, 20));
}

#[test]
fn a_part_that_cannot_be_set_aside_is_still_named() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "any", 0..10, 10);
    damage(&parts(root.path())[0]);
    fs::write(root.path().join("f00d/damaged"), "no folder").unwrap();
    let report = verify(root.path()).unwrap();
    assert_eq!((report.damaged.len(), &report.damaged[0].moved_to), (1, &None));
    assert!(parts(root.path())[0].exists());
}

#[test]
fn rows_of_a_space_whose_description_is_missing_or_damaged_are_found_by_the_next_run() {
    for broken in [None, Some("{"), Some(r#"{"format": 1}"#)] {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), "any", 0..30, 10);
        let file = root.path().join("f00d/space.json");
        match broken {
            None => fs::remove_file(&file).unwrap(),
            Some(text) => fs::write(&file, text).unwrap(),
        }
        if broken.is_some() {
            let error = EmbeddingCache::open(root.path(), &space()).unwrap_err();
            assert!(error.hint().unwrap().contains("offprint cache verify"), "{error}");
        }
        assert!(stat(root.path()).unwrap().spaces.is_empty());
        let report = verify(root.path()).unwrap();
        let [found] = &report.undescribed[..] else { panic!("{report:?}") };
        assert_eq!((found.parts, found.moved_to.is_some()), (3, broken.is_some()));
        assert_eq!((report.damaged.len(), report.is_sound()), (0, false));
        let cache = EmbeddingCache::open(root.path(), &space()).unwrap();
        assert_held(&cache, 0..30);
        assert!(verify(root.path()).unwrap().is_sound());
    }
}

#[test]
fn a_part_that_cannot_be_read_is_named_and_stays() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "any", 0..30, 10);
    fs::remove_file(root.path().join("f00d/space.json")).unwrap();
    let part = parts(root.path()).remove(1);
    // A folder can be opened, but not read as a file.
    fs::remove_file(&part).unwrap();
    fs::create_dir(&part).unwrap();
    let report = verify(root.path()).unwrap();
    assert_eq!((report.parts, report.damaged.len(), report.undescribed[0].parts), (3, 0, 2));
    assert!(matches!(&report.unreadable[..], [one] if one.path == part), "{report:?}");
    assert!(!report.is_sound() && part.exists() && !root.path().join("f00d/damaged").exists());
    let text = serde_json::to_value(&report).unwrap()["unreadable"][0]["reason"].as_str().unwrap().to_owned();
    assert!(text.starts_with(&format!("could not read cache part `{}`: ", part.display())), "{text}");
}
