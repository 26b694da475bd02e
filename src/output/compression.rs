//! Which compression an output gets: what its name says and what `--compress` asks for, brought together.
//!
//! Knows names, no bytes. Its invariant: a name tells the truth. A text file is compressed exactly if its name ends in
//! `.gz` or `.zst`, Parquet compresses its own pages, and a matrix that others map into memory is never compressed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::Error;

/// Levels of gzip.
const GZIP_LEVELS: (u32, u32) = (1, 9);
/// Levels of zstd that decompress in a few MiB; above lie those that its own program asks to confirm.
const ZSTD_LEVELS: (u32, u32) = (1, 19);

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    None,
    /// RFC 1952, without a time stamp.
    Gzip,
    /// RFC 8878, with a checksum.
    Zstd,
    /// Snappy; for the pages of Parquet only.
    Snappy,
}

impl Codec {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
        }
    }

    fn levels(self) -> Option<(u32, u32)> {
        match self {
            Self::Gzip => Some(GZIP_LEVELS),
            Self::Zstd => Some(ZSTD_LEVELS),
            Self::None | Self::Snappy => None,
        }
    }
}

/// A codec and maybe its level, as in `zstd:7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// How.
    pub codec: Codec,
    /// How hard: 1 to 9 for gzip, 1 to 19 for zstd. `None` leaves it to the writer; the other codecs have no levels.
    pub level: Option<u32>,
}

impl Compression {
    /// Bytes as they are.
    pub const NONE: Self = Self::of(Codec::None);

    /// The codec at its usual level.
    pub const fn of(codec: Codec) -> Self {
        Self { codec, level: None }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.codec.name())?;
        self.level.map_or(Ok(()), |level| write!(f, ":{level}"))
    }
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, CompressionError> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let codecs = [Codec::None, Codec::Gzip, Codec::Zstd, Codec::Snappy];
        let Some(codec) = codecs.into_iter().find(|codec| codec.name() == name) else {
            return Err(CompressionError::Unknown { got: name.to_owned() });
        };
        match (level, codec.levels()) {
            (None, _) => Ok(Self::of(codec)),
            (Some(_), None) => Err(CompressionError::NoLevels { codec: codec.name() }),
            (Some(got), Some((least, most))) => match got.parse() {
                Ok(level) if (least..=most).contains(&level) => Ok(Self { codec, level: Some(level) }),
                _ => Err(CompressionError::Level { codec: codec.name(), got: got.to_owned(), least, most }),
            },
        }
    }
}

/// Why a text is no [`Compression`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// No such codec.
    #[error("compression `{got}` is unknown, expected `gzip`, `zstd`, `snappy` (Parquet only) or `none`")]
    Unknown {
        /// As given.
        got: String,
    },
    /// A level for a codec that has none.
    #[error("`{codec}` has no levels")]
    NoLevels {
        /// The codec.
        codec: &'static str,
    },
    /// A level that the codec does not have.
    #[error("level of `{codec}` is `{got}`, expected {least} to {most}")]
    Level {
        /// The codec.
        codec: &'static str,
        /// As given.
        got: String,
        /// The fastest.
        least: u32,
        /// The smallest result.
        most: u32,
    },
}

/// The last part of an output's name, in lower case, and the compression that stands behind it: `x.jsonl.gz` is
/// `jsonl` and gzip.
pub(super) fn endings(path: &Path) -> (String, Codec) {
    let last = ending(path);
    let codec = match last.as_str() {
        "gz" => Codec::Gzip,
        "zst" => Codec::Zstd,
        _ => return (last, Codec::None),
    };
    (ending(Path::new(path.file_stem().unwrap_or_default())), codec)
}

fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// What an output consists of, as far as compression goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Lines, written from the first to the last.
    Text,
    /// Parquet.
    Pages,
    /// Numbers that a reader maps into memory as they lie.
    Matrix,
}

/// The compression of the output `path`; `None` leaves it to the writer of Parquet.
pub(super) fn settle(path: &Path, content: Content, asked: Option<Compression>) -> Result<Option<Compression>, Error> {
    let (_, named) = endings(path);
    let fits = match content {
        Content::Text => asked.is_none_or(|asked| asked.codec == named),
        Content::Pages => named == Codec::None && asked.is_none_or(|asked| asked.codec != Codec::Gzip),
        Content::Matrix => named == Codec::None && asked.is_none_or(|asked| asked.codec == Codec::None),
    };
    if !fits {
        return Err(refusal(path, content, named, asked));
    }
    Ok(match content {
        Content::Text => Some(asked.unwrap_or(Compression::of(named))),
        Content::Pages | Content::Matrix => asked,
    })
}

fn refusal(path: &Path, content: Content, named: Codec, asked: Option<Compression>) -> Error {
    let asked = asked.unwrap_or(Compression::of(named));
    let path = path.to_owned();
    match content {
        Content::Text if asked.codec == Codec::Snappy => Error::SnappyText { path },
        Content::Text => {
            let named = if named == Codec::None { "no compression" } else { named.name() };
            let better = renamed(&path, asked.codec);
            Error::CompressionClash { path, named, asked: asked.to_string(), better }
        }
        Content::Pages => Error::CompressedParquet { path, asked: asked.codec.name() },
        Content::Matrix => Error::CompressedMatrix { path, asked: asked.codec.name() },
    }
}

/// `path` with the ending that says `codec`.
fn renamed(path: &Path, codec: Codec) -> PathBuf {
    let mut plain = path.to_owned();
    if endings(path).1 != Codec::None {
        plain.set_extension("");
    }
    let mut name = plain.into_os_string();
    match codec {
        Codec::Gzip => name.push(".gz"),
        Codec::Zstd => name.push(".zst"),
        Codec::None | Codec::Snappy => {}
    }
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compression_is_a_name_and_maybe_a_level() {
        let parse = |text: &str| text.parse::<Compression>();
        assert_eq!(parse("gzip"), Ok(Compression { codec: Codec::Gzip, level: None }));
        assert_eq!(parse("zstd:19"), Ok(Compression { codec: Codec::Zstd, level: Some(19) }));
        assert_eq!(parse("none"), Ok(Compression::NONE));
        for text in ["gzip:1", "gzip:9", "zstd:1", "snappy", "none"] {
            assert_eq!(parse(text).map(|compression| compression.to_string()), Ok(text.to_owned()));
        }
        let message = |text: &str| parse(text).unwrap_err().to_string();
        let known = "expected `gzip`, `zstd`, `snappy` (Parquet only) or `none`";
        assert_eq!(message("lzma:3"), format!("compression `lzma` is unknown, {known}"));
        assert_eq!(message(""), format!("compression `` is unknown, {known}"));
        assert_eq!(message("none:1"), "`none` has no levels");
        assert_eq!(message("gzip:0"), "level of `gzip` is `0`, expected 1 to 9");
        assert_eq!(message("gzip:10"), "level of `gzip` is `10`, expected 1 to 9");
        assert_eq!(message("zstd:20"), "level of `zstd` is `20`, expected 1 to 19");
        assert_eq!(message("zstd:"), "level of `zstd` is ``, expected 1 to 19");
    }

    #[test]
    fn endings_are_read_from_behind() {
        let of = |name: &str| endings(Path::new(name));
        assert_eq!(of("a.b/x.JSONL.GZ"), ("jsonl".to_owned(), Codec::Gzip));
        assert_eq!(of("x.y.csv.zst"), ("csv".to_owned(), Codec::Zstd));
        assert_eq!(of("x.parquet"), ("parquet".to_owned(), Codec::None));
        assert_eq!(of("jsonl.gz"), (String::new(), Codec::Gzip));
        assert_eq!(of("x"), (String::new(), Codec::None));
    }

    #[test]
    fn the_name_of_a_text_and_the_flag_must_agree() {
        let settle = |name: &str, asked: &str| {
            let asked = (!asked.is_empty()).then(|| asked.parse().unwrap());
            settle(Path::new(name), Content::Text, asked).map_err(|error| (error.to_string(), error.hint().unwrap()))
        };
        let found = |name, asked| settle(name, asked).unwrap().unwrap().to_string();
        assert_eq!(found("x.jsonl", ""), "none");
        assert_eq!(found("x.jsonl", "none"), "none");
        assert_eq!(found("x.jsonl.gz", ""), "gzip");
        assert_eq!(found("x.jsonl.gz", "gzip:9"), "gzip:9");
        assert_eq!(found("x.csv.zst", "zstd"), "zstd");
        let clash = |name: &str, named: &str, asked: &str, better: &str| {
            let message = format!("the name of output `{name}` says {named}, `--compress {asked}` something else");
            (message, format!("name it `{better}`, or leave `--compress` out"))
        };
        let refused = |name, asked| settle(name, asked).unwrap_err();
        assert_eq!(refused("x.jsonl", "gzip"), clash("x.jsonl", "no compression", "gzip", "x.jsonl.gz"));
        assert_eq!(refused("x.jsonl.gz", "zstd:5"), clash("x.jsonl.gz", "gzip", "zstd:5", "x.jsonl.zst"));
        assert_eq!(refused("a.b/x.zst", "none"), clash("a.b/x.zst", "zstd", "none", "a.b/x"));
        let snappy = "output `x.jsonl` cannot be compressed by snappy, which is for Parquet".to_owned();
        let hint = "`--compress gzip` with `.gz`, or `--compress zstd` with `.zst`".to_owned();
        assert_eq!(refused("x.jsonl", "snappy"), (snappy, hint));
    }

    #[test]
    fn parquet_and_matrices_are_not_wrapped() {
        let settle = |name: &str, content, asked: &str| {
            let asked = (!asked.is_empty()).then(|| asked.parse().unwrap());
            settle(Path::new(name), content, asked).map_err(|error| error.to_string())
        };
        for asked in ["zstd:7", "snappy", "none"] {
            assert_eq!(settle("x.parquet", Content::Pages, asked), Ok(Some(asked.parse().unwrap())));
        }
        assert_eq!(settle("x.parquet", Content::Pages, ""), Ok(None));
        assert_eq!(settle("x.npy", Content::Matrix, "none"), Ok(Some(Compression::NONE)));
        let pages = "is not compressed by gzip: Parquet compresses its pages itself, by zstd or snappy";
        let gzip = settle("x.parquet", Content::Pages, "gzip").unwrap_err();
        assert_eq!(gzip, format!("output `x.parquet` {pages}"));
        let gz = settle("x.parquet.gz", Content::Pages, "").unwrap_err();
        assert_eq!(gz, format!("output `x.parquet.gz` {pages}"));
        let zst = settle("x.npy.zst", Content::Matrix, "").unwrap_err();
        let mapped = "is not compressed by zstd: its readers map the numbers into memory as they lie in the file";
        assert_eq!(zst, format!("output `x.npy.zst` {mapped}"));
        assert_eq!(settle("x.npy", Content::Matrix, "zstd").unwrap_err(), format!("output `x.npy` {mapped}"));
    }
}
