//! Any bytes whatever: no reader panics, each ends, and what a file holds comes out as papers, rejections or one error.

use std::fs;
use std::io::Cursor;

use proptest::prelude::*;

use super::super::format::FormatRules;
use super::super::input::Stream;
use super::super::{CorpusOptions, FieldMap, PaperText, Row, Schema};
use super::{Folder, fixture, only_paper, open_with, rows_of};

const NAMES: [&str; 8] = ["x.jsonl", "x.csv", "x.tsv", "x.json", "x.parquet", "x.jsonl.gz", "x.csv.zst", "x.tsv.gz"];

/// Reads a file of these bytes to its end, or to the error that ends it; gives how many rows it had.
fn read_to_the_end(name: &str, bytes: &[u8]) -> usize {
    let folder = Folder::new();
    let path = folder.write(name, bytes);
    let fields = FieldMap { keep: vec!["title".to_owned()], ..FieldMap::default() };
    let schema = name.starts_with("x.json").then_some(Schema::SpecterMetadata).filter(|_| !name.contains("jsonl"));
    let Ok(corpus) = open_with(&[&path], CorpusOptions { fields, schema, ..CorpusOptions::default() }) else {
        return 0;
    };
    let mut rows = corpus.rows();
    let mut met = 0;
    for row in rows.by_ref() {
        met += 1;
        assert!(met <= bytes.len() * 600 + 10, "{name} does not end");
        match row {
            Ok(Row::Rejected(rejection)) => assert!(!rejection.reason.is_empty()),
            Ok(Row::Paper(paper)) => assert!(!paper.id.is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert!(rows.next().is_none());
    met
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
    fn every_line_of_json_is_a_row(
        lines in proptest::collection::vec("[{}\\[\\]\":,a-z0-9\\\\ ]{0,20}|\\{\"title\": \"[a-zü]{0,5}\"\\}", 0..12),
    ) {
        // Without any field that could be a text the file as a whole would be refused.
        let text = format!("{{\"title\": \"a\"}}\n{}", lines.join("\n"));
        let rows = rows_of("x.jsonl", text.as_bytes(), FieldMap::default());
        prop_assert_eq!(rows.len(), 1 + lines.iter().filter(|line| !line.trim().is_empty()).count());
    }

    #[test]
    fn no_bytes_make_a_reader_panic(noise in proptest::collection::vec(any::<u8>(), 0..300), packed: bool) {
        for name in NAMES {
            let bytes = match name {
                _ if !packed => noise.clone(),
                _ if name.ends_with(".gz") => super::gzip(&noise),
                _ if name.ends_with(".zst") => super::zstd(&noise),
                _ => [b"PAR1", &noise[..], b"PAR1"].concat(),
            };
            read_to_the_end(name, &bytes);
        }
    }

    #[test]
    fn text_of_the_marks_of_the_formats_ends(text in "[{}\"\\\\:,\t\r\n a-c\\[\\]]{0,200}") {
        for name in ["x.json", "x.csv", "x.tsv", "x.jsonl"] {
            read_to_the_end(name, text.as_bytes());
        }
    }

    #[test]
    fn a_stream_of_any_bytes_ends(noise in proptest::collection::vec(any::<u8>(), 0..300), magic in 0usize..4) {
        let magic: &[u8] = [b"".as_slice(), b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"PAR1"][magic];
        let bytes = [magic, &noise].concat();
        let stream = Stream::open("stdin".into(), Box::new(Cursor::new(bytes)), FormatRules::default()).unwrap();
        let reading = super::super::source::Reading {
            plan: std::sync::Arc::new(super::super::fields::FieldPlan::new(&FieldMap::default(), None)),
            rules: FormatRules::default(),
            progress: std::sync::Arc::default(),
            only_look: true,
        };
        let input = super::super::input::Input::Stream(stream);
        if let Ok(mut opened) = super::super::source::open(&input, &reading) {
            while let Ok(Some(_)) = opened.rows.next_row() {}
        }
    }
}

/// Numbers of a fixed sequence (xorshift), so that a failure can be repeated.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// One to four bytes of a good file changed, cut out or doubled, or its end cut off.
fn damaged(good: &[u8], sequence: &mut Sequence) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=sequence.below(4) {
        let at = sequence.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match sequence.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, good[..sequence.below(40)].to_vec())),
            2 => drop(bytes.drain(at..(at + sequence.below(20)).min(bytes.len()))),
            3 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0xff),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = sequence.below(256) as u8),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// `OFFPRINT_DAMAGE=N` tries N times as many.
#[test]
fn damaged_files_of_every_format_end_in_rows_or_an_error() {
    let factor: usize = std::env::var("OFFPRINT_DAMAGE").map_or(1, |factor| factor.parse().unwrap());
    let files = [
        ("pandas.jsonl", "x.jsonl", 300),
        ("pandas.csv", "x.csv", 300),
        ("pandas.tsv", "x.tsv", 300),
        ("metadata.json", "x.json", 300),
        ("pandas.jsonl.gz", "x.jsonl.gz", 300),
        ("pandas.tsv.zst", "x.tsv.zst", 300),
        ("pyarrow-snappy.parquet", "x.parquet", 500),
        ("pyarrow-zstd-v2.parquet", "x.parquet", 500),
        ("pyarrow-nested.parquet", "x.parquet", 500),
        ("polars-zstd.parquet", "x.parquet", 500),
        ("polars-nested-snappy.parquet", "x.parquet", 300),
    ];
    for (seed, (file, name, times)) in files.into_iter().enumerate() {
        let good = fs::read(fixture(file)).unwrap();
        let mut sequence = Sequence(0x9e37_79b9_7f4a_7c15 ^ (seed as u64 + 1));
        assert!(!good.is_empty());
        for _ in 0..times * factor {
            read_to_the_end(name, &damaged(&good, &mut sequence));
        }
    }
}
