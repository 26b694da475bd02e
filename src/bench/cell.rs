//! One round of one cell, in a process of its own: what is asked comes in as a job, what was measured goes out. Owns the
//! order of the measurements. Invariant: all figures of a round come from one opening of one encoder, and nothing is
//! measured of a provider other than the one that was asked for.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Error;
use super::gpu::{GpuMeter, GpuUse, cards_of};
use super::grid::{Batching, Setting};
use super::machine::{Machine, one_adapter};
use super::profiled::profile;
use super::ready::{Ready, Work, run_all};
use super::texts::{read_texts, write_vectors};
use super::warm_up::{WarmUp, warm_up};
use crate::encode::{
    BundleEncoder, EmbeddedWindow, EncodeJob, EncodeOptions, EngineUse, OpenEncoder, Progress, RowAdapters, Sink,
    SinkError, TokenBudget, WINDOW, encode_corpus,
};
use crate::graph::CostLaw;
use crate::model::Bundle;
use crate::paper::{Corpus, CorpusOptions, FieldMap, Template};
use crate::runtime::tensorrt::EngineStore;
use crate::runtime::{
    Batch, Fallback, Placement, Profile, Provider, ProviderChoice, ProviderList, memory_in_use, work_seconds,
};

/// Texts that are tokenized before the first batch runs.
const FIRST_TEXTS: usize = 64;
/// Batches that a session runs in a pass of the warm-up, at most.
pub(super) const WARM_UP_BATCHES: usize = 8;
/// Latencies that are kept of a round, at most.
const LATENCIES: usize = 200;

/// What one round of a cell needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CellJob {
    /// What is measured.
    pub setting: Setting,
    /// Folder of the bundle.
    pub bundle: PathBuf,
    /// The cache folder, where engines for TensorRT are.
    pub cache_dir: Option<PathBuf>,
    /// The ONNX Runtime library, where one was named.
    pub ort_lib: Option<PathBuf>,
    /// What the provider is told, `key=value` each; nothing on the CPU provider.
    pub provider_options: Vec<String>,
    /// The texts, a JSON object with `id` and `text` a line.
    pub texts: PathBuf,
    /// What a text costs, where the graph tells.
    pub law: Option<CostLaw>,
    /// Seconds that warming up may take.
    pub warm_up: f64,
    /// Whether the pipeline is measured before the bare loop; rounds alternate.
    pub pipeline_first: bool,
    /// Where the vectors of the texts are to be written.
    pub vectors: Option<PathBuf>,
    /// Whether the time of each operator is to be told, of a session opened for that after all else was measured.
    #[serde(default)]
    pub profile: bool,
}

/// What one round measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// ONNX Runtime's name of the provider that ran the graph.
    pub provider: String,
    /// The nodes of the graph by provider.
    pub nodes: Placement,
    /// Version of ONNX Runtime.
    pub runtime_version: String,
    /// What one pass computes.
    pub work: Work,
    /// Seconds to load the library, open the tokenizer and the sessions; a provider that compiles does so here, but for
    /// TensorRT, whose engines are built beforehand.
    pub open_seconds: f64,
    /// Seconds from the beginning of that until the vectors of the first batch were there.
    pub first_batch_seconds: f64,
    /// Seconds that building the engines took, whenever that was; absent on other providers than TensorRT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_build_seconds: Option<f64>,
    /// How the speed settled.
    pub warm_up: WarmUp,
    /// The bare loop over ready batches.
    pub inference: Timing,
    /// Milliseconds of batches in ascending order; at most 200, evenly taken.
    pub latencies: Vec<f64>,
    /// Tokenizing all texts; absent with batches of one shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenize: Option<Timing>,
    /// Reading, tokenizing, planning and running all texts; absent with batches of one shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Timing>,
    /// Largest resident memory of the process in bytes; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// What the graphics cards used during the bare loop; absent on other providers, and where nobody tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuUse>,
    /// What the operators took; absent where nobody asked, or where the provider runs the graph as one piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// How long something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Wall time.
    pub seconds: f64,
    /// Processor time on all threads.
    pub cpu_seconds: f64,
}

impl Timing {
    fn of<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<(Self, T), Error> {
        let (started, before) = (Instant::now(), work_seconds());
        let done = work()?;
        Ok((Self { seconds: started.elapsed().as_secs_f64(), cpu_seconds: work_seconds() - before }, done))
    }
}

/// Opens the bundle as the job says and measures one round.
///
/// # Errors
/// A bundle, library, provider or session that can't be opened; a failing batch; a provider that handed the graph on.
pub fn run_cell(job: &CellJob) -> Result<Round, Error> {
    let bundle = Bundle::open(&job.bundle)?;
    let max_length = bundle.manifest.max_length;
    let encoder = encoder(bundle, job)?;
    let mut round = measure(&encoder, max_length, job)?;
    let asked: Provider = job.setting.provider.parse()?;
    if round.provider != asked.choice.resolve() {
        return Err(Error::OtherProvider { asked: asked.choice.resolve().to_owned(), got: round.provider });
    }
    if job.profile {
        round.profile = profile(&encoder, &asked, job)?;
    }
    Ok(round)
}

/// The encoder of a job. Of several adapters all texts take the first: they cost the same. fp16 may be measured on the
/// CPU provider, too; nothing else falls back.
fn encoder(bundle: Bundle, job: &CellJob) -> Result<BundleEncoder, Error> {
    let provider = provider_with(&job.setting.provider, &job.provider_options)?;
    let on_cpu = provider.named().iter().all(|provider| provider.choice == ProviderChoice::Cpu);
    Ok(BundleEncoder {
        ort_lib: job.ort_lib.clone(),
        provider,
        fallback: on_cpu.then_some(Fallback::Allow),
        sessions: job.setting.sessions.into(),
        engines: engines(job, bundle.manifest.max_length),
        adapter: one_adapter(&bundle),
        ..BundleEncoder::on_cpu(bundle, job.setting.threads)
    })
}

/// The engines that TensorRT needs: built before, for all batches of the setting.
fn engines(job: &CellJob, max_length: usize) -> Option<EngineUse> {
    let (batch_tokens, batch_rows) = match job.setting.batches {
        Batching::Tokens(tokens) => (tokens, WINDOW),
        Batching::Fixed(shape) => (shape.rows * shape.tokens, shape.rows),
    };
    let store = EngineStore::in_cache(job.cache_dir.as_deref()?);
    let budget = TokenBudget::new(batch_tokens.max(max_length), max_length).ok()?.on(ProviderChoice::TensorRt);
    Some(EngineUse { store, budget, batch_rows })
}

/// A provider by its name with those of `options`, `key=value` or `provider.key=value` each, that it takes: none on the CPU
/// provider, and none that are for another one.
///
/// # Errors
/// A provider that is not known, or an option that it cannot take.
pub fn provider_with(name: &str, options: &[String]) -> Result<ProviderList, Error> {
    let provider: Provider = name.parse()?;
    let own: Vec<String> = options.iter().filter(|option| takes(&provider, option)).cloned().collect();
    Ok(ProviderList::from(provider).with_options(&own)?)
}

/// Whether an option is for a provider, by the name before it.
fn takes(provider: &Provider, option: &str) -> bool {
    let key = option.split('=').next().unwrap_or(option);
    let name = key.split_once('.').and_then(|(name, _)| name.parse::<ProviderChoice>().ok());
    provider.choice != ProviderChoice::Cpu && name.is_none_or(|name| name == provider.choice)
}

/// Measures any encoder.
fn measure(encoder: &dyn OpenEncoder, max_length: usize, job: &CellJob) -> Result<Round, Error> {
    let texts = read_texts(&job.texts)?;
    let started = Instant::now();
    let machine = Machine::open(encoder)?;
    let open_seconds = started.elapsed().as_secs_f64();
    let first = machine.encode(&texts[..texts.len().min(FIRST_TEXTS)])?;
    let sizes = (machine.pad_id(), max_length, machine.selection.choice());
    let first = Ready::of(&first, job.setting.batches, sizes, None)?;
    run_all(&first.batches.iter().take(1).collect::<Vec<_>>(), &machine.sessions[..1])?;
    let first_batch_seconds = started.elapsed().as_secs_f64();

    let (tokenize, encodings) = Timing::of(|| machine.encode(&texts))?;
    let ready = Ready::of(&encodings, job.setting.batches, sizes, job.law.as_ref())?;
    drop(encodings);
    let warm_up = warm_up_on(&machine, &ready, job.warm_up)?;
    let all: Vec<&Batch> = ready.batches.iter().collect();
    let whole_texts = matches!(job.setting.batches, Batching::Tokens(_));
    let pipeline = || if whole_texts { pipeline(&machine, max_length, job).map(Some) } else { Ok(None) };
    let before = if job.pipeline_first { pipeline()? } else { None };
    let meter = GpuMeter::start(&cards_of(&job.setting.provider));
    let pass = run_all(&all, &machine.sessions)?;
    let gpu = meter.and_then(GpuMeter::finish);
    let pipeline = if job.pipeline_first { before } else { pipeline()? };
    let peak_memory = memory_in_use().map(|memory| memory.peak);
    if let Some(path) = &job.vectors {
        write_vectors(path, &ready.vectors(&machine)?)?;
    }
    Ok(Round {
        provider: machine.origin.provider.clone(),
        nodes: machine.selection.placement.clone(),
        runtime_version: machine.origin.runtime_version.clone(),
        work: ready.work,
        open_seconds,
        engine_build_seconds: machine.engine_build_seconds,
        first_batch_seconds,
        warm_up,
        inference: Timing { seconds: pass.seconds, cpu_seconds: pass.cpu_seconds },
        latencies: evenly(&pass.latencies, LATENCIES),
        tokenize: whole_texts.then_some(tokenize),
        pipeline,
        peak_memory,
        gpu,
        profile: None,
    })
}

fn warm_up_on(machine: &Machine, ready: &Ready, limit: f64) -> Result<WarmUp, Error> {
    let some = ready.some(WARM_UP_BATCHES * machine.sessions.len());
    let tokens = some.iter().map(|batch| (batch.rows * batch.columns) as u64).sum();
    let started = Instant::now();
    let clock = || started.elapsed().as_secs_f64();
    warm_up(limit, &clock, &mut || run_all(&some, &machine.sessions).map(|_| tokens))
}

/// The whole way from a file to vectors that nobody keeps, on the sessions that are open, without a cache.
fn pipeline(machine: &Machine, max_length: usize, job: &CellJob) -> Result<Timing, Error> {
    struct Nowhere;
    impl Sink for Nowhere {
        fn window(&mut self, window: EmbeddedWindow) -> Result<(), SinkError> {
            drop(std::hint::black_box(window));
            Ok(())
        }
    }
    let Batching::Tokens(tokens) = job.setting.batches else { return Ok(Timing::default()) };
    let fields = FieldMap { text: Some("text".to_owned()), ..FieldMap::default() };
    let options = CorpusOptions { fields, ..CorpusOptions::default() };
    let corpus = Corpus::open(&[job.texts.display().to_string()], options)?;
    let encode = EncodeJob {
        corpus: &corpus,
        encoder: machine,
        caches: &[],
        options: EncodeOptions {
            template: Template::ModelCard,
            sep: String::new(),
            budget: TokenBudget::new(tokens, max_length)?,
            window: WINDOW,
            adapters: RowAdapters::default(),
        },
        rejects: rejects_beside(&job.texts),
        stop: &AtomicBool::new(false),
        progress: &Progress::default(),
    };
    let (timing, account) = Timing::of(|| Ok(encode_corpus(&encode, Some(&mut Nowhere))?))?;
    // Texts that the session fails on are rejected, and a rate of the others would be none of this setting.
    match account.rejected {
        0 => Ok(timing),
        rejected => Err(Error::Rejected { rejected, rows: account.rows }),
    }
}

fn rejects_beside(texts: &Path) -> PathBuf {
    texts.with_extension("rejects.jsonl")
}

/// At most `most` of ascending values, the least and the largest among them.
fn evenly(sorted: &[f64], most: usize) -> Vec<f64> {
    if sorted.len() <= most {
        return sorted.to_vec();
    }
    (0..most).map(|at| sorted[at * (sorted.len() - 1) / (most - 1)]).collect()
}

#[cfg(test)]
#[path = "cell_tests.rs"]
mod tests;
