//! What each row of a text format becomes, and on which line it says it stands.

use std::fs;
use std::sync::Arc;

use serde_json::json;

use super::super::csv::CsvRows;
use super::super::fields::FieldPlan;
use super::super::jsonl::JsonlRows;
use super::super::lines::Lines;
use super::super::source::RowSource;
use super::super::{FieldMap, PaperText, Row};
use super::{Folder, only_paper, open, rows, rows_of, summary, with};

#[test]
fn a_row_has_every_field_that_was_asked_for() {
    let line = r#"{"corpus_id": 7, "title": "T \u00e4", "abstract": null, "year": 2020, "venue": {"a": [1]}, "y": true, "split": "dev"}"#;
    let fields = with(|fields| {
        fields.labels = vec!["y".to_owned()];
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
    assert_eq!((paper.id.as_str(), paper.label(), paper.split.as_deref()), ("7", Some("true"), Some("dev")));
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
    let rows = rows_of("x.ndjson", bytes, with(|fields| fields.labels = vec!["y".to_owned()]));
    let got: Vec<String> = rows
        .iter()
        .map(|row| match row {
            Row::Paper(paper) => format!("{:?}", paper.label()),
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
fn a_name_with_points_is_a_field_within_a_field_unless_a_key_is_called_so() {
    let lines = [
        r#"{"paper": {"id": 1, "title": "inner", "more": {"abstract": "deep"}}}"#,
        r#"{"paper.title": "literal", "paper": {"id": 2, "title": "inner", "more.abstract": "half"}}"#,
        r#"{"paper": {"id": 3, "title": "inner"}, "paper.title": "literal"}"#,
        r#"{"paper": {"id": 4, "title": ["x"]}}"#,
        r#"{"paper": "no object"}"#,
        r#"{"paper": {"id": 6, "title": "first"}, "paper": {"id": 6, "title": "last"}}"#,
        r#"{"paper": [{"id": 7}]}"#,
    ];
    let fields = with(|fields| {
        fields.id = Some("paper.id".to_owned());
        fields.title = Some("paper.title".to_owned());
        fields.abstract_text = Some("paper.more.abstract".to_owned());
    });
    let expected = [
        r#"1 1 "inner"|"deep""#,
        r#"2 2 "literal"|"half""#,
        r#"3 3 "literal"|None"#,
        "4 4: `paper.title` is a list, expected text",
        "5 -: `paper.id` is missing, expected an id",
        r#"6 6 "last"|None"#,
        "7 -: `paper.id` is missing, expected an id",
    ];
    assert_eq!(summary(&rows_of("x.jsonl", lines.join("\n").as_bytes(), fields.clone())), expected);
    let both = FieldMap { keep: vec!["paper".to_owned(), "paper.id".to_owned()], ..fields };
    let paper = only_paper(rows_of("x.jsonl", lines[0].as_bytes(), both));
    assert_eq!(paper.id, "1");
    let whole = json!({"id": 1, "title": "inner", "more": {"abstract": "deep"}});
    assert_eq!(paper.kept, [Some(whole), Some(json!(1))]);
}

#[test]
fn a_row_whose_texts_are_null_has_none() {
    let got = summary(&rows_of("x.jsonl", br#"{"id": 1, "title": null, "abstract": null}"#, FieldMap::default()));
    assert_eq!(got, ["1 1: the row has neither `title` nor `abstract`, expected one of them"]);
}

#[test]
fn a_list_of_more_values_than_a_row_may_have_is_rejected() {
    let line = format!("{{\"title\": \"T\", \"x\": [{}0]}}\n{{\"title\": \"T\", \"x\": [0]}}", "0,".repeat(1_000_000));
    let got = summary(&rows_of("x.jsonl", line.as_bytes(), with(|fields| fields.keep = vec!["x".to_owned()])));
    assert!(got[0].starts_with("1 -: `x` cannot be read: more than 1000000 values in lists and objects"), "{}", got[0]);
    assert_eq!(got[1], "2 row:2 \"T\"|None");
}

#[test]
fn tsv_is_csv_with_tabs() {
    let bytes = b"id\ttitle\tabstract\n1\t\"a \"\"b\"\"\tc\"\tx, \"y\"\\n\n\n\t\t\n2\t\"T\"x\tA\n3\tT\n";
    let expected = [
        r#"2 1 "a \"b\"\tc"|"x, \"y\"\\n""#,
        r#"4 row:2 ""|"""#,
        "5 -: text behind the closing quote of cell 2, expected a tab",
        "6 -: the row has 2 cells, expected 3 as in the header",
    ];
    assert_eq!(summary(&rows_of("x.tsv", bytes, FieldMap::default())), expected);
}

#[test]
fn a_carriage_return_alone_ends_no_line() {
    let folder = Folder::new();
    for name in ["x.csv", "x.tsv"] {
        let path = folder.write(name, b"\"a\rb\"\rtitle\rx\ry\r");
        let error = open(&[&path], FieldMap::default()).unwrap_err();
        let expected = format!("`{}` ends its lines with carriage returns alone, expected line feeds", path.display());
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.hint().unwrap(), r"convert it with `tr '\r' '\n'`");
    }
    let got = summary(&rows_of("x.csv", b"id,title\n1,a\rb\n2,\"a\rb\"\n", FieldMap::default()));
    assert_eq!(got[0], "2 -: a carriage return outside quotes in cell 2, expected a line feed");
    assert_eq!(got[1], r#"3 2 "a\rb"|None"#);
    let path = folder.write("u.csv", b"\xff\xfet\0i\0\r\0\n\0");
    assert!(open(&[&path], FieldMap::default()).unwrap_err().to_string().ends_with("is UTF-16, expected UTF-8"));
}
