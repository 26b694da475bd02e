//! A corpus: the files behind the user's inputs, checked once for the fields asked for, then read row by row.
//!
//! Knows no format. Rows come in the order of the inputs; every row is counted, whatever becomes of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::Error;
use super::fields::{FieldMap, FieldPlan};
use super::find::corpus_files;
use super::format::{FormatRules, InputFormat};
use super::input::{Input, Watch};
use super::labels::LabelKind;
use super::schema::Schema;
use super::shard::Shard;
use super::source::{self, Opened, RawRow, Reading, RowSource};
use super::{Origin, Rejection, Row};

/// Rows of each file that are searched for the fields that the user named.
const ROWS_SEARCHED: usize = 10_000;

/// Names of fields that are kept for a message.
const MOST_SEEN: usize = 100;

/// How to read a corpus.
#[derive(Debug, Clone, Default)]
pub struct CorpusOptions {
    /// Which field is what; wins over the schema.
    pub fields: FieldMap,
    /// The dump whose fields are known.
    pub schema: Option<Schema>,
    /// What inputs are whose name does not say it.
    pub input_format: Option<InputFormat>,
    /// Stop behind this many rows of the corpus, rejected ones and those of other shards included.
    pub limit: Option<u64>,
    /// Give the rows of this shard only.
    pub shard: Option<Shard>,
}

/// The inputs of a corpus and how to read them. Holds no row.
#[derive(Debug)]
pub struct Corpus {
    files: Vec<PathBuf>,
    inputs: Arc<[Input]>,
    plan: Arc<FieldPlan>,
    rules: FormatRules,
    limit: u64,
    shard: Option<Shard>,
    met: Arc<Met>,
}

/// What was met while the rows were read.
#[derive(Debug, Default)]
struct Met {
    warnings: Mutex<Vec<String>>,
    rows_of_other_shards: AtomicU64,
}

impl Met {
    fn warn(&self, warning: String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
}

impl Corpus {
    /// Finds the files behind `inputs` (files, folders, patterns, pipes, `-` for standard input; in this order) and looks
    /// whether they have the fields asked for, which in most corpora takes one row.
    ///
    /// # Errors
    /// An input that is missing, matches nothing or has an unknown ending; a file that cannot be read; a field that the
    /// user named and that none of the first 10,000 rows of any file has; neither title nor abstract likewise.
    pub fn open(inputs: &[String], options: CorpusOptions) -> Result<Self, Error> {
        let CorpusOptions { fields, schema, input_format, limit, shard } = options;
        let rules = FormatRules { input_format, json: schema.and_then(Schema::json_files) };
        let files = corpus_files(inputs, rules)?;
        let inputs = files.iter().map(|path| Input::open(path, rules)).collect::<Result<Vec<_>, _>>()?;
        let plan = Arc::new(FieldPlan::new(&fields, schema));
        let limit = limit.unwrap_or(u64::MAX);
        let corpus = Self { files, inputs: inputs.into(), plan, rules, limit, shard, met: Arc::default() };
        Search::new(&corpus).run()?;
        Ok(corpus)
    }

    /// The same corpus, whose labels are of these kinds, in the order of [`FieldMap::labels`]. What a field holds is only
    /// looked at when rows are read, so that fields can be checked before it is known what asks for them.
    pub fn with_label_kinds(self, kinds: Vec<LabelKind>) -> Self {
        Self { plan: Arc::new(self.plan.with_label_kinds(kinds)), ..self }
    }

    /// The files, in the order in which they are read; `-` is standard input.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Bytes of all files as they lie on the disk: what [`Rows::progress`] ends at if no limit was set. 0 if some input
    /// is a stream, whose end nobody knows.
    pub fn total_bytes(&self) -> u64 {
        self.inputs.iter().map(Input::size).sum::<Option<u64>>().unwrap_or(0)
    }

    /// The rows from the first on. Each call reads the files anew; a stream can be read once.
    pub fn rows(&self) -> Rows {
        self.met.rows_of_other_shards.store(0, Ordering::Relaxed);
        let progress = Arc::default();
        Rows {
            inputs: Arc::clone(&self.inputs),
            next_input: 0,
            current: None,
            reading: self.reading(Arc::clone(&progress), false),
            progress,
            number: 0,
            limit: self.limit,
            shard: self.shard,
            met: Arc::clone(&self.met),
        }
    }

    /// What the user should know about the files that were read so far, a sentence each; empty afterwards.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.met.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Rows that were read last and belong to other shards.
    pub fn rows_of_other_shards(&self) -> u64 {
        self.met.rows_of_other_shards.load(Ordering::Relaxed)
    }

    fn reading(&self, progress: Arc<AtomicU64>, only_look: bool) -> Reading {
        Reading { plan: Arc::clone(&self.plan), rules: self.rules, progress, only_look }
    }
}

/// An open input and its name for messages.
struct Current {
    name: Arc<str>,
    rows: Box<dyn RowSource>,
    watch: Option<Watch>,
}

impl Current {
    fn open(input: &Input, reading: &Reading) -> Result<Self, Error> {
        let Opened { rows, watch } = source::open(input, reading)?;
        Ok(Self { name: input.name(), rows, watch })
    }

    /// The next row; a fault is blamed on the change of the file, if there was one.
    fn next_row(&mut self) -> Result<Option<RawRow>, Error> {
        self.rows.next_row().map_err(|error| match &self.watch {
            Some(watch) => watch.explain(error),
            None => error,
        })
    }
}

/// The rows of a [`Corpus`]. An `Err` is final: it says that the rest cannot be read, and `None` follows.
pub struct Rows {
    inputs: Arc<[Input]>,
    next_input: usize,
    current: Option<Current>,
    reading: Reading,
    progress: Arc<AtomicU64>,
    number: u64,
    limit: u64,
    shard: Option<Shard>,
    met: Arc<Met>,
}

impl Rows {
    /// Bytes taken from the disk so far, up to [`Corpus::total_bytes`]; stays current while the rows are read elsewhere.
    pub fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    fn read(&mut self) -> Result<Option<Row>, Error> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(input) = self.inputs.get(self.next_input) else {
                    return Ok(None);
                };
                self.next_input += 1;
                self.current = Some(Current::open(input, &self.reading)?);
                continue;
            };
            let Some(raw) = current.next_row()? else {
                if let Some(warning) = current.watch.as_ref().map(Watch::check).transpose()?.flatten() {
                    self.met.warn(warning);
                }
                self.current = None;
                continue;
            };
            self.number += 1;
            let origin = Origin { file: Arc::clone(&current.name), line: raw.line };
            return Ok(Some(match raw.cells {
                Ok(cells) => self.reading.plan.row(cells, origin, self.number),
                Err(reason) => Row::Rejected(Rejection { origin, id: None, reason }),
            }));
        }
    }

    fn is_of_this_shard(&self, row: &Row) -> bool {
        let Some(shard) = self.shard else { return true };
        match row {
            Row::Paper(paper) => shard.holds(&paper.id),
            Row::Rejected(Rejection { id: Some(id), .. }) => shard.holds(id),
            Row::Rejected(Rejection { origin, .. }) => shard.holds(&origin.to_string()),
        }
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.number < self.limit {
            let item = self.read().transpose();
            match &item {
                Some(Ok(row)) if self.is_of_this_shard(row) => return item,
                Some(Ok(_)) => _ = self.met.rows_of_other_shards.fetch_add(1, Ordering::Relaxed),
                _ => {
                    self.limit = 0;
                    self.current = None;
                    return item;
                }
            }
        }
        self.current = None;
        None
    }
}

/// Looks for the fields that were named, and for a text, until each was met in some row.
struct Search<'a> {
    corpus: &'a Corpus,
    missing: Vec<Vec<usize>>,
    text_missing: bool,
    seen: Vec<String>,
    rows: usize,
}

impl<'a> Search<'a> {
    fn new(corpus: &'a Corpus) -> Self {
        let plan = &corpus.plan;
        let text_missing = plan.title_and_abstract().is_some();
        Self { corpus, missing: plan.asked().to_vec(), text_missing, seen: Vec::new(), rows: 0 }
    }

    fn is_done(&self) -> bool {
        self.missing.is_empty() && !self.text_missing
    }

    fn run(mut self) -> Result<(), Error> {
        for input in self.corpus.inputs.iter() {
            match self.search(input) {
                Err(_) if matches!(input, Input::Stream(stream) if stream.is_cut()) => {}
                other => other?,
            }
            if self.is_done() {
                return Ok(());
            }
        }
        let plan = &self.corpus.plan;
        let (seen, rows) = (self.seen, self.rows);
        match (self.missing.first(), plan.title_and_abstract()) {
            // Nothing but broken rows, or none: the rows themselves say it better.
            _ if rows == 0 => Ok(()),
            (Some(places), _) => Err(Error::UnknownField { field: plan.named(places), seen, rows }),
            (None, Some((title, abstract_text))) => {
                let (title, abstract_text) = (plan.named(title), plan.named(abstract_text));
                Err(Error::NoTextField { title, abstract_text, seen, rows })
            }
            (None, None) => Ok(()),
        }
    }

    fn search(&mut self, input: &Input) -> Result<(), Error> {
        let mut current = Current::open(input, &self.corpus.reading(Arc::default(), true))?;
        for _ in 0..ROWS_SEARCHED {
            let Some(raw) = current.next_row()? else { break };
            let Ok(cells) = raw.cells else { continue };
            self.rows += 1;
            let is_there = |places: &[usize]| places.iter().any(|&at| cells[at].is_some());
            self.missing.retain(|places| !is_there(places));
            if let Some((title, abstract_text)) = self.corpus.plan.title_and_abstract() {
                self.text_missing &= !is_there(title) && !is_there(abstract_text);
            }
            if self.is_done() {
                return Ok(());
            }
        }
        // A header may have any number of columns; nobody reads a message with all of them.
        for name in current.rows.names().iter().take(MOST_SEEN) {
            if self.seen.len() < MOST_SEEN && !self.seen.contains(name) {
                self.seen.push(name.clone());
            }
        }
        Ok(())
    }
}
