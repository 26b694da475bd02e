//! What `embed`, `train` and `classify` have in common: the bundle, the cache and the sessions are set up from the
//! flags, the corpus goes through them while progress is shown, and the account is printed.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use offprint::cache::{EmbeddingCache, Space, miss_reason};
use offprint::causes::on_one_line;
use offprint::encode::{
    Account, BundleClassifier, BundleEncoder, EncodeJob, EncodeOptions, EngineUse, OpenEncoder, Progress, Sink,
    TokenBudget, WINDOW, encode_corpus,
};
use offprint::model::{Bundle, Fingerprint, GraphHead, Identity, Manifest, MeasuredQuality, Precision};
use offprint::paper::{Corpus, Template};
use offprint::report::{HTML_FILE, Report};
use offprint::runtime::tensorrt::EngineStore;
use offprint::runtime::{Machine, ProviderChoice, default_threads, numa_nodes};
use serde::Serialize;
use serde_json::{Map, Value};

use super::adapter_args::Adapters;
use super::encode_args::EncodeArgs;
use super::fallback::{Ran, chosen, distance};
use super::progress::{Size, watched};
use super::say::{counted, counted_that, remark, say};
use super::signals::Stop;
use super::speed::{Settings, Settled, Unsettled};
use super::{Status, account, places, user_error};

/// A bundle, with its cache where vectors are wanted, ready for a corpus.
pub(crate) struct Run<'a> {
    args: &'a EncodeArgs,
    encoder: BundleEncoder,
    adapters: Adapters,
    caches: Vec<EmbeddingCache>,
    options: EncodeOptions,
    settled: Settled,
    rejects: PathBuf,
    stop: Stop,
}

impl<'a> Run<'a> {
    /// Checks the flags and opens the bundle; neither the cache nor ONNX Runtime nor the tokenizer is opened yet.
    /// Rejected rows go beside `output` where there is one. What could only fail at the end is tried now.
    pub(crate) fn new(args: &'a EncodeArgs, corpus: &Corpus, output: Option<&Path>) -> Result<Self> {
        Self::with_adapters(args, corpus, output, &|manifest| args.adapter.choose(&args.model, manifest))
    }

    /// The same, where more than the flags decides which adapter texts go through.
    pub(crate) fn with_adapters(
        args: &'a EncodeArgs,
        corpus: &Corpus,
        output: Option<&Path>,
        choose: &dyn Fn(&Manifest) -> Result<Adapters>,
    ) -> Result<Self> {
        let bundle = places::bundle(&args.model, &args.hub, args.cache_dir.as_deref(), args.ort_lib.as_deref())?;
        let adapters = choose(&bundle.manifest)?;
        let provider = args.provider.list()?;
        let max_length = bundle.manifest.max_length;
        let budget = args
            .max_batch_tokens
            .map_or_else(|| Ok(TokenBudget::of_provider(max_length)), |tokens| TokenBudget::new(tokens, max_length))?;
        let template: Template = bundle.manifest.template.parse()?;
        let sep = bundle.manifest.sep_token.clone();
        let threads = args.threads.map_or_else(default_threads, usize::from);
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("could not start the threads")?;
        let rejects = match (&args.rejects, output) {
            (Some(file), _) => file.clone(),
            (None, Some(output)) => places::beside(output, ".rejects.jsonl"),
            (None, None) => default_rejects(&places::cache_dir(args.cache_dir.as_deref())?),
        };
        places::Results { output, rejects: &rejects, report: args.report.as_deref() }.check(corpus)?;
        if let Some(folder) = &args.report {
            std::fs::create_dir_all(folder).with_context(|| format!("could not create `{}`", folder.display()))?;
        }
        let mut encoder = BundleEncoder {
            ort_lib: args.ort_lib.clone(),
            provider,
            fallback: args.provider.fallback,
            memory: args.speed.memory,
            nodes: numa_nodes(),
            adapter: adapters.choice(),
            engines: places::cache_dir(args.cache_dir.as_deref()).ok().map(|cache_dir| EngineUse {
                store: EngineStore::in_cache(&cache_dir),
                budget: budget.on(ProviderChoice::TensorRt),
                batch_rows: WINDOW,
            }),
            ..BundleEncoder::on_cpu(bundle, threads)
        };
        let mut options = EncodeOptions { template, sep, budget, window: WINDOW, adapters: adapters.of_rows() };
        let stop = Stop::on_signals()?;
        let settled = Unsettled { args, corpus, encoder: &encoder, options: &options, stop: &stop }.settle()?;
        encoder.sessions = settled.sessions;
        options.budget = settled.budget;
        Ok(Self { args, encoder, adapters, caches: Vec::new(), options, settled, rejects, stop })
    }

    /// Opens the cache of the bundle's vectors, or one for each adapter that rows may choose, unless the user wants none.
    pub(crate) fn with_cache(mut self) -> Result<Self> {
        if self.args.no_cache {
            return Ok(self);
        }
        let (root, dim) = (embeddings_of(self.args)?, self.bundle().manifest.dim);
        let space = |(adapter, fingerprint): (Option<String>, Fingerprint)| {
            (adapter, Space { fingerprint: fingerprint.hash(), dim, fields: fingerprint.fields().clone() })
        };
        let spaces: Vec<(Option<String>, Space)> = self.fingerprints().into_iter().map(space).collect();
        // All of them before the first is opened, which makes its folder.
        let misses: Vec<Option<String>> = spaces.iter().map(|(_, space)| miss_reason(&root, space)).collect();
        let age = Duration::from_secs(self.args.part_seconds);
        for ((adapter, space), miss) in spaces.iter().zip(misses) {
            let cache = EmbeddingCache::open(&root, space)?.with_part_age(age).sharing_memory_among(spaces.len());
            self.caches.push(cache);
            if let Some(reason) = miss {
                let what = adapter
                    .as_ref()
                    .map_or("this bundle".to_owned(), |name| format!("adapter `{name}` of this bundle"));
                remark(&format!("note: nothing in the cache for {what} yet; the nearest one differs in {reason}"));
            }
        }
        Ok(self)
    }

    /// What decides the bits of the vectors, for each adapter that they may come from.
    fn fingerprints(&self) -> Vec<(Option<String>, Fingerprint)> {
        let manifest = &self.bundle().manifest;
        let numbered = |fingerprint: Fingerprint| fingerprint.with_numerics(self.encoder.provider.numerics());
        let of_place =
            |(place, name): (usize, &String)| (Some(name.clone()), numbered(manifest.fingerprint_of(Some(place))));
        match &self.adapters {
            Adapters::NoChoice => vec![(None, numbered(manifest.fingerprint()))],
            Adapters::One { place, name } => vec![of_place((*place, name))],
            Adapters::ByRow(adapters) => adapters.names.iter().enumerate().map(of_place).collect(),
        }
    }

    /// Which function of a text all vectors of the run are.
    pub(crate) fn identity(&self) -> Result<Identity> {
        match self.adapters {
            Adapters::NoChoice | Adapters::One { .. } => Ok(self.encoder.identity()),
            Adapters::ByRow(_) => Err(user_error(
                "`--adapter-field` sends rows through several adapters, and a head fits the vectors of one",
                "choose it with `--adapter NAME`",
            )),
        }
    }

    /// What decides the bits of all vectors of the run; where rows choose their adapters, of no single one.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.encoder.fingerprint()
    }

    pub(crate) fn bundle(&self) -> &Bundle {
        &self.encoder.bundle
    }

    /// Where the vectors are kept, if they are.
    pub(crate) fn caches(&self) -> &[EmbeddingCache] {
        &self.caches
    }

    /// Sends the corpus through, prints the account, and says how the run ended.
    pub(crate) fn encode(&self, corpus: &Corpus, limit: Option<u64>, sink: Option<&mut dyn Sink>) -> Result<Account> {
        self.run_through(&self.encoder, (corpus, limit, sink))
    }

    /// Sends the corpus through heads in the bundle's own graph; the cache holds vectors only and is not open.
    pub(crate) fn classify(
        &self,
        heads: &[GraphHead],
        (corpus, limit): (&Corpus, Option<u64>),
        sink: &mut dyn Sink,
    ) -> Result<Account> {
        self.run_through(&BundleClassifier { encoder: &self.encoder, heads }, (corpus, limit, Some(sink)))
    }

    fn run_through(
        &self,
        encoder: &dyn OpenEncoder,
        (corpus, limit, sink): (&Corpus, Option<u64>, Option<&mut dyn Sink>),
    ) -> Result<Account> {
        let progress = Progress::default();
        let job = EncodeJob {
            corpus,
            encoder,
            caches: &self.caches,
            options: self.options.clone(),
            rejects: self.rejects.clone(),
            stop: self.stop.flag(),
            progress: &progress,
        };
        let size = Size { bytes: corpus.total_bytes(), limit };
        let account = watched(&progress, size, || encode_corpus(&job, sink));
        // From here on nobody looks at the flag any more: a signal ends the program at once.
        self.stop.end_at_once();
        let mut account = account?;
        if let Some(name) = self.adapters.name() {
            account.adapters.insert(name.to_owned(), account.embedded + account.cached);
        }
        if let Some(used) = &account.provider {
            let ran = Ran { asked: &self.encoder.provider, used, selection: &account.selection };
            account.warnings.extend(self.args.provider.warnings(ran, self.bundle().manifest.precision));
        }
        if account.repeated > 0 {
            let came = "came again with the id and text of an earlier one and";
            let verbs = (&*format!("{came} was kept"), &*format!("{came} were kept"));
            account.warnings.push(counted_that(account.repeated, "row", verbs));
        }
        for cache in &self.caches {
            account.warnings.extend(cache.take_warnings().iter().map(|warning| on_one_line(warning)));
        }
        Ok(account)
    }

    /// Prints the account: JSON on stdout where asked for, else a few lines on stderr.
    pub(crate) fn print(&self, account: &Account) -> Result<()> {
        self.print_with(account, Map::new())
    }

    /// The same with what else the JSON is to hold.
    pub(crate) fn print_with(&self, account: &Account, more: Map<String, Value>) -> Result<()> {
        for warning in &account.warnings {
            remark(&format!("warning: {warning}"));
        }
        if let Some(rejected) = self.rejected(account) {
            remark(&format!("warning: {rejected}"));
        }
        if self.args.json {
            say(&serde_json::to_string(&Printed {
                account,
                settings: self.settled.of(account),
                quality: self.measured(),
                more,
            })?)?;
        } else {
            remark(&self.describe(account));
        }
        Ok(())
    }

    /// How many rows were rejected and where they stand, if any were.
    pub(crate) fn rejected(&self, account: &Account) -> Option<String> {
        let rows = || counted_that(account.rejected, "row", ("was", "were"));
        let place = self.rejects.display();
        (account.rejected > 0).then(|| format!("{} rejected; each stands with its reason in {place}", rows()))
    }

    fn describe(&self, account: &Account) -> String {
        let provider = match &account.provider {
            Some(provider) => chosen(provider, &account.selection),
            None => "no provider (nothing had to be computed)".into(),
        };
        let mut lines = vec![format!(
            "{} in {} ({:.1} papers/s) on {provider}",
            counted(account.rows, "row"),
            account::seconds(account.seconds),
            account.papers_per_second(),
        )];
        if account.interrupted {
            let kept = match self.caches.first() {
                Some(_) => "what was computed is in the cache; the same command goes on from there",
                None if self.args.no_cache => "nothing was kept (`--no-cache`)",
                None => "nothing was kept (the cache holds vectors, not labels)",
            };
            lines.push(format!("  interrupted: {kept}"));
        }
        let facts = account::facts(account).into_iter().chain(distance(&self.bundle().manifest));
        let facts = facts.chain(self.settled.of(account).fact());
        lines.extend(facts.map(|(name, value)| format!("  {name}: {value}")));
        lines.join("\n")
    }

    /// What is known of the vectors where they are not fp32.
    fn measured(&self) -> Option<&MeasuredQuality> {
        let manifest = &self.bundle().manifest;
        let quality = manifest.quality.as_ref().filter(|_| manifest.precision != Precision::Fp32)?;
        quality.measured.as_ref()
    }

    /// How a run with this account ends.
    pub(crate) fn status(&self, account: &Account) -> Status {
        match self.stop.signal() {
            Some(signal) if account.interrupted => Status::Signal(signal),
            _ if account.rejected > 0 && !self.args.allow_rejects => Status::RowsRejected,
            _ => Status::Done,
        }
    }

    /// Writes the report page, where one was asked for: the sections of the command, then the account.
    pub(crate) fn write_report(&self, mut report: Report, account: &Account) -> Result<()> {
        let Some(folder) = &self.args.report else { return Ok(()) };
        let manifest = &self.bundle().manifest;
        report.push(account::section(account, manifest));
        report.push_environment("encoder", manifest.source.name.as_str());
        report.push_environment("pooling", manifest.pooling.to_string());
        report.push_environment("max length", manifest.max_length);
        for (adapter, fingerprint) in self.fingerprints() {
            let what = adapter.map_or("fingerprint".to_owned(), |name| format!("fingerprint of {name}"));
            report.push_environment(&what, fingerprint.hash());
        }
        report.push_environment("processor", Machine::read().cpu_summary());
        report.push_environment("threads", self.encoder.threads);
        report.push_environment("settings", self.settled.of(account).words());
        report.write(folder)?;
        remark(&format!("report: {}", folder.join(HTML_FILE).display()));
        Ok(())
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    account: &'a Account,
    settings: Settings,
    /// What was measured at export of a bundle that is not fp32.
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<&'a MeasuredQuality>,
    /// What the command adds.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// The folder of embeddings in the cache.
fn embeddings_of(args: &EncodeArgs) -> Result<PathBuf> {
    Ok(places::embeddings_dir(&places::cache_dir(args.cache_dir.as_deref())?))
}

/// A file of its own for each run, so that two runs don't overwrite each other's.
fn default_rejects(cache_dir: &Path) -> PathBuf {
    let folder = cache_dir.join("rejects");
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    folder.join(format!("{seconds}-{}.jsonl", std::process::id()))
}
