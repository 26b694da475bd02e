//! The hidden command behind `offprint fuse`: a child process runs the bundle with its heads and the graph that both
//! became, so that a graph that brings ONNX Runtime down ends a fusion with an error and not the program.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use offprint::encode::BundleEncoder;
use offprint::evaluate::{FusedAgreement, fused_agreement};
use offprint::heads::Head;
use offprint::model::Bundle;
use offprint::runtime::{Fallback, ProviderChoice};

use super::super::Status;
use super::super::export::{run_to_end, this_program};
use super::super::say::say;
use super::super::signals::Stop;

/// Compare a bundle and heads with the bundle that they were fused into and print what was measured as JSON
#[derive(Debug, Args)]
pub(crate) struct FuseCheckArgs {
    /// Folder of the bundle without the heads
    bundle: PathBuf,

    /// Folder of the bundle with them
    fused: PathBuf,

    /// The heads, in the order in which they were fused
    heads: Vec<PathBuf>,

    /// ONNX Runtime library to load
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,
}

pub(crate) fn run(args: &FuseCheckArgs) -> Result<Status> {
    let open = |folder: &Path| {
        let bundle = Bundle::open(folder)?;
        let (provider, fallback) = (ProviderChoice::Cpu, Some(Fallback::Allow));
        Ok(BundleEncoder { bundle, ort_lib: args.ort_lib.clone(), provider, fallback, threads: 1 })
    };
    let [plain, fused]: [Result<BundleEncoder>; 2] = [&args.bundle, &args.fused].map(|folder| open(folder));
    let heads = args.heads.iter().map(|file| Ok(Head::load(file)?)).collect::<Result<Vec<_>>>()?;
    say(&serde_json::to_string(&fused_agreement(&plain?, &fused?, &heads)?)?)?;
    Ok(Status::Done)
}

/// What is asked of the child.
pub(super) struct Asked<'a> {
    /// Files of the heads, in their order.
    pub heads: &'a [&'a Path],
    pub ort_lib: Option<&'a Path>,
    /// Asks it to give up.
    pub stop: &'a Stop,
}

/// Measures in a process of its own.
pub(super) fn in_child(plain: &Path, fused: &Path, asked: &Asked<'_>) -> Result<FusedAgreement> {
    let mut command = this_program("fuse-check", asked.ort_lib)?;
    command.arg("--").arg(plain).arg(fused).args(asked.heads);
    let output = run_to_end(command, &|| asked.stop.signal().is_some())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("error: ");
        if said.is_empty() {
            bail!("the check of the fused graph ended with {}", output.status);
        }
        bail!("the fused graph failed its check; nothing was written\n  cause: {said}");
    }
    serde_json::from_slice(&output.stdout).context("could not read the result of the graph's check")
}
