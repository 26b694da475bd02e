//! The pages of one row group, checked before the library reads them.
//!
//! The library allocates what a page's header says it unpacks to. Here each header of the wanted columns is read first
//! and compared with what papers can need; the largest page then says how many rows may be decoded at once.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::RowGroups;
use ::parquet::column::page::{PageIterator, PageReader};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use ::parquet::file::serialized_reader::SerializedPageReader;

use super::super::error::Error;
use super::compact::PageHeader;

/// Bytes that a page may unpack to (256 MiB); writers make pages of one or two.
const LARGEST_PAGE: u64 = 256 << 20;
/// Values that one column chunk of lists may have: they might all be in one row.
const MOST_LIST_VALUES: u64 = 64 << 20;
/// Bytes of pages (256 MiB) that the rows decoded at once may refer to, and the most such rows.
const PAGES_AT_ONCE: u64 = 256 << 20;
const MOST_ROWS_AT_ONCE: u64 = 1_024;

/// One row group of a file.
pub(super) struct GroupPages {
    file: Arc<File>,
    metadata: Arc<ParquetMetaData>,
    group: usize,
}

impl GroupPages {
    pub(super) fn new(file: &Arc<File>, metadata: &Arc<ParquetMetaData>, group: usize) -> Self {
        Self { file: Arc::clone(file), metadata: Arc::clone(metadata), group }
    }

    fn of_group(&self) -> &RowGroupMetaData {
        self.metadata.row_group(self.group)
    }

    /// Looks at the page headers of these leaf columns in the file `name` of `size` bytes. Gives how many rows may be
    /// decoded at once.
    pub(super) fn check(&self, name: &str, size: u64, leaves: &[usize]) -> Result<usize, Error> {
        let mut largest = 0;
        for &leaf in leaves {
            let Some(column) = self.of_group().columns().get(leaf) else {
                let source = ParquetError::General(format!("row group {} lacks column {leaf}", self.group + 1));
                return Err(Error::Parquet { file: name.to_owned(), row: 0, source });
            };
            let met =
                self.scan(column, size).map_err(|source| Error::Parquet { file: name.to_owned(), row: 0, source })?;
            let too_large = |most| Error::ParquetPage {
                file: name.to_owned(),
                column: column.column_path().string(),
                bytes: met.bytes,
                values: met.values,
                most,
            };
            if met.bytes > LARGEST_PAGE {
                return Err(too_large("256 MiB"));
            }
            if column.column_descr().max_rep_level() > 0 && met.values > MOST_LIST_VALUES {
                return Err(too_large("64 Mi values of lists"));
            }
            largest += met.bytes;
        }
        let rows = (PAGES_AT_ONCE / largest.max(1)).clamp(1, MOST_ROWS_AT_ONCE);
        Ok(usize::try_from(rows).expect("at most 1,024"))
    }

    /// The largest page and all values of a column chunk, by its page headers.
    fn scan(&self, column: &ColumnChunkMetaData, size: u64) -> Result<Met, ParquetError> {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let place = u64::try_from(start).ok().zip(u64::try_from(column.compressed_size()).ok());
        let end = place.and_then(|(start, bytes)| start.checked_add(bytes)).filter(|&end| end <= size);
        let (Some((mut at, _)), Some(end)) = (place, end) else {
            return Err(ParquetError::EOF(format!("column `{}` lies outside the file", column.column_path())));
        };
        let mut met = Met::default();
        while at < end {
            let header = self.header(at, end)?;
            met.bytes = met.bytes.max(header.unpacked);
            met.values = met.values.saturating_add(header.values);
            at += header.length + header.packed;
        }
        Ok(met)
    }

    fn header(&self, at: u64, end: u64) -> Result<PageHeader, ParquetError> {
        let mut file = &*self.file;
        let mut head = Vec::new();
        for enough in [512, 64 << 10, 4 << 20_u64] {
            head.clear();
            file.seek(SeekFrom::Start(at))?;
            file.take(enough.min(end - at)).read_to_end(&mut head)?;
            if let Some(header) = PageHeader::read(&head) {
                return Ok(header);
            }
            if head.len() as u64 == end - at {
                break;
            }
        }
        Err(ParquetError::General(format!("the page header at byte {at} cannot be read")))
    }
}

#[derive(Default)]
struct Met {
    bytes: u64,
    values: u64,
}

impl RowGroups for GroupPages {
    fn num_rows(&self) -> usize {
        usize::try_from(self.of_group().num_rows()).unwrap_or(0)
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>, ParquetError> {
        let pages =
            SerializedPageReader::new(Arc::clone(&self.file), self.of_group().column(column), self.num_rows(), None)?;
        Ok(Box::new(OneChunk(Some(Box::new(pages)))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.of_group()))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The pages of the one chunk that a column has in a row group.
struct OneChunk(Option<Box<dyn PageReader>>);

impl Iterator for OneChunk {
    type Item = Result<Box<dyn PageReader>, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl PageIterator for OneChunk {}
