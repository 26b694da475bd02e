//! The folder of one encoder in a cache: which encoder it is, and why another one's rows do not serve.
//!
//! Must not know parts beyond their names. Invariant: `space.json` is written before the first part, and a folder
//! whose fields differ from those asked for is refused, never mixed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::CACHE_FORMAT;
use super::error::Error;
use super::folder;
use crate::durable::{self, disk};

pub(super) const SPACE_FILE: &str = "space.json";

/// Marks the folder of a cache.
const CACHE_TAG: &str = "CACHEDIR.TAG";

/// Read by backup tools, see <https://bford.info/cachedir/>.
const CACHEDIR_TAG: &str =
    "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is an embedding cache of offprint.\n";

/// What the rows of one folder are the output of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Hash of the encoder's fields, and the folder's name: 1 to 128 ASCII letters, digits, `-` or `_`.
    pub fingerprint: String,
    /// Values of an embedding, at least 1.
    pub dim: usize,
    /// What the fingerprint was made of, by name: `pooling` → `mean`.
    pub fields: BTreeMap<String, String>,
}

/// Where the rows of a part were computed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PartOrigin {
    /// Execution provider, as ONNX Runtime names it.
    pub provider: String,
    /// Version of ONNX Runtime.
    pub runtime_version: String,
    /// Model of the CPU.
    pub cpu: String,
}

#[derive(Serialize, Deserialize)]
struct SpaceFile {
    format: u32,
    #[serde(flatten)]
    space: Space,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Space {
    /// The folder of this space below `root`.
    pub(super) fn folder(&self, root: &Path) -> PathBuf {
        root.join(&self.fingerprint)
    }

    /// What differs from `self` to `asked`, one `name: from -> to` per field.
    pub(super) fn differences(&self, asked: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.dim != asked.dim {
            found.push(format!("dim: {} -> {}", self.dim, asked.dim));
        }
        let names: std::collections::BTreeSet<&String> = self.fields.keys().chain(asked.fields.keys()).collect();
        for name in names {
            let (from, to) = (self.fields.get(name), asked.fields.get(name));
            if from != to {
                let text = |value: Option<&String>| value.map_or("none", String::as_str).to_owned();
                found.push(format!("{name}: {} -> {}", text(from), text(to)));
            }
        }
        found
    }

    /// Makes the folder of this space where it is missing, and checks that it is not another one's. Until
    /// [`Space::describe`] a folder made here is no space, and no listing of spaces has it.
    pub(super) fn make_folder(&self, root: &Path) -> Result<PathBuf, Error> {
        self.check()?;
        prepare_root(root)?;
        let folder = self.folder(root);
        if !self.is_described(&folder)? {
            disk::create_folders(&folder).map_err(Error::io("make cache folder", &folder))?;
        }
        Ok(folder)
    }

    /// Writes down in the folder whose rows are in it, where that is missing.
    pub(super) fn describe(&self, root: &Path) -> Result<(), Error> {
        let folder = self.folder(root);
        if self.is_described(&folder)? {
            return Ok(());
        }
        let file = folder.join(SPACE_FILE);
        let content = SpaceFile { format: CACHE_FORMAT, space: self.clone() };
        let mut text =
            serde_json::to_string_pretty(&content).map_err(|source| Error::SpaceFile { path: file.clone(), source })?;
        text.push('\n');
        durable::replace_file(&file, text.as_bytes())
            .and_then(|()| disk::sync_folder(root))
            .map_err(Error::io("write", &file))
    }

    /// Whether `folder` says that it is this space's; an error where it is another one's.
    fn is_described(&self, folder: &Path) -> Result<bool, Error> {
        let Some(found) = read(folder)? else { return Ok(false) };
        let differences = found.differences(self);
        match differences.is_empty() {
            true => Ok(true),
            false => Err(Error::SpaceDiffers { path: folder.to_owned(), differences }),
        }
    }

    fn check(&self) -> Result<(), Error> {
        check_fingerprint(&self.fingerprint)?;
        match i32::try_from(self.dim) {
            Ok(1..) => Ok(()),
            _ => Err(Error::Dim { dim: self.dim }),
        }
    }
}

fn check_fingerprint(fingerprint: &str) -> Result<(), Error> {
    let letters = fingerprint.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if letters && (1..=128).contains(&fingerprint.len()) {
        Ok(())
    } else {
        Err(Error::Fingerprint { fingerprint: fingerprint.to_owned() })
    }
}

/// Whether a cache made `folder` and marked it as its own.
pub fn is_marked(folder: &Path) -> bool {
    fs::read(folder.join(CACHE_TAG)).is_ok_and(|tag| tag == CACHEDIR_TAG.as_bytes())
}

/// The one of `known`, the fingerprints in the cache `root`, that begins with `prefix`.
pub(super) fn by_prefix<'a>(root: &Path, known: impl Iterator<Item = &'a str>, prefix: &str) -> Result<&'a str, Error> {
    if prefix.is_empty() {
        return Err(Error::PrefixEmpty);
    }
    let fits: Vec<&str> = known.filter(|fingerprint| fingerprint.starts_with(prefix)).collect();
    match fits[..] {
        [one] => Ok(one),
        [] => Err(Error::NoSpace { root: root.to_owned(), fingerprint: prefix.to_owned() }),
        _ => {
            let fits = fits.iter().map(|fingerprint| (*fingerprint).to_owned()).collect();
            Err(Error::PrefixUnclear { prefix: prefix.to_owned(), fits })
        }
    }
}

/// The space in the cache `root` whose fingerprint begins with `prefix`.
///
/// # Errors
/// A beginning that is empty, or that of none or several; an unreadable folder.
pub fn space_by_prefix(root: &Path, prefix: &str) -> Result<Space, Error> {
    let known = spaces(root)?;
    let fingerprint = by_prefix(root, known.iter().map(|space| space.fingerprint.as_str()), prefix)?;
    find(root, fingerprint)
}

/// Reads the space of a folder; `None` without a `space.json`.
fn read(folder: &Path) -> Result<Option<Space>, Error> {
    let path = folder.join(SPACE_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    let broken = |source| Error::SpaceFile { path: path.clone(), source };
    let FormatOnly { format } = serde_json::from_slice(&bytes).map_err(broken)?;
    if format != CACHE_FORMAT {
        return Err(Error::Format { path, got: format });
    }
    let SpaceFile { space, .. } = serde_json::from_slice(&bytes).map_err(broken)?;
    space.check().map_err(|error| broken(serde::de::Error::custom(error)))?;
    Ok(Some(space))
}

/// The space of `fingerprint` in a cache that exists already.
pub(super) fn find(root: &Path, fingerprint: &str) -> Result<Space, Error> {
    check_fingerprint(fingerprint)?;
    read(&root.join(fingerprint))?
        .filter(|space| space.fingerprint == fingerprint)
        .ok_or_else(|| Error::NoSpace { root: root.to_owned(), fingerprint: fingerprint.to_owned() })
}

/// A folder in a cache that is, or by its name and content was, that of a space.
#[derive(Debug)]
pub(super) struct SpaceFolder {
    pub path: PathBuf,
    /// Its name.
    pub fingerprint: String,
    /// What its `space.json` says; `None` where that file is missing, or speaks of another fingerprint, but parts are
    /// there.
    pub space: Result<Option<Space>, Error>,
}

/// All folders of spaces in a cache, by fingerprint. A cache that is not there has none; other folders are passed over.
pub(super) fn scan(root: &Path) -> Result<Vec<SpaceFolder>, Error> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", root)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("list", root))?.path();
        let Some(fingerprint) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
        if check_fingerprint(&fingerprint).is_err() || !path.is_dir() {
            continue;
        }
        let space = read(&path).map(|space| space.filter(|space| space.fingerprint == fingerprint));
        if matches!(space, Ok(None)) && !has_parts(&path)? {
            continue;
        }
        found.push(SpaceFolder { path, fingerprint, space });
    }
    found.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    Ok(found)
}

fn has_parts(folder: &Path) -> Result<bool, Error> {
    match folder::part_paths(folder) {
        Err(error) if error.is_missing() => Ok(false),
        listed => listed.map(|paths| !paths.is_empty()),
    }
}

/// Whether `folder` is described, or has parts, and so is not only on its way to a space.
pub(super) fn is_space(folder: &Path) -> Result<bool, Error> {
    Ok(folder.join(SPACE_FILE).exists() || has_parts(folder)?)
}

/// All spaces of a cache, by fingerprint. A folder that is not there has none; other folders in it are passed over, and
/// so are those whose `space.json` is missing or broken or of another format version: [`super::verify`] names them.
///
/// # Errors
/// An unreadable folder.
pub fn spaces(root: &Path) -> Result<Vec<Space>, Error> {
    Ok(scan(root)?.into_iter().filter_map(|folder| folder.space.ok().flatten()).collect())
}

/// Why a cache has nothing for `space`: the fields in which the nearest other encoder there differs from it,
/// `pooling: mean -> cls`. `None` where it has a folder of its own, or nothing at all.
pub fn miss_reason(root: &Path, space: &Space) -> Option<String> {
    let known = spaces(root).ok()?;
    if known.iter().any(|other| other.fingerprint == space.fingerprint) {
        return None;
    }
    let differences = known.iter().map(|other| other.differences(space)).filter(|found| !found.is_empty());
    differences.min_by_key(Vec::len).map(|found| found.join(", "))
}

/// Makes the cache folder. One that holds nothing of anybody else's is marked as a cache; one that has something in it
/// may be a folder of the user's, where a `.gitignore` of ours would hide files.
fn prepare_root(root: &Path) -> Result<(), Error> {
    disk::create_folders(root).map_err(Error::io("make cache folder", root))?;
    let marks = [(".gitignore", "*\n"), (CACHE_TAG, CACHEDIR_TAG)];
    for entry in fs::read_dir(root).map_err(Error::io("list", root))? {
        let name = entry.map_err(Error::io("list", root))?.file_name();
        // A process that died between the two marks left one of them, or a temporary file.
        if marks.iter().all(|(mark, _)| name != *mark)
            && !durable::is_temporary(&name.to_string_lossy(), durable::TEMPORARY_PREFIX)
        {
            return Ok(());
        }
    }
    for (name, content) in marks {
        let path = root.join(name);
        if !path.exists() {
            durable::replace_file(&path, content.as_bytes()).map_err(Error::io("write", &path))?;
        }
    }
    Ok(())
}
