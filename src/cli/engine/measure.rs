//! What `engine plan` and `engine build` have in common: the bundle is opened, the corpus is cut into batches, and the
//! machine is asked what engines would be built with.

use anyhow::{Context, Result};
use indicatif::HumanCount;
use offprint::encode::{CorpusShapes, ShapeOptions, TokenBudget, Tokenizer, WINDOW, corpus_shapes};
use offprint::model::Bundle;
use offprint::paper::Corpus;
use offprint::runtime::tensorrt::{EngineSetting, EngineStore, EngineTarget, Gpu, plan_profiles};
use offprint::runtime::{OnnxRuntime, Provider, ProviderChoice, default_threads};

use super::super::progress::Display;
use super::super::say::counted;
use super::super::signals::Stop;
use super::super::{places, user_error};
use super::EngineArgs;

/// What the flags name, checked as far as it can be before anything long begins.
pub(super) struct Prepared {
    pub bundle: Bundle,
    pub provider: Provider,
    pub budget: TokenBudget,
    pub corpus: Corpus,
    pub threads: usize,
}

/// A plan, with all that it was made of.
pub(super) struct Planned {
    pub bundle: Bundle,
    pub shapes: CorpusShapes,
    pub setting: EngineSetting,
    pub target: EngineTarget,
    pub gpu: Option<Gpu>,
    pub store: EngineStore,
}

/// Opens the bundle and the corpus. Nothing is kept half done by these commands: a signal ends the program at once.
pub(super) fn prepare(args: &EngineArgs) -> Result<Prepared> {
    let provider: Provider = args.provider.parse()?;
    if provider.choice != ProviderChoice::TensorRt {
        let what = format!("engines are TensorRT's, got `--provider {provider}`");
        return Err(user_error(what, "leave `--provider` out, or name a GPU with `--provider tensorrt:1`"));
    }
    if provider.devices.len() > 1 {
        let what = format!("engines are built on one GPU at a time, got `--provider {provider}`");
        return Err(user_error(what, "build them for one after the other; GPUs of one kind share theirs"));
    }
    let bundle = places::bundle(&args.model, &args.hub, args.output.cache_dir(), args.ort_lib.as_deref())?;
    let max_length = bundle.manifest.max_length;
    let tokens = args.max_batch_tokens.unwrap_or(provider.choice.batch_tokens().max(max_length));
    let budget = TokenBudget::new(tokens, max_length)?.on(provider.choice);
    let corpus = args.corpus.open(None, &[])?;
    let threads = args.threads.map_or_else(default_threads, usize::from);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("could not start the threads")?;
    Stop::on_signals()?.end_at_once();
    Ok(Prepared { bundle, provider, budget, corpus, threads })
}

/// Reads the corpus and plans.
pub(super) fn measure(args: &EngineArgs, prepared: Prepared) -> Result<Planned> {
    let Prepared { bundle, provider, budget, corpus, .. } = prepared;
    let max_length = bundle.manifest.max_length;
    let tokenizer = Tokenizer::open(&bundle.tokenizer_path(), max_length)?;
    let options = ShapeOptions {
        template: bundle.manifest.template.parse()?,
        sep: bundle.manifest.sep_token.clone(),
        budget,
        window: WINDOW,
    };
    let shapes = read(&corpus, &tokenizer, (&options, args.corpus.limit))?;
    let limits = budget.limits(WINDOW, usize::from(args.max_engines));
    let plan = plan_profiles(&shapes.histogram, limits)?;
    let gpu = Gpu::read(provider.first_device());
    let target = target(args, gpu.as_ref())?;
    let setting = EngineSetting::new(&bundle.manifest, plan);
    Ok(Planned { bundle, shapes, setting, target, gpu, store: args.output.store()? })
}

/// What engines would be built with here. A library that was named has to be there; else it is just not known.
fn target(args: &EngineArgs, gpu: Option<&Gpu>) -> Result<EngineTarget> {
    let onnxruntime = match (OnnxRuntime::find(args.ort_lib.as_deref()), &args.ort_lib) {
        (Ok((_, version, _)), _) => Some(version),
        (Err(error), Some(_)) => return Err(error.into()),
        (Err(_), None) => None,
    };
    Ok(EngineTarget::here(onnxruntime, gpu))
}

fn read(
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    (options, limit): (&ShapeOptions, Option<u64>),
) -> Result<CorpusShapes> {
    let mut display = Display::new();
    let bytes = corpus.total_bytes();
    let shapes = corpus_shapes(corpus, tokenizer, options, &mut |step| {
        let by_rows = limit.map_or(0.0, |limit| step.rows as f64 / limit.max(1) as f64);
        let by_bytes = if bytes == 0 { 0.0 } else { step.bytes as f64 / bytes as f64 };
        let what = format!("{} tokenized", counted(step.rows, "paper"));
        display.show(by_rows.max(by_bytes).min(1.0), &what, || {
            let all = (step.rows as f64 * bytes as f64 / step.bytes.max(1) as f64) as u64;
            format!("about {} papers, ", HumanCount(limit.map_or(all, |limit| limit.min(all))))
        });
    })?;
    Ok(shapes)
}
