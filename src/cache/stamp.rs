//! When a space was last used, and whether it is in use now: the file `last-used` in its folder.
//!
//! Must not know what is done with a space. Invariants: whoever holds an [`InUse`] keeps the folder from being removed;
//! the time in the file never goes back, whatever the clock does.
//!
//! The file holds seconds since 1970 as twenty digits, written over in place when a space is opened and when a run
//! ends, so that it tells the truth on file systems that keep no access times, and after a copy. It carries the
//! advisory lock: shared by all that use the space, taken alone by the one that removes it. Where the file cannot be
//! made (a cache that may only be read) there is no lock, and a removal is not ours to fear: parts stay readable for
//! as long as they are mapped.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::folder;
use crate::durable::disk;

pub(super) const STAMP_FILE: &str = "last-used";

/// Times before this one (2020-01-01) are those of a clock that was never set: they tell nothing.
const EARLIEST: u64 = 1_577_836_800;

/// A space in use, for as long as this lives.
#[derive(Debug)]
pub(super) struct InUse {
    file: File,
}

impl InUse {
    /// Marks the space in `folder` as used now; an error where the folder is gone, or the system has no way to.
    pub fn claim(folder: &Path) -> io::Result<Self> {
        let path = folder.join(STAMP_FILE);
        let writable = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        // Of a folder that may only be read and has no stamp, the first refusal is the one that tells.
        let file = writable.or_else(|refused| File::open(&path).map_err(|_| refused))?;
        loop {
            match file.lock_shared() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                locked => break locked?,
            }
        }
        let claim = Self { file };
        claim.stamp();
        Ok(claim)
    }

    /// Writes down that the space is used now. A stamp that cannot be written costs nothing but its place in the order
    /// in which spaces are removed.
    pub fn stamp(&self) {
        let now = seconds(SystemTime::now());
        let known = read(&self.file).unwrap_or_default();
        let mut file = &self.file;
        let written = file.rewind().and_then(|()| file.write_all(format!("{:020}\n", now.max(known)).as_bytes()));
        if let Err(error) = written {
            tracing::debug!(%error, "the time of last use was not written");
        }
    }

    /// Whether `folder` is still the one that was claimed: not removed, moved or made anew.
    pub fn is_of(&self, folder: &Path) -> bool {
        disk::leads_to(&folder.join(STAMP_FILE), &self.file)
    }
}

/// Claims the space in `folder` for its removal; `None` while anybody uses it. Nobody can begin to use it until the
/// file is dropped, and whoever waited sees then that the folder is gone.
pub(super) fn claim_alone(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(STAMP_FILE);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {
            let claim = InUse { file };
            match claim.is_of(folder) {
                true => Ok(Some(claim.file)),
                // Since it was opened another removal took the folder away, and somebody may have made and claimed it anew.
                false if folder.exists() => Ok(None),
                false => Err(io::ErrorKind::NotFound.into()),
            }
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// How long the space in `folder` was not used: since its stamp or its newest part, whichever is later. A time that
/// lies in the future, or that no clock can have meant, counts as now; so does not knowing.
pub(super) fn unused_for(folder: &Path) -> Duration {
    let stamp = File::open(folder.join(STAMP_FILE)).ok().and_then(|file| read(&file));
    let written = folder::part_paths(folder).into_iter().flatten().filter_map(|path| {
        let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
        Some(seconds(modified))
    });
    let newest = written.chain(stamp).filter(|time| *time >= EARLIEST).max();
    let now = seconds(SystemTime::now());
    Duration::from_secs(newest.map_or(0, |newest| now.saturating_sub(newest)))
}

fn read(mut file: &File) -> Option<u64> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(64).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, text: &str) {
        fs::write(folder.join(STAMP_FILE), text).unwrap();
    }

    #[test]
    fn a_stamp_in_the_future_or_without_sense_counts_as_now_and_never_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let day = 86_400;
        let now = seconds(SystemTime::now());
        for (text, unused) in [
            (format!("{:020}\n", now + 1_000 * day), 0),
            ("00000000000000000000\n".to_owned(), 0),
            (format!("{:020}\n", EARLIEST - 1), 0),
            ("yesterday".to_owned(), 0),
            (String::new(), 0),
            (format!("{:020}\n", now - 10 * day), 10),
        ] {
            write(folder.path(), &text);
            assert_eq!(unused_for(folder.path()).as_secs() / day, unused, "{text:?}");
        }
        let future = format!("{:020}\n", now + 1_000 * day);
        write(folder.path(), &future);
        drop(InUse::claim(folder.path()).unwrap());
        assert_eq!(fs::read_to_string(folder.path().join(STAMP_FILE)).unwrap(), future, "the clock was set back");
        write(folder.path(), &format!("{:020}\n", now - 10 * day));
        drop(InUse::claim(folder.path()).unwrap());
        assert_eq!(unused_for(folder.path()).as_secs() / day, 0);
    }

    #[test]
    fn a_space_in_use_cannot_be_claimed_for_removal_and_its_users_see_when_it_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("space");
        fs::create_dir(&folder).unwrap();
        let users = [0, 1].map(|_| InUse::claim(&folder).unwrap());
        assert!(users[0].is_of(&folder));
        assert!(claim_alone(&folder).unwrap().is_none());
        drop(users);
        let alone = claim_alone(&folder).unwrap().unwrap();
        fs::rename(&folder, root.path().join("aside")).unwrap();
        drop(alone);
        let user = InUse::claim(&root.path().join("aside")).unwrap();
        fs::create_dir(&folder).unwrap();
        assert!(!user.is_of(&folder));
        write(&folder, "");
        assert!(!user.is_of(&folder));
    }
}
