//! The second stage: runs the batches of a window on the sessions, one thread each, and hands every finished batch to
//! the cache at once, so that what a kill can lose is bounded by the age of the open part and not by the window. A batch
//! that fails is halved until the texts at fault are alone; they are refused and the others computed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::account::{Progress, StageClock};
use super::adapters::{Caches, RowAdapters};
use super::prepare::{Machinery, Source, Window};
use super::rescue::{Health, RunBudget, reason};
use super::turns::Turns;
use super::{Encoding, Error, assemble_within};
use crate::cache::RowMeta;
use crate::runtime::{self, Batch, RunBatch};

/// What became of the texts of a window, by their number in it.
#[derive(Default)]
pub(super) struct Computed {
    /// Row-major vectors; empty if nobody asked for them.
    pub vectors: Vec<f32>,
    /// Whether the text was computed: all of them but the refused ones, unless the run was stopped.
    pub done: Vec<bool>,
    /// Texts that could not be run, and why.
    pub refused: BTreeMap<usize, String>,
    /// Tokens of the computed texts, without and with padding.
    pub useful_tokens: u64,
    pub padded_tokens: u64,
}

/// What the threads of this stage share.
pub(super) struct InferContext<'a> {
    pub caches: Caches<'a>,
    pub adapters: &'a RowAdapters,
    pub progress: &'a Progress,
    pub stopped: &'a (dyn Fn() -> bool + Sync),
    pub clock: &'a StageClock,
    pub turns: &'a Turns,
    pub budget: &'a RunBudget,
    pub health: &'a Health,
    pub dim: usize,
    /// Whether the vectors are wanted in memory, and not in the caches alone.
    pub keep: bool,
}

/// Facts about an encoding that outlive its token ids.
pub(super) fn row_meta(encoding: &Encoding) -> RowMeta {
    RowMeta {
        n_tokens: u32::try_from(encoding.ids.len()).unwrap_or(u32::MAX),
        n_dropped: encoding.n_dropped,
        title_cut: encoding.title_cut,
    }
}

/// Runs all batches of `window`. After an error the batches under way are finished and the first error is given.
pub(super) fn run_window(
    window: &Window,
    machinery: &mut Machinery,
    context: &InferContext<'_>,
) -> Result<Computed, Error> {
    let texts = window.encodings.len();
    let vectors = if context.keep { vec![0.0; texts * context.dim] } else { Vec::new() };
    if window.sources.iter().any(|source| matches!(source, Source::Cached)) {
        context.health.works();
    }
    let worker = Worker {
        window,
        context,
        pad_id: machinery.pad_id,
        letter: &machinery.letter,
        next: AtomicUsize::new(0),
        computed: Mutex::new(Computed { vectors, done: vec![false; texts], ..Computed::default() }),
        failure: Mutex::new(None),
    };
    let started = Instant::now();
    match machinery.sessions.as_mut_slice() {
        [only] => worker.run(only.as_mut()),
        several => std::thread::scope(|scope| {
            for session in several {
                let worker = &worker;
                scope.spawn(move || worker.run(session.as_mut()));
            }
        }),
    }
    context.clock.add(started.elapsed());
    match into_inner(worker.failure) {
        Some(error) => Err(error),
        None => Ok(into_inner(worker.computed)),
    }
}

/// The work of one window, shared by the session threads.
struct Worker<'a> {
    window: &'a Window,
    context: &'a InferContext<'a>,
    pad_id: u32,
    letter: &'a Encoding,
    next: AtomicUsize,
    computed: Mutex<Computed>,
    failure: Mutex<Option<Error>>,
}

impl Worker<'_> {
    /// Takes batches until there are none, the run is stopped, or one fails on any thread.
    fn run(&self, session: &mut dyn RunBatch) {
        while !(self.context.stopped)() && lock(&self.failure).is_none() {
            let Some(batch) = self.window.plan.batches.get(self.next.fetch_add(1, Ordering::Relaxed)) else { return };
            if let Err(error) = self.run_batch(session, batch) {
                lock(&self.failure).get_or_insert(error);
            }
        }
    }

    /// Runs a batch, whole or in parts, and refuses the texts of it that fail alone.
    fn run_batch(&self, session: &mut dyn RunBatch, batch: &[usize]) -> Result<(), Error> {
        let mut refused: Vec<(usize, runtime::Error)> = Vec::new();
        let mut session_works = false;
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            let budget = self.context.budget.now();
            // Cut before memory ran out elsewhere.
            if part.len() > 1 && self.cost(part) > budget.tokens() {
                push_halves(part, &mut parts);
                continue;
            }
            let Some(error) = self.attempt(session, part)? else { continue };
            if !session_works && self.letter_fails(session, part) {
                return Err(Error::SessionFails { source: error });
            }
            session_works = true;
            if let &[text] = part {
                // A failure that does not come again is no fault of the text.
                refused.extend(self.attempt(session, part)?.map(|error| (text, error)));
                continue;
            }
            if error.is_out_of_memory() {
                self.context.budget.halve(budget);
            }
            push_halves(part, &mut parts);
        }
        self.refuse(refused, batch.len())
    }

    /// Padded tokens of a batch of these texts.
    fn cost(&self, texts: &[usize]) -> usize {
        self.context.budget.now().cost(texts.iter().map(|&text| self.window.encodings[text].ids.len()))
    }

    /// Whether the session fails at the shortest text that there is, too, run as the batch's first one would be. A
    /// refusal that is no failure, such as that of a shape, says nothing.
    fn letter_fails(&self, session: &mut dyn RunBatch, batch: &[usize]) -> bool {
        let letter = Batch { adapters: self.adapters(&batch[..1]), ..self.assemble(&[self.letter]) };
        let _turn = self.context.turns.of_session();
        session.run(&letter).is_err_and(|error| error.may_be_of_a_text())
    }

    /// Notes the texts of a batch that could not be run. An error if these are too many to be the texts' fault.
    fn refuse(&self, refused: Vec<(usize, runtime::Error)>, of_batch: usize) -> Result<(), Error> {
        let all = refused.len() == of_batch;
        let mut computed = lock(&self.computed);
        let mut last = None;
        for (text, error) in refused {
            computed.refused.insert(text, reason(&error));
            last = Some(error);
        }
        match last {
            Some(error) if all => self.context.health.batch_failed(of_batch, error),
            _ => Ok(()),
        }
    }

    fn assemble(&self, encodings: &[&Encoding]) -> Batch {
        assemble_within(self.context.budget.now(), encodings, self.pad_id)
    }

    fn adapters(&self, texts: &[usize]) -> Vec<i64> {
        self.context.adapters.of_rows(texts.iter().map(|&text| self.window.compute_keys[text].adapter))
    }

    /// Runs texts together; gives the failure where one of them may have caused it.
    fn attempt(&self, session: &mut dyn RunBatch, part: &[usize]) -> Result<Option<runtime::Error>, Error> {
        match self.run_part(session, part) {
            Ok(()) => Ok(None),
            Err(Error::Runtime(error)) if error.may_be_of_a_text() => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }

    fn run_part(&self, session: &mut dyn RunBatch, part: &[usize]) -> Result<(), Error> {
        let encodings: Vec<&Encoding> = part.iter().map(|&text| &self.window.encodings[text]).collect();
        let input = Batch { adapters: self.adapters(part), ..self.assemble(&encodings) };
        let turn = self.context.turns.of_session();
        let matrix = session.run(&input)?;
        drop(turn);
        self.context.health.works();
        let vectors = matrix.data.chunks_exact(self.context.dim);
        let caches = self.context.caches;
        for ((&text, encoding), vector) in part.iter().zip(&encodings).zip(vectors.clone()) {
            caches.append(self.window.compute_keys[text], vector, row_meta(encoding))?;
        }
        caches.tick()?;
        let tokens = encodings.iter().map(|encoding| encoding.ids.len() as u64).sum();
        let mut computed = lock(&self.computed);
        computed.useful_tokens += tokens;
        computed.padded_tokens += (input.rows * input.columns) as u64;
        for (&text, vector) in part.iter().zip(vectors) {
            computed.done[text] = true;
            if self.context.keep {
                let start = text * self.context.dim;
                computed.vectors[start..start + self.context.dim].copy_from_slice(vector);
            }
        }
        self.context.progress.add_computed(part.len() as u64, tokens);
        let share = computed.padded_tokens as f64 / self.window.plan.padded_tokens.max(1) as f64;
        let bytes = self.window.end_bytes.saturating_sub(self.window.start_bytes) as f64 * share;
        self.context.progress.set_bytes(self.window.start_bytes + bytes as u64);
        Ok(())
    }
}

/// The first half of a batch comes next.
fn push_halves<'a>(batch: &'a [usize], parts: &mut Vec<&'a [usize]>) {
    let (first, second) = batch.split_at(batch.len().div_ceil(2));
    parts.push(second);
    parts.push(first);
}

/// A poisoned lock means that a session thread panicked; its panic is passed on when the scope ends.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
