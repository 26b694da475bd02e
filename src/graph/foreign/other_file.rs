//! What a file that is no ONNX model seems to be, by its first bytes. Owns the guess and the words for it; a file that
//! could be read as ONNX is never asked about.

/// A kind of file that is easily given in the place of an ONNX file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherFile {
    /// A head that was trained here.
    Head,
    /// Weights of a checkpoint, as safetensors or from `torch.save`.
    Weights,
    /// Lines of JSON, or one JSON object.
    Json,
    /// A Parquet file.
    Parquet,
    /// A file packed by gzip or zstd.
    Packed,
}

/// The part of a file that is looked at; the labels of a head may take megabytes.
const LOOKED_AT: usize = 1 << 26;

impl OtherFile {
    /// What these bytes begin like; `None` for what is not known.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let start = &bytes[..bytes.len().min(LOOKED_AT)];
        let has = |part: &[u8], name: &[u8]| part.windows(name.len()).any(|window| window == name);
        if let Some(header) = safetensors_header(start) {
            let head = [b"\"coefficients\"".as_slice(), b"\"intercepts\""].iter().all(|name| has(header, name));
            return Some(if head { Self::Head } else { Self::Weights });
        }
        let begins = |with: &[u8]| start.starts_with(with);
        if begins(b"PK\x03\x04") && has(&start[..start.len().min(256)], b"/data.pkl") || begins(b"\x80\x02") {
            return Some(Self::Weights);
        }
        if begins(b"PAR1") {
            return Some(Self::Parquet);
        }
        if begins(b"\x1f\x8b") || begins(b"\x28\xb5\x2f\xfd") {
            return Some(Self::Packed);
        }
        let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
        let mut inside = text.strip_prefix(b"{")?.trim_ascii_start().iter();
        matches!(inside.next(), Some(b'"' | b'}')).then_some(Self::Json)
    }

    /// What it seems to be, behind `it seems to be`.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Head => "a head that `offprint train` made",
            Self::Weights => "the weights of a checkpoint",
            Self::Json => "JSON, as a corpus is (JSONL)",
            Self::Parquet => "a Parquet file, as a corpus is",
            Self::Packed => "a packed file, as a corpus may be (gzip or zstd)",
        }
    }

    /// What takes such a file.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Head => "`offprint fuse --head` puts a head into a bundle, `offprint classify --head` uses it",
            Self::Weights => "give the checkpoint's folder, with config.json and tokenizer",
            Self::Json | Self::Parquet | Self::Packed => {
                "`offprint embed` and `offprint classify` take a corpus, beside a bundle"
            }
        }
    }
}

/// The JSON at the front of a safetensors file, as far as it is there.
fn safetensors_header(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    rest.starts_with(b"{\"").then(|| &rest[..rest.len().min(length)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_first_bytes() {
        let header = |json: &str| [&(json.len() as u64).to_le_bytes(), json.as_bytes(), b"\0\0\0\0"].concat();
        let labels = format!(r#"{{"labels": "{}", "coefficients": 1, "intercepts": 2}}"#, "x".repeat(100_000));
        for (bytes, expected) in [
            (header(&labels), Some(OtherFile::Head)),
            (header(r#"{"bert.pooler": 1, "coefficients": 2}"#), Some(OtherFile::Weights)),
            (b"PK\x03\x04..pytorch_model/data.pkl..".to_vec(), Some(OtherFile::Weights)),
            (b"PK\x03\x04..word/document.xml..".to_vec(), None),
            (b"\x80\x02\x8a\x0a".to_vec(), Some(OtherFile::Weights)),
            (b"{\"id\": 1}\n{\"id\": 2}\n".to_vec(), Some(OtherFile::Json)),
            (b"\xef\xbb\xbf{}".to_vec(), Some(OtherFile::Json)),
            (b"{x}".to_vec(), None),
            (b"PAR1....PAR1".to_vec(), Some(OtherFile::Parquet)),
            (b"\x1f\x8b\x08".to_vec(), Some(OtherFile::Packed)),
            (b"\x28\xb5\x2f\xfd".to_vec(), Some(OtherFile::Packed)),
            (b"hello".to_vec(), None),
            (Vec::new(), None),
        ] {
            assert_eq!(OtherFile::of(&bytes), expected, "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
        }
    }
}
