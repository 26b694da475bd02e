//! Compares every part of a cache with its hash and sets the damaged ones aside. Must not know how rows are used.
//!
//! Invariant: what it leaves in place is sound; what it moves is not used again, and its rows are computed anew.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::error::{Damage, Error};
use super::folder;
use super::part::Part;
use super::space::{self, Space};

/// What a verification found.
#[derive(Debug, Default, Serialize)]
pub struct VerifyReport {
    /// Parts looked at.
    pub parts: usize,
    /// Their length on disk.
    pub bytes: u64,
    /// Rows in the sound ones.
    pub rows: u64,
    /// Those that are not sound.
    pub damaged: Vec<DamagedPart>,
}

/// A part that was set aside.
#[derive(Debug, Serialize)]
pub struct DamagedPart {
    /// Where it lay.
    pub path: PathBuf,
    /// Where it lies now.
    pub moved_to: PathBuf,
    /// What is wrong; in JSON, a text.
    #[serde(serialize_with = "in_words")]
    pub damage: Damage,
    /// How many of its keys no sound part has, so that they are computed again when asked for; `None` if the part
    /// cannot be read far enough to tell.
    pub rows_lost: Option<u64>,
}

/// Verifies the cache in `root`: each part's content against its name, its form, its dimension, the order of its keys.
/// Reads every byte. Other processes may use the cache meanwhile.
///
/// # Errors
/// A folder or a `space.json` that cannot be read, or a part that cannot be moved.
pub fn verify(root: &Path) -> Result<VerifyReport, Error> {
    let mut report = VerifyReport::default();
    for space in space::spaces(root)? {
        verify_space(&space.folder(root), &space, &mut report)?;
    }
    Ok(report)
}

fn verify_space(folder: &Path, space: &Space, report: &mut VerifyReport) -> Result<(), Error> {
    let mut sound = Vec::new();
    let mut broken = Vec::new();
    for path in folder::part_paths(folder)? {
        // The map comes first: whatever happens to the name now, its keys can be counted.
        let (part, form) = match Part::open(&path, space) {
            Ok(Some(part)) => (Some(part), Ok(())),
            // Another process merged it away.
            Ok(None) => continue,
            Err(Error::PartDamaged { source, .. }) => (None, Err(source)),
            Err(other) => return Err(other),
        };
        let content = match Part::check_content(&path) {
            Err(Damage::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => continue,
            content => content,
        };
        report.parts += 1;
        report.bytes += path.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        let order = || part.as_ref().map_or(Ok(()), Part::check_order);
        // A wrong hash comes before what it entails.
        match content.and(form).and_then(|()| order()) {
            Ok(()) => sound.extend(part),
            Err(damage) => broken.push((path, part, damage)),
        }
    }
    report.rows += sound.iter().map(|part| part.rows() as u64).sum::<u64>();
    for (path, part, damage) in broken {
        let moved_to = folder::set_aside(&path)?;
        let rows_lost = part.map(|part| rows_lost(&part, &sound));
        report.damaged.push(DamagedPart { path, moved_to, damage, rows_lost });
    }
    Ok(())
}

fn rows_lost(part: &Part, sound: &[Part]) -> u64 {
    let places = std::iter::successors(part.first(), |place| part.next(*place));
    let lost = places.filter(|place| !sound.iter().any(|other| other.find(&part.key(*place)).is_some()));
    lost.count() as u64
}

/// The damage and what caused it, on one line.
fn in_words<S: Serializer>(damage: &Damage, serializer: S) -> Result<S::Ok, S::Error> {
    let causes = std::iter::successors(Some(damage as &dyn std::error::Error), |error| error.source());
    serializer.serialize_str(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}
