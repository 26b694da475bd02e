//! A recipe (`models/*.toml`): how a known checkpoint is exported, and the hashes of the files for which that was
//! tried. Owns its reading and the comparison; `verified = false` says that nobody has seen the files yet.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Component, Path};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Error, Pooling, files};

const PREFIX: &str = "sha256:";

/// The choices for one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The bundle's name.
    pub name: String,
    /// Where the checkpoint is published: a hub id.
    pub source: String,
    /// The revision there, where one is pinned.
    pub revision: Option<String>,
    /// How title and abstract become one text.
    pub template: String,
    /// How token states become one vector.
    pub pooling: Option<Pooling>,
    /// Whether vectors are scaled to length 1.
    pub normalize: Option<bool>,
    /// Longest input in tokens.
    pub max_length: Option<usize>,
    /// Whether the files below were exported and compared with the reference.
    pub verified: bool,
    /// Hashes by file name, relative to the checkpoint's folder: `sha256:` and 64 hex digits.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

impl Recipe {
    /// Reads and checks a recipe.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = files::read(path)?;
        let wrong = |problem: String| Error::Recipe { path: path.to_owned(), problem };
        let text = String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        let recipe: Self = files::toml(path, &text)?;
        if recipe.verified && recipe.files.is_empty() {
            return Err(wrong("`verified` is true but `[files]` lists none".to_owned()));
        }
        for (name, hash) in &recipe.files {
            if name.is_empty() || !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(wrong(format!("`{name}` does not lie inside the checkpoint")));
            }
            let digits = hash.strip_prefix(PREFIX).unwrap_or_default();
            if digits.len() != 64 || !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(wrong(format!("the hash of `{name}` is `{hash}`, expected `sha256:` and 64 hex digits")));
            }
        }
        Ok(recipe)
    }

    /// Hashes each listed file in `checkpoint`; the first that differs or is missing is the error.
    pub fn verify(&self, checkpoint: &Path) -> Result<(), Error> {
        for (name, expected) in &self.files {
            let path = checkpoint.join(name);
            let got = sha256(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
            let expected = expected.strip_prefix(PREFIX).unwrap_or(expected);
            if got != expected {
                return Err(Error::Hash { path, algorithm: "SHA-256", got, expected: expected.to_owned() });
            }
        }
        Ok(())
    }
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut HashWriter(&mut hasher))?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
