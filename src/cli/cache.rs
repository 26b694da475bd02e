//! `offprint cache`: what the cache holds, and whether all of it is sound.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use indicatif::{HumanBytes, HumanCount};
use offprint::cache::{CacheStat, VerifyReport, stat, verify};

use super::cache_export::{self, ExportArgs};
use super::say::say;
use super::{Status, places};

/// Look into the embedding cache
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Show what the cache holds: one block for each encoder
    Stat(CacheArgs),
    /// Read every part, compare it with the hash in its name, and set damaged ones aside
    ///
    /// Exit status 1 if anything was damaged; the rows of a damaged part are computed again when next asked for.
    Verify(CacheArgs),
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// Folder of the embedding cache [default: offprint in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

impl CacheArgs {
    pub(super) fn root(&self) -> Result<PathBuf> {
        Ok(places::embeddings_dir(&places::cache_dir(self.cache_dir.as_deref())?))
    }
}

pub(crate) fn run(command: &CacheCommand) -> Result<Status> {
    match command {
        CacheCommand::Stat(args) => {
            let root = args.root()?;
            let stat = stat(&root)?;
            if args.json {
                say(&serde_json::to_string_pretty(&stat)?)?;
            } else {
                say(&describe_stat(&root, &stat))?;
            }
            Ok(Status::Done)
        }
        CacheCommand::Verify(args) => {
            let report = verify(&args.root()?)?;
            if args.json {
                say(&serde_json::to_string_pretty(&report)?)?;
            } else {
                say(&describe_verify(&report))?;
            }
            Ok(if report.damaged.is_empty() { Status::Done } else { Status::CheckFailed })
        }
        CacheCommand::Export(args) => cache_export::run(args),
    }
}

fn describe_stat(root: &Path, stat: &CacheStat) -> String {
    if stat.spaces.is_empty() {
        return format!("{}: empty", root.display());
    }
    let mut lines = vec![root.display().to_string()];
    for space in &stat.spaces {
        lines.push(format!(
            "  {}  {} rows × {} in {} parts, {}, {} keys in more than one part",
            space.fingerprint,
            HumanCount(space.rows),
            space.dim,
            HumanCount(space.parts as u64),
            HumanBytes(space.bytes),
            HumanCount(space.duplicate_keys),
        ));
        if space.unusable_parts + space.set_aside > 0 {
            lines.push(format!(
                "    {} unusable parts in place (`offprint cache verify` sets them aside), {} set aside",
                space.unusable_parts, space.set_aside
            ));
        }
        lines.extend(space.fields.iter().map(|(name, value)| format!("    {name}: {value}")));
    }
    lines.join("\n")
}

fn describe_verify(report: &VerifyReport) -> String {
    let mut lines: Vec<String> = report
        .damaged
        .iter()
        .map(|part| {
            let lost = part.rows_lost.map_or("its rows".to_owned(), |rows| format!("{} rows", HumanCount(rows)));
            format!(
                "damaged: {}: {}; moved to {}, {lost} will be computed again when asked for",
                part.path.display(),
                part.damage,
                part.moved_to.display()
            )
        })
        .collect();
    lines.push(format!(
        "{} parts with {} rows are sound, {} damaged",
        HumanCount((report.parts - report.damaged.len()) as u64),
        HumanCount(report.rows),
        report.damaged.len()
    ));
    lines.join("\n")
}
