//! Makes a cache smaller: removes spaces that a user names, that nobody used for long, or that are too many, and parts
//! that were set aside.
//!
//! Must not know rows. Invariants: a space in use by any process stays; so does one with a file in it that no cache
//! wrote; what goes is first moved to another name, so that nobody ever opens half of a space.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::error::Error;
use super::folder::{self, DAMAGED_FOLDER};
use super::merge;
use super::space::{self, SpaceFolder};
use super::stamp;
use crate::durable::{aside, disk};

/// What may go. The first two choose spaces: one goes that fits all that is given.
#[derive(Debug, Clone, Default)]
pub struct PruneOptions {
    /// Beginnings of fingerprints, each of one encoder.
    pub encoders: Vec<String>,
    /// For how long nobody must have opened a space or written a part of it.
    pub unused_for: Option<Duration>,
    /// Bytes that may stay: of the chosen spaces (of all, if neither of the above is given), those unused for longest go
    /// until the whole cache is no larger.
    pub keep_bytes: Option<u64>,
    /// Take the parts that were set aside in the chosen spaces, and nothing else.
    pub damaged: bool,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What a prune did, or would do.
#[derive(Debug, Default, Serialize)]
pub struct PruneReport {
    /// Whether nothing was removed because only that was asked.
    pub dry_run: bool,
    /// Spaces that went.
    pub removed: Vec<PrunedSpace>,
    /// Spaces that were to go and could not.
    pub kept: Vec<KeptSpace>,
    /// Files that were set aside earlier, and went.
    pub damaged_files: usize,
    /// Bytes of all that went.
    pub bytes: u64,
    /// Bytes that the cache has now.
    pub bytes_left: u64,
}

/// A space that went.
#[derive(Debug, Serialize)]
pub struct PrunedSpace {
    /// Its folder's name.
    pub fingerprint: String,
    /// Parts in it.
    pub parts: usize,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Seconds since anybody used it.
    pub unused_seconds: u64,
}

/// A space that was to go and stays.
#[derive(Debug, Serialize)]
pub struct KeptSpace {
    /// Its folder's name.
    pub fingerprint: String,
    /// Why.
    pub reason: KeepReason,
}

/// Why a space stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepReason {
    /// A process has it open, or merges it, or used it since the prune began.
    InUse,
    /// This file is no cache's.
    ForeignFile(PathBuf),
}

/// Removes from the cache in `root` what the options say. A folder that is not there is an empty cache.
///
/// # Errors
/// Options that choose nothing, a beginning of a fingerprint that is that of none or several, or the system's refusal.
pub fn prune(root: &Path, options: &PruneOptions) -> Result<PruneReport, Error> {
    if options.encoders.is_empty() && options.unused_for.is_none() && options.keep_bytes.is_none() && !options.damaged {
        return Err(Error::NothingSelected);
    }
    let mut report = PruneReport { dry_run: options.dry_run, ..PruneReport::default() };
    if !options.dry_run {
        aside::remove_leftovers(root);
    }
    let mut spaces = Vec::new();
    for SpaceFolder { path, fingerprint, .. } in space::scan(root)? {
        let files = files(&path)?;
        let bytes = files.iter().map(|(_, bytes)| bytes).sum();
        spaces.push(Candidate { unused_for: stamp::unused_for(&path), path, fingerprint, bytes });
    }
    let chosen = choose(root, &spaces, options)?;
    report.bytes_left = spaces.iter().map(|space| space.bytes).sum();
    if options.damaged {
        for space in chosen {
            remove_damaged(&space.path, &mut report)?;
        }
    } else {
        let limit = options.keep_bytes.unwrap_or(0);
        for space in chosen {
            if report.bytes_left > limit || options.keep_bytes.is_none() {
                match remove_space(root, space, &mut report) {
                    // Another prune was faster.
                    Err(error) if error.is_missing() && !space.path.exists() => report.bytes_left -= space.bytes,
                    removed => removed?,
                }
            }
        }
    }
    Ok(report)
}

struct Candidate {
    path: PathBuf,
    fingerprint: String,
    bytes: u64,
    unused_for: Duration,
}

/// The spaces that may go, those unused for longest first.
fn choose<'a>(root: &Path, spaces: &'a [Candidate], options: &PruneOptions) -> Result<Vec<&'a Candidate>, Error> {
    let mut named = Vec::new();
    for prefix in &options.encoders {
        named.push(space::by_prefix(root, spaces.iter().map(|space| space.fingerprint.as_str()), prefix)?);
    }
    let is_chosen = |space: &&Candidate| {
        (options.encoders.is_empty() || named.contains(&space.fingerprint.as_str()))
            && options.unused_for.is_none_or(|least| space.unused_for >= least)
    };
    let mut chosen: Vec<&Candidate> = spaces.iter().filter(is_chosen).collect();
    chosen.sort_by(|a, b| b.unused_for.cmp(&a.unused_for).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
    Ok(chosen)
}

/// All files in the folder of a space and in that of its parts set aside, with their bytes.
fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>, Error> {
    let mut found = Vec::new();
    for folder in [folder.to_owned(), folder.join(DAMAGED_FOLDER)] {
        let entries = match fs::read_dir(&folder) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            entries => entries.map_err(Error::io("list", &folder))?,
        };
        for entry in entries {
            let path = entry.map_err(Error::io("list", &folder))?.path();
            if let Ok(metadata) = path.symlink_metadata()
                && metadata.is_file()
            {
                found.push((path, metadata.len()));
            }
        }
    }
    Ok(found)
}

fn remove_space(root: &Path, space: &Candidate, report: &mut PruneReport) -> Result<(), Error> {
    let keep = |report: &mut PruneReport, reason| {
        report.kept.push(KeptSpace { fingerprint: space.fingerprint.clone(), reason });
        Ok(())
    };
    let parts = folder::part_paths(&space.path)?.len();
    let mut foreign = folder::foreign_files(&space.path)?;
    foreign.extend(foreign_damaged(&space.path)?);
    if let Some(file) = foreign.into_iter().next() {
        return keep(report, KeepReason::ForeignFile(file));
    }
    let alone = stamp::claim_alone(&space.path).map_err(Error::io("lock", &space.path))?;
    // One after the other: who has not the first must not keep the second from who has.
    let Some(alone) = alone else { return keep(report, KeepReason::InUse) };
    let Some(merging) = merge::lock(&space.path)? else { return keep(report, KeepReason::InUse) };
    if !space::is_space(&space.path)? {
        // Another prune was faster, and what lies there now is being made anew.
        report.bytes_left -= space.bytes;
        return Ok(());
    }
    if stamp::unused_for(&space.path) < space.unused_for {
        // Somebody used it since it was chosen.
        return keep(report, KeepReason::InUse);
    }
    if !report.dry_run {
        let aside = aside::move_aside(root, &space.path).map_err(Error::io("remove", &space.path))?;
        // Whoever waits for the folder sees now that it is gone, and makes a new one.
        drop((alone, merging));
        aside::remove_aside(&aside).map_err(Error::io("remove", &aside))?;
    }
    report.bytes += space.bytes;
    report.bytes_left -= space.bytes;
    report.removed.push(PrunedSpace {
        fingerprint: space.fingerprint.clone(),
        parts,
        bytes: space.bytes,
        unused_seconds: space.unused_for.as_secs(),
    });
    Ok(())
}

/// What lies among the parts set aside and was not put there by a cache.
fn foreign_damaged(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let aside = folder.join(DAMAGED_FOLDER);
    if aside.is_dir() { folder::foreign_files(&aside) } else { Ok(Vec::new()) }
}

/// Removes the parts and descriptions that were set aside, and their folder if nothing else is in it.
fn remove_damaged(folder: &Path, report: &mut PruneReport) -> Result<(), Error> {
    let aside = folder.join(DAMAGED_FOLDER);
    if !aside.is_dir() {
        return Ok(());
    }
    let foreign = folder::foreign_files(&aside)?;
    for (path, bytes) in files(folder)?.into_iter().filter(|(path, _)| path.parent() == Some(&aside)) {
        if foreign.contains(&path) {
            continue;
        }
        if !report.dry_run {
            disk::remove(&path).map_err(Error::io("remove", &path))?;
        }
        report.damaged_files += 1;
        report.bytes += bytes;
        report.bytes_left -= bytes;
    }
    if !report.dry_run {
        // Not empty where a foreign file is in it.
        let _ = disk::remove_empty_folder(&aside);
        disk::sync_folder(folder).map_err(Error::io("sync", folder))?;
    }
    Ok(())
}
