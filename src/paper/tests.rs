//! Whole corpora through [`Corpus`]: what each row becomes, where it says it stands, and what ends the reading.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::json;

use super::csv::CsvRows;
use super::fields::FieldPlan;
use super::jsonl::JsonlRows;
use super::lines::Lines;
use super::source::RowSource;
use super::{Corpus, CorpusOptions, Error, FieldMap, Paper, PaperText, Row};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn open(paths: &[&Path], fields: FieldMap) -> Result<Corpus, Error> {
    let inputs: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    Corpus::open(&inputs, CorpusOptions { fields, ..CorpusOptions::default() })
}

fn rows(path: &Path, fields: FieldMap) -> Vec<Row> {
    open(&[path], fields).unwrap().rows().map(Result::unwrap).collect()
}

fn rows_of(name: &str, bytes: &[u8], fields: FieldMap) -> Vec<Row> {
    let folder = Folder::new();
    rows(&folder.write(name, bytes), fields)
}

/// A line a row: `line id title|abstract` for papers, `line id: reason` for rejected rows.
fn summary(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .map(|row| match row {
            Row::Paper(paper) => {
                let text = match &paper.text {
                    PaperText::Plain(text) => format!("{text:?}"),
                    PaperText::TitleAbstract { title, abstract_text } => format!("{title:?}|{abstract_text:?}"),
                };
                format!("{} {} {}", paper.origin.line, paper.id, text.replace("Some(", "").replace(')', ""))
            }
            Row::Rejected(row) => {
                format!("{} {}: {}", row.origin.line, row.id.as_deref().unwrap_or("-"), row.reason)
            }
        })
        .collect()
}

fn only_paper(rows: Vec<Row>) -> Paper {
    match <[Row; 1]>::try_from(rows) {
        Ok([Row::Paper(paper)]) => paper,
        other => panic!("expected one paper, got {other:?}"),
    }
}

fn with(change: impl FnOnce(&mut FieldMap)) -> FieldMap {
    let mut fields = FieldMap::default();
    change(&mut fields);
    fields
}

#[test]
fn a_row_has_every_field_that_was_asked_for() {
    let line = r#"{"corpus_id": 7, "title": "T \u00e4", "abstract": null, "year": 2020, "venue": {"a": [1]}, "y": true, "split": "dev"}"#;
    let fields = with(|fields| {
        fields.label = Some("y".to_owned());
        fields.keep = ["year", "none", "venue", "title", "y"].map(str::to_owned).to_vec();
    });
    let folder = Folder::new();
    let path = folder.write("a.jsonl", line.as_bytes());
    let error = open(&[&path], fields.clone()).unwrap_err();
    assert!(
        error.to_string().starts_with("no row has a field `none` (1 rows looked at; fields seen: `corpus_id`, `title`")
    );
    fs::write(&path, format!("{line}\n{{\"title\": \"\", \"none\": 1}}\n")).unwrap();
    let mut rows = rows(&path, fields);
    rows.truncate(1);
    let paper = only_paper(rows);
    assert_eq!((paper.id.as_str(), paper.label.as_deref(), paper.split.as_deref()), ("7", Some("true"), Some("dev")));
    assert_eq!(paper.text, PaperText::TitleAbstract { title: Some("T ä".to_owned()), abstract_text: None });
    let kept = [Some(json!(2020)), None, Some(json!({"a": [1]})), Some(json!("T ä")), Some(json!(true))];
    assert_eq!(paper.kept, kept);
    assert_eq!(paper.origin.to_string(), format!("{}:1", path.display()));
}

#[test]
fn each_bad_json_row_is_rejected_with_its_reason_and_the_rest_goes_on() {
    let lines: &[&[u8]] = &[
        br#"{"id": "a", "title": "T", "abstract": "A"}"#,
        br#"{"id": "b", "title": 3}"#,
        b"   \r",
        br#"{"id": "c", "abstract": ["x"]}"#,
        br#"{"id": "d", "name": "no text"}"#,
        br#"{"id": "e", "title": "\ud800 lone"}"#,
        b"{\"id\": \"f\", \"title\": \"caf\xe9\"}",
        br#"{"id": "g", "title": "cut"#,
        br#"["a", "b"]"#,
        br#"{"id": "h", "title": "x"} {"id": "i"}"#,
        br#"{"id": {"x": 1}, "title": "T"}"#,
        br#"{"id": 1.5, "title": "T"}"#,
        br#"{"id": "j", "title": null, "abstract": ""}"#,
        br#"{"id": "k", "title": "T", "split": ["train"]}"#,
        br#"{"id": "l", "title": "T", "other": "\ud800 unread"}"#,
        b"title,abstract",
        br#"{"id": "m", "title": "first", "title": "last"}"#,
        br#"{"doc_id": null, "id": "", "title": "no id"}"#,
    ];
    let got = summary(&rows_of("x.jsonl", &lines.join(&b"\n"[..]), FieldMap::default()));
    let expected = [
        r#"1 a "T"|"A""#,
        "2 b: `title` is a number, expected text",
        "4 c: `abstract` is a list, expected text",
        "5 d: the row has neither `title` nor `abstract`, expected one of them",
        "6 -: `title` cannot be read: unexpected end of hex escape at column 29",
        "7 -: invalid UTF-8 at byte 26 of the line",
        "8 -: `title` cannot be read: EOF while parsing a string at column 25",
        "9 -: the row is a list, expected a JSON object",
        "10 -: broken JSON: trailing characters at column 27",
        "11 -: `id` is an object, expected text or an integer",
        "12 -: `id` is a fraction, expected text or an integer",
        r#"13 j None|"""#,
        "14 k: `split` is a list, expected text, an integer or a boolean",
        r#"15 l "T"|None"#,
        "16 -: the row is a bare word, expected a JSON object",
        r#"17 m "last"|None"#,
        r#"18 row:17 "no id"|None"#,
    ];
    assert_eq!(got, expected);
}

#[test]
fn labels_are_short_values_and_lists_are_refused() {
    let bytes = br#"{"id":"a","title":"T","y":"sports"}
{"id":"b","title":"T","y":-3}
{"id":"c","title":"T","y":false}
{"id":"d","title":"T","y":null}
{"id":"e","title":"T","y":""}
{"id":"f","title":"T"}
{"id":"g","title":"T","y":["a"]}
{"id":"h","title":"T","y":0.5}
{"id":"i","title":"T","y":{}}"#;
    let rows = rows_of("x.ndjson", bytes, with(|fields| fields.label = Some("y".to_owned())));
    let got: Vec<String> = rows
        .iter()
        .map(|row| match row {
            Row::Paper(paper) => format!("{:?}", paper.label),
            Row::Rejected(row) => row.reason.clone(),
        })
        .collect();
    let refused = |kind: &str| format!("`y` is {kind}, expected text, an integer or a boolean");
    let expected = [r#"Some("sports")"#, r#"Some("-3")"#, r#"Some("false")"#, "None", "None", "None"]
        .map(str::to_owned)
        .into_iter()
        .chain([refused("a list"), refused("a fraction"), refused("an object")]);
    assert_eq!(got, expected.collect::<Vec<_>>());
}

#[test]
fn a_plain_text_field_must_be_there_and_be_text() {
    let bytes = b"{\"id\": 1, \"text\": \"as it is\", \"title\": 5}\n{\"id\": 2, \"text\": \"\"}\n{\"id\": 3, \"text\": null}\n{\"id\": 4, \"title\": \"T\"}\n";
    let got = summary(&rows_of("x.jsonl", bytes, with(|fields| fields.text = Some("text".to_owned()))));
    let expected =
        ["1 1 \"as it is\"", "2 2 \"\"", "3 3: `text` is null, expected text", "4 4: `text` is missing, expected text"];
    assert_eq!(got, expected);
}

#[test]
fn a_named_id_field_must_be_there() {
    let bytes = b"{\"pmid\": 1, \"title\": \"T\"}\n{\"id\": 2, \"title\": \"T\"}\n{\"pmid\": \"\", \"title\": \"T\"}\n";
    let got = summary(&rows_of("x.jsonl", bytes, with(|fields| fields.id = Some("pmid".to_owned()))));
    let expected = ["1 1 \"T\"|None", "2 -: `pmid` is missing, expected an id", "3 -: `pmid` is empty, expected an id"];
    assert_eq!(got, expected);
}

#[test]
fn title_and_abstract_may_be_one_field() {
    let fields = with(|fields| fields.abstract_text = Some("title".to_owned()));
    assert_eq!(summary(&rows_of("x.jsonl", b"{\"title\": \"T\"}", fields)), ["1 row:1 \"T\"|\"T\""]);
}

#[test]
fn csv_rows_have_true_lines_through_quotes_blank_lines_and_crlf() {
    let bytes = b"\xef\xbb\xbfid,title,abstract\r\n\
        a,\"T, with \"\"quotes\"\"\",\"two\r\nlines\"\r\n\
        \r\n\
        b,T\r\n\
        c,\"T\"x,A\r\n\
        d,caf\xe9,A\r\n\
        e,,\r\n\
        f,5\" disk,\"\"";
    let got = summary(&rows_of("x.csv", bytes, FieldMap::default()));
    let expected = [
        "2 a \"T, with \\\"quotes\\\"\"|\"two\\r\\nlines\"",
        "5 -: the row has 2 cells, expected 3 as in the header",
        "6 -: text behind the closing quote of cell 2, expected a comma",
        "7 -: `title` has invalid UTF-8 at its byte 4",
        "8 e \"\"|\"\"",
        "9 f \"5\\\" disk\"|\"\"",
    ];
    assert_eq!(got, expected);
}

#[test]
fn csv_without_ids_numbers_its_rows_over_all_files() {
    let folder = Folder::new();
    let one = folder.write("one.csv", b"title\nA\nB\n");
    let two = folder.write("two.csv", b"abstract,title\n,C\n");
    let corpus = open(&[&two, &one], FieldMap::default()).unwrap();
    let rows: Vec<Row> = corpus.rows().map(Result::unwrap).collect();
    assert_eq!(summary(&rows), ["2 row:1 \"C\"|\"\"", "2 row:2 \"A\"|None", "3 row:3 \"B\"|None"]);
}

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
    let label = |name: &str| with(|fields| fields.label = Some(name.to_owned()));
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

fn bounded(source: &mut dyn RowSource) -> Vec<String> {
    let mut met = Vec::new();
    loop {
        met.push(match source.next_row() {
            Ok(None) => return met,
            Ok(Some(row)) => format!("{} {}", row.line, row.cells.map_or_else(|reason| reason, |_| "read".to_owned())),
            Err(error) => {
                met.push(error.to_string());
                return met;
            }
        });
    }
}

#[test]
fn a_row_at_the_bound_is_read_and_a_longer_one_is_passed_over() {
    let plan = || Arc::new(FieldPlan::new(&FieldMap::default(), None));
    let long = "the row is longer than 14 bytes, the most that is read";
    let bytes = b"{\"title\":\"1\"}\n{\"title\":\"12\"}\n{\"title\":\"1\"}";
    let got = bounded(&mut JsonlRows::new(Lines::of_bytes(bytes, 13), plan()));
    assert_eq!(got, ["1 read".to_owned(), format!("2 {}", long.replace("14", "13")), "3 read".to_owned()]);
    let bytes = b"title\n12345678901234\n123456789012345\n\"two\nlines\"\n\"1234567\n12345678";
    let got = bounded(&mut CsvRows::open(Lines::of_bytes(bytes, 14), &plan(), b',').unwrap());
    let unclosed = "test:6: a quoted field of this row is never closed".to_owned();
    assert_eq!(got, ["2 read".to_owned(), format!("3 {long}"), "4 read".to_owned(), unclosed]);
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

proptest! {
    #[test]
    fn what_a_csv_writer_writes_is_what_is_read(
        cells in proptest::collection::vec(("[a-z]{1,3}", "[a,\"\r\n ü]{0,6}", "[a,\"\r\n ü]{0,6}"), 1..12),
        crlf: bool,
    ) {
        let terminator = if crlf { ::csv::Terminator::CRLF } else { ::csv::Terminator::Any(b'\n') };
        let mut writer = ::csv::WriterBuilder::new().terminator(terminator).from_writer(Vec::new());
        writer.write_record(["id", "title", "abstract"]).unwrap();
        for (id, title, abstract_text) in &cells {
            writer.write_record([id, title, abstract_text]).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        let papers = rows_of("x.csv", &bytes, FieldMap::default());
        prop_assert_eq!(papers.len(), cells.len());
        let mut line = 2;
        for (row, (id, title, abstract_text)) in papers.into_iter().zip(cells) {
            let paper = only_paper(vec![row]);
            prop_assert_eq!(paper.origin.line, line);
            line += 1 + format!("{title}{abstract_text}").matches('\n').count() as u64;
            prop_assert_eq!(paper.id, id);
            let text = PaperText::TitleAbstract { title: Some(title), abstract_text: Some(abstract_text) };
            prop_assert_eq!(paper.text, text);
        }
    }

    #[test]
    fn no_bytes_panic_and_every_json_line_is_a_row(
        lines in proptest::collection::vec("[{}\\[\\]\":,a-z0-9\\\\ ]{0,20}|\\{\"title\": \"[a-zü]{0,5}\"\\}", 0..12),
        noise in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let rows = rows_of("x.jsonl", lines.join("\n").as_bytes(), FieldMap::default());
        prop_assert_eq!(rows.len(), lines.iter().filter(|line| !line.trim().is_empty()).count());
        for name in ["x.jsonl", "x.csv", "x.jsonl.gz"] {
            let folder = Folder::new();
            let path = folder.write(name, &noise);
            if let Ok(corpus) = open(&[&path], FieldMap::default()) {
                corpus.rows().for_each(drop);
            }
        }
    }
}
