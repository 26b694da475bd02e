//! A bundle: the folder with `model.onnx`, `tokenizer.json` and `bundle.toml` that `export` writes and every other
//! command opens. `bundle.toml` rules; opening checks that tokenizer and graph are the ones it speaks of.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Error, Fingerprint, GraphMetadata, Identity, Manifest, files};

/// The graph's file name.
pub const GRAPH_FILE: &str = "model.onnx";
/// The name of the file beside the graph that holds its weights, where they are too many for one file.
pub const DATA_FILE: &str = "model.onnx.data";
/// The tokenizer's file name.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// The file that rules.
pub const MANIFEST_FILE: &str = "bundle.toml";

/// All files that a bundle may consist of.
pub const BUNDLE_FILES: [&str; 4] = [GRAPH_FILE, DATA_FILE, TOKENIZER_FILE, MANIFEST_FILE];

/// An opened bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The folder.
    pub dir: PathBuf,
    /// The fields of `bundle.toml`.
    pub manifest: Manifest,
}

impl Bundle {
    /// Opens a folder and checks it: `bundle.toml` parses, `tokenizer.json` has the hash it names, the graph is whole
    /// and carries the same fields, the data file has its size. The graph's bytes are not read, nor those of the data
    /// file; [`Bundle::verify_graph`] does that.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(MANIFEST_FILE);
        let Some(bytes) = files::read_if_present(&path)? else {
            return Err(Error::NoBundle { dir: dir.to_owned() });
        };
        let text = String::from_utf8(bytes).map_err(|error| {
            let source = io::Error::new(io::ErrorKind::InvalidData, error);
            Error::Read { path: path.clone(), source }
        })?;
        let bundle = Self { dir: dir.to_owned(), manifest: Manifest::parse(&path, &text)? };
        let tokenizer = bundle.tokenizer_path();
        let got = blake3::hash(&files::read(&tokenizer)?).to_hex().to_string();
        same_hash(tokenizer, got, &bundle.manifest.tokenizer_hash)?;
        bundle.check_metadata()?;
        bundle.check_data_size()?;
        Ok(bundle)
    }

    /// `model.onnx` in the folder.
    pub fn graph_path(&self) -> PathBuf {
        self.dir.join(GRAPH_FILE)
    }

    /// `tokenizer.json` in the folder.
    pub fn tokenizer_path(&self) -> PathBuf {
        self.dir.join(TOKENIZER_FILE)
    }

    /// Which function of a text the bundle computes; see [`Manifest::identity`].
    pub fn identity(&self) -> Identity {
        self.manifest.identity()
    }

    /// What decides the bits of its vectors; see [`Manifest::fingerprint`].
    pub fn fingerprint(&self) -> Fingerprint {
        self.manifest.fingerprint()
    }

    /// Reads the whole graph and its data file and compares their hashes with those in `bundle.toml`.
    pub fn verify_graph(&self) -> Result<(), Error> {
        let path = self.graph_path();
        let end = GraphMetadata::read(&path)?.graph_end;
        let got = hash_of(&path, end)?;
        same_hash(path, got, &self.manifest.graph_hash)?;
        let Some(data) = &self.manifest.data else { return Ok(()) };
        let path = self.dir.join(DATA_FILE);
        let got = hash_of(&path, u64::MAX)?;
        same_hash(path, got, &data.hash)
    }

    fn check_data_size(&self) -> Result<(), Error> {
        let Some(data) = &self.manifest.data else { return Ok(()) };
        let path = self.dir.join(DATA_FILE);
        let got = std::fs::metadata(&path).map_err(|source| Error::Read { path: path.clone(), source })?.len();
        if got == data.bytes {
            return Ok(());
        }
        Err(Error::DataSize { path, got, expected: data.bytes })
    }

    fn check_metadata(&self) -> Result<(), Error> {
        let graph = self.graph_path();
        let mut found = GraphMetadata::read(&graph)?.entries;
        for (key, expected) in self.manifest.metadata() {
            let got = found.remove(&key);
            if got.as_ref() != Some(&expected) {
                return Err(differs(graph, &key, got, Some(expected)));
            }
        }
        match found.into_iter().find(|(key, _)| key.starts_with("offprint.")) {
            Some((key, value)) => Err(differs(graph, &key, Some(value), None)),
            None => Ok(()),
        }
    }
}

fn differs(graph: PathBuf, key: &str, got: Option<String>, expected: Option<String>) -> Error {
    let field = key.strip_prefix("offprint.").unwrap_or(key).to_owned();
    let [got, expected] = [got, expected].map(|value| value.unwrap_or_else(|| "none".to_owned()));
    Error::MetadataDiffers { graph, field, got, expected }
}

/// BLAKE3 of the first `end` bytes of a file, or of all where it has fewer.
fn hash_of(path: &Path, end: u64) -> Result<String, Error> {
    let mut hasher = blake3::Hasher::new();
    let read = File::open(path).and_then(|file| hasher.update_reader(file.take(end)).map(|_| ()));
    read.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn same_hash(path: PathBuf, got: String, expected: &str) -> Result<(), Error> {
    if got == expected {
        return Ok(());
    }
    Err(Error::Hash { path, algorithm: "BLAKE3", got, expected: expected.to_owned() })
}
