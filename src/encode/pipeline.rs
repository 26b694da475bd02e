//! The three stages in a row, each in its own thread: prepare (read, look up, tokenize, plan) → infer (run, cache) →
//! finish (restore the order, account, hand on). A window passes through rendezvous channels, so that at most three
//! are in memory; the next one is read and tokenized while one is run, its tokenizer taking turns with the sessions.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ndarray::Array2;

use super::account::StageClock;
use super::adapters::{Caches, RowAdapters, RowKey};
use super::error::SinkError;
use super::finish::{Finisher, Inferred};
use super::infer::{Computed, InferContext, run_window};
use super::prepare::{Machinery, PrepareClocks, PrepareContext, Prepared, Preparer};
use super::rescue::{Health, RunBudget};
use super::turns::Turns;
use super::{Account, Error, OpenEncoder, Progress, TokenBudget};
use crate::cache::{EmbeddingCache, RowMeta};
use crate::paper::{Corpus, Paper, RejectsFile, Template};
use crate::runtime::memory_in_use;

/// Papers of a window in ordinary runs: enough that padding stays under 3 %, few enough to stay small.
pub const WINDOW: usize = 4_096;

/// How papers become texts and texts become batches.
#[derive(Debug, Clone)]
pub struct EncodeOptions {
    /// Renders title and abstract.
    pub template: Template,
    /// The tokenizer's separator token, as the template writes it.
    pub sep: String,
    /// Padded tokens of a batch.
    pub budget: TokenBudget,
    /// Papers of a window: sorted by length together and held in memory together.
    pub window: usize,
    /// The adapters that rows choose from; by default there is nothing to choose.
    pub adapters: RowAdapters,
}

/// A corpus to be encoded, with all that is needed for it.
pub struct EncodeJob<'a> {
    /// The papers.
    pub corpus: &'a Corpus,
    /// The encoder; opened when the first text is not in the cache.
    pub encoder: &'a dyn OpenEncoder,
    /// Where vectors are looked up and kept: one cache, or one for each of [`EncodeOptions::adapters`], in their order;
    /// without any all vectors are computed.
    pub caches: &'a [EmbeddingCache],
    /// Texts and batches.
    pub options: EncodeOptions,
    /// Where rejected rows are written; no file is made if there are none.
    pub rejects: PathBuf,
    /// Raised by a signal: batches under way are finished and the account is given.
    pub stop: &'a AtomicBool,
    /// Counters to watch.
    pub progress: &'a Progress,
}

impl EncodeJob<'_> {
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Finished rows, in the order of the corpus.
#[derive(Debug)]
pub struct EmbeddedWindow {
    /// The papers.
    pub papers: Vec<Paper>,
    /// Their embeddings, `papers.len()` × dim; 0 × dim for a sink that needs none.
    pub embeddings: Array2<f32>,
    /// What their embeddings are found by in the caches of the job, if there are any, once the run has ended well.
    pub keys: Vec<RowKey>,
    /// Tokens and truncation of each.
    pub metas: Vec<RowMeta>,
}

/// Takes finished windows, in the order of the corpus.
pub trait Sink {
    /// Takes one window; an error ends the run.
    fn window(&mut self, window: EmbeddedWindow) -> Result<(), SinkError>;

    /// Whether windows have to bring the embeddings, which are then copied for it. Asked once, before the first window.
    fn needs_embeddings(&self) -> bool {
        true
    }
}

/// Encodes a corpus: fills the cache, and hands every row to `sink` in the order of the corpus if there is one.
///
/// Rows that cannot be used are written to the rejects file and counted, and so are those whose text the encoder fails on
/// while it runs others. Where memory runs out the batches become smaller, and the account has a warning. After an
/// interruption (`job.stop`) the account has `interrupted` set and the sink has seen whole windows only.
///
/// # Errors
/// Caches that don't go with the adapters, a corpus that cannot be read to its end or has no row, an encoder that cannot
/// be opened or fails whatever the text, a cache or a sink that cannot be written. What was computed until then is in
/// the cache.
pub fn encode_corpus(job: &EncodeJob<'_>, sink: Option<&mut dyn Sink>) -> Result<Account, Error> {
    job.options.adapters.check(job.caches.len())?;
    let started = Instant::now();
    let (clocks, inference, turns) = (PrepareClocks::default(), StageClock::default(), Turns::default());
    let (budget, health) = (RunBudget::new(job.options.budget), Health::default());
    let rejects = Mutex::new(RejectsFile::new(&job.rejects));
    let shared = PrepareContext { clocks: &clocks, turns: &turns, budget: &budget, rejects: &rejects };
    let stopped = || job.stopped();
    let keeps = sink.as_ref().is_some_and(|sink| sink.needs_embeddings());
    let context = InferContext {
        caches: Caches(job.caches),
        adapters: &job.options.adapters,
        progress: job.progress,
        stopped: &stopped,
        clock: &inference,
        turns: &turns,
        budget: &budget,
        health: &health,
        dim: job.encoder.dim(),
        keep: keeps,
    };
    let mut finisher = Finisher::new(job, (sink, keeps), &rejects);
    let result = run_stages(job, shared, &context, &mut finisher);
    let Finisher { mut account, write, cut_short: unfinished, .. } = finisher;
    // Rows that were rejected before an error are worth knowing, too.
    let rejected = rejects.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
    let result = result.and_then(|cut_short| Ok(rejected.map(|_| cut_short)?));
    let caches = Caches(job.caches);
    let closed = if result.is_ok() && !job.stopped() { caches.finish() } else { caches.close_part() };
    if result.is_ok() {
        closed?;
    }
    let cut_short = result?;
    account.warnings.extend(job.corpus.take_warnings());
    account.warnings.extend(budget.warning());
    let others = job.corpus.rows_of_other_shards();
    if account.rows == 0 && others > 0 {
        account.warnings.push(format!("no row belongs to this shard; the corpus has {others}"));
    } else if account.rows == 0 && !cut_short && !unfinished {
        return Err(Error::EmptyCorpus { files: job.corpus.files().len() });
    }
    account.interrupted = cut_short || unfinished;
    account.stages.read = clocks.read.seconds();
    account.stages.tokenize = clocks.tokenize.seconds();
    account.stages.open = clocks.open.seconds();
    account.stages.inference = inference.seconds();
    account.stages.write = write.seconds();
    account.seconds = started.elapsed().as_secs_f64();
    account.peak_memory = memory_in_use().map_or(0, |memory| memory.peak);
    Ok(account)
}

/// Runs the three stages to their end; whether the run was stopped before the end of the corpus.
fn run_stages(
    job: &EncodeJob<'_>,
    shared: PrepareContext<'_>,
    context: &InferContext<'_>,
    finisher: &mut Finisher<'_, '_>,
) -> Result<bool, Error> {
    let (to_infer, prepared) = sync_channel::<Prepared>(0);
    let (to_finish, inferred) = sync_channel::<Inferred>(0);
    std::thread::scope(|scope| {
        let prepare = scope.spawn(|| prepare_all(Preparer::new(job, shared), to_infer));
        let infer = scope.spawn(move || infer_all(context, prepared, to_finish));
        let finished = inferred.iter().try_for_each(|window| finisher.finish(window));
        drop(inferred);
        // The first stage to fail hangs up on its neighbours, which then end without an error of their own.
        let inferred = join(infer);
        join(prepare).and_then(|cut_short| inferred.and(finished).map(|()| cut_short))
    })
}

/// How often the age of the open part is looked at while no window comes.
const LOOK_AFTER_PARTS: Duration = Duration::from_secs(1);

fn prepare_all(mut preparer: Preparer<'_>, to_infer: SyncSender<Prepared>) -> Result<bool, Error> {
    let sent = send_windows(&mut preparer, &to_infer);
    // Hanging up is what ends the next stage.
    drop(to_infer);
    sent.map(|()| preparer.cut_short())
}

fn send_windows(preparer: &mut Preparer<'_>, to_infer: &SyncSender<Prepared>) -> Result<(), Error> {
    while let Some(window) = preparer.next_window()? {
        if to_infer.send(window).is_err() {
            break;
        }
    }
    Ok(())
}

fn infer_all(
    context: &InferContext<'_>,
    prepared: Receiver<Prepared>,
    to_finish: SyncSender<Inferred>,
) -> Result<(), Error> {
    let mut machinery: Option<Machinery> = None;
    loop {
        let Prepared { window, machinery: opened } = match prepared.recv_timeout(LOOK_AFTER_PARTS) {
            Ok(prepared) => prepared,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                context.caches.tick()?;
                continue;
            }
        };
        let selection = opened.as_ref().map(|opened| opened.selection.clone());
        if let Some(opened) = opened {
            context.caches.set_origin(&opened.origin)?;
            machinery = Some(opened);
        }
        let computed = match &mut machinery {
            Some(machinery) => run_window(&window, machinery, context)?,
            None => Computed::default(),
        };
        context.caches.tick()?;
        let provider = machinery.as_ref().map(|machinery| machinery.origin.provider.clone());
        if to_finish.send(Inferred { window, computed, provider, selection }).is_err() {
            break;
        }
    }
    // Hanging up is what ends the stages on both sides.
    drop((prepared, to_finish));
    Ok(())
}

/// A panic in a stage is a panic of the run.
fn join<T>(handle: std::thread::ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
