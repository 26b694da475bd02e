//! Lines of a file in one reused buffer, with a bound on their length and on what a compressed file may unfold to.
//!
//! Knows no format. A line above the bound is passed over without being kept; a compressed file whose lines are out of
//! all proportion to its size ends the reading, because it would go on for ever.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::Error;

/// A row above this many bytes (64 MiB) is rejected, not read: a paper is some kilobytes, and a file without line ends
/// must not fill the memory.
pub(super) const LONGEST_ROW: usize = 64 << 20;

/// A compressed file may unfold to this many times its size. Papers reach 1:20, very repetitive ones 1:200.
pub(super) const MOST_UNFOLDED: u64 = 500;

/// Below this many bytes (64 MiB) of rows no proportion is looked at.
const ALWAYS_UNFOLDED: u64 = 64 << 20;

/// Bytes (16 GiB) of overlong rows that are passed over before they count towards the proportion, too.
const ALWAYS_PASSED_OVER: u64 = 16 << 30;

/// Largest window (128 MiB, `zstd --long=27`) that a zstd frame may ask for.
pub(super) const ZSTD_WINDOW_LOG: u32 = 27;

const READ_BUFFER: usize = 256 << 10;

/// The decompressed bytes of a text file, and what is known about them.
pub(super) struct TextBytes {
    pub(super) bytes: Box<dyn BufRead + Send>,
    /// For messages.
    pub(super) file: Arc<str>,
    /// What the bytes are unpacked from, for messages, and the count of packed bytes; `None` if they are plain.
    pub(super) packed: Option<(&'static str, Arc<AtomicU64>)>,
}

impl TextBytes {
    /// The error of a read that failed at `line`.
    pub(super) fn broken(&self, line: u64, source: io::Error) -> Error {
        let file = self.file.to_string();
        match self.packed.as_ref().map(|(name, _)| *name) {
            Some(compression) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Error::Truncated { file, line, compression, source }
            }
            Some("zstd") if source.to_string().contains("too much memory") => {
                Error::ZstdWindow { file, line, most: 1 << ZSTD_WINDOW_LOG, source }
            }
            _ => Error::Read { file, line, source },
        }
    }
}

/// What [`Lines::next_line`] met.
pub(super) enum Line<'a> {
    /// A line with its line end, if it has one.
    Whole(&'a [u8]),
    /// A line above [`LONGEST_ROW`]; it was passed over.
    TooLong,
}

/// Lines of a file, numbered from 1; a byte order mark at the start is dropped.
pub(super) struct Lines {
    text: TextBytes,
    buffer: Vec<u8>,
    /// Number of the line returned last.
    number: u64,
    longest: usize,
    /// Bytes of the lines that were given out, and of those passed over.
    given: u64,
    passed_over: u64,
}

impl Lines {
    pub(super) fn new(text: TextBytes) -> Self {
        Self { text, buffer: Vec::new(), number: 0, longest: LONGEST_ROW, given: 0, passed_over: 0 }
    }

    /// Lines of a text in memory, named `test`, with a bound of their own.
    #[cfg(test)]
    pub(super) fn of_bytes(bytes: &[u8], longest: usize) -> Self {
        let bytes = Box::new(io::Cursor::new(bytes.to_vec()));
        Self { longest, ..Self::new(TextBytes { bytes, file: "test".into(), packed: None }) }
    }

    /// The file's name, for messages.
    pub(super) fn file(&self) -> &str {
        &self.text.file
    }

    /// Number of the line that [`Lines::next_line`] returned last; 0 before the first.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes that one row may have.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The reason for which an overlong row is rejected.
    pub(super) fn too_long(&self) -> String {
        too_long(self.longest)
    }

    /// The bytes that follow, as many as are there at once; none at the end of the file.
    pub(super) fn peek(&mut self) -> Result<&[u8], Error> {
        if let Err(source) = self.text.bytes.fill_buf() {
            return Err(self.broken(source));
        }
        // What was filled is there: a second call reads nothing.
        let file = Arc::clone(&self.text.file);
        let there =
            self.text.bytes.fill_buf().map_err(|source| Error::Read { file: file.to_string(), line: 1, source })?;
        if self.number == 0 {
            check_utf8(there, &file)?
        }
        Ok(there)
    }

    /// The next line, `None` at the end of the file.
    pub(super) fn next_line(&mut self) -> Result<Option<Line<'_>>, Error> {
        let met = self.fill().map_err(|source| self.broken(source))?;
        if self.number == 1 {
            check_utf8(&self.buffer, self.file())?;
        }
        self.check_proportion()?;
        Ok(met.map(|whole| if whole { Line::Whole(&self.buffer) } else { Line::TooLong }))
    }

    /// The next byte, not taken; for formats without lines, which count lines for messages only.
    pub(super) fn peek_byte(&mut self) -> Result<Option<u8>, Error> {
        if self.number == 0 {
            let marked = self.peek()?.starts_with(b"\xef\xbb\xbf");
            self.text.bytes.consume(if marked { 3 } else { 0 });
            self.number = 1;
        }
        match self.text.bytes.fill_buf() {
            Ok(there) => Ok(there.first().copied()),
            Err(source) => Err(self.broken(source)),
        }
    }

    /// Takes the byte that [`Lines::peek_byte`] gave. The proportion is looked at now and then, since what is no line may
    /// be one value without an end.
    pub(super) fn take_byte(&mut self) -> Result<(), Error> {
        if let Ok(&[byte, ..]) = self.text.bytes.fill_buf() {
            self.number += u64::from(byte == b'\n');
            self.given += 1;
            self.text.bytes.consume(1);
        }
        if self.given.is_multiple_of(1 << 20) { self.check_proportion() } else { Ok(()) }
    }

    /// Reads one line into the buffer: `None` at the end, `Some(false)` if it is too long.
    fn fill(&mut self) -> io::Result<Option<bool>> {
        self.buffer.clear();
        self.buffer.shrink_to(READ_BUFFER);
        self.number += 1;
        let bound = self.longest as u64 + 1;
        if (&mut self.text.bytes).take(bound).read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(None);
        }
        if self.buffer.len() > self.longest && !self.buffer.ends_with(b"\n") {
            self.passed_over += self.buffer.len() as u64;
            self.pass_over()?;
            return Ok(Some(false));
        }
        self.given += self.buffer.len() as u64;
        if self.number == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.buffer.drain(..3);
        }
        Ok(Some(true))
    }

    /// Goes to the next line, or as far as a file may unfold.
    fn pass_over(&mut self) -> io::Result<()> {
        loop {
            let there = self.text.bytes.fill_buf()?;
            let taken = (&*there).skip_until(b'\n')?;
            let ended = taken == 0 || there[taken - 1] == b'\n';
            self.text.bytes.consume(taken);
            self.passed_over += taken as u64;
            if ended || self.check_proportion().is_err() {
                return Ok(());
            }
        }
    }

    fn check_proportion(&self) -> Result<(), Error> {
        let unfolded = self.given + self.passed_over.saturating_sub(ALWAYS_PASSED_OVER);
        if unfolded <= ALWAYS_UNFOLDED {
            return Ok(());
        }
        let Some((_, packed)) = &self.text.packed else { return Ok(()) };
        check_unfolded(&self.text.file, packed.load(Ordering::Relaxed), unfolded)
    }

    fn broken(&self, source: io::Error) -> Error {
        self.text.broken(self.number.max(1), source)
    }
}

/// An error if a file starts with the mark of UTF-16.
fn check_utf8(head: &[u8], file: &str) -> Result<(), Error> {
    match head {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(Error::Utf16 { file: file.to_owned() }),
        _ => Ok(()),
    }
}

/// The reason for which a row of more than `longest` bytes is rejected.
pub(super) fn too_long(longest: usize) -> String {
    format!("the row is longer than {longest} bytes, the most that is read")
}

/// An error if `unfolded` bytes out of `packed` are more than papers can be.
pub(super) fn check_unfolded(file: &str, packed: u64, unfolded: u64) -> Result<(), Error> {
    if unfolded <= ALWAYS_UNFOLDED || unfolded / MOST_UNFOLDED <= packed {
        return Ok(());
    }
    Err(Error::Bomb { file: file.to_owned(), packed, unfolded })
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn utf_16_is_named() {
        for mark in [b"\xff\xfe{\0", b"\xfe\xff\0{"] {
            let error = Lines::of_bytes(mark, 9).next_line().err().unwrap();
            assert_eq!(error.to_string(), "`test` is UTF-16, expected UTF-8");
            assert!(error.hint().unwrap().contains("iconv -f UTF-16 -t UTF-8"));
        }
    }

    #[test]
    fn the_proportion_counts_from_64_mib_on() {
        let most = 64 << 20;
        assert!(check_unfolded("x", 1, most).is_ok());
        let packed = most.div_ceil(MOST_UNFOLDED);
        assert!(check_unfolded("x", packed, packed * MOST_UNFOLDED + MOST_UNFOLDED - 1).is_ok());
        let error = check_unfolded("x", packed, (packed + 1) * MOST_UNFOLDED).unwrap_err();
        let expected = format!(
            "`x` unfolds to more than 500 times its size: {packed} bytes gave {} bytes of rows so far",
            (packed + 1) * MOST_UNFOLDED
        );
        assert_eq!(error.to_string(), expected);
    }
}
