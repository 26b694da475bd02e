//! Counts what a cache holds, without changing anything. Must not read embeddings.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::error::Error;
use super::folder::{self, Listing};
use super::merge::Ascending;
use super::space::{self, Space};

/// What a cache folder holds.
#[derive(Debug, Serialize)]
pub struct CacheStat {
    /// One per encoder, by fingerprint.
    pub spaces: Vec<SpaceStat>,
}

/// What a cache holds of one encoder.
#[derive(Debug, Serialize)]
pub struct SpaceStat {
    /// Hash of the fields.
    pub fingerprint: String,
    /// Values of an embedding.
    pub dim: usize,
    /// What the fingerprint was made of.
    pub fields: BTreeMap<String, String>,
    /// Rows, those with a duplicate key included.
    pub rows: u64,
    /// Parts that can be used.
    pub parts: usize,
    /// Their length on disk.
    pub bytes: u64,
    /// Rows that another part has too, so that a merge of all parts would drop them.
    pub duplicate_keys: u64,
    /// Parts in place that cannot be used: `verify` says why and sets them aside.
    pub unusable_parts: usize,
    /// Parts that were set aside.
    pub set_aside: usize,
}

/// Counts parts, rows and bytes of the cache in `root`. A folder that is not there is an empty cache.
///
/// # Errors
/// A folder or a `space.json` that cannot be read.
pub fn stat(root: &Path) -> Result<CacheStat, Error> {
    let spaces = space::spaces(root)?.into_iter().map(|space| stat_space(root, space)).collect::<Result<_, _>>()?;
    Ok(CacheStat { spaces })
}

fn stat_space(root: &Path, space: Space) -> Result<SpaceStat, Error> {
    let folder = space.folder(root);
    let Listing { parts, skipped } = folder::open_parts(&folder, &space, &[])?;
    let mut last = None;
    let mut duplicate_keys = 0;
    if parts.len() > 1 {
        for (part, place) in Ascending::of(&parts) {
            let key = Some(parts[part].key(place));
            duplicate_keys += u64::from(key == last);
            last = key;
        }
    }
    Ok(SpaceStat {
        rows: parts.iter().map(|part| part.rows() as u64).sum(),
        parts: parts.len(),
        bytes: parts.iter().map(|part| part.bytes()).sum(),
        duplicate_keys,
        unusable_parts: skipped.len(),
        set_aside: folder::set_aside_count(&folder)?,
        fingerprint: space.fingerprint,
        dim: space.dim,
        fields: space.fields,
    })
}
