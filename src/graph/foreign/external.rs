//! Weights that lie in files beside an ONNX file. A tensor names such a file, an offset and a length; all three come
//! from the file, so all three are checked: the other file lies in the same folder, and the bytes inside it.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use prost::bytes::Bytes;

use super::file::map;
use crate::graph::onnx::TensorProto;

/// The files beside an ONNX file, each mapped when it is first asked for.
#[derive(Debug)]
pub(super) struct ExternalFiles {
    /// The folder of the ONNX file.
    folder: PathBuf,
    open: Mutex<BTreeMap<String, Bytes>>,
}

/// Where a tensor says that its bytes lie.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct ExternalPlace {
    /// The file, as it is named.
    pub location: String,
    pub offset: u64,
    /// `None`: as many as shape and type ask for.
    pub length: Option<u64>,
}

impl ExternalPlace {
    /// The location without what leads nowhere: `./w` is `w`. What leads out of a folder stays as it is.
    pub(crate) fn file(&self) -> String {
        let parts = Path::new(&self.location).components().filter(|part| *part != Component::CurDir);
        parts.collect::<PathBuf>().to_string_lossy().into_owned()
    }

    /// Reads the entries of a tensor.
    pub(crate) fn of(tensor: &TensorProto) -> Result<Self, String> {
        let mut place = Self::default();
        for entry in &tensor.external_data {
            let [key, value] = [&entry.key, &entry.value].map(|text| text.as_deref().unwrap_or_default());
            let number =
                || value.parse::<u64>().map_err(|_| format!("has the {key} `{value}`, expected a number of bytes"));
            match key {
                "location" => place.location = value.to_owned(),
                "offset" => place.offset = number()?,
                "length" => place.length = Some(number()?),
                _ => {}
            }
        }
        if place.location.is_empty() {
            return Err("lies in another file but names none (no `location`)".to_owned());
        }
        Ok(place)
    }
}

impl ExternalFiles {
    /// The files in the folder of `path`; none is opened yet.
    pub(super) fn beside(path: &Path) -> Self {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self { folder: folder.to_owned(), open: Mutex::default() }
    }

    /// The files that were opened, in the order of their names.
    pub(super) fn opened(&self) -> Vec<Bytes> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The bytes of a tensor, `expected` many; what is wrong as an end to `tensor x`.
    pub(super) fn bytes_of(&self, tensor: &TensorProto, expected: u64) -> Result<Bytes, String> {
        let place = ExternalPlace::of(tensor)?;
        let file = self.open(&place)?;
        let length = place.length.unwrap_or(expected);
        let size = file.len() as u64;
        let end = place.offset.checked_add(length).filter(|end| *end <= size);
        let Some(end) = end else {
            return Err(format!(
                "lies at {length} bytes from byte {} of `{}`, which has {size}",
                place.offset, place.location
            ));
        };
        Ok(file.slice(place.offset as usize..end as usize))
    }

    /// What tells a file from others: two names may lead to one, by a link.
    pub(super) fn identity(&self, place: &ExternalPlace) -> PathBuf {
        let file = place.file();
        self.folder.join(&file).canonicalize().unwrap_or_else(|_| file.into())
    }

    /// The file that is named, mapped.
    fn open(&self, place: &ExternalPlace) -> Result<Bytes, String> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (location, file) = (place.location.as_str(), place.file());
        if let Some(bytes) = open.get(&file) {
            return Ok(bytes.clone());
        }
        let bytes = map(&self.inside(location)?).map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(" ({source})")).unwrap_or_default();
            format!("lies in `{location}`: {error}{source}")
        })?;
        open.insert(file, bytes.clone());
        Ok(bytes)
    }

    /// The path of a file in the folder; no name and no link leads out of it.
    fn inside(&self, location: &str) -> Result<PathBuf, String> {
        let outside = |why: &str| format!("lies in `{location}`, {why}; expected a file in the folder of the model");
        let relative = Path::new(location);
        if !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(outside("which leads out of the folder"));
        }
        let path = self.folder.join(relative);
        let resolved = |path: &Path| {
            path.canonicalize().map_err(|error| format!("lies in `{location}`, which could not be found ({error})"))
        };
        let (folder, file) = (resolved(&self.folder)?, resolved(&path)?);
        if !file.starts_with(&folder) {
            return Err(outside("a link out of the folder"));
        }
        if !file.is_file() {
            return Err(outside("which is no file"));
        }
        Ok(path)
    }
}
