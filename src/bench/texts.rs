//! What goes between the processes of a measurement through files: texts, and vectors. Invariant: what is read is what
//! was written, or an error.

use std::io::{self, BufRead, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::runtime::EmbeddingMatrix;

/// A line of the texts.
#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    text: String,
}

/// Writes texts as a corpus: a JSON object a line, with the text's number as its id.
///
/// # Errors
/// A file that cannot be written.
pub fn write_texts(path: &Path, texts: &[String]) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let mut file = io::BufWriter::new(std::fs::File::create(path).map_err(failed)?);
    for (number, text) in texts.iter().enumerate() {
        let line = Line { id: number.to_string(), text: text.clone() };
        serde_json::to_writer(&mut file, &line).map_err(|error| failed(error.into()))?;
        file.write_all(b"\n").map_err(failed)?;
    }
    file.flush().map_err(failed)
}

/// Reads what [`write_texts`] wrote.
pub(super) fn read_texts(path: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let text = |line: io::Result<String>| -> io::Result<String> {
        let line: Line = serde_json::from_str(&line?)?;
        Ok(line.text)
    };
    let texts: Vec<String> = io::BufReader::new(file).lines().map(text).collect::<Result<_, _>>().map_err(failed)?;
    if texts.is_empty() { Err(Error::NoTexts) } else { Ok(texts) }
}

/// Writes vectors: rows and length as u64, then the numbers as f32, all little-endian.
pub(super) fn write_vectors(path: &Path, vectors: &EmbeddingMatrix) -> Result<(), Error> {
    let sizes = [vectors.rows as u64, vectors.dim as u64].map(u64::to_le_bytes).concat();
    let numbers = vectors.data.iter().flat_map(|value| value.to_le_bytes());
    let bytes: Vec<u8> = sizes.into_iter().chain(numbers).collect();
    std::fs::write(path, bytes).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Reads what a child wrote as the vectors of its texts.
///
/// # Errors
/// A file that cannot be read, or whose numbers do not fit its sizes.
pub fn read_vectors(path: &Path) -> Result<EmbeddingMatrix, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    let vectors = || {
        let (rows, rest) = bytes.split_first_chunk::<8>()?;
        let (dim, numbers) = rest.split_first_chunk::<8>()?;
        let [rows, dim] = [rows, dim].map(|size| usize::try_from(u64::from_le_bytes(*size)).ok());
        let (rows, dim) = rows.zip(dim)?;
        let (numbers, rest) = numbers.as_chunks::<4>();
        let data: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
        (rest.is_empty() && rows.checked_mul(dim) == Some(data.len())).then_some(EmbeddingMatrix { rows, dim, data })
    };
    vectors().ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_vectors_come_back_as_they_went() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.jsonl");
        let texts = ["two\nlines", "", "\"quoted\" {}", "Ω"].map(str::to_owned);
        write_texts(&path, &texts).unwrap();
        assert_eq!(read_texts(&path).unwrap(), texts);
        write_texts(&path, &[]).unwrap();
        assert!(matches!(read_texts(&path), Err(Error::NoTexts)));
        std::fs::write(&path, "no text\n").unwrap();
        assert!(matches!(read_texts(&path), Err(Error::Read { .. })));

        let path = folder.path().join("vectors");
        let vectors = EmbeddingMatrix { rows: 2, dim: 3, data: vec![1.0, -0.0, 3.5, f32::MIN, 0.1, 7.0] };
        write_vectors(&path, &vectors).unwrap();
        assert_eq!(read_vectors(&path).unwrap(), vectors);
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 15, 16, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(matches!(read_vectors(&path), Err(Error::Read { .. })), "{length}");
        }
    }
}
