//! Files that other tools wrote (`tests/data/formats`, made by `export/oracle/make_format_fixtures.py`), and the same
//! papers through every way in.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::super::fields::FieldPlan;
use super::super::format::FormatRules;
use super::super::input::{Input, Stream};
use super::super::source::{Reading, open as open_input};
use super::super::{CorpusOptions, FieldMap, InputFormat, Paper, PaperText, Row, Schema};
use super::{Folder, fixture, open, open_with, papers, rows, summary, with};

const TEXTS: [&str; 6] =
    ["pandas.csv", "pandas.tsv", "pandas.jsonl", "pandas.jsonl.gz", "pandas.jsonl.zst", "pandas.tsv.zst"];
const PARQUETS: [&str; 3] = ["pyarrow-snappy.parquet", "pyarrow-zstd-v2.parquet", "polars-zstd.parquet"];

/// What a paper is, apart from where it stands; an empty cell of CSV is as good as a missing one.
fn essence(paper: &Paper) -> (String, String, String, Option<String>, Option<String>) {
    let PaperText::TitleAbstract { title, abstract_text } = &paper.text else { panic!("a plain text") };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (paper.id.clone(), text(title), text(abstract_text), paper.label().map(str::to_owned), paper.split.clone())
}

fn labelled() -> FieldMap {
    with(|fields| fields.labels = vec!["field".to_owned()])
}

#[test]
fn one_corpus_gives_the_same_papers_in_every_format() {
    let expected: Vec<_> = papers(rows(&fixture("pandas.jsonl"), labelled())).iter().map(essence).collect();
    assert_eq!(expected.len(), 12);
    let first = ("p1", "Über paper 1", "First line of 1.\nSecond line\twith a tab.", Some("physics"), Some("train"));
    let first =
        (first.0.into(), first.1.into(), first.2.into(), first.3.map(str::to_owned), first.4.map(str::to_owned));
    assert_eq!(expected[1], first);
    assert_eq!(expected[4].2, "");
    for name in TEXTS.iter().chain(&PARQUETS) {
        let got: Vec<_> = papers(rows(&fixture(name), labelled())).iter().map(essence).collect();
        assert_eq!(got, expected, "{name}");
    }
    let all: Vec<_> = TEXTS.iter().chain(&PARQUETS).map(|name| fixture(name)).collect();
    let paths: Vec<&Path> = all.iter().map(|path| path.as_path()).collect();
    let corpus = open(&paths, labelled()).unwrap();
    let mixed = corpus.rows().map(Result::unwrap).collect();
    let mixed: Vec<_> = papers(mixed).iter().map(essence).collect();
    assert_eq!(mixed, vec![expected; 9].concat());
    assert!(corpus.take_warnings().is_empty());
}

#[test]
fn rows_of_parquet_are_numbered_over_its_row_groups_and_end_the_progress() {
    let path = fixture("pyarrow-snappy.parquet");
    let corpus = open(&[&path], labelled()).unwrap();
    let mut rows = corpus.rows();
    let progress = rows.progress();
    let lines: Vec<u64> = papers(rows.by_ref().map(Result::unwrap).collect()).iter().map(|p| p.origin.line).collect();
    assert_eq!(lines, (1..=12).collect::<Vec<_>>());
    assert_eq!(progress.load(std::sync::atomic::Ordering::Relaxed), corpus.total_bytes());
    let again = super::super::Corpus::open(
        &[path.display().to_string()],
        CorpusOptions { limit: Some(7), ..CorpusOptions::default() },
    );
    assert_eq!(again.unwrap().rows().count(), 7);
}

#[test]
fn nested_columns_are_found_by_names_with_points_and_kept_as_json() {
    let fields = with(|fields| {
        fields.id = Some("paper.id".to_owned());
        fields.title = Some("paper.title".to_owned());
        fields.abstract_text = Some("paper.text.abstract".to_owned());
        fields.labels = vec!["field".to_owned()];
        fields.keep = ["topics", "codes", "score", "nothing", "paper.text"].map(str::to_owned).to_vec();
    });
    let expected: Vec<_> = papers(rows(&fixture("pandas.jsonl"), labelled())).iter().map(essence).collect();
    let rows = rows(&fixture("pyarrow-nested.parquet"), fields.clone());
    let rejected: Vec<String> =
        summary(&rows).into_iter().enumerate().filter(|(at, _)| *at == 7).map(|(_, row)| row).collect();
    assert_eq!(rejected, ["8 -: `paper.id` is null, expected an id"]);
    let papers: Vec<Paper> =
        rows.into_iter().filter_map(|row| if let Row::Paper(paper) = row { Some(paper) } else { None }).collect();
    let got: Vec<_> = papers.iter().map(essence).collect();
    assert_eq!(got, [&expected[..7], &expected[8..]].concat());
    let kept = |at: usize| papers[at].kept.iter().map(|value| value.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(
        kept(1),
        [json!(["physics"]), json!([1, 2]), json!(0.25), json!(null), json!({"abstract": expected[1].2})]
    );
    assert_eq!(kept(2)[..3], [json!(null), json!([2, 3]), json!(0.5)]);
    assert_eq!(kept(3)[0], json!([]));
    let label = FieldMap { labels: vec!["topics".to_owned()], keep: Vec::new(), ..fields };
    let refused = super::rows(&fixture("pyarrow-nested.parquet"), label);
    assert_eq!(summary(&refused)[1], "2 p1: `topics` is a list, expected text, an integer or a boolean");
}

#[test]
fn structs_of_polars_are_read_and_a_whole_struct_can_be_kept() {
    let fields = with(|fields| {
        fields.title = Some("paper.title".to_owned());
        fields.abstract_text = Some("paper.abstract".to_owned());
        fields.keep = vec!["paper".to_owned()];
    });
    let papers = papers(rows(&fixture("polars-nested-snappy.parquet"), fields));
    assert_eq!(papers.len(), 12);
    let kept = json!({"id": "p4", "title": "Über paper 4", "abstract": null});
    assert_eq!((papers[4].id.as_str(), papers[4].kept[0].clone()), ("row:5", Some(kept)));
}

#[test]
fn integers_and_booleans_of_parquet_are_labels() {
    let label = |name: &str| {
        let path = fixture("pyarrow-zstd-v2.parquet");
        papers(rows(&path, with(|fields| fields.labels = vec![name.to_owned()])))[3].label().unwrap().to_owned()
    };
    assert_eq!([label("year"), label("open")], ["2003", "false"]);
}

#[test]
fn a_column_that_is_not_there_is_an_error_that_lists_the_columns() {
    let path = fixture("pyarrow-snappy.parquet");
    let error = open(&[&path], with(|fields| fields.labels = vec!["paper.lable".to_owned()])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no row has a field `paper.lable` (12 rows looked at; fields seen: `id`, `title`, `abstract`, `field`, `year`, \
         `open`, `split`)"
    );
}

#[test]
fn what_is_no_parquet_is_an_error_that_names_the_file() {
    let folder = Folder::new();
    let good = fs::read(fixture("pyarrow-snappy.parquet")).unwrap();
    for bytes in [b"".as_slice(), b"PAR1", b"PAR1\xff\xff\xff\xffPAR1", &good[..good.len() / 2]] {
        let path = folder.write("x.parquet", bytes);
        let error = open(&[&path], FieldMap::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("{}:0: the Parquet data cannot be read", path.display()));
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn an_id_objects_keys_are_the_papers() {
    let folder = Folder::new();
    let options = |schema| CorpusOptions { schema: Some(schema), ..CorpusOptions::default() };
    let path = fixture("metadata.json");
    let corpus = open_with(&[&path], options(Schema::SpecterMetadata)).unwrap();
    let got: Vec<_> = papers(corpus.rows().map(Result::unwrap).collect()).iter().map(essence).collect();
    let expected: Vec<_> = papers(rows(&fixture("pandas.jsonl"), FieldMap::default())).iter().map(essence).collect();
    assert_eq!(got.len(), 12);
    assert!(
        got.iter()
            .zip(&expected)
            .all(|(got, expected)| (&got.0, &got.1, &got.2) == (&expected.0, &expected.1, &expected.2))
    );
    let packed = folder.write("metadata.json.gz", &super::gzip(&fs::read(&path).unwrap()));
    assert_eq!(open_with(&[&packed], options(Schema::SpecterMetadata)).unwrap().rows().count(), 12);
    let error = open_with(&[&path], options(Schema::S2ag)).unwrap_err();
    assert!(error.to_string().contains("metadata.json` has an unknown ending"), "{error}");
    assert!(error.hint().unwrap().contains("--input-format"));
    let lines = folder.write("arxiv-metadata-oai-snapshot.json", b"{\"id\": \"1\", \"title\": \"T\"}\n");
    assert_eq!(open_with(&[&lines], options(Schema::Arxiv)).unwrap().rows().count(), 1);
}

#[test]
fn an_input_format_stands_in_for_an_ending_that_says_nothing() {
    let folder = Folder::new();
    for (name, format) in [
        ("pandas.csv", InputFormat::Csv),
        ("pandas.tsv.zst", InputFormat::Tsv),
        ("pandas.jsonl.gz", InputFormat::Jsonl),
        ("polars-zstd.parquet", InputFormat::Parquet),
    ] {
        let path = folder.write("shard-00001", &fs::read(fixture(name)).unwrap());
        assert!(open(&[&path], labelled()).unwrap_err().to_string().contains("unknown ending"));
        let options = CorpusOptions { fields: labelled(), input_format: Some(format), ..CorpusOptions::default() };
        assert_eq!(
            open_with(&[&path], options).unwrap().rows().filter(|row| matches!(row, Ok(Row::Paper(_)))).count(),
            12
        );
    }
}

/// What comes through a pipe, looked at once and then read.
fn through_a_pipe(bytes: Vec<u8>, rules: FormatRules) -> Vec<Option<String>> {
    let stream = Stream::open("stdin".into(), Box::new(Cursor::new(bytes)), rules).unwrap();
    let input = Input::Stream(stream);
    let plan = Arc::new(FieldPlan::new(&FieldMap::default(), None));
    let at = plan.names().iter().position(|name| name == "id").unwrap();
    let mut ids = Vec::new();
    for only_look in [true, false] {
        let reading = Reading { plan: Arc::clone(&plan), rules, progress: Arc::default(), only_look };
        let mut opened = open_input(&input, &reading).unwrap();
        assert!(opened.watch.is_none());
        ids.clear();
        while let Some(row) = opened.rows.next_row().unwrap() {
            let id = row.cells.unwrap()[at].as_ref().and_then(|id| id.as_str().map(str::to_owned));
            ids.push(id);
            if only_look && ids.len() == 3 {
                break;
            }
        }
    }
    ids
}

#[test]
fn a_pipe_is_told_by_its_first_bytes_and_loses_no_row() {
    let expected: Vec<_> = (0..12).map(|n| Some(format!("p{n}"))).collect();
    for name in TEXTS.iter().chain(&PARQUETS) {
        let bytes = fs::read(fixture(name)).unwrap();
        assert_eq!(through_a_pipe(bytes, FormatRules::default()), expected, "{name}");
    }
    let told = FormatRules { input_format: Some(InputFormat::Tsv), json: None };
    assert_eq!(through_a_pipe(b"id\n{1\n".to_vec(), told), [Some("{1".to_owned())]);
    assert!(through_a_pipe(Vec::new(), FormatRules::default()).is_empty());
}

#[test]
fn a_schema_of_a_hundred_thousand_groups_is_refused() {
    let folder = Folder::new();
    let group = [0x48, 1, b'x', 0x15, 2, 0];
    let leaf = [0x48, 1, b'x', 0];
    let count = 100_001_u32;
    let varint = [(count & 0x7f) as u8 | 0x80, (count >> 7 & 0x7f) as u8 | 0x80, (count >> 14) as u8];
    let footer =
        [&[0x15, 2, 0x19, 0xfc][..], &varint, &group.repeat(100_000), &leaf, &[0x16, 0, 0x19, 0x0c, 0]].concat();
    let bytes = [b"PAR1", &footer[..], &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat();
    let path = folder.write("x.parquet", &bytes);
    let error = open(&[&path], FieldMap::default()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.ends_with("the schema is nested 100001 deep, expected 100 at most"), "{source}");
}

/// A Parquet file with one column `title`, by the library's own writer.
fn titles(titles: &[&str]) -> Vec<u8> {
    use arrow_array::{ArrayRef, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::file::properties::WriterProperties;
    let column: ArrayRef = Arc::new(StringArray::from(titles.to_vec()));
    let batch = RecordBatch::try_from_iter([("title", column)]).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn a_parquet_row_above_the_bound_is_rejected_and_a_page_above_it_is_an_error() {
    let folder = Folder::new();
    let long = "x".repeat(70 << 20);
    let path = folder.write("x.parquet", &titles(&["A", &long, "B"]));
    let expected = [
        "1 row:1 \"A\"|None",
        "2 -: the row is longer than 67108864 bytes, the most that is read",
        "3 row:3 \"B\"|None",
    ];
    assert_eq!(summary(&rows(&path, FieldMap::default())), expected);
    let path = folder.write("y.parquet", &titles(&[&"x".repeat(260 << 20)]));
    assert!(fs::metadata(&path).unwrap().len() < 1 << 20);
    let error = open(&[&path], FieldMap::default()).unwrap_err().to_string();
    let start = format!("{}: column `title` has a page of ", path.display());
    assert!(error.starts_with(&start) && error.ends_with(" with 1 values, expected at most 256 MiB"), "{error}");
}
