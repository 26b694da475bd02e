//! `offprint doctor`: what this machine offers, where ONNX Runtime was looked for, and the way out for what is missing.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use indicatif::HumanBytes;
use offprint::runtime::{Doctor, Machine, Problem};

use super::say::say;
use super::{Status, places};

/// Show which ONNX Runtime was found and where it was looked for, the machine, and what is missing
///
/// Exit status 1 if embeddings could not be computed here.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// ONNX Runtime library to try first
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// Folder of the embedding cache [default: offprint in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<Status> {
    let doctor = Doctor::examine(args.ort_lib.as_deref(), Some(&places::cache_dir(args.cache_dir.as_deref())?));
    if args.json {
        say(&serde_json::to_string_pretty(&doctor)?)?;
    } else {
        say(&describe(&doctor))?;
    }
    Ok(if doctor.is_well() { Status::Done } else { Status::CheckFailed })
}

fn describe(doctor: &Doctor) -> String {
    let mut lines = vec![format!("offprint {}", doctor.version)];
    match &doctor.library {
        Some(library) => {
            lines.push(format!("ONNX Runtime {} at {} ({})", library.version, library.path.display(), library.place));
            lines.push(format!("  execution providers: {}", library.providers.join(", ")));
            lines.push(format!("  --provider may be {}", library.choices.join(", ")));
            let unusable = library.unusable.iter();
            lines
                .extend(unusable.map(|passed| format!("  {} cannot be used here: {}", passed.provider, passed.reason)));
        }
        None => lines.push("ONNX Runtime: not found".into()),
    }
    if !doctor.looked.is_empty() {
        lines.push("  looked at, in this order:".into());
        lines.extend(doctor.looked.iter().map(|tried| format!("    {tried}")));
    }
    lines.extend(describe_machine(&doctor.machine, doctor.default_threads));
    if let Some(cache) = &doctor.cache {
        let state = match (cache.exists, cache.writable) {
            (true, true) => "there, writable",
            (false, true) => "made at first use",
            (_, false) => "cannot be written",
        };
        lines.push(format!("cache folder: {} ({state})", cache.path.display()));
    }
    if doctor.is_well() {
        lines.push("all is well".into());
    }
    lines.extend(doctor.problems.iter().flat_map(describe_problem));
    lines.join("\n")
}

fn describe_machine(machine: &Machine, threads: usize) -> Vec<String> {
    let bytes = |bytes: Option<u64>| bytes.map_or("unknown".into(), |bytes| HumanBytes(bytes).to_string());
    let quota = machine.core_quota.map_or("no quota".into(), |quota| format!("cgroup quota {quota} cores"));
    let limit = machine.memory_limit.map_or(String::new(), |limit| format!(", cgroup limit {}", HumanBytes(limit)));
    vec![
        format!("processor: {}", machine.cpu),
        format!("  instruction sets: {}", machine.instruction_sets.join(" ")),
        format!("  {} cores, {quota}: {threads} threads by default", machine.logical_cores),
        format!("memory: {}{limit}", bytes(machine.memory)),
    ]
}

fn describe_problem(problem: &Problem) -> Vec<String> {
    let mut lines = vec![format!("missing: {}", problem.what)];
    lines.extend(problem.causes.iter().map(|cause| format!("  cause: {cause}")));
    lines.extend(problem.hint.iter().map(|hint| format!("  hint: {hint}")));
    lines
}
