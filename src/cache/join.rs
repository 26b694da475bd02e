//! Joins caches that other machines filled into one, which is then the cache that one machine would have made.
//!
//! Must not know handles. Invariants: sources are only read; a part of theirs is taken only if its content hashes to its
//! name; the target has every row that it had at every moment, and what is taken is in it whole or not at all.
//!
//! Parts are written from the rows of all of one origin, target's and sources', at once: the bytes of a part depend on
//! its rows and its origin alone, so that they are the same whichever machine computed which row, and in whatever order
//! the sources are named. A source's part is taken if it has a key that the target lacks for that origin; so a merge
//! that is run again changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::error::{Damage, Error, serialize_in_words};
use super::folder::{self, Listing};
use super::merge::{self, Ascending};
use super::part::Part;
use super::space::{self, PartOrigin, Space, SpaceFolder};
use super::store::claim;

/// What [`merge_caches`] did.
#[derive(Debug, Default, Serialize)]
pub struct JoinReport {
    /// One per encoder, by fingerprint.
    pub spaces: Vec<JoinedSpace>,
    /// What was left where it is, and why.
    pub left: Vec<LeftOut>,
}

/// What came together for one encoder.
#[derive(Debug, Default, Serialize)]
pub struct JoinedSpace {
    /// Hash of the encoder's fields.
    pub fingerprint: String,
    /// Parts that were taken from sources.
    pub taken: usize,
    /// Parts of the sources that had nothing new.
    pub known: usize,
    /// Keys that the target had not before.
    pub new_keys: u64,
    /// Rows of the target now. A key that two machines with different processors computed has two.
    pub rows: u64,
    /// Parts of the target now: one per origin.
    pub parts: usize,
    /// Keys that came with different vectors, as from processors with other instruction sets.
    pub differing_keys: u64,
    /// The largest difference between two values of such vectors.
    pub largest_difference: f32,
}

/// A part or a folder that was not merged.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    /// Where it lies.
    pub path: PathBuf,
    /// Why; in JSON, a text.
    #[serde(serialize_with = "serialize_in_words")]
    pub reason: Error,
}

impl LeftOut {
    fn new(reason: Error, folder: &Path) -> Self {
        let path = match &reason {
            Error::PartDamaged { path, .. } | Error::PartUnreadable { path, .. } | Error::Io { path, .. } => {
                path.clone()
            }
            _ => folder.to_owned(),
        };
        Self { path, reason }
    }
}

/// Merges the caches in the folders `from` into that in `into`, which is made if it is missing. Each has spaces by
/// fingerprint. Without any `from`, the parts of `into` itself become one per origin.
///
/// Other processes may fill the target meanwhile; one that merges it is waited for. Damaged parts of a source stay where
/// they are and are reported, those of the target are set aside. Spaces that name other fields under one fingerprint,
/// or that cannot be read, are left out and reported.
///
/// # Errors
/// A source that is no cache or is the target, or the system's refusal: what was joined by then is in the target.
pub fn merge_caches(from: &[PathBuf], into: &Path) -> Result<JoinReport, Error> {
    let mut report = JoinReport::default();
    let mut sources: BTreeMap<String, Vec<(PathBuf, Space)>> = BTreeMap::new();
    for root in from {
        for SpaceFolder { path, fingerprint, space } in scan_source(root, into)? {
            match space {
                Ok(Some(space)) => sources.entry(fingerprint).or_default().push((path, space)),
                Ok(None) => {
                    let reason = Error::NoSpace { root: root.clone(), fingerprint };
                    report.left.push(LeftOut { path, reason });
                }
                Err(reason) => report.left.push(LeftOut { path, reason }),
            }
        }
    }
    for space in space::spaces(into)? {
        sources.entry(space.fingerprint).or_default();
    }
    for (fingerprint, folders) in sources {
        let known = match space::find(into, &fingerprint) {
            Ok(space) => Some(space),
            Err(Error::NoSpace { .. }) => None,
            Err(other) => return Err(other),
        };
        let Some(space) = known.or_else(|| folders.first().map(|(_, space)| space.clone())) else { continue };
        let joined = join_space(into, &space, &folders, &mut report.left)?;
        report.spaces.extend(joined);
    }
    Ok(report)
}

fn scan_source(root: &Path, into: &Path) -> Result<Vec<SpaceFolder>, Error> {
    if let (Ok(from), Ok(into)) = (root.canonicalize(), into.canonicalize())
        && from == into
    {
        return Err(Error::SameCache { path: root.to_owned() });
    }
    let folders = space::scan(root)?;
    if folders.is_empty() && !space::is_marked(root) {
        return Err(Error::NoCache { path: root.to_owned() });
    }
    Ok(folders)
}

/// Joins the folders of one space; nothing if there is no row and no space in the target.
fn join_space(
    into: &Path,
    space: &Space,
    folders: &[(PathBuf, Space)],
    left: &mut Vec<LeftOut>,
) -> Result<Option<JoinedSpace>, Error> {
    let mut candidates = Vec::new();
    for (path, other) in folders {
        let differences = space.differences(other);
        if differences.is_empty() {
            candidates.extend(sound_parts(path, space, left)?);
        } else {
            let reason = Error::SpaceDiffers { path: path.clone(), differences };
            left.push(LeftOut { path: path.clone(), reason });
        }
    }
    if candidates.is_empty() && !space::is_space(&space.folder(into))? {
        return Ok(None);
    }
    let (folder, _in_use) = claim(into, space)?;
    let _lock = merge::wait_for_lock(&folder)?;
    let mut warnings = Vec::new();
    let Listing { parts, skipped } = folder::open_parts(&folder, space, &[])?;
    // What is damaged must not count as had already: a source may have the same rows whole.
    let own = merge::sound(parts, &mut warnings)?;
    let found = candidates.len();
    let held: BTreeSet<&OsStr> = own.iter().map(|part| name(part)).collect();
    candidates.retain(|part| !held.contains(name(part)));
    let same = found - candidates.len();
    let survey = Survey::of(own, candidates);
    let mut joined = JoinedSpace {
        fingerprint: space.fingerprint.clone(),
        taken: survey.taken.iter().filter(|taken| **taken).count(),
        known: survey.source.iter().filter(|source| **source).count(),
        new_keys: survey.new_keys,
        differing_keys: survey.differing_keys,
        largest_difference: survey.largest_difference,
        ..JoinedSpace::default()
    };
    joined.known = joined.known + same - joined.taken;
    for (origin, parts) in survey.groups() {
        write_group(&folder, space, &origin, &parts)?;
    }
    let Listing { parts, .. } = folder::open_parts(&folder, space, &[])?;
    joined.rows = parts.iter().map(|part| part.rows() as u64).sum();
    joined.parts = parts.len();
    left.extend(skipped.into_iter().chain(warnings).map(|reason| LeftOut::new(reason, &folder)));
    Ok(Some(joined))
}

/// Listings of a source after which its parts are taken as they are, though another process merges it all the time.
const LISTINGS: usize = 20;

/// The parts in a source's folder whose content is what their name says.
fn sound_parts(folder: &Path, space: &Space, left: &mut Vec<LeftOut>) -> Result<Vec<Arc<Part>>, Error> {
    let mut listings = 0;
    loop {
        listings += 1;
        let Listing { parts, skipped } = folder::open_parts(folder, space, &[])?;
        let mut sound = Vec::new();
        let mut reasons = skipped;
        let mut gone = false;
        for part in parts {
            match part.check() {
                Ok(()) => sound.push(part),
                // The process that fills the source has merged it away: its rows are in another part now.
                Err(Damage::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => gone = true,
                Err(Damage::Unreadable(source)) => {
                    reasons.push(Error::PartUnreadable { path: part.path().to_owned(), source });
                }
                Err(source) => reasons.push(Error::PartDamaged { path: part.path().to_owned(), source }),
            }
        }
        if !gone || listings == LISTINGS {
            left.extend(reasons.into_iter().map(|reason| LeftOut::new(reason, folder)));
            return Ok(sound);
        }
    }
}

/// Makes one part of those of one origin, which are sound and by ascending name. Those of the target go once it is
/// durable.
fn write_group(folder: &Path, space: &Space, origin: &PartOrigin, parts: &[Arc<Part>]) -> Result<(), Error> {
    let own: Vec<Arc<Part>> = parts.iter().filter(|part| part.path().parent() == Some(folder)).cloned().collect();
    if parts.len() == own.len() && own.len() < 2 {
        return Ok(());
    }
    let written = merge::write(folder, space, origin, parts);
    let written = written.map_err(Error::io("write a merged part into", folder))?;
    merge::remove_sources(folder, &own, &written.path)
}

/// What the target and the sources have together.
struct Survey {
    /// Of all, by ascending name.
    parts: Vec<Arc<Part>>,
    /// Whether a part is a source's.
    source: Vec<bool>,
    /// Whether it has a key that no part of the target with its origin has.
    taken: Vec<bool>,
    new_keys: u64,
    differing_keys: u64,
    largest_difference: f32,
}

impl Survey {
    fn of(target: Vec<Arc<Part>>, mut candidates: Vec<Arc<Part>>) -> Self {
        let own: BTreeSet<PathBuf> = target.iter().map(|part| part.path().to_owned()).collect();
        sort_by_name(&mut candidates);
        candidates.dedup_by(|a, b| name(a) == name(b));
        let mut parts: Vec<Arc<Part>> = target.into_iter().chain(candidates).collect();
        sort_by_name(&mut parts);
        let source: Vec<bool> = parts.iter().map(|part| !own.contains(part.path())).collect();
        let mut survey = Self {
            taken: vec![false; parts.len()],
            source,
            parts: Vec::new(),
            new_keys: 0,
            differing_keys: 0,
            largest_difference: 0.0,
        };
        let mut rows = Ascending::of(&parts).peekable();
        let mut group = Vec::new();
        while let Some((part, place)) = rows.next() {
            group.push((part, place));
            let key = parts[part].key(place);
            if rows.peek().is_none_or(|(part, place)| parts[*part].key(*place) != key) {
                survey.add_key(&parts, &group);
                group.clear();
            }
        }
        drop(rows);
        survey.parts = parts;
        survey
    }

    /// All rows of one key.
    fn add_key(&mut self, parts: &[Arc<Part>], rows: &[(usize, super::part::Place)]) {
        let own = || rows.iter().filter(|(part, _)| !self.source[*part]);
        self.new_keys += u64::from(own().next().is_none());
        let lacking: Vec<usize> = rows
            .iter()
            .map(|(part, _)| *part)
            .filter(|part| self.source[*part] && own().all(|(held, _)| parts[*held].origin() != parts[*part].origin()))
            .collect();
        lacking.into_iter().for_each(|part| self.taken[part] = true);
        let [(part, place), others @ ..] = rows else { return };
        let first = parts[*part].row(*place).embedding;
        let mut differs = false;
        for (part, place) in others {
            for (a, b) in first.iter().zip(parts[*part].row(*place).embedding) {
                differs |= a.to_bits() != b.to_bits();
                self.largest_difference = self.largest_difference.max((a - b).abs());
            }
        }
        self.differing_keys += u64::from(differs);
    }

    /// The target's parts and those that are taken, by origin, each group by ascending name.
    fn groups(self) -> BTreeMap<PartOrigin, Vec<Arc<Part>>> {
        let mut groups: BTreeMap<PartOrigin, Vec<Arc<Part>>> = BTreeMap::new();
        for ((part, source), taken) in self.parts.into_iter().zip(self.source).zip(self.taken) {
            if taken || !source {
                groups.entry(part.origin().clone()).or_default().push(part);
            }
        }
        groups
    }
}

fn name(part: &Part) -> &OsStr {
    part.path().file_name().unwrap_or_default()
}

fn sort_by_name(parts: &mut [Arc<Part>]) {
    parts.sort_by(|a, b| name(a).cmp(name(b)));
}
