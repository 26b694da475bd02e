//! How rows in memory become parts, and how many small parts become few, while others do the same.
//!
//! Must not know how rows are found. Invariants: rows leave memory only when a part that has them is mapped; parts of a
//! folder that was removed under the handle stay readable for it, and what is computed from then on goes to a new one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::Error;
use super::folder::{self, Listing};
use super::merge::{self, LARGE_BYTES, MergeReport, MergeScope};
use super::part::Part;
use super::rows::Rows;
use super::store::{EmbeddingCache, claim, lock};
use super::writer::PartWriter;

/// Parts below 1 GiB above which a run merges some between two parts of its own: look-ups in vain go to every part.
const MANY_PARTS: usize = 64;

impl EmbeddingCache {
    /// Closes the open part if it is old enough or full: call it between batches.
    ///
    /// # Errors
    /// As [`EmbeddingCache::close_part`].
    pub fn tick(&self) -> Result<(), Error> {
        let due = {
            let open = &self.read().open;
            !open.is_empty() && (open.age() >= self.part_age || open.bytes() >= self.part_bytes)
        };
        if due { self.close_and_tidy() } else { Ok(()) }
    }

    /// Closes the part, and merges some small ones where there are many. That part of the work is under 2 GiB: a short
    /// pause for the thread that does it, none for the others.
    pub(super) fn close_and_tidy(&self) -> Result<(), Error> {
        self.close_part()?;
        if let Err(error) = self.tidy()
            && !std::mem::replace(&mut lock(&self.warnings).untidy, true)
        {
            self.warn(vec![error]);
        }
        Ok(())
    }

    fn tidy(&self) -> Result<(), Error> {
        if lock(&self.home).removed {
            return Ok(());
        }
        let paths = folder::part_paths(&self.folder)?;
        let small = |path: &PathBuf| path.metadata().is_ok_and(|metadata| metadata.len() < LARGE_BYTES);
        if paths.iter().filter(|path| small(path)).count() > MANY_PARTS {
            return self.merge(MergeScope::Bounded).map(drop);
        }
        // What another process merged away is let go, and what it merged is seen.
        let parts = self.read().parts.clone();
        let gone = parts.iter().any(|part| paths.binary_search_by(|path| path.as_path().cmp(part.path())).is_err());
        if gone { self.refresh() } else { Ok(()) }
    }

    /// Writes the rows that are in memory as a part; when it returns, they survive a loss of power. Other threads may
    /// append and read meanwhile. After a failure the rows stay in memory and the next call tries again.
    ///
    /// # Errors
    /// The system's refusal to write, sync or rename.
    pub fn close_part(&self) -> Result<(), Error> {
        let _closing = lock(&self.closing);
        if self.read().sealed.is_some() {
            // Left by a call that failed; it goes first, as a part of its own.
            self.write_sealed()?;
        }
        self.write_sealed()
    }

    /// Closes the open part, merges the small parts of this space, and sees what other processes added. A merge that
    /// fails costs nothing but tidiness: it becomes a warning.
    ///
    /// # Errors
    /// As [`EmbeddingCache::close_part`], and when the folder cannot be listed.
    pub fn finish(&self) -> Result<(), Error> {
        self.close_part()?;
        match self.merge(MergeScope::Small) {
            // Whoever may only read a cache may well use one that could be tidier.
            Err(error) if error.is_refusal() => {}
            Err(error) => self.warn(vec![error]),
            Ok(_) => {}
        }
        if let Some(in_use) = &lock(&self.home).in_use {
            in_use.stamp();
        }
        self.refresh()
    }

    /// Merges parts on disk, whoever wrote them. Does nothing while another process merges.
    ///
    /// # Errors
    /// The system's refusal; every row is still in a part then, maybe in two.
    pub fn merge(&self, scope: MergeScope) -> Result<MergeReport, Error> {
        let outcome = merge::merge(&self.folder, &self.space, scope);
        // What was published or set aside before a failure counts as well.
        self.refresh()?;
        let (report, warnings) = outcome?;
        self.warn(warnings);
        Ok(report)
    }

    /// Maps what other processes added and lets go of parts that are no longer there.
    pub(super) fn refresh(&self) -> Result<(), Error> {
        let _closing = lock(&self.closing);
        self.list_again()
    }

    /// The caller holds `closing`.
    fn list_again(&self) -> Result<(), Error> {
        let known = self.read().parts.clone();
        let removed = self.notice_removal();
        let listing = match folder::open_parts(&self.folder, &self.space, &known) {
            Err(_) if removed => Listing::default(),
            listing => listing?,
        };
        let mut parts = listing.parts;
        parts.extend(lock(&self.home).orphans.iter().cloned());
        parts.sort_by(|a, b| a.path().cmp(b.path()));
        parts.dedup_by(|a, b| a.path() == b.path());
        self.write().parts = Arc::new(parts);
        self.warn(listing.skipped);
        Ok(())
    }

    /// Whether the folder was removed under the handle and not made anew yet. What was mapped by then is kept.
    fn notice_removal(&self) -> bool {
        let mut home = lock(&self.home);
        let there = match &home.in_use {
            Some(in_use) => in_use.is_of(&self.folder),
            None => self.folder.is_dir(),
        };
        if !there && !home.removed {
            home.removed = true;
            home.in_use = None;
            home.orphans.extend(self.read().parts.iter().cloned());
            self.warn(vec![Error::FolderRemoved { path: self.folder.clone() }]);
        }
        home.removed
    }

    /// Makes the folder anew if it was removed.
    fn settle(&self) -> Result<(), Error> {
        if self.notice_removal() {
            let (_, in_use) = claim(&self.root, &self.space)?;
            let mut home = lock(&self.home);
            home.in_use = in_use;
            home.removed = false;
        }
        Ok(())
    }

    pub(super) fn warn(&self, errors: Vec<Error>) {
        let mut warnings = lock(&self.warnings);
        for error in errors {
            let known = match &error {
                Error::PartDamaged { path, .. } | Error::PartUnreadable { path, .. } => {
                    !warnings.known_parts.insert(path.clone())
                }
                _ => false,
            };
            if !known {
                warnings.new.push(error);
            }
        }
    }

    /// Writes the sealed rows, else the open ones, if there are any. The caller holds `closing`.
    fn write_sealed(&self) -> Result<(), Error> {
        let Some(rows) = self.seal() else { return Ok(()) };
        self.settle()?;
        let path = match self.write_part(&rows) {
            // It was removed since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.settle()?;
                self.write_part(&rows)
            }
            written => written,
        };
        let path = path.map_err(Error::io("write a part into", &self.folder))?;
        match Part::open(&path, &self.space)? {
            Some(part) => self.write().insert(part),
            // Another process has merged it away already: its rows are in the part that it wrote.
            None => self.list_again()?,
        }
        self.write().sealed = None;
        Ok(())
    }

    fn seal(&self) -> Option<Arc<Rows>> {
        let mut state = self.write();
        if state.sealed.is_none() && !state.open.is_empty() {
            let origin = state.open.origin().clone();
            let full = std::mem::replace(&mut state.open, Rows::new(self.space.dim, origin));
            state.sealed = Some(Arc::new(full));
        }
        state.sealed.clone()
    }

    fn write_part(&self, rows: &Rows) -> io::Result<PathBuf> {
        let mut writer = PartWriter::create(&self.folder, &self.space, rows.origin())?;
        rows.sorted().try_for_each(|row| writer.push(row))?;
        writer.publish()
    }
}
