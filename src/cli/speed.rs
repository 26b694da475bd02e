//! How fast a run is, and nothing else of it: the flags for sessions, memory and `--tune`, and what comes of them. What
//! a measurement found is kept in the cache folder and used until a flag says otherwise. Invariant: no flag here changes
//! a bit of any vector.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use offprint::encode::{
    Account, BundleEncoder, EncodeOptions, Race, SessionCount, Setting, TokenBudget, TuneJob, TuneKey, TuneStep, Tuned,
    first_texts, keep_tuned, kept_tuned, tune, tuned_before,
};
use offprint::paper::Corpus;
use offprint::runtime::tensorrt::Gpu;
use offprint::runtime::{
    Machine, MemoryPreset, OnnxRuntime, Provider, ProviderChoice, default_sessions, divide_threads,
};
use serde::Serialize;

use super::encode_args::EncodeArgs;
use super::progress::Display;
use super::say::remark;
use super::signals::Stop;
use super::{places, user_error};

/// Rows whose texts are measured with.
const TEXTS: usize = 512;

/// Flags of every command that fills batches.
#[derive(Debug, Clone, Args)]
pub(crate) struct SpeedArgs {
    /// Sessions that run batches side by side; the threads are divided among them, weights are shared [default: 1, or one
    /// for each NUMA node of the machine; on several devices one for each at least]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub sessions: Option<u16>,

    /// What a session on the CPU provider keeps between two batches: low (nothing; asking the system for memory again and
    /// again takes time), balanced (the memory of its largest batch) or fast (also a plan for each shape of a batch, which
    /// can only pay where few shapes come again and again). Vectors are the same
    #[arg(long, value_name = "PRESET", default_value_t = MemoryPreset::default())]
    pub memory: MemoryPreset,

    /// Measure which number of sessions and which budget of a batch are fastest here, on the first rows of the corpus,
    /// for about so many seconds [25 without a number; a slow model takes longer, which is said], and use that in this and
    /// every later run with the same bundle, processor, threads and ONNX Runtime
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "25",
        value_parser = clap::value_parser!(u16).range(1..=3_600),
        conflicts_with_all = ["sessions", "max_batch_tokens"]
    )]
    pub tune: Option<u16>,
}

/// How a run is going to compute.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub sessions: SessionCount,
    pub budget: TokenBudget,
    threads: usize,
    memory: MemoryPreset,
}

impl Settled {
    /// How a run with this account computed: the budget may be that of the provider which ran.
    pub(crate) fn of(&self, account: &Account) -> Settings {
        let ran = account.selection.provider.as_ref();
        let tuned_on = self.sessions.tuned_on();
        // Where nothing had to be computed: as it would have been.
        let choice = ran.map_or(tuned_on.unwrap_or_default(), |provider| provider.choice);
        // Where several devices were named each has a session, and that one a thread.
        let least = ran.map_or(1, Provider::least_sessions);
        let sessions = self.sessions.on(choice).max(least);
        let setting = Setting { sessions, batch_tokens: self.budget.on(choice).tokens() };
        let threads = self.threads.max(least);
        // The preset is for the CPU provider: any other runs without it.
        let on_cpu = ran.is_none_or(|provider| provider.choice == ProviderChoice::Cpu);
        let memory = if on_cpu { self.memory } else { MemoryPreset::default() };
        Settings { setting, threads, memory: memory.to_string(), tuned: tuned_on == Some(choice) }
    }
}

/// How a run computed, as `--json` and the report page state it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Settings {
    #[serde(flatten)]
    setting: Setting,
    /// Threads of all sessions together.
    threads: usize,
    memory: String,
    /// Whether a measurement chose the setting.
    tuned: bool,
}

impl Settings {
    /// What the account says of it: nothing, where nothing was chosen.
    pub(crate) fn fact(&self) -> Option<(String, String)> {
        let balanced = self.memory == MemoryPreset::default().name();
        let name = match self.tuned {
            true => "tuned",
            false if self.setting.sessions > 1 || !balanced => "settings",
            false => return None,
        };
        Some((name.to_owned(), self.words()))
    }

    /// In words.
    pub(crate) fn words(&self) -> String {
        let memory = if self.memory == MemoryPreset::default().name() {
            String::new()
        } else {
            format!(", memory {}", self.memory)
        };
        format!("{}{memory}", words(self.setting, self.threads))
    }
}

fn words(setting: Setting, threads: usize) -> String {
    setting.describe(threads).unwrap_or_else(|error| error.to_string())
}

/// What is known of a run before it is settled how it computes.
pub(crate) struct Unsettled<'a> {
    pub args: &'a EncodeArgs,
    pub corpus: &'a Corpus,
    pub encoder: &'a BundleEncoder,
    pub options: &'a EncodeOptions,
    pub stop: &'a Stop,
}

impl Unsettled<'_> {
    /// Settles it: by the flags, else by a measurement now or one that was kept, else by the defaults.
    pub(crate) fn settle(&self) -> Result<Settled> {
        let (flags, threads) = (&self.args.speed, self.encoder.threads);
        let sessions = flags.sessions.map_or_else(|| default_sessions(threads, self.encoder.nodes.len()), usize::from);
        divide_threads(threads, sessions)?;
        let tuned = if let Some(seconds) = flags.tune {
            self.measure(sessions, seconds)?
        } else if flags.sessions.is_none() && self.args.max_batch_tokens.is_none() {
            self.kept()
        } else {
            None
        };
        let (memory, untuned) = (flags.memory, self.options.budget);
        let (sessions, budget) = match tuned {
            Some(Tuned { provider, race: Race { setting, .. } }) => (
                SessionCount::from(sessions).tuned(setting.sessions, provider),
                untuned.tuned(setting.batch_tokens, provider),
            ),
            None => (sessions.into(), untuned),
        };
        Ok(Settled { sessions, budget, threads, memory })
    }

    /// Measures and keeps what was found; `None` if a signal stopped it.
    fn measure(&self, sessions: usize, seconds: u16) -> Result<Option<Tuned>> {
        if self.corpus.total_bytes() == 0 {
            let what = "`--tune` reads the first rows twice, and a pipe can be read once";
            return Err(user_error(what, "tune with a file of such papers: later runs use what was found"));
        }
        let texts = (&self.options.template, self.options.sep.as_str());
        let texts = first_texts(self.corpus, texts, &self.options.adapters, TEXTS)?;
        let threads = self.encoder.threads;
        let mut display = Display::new();
        let job = TuneJob {
            open: &|counts: &[usize]| self.encoder.open_for_each(counts),
            texts: &texts,
            sessions,
            budget: self.options.budget,
            threads,
            seconds: seconds.into(),
            stop: self.stop.flag(),
        };
        let mut show = |step: TuneStep| match step {
            TuneStep::Begins { settings, seconds } => {
                remark(&format!("tuning: {settings} settings, for about {} s", seconds.ceil()));
            }
            TuneStep::Ran { setting, share } => display.show(share, &words(setting, threads), String::new),
        };
        let Some(tuned) = tune(&job, &mut show)? else { return Ok(None) };
        drop(display);
        if let Err(error) = keep_tuned(&self.folder()?, &self.key()?, &tuned) {
            remark(&format!("warning: what was tuned holds for this run only: {error}"));
        }
        let Race { setting, default, times_as_fast: times, ref measured, .. } = tuned.race;
        let settings = measured.len();
        remark(&if setting == default {
            format!("tuned: none of {settings} settings is clearly faster than the default")
        } else {
            format!("tuned: {}: {times:.2} times as fast as {}", words(setting, threads), words(default, threads))
        });
        Ok(Some(tuned))
    }

    /// What an earlier run kept, if it still fits this one.
    fn kept(&self) -> Option<Tuned> {
        let folder = self.folder().ok()?;
        // Only then is the library looked for, which an all-cached run never opens.
        if !tuned_before(&folder, &self.encoder.fingerprint().hash()) {
            return None;
        }
        match kept_tuned(&folder, &self.key().ok()?) {
            Ok(kept) => kept,
            Err(error) => {
                remark(&format!("warning: what was tuned is not used: {error}; `--tune` writes it anew"));
                None
            }
        }
    }

    fn folder(&self) -> Result<PathBuf> {
        Ok(places::tune_dir(&places::cache_dir(self.args.cache_dir.as_deref())?))
    }

    fn key(&self) -> Result<TuneKey> {
        let (_, runtime_version, _) = OnnxRuntime::find(self.encoder.ort_lib.as_deref())?;
        let machine = Machine::read();
        let providers = &self.encoder.provider;
        let named = providers.named();
        let on_gpu = named.iter().find(|provider| provider.choice.has_devices());
        let device = on_gpu.map(Provider::first_device).or(providers.is_auto().then_some(0));
        let options = named.iter().flat_map(|provider| {
            provider.options.iter().map(move |(key, value)| format!("{}.{key}={value}", provider.choice))
        });
        Ok(TuneKey {
            fingerprint: self.encoder.fingerprint().hash(),
            provider: providers.to_string(),
            provider_options: options.collect(),
            gpu: device.and_then(Gpu::read).map(|gpu| gpu.name),
            cpu: machine.cpu_summary(),
            threads: self.encoder.threads,
            core_quota: machine.core_quota,
            memory: self.args.speed.memory.to_string(),
            runtime_version,
        })
    }
}
