//! The hidden command behind `offprint export`: a child process runs the new graph, so that a graph that brings ONNX
//! Runtime down ends an export with an error and not the program.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use offprint::encode::{BundleEncoder, check_encoder};
use offprint::model::Bundle;
use offprint::runtime::ProviderChoice;

use super::Status;
use super::say::say;

/// Run a bundle on built-in texts and print what was measured as JSON
#[derive(Debug, Args)]
pub(crate) struct SelfCheckArgs {
    /// Folder of the bundle
    bundle: PathBuf,

    /// ONNX Runtime library to load
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,
}

pub(crate) fn run(args: &SelfCheckArgs) -> Result<Status> {
    let bundle = Bundle::open(&args.bundle)?;
    let normalized = bundle.manifest.normalize;
    let encoder = BundleEncoder { bundle, ort_lib: args.ort_lib.clone(), provider: ProviderChoice::Cpu, threads: 1 };
    say(&serde_json::to_string(&check_encoder(&encoder, normalized)?)?)?;
    Ok(Status::Done)
}
