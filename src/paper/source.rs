//! From a file to raw rows: which reader a name asks for, decompression, lines with a bound, and the count of bytes.
//!
//! A format is one file with one [`RowSource`] and one arm in [`open`]; a compression is one arm in [`decompressed`].
//! Nothing here knows what a field means. Memory is bounded by [`LONGEST_ROW`], whatever the file holds.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

use super::csv::CsvRows;
use super::error::Error;
use super::fields::FieldPlan;
use super::jsonl::JsonlRows;

/// Endings that [`Format::of`] knows, for messages.
pub(super) const KNOWN_FORMATS: &str = ".jsonl, .ndjson, .csv (each also with .gz)";

/// A row above this many bytes (64 MiB) is rejected, not read: a paper is some kilobytes, and a file without line ends
/// must not fill the memory.
pub(super) const LONGEST_ROW: usize = 64 << 20;

const READ_BUFFER: usize = 256 << 10;

/// One row as a format reads it: the values of the wanted fields in the plan's order, or why there are none.
pub(super) struct RawRow {
    /// Line of the row's first byte, from 1.
    pub(super) line: u64,
    /// `Ok`: one per wanted name, `None` if the row lacks it. `Err`: the reason of the rejection.
    pub(super) cells: Result<Vec<Option<Value>>, String>,
}

/// A reader of rows. An error is final; a row that cannot be used is a [`RawRow`] with a reason.
pub(super) trait RowSource: Send {
    /// The next row, `None` after the last.
    fn next_row(&mut self) -> Result<Option<RawRow>, Error>;
    /// All field names of the header, or of the first whole row read so far.
    fn names(&self) -> &[String];
}

/// What the ending of a name says about its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    rows: RowFormat,
    compression: Compression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowFormat {
    Jsonl,
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
}

impl Format {
    /// The format of `path` by its ending, in any case; `None` if no reader knows it.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        let (stem, compression) = match name.strip_suffix(".gz") {
            Some(stem) => (stem, Compression::Gzip),
            None => (name.as_str(), Compression::None),
        };
        let rows = match stem.rsplit_once('.')?.1 {
            "jsonl" | "ndjson" => RowFormat::Jsonl,
            "csv" => RowFormat::Csv,
            _ => return None,
        };
        Some(Self { rows, compression })
    }
}

/// Opens `path` for the fields of `plan`; bytes taken from the disk are added to `progress`.
pub(super) fn open(path: &Path, plan: Arc<FieldPlan>, progress: Arc<AtomicU64>) -> Result<Box<dyn RowSource>, Error> {
    let Some(format) = Format::of(path) else {
        return Err(Error::UnknownFormat { file: path.to_owned() });
    };
    let file = File::open(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    let bytes = decompressed(CountedFile { file, progress }, format.compression);
    let lines = Lines::new(bytes, path);
    Ok(match format.rows {
        RowFormat::Jsonl => Box::new(JsonlRows::new(lines, plan)),
        RowFormat::Csv => Box::new(CsvRows::open(lines, &plan)?),
    })
}

fn decompressed(file: CountedFile, compression: Compression) -> Box<dyn BufRead + Send> {
    let raw = BufReader::with_capacity(READ_BUFFER, file);
    match compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => Box::new(BufReader::with_capacity(READ_BUFFER, MultiGzDecoder::new(raw))),
    }
}

/// Counts what was read from the disk, before decompression, so that a progress bar can end at the file's size.
struct CountedFile {
    file: File,
    progress: Arc<AtomicU64>,
}

impl Read for CountedFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let taken = self.file.read(into)?;
        self.progress.fetch_add(taken as u64, Ordering::Relaxed);
        Ok(taken)
    }
}

/// What [`Lines::next_line`] met.
pub(super) enum Line<'a> {
    /// A line with its line end, if it has one.
    Whole(&'a [u8]),
    /// A line above [`LONGEST_ROW`]; it was passed over.
    TooLong,
}

/// Lines of a file in one reused buffer, numbered from 1; a byte order mark at the start is dropped.
pub(super) struct Lines {
    bytes: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    file: String,
    /// Number of the line returned last.
    number: u64,
    longest: usize,
}

impl Lines {
    fn new(bytes: Box<dyn BufRead + Send>, path: &Path) -> Self {
        Self { bytes, buffer: Vec::new(), file: path.display().to_string(), number: 0, longest: LONGEST_ROW }
    }

    /// Lines of a text in memory, named `test`, with a bound of their own.
    #[cfg(test)]
    pub(super) fn of_bytes(bytes: &[u8], longest: usize) -> Self {
        let mut lines = Self::new(Box::new(io::Cursor::new(bytes.to_vec())), Path::new("test"));
        lines.longest = longest;
        lines
    }

    /// The file's name, for messages.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Number of the line that [`Lines::next_line`] returned last; 0 before the first.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes that one row may have.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The next line, `None` at the end of the file.
    pub(super) fn next_line(&mut self) -> Result<Option<Line<'_>>, Error> {
        match self.fill() {
            Ok(None) => Ok(None),
            Ok(Some(true)) => Ok(Some(Line::Whole(&self.buffer))),
            Ok(Some(false)) => Ok(Some(Line::TooLong)),
            Err(source) => Err(self.broken(source)),
        }
    }

    /// Reads one line into the buffer: `None` at the end, `Some(false)` if it is too long.
    fn fill(&mut self) -> io::Result<Option<bool>> {
        self.buffer.clear();
        self.buffer.shrink_to(READ_BUFFER);
        self.number += 1;
        let bound = self.longest as u64 + 1;
        if (&mut self.bytes).take(bound).read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(None);
        }
        if self.buffer.len() > self.longest && !self.buffer.ends_with(b"\n") {
            self.bytes.skip_until(b'\n')?;
            return Ok(Some(false));
        }
        if self.number == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.buffer.drain(..3);
        }
        Ok(Some(true))
    }

    fn broken(&self, source: io::Error) -> Error {
        let (file, line) = (self.file.clone(), self.number);
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Error::TruncatedGzip { file, line, source },
            _ => Error::Read { file, line, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_says_format_and_compression() {
        let of = |name: &str| Format::of(Path::new(name)).map(|format| (format.rows, format.compression));
        assert_eq!(of("a/b.jsonl"), Some((RowFormat::Jsonl, Compression::None)));
        assert_eq!(of("b.ndjson.gz"), Some((RowFormat::Jsonl, Compression::Gzip)));
        assert_eq!(of("B.CSV.GZ"), Some((RowFormat::Csv, Compression::Gzip)));
        assert_eq!(of("b.json"), None);
        assert_eq!(of("b.gz"), None);
        assert_eq!(of("csv"), None);
    }

    #[test]
    fn lines_are_numbered_and_a_long_one_is_passed_over() {
        let mut lines = Lines::of_bytes(b"\xef\xbb\xbfab\n123456\n12345\n\nlast", 5);
        let mut met = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            let text = match line {
                Line::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Line::TooLong => "too long".to_owned(),
            };
            met.push((lines.number(), text));
        }
        let expected = [(1, "ab\n"), (2, "too long"), (3, "12345\n"), (4, "\n"), (5, "last")];
        assert_eq!(met, expected.map(|(number, text)| (number, text.to_owned())));
    }
}
