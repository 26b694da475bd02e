//! Keeps embeddings by content, so that no text is encoded twice by one encoder: `root/<fingerprint>/<hash>.arrow`.
//!
//! Knows keys and rows of floats; must not know papers, tokenizers or sessions. The invariant: a file under a part's
//! real name is whole, never changed, and removed only after all of its rows are durable in another part.
//!
//! On disk, format version 1 ([`CACHE_FORMAT`]):
//!
//! | file | what |
//! |---|---|
//! | `CACHEDIR.TAG`, `.gitignore` | in a root that was empty: keeps backups and git away |
//! | `<fingerprint>/space.json` | the encoder's fingerprint fields and the dimension, for people and for misses that explain themselves |
//! | `<fingerprint>/<64 hex digits>.arrow` | a part: an Arrow IPC file, uncompressed, named by the BLAKE3 of its bytes |
//! | `<fingerprint>/damaged/` | parts that `verify` or a merge found changed on disk |
//! | `<fingerprint>/last-used` | when a process last opened the space; locked by all that use it, so that `prune` leaves it. Alone in its folder it was left by a process that was killed while it opened a space, and serves the next one |
//! | `<fingerprint>/.merge.lock` | empty; held by the one process that merges. Filling the cache takes no lock |
//!
//! A part has the columns `key: FixedSizeBinary(16)` (strictly ascending through the file),
//! `embedding: FixedSizeList<f32, dim>`, `n_tokens: uint32`, `n_dropped: uint32`, `title_cut: bool`, none nullable, and
//! one or several record batches: about 16 MiB each, their row count a function of the dimension alone. So a merge
//! streams, and the same rows of the same origin give the same bytes in whatever order they arrived. Buffers are
//! 64-byte aligned and used straight from the mapped file.

mod closing;
mod error;
mod filter;
mod folder;
mod join;
mod key;
mod layout;
mod lookup;
mod mapped;
mod merge;
mod part;
mod pending;
mod prune;
mod rows;
mod space;
mod stamp;
mod stat;
mod store;
mod verify;
mod writer;

#[cfg(test)]
mod crash_tests;

pub use error::{Damage, Error};
pub use join::{JoinReport, JoinedSpace, LeftOut, merge_caches};
pub use key::{Key, RowMeta};
pub use lookup::VisitRow;
pub use mapped::MappedRows;
pub use merge::{MergeReport, MergeScope};
pub use prune::{KeepReason, KeptSpace, PruneOptions, PruneReport, PrunedSpace, prune};
pub use space::{PartOrigin, Space, is_marked, miss_reason, space_by_prefix, spaces};
pub use stat::{CacheStat, SpaceStat, stat};
pub use store::EmbeddingCache;
pub use verify::{DamagedPart, UndescribedSpace, UnreadablePart, VerifyReport, verify, verify_watched};

/// Version of what lies on disk. Whoever changes a part's columns, its order, or the key function raises it.
pub const CACHE_FORMAT: u32 = 1;

/// How long a part stays open unless [`EmbeddingCache::with_part_age`] says otherwise: the most work that a kill loses.
pub const DEFAULT_PART_SECONDS: u64 = 15;
