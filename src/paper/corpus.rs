//! A corpus: the files behind the user's inputs, checked once for the fields asked for, then read row by row.
//!
//! Knows no format. Rows come in the order of the inputs; every row is counted, whatever becomes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::error::Error;
use super::fields::{FieldMap, FieldPlan};
use super::find::corpus_files;
use super::source::{self, RowSource};
use super::{Origin, Rejection, Row};

/// Rows of each file that are searched for the fields that the user named.
const ROWS_SEARCHED: usize = 10_000;

/// How to read a corpus.
#[derive(Debug, Clone, Default)]
pub struct CorpusOptions {
    /// Which field is what.
    pub fields: FieldMap,
    /// Stop behind this many rows, rejected ones included.
    pub limit: Option<u64>,
}

/// The files of a corpus and how to read them. Holds no row.
#[derive(Debug)]
pub struct Corpus {
    files: Arc<[PathBuf]>,
    total_bytes: u64,
    plan: Arc<FieldPlan>,
    limit: u64,
}

impl Corpus {
    /// Finds the files behind `inputs` (files, folders, patterns; in this order) and looks whether they have the fields
    /// asked for, which in most corpora takes one row.
    ///
    /// # Errors
    /// An input that is missing, matches nothing or has an unknown ending; a file that cannot be read; a field that the
    /// user named and that none of the first 10,000 rows of any file has; neither title nor abstract likewise.
    pub fn open(inputs: &[String], options: CorpusOptions) -> Result<Self, Error> {
        let files: Arc<[PathBuf]> = corpus_files(inputs)?.into();
        let mut total_bytes = 0;
        for path in files.iter() {
            let size =
                std::fs::metadata(path).map_err(|source| Error::Unreadable { path: path.clone(), source })?.len();
            total_bytes += size;
        }
        let CorpusOptions { fields, limit } = options;
        let plan = Arc::new(FieldPlan::new(&fields));
        Search::new(&plan).run(&files)?;
        Ok(Self { files, total_bytes, plan, limit: limit.unwrap_or(u64::MAX) })
    }

    /// The files, in the order in which they are read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Bytes of all files as they lie on the disk: what [`Rows::progress`] ends at if no limit was set.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The rows from the first on. Each call reads the files anew.
    pub fn rows(&self) -> Rows {
        Rows {
            files: Arc::clone(&self.files),
            next_file: 0,
            current: None,
            plan: Arc::clone(&self.plan),
            progress: Arc::default(),
            number: 0,
            limit: self.limit,
        }
    }
}

/// An open file and its name for messages.
struct Current {
    name: Arc<str>,
    source: Box<dyn RowSource>,
}

/// The rows of a [`Corpus`]. An `Err` is final: it says that the rest cannot be read, and `None` follows.
pub struct Rows {
    files: Arc<[PathBuf]>,
    next_file: usize,
    current: Option<Current>,
    plan: Arc<FieldPlan>,
    progress: Arc<AtomicU64>,
    number: u64,
    limit: u64,
}

impl Rows {
    /// Bytes taken from the disk so far, up to [`Corpus::total_bytes`]; stays current while the rows are read elsewhere.
    pub fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    fn read(&mut self) -> Result<Option<Row>, Error> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(path) = self.files.get(self.next_file) else {
                    return Ok(None);
                };
                self.next_file += 1;
                let source = source::open(path, Arc::clone(&self.plan), Arc::clone(&self.progress))?;
                self.current = Some(Current { name: name_of(path), source });
                continue;
            };
            let Some(raw) = current.source.next_row()? else {
                self.current = None;
                continue;
            };
            self.number += 1;
            let origin = Origin { file: Arc::clone(&current.name), line: raw.line };
            return Ok(Some(match raw.cells {
                Ok(cells) => self.plan.row(cells, origin, self.number),
                Err(reason) => Row::Rejected(Rejection { origin, id: None, reason }),
            }));
        }
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.number >= self.limit {
            return None;
        }
        let item = self.read().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.limit = 0;
            self.current = None;
        }
        item
    }
}

fn name_of(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

/// Looks for the fields that the user named, and for a text, until each was met in some row.
struct Search<'a> {
    plan: &'a Arc<FieldPlan>,
    missing: Vec<usize>,
    text_missing: bool,
    seen: Vec<String>,
    rows: usize,
}

impl<'a> Search<'a> {
    fn new(plan: &'a Arc<FieldPlan>) -> Self {
        let text_missing = plan.title_and_abstract().is_some();
        Self { plan, missing: plan.asked().to_vec(), text_missing, seen: Vec::new(), rows: 0 }
    }

    fn run(mut self, files: &[PathBuf]) -> Result<(), Error> {
        for path in files {
            self.search(path)?;
            if self.missing.is_empty() && !self.text_missing {
                return Ok(());
            }
        }
        let name = |at: usize| self.plan.names()[at].clone();
        let (seen, rows) = (self.seen, self.rows);
        match (self.missing.first(), self.plan.title_and_abstract()) {
            // Nothing but broken rows, or none: the rows themselves say it better.
            _ if rows == 0 => Ok(()),
            (Some(&at), _) => Err(Error::UnknownField { field: name(at), seen, rows }),
            (None, Some((title, abstract_text))) => {
                Err(Error::NoTextField { title: name(title), abstract_text: name(abstract_text), seen, rows })
            }
            (None, None) => Ok(()),
        }
    }

    fn search(&mut self, path: &Path) -> Result<(), Error> {
        let mut source = source::open(path, Arc::clone(self.plan), Arc::default())?;
        for _ in 0..ROWS_SEARCHED {
            let Some(raw) = source.next_row()? else { break };
            let Ok(cells) = raw.cells else { continue };
            self.rows += 1;
            self.missing.retain(|&at| cells[at].is_none());
            if let Some((title, abstract_text)) = self.plan.title_and_abstract() {
                self.text_missing &= cells[title].is_none() && cells[abstract_text].is_none();
            }
            if self.missing.is_empty() && !self.text_missing {
                return Ok(());
            }
        }
        for name in source.names() {
            if !self.seen.contains(name) {
                self.seen.push(name.clone());
            }
        }
        Ok(())
    }
}
