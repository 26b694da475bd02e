//! The hidden command behind `offprint fuse`: a child process runs the bundle with its heads and the graph that both
//! became, so that a graph that brings ONNX Runtime down ends a fusion with an error and not the program.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use offprint::encode::BundleEncoder;
use offprint::evaluate::{FusedAgreement, fused_agreement};
use offprint::heads::Head;
use offprint::model::Bundle;
use offprint::runtime::Fallback;

use super::super::Status;
use super::super::adapter_args::AdapterArgs;
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

    /// The one of the bundle's several adapters that the heads were trained on
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,

    /// ONNX Runtime library to load
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,
}

pub(crate) fn run(args: &FuseCheckArgs) -> Result<Status> {
    let open = |folder: &Path| {
        let bundle = Bundle::open(folder)?;
        let flags = AdapterArgs { adapter: args.adapter.clone(), adapter_field: None };
        let adapter = flags.choose(&folder.display().to_string(), &bundle.manifest)?.choice();
        let (ort_lib, fallback) = (args.ort_lib.clone(), Some(Fallback::Allow));
        Ok(BundleEncoder { ort_lib, fallback, adapter, ..BundleEncoder::on_cpu(bundle, 1) })
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
    /// The one of the bundle's several adapters that they were trained on.
    pub adapter: Option<&'a str>,
    pub ort_lib: Option<&'a Path>,
    /// Asks it to give up.
    pub stop: &'a Stop,
}

/// Measures in a process of its own.
pub(super) fn in_child(plain: &Path, fused: &Path, asked: &Asked<'_>) -> Result<FusedAgreement> {
    let mut command = this_program("fuse-check", asked.ort_lib)?;
    if let Some(adapter) = asked.adapter {
        command.args(["--adapter", adapter]);
    }
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
