//! Flags of every command that turns texts into embeddings: the bundle, the cache, where and how it runs.

use std::path::PathBuf;

use clap::Args;

use super::adapter_args::AdapterArgs;
use super::fallback::ProviderArgs;
use super::hub::HubArgs;
use super::speed::SpeedArgs;

/// Seconds after which computed embeddings are safe, where the user says nothing.
pub(crate) const PART_SECONDS: u64 = 15;

#[derive(Debug, Args)]
#[command(next_help_heading = "Encoder")]
pub(crate) struct EncodeArgs {
    /// Folder of the bundle that `offprint export` made, a recipe's name (specter2, specter, scincl, scibert,
    /// all-minilm-l6-v2, all-minilm-l12-v2) or a hub id, which is downloaded and exported once into the cache folder
    #[arg(short, long, alias = "model-id", value_name = "BUNDLE")]
    pub model: String,

    #[command(flatten)]
    pub hub: HubArgs,

    #[command(flatten)]
    pub adapter: AdapterArgs,

    #[command(flatten)]
    pub provider: ProviderArgs,

    /// ONNX Runtime library to load [default: searched for; `offprint doctor` shows where]
    #[arg(long, value_name = "FILE")]
    pub ort_lib: Option<PathBuf>,

    /// Padded tokens of a batch (longest text × texts) [default: 1024, 16384 on cuda, tensorrt, coreml and
    /// directml; or the bundle's max length if that is more]
    #[arg(long, value_name = "N")]
    pub max_batch_tokens: Option<usize>,

    /// Threads that compute, tokenization included; files are read and written beside them [default: the cores, or what
    /// the cgroup quota allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,

    #[command(flatten)]
    pub speed: SpeedArgs,

    /// Folder of the embedding cache [default: offprint in the user's cache folder]
    #[arg(long, value_name = "DIR", help_heading = "Cache")]
    pub cache_dir: Option<PathBuf>,

    /// Neither look up embeddings nor keep them
    #[arg(long, help_heading = "Cache")]
    pub no_cache: bool,

    /// Seconds after which computed embeddings are safe on disk: the most that a kill loses
    #[arg(long, value_name = "S", default_value_t = PART_SECONDS, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Cache")]
    pub part_seconds: u64,

    /// Where rows that cannot be used are written, with the reason [default: <output>.rejects.jsonl; without an output, in the cache folder]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub rejects: Option<PathBuf>,

    /// Exit with status 0 even if rows were rejected
    #[arg(long, help_heading = "Output")]
    pub allow_rejects: bool,

    /// Write report.json and report.html into this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub report: Option<PathBuf>,

    /// Print the account as one JSON object on stdout
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}
