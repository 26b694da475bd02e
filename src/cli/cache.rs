//! `offprint cache`: what the cache holds, whether all of it is sound, how several become one, and how one gets smaller.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use offprint::cache::{
    CacheStat, DamagedPart, JoinReport, KeepReason, PruneOptions, PruneReport, UndescribedSpace, VerifyReport,
    merge_caches, prune, stat, verify_watched,
};
use offprint::causes::on_one_line;

use super::cache_export::{self, ExportArgs};
use super::say::{counted, counted_that, say};
use super::units::{parse_duration, parse_size};
use super::{Status, places};

/// Look after the embedding cache
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Show what the cache holds: one block for each encoder
    Stat(CacheArgs),
    /// Read every part, compare it with the hash in its name, and set damaged ones aside
    ///
    /// Exit status 1 if anything was damaged; the rows of a damaged part are computed again when next asked for.
    Verify(CacheArgs),
    Export(ExportArgs),
    /// Join caches that other machines filled into one, which is then the cache that one machine would have made
    ///
    /// The sources are only read. Their parts are compared with their hashes; a damaged one is left out with a warning.
    /// Without a source, the parts of the cache itself become few: one for each kind of machine that filled it. The
    /// merge may be stopped at any moment and run again, and the cache may be in use meanwhile.
    /// Exit status 1 if something was left out.
    Merge(MergeArgs),
    /// Remove what is not needed any more: encoders nobody used for long, the least used ones, damaged parts
    ///
    /// An encoder goes that fits `--encoder` and `--unused-for`, as far as they are given; with `--keep-size` only as
    /// many of these go as must. A space that a process has open stays.
    Prune(PruneArgs),
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

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// Folders of the caches to merge, as `--cache-dir` named them when they were filled, or of their embeddings
    #[arg(value_name = "SOURCE")]
    sources: Vec<PathBuf>,

    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// The encoder to remove: its fingerprint as `cache stat` shows it, or the beginning of that; can be repeated
    #[arg(long = "encoder", value_name = "FINGERPRINT")]
    encoders: Vec<String>,

    /// Remove encoders that nobody used for so long: 90d, 12h, 8w
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    unused_for: Option<Duration>,

    /// Remove those unused for longest until the cache is no larger than this: 20GB, 500MB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    keep_size: Option<u64>,

    /// Remove the parts that `cache verify` or a merge set aside, and no encoder
    #[arg(long, conflicts_with = "keep_size")]
    damaged: bool,

    /// Show what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    cache: CacheArgs,
}

impl CacheArgs {
    pub(super) fn root(&self) -> Result<PathBuf> {
        Ok(places::embeddings_dir(&places::cache_dir(self.cache_dir.as_deref())?))
    }

    fn say<T: serde::Serialize>(&self, report: &T, describe: impl FnOnce(&T) -> String) -> Result<()> {
        let text = if self.json { serde_json::to_string_pretty(report)? } else { describe(report) };
        say(&text)
    }
}

pub(crate) fn run(command: &CacheCommand) -> Result<Status> {
    match command {
        CacheCommand::Stat(args) => {
            let root = args.root()?;
            args.say(&stat(&root)?, |stat| describe_stat(&root, stat))?;
            Ok(Status::Done)
        }
        CacheCommand::Verify(args) => {
            let report = verify_with_bar(&args.root()?)?;
            args.say(&report, describe_verify)?;
            Ok(if report.is_sound() { Status::Done } else { Status::CheckFailed })
        }
        CacheCommand::Merge(args) => {
            let sources: Vec<PathBuf> = args.sources.iter().map(|folder| places::embeddings_dir(folder)).collect();
            let report = merge_caches(&sources, &args.cache.root()?)?;
            args.cache.say(&report, describe_merge)?;
            Ok(if report.left.is_empty() { Status::Done } else { Status::CheckFailed })
        }
        CacheCommand::Prune(args) => {
            let options = PruneOptions {
                encoders: args.encoders.clone(),
                unused_for: args.unused_for,
                keep_bytes: args.keep_size,
                damaged: args.damaged,
                dry_run: args.dry_run,
            };
            args.cache.say(&prune(&args.cache.root()?, &options)?, describe_prune)?;
            Ok(Status::Done)
        }
        CacheCommand::Export(args) => cache_export::run(args),
    }
}

fn verify_with_bar(root: &Path) -> Result<VerifyReport> {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left") {
        bar.set_style(style);
    }
    let report = verify_watched(root, &mut |read, total| {
        bar.set_length(total.max(read));
        bar.set_position(read);
    });
    bar.finish_and_clear();
    Ok(report?)
}

fn describe_stat(root: &Path, stat: &CacheStat) -> String {
    if stat.spaces.is_empty() {
        return format!("{}: empty", root.display());
    }
    let mut lines = vec![root.display().to_string()];
    for space in &stat.spaces {
        lines.push(format!(
            "  {}  {} × {} in {}, {}, {} in more than one part",
            space.fingerprint,
            counted(space.rows, "row"),
            space.dim,
            counted(space.parts as u64, "part"),
            HumanBytes(space.bytes),
            counted(space.duplicate_keys, "key"),
        ));
        if space.unusable_parts + space.set_aside > 0 {
            lines.push(format!(
                "    {} in place (`offprint cache verify` sets such parts aside), {} set aside",
                counted(space.unusable_parts as u64, "unusable part"),
                space.set_aside
            ));
        }
        lines.extend(space.fields.iter().map(|(name, value)| format!("    {name}: {value}")));
    }
    lines.join("\n")
}

fn describe_verify(report: &VerifyReport) -> String {
    let mut lines: Vec<String> = report.damaged.iter().map(describe_damaged).collect();
    lines.extend(report.undescribed.iter().map(describe_undescribed));
    lines.extend(report.unreadable.iter().map(|part| format!("unreadable: {}", on_one_line(&part.reason))));
    lines.extend(
        report.foreign.iter().map(|path| format!("note: {} is no file of a cache; left alone", path.display())),
    );
    let sound = report.parts - report.damaged.len() - report.unreadable.len();
    let rows = counted(report.rows, "row");
    lines.push(format!(
        "{} sound, {} damaged",
        counted_that(sound as u64, "part", (&*format!("with {rows} is"), &*format!("with {rows} are"))),
        report.damaged.len()
    ));
    lines.join("\n")
}

fn describe_damaged(part: &DamagedPart) -> String {
    let lost = part.rows_lost.map_or("its rows".to_owned(), |rows| counted(rows, "row"));
    let place =
        part.moved_to.as_ref().map_or("it could not be moved".to_owned(), |to| format!("moved to {}", to.display()));
    let damage = on_one_line(&part.damage);
    format!("damaged: {}: {damage}; {place}, {lost} will be computed again when asked for", part.path.display())
}

fn describe_undescribed(space: &UndescribedSpace) -> String {
    let what = match (&space.reason, &space.moved_to) {
        (None, _) => "its space.json is missing".to_owned(),
        (Some(reason), None) => on_one_line(reason),
        (Some(reason), Some(to)) => format!("{}; moved to {}", on_one_line(reason), to.display()),
    };
    let way_out = match &space.reason {
        Some(offprint::cache::Error::Format { .. }) => "only that version reads them",
        _ => "the next run with their bundle writes the file again and finds them",
    };
    format!(
        "undescribed: {}: {what}; {} there, {way_out}",
        space.path.display(),
        counted_that(space.parts as u64, "sound part", ("is", "are"))
    )
}

fn describe_merge(report: &JoinReport) -> String {
    let mut lines: Vec<String> =
        report.left.iter().map(|left| format!("left out: {}", on_one_line(&left.reason))).collect();
    for space in &report.spaces {
        lines.push(format!(
            "{}  {} taken, {} known already; {}, {} in {} now",
            space.fingerprint,
            counted(space.taken as u64, "part"),
            HumanCount(space.known as u64),
            counted(space.new_keys, "new key"),
            counted(space.rows, "row"),
            counted(space.parts as u64, "part"),
        ));
        if space.differing_keys > 0 {
            lines.push(format!(
                "  {}, largest |Δ| {:e}: computed on different processors",
                counted_that(space.differing_keys, "key", ("differs in its bits", "differ in their bits")),
                space.largest_difference
            ));
        }
    }
    if lines.is_empty() {
        lines.push("nothing to merge".into());
    }
    lines.join("\n")
}

fn describe_prune(report: &PruneReport) -> String {
    let (would, went) = if report.dry_run { ("would remove", "would go") } else { ("removed", "went") };
    let mut lines = Vec::new();
    for space in &report.removed {
        lines.push(format!(
            "{would} {}  {} in {}, unused for {}",
            space.fingerprint,
            HumanBytes(space.bytes),
            counted(space.parts as u64, "part"),
            HumanDuration(Duration::from_secs(space.unused_seconds)),
        ));
    }
    for space in &report.kept {
        let reason = match &space.reason {
            KeepReason::InUse => "a process has it open, or just had".to_owned(),
            KeepReason::ForeignFile(path) => format!("{} is no file of a cache", path.display()),
        };
        lines.push(format!("kept {}: {reason}", space.fingerprint));
    }
    if report.damaged_files > 0 {
        let files = counted_that(report.damaged_files as u64, "file", ("that was", "that were"));
        lines.push(format!("{would} {files} set aside"));
    }
    lines.push(format!("{} {went}, {} stay", HumanBytes(report.bytes), HumanBytes(report.bytes_left)));
    lines.join("\n")
}
