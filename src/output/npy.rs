//! Embeddings as NumPy's `.npy` (format 1.0, little-endian f32, C order) and their ids as lines beside it.
//!
//! The header has room for any row count and is written again at the end; data starts at a multiple of 64 bytes, so
//! that the file can be mapped. Row n of the matrix is line n of the ids. The ids are put into place first, after an
//! older matrix was removed.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::embeddings::{EmbeddingRow, WriteEmbeddings, check_length};
use super::error::Error;
use crate::durable::{PendingFile, disk};

/// Magic, version, header length (2 bytes) and a header padded to this many bytes in all.
const HEADER_BYTES: usize = 128;

/// Writes the matrix and the ids.
pub(super) struct NpyEmbeddings {
    matrix: PendingFile,
    ids: PendingFile,
    dim: usize,
    rows: u64,
}

/// Where the ids of `x.npy` go: `x.ids.txt`.
pub fn ids_path(npy: &Path) -> PathBuf {
    npy.with_extension("ids.txt")
}

impl NpyEmbeddings {
    pub(super) fn create(path: &Path, dim: usize) -> Result<Self, Error> {
        let open =
            |path: &Path| PendingFile::create(path).map_err(|source| Error::Write { path: path.to_owned(), source });
        let mut matrix = open(path)?;
        let ids = open(&ids_path(path))?;
        matrix.write_all(&header(0, dim)).map_err(|source| Error::Write { path: path.to_owned(), source })?;
        Ok(Self { matrix, ids, dim, rows: 0 })
    }

    fn try_finish(&mut self) -> io::Result<()> {
        let header = header(self.rows, self.dim);
        self.matrix.seek(SeekFrom::Start(0))?;
        self.matrix.write_all(&header)
    }
}

impl WriteEmbeddings for NpyEmbeddings {
    fn write(&mut self, row: &EmbeddingRow<'_>) -> Result<(), Error> {
        check_length(row, self.dim)?;
        if row.id.chars().any(breaks_line) {
            return Err(Error::IdBreaksLine { id: row.id.to_owned(), path: self.ids.target().to_owned() });
        }
        let outcome = row.embedding.iter().try_for_each(|value| self.matrix.write_all(&value.to_le_bytes()));
        outcome.map_err(|source| Error::Write { path: self.matrix.target().to_owned(), source })?;
        writeln!(self.ids, "{}", row.id)
            .map_err(|source| Error::Write { path: self.ids.target().to_owned(), source })?;
        self.rows += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), Error> {
        let (matrix, ids) = (self.matrix.target().to_owned(), self.ids.target().to_owned());
        self.try_finish().map_err(|source| Error::Write { path: matrix.clone(), source })?;
        // A matrix of an earlier run must never stand beside the ids of this one.
        disk::remove(&matrix).map_err(|source| Error::Write { path: matrix.clone(), source })?;
        self.ids.publish().map_err(|source| Error::Write { path: ids, source })?;
        self.matrix.publish().map_err(|source| Error::Write { path: matrix, source })
    }
}

/// Control characters, and the two separators at which Python's `splitlines` ends a line as well.
fn breaks_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

fn header(rows: u64, dim: usize) -> [u8; HEADER_BYTES] {
    let mut header = [b' '; HEADER_BYTES];
    let fields = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    header[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    header[8..10].copy_from_slice(&(HEADER_BYTES as u16 - 10).to_le_bytes());
    // Two numbers of at most 20 digits each leave room to spare.
    header[10..10 + fields.len()].copy_from_slice(fields.as_bytes());
    header[HEADER_BYTES - 1] = b'\n';
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_header_fits_and_its_length_is_a_multiple_of_64() {
        let largest = header(u64::MAX, usize::MAX);
        assert!(largest.ends_with(b", }  \n") || largest.ends_with(b" \n"));
        assert_eq!(10 + usize::from(u16::from_le_bytes([largest[8], largest[9]])), 128);
        assert_eq!(HEADER_BYTES % 64, 0);
    }
}
