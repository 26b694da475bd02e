//! Which reader and which decompressor an input asks for: by the ending of its name, by what the user said, or by its
//! first bytes where neither says it (standard input, pipes).
//!
//! Opens nothing. A format that is known here has one arm in [`super::source::open`].

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::error::Error;

/// Endings that [`FormatRules::of_name`] knows, for messages.
pub(super) const KNOWN_FORMATS: &str = ".jsonl, .ndjson, .csv, .tsv (each also with .gz or .zst), .parquet; with the schemas `arxiv` and `specter-metadata` .json, too";

/// Values of `--input-format`, for messages.
pub(super) const KNOWN_INPUT_FORMATS: &str = "jsonl, csv, tsv, parquet";

/// What the rows of an input are written in, as the user says it for inputs whose name does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// JSON Lines.
    Jsonl,
    /// Comma-separated values (RFC 4180).
    Csv,
    /// The same with tabs for commas.
    Tsv,
    /// Apache Parquet.
    Parquet,
}

impl fmt::Display for InputFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Parquet => "parquet",
        })
    }
}

impl FromStr for InputFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        [Self::Jsonl, Self::Csv, Self::Tsv, Self::Parquet]
            .into_iter()
            .find(|format| format.to_string() == name)
            .ok_or_else(|| Error::UnknownInputFormat { name: name.to_owned() })
    }
}

/// How the rows of an input are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowFormat {
    Jsonl,
    Csv,
    Tsv,
    Parquet,
    /// One JSON object of the whole file: the value of each key is a row.
    JsonObject,
}

impl From<InputFormat> for RowFormat {
    fn from(format: InputFormat) -> Self {
        match format {
            InputFormat::Jsonl => Self::Jsonl,
            InputFormat::Csv => Self::Csv,
            InputFormat::Tsv => Self::Tsv,
            InputFormat::Parquet => Self::Parquet,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// By the first bytes. No text format can start with these.
    pub(super) fn of_bytes(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or one of the frames that a reader skips.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Rows and compression of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) rows: RowFormat,
    pub(super) compression: Compression,
}

/// What was said about formats for the whole corpus.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FormatRules {
    /// For inputs whose name says nothing.
    pub(super) input_format: Option<InputFormat>,
    /// What a `.json` file is, where the schema says it: arXiv's is JSON Lines, SPECTER's one object of rows.
    pub(super) json: Option<RowFormat>,
}

impl FormatRules {
    /// The format that the ending of a name stands for, in any case; `None` if the ending is not known.
    pub(super) fn of_name(&self, path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        let (stem, compression) = if let Some(stem) = name.strip_suffix(".gz") {
            (stem, Compression::Gzip)
        } else if let Some(stem) = name.strip_suffix(".zst") {
            (stem, Compression::Zstd)
        } else {
            (name.as_str(), Compression::None)
        };
        let rows = match stem.rsplit_once('.')?.1 {
            "jsonl" | "ndjson" => RowFormat::Jsonl,
            "csv" => RowFormat::Csv,
            "tsv" => RowFormat::Tsv,
            "parquet" if compression == Compression::None => RowFormat::Parquet,
            "json" => self.json?,
            _ => return None,
        };
        Some(Format { rows, compression })
    }

    /// The format of rows of which nobody said what they are, by the first bytes of the (decompressed) text.
    pub(super) fn of_text(&self, head: &[u8]) -> RowFormat {
        if let Some(format) = self.input_format {
            return format.into();
        }
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        if text.starts_with(b"{") {
            return self.json.unwrap_or(RowFormat::Jsonl);
        }
        let header = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        if header.contains(&b'\t') { RowFormat::Tsv } else { RowFormat::Csv }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_says_format_and_compression() {
        let rules = FormatRules::default();
        let of = |name: &str| rules.of_name(Path::new(name)).map(|format| (format.rows, format.compression));
        assert_eq!(of("a/b.jsonl"), Some((RowFormat::Jsonl, Compression::None)));
        assert_eq!(of("b.ndjson.gz"), Some((RowFormat::Jsonl, Compression::Gzip)));
        assert_eq!(of("B.CSV.GZ"), Some((RowFormat::Csv, Compression::Gzip)));
        assert_eq!(of("b.tsv.zst"), Some((RowFormat::Tsv, Compression::Zstd)));
        assert_eq!(of("b.parquet"), Some((RowFormat::Parquet, Compression::None)));
        assert_eq!(["b.json", "b.gz", "csv", "b.parquet.gz", "b.zst"].map(of), [None; 5]);
        let rules = FormatRules { json: Some(RowFormat::JsonObject), ..rules };
        let format = rules.of_name(Path::new("metadata.json.zst")).unwrap();
        assert_eq!((format.rows, format.compression), (RowFormat::JsonObject, Compression::Zstd));
        assert_eq!(rules.of_text(b"{"), RowFormat::JsonObject);
    }

    #[test]
    fn first_bytes_say_it_where_no_name_does() {
        let rules = FormatRules::default();
        let of = |text: &str| rules.of_text(text.as_bytes());
        assert_eq!(of("\u{feff}\n {\"id\": 1}"), RowFormat::Jsonl);
        assert_eq!(of("id,title\n1\t2"), RowFormat::Csv);
        assert_eq!(of("id\ttitle, and more\n"), RowFormat::Tsv);
        assert_eq!(of(""), RowFormat::Csv);
        let told = FormatRules { input_format: Some(InputFormat::Tsv), json: None };
        assert_eq!(told.of_text(b"{"), RowFormat::Tsv);
        assert_eq!(Compression::of_bytes(b"\x1f\x8b\x08"), Compression::Gzip);
        assert_eq!(Compression::of_bytes(b"\x28\xb5\x2f\xfd\x00"), Compression::Zstd);
        assert_eq!(Compression::of_bytes(b"\x51\x2a\x4d\x18"), Compression::Zstd);
        assert_eq!(Compression::of_bytes(b"{"), Compression::None);
    }

    #[test]
    fn an_input_format_is_read_as_it_is_shown() {
        for name in KNOWN_INPUT_FORMATS.split(", ") {
            assert_eq!(name.parse::<InputFormat>().unwrap().to_string(), name);
        }
        let error = "json".parse::<InputFormat>().unwrap_err();
        assert_eq!(error.to_string(), "input format `json` is unknown, expected one of jsonl, csv, tsv, parquet");
    }
}
