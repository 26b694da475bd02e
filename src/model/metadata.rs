//! The metadata at the end of an ONNX file, read without reading the graph before it.
//! Knows only the outermost protobuf fields; every length is checked against the file's size before it is used.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use prost::Message;

use super::Error;

/// Numbers of `ModelProto`'s fields.
const GRAPH: u64 = 7;
const METADATA_PROPS: u64 = 14;

/// A bundle's own metadata takes about two kilobytes.
const MAX_ENTRY: u64 = 1 << 20;

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// What stands outside the graph in an ONNX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphMetadata {
    /// `metadata_props`, by key.
    pub entries: BTreeMap<String, String>,
    /// Where the graph ends, in bytes: what lies before is what a bundle's `graph_hash` covers.
    pub graph_end: u64,
}

impl GraphMetadata {
    /// Reads the outermost fields of the file, skipping the graph. A file that ends inside a field, or that has no
    /// graph, is an error.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut fields = Fields { reader: BufReader::new(file), position: 0, size };
        fields.read_all().map_err(|problem| match problem {
            Problem::Io(source) => failed(source),
            Problem::Form(problem) => Error::NotOnnx { path: path.to_owned(), problem },
        })
    }
}

enum Problem {
    Io(io::Error),
    Form(String),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Fields {
    reader: BufReader<File>,
    position: u64,
    size: u64,
}

impl Fields {
    fn read_all(&mut self) -> Result<GraphMetadata, Problem> {
        let mut entries = BTreeMap::new();
        let mut graph_end = None;
        while self.position < self.size {
            let start = self.position;
            let key = self.varint()?;
            match (key >> 3, key & 7) {
                (_, 0) => {
                    self.varint()?;
                }
                (field, 2) => {
                    let length = self.varint()?;
                    if length > self.size - self.position {
                        let (field_end, size) = (self.position.saturating_add(length), self.size);
                        return Err(Problem::Form(format!("a field ends at byte {field_end}, the file at {size}")));
                    }
                    if field == METADATA_PROPS {
                        let entry = self.entry(length)?;
                        entries.insert(entry.key, entry.value);
                    } else {
                        self.skip(length)?;
                    }
                    if field == GRAPH {
                        graph_end = Some(self.position);
                    }
                }
                (field, kind) => {
                    return Err(Problem::Form(format!("field {field} at byte {start} has the wire type {kind}")));
                }
            }
        }
        let graph_end = graph_end.ok_or_else(|| Problem::Form(format!("no graph in its {} bytes", self.size)))?;
        Ok(GraphMetadata { entries, graph_end })
    }

    fn varint(&mut self) -> Result<u64, Problem> {
        let start = self.position;
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            if self.position == self.size {
                return Err(Problem::Form(format!("it ends at byte {} inside a number", self.size)));
            }
            let mut byte = [0];
            self.reader.read_exact(&mut byte)?;
            self.position += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Problem::Form(format!("the number at byte {start} has more than 10 bytes")))
    }

    fn entry(&mut self, length: u64) -> Result<Entry, Problem> {
        if length > MAX_ENTRY {
            return Err(Problem::Form(format!("a metadata entry of {length} bytes, at most {MAX_ENTRY} are read")));
        }
        let mut bytes = vec![0; length as usize];
        self.reader.read_exact(&mut bytes)?;
        let start = self.position;
        self.position += length;
        Entry::decode(bytes.as_slice()).map_err(|error| Problem::Form(format!("metadata at byte {start}: {error}")))
    }

    fn skip(&mut self, length: u64) -> Result<(), Problem> {
        self.position += length;
        self.reader.seek(SeekFrom::Start(self.position))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(bytes: &[u8]) -> Result<GraphMetadata, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        fs::write(&path, bytes).unwrap();
        GraphMetadata::read(&path)
    }

    fn problem(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string().split_once("whole ONNX model: ").unwrap().1.to_owned()
    }

    /// ir_version 9, a graph of 3 bytes, the entry `k` = `v`.
    const FILE: [u8; 15] = [0x08, 9, 0x3a, 3, 1, 2, 3, 0x72, 6, 0x0a, 1, b'k', 0x12, 1, b'v'];

    #[test]
    fn entries_are_found_behind_the_graph() {
        let found = read(&FILE).unwrap();
        assert_eq!(found.graph_end, 7);
        assert_eq!(found.entries, BTreeMap::from([("k".to_owned(), "v".to_owned())]));
    }

    #[test]
    fn a_file_cut_anywhere_inside_a_field_is_refused() {
        for end in 0..FILE.len() {
            assert_eq!(read(&FILE[..end]).is_ok(), end == 7, "cut at {end}");
        }
        assert_eq!(problem(&FILE[..6]), "a field ends at byte 7, the file at 6");
        assert_eq!(problem(&FILE[..1]), "it ends at byte 1 inside a number");
        assert_eq!(problem(&FILE[..2]), "no graph in its 2 bytes");
    }

    #[test]
    fn other_bytes_are_refused_with_their_place() {
        assert_eq!(problem(b"{}"), "field 15 at byte 0 has the wire type 3");
        assert_eq!(problem(&[0xff; 12]), "the number at byte 0 has more than 10 bytes");
        let huge = [0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(problem(&huge), format!("a field ends at byte {}, the file at 11", u64::MAX));
    }
}
