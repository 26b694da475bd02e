//! What a run did, row by row: the account that is printed at the end, and the counters that a progress bar reads
//! while it runs. Nothing here measures; the stages of the pipeline add what they did.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::cache::RowMeta;
use crate::runtime::Selection;

/// The account of one run. `rows == embedded + cached + rejected` always holds, also after an interruption (rows that
/// were read but not finished are not in it).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Account {
    /// Rows accounted for.
    pub rows: u64,
    /// Rows whose vector was computed by this run.
    pub embedded: u64,
    /// Rows whose vector was there: from an earlier run, or from an equal text earlier in this one.
    pub cached: u64,
    /// Rows that could not be used; each stands in the rejects file with its reason.
    pub rejected: u64,
    /// Rows with a title and no abstract.
    pub title_only: u64,
    /// Rows whose text is empty; they are embedded as they are.
    pub empty: u64,
    /// Rows that came twice with the same id, adapter and text; they are kept.
    pub repeated: u64,
    /// Rows that have their vector (embedded or cached), by the adapter that they chose; empty where there was no choice.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub adapters: BTreeMap<String, u64>,
    /// What was cut off because it passed the maximum length.
    pub truncated: Truncated,
    /// Wall time of the run in seconds.
    pub seconds: f64,
    /// The execution provider that ran the graph; absent if nothing had to be computed.
    pub provider: Option<String>,
    /// How that provider was chosen, and which nodes of the graph it runs.
    #[serde(flatten)]
    pub selection: Selection,
    /// Tokens of the computed rows, padding not counted.
    pub tokens: u64,
    /// Tokens that the graph computed, padding included.
    pub padded_tokens: u64,
    /// Share of padding among the tokens that the graph computed, 0 to 1.
    pub padding_share: f64,
    /// Where the time went.
    pub stages: Stages,
    /// Largest resident memory of the process, in bytes.
    pub peak_memory: u64,
    /// Whether a signal stopped the run before the end of the corpus.
    pub interrupted: bool,
    /// What the user should know, a sentence each.
    pub warnings: Vec<String>,
}

/// Papers whose text passed the maximum length, and how many word pieces they lost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Truncated {
    /// Papers that lost anything.
    pub papers: u64,
    /// Word pieces lost in all.
    pub tokens: u64,
    /// Papers cut inside the title.
    pub title: u64,
    /// Papers cut behind the title: in the abstract, or in a plain text.
    #[serde(rename = "abstract")]
    pub abstract_text: u64,
}

/// Seconds that each stage was at work. Stages overlap, so that their sum may pass the wall time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stages {
    /// Reading, parsing, rendering, hashing and looking up.
    pub read: f64,
    /// Tokenizing and planning batches.
    pub tokenize: f64,
    /// Opening ONNX Runtime, the tokenizer and the sessions.
    pub open: f64,
    /// Running the graph.
    pub inference: f64,
    /// Writing results.
    pub write: f64,
}

impl Account {
    /// Counts a row that has its vector.
    pub(super) fn add_row(&mut self, computed: bool, kind: RowKind, meta: RowMeta) {
        self.rows += 1;
        if computed {
            self.embedded += 1;
        } else {
            self.cached += 1;
        }
        self.title_only += u64::from(kind.title_only);
        self.empty += u64::from(kind.empty);
        if meta.n_dropped > 0 {
            self.truncated.papers += 1;
            self.truncated.tokens += u64::from(meta.n_dropped);
            if meta.title_cut {
                self.truncated.title += 1;
            } else {
                self.truncated.abstract_text += 1;
            }
        }
    }

    /// Counts rows that have their vector, of one adapter.
    pub(super) fn add_adapter(&mut self, name: &str, rows: u64) {
        if rows > 0 {
            *self.adapters.entry(name.to_owned()).or_default() += rows;
        }
    }

    /// Counts what the graph was given: tokens of the texts, and the padded ones that it computed for them.
    pub(super) fn add_tokens(&mut self, useful: u64, padded: u64) {
        self.tokens += useful;
        self.padded_tokens += padded;
        if self.padded_tokens > 0 {
            self.padding_share = 1.0 - self.tokens as f64 / self.padded_tokens as f64;
        }
    }

    /// Counts rows that were rejected.
    pub(super) fn add_rejected(&mut self, rows: u64) {
        self.rows += rows;
        self.rejected += rows;
    }

    /// Papers per second of wall time, rejected ones not counted.
    pub fn papers_per_second(&self) -> f64 {
        if self.seconds > 0.0 { (self.embedded + self.cached) as f64 / self.seconds } else { 0.0 }
    }
}

/// What the renderer found out about a row's text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RowKind {
    pub title_only: bool,
    pub empty: bool,
}

/// Counters that grow while a run goes on; read them from any thread.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicU64,
    tokens: AtomicU64,
    bytes: AtomicU64,
    read_rows: AtomicU64,
    read_bytes: AtomicU64,
}

impl Progress {
    /// Rows finished so far: embedded or found in the cache.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Tokens computed so far, padding not counted.
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// Bytes of the corpus files that are dealt with, as they lie on disk (compressed ones as such).
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Rows and bytes read so far; reading is ahead of computing. Their ratio foretells the number of rows.
    pub fn read(&self) -> (u64, u64) {
        (self.read_rows.load(Ordering::Relaxed), self.read_bytes.load(Ordering::Relaxed))
    }

    pub(super) fn add_read(&self, rows: u64, bytes: u64) {
        self.read_rows.fetch_add(rows, Ordering::Relaxed);
        self.read_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_computed(&self, rows: u64, tokens: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    pub(super) fn add_found(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn set_bytes(&self, bytes: u64) {
        self.bytes.fetch_max(bytes, Ordering::Relaxed);
    }
}

/// Nanoseconds that stages in several threads add up.
#[derive(Debug, Default)]
pub(super) struct StageClock(AtomicU64);

impl StageClock {
    pub(super) fn add(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn seconds(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64 / 1e9
    }
}
