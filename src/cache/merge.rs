//! Makes few large parts out of many small ones, while other processes read, fill and try to merge the same folder.
//!
//! Must not know handles. Invariants: a source is removed only after a part with all of its keys is durable under its
//! real name, so a kill leaves at worst a row in two parts; what is merged was compared with its hash before, so
//! damage never gets a name that says it is sound; memory is a few record batches (16 MiB each) beside mapped files.
//!
//! One process merges at a time, by an advisory lock on `.merge.lock` that the system lets go when its holder dies.
//! Without it, two merges that disagree on a key's winner could each take the other's result for a source.
//!
//! Parts are merged with those of the same origin only, so that a part's metadata holds for each of its rows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Damage, Error};
use super::folder::{self, Listing};
use super::key::Key;
use super::part::{Part, Place};
use super::space::{PartOrigin, Space};
use super::writer::PartWriter;
use crate::durable::disk;

pub(super) const LOCK_FILE: &str = ".merge.lock";

/// A part below this is merged by every [`MergeScope::Small`] merge: writing so little again costs nothing.
const TINY_BYTES: u64 = 16 << 20;
/// A part of this size or more is left as it is by [`MergeScope::Small`].
pub(super) const LARGE_BYTES: u64 = 1 << 30;

/// Which parts a merge takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeScope {
    /// Those below 16 MiB, and larger ones (to 1 GiB) that are at most twice as large as all the smaller together: so a
    /// row is written again a number of times that grows with the logarithm of the cache, and the number of parts too.
    Small,
    /// The smallest of those that [`MergeScope::Small`] takes, until they have 1 GiB together, so less than 2 GiB: what a
    /// run does between two of its parts.
    Bounded,
    /// All of them: one part per origin is left, without duplicate keys.
    All,
}

/// What a merge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MergeReport {
    /// Parts that were taken.
    pub sources: usize,
    /// Parts that they became.
    pub written: usize,
    /// Rows in those.
    pub rows: u64,
    /// Rows left out because a part with a smaller name had their key.
    pub duplicates: u64,
    /// Whether another process was merging, so that nothing was done.
    pub busy: bool,
}

/// Merges the parts of `space` in `folder`; also what was wrong with parts that were set aside on the way.
pub(super) fn merge(folder: &Path, space: &Space, scope: MergeScope) -> Result<(MergeReport, Vec<Error>), Error> {
    let mut report = MergeReport::default();
    // Looked at twice, so that where there is nothing to merge a cache can be read without leave to write.
    if groups(folder, space, scope)?.0.is_empty() {
        return Ok((report, Vec::new()));
    }
    let Some(_lock) = lock(folder)? else {
        return Ok((MergeReport { busy: true, ..report }, Vec::new()));
    };
    let (groups, mut warnings) = groups(folder, space, scope)?;
    for (origin, parts) in groups {
        let parts = sound(parts, &mut warnings)?;
        if parts.len() < 2 {
            continue;
        }
        let merged = write(folder, space, &origin, &parts).map_err(Error::io("write a merged part into", folder))?;
        remove_sources(folder, &parts, &merged.path)?;
        report.sources += parts.len();
        report.written += 1;
        report.rows += merged.rows;
        report.duplicates += merged.duplicates;
    }
    Ok((report, warnings))
}

type Groups = BTreeMap<PartOrigin, Vec<Arc<Part>>>;

/// What would be merged now: by origin, two parts or more by ascending name. Also why some parts cannot be read.
fn groups(folder: &Path, space: &Space, scope: MergeScope) -> Result<(Groups, Vec<Error>), Error> {
    let Listing { parts, skipped } = folder::open_parts(folder, space, &[])?;
    let mut groups = Groups::new();
    for part in parts {
        groups.entry(part.origin().clone()).or_default().push(part);
    }
    for parts in groups.values_mut() {
        *parts = choose(std::mem::take(parts), scope);
    }
    groups.retain(|_, parts| parts.len() > 1);
    Ok((groups, skipped))
}

/// The lock of those that merge, held until the file is dropped; `None` while another process has it.
pub(super) fn lock(folder: &Path) -> Result<Option<File>, Error> {
    let (path, file) = open_lock(folder)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
    }
}

/// As [`lock`], but waits for it.
pub(super) fn wait_for_lock(folder: &Path) -> Result<File, Error> {
    let (path, file) = open_lock(folder)?;
    file.lock().map_err(Error::io("lock", &path))?;
    Ok(file)
}

fn open_lock(folder: &Path) -> Result<(PathBuf, File), Error> {
    let path = folder.join(LOCK_FILE);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(Error::io("open", &path))?;
    Ok((path, file))
}

/// The parts to merge, by ascending name; fewer than two if there is nothing to do.
fn choose(mut parts: Vec<Arc<Part>>, scope: MergeScope) -> Vec<Arc<Part>> {
    if scope != MergeScope::All {
        parts.sort_by_key(|part| part.bytes());
        let sizes: Vec<u64> = parts.iter().map(|part| part.bytes()).collect();
        parts.truncate(small_count(&sizes));
        if scope == MergeScope::Bounded {
            parts.truncate(bounded_count(&sizes));
        }
        parts.sort_by(|a, b| a.path().cmp(b.path()));
    }
    parts
}

/// How many of the smallest parts a small merge takes, sizes ascending.
fn small_count(sizes: &[u64]) -> usize {
    let mut taken = 0;
    let mut smaller = 0_u64;
    for (index, &size) in sizes.iter().enumerate().take_while(|(_, size)| **size < LARGE_BYTES) {
        if size < TINY_BYTES || size <= 2 * smaller {
            taken = index + 1;
        }
        smaller += size;
    }
    taken
}

/// How many of the smallest parts it takes to have 1 GiB together, sizes ascending: what they become is large, and not
/// merged once more.
fn bounded_count(sizes: &[u64]) -> usize {
    let mut sum = 0_u64;
    let enough = sizes.iter().position(|size| {
        sum = sum.saturating_add(*size);
        sum >= LARGE_BYTES
    });
    enough.map_or(sizes.len(), |index| index + 1)
}

/// The parts that are what their name says. Those that are not are set aside; one that cannot be read now may well be
/// sound, so it stays where it is and is only left out.
pub(super) fn sound(parts: Vec<Arc<Part>>, warnings: &mut Vec<Error>) -> Result<Vec<Arc<Part>>, Error> {
    let mut kept = Vec::with_capacity(parts.len());
    for part in parts {
        match part.check() {
            Ok(()) => kept.push(part),
            Err(Damage::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(Damage::Unreadable(source)) => {
                warnings.push(Error::PartUnreadable { path: part.path().to_owned(), source });
            }
            Err(source) => warnings.push(Error::PartDamaged { path: folder::set_aside(part.path())?, source }),
        }
    }
    Ok(kept)
}

pub(super) struct Merged {
    pub path: PathBuf,
    pub rows: u64,
    pub duplicates: u64,
}

/// Writes the rows of `parts`, which are by ascending name, as one part.
pub(super) fn write(folder: &Path, space: &Space, origin: &PartOrigin, parts: &[Arc<Part>]) -> io::Result<Merged> {
    let mut writer = PartWriter::create(folder, space, origin)?;
    let (mut rows, mut duplicates) = (0, 0);
    let mut last = None;
    for (part, place) in Ascending::of(parts) {
        let row = parts[part].row(place);
        if last == Some(row.key) {
            duplicates += 1;
            continue;
        }
        last = Some(row.key);
        writer.push(row)?;
        rows += 1;
    }
    Ok(Merged { path: writer.publish()?, rows, duplicates })
}

/// Removes the sources of `merged`. It can be one of them, where one had all the rows of the others.
pub(super) fn remove_sources(folder: &Path, sources: &[Arc<Part>], merged: &Path) -> Result<(), Error> {
    for source in sources.iter().filter(|source| source.path() != merged) {
        disk::remove(source.path()).map_err(Error::io("remove a merged part", source.path()))?;
    }
    disk::sync_folder(folder).map_err(Error::io("sync", folder))
}

/// The rows of several parts by ascending key; among equal keys, that of the first part comes first.
pub(super) struct Ascending<'a> {
    parts: &'a [Arc<Part>],
    heads: BinaryHeap<Reverse<(Key, usize, Place)>>,
}

impl<'a> Ascending<'a> {
    pub fn of(parts: &'a [Arc<Part>]) -> Self {
        let head =
            |(index, part): (usize, &Arc<Part>)| part.first().map(|place| Reverse((part.key(place), index, place)));
        Self { parts, heads: parts.iter().enumerate().filter_map(head).collect() }
    }
}

impl Iterator for Ascending<'_> {
    /// Index of the part, and the row's place in it.
    type Item = (usize, Place);

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((_, index, place)) = self.heads.pop()?;
        let part = &self.parts[index];
        if let Some(next) = part.next(place) {
            self.heads.push(Reverse((part.key(next), index, next)));
        }
        Some((index, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::RowMeta;
    use crate::cache::rows::Rows;
    use crate::cache::store::claim;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_part_that_cannot_be_read_now_stays_where_it_is() {
        let root = tempfile::tempdir().unwrap();
        let space = Space { fingerprint: "f00d".into(), dim: 2, fields: BTreeMap::new() };
        let (folder, _in_use) = claim(root.path(), &space).unwrap();
        let mut rows = Rows::new(space.dim, PartOrigin::default());
        rows.push(Key::of_text("a"), &[1.0, 2.0], RowMeta::default());
        let mut writer = PartWriter::create(&folder, &space, rows.origin()).unwrap();
        rows.sorted().try_for_each(|row| writer.push(row)).unwrap();
        let path = writer.publish().unwrap();
        let part = Arc::new(Part::open(&path, &space).unwrap().unwrap());
        let mut warnings = Vec::new();
        assert_eq!(sound(vec![part.clone()], &mut warnings).unwrap().len(), 1);
        // A folder can be opened, but not read as a file.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(sound(vec![part.clone()], &mut warnings).unwrap().is_empty());
        assert!(matches!(&warnings[..], [Error::PartUnreadable { path: named, .. }] if *named == path), "{warnings:?}");
        assert!(path.exists() && !folder.join(folder::DAMAGED_FOLDER).exists());
        std::fs::remove_dir(&path).unwrap();
        assert!(sound(vec![part], &mut warnings).unwrap().is_empty());
        assert_eq!(warnings.len(), 1, "one that is gone was merged by another process");
    }

    #[test]
    fn a_small_merge_takes_what_is_tiny_and_what_the_rest_outweighs() {
        assert_eq!(small_count(&[]), 0);
        assert_eq!(small_count(&[MIB, TINY_BYTES - 1]), 2);
        assert_eq!(small_count(&[MIB, TINY_BYTES]), 1);
        assert_eq!(small_count(&[MIB, 64 * MIB, 64 * MIB, 64 * MIB]), 4);
        assert_eq!(small_count(&[MIB, 200 * MIB]), 1);
        assert_eq!(small_count(&[600 * MIB, LARGE_BYTES - 1]), 2);
        assert_eq!(small_count(&[600 * MIB, LARGE_BYTES]), 0);
    }

    #[test]
    fn a_bounded_merge_takes_what_becomes_large_and_no_more() {
        assert_eq!(bounded_count(&[]), 0);
        assert_eq!(bounded_count(&[64 * MIB; 10]), 10);
        assert_eq!(bounded_count(&[64 * MIB; 100]), 16);
        assert_eq!(bounded_count(&[63 * MIB; 100]), 17, "so that the merged part is left alone from then on");
        assert_eq!(bounded_count(&[MIB, LARGE_BYTES - 1, LARGE_BYTES - 1]), 2);
    }
}
