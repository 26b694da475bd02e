//! `offprint engine list` and `prune`: the engines that were built.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use indicatif::{HumanBytes, HumanCount, HumanDuration};
use offprint::runtime::tensorrt::{EnginePruneOptions, EnginePruneReport, EngineRecord, StoredEngine, prune_engines};
use serde::Serialize;

use super::super::Status;
use super::super::say::{counted, say};
use super::super::units::{parse_duration, parse_size};
use super::ListArgs;

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// The engines to remove: their name as `engine list` shows it, or the beginning of that; can be repeated
    #[arg(long = "engine", value_name = "NAME")]
    engines: Vec<String>,

    /// Remove engines that nobody used for so long: 90d, 12h, 8w
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    unused_for: Option<Duration>,

    /// Remove those unused for longest until all are no larger than this: 20GB, 500MB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    keep_size: Option<u64>,

    /// Remove engines whose build did not come to its end, and those that cannot be read
    #[arg(long)]
    unfinished: bool,

    /// Show what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    output: ListArgs,
}

/// What `engine list --json` prints.
#[derive(Serialize)]
struct Listed<'a> {
    folder: &'a Path,
    engines: &'a [StoredEngine],
}

pub(super) fn list(args: &ListArgs) -> Result<Status> {
    let store = args.store()?;
    let engines = store.list()?;
    if args.json {
        say(&serde_json::to_string_pretty(&Listed { folder: store.root(), engines: &engines })?)?;
    } else {
        say(&describe_list(store.root(), &engines))?;
    }
    Ok(Status::Done)
}

pub(super) fn prune(args: &PruneArgs) -> Result<Status> {
    let options = EnginePruneOptions {
        engines: args.engines.clone(),
        unused_for: args.unused_for,
        keep_bytes: args.keep_size,
        unfinished: args.unfinished,
        dry_run: args.dry_run,
    };
    let report = prune_engines(&args.output.store()?, &options)?;
    say(&if args.output.json { serde_json::to_string_pretty(&report)? } else { describe_prune(&report) })?;
    Ok(Status::Done)
}

fn describe_list(root: &Path, engines: &[StoredEngine]) -> String {
    if engines.is_empty() {
        return format!("{}: empty", root.display());
    }
    let mut lines = vec![root.display().to_string()];
    for engine in engines {
        lines.push(format!("  {}", engine.name));
        let size = format!("{}, {}", HumanBytes(engine.bytes), unused(engine.unused_seconds));
        match &engine.record {
            Some(record) => lines.extend(describe_record(record, &size)),
            None => lines.push(format!("    {size}; {}", engine.problem.as_deref().unwrap_or("not readable"))),
        }
    }
    lines.join("\n")
}

fn describe_record(record: &EngineRecord, size: &str) -> [String; 2] {
    let (plan, built) = (&record.setting.plan, record.built.len());
    let state = if record.is_complete() {
        counted(built as u64, "engine")
    } else {
        format!("unfinished: {built} of {}", counted(plan.profiles.len() as u64, "engine"))
    };
    let on = record.gpu.as_ref().map_or(String::new(), |gpu| format!(" on {}", gpu.name));
    let time = HumanDuration(Duration::from_secs_f64(record.build_seconds().clamp(0.0, 1e9)));
    [
        format!(
            "    {}, {}, up to {} tokens, {} padded tokens a batch",
            record.model,
            record.setting.precision,
            HumanCount(plan.limits.max_length as u64),
            HumanCount(plan.limits.batch_tokens as u64)
        ),
        format!("    {state}, built in {time}{on}; {size}"),
    ]
}

fn unused(seconds: u64) -> String {
    format!("unused for {}", HumanDuration(Duration::from_secs(seconds)))
}

fn describe_prune(report: &EnginePruneReport) -> String {
    let (would, went) = if report.dry_run { ("would remove", "would go") } else { ("removed", "went") };
    let mut lines = Vec::new();
    for engine in &report.removed {
        let model = engine.model.as_ref().map_or(String::new(), |model| format!(" of {model}"));
        let size = HumanBytes(engine.bytes);
        lines.push(format!("{would} {}{model}  {size}, {}", engine.name, unused(engine.unused_seconds)));
    }
    lines.extend(report.kept.iter().map(|engine| format!("kept {}: a process uses or builds it", engine.name)));
    lines.push(format!("{} {went}, {} stay", HumanBytes(report.bytes), HumanBytes(report.bytes_left)));
    lines.join("\n")
}
