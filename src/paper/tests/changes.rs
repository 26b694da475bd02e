//! Files that change while they are read: never silent, and never a guess.

use std::fs;
use std::io::Write;

use super::super::FieldMap;
use super::{Folder, fixture, open};

fn lines(count: usize) -> Vec<u8> {
    (0..count).flat_map(|row| format!("{{\"id\": {row}, \"title\": \"{}\"}}\n", "x".repeat(200)).into_bytes()).collect()
}

#[test]
fn a_file_that_grows_is_read_as_far_as_it_went_and_named_with_both_sizes() {
    let folder = Folder::new();
    let path = folder.write("x.jsonl", &lines(5_000));
    let before = lines(5_000).len();
    let corpus = open(&[&path], FieldMap::default()).unwrap();
    let mut rows = corpus.rows();
    assert_eq!(rows.by_ref().take(10).filter(Result::is_ok).count(), 10);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"id\": \"new\", \"title\": \"T\"}\n").unwrap();
    assert_eq!(rows.by_ref().filter(Result::is_ok).count(), 4_990);
    let expected = format!(
        "`{}` grew while it was read, from {before} to {} bytes; rows added later are not in this run",
        path.display(),
        before + 28
    );
    assert_eq!(corpus.take_warnings(), [expected]);
    assert!(corpus.take_warnings().is_empty());
}

#[test]
fn a_row_that_was_being_written_when_the_corpus_was_opened_ends_the_reading() {
    let folder = Folder::new();
    for (half, rest, whole) in
        [("2,Half of an abst", "ract\n", false), ("2,Whole\n", "3,Later\n", true), ("2,Whole", "\n3,Later\n", true)]
    {
        let text = format!("id,title\n1,First\n{half}");
        let path = folder.write("x.csv", text.as_bytes());
        let corpus = open(&[&path], FieldMap::default()).unwrap();
        let mut rows = corpus.rows();
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(rest.as_bytes()).unwrap();
        let error = rows.find_map(Result::err).map(|error| error.to_string());
        let expected = format!(
            "`{}` was in the middle of a row that was being written while it was read: it had {} bytes and has {} now",
            path.display(),
            text.len(),
            text.len() + rest.len()
        );
        assert_eq!(error, (!whole).then_some(expected), "{half:?} and then {rest:?}");
    }
}

#[test]
fn a_file_that_shrinks_ends_the_reading_with_both_sizes() {
    let folder = Folder::new();
    for name in ["x.jsonl", "x.jsonl.gz"] {
        let whole = if name.ends_with("gz") {
            let noise: String = (0..60_000u32)
                .map(|row| format!("{{\"title\": \"{}\"}}\n", blake3::hash(&row.to_le_bytes())))
                .collect();
            super::gzip(noise.as_bytes())
        } else {
            lines(5_000)
        };
        let path = folder.write(name, &whole);
        let corpus = open(&[&path], FieldMap::default()).unwrap();
        let mut rows = corpus.rows();
        assert!(rows.next().unwrap().is_ok());
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(300_000).unwrap();
        let error = rows.find_map(Result::err).unwrap();
        let expected =
            format!("`{}` shrank while it was read: it had {} bytes and has 300000 now", path.display(), whole.len());
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().unwrap().contains("nothing writes"));
        assert!(rows.next().is_none());
    }
}

#[test]
fn a_file_in_whose_place_another_is_put_ends_the_reading() {
    let folder = Folder::new();
    for name in ["x.jsonl", "x.parquet"] {
        let bytes = if name == "x.jsonl" { lines(100) } else { fs::read(fixture("pyarrow-snappy.parquet")).unwrap() };
        let path = folder.write(name, &bytes);
        let other = folder.write("other", &[&bytes[..], &bytes[..]].concat());
        let corpus = open(&[&path], FieldMap::default()).unwrap();
        let mut rows = corpus.rows();
        assert!(rows.next().unwrap().is_ok());
        fs::rename(&other, &path).unwrap();
        let error = rows.find_map(Result::err).unwrap().to_string();
        let expected = format!(
            "`{}` was replaced by another file while it was read: it had {} bytes and has {} now",
            path.display(),
            bytes.len(),
            2 * bytes.len()
        );
        assert_eq!(error, expected);
        let error = corpus.rows().find_map(Result::err).unwrap().to_string();
        assert_eq!(error, expected, "opened again");
    }
}

#[test]
fn parquet_that_changes_is_told_too() {
    let folder = Folder::new();
    let good = fs::read(fixture("pyarrow-snappy.parquet")).unwrap();
    let path = folder.write("x.parquet", &good);
    let corpus = open(&[&path], FieldMap::default()).unwrap();
    let mut rows = corpus.rows();
    assert!(rows.next().unwrap().is_ok());
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    assert_eq!(rows.filter(Result::is_ok).count(), 11);
    let warnings = corpus.take_warnings();
    assert!(warnings.len() == 1 && warnings[0].contains(&format!("from {} to {} bytes", good.len(), good.len() + 4)));
    let path = folder.write("y.parquet", &good);
    let corpus = open(&[&path], FieldMap::default()).unwrap();
    let mut rows = corpus.rows();
    assert!(rows.next().unwrap().is_ok());
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1_000).unwrap();
    let error = rows.find_map(Result::err).unwrap().to_string();
    assert!(error.contains("shrank while it was read") && error.contains("has 1000 now"), "{error}");
}

#[test]
fn a_file_that_is_removed_or_touched_is_a_warning() {
    let folder = Folder::new();
    let path = folder.write("x.jsonl", &lines(3));
    let corpus = open(&[&path], FieldMap::default()).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(corpus.rows().filter(Result::is_ok).count(), 3);
    assert!(corpus.take_warnings()[0].contains("was written to while it was read"));
    let mut rows = corpus.rows();
    assert!(rows.next().unwrap().is_ok());
    fs::remove_file(&path).unwrap();
    assert_eq!(rows.filter(Result::is_ok).count(), 2);
    assert!(corpus.take_warnings()[0].contains("was removed while it was read"));
}
