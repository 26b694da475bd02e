//! Embeddings as one matrix in a file that others map into memory, and their ids as lines beside it.
//!
//! Row n of the matrix is line n of the ids. Invariant: a matrix under its real name has its own ids beside it, whatever
//! stops the writer: everything is on the disk before the older matrix goes, the older matrix goes before the ids are
//! replaced, and the new matrix comes last. A stop in between leaves no matrix, never one with another's ids.

use std::fmt::Write as _;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::embeddings::{
    EmbeddingFormat, EmbeddingOutputOptions, EmbeddingRow, WriteEmbeddings, Written, check_length,
};
use super::error::Error;
use super::matrix_header::MatrixHeader;
use crate::durable::{self, PendingFile};

/// Endings of the formats that share `<stem>.ids.txt`.
const MATRIX_ENDINGS: [&str; 3] = ["npy", "safetensors", "fbin"];

/// Where the ids of a matrix go: `x.ids.txt` beside `x.npy`, `x.safetensors` or `x.fbin`. `None` for the other formats,
/// which hold their ids.
pub fn ids_path(output: &Path) -> Option<PathBuf> {
    let ending = output.extension()?.to_string_lossy().to_ascii_lowercase();
    MATRIX_ENDINGS.contains(&ending.as_str()).then(|| output.with_extension("ids.txt"))
}

/// Writes the matrix and the ids.
pub(super) struct MatrixEmbeddings {
    header: MatrixHeader,
    matrix: PendingFile,
    ids: PendingFile,
    dim: usize,
    rows: u64,
    quoted_ids: u64,
    bytes: Vec<u8>,
}

impl MatrixEmbeddings {
    /// Opens the matrix and its ids, with the header of `format`.
    pub(super) fn create(
        path: &Path,
        format: EmbeddingFormat,
        dim: usize,
        options: &EmbeddingOutputOptions,
    ) -> Result<Self, Error> {
        let header = match format {
            EmbeddingFormat::Safetensors => safetensors_header(options),
            EmbeddingFormat::Fbin => MatrixHeader::Fbin,
            _ => MatrixHeader::Npy,
        };
        let ids = path.with_extension("ids.txt");
        if let Some(owner) = other_matrix(path) {
            return Err(Error::IdsTaken { ids, owner });
        }
        let open =
            |path: &Path| PendingFile::create(path).map_err(|source| Error::Write { path: path.to_owned(), source });
        let (mut matrix, ids) = (open(path)?, open(&ids)?);
        let written = matrix.write_all(&header.bytes(0, dim));
        written.map_err(|source| Error::Write { path: path.to_owned(), source })?;
        Ok(Self { header, matrix, ids, dim, rows: 0, quoted_ids: 0, bytes: Vec::with_capacity(4 * dim) })
    }

    /// Writes the header with the final count, and brings both files to the disk under their temporary names.
    fn complete(&mut self) -> Result<(), Error> {
        let header = self.header.bytes(self.rows, self.dim);
        let patched = self.matrix.seek(SeekFrom::Start(0)).and_then(|_| self.matrix.write_all(&header));
        patched.and_then(|()| self.matrix.sync()).map_err(refused(self.matrix.target()))?;
        self.ids.sync().map_err(refused(self.ids.target()))
    }
}

fn refused(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Write { path, source }
}

/// A matrix of another format whose ids lie where those of `path` would go.
fn other_matrix(path: &Path) -> Option<PathBuf> {
    let others = MATRIX_ENDINGS.iter().map(|ending| path.with_extension(ending));
    let mut others = others.filter(|other| !other.as_os_str().eq_ignore_ascii_case(path.as_os_str()));
    others.find(|other| other.exists())
}

fn safetensors_header(options: &EmbeddingOutputOptions) -> MatrixHeader {
    // `format` says which framework's memory layout a file has; torch's is the one that every reader accepts.
    let mut metadata = vec![("format", "pt")];
    metadata.extend(options.metadata());
    MatrixHeader::safetensors(&metadata)
}

impl WriteEmbeddings for MatrixEmbeddings {
    fn write(&mut self, row: &EmbeddingRow<'_>) -> Result<(), Error> {
        check_length(row, self.dim)?;
        if self.rows == self.header.most_rows() {
            return Err(Error::TooManyRows { path: self.matrix.target().to_owned(), most: self.rows });
        }
        self.bytes.clear();
        self.bytes.extend(row.embedding.iter().flat_map(|value| value.to_le_bytes()));
        self.matrix.write_all(&self.bytes).map_err(refused(self.matrix.target()))?;
        let written = if is_plain_line(row.id) {
            writeln!(self.ids, "{}", row.id)
        } else {
            self.quoted_ids += 1;
            writeln!(self.ids, "{}", quoted(row.id))
        };
        written.map_err(refused(self.ids.target()))?;
        self.rows += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Written, Error> {
        self.complete()?;
        let (matrix, ids) = (self.matrix.target().to_owned(), self.ids.target().to_owned());
        durable::remove_file(&matrix).map_err(refused(&matrix))?;
        self.ids.publish().map_err(refused(&ids))?;
        self.matrix.publish().map_err(refused(&matrix))?;
        Ok(Written { rows: self.rows, quoted_ids: self.quoted_ids })
    }
}

/// Whether an id can be a line of its own: nothing in it ends a line for any reader, and it doesn't look like a JSON
/// string.
fn is_plain_line(id: &str) -> bool {
    !id.starts_with('"') && !id.chars().any(breaks_line)
}

/// Control characters, and the two separators at which Python's `splitlines` ends a line as well.
fn breaks_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// The id as a JSON string without anything that ends a line.
fn quoted(id: &str) -> String {
    let json = serde_json::Value::from(id).to_string();
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        if breaks_line(character) {
            // All of these lie in the first plane, where four digits do.
            let _ = write!(line, "\\u{:04x}", u32::from(character));
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn write(path: &Path, ids: &[&str]) -> Result<Written, Error> {
        let format = EmbeddingFormat::from_path(path)?;
        let mut writer = Box::new(MatrixEmbeddings::create(path, format, 1, &EmbeddingOutputOptions::default())?);
        for id in ids {
            writer.write(&EmbeddingRow { id, embedding: &[1.0], n_tokens: 2, n_dropped: 0 })?;
        }
        writer.finish()
    }

    #[test]
    fn without_new_ids_there_is_no_matrix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        write(&path, &["old"]).unwrap();
        // A folder in the place of the ids is what a rename fails at.
        let ids = ids_path(&path).unwrap();
        fs::remove_file(&ids).unwrap();
        fs::create_dir_all(ids.join("something")).unwrap();
        let error = write(&path, &["new"]).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write `{}`", ids.display()));
        assert!(!path.exists(), "a matrix stands beside ids that are not its own");
    }

    #[test]
    fn while_the_older_matrix_is_there_its_ids_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        // A folder in the place of the matrix is what a removal fails at.
        fs::create_dir(&path).unwrap();
        fs::write(ids_path(&path).unwrap(), "old\n").unwrap();
        let error = write(&path, &["new"]).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write `{}`", path.display()));
        assert_eq!(fs::read_to_string(ids_path(&path).unwrap()).unwrap(), "old\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn ids_of_another_matrix_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write(&path("x.npy"), &["old"]).unwrap();
        write(&path("x.npy"), &["again"]).unwrap();
        let error = write(&path("x.safetensors"), &["new"]).unwrap_err();
        let (ids, npy) = (path("x.ids.txt"), path("x.npy"));
        let expected = format!("`{}` belongs to `{}` and would be replaced", ids.display(), npy.display());
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().unwrap().starts_with("give the output another name"));
        assert_eq!(fs::read_to_string(ids).unwrap(), "again\n");
        write(&path("y.fbin"), &["new"]).unwrap();
    }

    #[test]
    fn a_matrix_has_ids_beside_it_and_other_formats_have_not() {
        let of = |name: &str| ids_path(Path::new(name));
        assert_eq!(of("a/x.NPY"), Some(PathBuf::from("a/x.ids.txt")));
        assert_eq!(of("x.y.safetensors"), Some(PathBuf::from("x.y.ids.txt")));
        assert_eq!(of("x.fbin"), Some(PathBuf::from("x.ids.txt")));
        assert_eq!((of("x.parquet"), of("x.jsonl.gz"), of("npy")), (None, None, None));
    }

    #[test]
    fn a_format_counts_only_so_far() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.fbin");
        let options = EmbeddingOutputOptions::default();
        let mut writer = MatrixEmbeddings::create(&path, EmbeddingFormat::Fbin, 1, &options).unwrap();
        writer.rows = writer.header.most_rows();
        let row = EmbeddingRow { id: "a", embedding: &[1.0], n_tokens: 2, n_dropped: 0 };
        let error = writer.write(&row).unwrap_err();
        assert_eq!(error.to_string(), format!("`{}` can hold 2147483647 rows and no more", path.display()));
        assert_eq!(error.hint().as_deref(), Some("write `.npy`, `.safetensors` or `.parquet`"));
    }

    #[test]
    fn only_ids_that_need_it_are_quoted() {
        for id in ["10.1000/182", "a b", "é", "", "it's", "a\"b", "\\n", " x "] {
            assert!(is_plain_line(id), "{id:?}");
        }
        for (id, line) in [
            ("a\nb", r#""a\nb""#),
            ("\"x\"", r#""\"x\"""#),
            ("\u{85}", r#""\u0085""#),
            ("a\u{2028}b\u{7f}", r#""a\u2028b\u007f""#),
            ("\0", r#""\u0000""#),
        ] {
            assert!(!is_plain_line(id), "{id:?}");
            assert_eq!(quoted(id), line);
        }
    }

    proptest! {
        #[test]
        fn every_id_is_one_line_and_reads_back(id in any::<String>()) {
            let line = if is_plain_line(&id) { id.clone() } else { quoted(&id) };
            prop_assert!(!line.chars().any(breaks_line));
            let back = if line.starts_with('"') { serde_json::from_str(&line).unwrap() } else { line };
            prop_assert_eq!(back, id);
        }
    }
}
