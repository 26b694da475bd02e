//! The parts of one space as they lie on disk now, while other processes add, merge and remove parts.
//!
//! Must not know how rows are looked up. Invariant: if a row was in a part when the listing began, it is in a listed
//! part, unless that part is damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;
use super::part::Part;
use super::space::Space;
use crate::durable::disk;

/// Folder of the parts that were set aside, in that of their space.
const DAMAGED_FOLDER: &str = "damaged";

/// Merges by other processes that may come between two listings, before a listing is taken as it is.
const LISTINGS: usize = 20;

/// Parts by name, and what was wrong with those that are not used.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub parts: Vec<Arc<Part>>,
    pub skipped: Vec<Error>,
}

/// Maps every part of `space` in `folder`, by ascending name; those in `known` are not mapped again.
pub(super) fn open_parts(folder: &Path, space: &Space, known: &[Arc<Part>]) -> Result<Listing, Error> {
    let mut mapped: BTreeMap<PathBuf, Arc<Part>> =
        known.iter().map(|part| (part.path().to_owned(), part.clone())).collect();
    let mut listing = Listing::default();
    for path in stable_paths(folder, |paths| {
        listing.skipped.clear();
        paths.iter().all(|path| match mapped.contains_key(path) {
            true => true,
            false => match Part::open(path, space) {
                Ok(Some(part)) => mapped.insert(path.clone(), Arc::new(part)).is_none(),
                Ok(None) => false,
                Err(error) => {
                    listing.skipped.push(error);
                    true
                }
            },
        })
    })? {
        listing.parts.extend(mapped.remove(&path));
    }
    Ok(listing)
}

/// Lists until two listings agree and `take` was there in time for every file of the last one.
///
/// A merge publishes its part before it removes the sources, but a folder is not read in one instant: a listing can
/// come too early for the merged part and too late for a source. Whatever it missed was there before it ended, so that
/// the next listing has it.
fn stable_paths(folder: &Path, mut take: impl FnMut(&[PathBuf]) -> bool) -> Result<Vec<PathBuf>, Error> {
    let mut paths = part_paths(folder)?;
    for _ in 0..LISTINGS {
        let complete = take(&paths);
        let again = part_paths(folder)?;
        if complete && again == paths {
            break;
        }
        paths = again;
    }
    Ok(paths)
}

/// Files in `folder` that are named as a part, by ascending name.
pub(super) fn part_paths(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        let named = path.file_stem().and_then(|stem| stem.to_str()).is_some_and(is_hash);
        if named && path.extension().is_some_and(|extension| extension == "arrow") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_hash(stem: &str) -> bool {
    stem.len() == 2 * blake3::OUT_LEN && stem.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Moves a part out of the way, where nothing looks for parts; where it lies then.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    let folder = crate::durable::parent(path);
    let aside = folder.join(DAMAGED_FOLDER);
    let target = aside.join(path.file_name().unwrap_or_default());
    disk::create_folders(&aside)
        .and_then(|()| disk::move_aside(path, &target))
        .and_then(|()| disk::sync_folder(&aside))
        .and_then(|()| disk::sync_folder(folder))
        .map_err(Error::io("set aside", path))?;
    Ok(target)
}

/// How many parts were set aside in the folder of a space.
pub(super) fn set_aside_count(folder: &Path) -> Result<usize, Error> {
    let aside = folder.join(DAMAGED_FOLDER);
    if aside.exists() { part_paths(&aside).map(|paths| paths.len()) } else { Ok(0) }
}
