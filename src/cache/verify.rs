//! Compares every part of a cache with its hash and sets the damaged ones aside. Must not know how rows are used.
//!
//! Invariant: what it leaves in place is sound; what it moves is not used again, and its rows are computed anew.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::error::{Damage, Error, serialize_in_words};
use super::folder;
use super::part::Part;
use super::space::{self, Space, SpaceFolder};

/// What a verification found.
#[derive(Debug, Default, Serialize)]
pub struct VerifyReport {
    /// Parts looked at.
    pub parts: usize,
    /// Their length on disk.
    pub bytes: u64,
    /// Rows in the sound ones.
    pub rows: u64,
    /// Parts that are not sound.
    pub damaged: Vec<DamagedPart>,
    /// Spaces whose `space.json` is missing or says nothing that this version understands. Their parts were compared
    /// with their hashes, but not counted by rows.
    pub undescribed: Vec<UndescribedSpace>,
    /// Parts that the system refuses to read.
    pub unreadable: Vec<UnreadablePart>,
    /// Files in the folders of spaces that no cache wrote. They are left alone.
    pub foreign: Vec<PathBuf>,
}

impl VerifyReport {
    /// Whether nothing is wrong. Foreign files are nothing wrong.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.undescribed.is_empty() && self.unreadable.is_empty()
    }
}

/// A part that is not sound.
#[derive(Debug, Serialize)]
pub struct DamagedPart {
    /// Where it lay.
    pub path: PathBuf,
    /// Where it lies now; `None` where the system refuses to move it, so that it is still in place.
    pub moved_to: Option<PathBuf>,
    /// What is wrong; in JSON, a text.
    #[serde(serialize_with = "serialize_in_words")]
    pub damage: Damage,
    /// How many of its keys no sound part has, so that they are computed again when asked for; `None` if the part
    /// cannot be read far enough to tell.
    pub rows_lost: Option<u64>,
}

/// A space without a description. Its rows are there: the next run with its bundle writes the description again.
#[derive(Debug, Serialize)]
pub struct UndescribedSpace {
    /// The folder.
    pub path: PathBuf,
    /// What is wrong with its `space.json`; `None` where there is none. In JSON, a text.
    #[serde(serialize_with = "serialize_if_any")]
    pub reason: Option<Error>,
    /// Where the damaged file lies now, if it was one that could be moved.
    pub moved_to: Option<PathBuf>,
    /// Parts that wait there for the description.
    pub parts: usize,
}

/// A part that cannot be looked at.
#[derive(Debug, Serialize)]
pub struct UnreadablePart {
    /// Where it lies.
    pub path: PathBuf,
    /// The system's reason; in JSON, a text.
    #[serde(serialize_with = "serialize_in_words")]
    pub reason: Error,
}

/// Verifies the cache in `root`: each part's content against its name, its form, its dimension, the order of its keys.
/// Reads every byte. Other processes may use the cache meanwhile.
///
/// # Errors
/// A folder that cannot be read.
pub fn verify(root: &Path) -> Result<VerifyReport, Error> {
    verify_watched(root, &mut |_, _| {})
}

/// As [`verify`]; `watch` hears between parts, and every 16 MiB within one, how many bytes were read and how many there
/// were when it began.
///
/// # Errors
/// As [`verify`].
pub fn verify_watched(root: &Path, watch: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport, Error> {
    let spaces = space::scan(root)?;
    let mut total = 0;
    for space in &spaces {
        total += folder::part_paths(&space.path)?.iter().map(|path| length(path)).sum::<u64>();
    }
    let mut verifier = Verifier { report: VerifyReport::default(), total, read: 0, watch };
    for SpaceFolder { path, space, .. } in spaces {
        match space {
            Ok(Some(space)) => verifier.space(&path, &space)?,
            Ok(None) => verifier.undescribed(path, None)?,
            Err(reason) => verifier.undescribed(path, Some(reason))?,
        }
    }
    Ok(verifier.report)
}

struct Verifier<'a> {
    report: VerifyReport,
    total: u64,
    read: u64,
    watch: &'a mut dyn FnMut(u64, u64),
}

impl Verifier<'_> {
    fn space(&mut self, folder: &Path, space: &Space) -> Result<(), Error> {
        let mut sound = Vec::new();
        let mut broken = Vec::new();
        for path in folder::part_paths(folder)? {
            // The map comes first: whatever happens to the name now, its keys can be counted.
            let (part, form) = match Part::open(&path, space) {
                Ok(Some(part)) => (Some(part), Ok(())),
                // Another process merged it away.
                Ok(None) => continue,
                Err(Error::PartDamaged { source, .. }) => (None, Err(source)),
                Err(reason) => {
                    self.report.parts += 1;
                    self.report.unreadable.push(UnreadablePart { path, reason });
                    continue;
                }
            };
            let Some(content) = self.content(&path) else { continue };
            let order = || part.as_ref().map_or(Ok(()), Part::check_order);
            // A wrong hash comes before what it entails.
            match content.and(form).and_then(|()| order()) {
                Ok(()) => sound.extend(part),
                Err(damage) => broken.push((path, part, damage)),
            }
        }
        self.report.rows += sound.iter().map(|part| part.rows() as u64).sum::<u64>();
        for (path, part, damage) in broken {
            let rows_lost = part.map(|part| rows_lost(&part, &sound));
            self.damaged(path, damage, rows_lost);
        }
        self.foreign(folder)
    }

    /// A space that nothing describes: what its parts are is unknown, but not whether they are whole.
    fn undescribed(&mut self, folder: PathBuf, reason: Option<Error>) -> Result<(), Error> {
        let moved_to = match &reason {
            Some(Error::SpaceFile { path, .. }) => folder::set_aside(path).ok(),
            _ => None,
        };
        let mut parts = 0;
        for path in folder::part_paths(&folder)? {
            match self.content(&path) {
                Some(Ok(())) => parts += 1,
                Some(Err(damage)) => self.damaged(path, damage, None),
                None => {}
            }
        }
        self.foreign(&folder)?;
        self.report.undescribed.push(UndescribedSpace { path: folder, reason, moved_to, parts });
        Ok(())
    }

    /// Compares a part with its name; `None` if it is gone, or if it cannot be read, which says nothing against it.
    fn content(&mut self, path: &Path) -> Option<Result<(), Damage>> {
        let before = self.read;
        let content = Part::check_content(path, &mut |bytes| {
            self.read = before + bytes;
            (self.watch)(self.read, self.total);
        });
        if matches!(&content, Err(Damage::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound) {
            return None;
        }
        self.report.parts += 1;
        self.report.bytes += length(path);
        if let Err(Damage::Unreadable(source)) = content {
            let reason = Error::PartUnreadable { path: path.to_owned(), source };
            self.report.unreadable.push(UnreadablePart { path: path.to_owned(), reason });
            return None;
        }
        Some(content)
    }

    fn damaged(&mut self, path: PathBuf, damage: Damage, rows_lost: Option<u64>) {
        let moved_to = folder::set_aside(&path).ok();
        self.report.damaged.push(DamagedPart { path, moved_to, damage, rows_lost });
    }

    fn foreign(&mut self, folder: &Path) -> Result<(), Error> {
        self.report.foreign.extend(folder::foreign_files(folder)?);
        Ok(())
    }
}

fn length(path: &Path) -> u64 {
    path.metadata().map(|metadata| metadata.len()).unwrap_or_default()
}

fn rows_lost(part: &Part, sound: &[Part]) -> u64 {
    let places = std::iter::successors(part.first(), |place| part.next(*place));
    let lost = places.filter(|place| !sound.iter().any(|other| other.look_up(&part.key(*place), false).is_some()));
    lost.count() as u64
}

fn serialize_if_any<S: Serializer>(error: &Option<Error>, serializer: S) -> Result<S::Ok, S::Error> {
    match error {
        Some(error) => serialize_in_words(error, serializer),
        None => serializer.serialize_none(),
    }
}
