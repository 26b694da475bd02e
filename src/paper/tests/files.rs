//! What whole files and fields do: headers, packed files, searched fields, progress and limits.

use std::io::Write;
use std::sync::atomic::Ordering;

use super::super::{Corpus, CorpusOptions, FieldMap};
use super::{Folder, gzip, open, rows, rows_of, summary, with, zstd};

#[test]
fn a_quote_that_never_closes_ends_the_reading_where_it_began() {
    let folder = Folder::new();
    let path = folder.write("x.csv", b"id,title\na,T\nb,\"open\nc,T\n");
    let results: Vec<_> = open(&[&path], FieldMap::default()).unwrap().rows().collect();
    assert_eq!(results.len(), 2);
    let error = results[1].as_ref().unwrap_err();
    assert_eq!(error.to_string(), format!("{}:3: a quoted field of this row is never closed", path.display()));
    assert!(error.hint().unwrap().contains("\"\""));
}

#[test]
fn a_header_that_cannot_be_used_is_an_error() {
    let message = |bytes: &[u8]| {
        let folder = Folder::new();
        let error = open(&[&folder.write("x.csv", bytes)], FieldMap::default()).unwrap_err();
        error.to_string().rsplit_once("x.csv:").unwrap().1.to_owned()
    };
    assert_eq!(message(b"\ntitle,x,title\n"), "2: the header row cannot be used: column `title` occurs more than once");
    assert_eq!(message(b"title,\xff\n"), "1: the header row cannot be used: it is not UTF-8");
    assert!(rows_of("x.csv", b"", FieldMap::default()).is_empty());
    assert!(rows_of("x.csv", b"title,x,x\n", FieldMap::default()).is_empty());
}

#[test]
fn gzip_of_several_members_reads_like_the_plain_file() {
    let plain = b"{\"title\": \"A\"}\n{\"title\": \"B\"}\n{\"title\": \"C\"}\n";
    let packed = [gzip(&plain[..20]), gzip(&plain[20..])].concat();
    let got = rows_of("x.jsonl.gz", &packed, FieldMap::default());
    assert_eq!(summary(&got), summary(&rows_of("x.jsonl", plain, FieldMap::default())));
    assert_eq!(got.len(), 3);
}

#[test]
fn a_gzip_file_that_is_cut_off_is_an_error_behind_its_last_row() {
    let plain: String =
        (0..2000).map(|row| format!("{{\"title\": \"{}\"}}\n", blake3::hash(&[row as u8; 9]))).collect();
    let packed = gzip(plain.as_bytes());
    let folder = Folder::new();
    let path = folder.write("x.jsonl.gz", &packed[..packed.len() * 2 / 3]);
    let mut rows = open(&[&path], FieldMap::default()).unwrap().rows();
    let good = rows.by_ref().take_while(Result::is_ok).count();
    assert!((1..2000).contains(&good));
    assert!(rows.next().is_none());
    let error = open(&[&path], FieldMap::default()).unwrap().rows().find_map(Result::err).unwrap();
    let expected = format!("{}:{}: the gzip data stops before its end", path.display(), good + 1);
    assert_eq!(error.to_string(), expected);
    assert!(std::error::Error::source(&error).is_some());
    assert!(error.hint().unwrap().contains("its end is missing"));
    let no_gzip = folder.write("y.jsonl.gz", plain.as_bytes());
    let error = open(&[&no_gzip], FieldMap::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("{}:1: cannot read on", no_gzip.display()));
}

#[test]
fn a_field_that_no_row_has_is_an_error_that_lists_the_fields_seen() {
    let folder = Folder::new();
    let path = folder.write("x.jsonl", b"not json\n{\"id\": 1, \"title\": \"T\", \"venue\": \"V\"}\n");
    let label = |name: &str| with(|fields| fields.labels = vec![name.to_owned()]);
    let error = open(&[&path], label("lable")).unwrap_err();
    assert_eq!(error.to_string(), "no row has a field `lable` (1 rows looked at; fields seen: `id`, `title`, `venue`)");
    assert!(error.hint().unwrap().starts_with("check the name"));
    let second = folder.write("y.csv", b"title,lable\nT,x\n");
    assert!(open(&[&path, &second], label("lable")).is_ok());
    let headings = folder.write("z.csv", b"Title,Abstract\nT,A\n");
    let error = open(&[&headings], FieldMap::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no row has a field `title` or `abstract` (1 rows looked at; fields seen: `Title`, `Abstract`)"
    );
    assert!(error.hint().unwrap().contains("--title-field"));
}

#[test]
fn progress_ends_at_the_size_on_disk_and_a_limit_stops_early() {
    let folder = Folder::new();
    let one = folder.write("one.jsonl", b"{\"title\": \"A\"}\nbroken\n{\"title\": \"B\"}\n");
    let two = folder.write("two.jsonl.gz", &gzip(b"{\"title\": \"C\"}\n"));
    let corpus = open(&[&one, &two], FieldMap::default()).unwrap();
    assert_eq!(corpus.files(), [one.clone(), two]);
    let mut rows = corpus.rows();
    let progress = rows.progress();
    assert_eq!(progress.load(Ordering::Relaxed), 0);
    assert_eq!(rows.by_ref().count(), 4);
    assert_eq!(progress.load(Ordering::Relaxed), corpus.total_bytes());
    let inputs = [one.display().to_string()];
    let limited = |limit| {
        let options = CorpusOptions { limit: Some(limit), ..CorpusOptions::default() };
        Corpus::open(&inputs, options).unwrap().rows().count()
    };
    assert_eq!([limited(0), limited(2), limited(9)], [0, 2, 3]);
}

#[test]
fn a_path_that_the_system_refuses_is_named_with_its_reason() {
    let folder = Folder::new();
    let path = folder.write("file", b"").join("x.csv");
    let error = open(&[&path], FieldMap::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read `{}`", path.display()));
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn rows_go_to_another_thread() {
    fn sent<T: Send>(_: &T) {}
    let folder = Folder::new();
    sent(&open(&[&folder.write("x.jsonl", b"")], FieldMap::default()).unwrap().rows());
}

#[test]
fn zstd_of_several_frames_reads_like_the_plain_file() {
    let plain = b"{\"title\": \"A\"}\n{\"title\": \"B\"}\n{\"title\": \"C\"}\n";
    let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
    let packed = [skippable.as_slice(), &zstd(&plain[..20]), skippable, &zstd(&plain[20..])].concat();
    let got = rows_of("x.jsonl.zst", &packed, FieldMap::default());
    assert_eq!(summary(&got), summary(&rows_of("x.jsonl", plain, FieldMap::default())));
    assert_eq!(got.len(), 3);
}

#[test]
fn a_zstd_file_that_is_cut_off_is_an_error_behind_its_last_row() {
    let plain: String =
        (0..9000).map(|row| format!("{{\"title\": \"{}\"}}\n", blake3::hash(&[row as u8; 9]))).collect();
    let folder = Folder::new();
    let first = zstd(plain.as_bytes());
    let path = folder.write("x.jsonl.zst", &[&first[..], &first[..first.len() - 9]].concat());
    let results: Vec<_> = open(&[&path], FieldMap::default()).unwrap().rows().collect();
    let good = results.iter().filter(|row| row.is_ok()).count();
    assert!((9000..18_000).contains(&good) && results.len() == good + 1);
    let error = results.last().unwrap().as_ref().unwrap_err();
    let expected = format!("{}:{}: the zstd data stops before its end", path.display(), good + 1);
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().unwrap().contains("its end is missing"));
}

#[test]
fn a_zstd_window_above_the_bound_is_refused() {
    let pack = |log: u32| {
        let mut encoder = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(b"{\"title\": \"A\"}\n").unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(rows_of("x.jsonl.zst", &pack(27), FieldMap::default()).len(), 1);
    let folder = Folder::new();
    let path = folder.write("x.jsonl.zst", &pack(28));
    let error = open(&[&path], FieldMap::default()).unwrap_err();
    let expected = "the zstd data needs a window of more than 134217728 bytes, the most that is given";
    assert_eq!(error.to_string(), format!("{}:1: {expected}", path.display()));
    assert!(error.hint().unwrap().contains("--long=27"));
}

/// Blocks of blanks with a line end, packed about 1:1000.
fn blank_lines(bytes: usize) -> Vec<u8> {
    let mut block = vec![b' '; 1 << 20];
    block[(1 << 20) - 1] = b'\n';
    block.repeat(bytes >> 20)
}

fn best_gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_file_that_unfolds_without_end_is_an_error() {
    let folder = Folder::new();
    let blanks = blank_lines(80 << 20);
    let row = b"{\"title\": \"A\"}\n";
    for (name, packed) in
        [("x.jsonl.gz", best_gzip(&blanks)), ("x.csv.zst", zstd(&blanks)), ("x.jsonl.zst", zstd(&blanks))]
    {
        let head = if name.contains("csv") { b"title\nA\n".as_slice() } else { row };
        let head = if name.ends_with("gz") { gzip(head) } else { zstd(head) };
        let path = folder.write(name, &[head, packed.clone()].concat());
        let results: Vec<_> = open(&[&path], FieldMap::default()).unwrap().rows().collect();
        assert_eq!(results.len(), 2, "{name}");
        let error = results[1].as_ref().unwrap_err().to_string();
        let start = format!("`{}` unfolds to more than 500 times its size: ", path.display());
        assert!(error.starts_with(&start) && error.ends_with(" bytes of rows so far"), "{error}");
    }
}

#[test]
fn one_endless_line_is_a_rejected_row_and_the_next_row_is_read() {
    let folder = Folder::new();
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(b"{\"title\": \"A\"}\n").unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..200 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.write_all(b"\n{\"title\": \"B\"}\n").unwrap();
    let path = folder.write("x.jsonl.zst", &encoder.finish().unwrap());
    let expected = [
        "1 row:1 \"A\"|None",
        "2 -: the row is longer than 67108864 bytes, the most that is read",
        "3 row:3 \"B\"|None",
    ];
    assert_eq!(summary(&rows(&path, FieldMap::default())), expected);
}
