//! Reading small files whole, with the path in every error.

use std::fs;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::Error;

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// The bytes of a file, or `None` if there is no such file.
pub(super) fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

/// A JSON file as a `T`, or `None` if there is no such file.
pub(super) fn json_if_present<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    read_if_present(path)?.map(|bytes| json(path, &bytes)).transpose()
}

/// JSON bytes as a `T`; `path` is named in the error.
pub(super) fn json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Json { path: path.to_owned(), source })
}

/// TOML text as a `T`; `path` is named in the error.
pub(super) fn toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Error> {
    ::toml::from_str(text).map_err(|source| Error::Toml { path: path.to_owned(), source: Box::new(source) })
}
