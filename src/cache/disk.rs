//! Every step by which the cache changes a disk, in one place, so that a test can stop or fail each of them.
//!
//! Must not know what is written. Invariant: no other file of this room renames, removes or syncs.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::durable;

/// Opens a temporary file in `folder`, locked until it is closed.
pub(super) fn create(folder: &Path) -> io::Result<NamedTempFile> {
    reach("create")?;
    durable::create_locked(folder, TEMPORARY_PREFIX)
}

/// Start of a temporary file's name.
pub(super) const TEMPORARY_PREFIX: &str = ".part-";

/// Writes all of `bytes`.
pub(super) fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    reach("write")?;
    file.write_all(bytes)
}

/// Makes the file readable like any file of the user, and its content durable.
pub(super) fn sync_file(file: &File) -> io::Result<()> {
    reach("sync file")?;
    durable::set_ordinary_mode(file)?;
    file.sync_all()
}

/// Gives the temporary file its real name; on failure it is removed.
pub(super) fn rename(file: NamedTempFile, target: &Path) -> io::Result<()> {
    reach("rename")?;
    file.persist(target).map(drop).map_err(|error| error.error)
}

/// Moves a file; one that is gone already is no error.
pub(super) fn move_aside(from: &Path, to: &Path) -> io::Result<()> {
    reach("move aside")?;
    ignore_missing(fs::rename(from, to))
}

/// Makes renames and removals in `folder` durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    reach("sync folder")?;
    durable::sync_folder(folder)
}

/// Removes a file; one that is gone already is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    reach("remove")?;
    ignore_missing(fs::remove_file(path))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(not(test))]
#[inline(always)]
#[expect(clippy::unnecessary_wraps, reason = "the test build fails here")]
fn reach(_step: &'static str) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use fail_points::reach;

/// Makes the steps of the calling thread fail, or the process die as by SIGKILL, at a chosen one.
#[cfg(test)]
pub(super) mod fail_points {
    use std::cell::RefCell;
    use std::io;

    /// What happens at the chosen step, in place of the step.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub enum Mode {
        Fail,
        Die,
    }

    #[derive(Default)]
    struct Plan {
        at: Option<(usize, Mode)>,
        taken: Vec<&'static str>,
    }

    thread_local! {
        static PLAN: RefCell<Plan> = RefCell::default();
    }

    /// Starts counting anew; the step of number `at` (0-based) goes wrong.
    pub fn plan(at: Option<(usize, Mode)>) {
        PLAN.with_borrow_mut(|plan| *plan = Plan { at, taken: Vec::new() });
    }

    /// The steps since the last [`plan`].
    pub fn taken() -> Vec<&'static str> {
        PLAN.with_borrow(|plan| plan.taken.clone())
    }

    pub(in super::super) fn reach(step: &'static str) -> io::Result<()> {
        PLAN.with_borrow_mut(|plan| {
            let number = plan.taken.len();
            plan.taken.push(step);
            match plan.at {
                Some((at, Mode::Fail)) if at == number => Err(io::ErrorKind::StorageFull.into()),
                Some((at, Mode::Die)) if at == number => std::process::abort(),
                _ => Ok(()),
            }
        })
    }
}
