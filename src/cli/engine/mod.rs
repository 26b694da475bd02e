//! `offprint engine`: plans, builds, lists and removes TensorRT's engines.

mod build;
mod keep;
mod measure;
mod plan;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use offprint::runtime::tensorrt::{EngineStore, MAX_PROFILES};

use super::corpus_args::CorpusArgs;
use super::hub::HubArgs;
use super::{Status, places};

/// Plan and build TensorRT's engines, so that no run stops to build one
///
/// TensorRT compiles a graph for ranges of batch shapes, which takes minutes. `engine build` does it once, for every
/// batch that runs with a bundle and a token budget can make; `--provider tensorrt` then uses these engines, and a batch
/// that they are not built for is an error.
#[derive(Debug, Subcommand)]
pub(crate) enum EngineCommand {
    /// Show the engines that a bundle and a corpus ask for; needs neither TensorRT nor a GPU
    ///
    /// The corpus is tokenized and cut into batches as in a run. Every batch within the token budget lies in one of the
    /// planned ranges, whatever the texts; the corpus decides what the engines are tuned for, and a few thousand papers
    /// (`--limit 20000`) tell as much as all.
    Plan(EngineArgs),
    /// Build the engines and keep them in the cache folder
    ///
    /// A build that was stopped goes on with the engine it was at. Each engine is tried on its smallest and its largest
    /// batch, so that memory that does not suffice is found now.
    Build(EngineArgs),
    /// Show which engines the cache folder holds
    List(ListArgs),
    /// Remove engines: named ones, those nobody used for long, unfinished ones
    ///
    /// Engines go that fit all that is given; with `--keep-size` only as many of these as must. Engines that a process
    /// uses or builds stay.
    Prune(keep::PruneArgs),
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Encoder")]
pub(crate) struct EngineArgs {
    /// Folder of the bundle that `offprint export` made, a recipe's name or a hub id
    #[arg(short, long, alias = "model-id", value_name = "BUNDLE")]
    model: String,

    #[command(flatten)]
    hub: HubArgs,

    /// The GPU that engines are built for: tensorrt, or tensorrt:1 for the second one
    #[arg(long, value_name = "NAME", default_value = "tensorrt")]
    provider: String,

    /// ONNX Runtime library to load [default: searched for; `offprint doctor` shows where]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// Padded tokens of a batch (longest text × texts), the most that runs will use [default: 16384, or the bundle's
    /// max length if that is more]
    #[arg(long, value_name = "N")]
    max_batch_tokens: Option<usize>,

    /// The most engines: each takes minutes to build and keeps a copy of the weights on the GPU
    #[arg(long, value_name = "N", default_value_t = MAX_PROFILES as u8, value_parser = clap::value_parser!(u8).range(1..=MAX_PROFILES as i64))]
    max_engines: u8,

    /// Threads that tokenize [default: the cores, or what the cgroup quota allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,

    #[command(flatten)]
    corpus: CorpusArgs,

    #[command(flatten)]
    output: ListArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Folder of the cache, in which engines are kept [default: offprint in the user's cache folder]
    #[arg(long, value_name = "DIR", help_heading = "Cache")]
    cache_dir: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    json: bool,
}

impl ListArgs {
    fn cache_dir(&self) -> Option<&Path> {
        self.cache_dir.as_deref()
    }

    fn store(&self) -> Result<EngineStore> {
        Ok(EngineStore::in_cache(&places::cache_dir(self.cache_dir())?))
    }
}

pub(crate) fn run(command: &EngineCommand) -> Result<Status> {
    match command {
        EngineCommand::Plan(args) => plan::run(args),
        EngineCommand::Build(args) => build::run(args),
        EngineCommand::List(args) => keep::list(args),
        EngineCommand::Prune(args) => keep::prune(args),
    }
}
