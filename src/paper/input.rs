//! One input of a corpus: a file, which can be opened again and again and may change meanwhile, or a stream (standard
//! input, a pipe), which can be read once.
//!
//! Knows bytes, not rows. What was read of a stream while it was looked for fields is kept, up to [`MOST_KEPT`], and read
//! again; a Parquet stream is spooled into a file without a name, because Parquet begins at its end.

use std::fs::{self, File, Metadata};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::error::Error;
use super::format::{Compression, FormatRules, InputFormat};

/// The name that stands for standard input.
pub(super) const STDIN: &str = "-";

/// Bytes of a stream that are kept for the second reading: one row of the largest size and more.
const MOST_KEPT: usize = 72 << 20;

/// Where rows come from.
#[derive(Debug)]
pub(super) enum Input {
    /// A regular file, as it was when the corpus was opened.
    File { path: PathBuf, seen: Seen },
    /// What can be read once.
    Stream(Arc<Stream>),
}

impl Input {
    /// Looks at the kind and the size of what is behind `path`; a stream is read up to the first bytes that say what it
    /// is, a Parquet stream to its end.
    pub(super) fn open(path: &Path, rules: FormatRules) -> Result<Self, Error> {
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        if path == Path::new(STDIN) {
            return Ok(Self::Stream(Stream::open("stdin".into(), Box::new(io::stdin()), rules)?));
        }
        let kind = fs::metadata(path).map_err(unreadable)?;
        if kind.is_file() {
            return Ok(Self::File { path: path.to_owned(), seen: Seen::of(&kind) });
        }
        let file = File::open(path).map_err(unreadable)?;
        Ok(Self::Stream(Stream::open(path.display().to_string().into(), Box::new(file), rules)?))
    }

    /// Its name in messages.
    pub(super) fn name(&self) -> Arc<str> {
        match self {
            Self::File { path, .. } => path.display().to_string().into(),
            Self::Stream(stream) => Arc::clone(&stream.name),
        }
    }

    /// Bytes on the disk; `None` for a stream.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::File { seen, .. } => Some(seen.size),
            Self::Stream(_) => None,
        }
    }
}

/// What tells a file from what it was or from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) size: u64,
    /// Device and number of the file, where the system has them.
    identity: Option<(u64, u64)>,
    modified: Option<SystemTime>,
}

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt;
            Some((metadata.dev(), metadata.ino()))
        };
        #[cfg(not(unix))]
        let identity = None;
        Self { size: metadata.len(), identity, modified: metadata.modified().ok() }
    }
}

/// Watches over one file while it is read.
pub(super) struct Watch {
    path: PathBuf,
    file: File,
    before: Seen,
    /// Whether a row ends with its line, so that a file that grew tells whether its last row was whole.
    pub(super) plain_lines: bool,
}

impl Watch {
    /// `file` was opened by `path`, where `before` was seen earlier.
    ///
    /// # Errors
    /// It has shrunk since, or is another file.
    pub(super) fn new(path: &Path, file: &File, before: &Seen) -> Result<Self, Error> {
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        let file = file.try_clone().map_err(unreadable)?;
        let watch = Self { path: path.to_owned(), file, before: before.clone(), plain_lines: false };
        watch.check().map(|_| watch)
    }

    /// What changed and does no harm, as a sentence.
    ///
    /// # Errors
    /// The file has shrunk, another one has taken its place, or it was in the middle of a row when it was opened: what
    /// was read is not the corpus.
    pub(super) fn check(&self) -> Result<Option<String>, Error> {
        let unreadable = |source| Error::Unreadable { path: self.path.clone(), source };
        let (path, before) = (self.path.display(), self.before.size);
        let now = Seen::of(&self.file.metadata().map_err(unreadable)?);
        let changed = |how, now| Err(Error::Changed { path: self.path.clone(), how, before, now });
        if now.identity != self.before.identity {
            return changed("was replaced by another file", now.size);
        }
        if now.size < before {
            return changed("shrank", now.size);
        }
        match fs::metadata(&self.path).map(|metadata| Seen::of(&metadata)) {
            Ok(other) if other.identity != self.before.identity => {
                return changed("was replaced by another file", other.size);
            }
            Ok(_) => {}
            Err(_) => return Ok(Some(format!("`{path}` was removed while it was read; its {before} bytes were read"))),
        }
        if now.size > before && self.plain_lines && self.was_within_a_row().map_err(unreadable)? {
            return changed("was in the middle of a row that was being written", now.size);
        }
        if now.size > before {
            return Ok(Some(format!(
                "`{path}` grew while it was read, from {before} to {} bytes; rows added later are not in this run",
                now.size
            )));
        }
        let same = now.modified == self.before.modified;
        Ok((!same).then(|| format!("`{path}` was written to while it was read; its size is still {before} bytes")))
    }

    /// Whether the file, which has grown, ended neither behind a line end nor before one.
    fn was_within_a_row(&self) -> io::Result<bool> {
        // Opened anew: a copy of the handle would move the place at which the other reads.
        let mut file = File::open(&self.path)?;
        let Some(last) = self.before.size.checked_sub(1) else { return Ok(false) };
        file.seek(SeekFrom::Start(last))?;
        let mut around = [0; 2];
        file.read_exact(&mut around)?;
        Ok(around[0] != b'\n' && around[1] != b'\n' && around[1] != b'\r')
    }

    /// A fault of reading, or the change of the file that explains it.
    pub(super) fn explain(&self, error: Error) -> Error {
        self.check().err().unwrap_or(error)
    }
}

/// Counts the bytes of a file, before decompression.
pub(super) struct Counted<R> {
    pub(super) inner: R,
    /// Of all files, so that a progress bar can end at their size.
    pub(super) progress: Arc<AtomicU64>,
    /// Of this one.
    pub(super) taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let taken = self.inner.read(into)?;
        self.progress.fetch_add(taken as u64, Ordering::Relaxed);
        self.taken.fetch_add(taken as u64, Ordering::Relaxed);
        Ok(taken)
    }
}

type Bytes = Box<dyn Read + Send>;

enum State {
    /// What was read and kept, and the rest.
    Text { kept: Vec<u8>, rest: Bytes },
    /// The whole, with its size.
    Spooled(File, u64),
    /// Read, or being read.
    Taken,
}

/// Standard input or a pipe.
pub(super) struct Stream {
    pub(super) name: Arc<str>,
    /// Packed how, if it is a text.
    pub(super) compression: Compression,
    state: Mutex<State>,
    /// Whether the last search ended because no more bytes are kept.
    cut: AtomicBool,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stream").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Stream {
    pub(super) fn open(name: Arc<str>, mut bytes: Bytes, rules: FormatRules) -> Result<Arc<Self>, Error> {
        const ENOUGH: u64 = 4;
        let broken = |source| Error::Read { file: name.to_string(), line: 1, source };
        let mut kept = Vec::new();
        (&mut bytes).take(ENOUGH).read_to_end(&mut kept).map_err(broken)?;
        let state = if kept == b"PAR1" || rules.input_format == Some(InputFormat::Parquet) {
            let mut file = tempfile::tempfile().map_err(|source| Error::Spool { file: name.to_string(), source })?;
            let size = io::copy(&mut Cursor::new(&kept).chain(bytes), &mut file)
                .map_err(|source| Error::Spool { file: name.to_string(), source })?;
            State::Spooled(file, size)
        } else {
            State::Text { kept: kept.clone(), rest: bytes }
        };
        let compression = Compression::of_bytes(&kept);
        Ok(Arc::new(Self { name, compression, state: Mutex::new(state), cut: AtomicBool::new(false) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file and its size, if this is a Parquet stream.
    pub(super) fn spooled(&self) -> Result<Option<(File, u64)>, Error> {
        match &*self.state() {
            State::Spooled(file, size) => match file.try_clone() {
                Ok(file) => Ok(Some((file, *size))),
                Err(source) => Err(Error::Spool { file: self.name.to_string(), source }),
            },
            _ => Ok(None),
        }
    }

    /// The bytes from the first on; they are kept and given back when the reader is dropped.
    pub(super) fn look(self: &Arc<Self>) -> Result<Bytes, Error> {
        let (kept, rest) = self.text()?;
        self.cut.store(false, Ordering::Relaxed);
        Ok(Box::new(Keeping { stream: Arc::clone(self), kept, at: 0, rest: Some(rest) }))
    }

    /// Whether a search ended early because it read as much as is kept: what it met at its end says nothing.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// The bytes from the first on, for good.
    pub(super) fn take(&self) -> Result<Bytes, Error> {
        let (kept, rest) = self.text()?;
        Ok(Box::new(Cursor::new(kept).chain(rest)))
    }

    fn text(&self) -> Result<(Vec<u8>, Bytes), Error> {
        match std::mem::replace(&mut *self.state(), State::Taken) {
            State::Text { kept, rest } => Ok((kept, rest)),
            _ => Err(Error::ReadTwice { file: self.name.to_string() }),
        }
    }
}

/// Reads a stream and keeps what was read, up to [`MOST_KEPT`].
struct Keeping {
    stream: Arc<Stream>,
    kept: Vec<u8>,
    at: usize,
    rest: Option<Bytes>,
}

impl Read for Keeping {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at < self.kept.len() {
            let taken = (&self.kept[self.at..]).read(into)?;
            self.at += taken;
            return Ok(taken);
        }
        let room = MOST_KEPT - self.kept.len().min(MOST_KEPT);
        if room == 0 {
            self.stream.cut.store(true, Ordering::Relaxed);
            return Ok(0);
        }
        let Some(rest) = &mut self.rest else { return Ok(0) };
        let most = into.len().min(room);
        let taken = rest.read(&mut into[..most])?;
        self.kept.extend_from_slice(&into[..taken]);
        self.at = self.kept.len();
        Ok(taken)
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            *self.stream.state() = State::Text { kept: std::mem::take(&mut self.kept), rest };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(bytes: &'static [u8]) -> Arc<Stream> {
        Stream::open("stdin".into(), Box::new(bytes), FormatRules::default()).unwrap()
    }

    fn read(mut bytes: Bytes, most: u64) -> Vec<u8> {
        let mut all = Vec::new();
        (&mut bytes).take(most).read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn what_was_looked_at_is_read_again_and_the_rest_once() {
        let stream = stream(b"0123456789");
        assert_eq!(read(stream.look().unwrap(), 6), b"012345");
        assert_eq!(read(stream.look().unwrap(), 3), b"012");
        assert_eq!(read(stream.look().unwrap(), 8), b"01234567");
        assert!(!stream.is_cut());
        assert_eq!(read(stream.take().unwrap(), 99), b"0123456789");
        let error = stream.take().err().unwrap();
        assert_eq!(error.to_string(), "`stdin` was read already and cannot be read twice");
        assert!(stream.look().is_err());
    }

    #[test]
    fn no_more_than_a_bound_is_kept() {
        let stream = Stream::open("stdin".into(), Box::new(io::repeat(b'x').take(1 << 30)), FormatRules::default());
        let stream = stream.unwrap();
        let mut looked = stream.look().unwrap();
        assert_eq!(io::copy(&mut looked, &mut io::sink()).unwrap(), MOST_KEPT as u64);
        drop(looked);
        assert!(stream.is_cut());
        assert_eq!(io::copy(&mut stream.take().unwrap(), &mut io::sink()).unwrap(), 1 << 30);
    }

    #[test]
    fn a_parquet_stream_is_spooled_and_can_be_opened_again() {
        let stream = stream(b"PAR1 and so on");
        for _ in 0..2 {
            let (_, size) = stream.spooled().unwrap().unwrap();
            assert_eq!(size, 14);
        }
        assert!(stream.take().is_err());
    }

    #[test]
    fn a_file_that_changes_is_told_from_one_that_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        fs::write(&path, "0123456789").unwrap();
        let Input::File { seen, .. } = Input::open(&path, FormatRules::default()).unwrap() else { panic!("a stream") };
        let file = File::open(&path).unwrap();
        let watch = Watch::new(&path, &file, &seen).unwrap();
        assert_eq!(watch.check().unwrap(), None);
        let name = path.display().to_string();
        fs::write(&path, "0123456789ab").unwrap();
        let grown =
            format!("`{name}` grew while it was read, from 10 to 12 bytes; rows added later are not in this run");
        assert_eq!(watch.check().unwrap(), Some(grown));
        fs::write(&path, "0123").unwrap();
        let shrunk = format!("`{name}` shrank while it was read: it had 10 bytes and has 4 now");
        assert_eq!(watch.check().unwrap_err().to_string(), shrunk);
        assert_eq!(watch.explain(Error::NoInput).to_string(), shrunk);
        assert!(Watch::new(&path, &file, &seen).is_err());
        fs::remove_file(&path).unwrap();
        fs::write(folder.path().join("y"), "0123456789abc").unwrap();
        fs::rename(folder.path().join("y"), &path).unwrap();
        let file = File::open(&path).unwrap();
        let error = Watch::new(&path, &file, &seen).err().unwrap();
        let replaced =
            format!("`{name}` was replaced by another file while it was read: it had 10 bytes and has 13 now");
        assert_eq!(error.to_string(), replaced);
    }
}
