//! The folders in which engines are kept, one for each plan, bundle and machine.
//!
//! Owns what lies in `<cache>/engines`: a folder under [`EngineSetting::folder_name`] with `engine.json`, the file
//! `last-used` that carries locks and the time of last use, and a folder for each profile into which the provider
//! writes; beside them the timing caches. Knows nothing of how engines are made. Invariants: engines are found only if
//! all that decides them is the same; who builds has the folder alone, who uses it shares it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::device::Gpu;
use super::error::Error;
use super::name::{EngineSetting, EngineTarget};
use super::planner::PlanLimits;
use super::record::{BuiltProfile, EngineRecord, FoundFile, RECORD, files, read_record, write_record};
use crate::durable::disk;

/// The folder of all engines in that of the cache.
const ENGINES: &str = "engines";
/// The folder of what was learnt about the speed of kernels.
pub(super) const TIMING: &str = "timing";
/// Locks and the time of last use.
const STAMP: &str = "last-used";
/// How the provider's files of engines end.
const ENGINE_ENDING: &str = "engine";

/// A folder with engines, as it lies there.
#[derive(Debug, Serialize)]
pub struct StoredEngine {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// What it says of itself; none where that cannot be read.
    pub record: Option<EngineRecord>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether every profile has its engine.
    pub complete: bool,
    /// Bytes of all files.
    pub bytes: u64,
    /// Seconds since they were last used or built.
    pub unused_seconds: u64,
}

/// The engines in a cache folder.
#[derive(Debug, Clone)]
pub struct EngineStore {
    root: PathBuf,
}

impl EngineStore {
    /// The engines in this cache folder, which need not exist.
    pub fn in_cache(cache_dir: &Path) -> Self {
        Self { root: cache_dir.join(ENGINES) }
    }

    /// The folder of all engines.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of these engines, whether they are there or not.
    pub fn folder(&self, setting: &EngineSetting, target: &EngineTarget) -> PathBuf {
        self.root.join(setting.folder_name(target))
    }

    /// The folder of a profile's engine, likewise.
    pub fn profile_folder(&self, setting: &EngineSetting, target: &EngineTarget, place: usize) -> PathBuf {
        profile_folder(&self.folder(setting, target), place)
    }

    /// The folder of the timing cache for this target.
    pub fn timing(&self, target: &EngineTarget) -> PathBuf {
        self.root.join(TIMING).join(target.timing_name())
    }

    /// All folders with engines, by name. A folder that is not there is an empty one.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn list(&self) -> Result<Vec<StoredEngine>, Error> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::io("list", &self.root))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io("list", &self.root))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != TIMING && !name.starts_with(".") && path.join(STAMP).is_file() {
                found.push(stored(name, path)?);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Takes the folder for building, makes it where it is not there, and says what is built already.
    ///
    /// # Errors
    /// The target is not known, another process has the folder, or the system refuses.
    pub fn begin(
        &self,
        (setting, target): (&EngineSetting, &EngineTarget),
        (model, gpu): (&str, Option<Gpu>),
    ) -> Result<BuildingEngine, Error> {
        if !target.missing().is_empty() {
            return Err(Error::UnknownTarget { missing: target.missing() });
        }
        let path = self.folder(setting, target);
        let timing = self.timing(target);
        let claim = |folder: &PathBuf| {
            if folder.to_str().is_none() {
                return Err(Error::NotUnicode { path: folder.clone() });
            }
            disk::create_folders(folder).map_err(Error::io("make the folder", folder))?;
            claim_alone(folder)?.ok_or_else(|| Error::InUse { path: folder.clone() })
        };
        // The timing cache, too: the provider writes it bit by bit, and two builds at a time would time each other.
        let locks = [claim(&path)?, claim(&timing)?];
        touch(&locks[0]);
        let fresh = EngineRecord::new((setting, target), (model, gpu));
        // A record that cannot be read is one of another version, or was damaged: then all is built anew.
        let known = read_record(&path).ok().flatten().filter(|known| {
            known.setting.graph == fresh.setting.graph && known.setting.plan.profiles == fresh.setting.plan.profiles
        });
        let mut building = BuildingEngine { path, timing, record: known.unwrap_or(fresh), _locks: locks };
        let there = (0..building.record.built.len()).take_while(|&place| building.has_engine(place)).count();
        building.record.built.truncate(there);
        write_record(&building.path, &building.record)?;
        Ok(building)
    }

    /// Complete engines of a graph that take every batch of a run within `limits`: those for the smallest batches. They
    /// count as used now, and stay as long as what is given lives.
    ///
    /// # Errors
    /// There are none, or the system refuses.
    pub fn find(&self, graph: &str, target: &EngineTarget, limits: &PlanLimits) -> Result<UsedEngine, Error> {
        if !target.missing().is_empty() {
            return Err(Error::UnknownTarget { missing: target.missing() });
        }
        let mut fitting: Vec<(PathBuf, EngineRecord)> = Vec::new();
        for engine in self.list()? {
            let Some(record) = engine.record.filter(|_| engine.complete) else { continue };
            let setting = &record.setting;
            if setting.graph == graph && record.target == *target && limits.fits_in(&setting.plan.limits) {
                fitting.push((engine.path, record));
            }
        }
        fitting.sort_by_key(|(_, record)| record.setting.plan.limits.batch_tokens);
        for (path, record) in fitting {
            let Ok(lock) = open_stamp(&path) else { continue };
            // Who builds or removes them has them alone.
            if lock.try_lock_shared().is_ok() && is_of(&lock, &path) && path.to_str().is_some() {
                touch(&lock);
                return Ok(UsedEngine { path, timing: self.timing(target), record, _lock: lock });
            }
        }
        Err(Error::NoneBuilt { tokens: limits.batch_tokens, target: target.clone() })
    }
}

/// Engines that a run uses.
#[derive(Debug)]
pub struct UsedEngine {
    path: PathBuf,
    timing: PathBuf,
    record: EngineRecord,
    _lock: File,
}

impl UsedEngine {
    /// What they are.
    pub fn record(&self) -> &EngineRecord {
        &self.record
    }

    /// The folder of a profile's engine.
    pub fn profile_folder(&self, place: usize) -> PathBuf {
        profile_folder(&self.path, place)
    }

    /// The folder of the timing cache.
    pub fn timing(&self) -> &Path {
        &self.timing
    }
}

/// Engines that are being built; nobody else has the folder while this lives.
#[derive(Debug)]
pub struct BuildingEngine {
    path: PathBuf,
    timing: PathBuf,
    record: EngineRecord,
    _locks: [File; 2],
}

impl BuildingEngine {
    /// What is there so far.
    pub fn record(&self) -> &EngineRecord {
        &self.record
    }

    /// The folder of all profiles.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the timing cache.
    pub fn timing(&self) -> &Path {
        &self.timing
    }

    /// The folder that the provider is to write the next profile's engine into, empty; none if all are built.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn next_folder(&self) -> Result<Option<PathBuf>, Error> {
        if self.record.is_complete() {
            return Ok(None);
        }
        let folder = profile_folder(&self.path, self.record.built.len());
        if folder.exists() {
            // What a build left that was stopped: the provider writes an engine under its own name, bit by bit.
            disk::remove_folder(&folder).map_err(Error::io("remove", &folder))?;
        }
        disk::create_folders(&folder).map_err(Error::io("make the folder", &folder))?;
        Ok(Some(folder))
    }

    /// Notes that the next profile's engine was built in `elapsed`, once it was made to last.
    ///
    /// # Errors
    /// There is no engine in its folder, or the system refuses.
    pub fn built(&mut self, elapsed: Duration) -> Result<(), Error> {
        let place = self.record.built.len();
        let folder = profile_folder(&self.path, place);
        if !self.has_engine(place) {
            return Err(Error::NoEngine { path: folder });
        }
        for file in files(&folder)? {
            disk::sync_file(&file.path).map_err(Error::io("sync", &file.path))?;
        }
        disk::sync_folder(&folder).map_err(Error::io("sync", &folder))?;
        let bytes = files(&folder)?.iter().map(|file| file.bytes).sum();
        self.record.built.push(BuiltProfile { seconds: elapsed.as_secs_f64(), bytes });
        write_record(&self.path, &self.record)
    }

    fn has_engine(&self, place: usize) -> bool {
        let folder = profile_folder(&self.path, place);
        let is_engine =
            |file: &FoundFile| file.bytes > 0 && file.path.extension().is_some_and(|ending| ending == ENGINE_ENDING);
        files(&folder).is_ok_and(|files| files.iter().any(is_engine))
    }
}

fn profile_folder(folder: &Path, place: usize) -> PathBuf {
    folder.join(format!("p{place}"))
}

fn stored(name: String, path: PathBuf) -> Result<StoredEngine, Error> {
    let (record, problem) = match read_record(&path) {
        Ok(Some(record)) => (Some(record), None),
        Ok(None) => (None, Some(format!("there is no `{RECORD}`"))),
        Err(error) => (None, Some(error.to_string())),
    };
    let complete = record.as_ref().is_some_and(EngineRecord::is_complete);
    let all = files(&path)?;
    let bytes = all.iter().map(|file| file.bytes).sum();
    let newest = all.iter().filter_map(|file| file.modified).max();
    let unused = newest.and_then(|time| SystemTime::now().duration_since(time).ok()).unwrap_or_default();
    Ok(StoredEngine { name, path, record, problem, complete, bytes, unused_seconds: unused.as_secs() })
}

fn open_stamp(folder: &Path) -> io::Result<File> {
    let path = folder.join(STAMP);
    let writable = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    // Engines that may only be read can be used all the same.
    writable.or_else(|_| File::open(path))
}

/// Marks as used now. A time that cannot be written costs nothing but the place in the order of removal.
fn touch(stamp: &File) {
    if let Err(error) = stamp.set_modified(SystemTime::now()) {
        tracing::debug!(%error, "the time of last use was not written");
    }
}

/// The folder for one process alone; none while another uses or builds its engines, or has just removed it.
pub(super) fn claim_alone(folder: &Path) -> Result<Option<File>, Error> {
    let stamp = open_stamp(folder).map_err(Error::io("lock", folder))?;
    match stamp.try_lock() {
        Ok(()) => Ok(is_of(&stamp, folder).then_some(stamp)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(Error::Io { action: "lock", path: folder.to_owned(), source }),
    }
}

/// Whether `folder` is still the one that the stamp was opened in.
fn is_of(stamp: &File, folder: &Path) -> bool {
    disk::leads_to(&folder.join(STAMP), stamp)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
