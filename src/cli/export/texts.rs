//! The texts of a comparison: read from the corpus, or the built-in ones, rendered, and written to the child that compares.
//! Knows no graph. Invariant: texts in one thread, rows in another, so that a corpus that is long in coming stops nothing.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use offprint::encode::comparison_texts;
use offprint::evaluate::LabelledText;
use offprint::model::Manifest;
use offprint::paper::{self, Corpus, Label, LabelKind, Rejection, Row, Template};

use super::super::say::{counted_that, remark};
use super::quality::Asked;

/// How long the end of a comparison may go unnoticed while the next row of the corpus is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Few, for a row may be large.
const ROWS_AHEAD: usize = 4;

/// The texts of a comparison.
pub(crate) struct Texts<'a> {
    /// Whose template renders them.
    pub new: &'a Manifest,
    /// What the corpus is to say of them, if it is asked.
    pub kind: Option<LabelKind>,
    pub read: &'a Read,
}

/// What was read of a corpus while it was fed to the comparison.
#[derive(Default)]
pub(crate) struct Read {
    bytes: AtomicU64,
    texts: AtomicU64,
    rejected: AtomicU64,
    first_rejected: Mutex<Option<Rejection>>,
}

impl Read {
    fn reject(&self, rejection: Rejection) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        self.first_rejected.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(rejection);
    }
}

impl Asked<'_> {
    /// Writes the texts as the child reads them, until all are written or it is `over`.
    pub(crate) fn feed(&self, texts: &Texts<'_>, over: &dyn Fn() -> bool, into: &mut dyn Write) -> Result<()> {
        let Texts { new, read, .. } = texts;
        let mut put = |text: String, labels: Option<Vec<String>>| -> Result<()> {
            serde_json::to_writer(&mut *into, &LabelledText { text, labels }).map_err(std::io::Error::from)?;
            into.write_all(b"\n")?;
            read.texts.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let Some(corpus) = &self.corpus else {
            return comparison_texts(new.max_length).into_iter().try_for_each(|text| put(text, None));
        };
        let template: Template = new.template.parse()?;
        let (rows, reader) = read_ahead(corpus.clone().with_label_kinds(texts.kind.iter().cloned().collect()));
        while !over() {
            let (row, bytes) = match rows.recv_timeout(LOOK_EVERY) {
                Ok(next) => next,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    reader.join().map_err(|_| anyhow!("the reading of the corpus ended in a panic"))?;
                    break;
                }
            };
            match row? {
                Row::Paper(paper) => {
                    let text = template.render(&paper.text, &new.sep_token).text;
                    put(text, paper.labels.into_iter().next().flatten().and_then(texts_of))?;
                }
                Row::Rejected(rejection) => read.reject(rejection),
            }
            read.bytes.store(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The share of the comparison that is done, 0 to 1, when `compared` texts are: the share of the corpus that was read,
    /// less what was read ahead. 0 where its size is not known.
    pub(crate) fn share(&self, read: &Read, compared: u64) -> f64 {
        let part = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let Some(corpus) = &self.corpus else { return 0.0 };
        let texts = read.texts.load(Ordering::Relaxed);
        let by_rows = part(texts, self.corpus_args.and_then(|args| args.limit).unwrap_or(0));
        let read = part(read.bytes.load(Ordering::Relaxed), corpus.total_bytes()).max(by_rows);
        (read * part(compared, texts)).min(1.0)
    }

    /// Says what the reading of the corpus left to say.
    pub(crate) fn warn(&self, read: &Read) {
        for warning in self.corpus.iter().flat_map(Corpus::take_warnings) {
            remark(&format!("warning: {warning}"));
        }
        let rejected = read.rejected.load(Ordering::Relaxed);
        let first = read.first_rejected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Rejection { origin, reason, .. }) = &*first {
            let verbs =
                ("cannot be used and was passed over,", "cannot be used and were passed over, the first of them");
            let rows = counted_that(rejected, "row", verbs);
            remark(&format!("warning: {rows} {origin}: {reason}"));
        }
    }
}

/// A row, and the bytes that were read up to it.
type RowRead = (Result<Row, paper::Error>, u64);

/// The rows. A thread reads them that nobody waits for: a pipe may stay open for ever without another row.
fn read_ahead(corpus: Corpus) -> (Receiver<RowRead>, JoinHandle<()>) {
    let (give, rows) = sync_channel(ROWS_AHEAD);
    let reader = thread::spawn(move || {
        let rows = corpus.rows();
        let bytes = rows.progress();
        for row in rows {
            if give.send((row, bytes.load(Ordering::Relaxed))).is_err() {
                return;
            }
        }
    });
    (rows, reader)
}

/// The label or labels; numbers are none.
pub(super) fn texts_of(label: Label) -> Option<Vec<String>> {
    match label {
        Label::One(label) => Some(vec![label]),
        Label::Several(labels) => Some(labels),
        Label::Numbers(_) => None,
    }
}
