//! What can go wrong with a cache, with the facts that a message needs. Knows no terminal; `hint` is the way out.

use std::io;
use std::path::PathBuf;

use serde::Serializer;

use super::CACHE_FORMAT;
use crate::causes::on_one_line;

/// A cache operation that failed, or (from [`super::EmbeddingCache::take_warnings`]) something it went on without.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to read or write; the source says why.
    #[error("could not {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb: `write a part into`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A part is not what its name and its folder promise.
    #[error("cache part `{}` is damaged", path.display())]
    PartDamaged {
        /// The part, where it lies now.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Damage,
    },
    /// The system gives no content of a part, which is left where it is: it may well be sound.
    #[error("could not read cache part `{}`", path.display())]
    PartUnreadable {
        /// The part.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// `space.json` is no JSON of the expected form.
    #[error("`{}` does not describe a cache", path.display())]
    SpaceFile {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        #[source]
        source: serde_json::Error,
    },
    /// The folder was written by another format version.
    #[error("`{}` has cache format {got}, this version reads format {CACHE_FORMAT}", path.display())]
    Format {
        /// The file that says so.
        path: PathBuf,
        /// Its version.
        got: u32,
    },
    /// The folder of this fingerprint holds something else: `pooling: mean -> cls`, from the folder's to the asked value.
    #[error("cache folder `{}` was made for another encoder: {}", path.display(), differences.join(", "))]
    SpaceDiffers {
        /// The folder.
        path: PathBuf,
        /// One per differing field.
        differences: Vec<String>,
    },
    /// The folder went away while a run used it.
    #[error("cache folder `{}` was removed or replaced while this run used it", path.display())]
    FolderRemoved {
        /// The folder.
        path: PathBuf,
    },
    /// A folder to merge from is no cache.
    #[error("there is no cache in `{}`", path.display())]
    NoCache {
        /// The folder.
        path: PathBuf,
    },
    /// A cache is to be merged into itself.
    #[error("`{}` is the cache that is merged into", path.display())]
    SameCache {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing says what a prune may remove.
    #[error("nothing was said that may be removed from the cache")]
    NothingSelected,
    /// The beginning of a fingerprint that is that of several.
    #[error("fingerprint `{prefix}` fits {} encoders: {}", fits.len(), fits.join(", "))]
    PrefixUnclear {
        /// As given.
        prefix: String,
        /// The fingerprints that begin so.
        fits: Vec<String>,
    },
    /// The beginning of a fingerprint has no letter.
    #[error("an empty fingerprint says nothing about which encoder is meant")]
    PrefixEmpty,
    /// A fingerprint that cannot name a folder.
    #[error("fingerprint `{fingerprint}` cannot name a cache folder, expected 1 to 128 letters, digits, `-` or `_`")]
    Fingerprint {
        /// As given.
        fingerprint: String,
    },
    /// A dimension outside 1 to 2³¹ − 1.
    #[error("an embedding of {dim} values cannot be cached, expected 1 to {}", i32::MAX)]
    Dim {
        /// As given.
        dim: usize,
    },
    /// No such cache.
    #[error("there is no cache of encoder `{fingerprint}` in `{}`", root.display())]
    NoSpace {
        /// The cache folder.
        root: PathBuf,
        /// The fingerprint asked for.
        fingerprint: String,
    },
    /// Rows that are wanted where they lie on disk, and are in no part.
    #[error("{missing} of {rows} rows are in no part of cache folder `{}`", path.display())]
    RowsNotOnDisk {
        /// Rows that are not there.
        missing: usize,
        /// Rows asked for.
        rows: usize,
        /// The folder.
        path: PathBuf,
    },
    /// An embedding of another length than the space's.
    #[error("an embedding has {got} values, this cache holds embeddings of {expected}")]
    RowLength {
        /// Values given.
        got: usize,
        /// The space's dimension.
        expected: usize,
    },
}

impl Error {
    /// The way out, where one is known to apply.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Some("free some space or choose another `--cache-dir`; what was cached so far is kept".into())
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem if !self.is_of_reading() => {
                    Some("choose a `--cache-dir` that you may write to".into())
                }
                _ => None,
            },
            Self::PartUnreadable { .. } => {
                Some("it was left where it is; its rows are there again as soon as the system can read it".into())
            }
            Self::PartDamaged { .. } => Some(
                "`offprint cache verify` sets damaged parts aside; their rows are computed again when asked for".into(),
            ),
            Self::SpaceFile { path, .. } => Some(format!(
                "`offprint cache verify` sets `{}` aside; the rows are still there, and the next run with their bundle \
                 writes the file again and finds them",
                path.display()
            )),
            Self::Format { path, got } if *got > CACHE_FORMAT => path.parent().map(|folder| {
                format!(
                    "a newer offprint wrote it: use that one, choose another `--cache-dir`, or remove `{}` to compute its \
                     rows again",
                    folder.display()
                )
            }),
            Self::Format { path, .. } => path.parent().map(|folder| {
                format!("choose another `--cache-dir`, or remove `{}` to compute its rows again", folder.display())
            }),
            Self::NoCache { .. } => Some("give the folder that `--cache-dir` named when it was filled".into()),
            Self::SameCache { .. } => Some("give other caches, or none to make few parts of many".into()),
            Self::NothingSelected => Some(
                "`--encoder FINGERPRINT`, `--unused-for 90d`, `--keep-size 20GB` or `--damaged` say what may go; \
                 `--dry-run` shows it first"
                    .into(),
            ),
            Self::PrefixUnclear { .. } => Some("give more of its letters; `offprint cache stat` shows all".into()),
            Self::PrefixEmpty => Some("give the first letters of one that `offprint cache stat` shows".into()),
            Self::NoSpace { .. } => Some("`offprint cache stat` shows the encoders of a cache".into()),
            Self::RowsNotOnDisk { .. } => Some(
                "run the same command again: rows that are not in the cache any more are computed again; `--no-cache` \
                 keeps all of them in memory"
                    .into(),
            ),
            Self::FolderRemoved { .. } => Some(
                "what was computed since is kept in a new one; what was computed before and lay in the old one is computed \
                 again when next asked for"
                    .into(),
            ),
            _ => None,
        }
    }

    /// Whether what the system refused would have changed nothing.
    fn is_of_reading(&self) -> bool {
        let reading = ["list", "read", "open cache part", "map cache part"];
        matches!(self, Self::Io { action, .. } if reading.contains(action))
    }

    /// Whether the system refused for want of a permission.
    pub(super) fn is_refusal(&self) -> bool {
        let refused = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
        matches!(self, Self::Io { source, .. } if refused.contains(&source.kind()))
    }

    /// Whether the system said that a file or folder is not there.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Turns a system error into one that says what was tried on what.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// An error and what caused it, on one line, for a field of a report.
pub(super) fn serialize_in_words<S: Serializer>(
    error: &(impl std::error::Error + 'static),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&on_one_line(error))
}

/// Why a part is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// Cut short: not even the fixed bytes of an Arrow file fit.
    #[error("it has {bytes} bytes, too few for an Arrow file")]
    TooShort {
        /// Length of the file.
        bytes: usize,
    },
    /// The Arrow magic is missing.
    #[error("the Arrow magic is missing at its {place}")]
    Magic {
        /// `start` or `end`.
        place: &'static str,
    },
    /// A length or position in the file points outside of it, or disagrees with another.
    #[error("{what} is {got}, expected {expected}")]
    Extent {
        /// Which value.
        what: &'static str,
        /// Its value.
        got: i64,
        /// The value or the bound that it must keep.
        expected: String,
    },
    /// The Arrow metadata cannot be read.
    #[error("its {what} cannot be read")]
    Metadata {
        /// `footer` or `record batch header`.
        what: &'static str,
        /// The reader's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The columns, or what the schema's metadata says, are not those of this cache.
    #[error("its {what} is `{got}`, expected `{expected}`")]
    Schema {
        /// `format`, `fingerprint`, or a column.
        what: &'static str,
        /// As found.
        got: String,
        /// As it must be.
        expected: String,
    },
    /// Keys out of order.
    #[error("key {row} is not above the one before it")]
    KeyOrder {
        /// 0-based row of the part.
        row: usize,
    },
    /// The bytes are not those that the part was written with.
    #[error("its content hashes to `{got}`, not to its name")]
    Content {
        /// BLAKE3 of the content, in hex.
        got: String,
    },
    /// The disk refused to give the content.
    #[error("its content cannot be read")]
    Unreadable(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io_error(kind: io::ErrorKind) -> Error {
        Error::io("write a part into", "/c")(kind.into())
    }

    #[test]
    fn messages_name_the_subject_and_both_values() {
        let texts = [
            (io_error(io::ErrorKind::StorageFull), "could not write a part into `/c`"),
            (
                Error::PartDamaged { path: "/c/a.arrow".into(), source: Damage::TooShort { bytes: 17 } },
                "cache part `/c/a.arrow` is damaged",
            ),
            (
                Error::Format { path: "/c/space.json".into(), got: 2 },
                "`/c/space.json` has cache format 2, this version reads format 1",
            ),
            (
                Error::SpaceDiffers { path: "/c/f".into(), differences: vec!["pooling: mean -> cls".into()] },
                "cache folder `/c/f` was made for another encoder: pooling: mean -> cls",
            ),
            (
                Error::Fingerprint { fingerprint: "../x".into() },
                "fingerprint `../x` cannot name a cache folder, expected 1 to 128 letters, digits, `-` or `_`",
            ),
            (Error::Dim { dim: 0 }, "an embedding of 0 values cannot be cached, expected 1 to 2147483647"),
            (
                Error::NoSpace { root: "/c".into(), fingerprint: "ab".into() },
                "there is no cache of encoder `ab` in `/c`",
            ),
            (
                Error::FolderRemoved { path: "/c/f".into() },
                "cache folder `/c/f` was removed or replaced while this run used it",
            ),
            (Error::NoCache { path: "/c".into() }, "there is no cache in `/c`"),
            (Error::SameCache { path: "/c".into() }, "`/c` is the cache that is merged into"),
            (Error::NothingSelected, "nothing was said that may be removed from the cache"),
            (
                Error::PrefixUnclear { prefix: "a".into(), fits: vec!["ab".into(), "ac".into()] },
                "fingerprint `a` fits 2 encoders: ab, ac",
            ),
            (
                Error::PartUnreadable {
                    path: "/c/a.arrow".into(),
                    source: io::ErrorKind::StaleNetworkFileHandle.into(),
                },
                "could not read cache part `/c/a.arrow`",
            ),
            (Error::PrefixEmpty, "an empty fingerprint says nothing about which encoder is meant"),
            (
                Error::RowsNotOnDisk { missing: 2, rows: 9, path: "/c/f".into() },
                "2 of 9 rows are in no part of cache folder `/c/f`",
            ),
            (Error::RowLength { got: 3, expected: 4 }, "an embedding has 3 values, this cache holds embeddings of 4"),
        ];
        for (error, text) in texts {
            assert_eq!(error.to_string(), text);
        }
        let damages = [
            (Damage::TooShort { bytes: 17 }, "it has 17 bytes, too few for an Arrow file"),
            (Damage::Magic { place: "end" }, "the Arrow magic is missing at its end"),
            (
                Damage::Extent { what: "footer length", got: -1, expected: "at most 90".into() },
                "footer length is -1, expected at most 90",
            ),
            (
                Damage::Schema { what: "format", got: "2".into(), expected: "1".into() },
                "its format is `2`, expected `1`",
            ),
            (Damage::KeyOrder { row: 1 }, "key 1 is not above the one before it"),
            (Damage::Content { got: "ab".into() }, "its content hashes to `ab`, not to its name"),
        ];
        for (damage, text) in damages {
            assert_eq!(damage.to_string(), text);
        }
    }

    #[test]
    fn hints_only_where_a_way_out_is_known() {
        assert!(io_error(io::ErrorKind::StorageFull).hint().unwrap().contains("--cache-dir"));
        assert!(io_error(io::ErrorKind::PermissionDenied).hint().unwrap().contains("that you may write to"));
        for action in ["list", "read", "open cache part", "map cache part"] {
            let error = Error::io(action, "/c")(io::ErrorKind::PermissionDenied.into());
            assert!(error.hint().is_none(), "another folder to write to is no help: {error}");
        }
        let stale = io::ErrorKind::StaleNetworkFileHandle;
        assert!(Error::PartUnreadable { path: "/c/a".into(), source: stale.into() }.hint().unwrap().contains("left"));
        assert!(Error::PrefixEmpty.hint().unwrap().contains("offprint cache stat"));
        assert!(Error::NoSpace { root: "/c".into(), fingerprint: "a".into() }.hint().unwrap().contains("cache stat"));
        let lost = Error::RowsNotOnDisk { missing: 1, rows: 2, path: "/c/f".into() };
        assert!(lost.hint().unwrap().starts_with("run the same command again"));
        assert!(io_error(io::ErrorKind::Interrupted).hint().is_none());
        assert!(Error::Dim { dim: 0 }.hint().is_none());
        let format = |got| Error::Format { path: "/c/f/space.json".into(), got }.hint().unwrap();
        assert!(format(CACHE_FORMAT + 1).starts_with("a newer offprint wrote it"));
        assert!(format(0).starts_with("choose another `--cache-dir`, or remove `/c/f`"));
    }
}
