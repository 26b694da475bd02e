//! A checkpoint from the Hugging Face hub as a folder on this machine, and the promise that it stays the same one.
//!
//! This room downloads, resumes, checks and pins files; it knows neither what stands in a config nor what a bundle is.
//! The files lie where Python's `huggingface_hub` keeps them, so that either uses what the other has fetched. Its
//! invariant: a file has its place in a snapshot only with the size, and where the hub tells it the SHA-256, that the
//! hub announced; a name that a server sent becomes a path only after it was found in the list of wanted names.

mod client;
mod download;
mod error;
mod fetch;
mod id;
mod lock;
mod plan;
mod settings;
mod store;

pub use error::{Difference, Error};
pub use fetch::{Check, Hub, HubKind, HubRequest, Snapshot};
pub use id::HubId;
pub use lock::{LockFile, LockedFile, LockedModel};
pub use settings::{HubSettings, Token};

use std::time::Duration;

/// What goes on during a download, for whoever shows it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The hub is asked which files a revision has.
    Asking {
        /// Address of the hub.
        endpoint: &'a str,
        /// The model.
        id: &'a HubId,
        /// Branch, tag or commit.
        revision: &'a str,
    },
    /// All files are here; nothing is downloaded.
    Reusing {
        /// The snapshot's folder.
        folder: &'a std::path::Path,
    },
    /// A file's download begins.
    File {
        /// Its name in the model.
        name: &'a str,
        /// Its size in bytes.
        size: u64,
        /// Bytes that an earlier, cut download left.
        have: u64,
    },
    /// So many bytes of the file are here now.
    Received(u64),
    /// The file is complete and in its place.
    FileDone,
    /// Another process downloads this file; it is waited for.
    Waiting {
        /// Its name in the model.
        name: &'a str,
    },
    /// An attempt failed; there will be another.
    Retry {
        /// Why.
        error: &'a Error,
        /// How long the pause is.
        pause: Duration,
    },
}

/// Whoever is told what goes on.
pub type Observer<'a> = dyn FnMut(&Event<'_>) + 'a;
