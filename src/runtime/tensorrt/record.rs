//! What a folder with engines says of itself, in `engine.json`, and what lies in it.
//!
//! Knows no locks. Invariant: a file of another format or of another form is an error, never half understood.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::device::Gpu;
use super::error::{ENGINE_FORMAT, Error};
use super::name::{EngineSetting, EngineTarget};
use crate::durable;

/// What describes the engines of a folder.
pub(super) const RECORD: &str = "engine.json";

/// `engine.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineRecord {
    /// Version of this file.
    pub format: u32,
    /// Program and version that wrote it.
    pub created_by: String,
    /// The name of the model.
    pub model: String,
    /// What the engines are built of.
    pub setting: EngineSetting,
    /// What they are built with.
    pub target: EngineTarget,
    /// The card they were timed on.
    pub gpu: Option<Gpu>,
    /// Engines that are there, in the order of the profiles.
    pub built: Vec<BuiltProfile>,
}

impl EngineRecord {
    /// Engines of which none is built yet.
    pub(super) fn new((setting, target): (&EngineSetting, &EngineTarget), (model, gpu): (&str, Option<Gpu>)) -> Self {
        Self {
            format: ENGINE_FORMAT,
            created_by: concat!("offprint ", env!("CARGO_PKG_VERSION")).to_owned(),
            model: model.to_owned(),
            setting: setting.clone(),
            target: target.clone(),
            gpu,
            built: Vec::new(),
        }
    }

    /// Seconds that building the engines took which are there.
    pub fn build_seconds(&self) -> f64 {
        self.built.iter().map(|profile| profile.seconds).sum()
    }

    /// Whether every profile has its engine.
    pub fn is_complete(&self) -> bool {
        self.built.len() == self.setting.plan.profiles.len()
    }
}

/// An engine that was built.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltProfile {
    /// How long that took.
    pub seconds: f64,
    /// Bytes of its files.
    pub bytes: u64,
}

/// What a folder says of itself; none where it says nothing.
pub(super) fn read_record(folder: &Path) -> Result<Option<EngineRecord>, Error> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let path = folder.join(RECORD);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(Error::io("read", &path))?,
    };
    let broken = |source| Error::Record { path: path.clone(), source };
    let Format { format } = serde_json::from_slice(&bytes).map_err(broken)?;
    if format != ENGINE_FORMAT {
        return Err(Error::Format { path, got: format });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(broken)
}

/// Writes what a folder says of itself, whole or not at all.
pub(super) fn write_record(folder: &Path, record: &EngineRecord) -> Result<(), Error> {
    let path = folder.join(RECORD);
    let text = serde_json::to_vec_pretty(record).map_err(|source| Error::Record { path: path.clone(), source })?;
    durable::replace_file(&path, &text).map_err(Error::io("write", path))
}

/// A file in a folder or below it.
pub(super) struct FoundFile {
    pub path: PathBuf,
    pub bytes: u64,
    pub modified: Option<SystemTime>,
}

/// All files in a folder and below it; none where there is no folder. Links are not followed.
pub(super) fn files(folder: &Path) -> Result<Vec<FoundFile>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(Error::io("list", &folder))?,
        };
        for entry in entries {
            let path = entry.map_err(Error::io("list", &folder))?.path();
            let Ok(metadata) = path.symlink_metadata() else { continue };
            if metadata.is_dir() {
                folders.push(path);
            } else if metadata.is_file() {
                found.push(FoundFile { path, bytes: metadata.len(), modified: metadata.modified().ok() });
            }
        }
    }
    Ok(found)
}
