//! Whole corpora through [`Corpus`]: what each row becomes, where it says it stands, and what ends the reading.

mod any_bytes;
mod changes;
mod files;
mod formats;
mod rows;
mod schemas;
mod shards;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

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

fn open_with(paths: &[&Path], options: CorpusOptions) -> Result<Corpus, Error> {
    let inputs: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    Corpus::open(&inputs, options)
}

fn open(paths: &[&Path], fields: FieldMap) -> Result<Corpus, Error> {
    open_with(paths, CorpusOptions { fields, ..CorpusOptions::default() })
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

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 3).unwrap()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats").join(name)
}

fn papers(rows: Vec<Row>) -> Vec<Paper> {
    let paper = |row| match row {
        Row::Paper(paper) => paper,
        Row::Rejected(rejection) => panic!("rejected: {rejection:?}"),
    };
    rows.into_iter().map(paper).collect()
}
