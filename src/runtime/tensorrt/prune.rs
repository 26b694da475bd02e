//! Makes the store of engines smaller.
//!
//! Must not know how engines are found. Invariants: engines in use by any process stay; what goes is first moved to
//! another name, so that nobody ever finds half of it.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::error::Error;
use super::store::{EngineStore, StoredEngine, claim_alone};
use crate::durable::aside;

/// What may go: engines that fit all that is given.
#[derive(Debug, Clone, Default)]
pub struct EnginePruneOptions {
    /// Beginnings of names.
    pub engines: Vec<String>,
    /// For how long nobody must have used or built them.
    pub unused_for: Option<Duration>,
    /// Bytes that may stay: of the engines that fit the rest, those unused for longest go until all are no larger.
    pub keep_bytes: Option<u64>,
    /// Only those whose build did not come to its end.
    pub unfinished: bool,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What a prune did, or would do.
#[derive(Debug, Default, Serialize)]
pub struct EnginePruneReport {
    /// Whether nothing was removed because only that was asked.
    pub dry_run: bool,
    /// Engines that went.
    pub removed: Vec<PrunedEngine>,
    /// Engines that were to go and are in use.
    pub kept: Vec<KeptEngine>,
    /// Bytes of all that went.
    pub bytes: u64,
    /// Bytes of the engines that are left.
    pub bytes_left: u64,
}

/// Engines that went.
#[derive(Debug, Serialize)]
pub struct PrunedEngine {
    /// The folder's name.
    pub name: String,
    /// The model; none where the folder did not say.
    pub model: Option<String>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Seconds since anybody used them.
    pub unused_seconds: u64,
}

/// Engines that were to go, and stay because a process builds or uses them.
#[derive(Debug, Serialize)]
pub struct KeptEngine {
    /// The folder's name.
    pub name: String,
}

/// Removes from the store what the options say.
///
/// # Errors
/// Options that choose nothing, a beginning of a name that nothing has, or the system's refusal.
pub fn prune_engines(store: &EngineStore, options: &EnginePruneOptions) -> Result<EnginePruneReport, Error> {
    let chooses = options.unused_for.is_some() || options.keep_bytes.is_some() || options.unfinished;
    if options.engines.iter().any(String::is_empty) || options.engines.is_empty() && !chooses {
        return Err(Error::NothingSelected);
    }
    if !options.dry_run {
        aside::remove_leftovers(store.root());
    }
    let engines = store.list()?;
    if let Some(prefix) =
        options.engines.iter().find(|prefix| !engines.iter().any(|engine| engine.name.starts_with(prefix.as_str())))
    {
        return Err(Error::NoSuchEngine { prefix: prefix.clone(), root: store.root().to_owned() });
    }
    let mut report = EnginePruneReport {
        dry_run: options.dry_run,
        bytes_left: engines.iter().map(|engine| engine.bytes).sum(),
        ..EnginePruneReport::default()
    };
    let mut chosen: Vec<StoredEngine> = engines.into_iter().filter(|engine| is_chosen(engine, options)).collect();
    chosen.sort_by(|a, b| b.unused_seconds.cmp(&a.unused_seconds).then_with(|| a.name.cmp(&b.name)));
    for engine in chosen {
        if options.keep_bytes.is_none_or(|limit| report.bytes_left > limit) {
            remove(store.root(), engine, &mut report)?;
        }
    }
    Ok(report)
}

fn is_chosen(engine: &StoredEngine, options: &EnginePruneOptions) -> bool {
    let named = options.engines.is_empty() || options.engines.iter().any(|prefix| engine.name.starts_with(prefix));
    let unused = Duration::from_secs(engine.unused_seconds);
    named && options.unused_for.is_none_or(|least| unused >= least) && !(options.unfinished && engine.complete)
}

fn remove(root: &Path, engine: StoredEngine, report: &mut EnginePruneReport) -> Result<(), Error> {
    let Some(alone) = claim_alone(&engine.path)? else {
        report.kept.push(KeptEngine { name: engine.name });
        return Ok(());
    };
    if !report.dry_run {
        let aside = aside::move_aside(root, &engine.path).map_err(Error::io("remove", &engine.path))?;
        drop(alone);
        aside::remove_aside(&aside).map_err(Error::io("remove", &aside))?;
    }
    report.bytes += engine.bytes;
    report.bytes_left -= engine.bytes;
    report.removed.push(PrunedEngine {
        model: engine.record.map(|record| record.model),
        name: engine.name,
        bytes: engine.bytes,
        unused_seconds: engine.unused_seconds,
    });
    Ok(())
}
