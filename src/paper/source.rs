//! From an input to raw rows: opens it, unpacks it, and hands it to the reader of its format.
//!
//! A format is one file with one [`RowSource`] and one arm in [`read_text`]; a compression is one arm in [`unpacked`].
//! Nothing here knows what a field means.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

use super::csv::CsvRows;
use super::error::Error;
use super::fields::FieldPlan;
use super::format::{Compression, Format, FormatRules, RowFormat};
use super::input::{Counted, Input, Stream, Watch};
use super::json_object::JsonObjectRows;
use super::jsonl::JsonlRows;
use super::lines::{Lines, TextBytes, ZSTD_WINDOW_LOG};
use super::parquet::ParquetRows;

const READ_BUFFER: usize = 256 << 10;

/// One row as a format reads it: the values of the wanted fields in the plan's order, or why there are none.
pub(super) struct RawRow {
    /// Line of the row's first byte, from 1; in a format without lines the number of the row, from 1.
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

/// How an input is to be read.
pub(super) struct Reading {
    pub(super) plan: Arc<FieldPlan>,
    pub(super) rules: FormatRules,
    /// Bytes taken from the disk are added to it.
    pub(super) progress: Arc<AtomicU64>,
    /// Whether a stream is only looked at and read again later.
    pub(super) only_look: bool,
}

/// A source of rows and, if they lie in a file, the watch over it.
pub(super) struct Opened {
    pub(super) rows: Box<dyn RowSource>,
    pub(super) watch: Option<Watch>,
}

/// Opens an input.
pub(super) fn open(input: &Input, reading: &Reading) -> Result<Opened, Error> {
    let (path, seen) = match input {
        Input::File { path, seen } => (path, seen),
        Input::Stream(stream) => return Ok(Opened { rows: open_stream(stream, reading)?, watch: None }),
    };
    let mut file = File::open(path).map_err(|source| Error::Unreadable { path: path.clone(), source })?;
    let mut watch = Watch::new(path, &file, seen)?;
    let rows = match format_of(path, &mut file, reading.rules)? {
        (RowFormat::Parquet, _) => Box::new(ParquetRows::open(file, input.name(), reading)?),
        (rows, compression) => {
            watch.plain_lines = rows != RowFormat::JsonObject && compression == Compression::None;
            // What is added to the file from now on belongs to a later run.
            let packed = Packed { bytes: Box::new(file.take(seen.size)), compression, file: input.name() };
            read_text(Some(rows), packed, reading)?
        }
    };
    Ok(Opened { rows, watch: Some(watch) })
}

/// By name, or as the user said, and then packed as its first bytes say.
fn format_of(path: &Path, file: &mut File, rules: FormatRules) -> Result<(RowFormat, Compression), Error> {
    if let Some(Format { rows, compression }) = rules.of_name(path) {
        return Ok((rows, compression));
    }
    let Some(rows) = rules.input_format else { return Err(Error::UnknownFormat { file: path.to_owned() }) };
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let mut head = Vec::new();
    file.take(4).read_to_end(&mut head).map_err(unreadable)?;
    io::Seek::rewind(file).map_err(unreadable)?;
    Ok((rows.into(), Compression::of_bytes(&head)))
}

fn open_stream(stream: &Arc<Stream>, reading: &Reading) -> Result<Box<dyn RowSource>, Error> {
    if let Some((file, _)) = stream.spooled()? {
        return Ok(Box::new(ParquetRows::open(file, Arc::clone(&stream.name), reading)?));
    }
    let bytes = if reading.only_look { stream.look()? } else { stream.take()? };
    let packed = Packed { bytes, compression: stream.compression, file: Arc::clone(&stream.name) };
    read_text(None, packed, reading)
}

/// A text as it lies on the disk or comes through a pipe.
struct Packed {
    bytes: Box<dyn Read + Send>,
    compression: Compression,
    /// For messages.
    file: Arc<str>,
}

/// Opens a text; without a format it is told by its first bytes.
fn read_text(rows: Option<RowFormat>, packed: Packed, reading: &Reading) -> Result<Box<dyn RowSource>, Error> {
    let mut text = unpacked(packed, reading)?;
    let rows = match rows {
        Some(rows) => rows,
        None => {
            let head = first_line(&mut text)?;
            let rows = reading.rules.of_text(&head);
            text.bytes = Box::new(Cursor::new(head).chain(text.bytes));
            rows
        }
    };
    let lines = Lines::new(text);
    let plan = &reading.plan;
    Ok(match rows {
        RowFormat::Jsonl => Box::new(JsonlRows::new(lines, Arc::clone(plan))),
        RowFormat::Csv => Box::new(CsvRows::open(lines, plan, b',')?),
        RowFormat::Tsv => Box::new(CsvRows::open(lines, plan, b'\t')?),
        RowFormat::JsonObject => Box::new(JsonObjectRows::new(lines, Arc::clone(plan))),
        RowFormat::Parquet => return Err(Error::PackedParquet { file: lines.file().to_owned() }),
    })
}

fn unpacked(packed: Packed, reading: &Reading) -> Result<TextBytes, Error> {
    let Packed { bytes, compression, file } = packed;
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Counted { inner: bytes, progress: Arc::clone(&reading.progress), taken: Arc::clone(&taken) };
    let raw = BufReader::with_capacity(READ_BUFFER, counted);
    Ok(match compression {
        Compression::None => TextBytes { bytes: Box::new(raw), file, packed: None },
        Compression::Gzip => {
            let bytes = Box::new(BufReader::with_capacity(READ_BUFFER, MultiGzDecoder::new(raw)));
            TextBytes { bytes, file, packed: Some(("gzip", taken)) }
        }
        Compression::Zstd => {
            let broken = |source| Error::Read { file: file.to_string(), line: 1, source };
            let mut decoder = zstd::Decoder::with_buffer(raw).map_err(broken)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(broken)?;
            let bytes = Box::new(BufReader::with_capacity(READ_BUFFER, decoder));
            TextBytes { bytes, file, packed: Some(("zstd", taken)) }
        }
    })
}

/// The bytes up to the end of the first line that is not blank, or as many as are enough to tell a format.
fn first_line(text: &mut TextBytes) -> Result<Vec<u8>, Error> {
    const ENOUGH: usize = 1 << 20;
    let mut head = Vec::new();
    while head.len() < ENOUGH && !head.trim_ascii_start().contains(&b'\n') {
        let before = head.len();
        (&mut text.bytes).take(4_096).read_to_end(&mut head).map_err(|source| text.broken(1, source))?;
        if head.len() == before {
            break;
        }
    }
    Ok(head)
}
