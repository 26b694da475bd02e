//! A text file on its way to its name, compressed as it is written.
//!
//! Knows bytes, no rows. Its invariant: equal content gives equal bytes, whenever and wherever it is written; so no
//! time stamp, no name and no number of threads gets into a compressed file.

use std::io::{self, BufWriter, IntoInnerError, Write};
use std::path::{Path, PathBuf};

use flate2::GzBuilder;
use flate2::write::GzEncoder;

use super::compression::{Codec, Compression};
use super::error::Error;
use crate::durable::PendingFile;

/// The levels where none is given: gzip's and zstd's own.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: u32 = 3;
/// Bytes handed to a compressor at once: rows come in pieces of a few bytes.
const CHUNK: usize = 64 << 10;

/// Takes bytes; complete and in its place after [`TextFile::publish`], else it leaves the older file as it was.
pub(super) struct TextFile {
    path: PathBuf,
    bytes: Bytes,
}

enum Bytes {
    Plain(PendingFile),
    Gzip(BufWriter<GzEncoder<PendingFile>>),
    Zstd(BufWriter<zstd::Encoder<'static, PendingFile>>),
}

impl TextFile {
    /// Opens a temporary file beside `path`.
    pub(super) fn create(path: &Path, compression: Compression) -> Result<Self, Error> {
        let bytes = open(path, compression).map_err(|source| Error::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// An error of the file system, with the file's name.
    pub(super) fn refused(&self, source: io::Error) -> Error {
        Error::Write { path: self.path.clone(), source }
    }

    /// Ends the compressed stream and puts the file into its place.
    pub(super) fn publish(self) -> Result<(), Error> {
        let Self { path, bytes } = self;
        let pending = match bytes {
            Bytes::Plain(pending) => Ok(pending),
            Bytes::Gzip(buffer) => flushed(buffer).and_then(GzEncoder::finish),
            Bytes::Zstd(buffer) => flushed(buffer).and_then(zstd::Encoder::finish),
        };
        pending.and_then(PendingFile::publish).map_err(|source| Error::Write { path, source })
    }
}

fn open(path: &Path, compression: Compression) -> io::Result<Bytes> {
    let pending = PendingFile::create(path)?;
    Ok(match compression.codec {
        Codec::Gzip => {
            let level = flate2::Compression::new(compression.level.unwrap_or(GZIP_LEVEL));
            let encoder = GzBuilder::new().mtime(0).write(pending, level);
            Bytes::Gzip(BufWriter::with_capacity(CHUNK, encoder))
        }
        Codec::Zstd => {
            let level = compression.level.unwrap_or(ZSTD_LEVEL);
            let mut encoder = zstd::Encoder::new(pending, i32::try_from(level).map_err(io::Error::other)?)?;
            encoder.include_checksum(true)?;
            Bytes::Zstd(BufWriter::with_capacity(CHUNK, encoder))
        }
        Codec::None | Codec::Snappy => Bytes::Plain(pending),
    })
}

fn flushed<W: Write>(buffer: BufWriter<W>) -> io::Result<W> {
    buffer.into_inner().map_err(IntoInnerError::into_error)
}

impl Write for TextFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.bytes {
            Bytes::Plain(pending) => pending.write(bytes),
            Bytes::Gzip(buffer) => buffer.write(bytes),
            Bytes::Zstd(buffer) => buffer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.bytes {
            Bytes::Plain(pending) => pending.flush(),
            Bytes::Gzip(buffer) => buffer.flush(),
            Bytes::Zstd(buffer) => buffer.flush(),
        }
    }
}
