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

/// What is needed of a page header, in Thrift's compact protocol.
#[derive(Debug, Default, PartialEq, Eq)]
struct PageHeader {
    /// Bytes of the header itself.
    length: u64,
    packed: u64,
    unpacked: u64,
    values: u64,
}

impl PageHeader {
    /// `None` if these bytes are no header, or not a whole one.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut compact = Compact { rest: bytes };
        let mut header = Self::default();
        let mut field = 0;
        while let Some(kind) = compact.next_field(&mut field)? {
            match (field, kind) {
                (2, INT32) => header.unpacked = u64::try_from(compact.int()?).ok()?,
                (3, INT32) => header.packed = u64::try_from(compact.int()?).ok()?,
                // The headers of data pages of version 1 and 2; dictionaries have no values of rows.
                (5 | 8, STRUCT) => header.values = compact.first_int()?,
                _ => compact.skip(kind, 0)?,
            }
        }
        header.length = (bytes.len() - compact.rest.len()) as u64;
        Some(header)
    }
}

const INT32: u8 = 5;
const STRUCT: u8 = 12;

/// Reads Thrift's compact protocol; `None` where the bytes end or make no sense.
struct Compact<'a> {
    rest: &'a [u8],
}

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// A signed integer, in zigzag.
    fn int(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The type of the struct's next field, whose number is put into `field`; `Some(None)` at the struct's end.
    fn next_field(&mut self, field: &mut i64) -> Option<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *field = match byte >> 4 {
            0 => self.int()?,
            step => field.checked_add(i64::from(step))?,
        };
        Some(Some(byte & 0x0f))
    }

    /// Field 1 of a struct, an integer not below zero; 0 if there is none.
    fn first_int(&mut self) -> Option<u64> {
        let (mut field, mut first) = (0, 0);
        while let Some(kind) = self.next_field(&mut field)? {
            match (field, kind) {
                (1, INT32) => first = u64::try_from(self.int()?).ok()?,
                _ => self.skip(kind, 1)?,
            }
        }
        Some(first)
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        const DEEPEST: usize = 16;
        match kind {
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.skip_bytes(8),
            8 => {
                let length = self.varint()?;
                self.skip_bytes(usize::try_from(length).ok()?)
            }
            9 | 10 if depth < DEEPEST => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                // Booleans in a list are a byte each.
                let item = if matches!(head & 0x0f, 1 | 2) { 3 } else { head & 0x0f };
                (0..count).try_for_each(|_| self.skip(item, depth + 1))
            }
            STRUCT if depth < DEEPEST => {
                let mut field = 0;
                while let Some(kind) = self.next_field(&mut field)? {
                    self.skip(kind, depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn skip_bytes(&mut self, count: usize) -> Option<()> {
        self.rest = self.rest.get(count..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_header_is_read_and_its_other_fields_are_skipped() {
        let statistics = [0x18, 2, b'a', b'b', 0x11, 0];
        let data_page = [[0x15, 20, 0x15, 0, 0x15, 6, 0x15, 6, 0x1c].as_slice(), &statistics, &[0]].concat();
        let bytes = [[0x15, 0, 0x15, 200, 1, 0x15, 100, 0x15, 9, 0x1c].as_slice(), &data_page, &[0]].concat();
        let expected = PageHeader { length: bytes.len() as u64, packed: 50, unpacked: 100, values: 10 };
        assert_eq!(PageHeader::read(&[&bytes[..], b"data"].concat()).unwrap(), expected);
        for short in 0..bytes.len() {
            assert_eq!(PageHeader::read(&bytes[..short]), None);
        }
        let negative = [0x25, 1, 0];
        assert_eq!(PageHeader::read(&negative), None);
    }
}
