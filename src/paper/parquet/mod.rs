//! Apache Parquet: the columns that are wanted, read in small batches, one row group after the other.
//!
//! Knows no field's meaning. Texts are read as bytes and looked at row by row, so that one bad text costs one row.
//! Sizes are checked before anything is allocated by them (`pages.rs`), and a panic of the library on damaged data is an
//! error like any other.

mod columns;
mod compact;
mod pages;
mod values;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use arrow_array::RecordBatch;
use serde_json::Value;

use super::error::Error;
use super::fields::FieldPlan;
use super::lines::{LONGEST_ROW, check_unfolded, too_long};
use super::source::{RawRow, Reading, RowSource};
use crate::contained::contained;
use columns::{BatchColumn, Columns};
use pages::GroupPages;

/// The rows of one Parquet file.
pub(super) struct ParquetRows {
    place: Place,
    file: Arc<File>,
    size: u64,
    metadata: Arc<ParquetMetaData>,
    plan: Arc<FieldPlan>,
    columns: Columns,
    /// The row group to be opened next.
    next_group: usize,
    reader: Option<ParquetRecordBatchReader>,
    batch: Batch,
    /// Bytes of the rows given out.
    given: u64,
    progress: Progress,
}

/// Rows that were decoded together, and the next of them.
#[derive(Default)]
struct Batch {
    columns: Vec<Option<BatchColumn>>,
    rows: usize,
    at: usize,
}

/// The file and the row (from 1) that is read, for messages.
struct Place {
    file: Arc<str>,
    row: u64,
}

impl Place {
    fn broken(&self, source: ParquetError) -> Error {
        Error::Parquet { file: self.file.to_string(), row: self.row, source }
    }

    /// Runs what the library does. It panics on some damaged data (one damaged file in some ten thousand, over bits that
    /// do not last for the rows); that becomes an error, not the end of the program.
    fn guard<T>(&self, work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, Error> {
        match contained(work) {
            Ok(result) => result.map_err(|source| self.broken(source)),
            Err(message) => Err(Error::ParquetPanic { file: self.file.to_string(), row: self.row, message }),
        }
    }
}

/// Rows as a share of the file's bytes, so that a progress bar ends at the file's size.
struct Progress {
    counter: Arc<AtomicU64>,
    size: u64,
    rows: u64,
    counted: u64,
}

impl Progress {
    fn at(&mut self, row: u64) {
        let share = row as f64 / self.rows.max(1) as f64;
        let bytes = if row >= self.rows { self.size } else { (self.size as f64 * share) as u64 };
        self.counter.fetch_add(bytes.saturating_sub(self.counted), Ordering::Relaxed);
        self.counted = self.counted.max(bytes);
    }
}

impl ParquetRows {
    pub(super) fn open(file: File, name: Arc<str>, reading: &Reading) -> Result<Self, Error> {
        let place = Place { file: name, row: 0 };
        let size = file.metadata().map_err(|source| place.broken(source.into()))?.len();
        place.guard(|| check_depth(&file, size))?;
        let metadata = place.guard(|| ParquetMetaDataReader::new().parse_and_finish(&file))?;
        let columns = place.guard(|| Columns::new(metadata.file_metadata().schema_descr(), &reading.plan))?;
        let rows = metadata.row_groups().iter().map(|group| group.num_rows().max(0) as u64).sum();
        let progress = Progress { counter: Arc::clone(&reading.progress), size, rows, counted: 0 };
        Ok(Self {
            place,
            file: Arc::new(file),
            size,
            metadata: Arc::new(metadata),
            plan: Arc::clone(&reading.plan),
            columns,
            next_group: 0,
            reader: None,
            batch: Batch::default(),
            given: 0,
            progress,
        })
    }

    /// Fills the batch with the next rows; `false` at the end of the file.
    fn next_batch(&mut self) -> Result<bool, Error> {
        loop {
            if let Some(reader) = &mut self.reader {
                let decoded = self.place.guard(|| Ok(reader.next().transpose()?))?;
                match decoded {
                    Some(batch) if batch.num_rows() > 0 => {
                        self.take(&batch)?;
                        return Ok(true);
                    }
                    Some(_) => continue,
                    None => self.reader = None,
                }
            }
            if self.next_group >= self.metadata.num_row_groups() {
                self.progress.at(self.progress.rows);
                return Ok(false);
            }
            self.open_group()?;
        }
    }

    fn open_group(&mut self) -> Result<(), Error> {
        let pages = GroupPages::new(&self.file, &self.metadata, self.next_group);
        let rows_at_once = pages.check(&self.place.file, self.size, self.columns.leaves())?;
        let levels = self.columns.levels();
        let open = || ParquetRecordBatchReader::try_new_with_row_groups(levels, &pages, rows_at_once, None);
        self.reader = Some(self.place.guard(open)?);
        self.next_group += 1;
        Ok(())
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.progress.at(self.place.row);
        check_unfolded(&self.place.file, self.size, self.given)?;
        self.batch = Batch { columns: self.columns.of_batch(batch), rows: batch.num_rows(), at: 0 };
        Ok(())
    }

    fn cells(&mut self) -> Result<Vec<Option<Value>>, String> {
        let (row, mut bytes) = (self.batch.at, 1);
        let mut cells = Vec::with_capacity(self.batch.columns.len());
        for (at, column) in self.batch.columns.iter().enumerate() {
            let Some(column) = column else {
                cells.push(None);
                continue;
            };
            let room = LONGEST_ROW.saturating_sub(bytes);
            let (value, taken) = column
                .value(row, self.plan.whole(at), room)
                .map_err(|fault| fault.reason(&self.plan.names()[at], || too_long(LONGEST_ROW)))?;
            bytes += taken;
            cells.push(Some(value));
        }
        self.given += bytes as u64;
        Ok(cells)
    }
}

/// The library reads a schema group within group on the stack, however deep it is.
fn check_depth(mut file: &File, size: u64) -> Result<(), ParquetError> {
    const DEEPEST: usize = 100;
    const TAIL: u64 = 8;
    let Some(tail) = size.checked_sub(TAIL) else { return Ok(()) };
    let mut end = [0; TAIL as usize];
    file.seek(SeekFrom::Start(tail))?;
    file.read_exact(&mut end)?;
    let [a, b, c, d, magic @ ..] = end;
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    let Some(start) = tail.checked_sub(length).filter(|_| magic == *b"PAR1") else { return Ok(()) };
    let mut footer = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(length).read_to_end(&mut footer)?;
    match compact::schema_depth(&footer) {
        Some(depth) if depth <= DEEPEST => Ok(()),
        Some(depth) => {
            Err(ParquetError::General(format!("the schema is nested {depth} deep, expected {DEEPEST} at most")))
        }
        None => Err(ParquetError::General("the schema in the footer cannot be read".to_owned())),
    }
}

impl RowSource for ParquetRows {
    fn next_row(&mut self) -> Result<Option<RawRow>, Error> {
        if self.batch.at >= self.batch.rows && !self.next_batch()? {
            return Ok(None);
        }
        self.place.row += 1;
        let cells = self.cells();
        self.batch.at += 1;
        Ok(Some(RawRow { line: self.place.row, cells }))
    }

    fn names(&self) -> &[String] {
        self.columns.names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_library_asserts_is_an_error_that_names_file_and_row() {
        let place = Place { file: "x.parquet".into(), row: 7 };
        let column = -1;
        let message = |work: &dyn Fn()| {
            let guarded = place.guard(|| {
                work();
                Ok(())
            });
            guarded.unwrap_err().to_string()
        };
        let start = "x.parquet:7: the Parquet data is damaged in a way that its reader does not know: ";
        assert_eq!(message(&|| assert!(column >= 0, "offset {column}\nmore")), format!("{start}offset -1"));
        assert_eq!(message(&|| panic!("plain")), format!("{start}plain"));
    }
}
