//! The adapters that an export was asked for: opened, checked against each other, and as the manifest names them.
//! Knows no nodes; what a graph does with them lies in `adapter`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::model::{Adapter, AdapterError, BundleAdapter, EncoderConfig, Error, MAX_ADAPTERS, is_adapter_name};

use super::adapter::Adaptation;

/// An adapter's folder, and what is known of where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterSource {
    /// Folder with `adapter_config.json` and weights.
    pub folder: PathBuf,
    /// Its source's name; the folder's name if `None`.
    pub name: Option<String>,
    /// The source's revision, where one is known.
    pub revision: Option<String>,
    /// The licence of its weights; what the folder's README.md says if `None`.
    pub license: Option<String>,
}

impl AdapterSource {
    /// A folder of which nothing more is known.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), name: None, revision: None, license: None }
    }

    fn open(&self, base: &EncoderConfig) -> Result<Adapter, Error> {
        Adapter::open(&self.folder, base)
    }

    /// What the manifest says of it; without a `name` of the user's, its source's last part is one.
    fn describe(&self, name: Option<&str>, adapter: &Adapter) -> Result<BundleAdapter, Error> {
        let source = self.name.clone().unwrap_or_else(|| folder_name(&self.folder));
        let license = match &self.license {
            Some(license) => Some(license.clone()),
            None => adapter.license()?,
        };
        Ok(BundleAdapter {
            name: name.map_or_else(|| plain_name(&source), str::to_owned),
            kind: adapter.kind(),
            hash: adapter.hash(),
            source: Some(source).filter(|source| !source.is_empty()),
            revision: self.revision.clone(),
            license,
        })
    }
}

/// The adapters of an export.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub adaptation: Adaptation,
    /// For the manifest: the one that is part of the encoder.
    pub fused: Option<BundleAdapter>,
    /// For the manifest: those of which each text gets its own.
    pub several: Vec<BundleAdapter>,
}

impl Opened {
    /// Opens one adapter, or several by name, for a base model.
    pub(super) fn new(
        one: Option<&AdapterSource>,
        several: &[(String, AdapterSource)],
        base: &EncoderConfig,
    ) -> Result<Self, Error> {
        if let Some(source) = one {
            let adapter = source.open(base)?;
            let fused = Some(source.describe(None, &adapter)?);
            return Ok(Self { adaptation: Adaptation::Fused(Box::new(adapter)), fused, several: Vec::new() });
        }
        if several.is_empty() {
            return Ok(Self::default());
        }
        check_names(several)?;
        let open = |(name, source): &(String, AdapterSource)| {
            let adapter = source.open(base)?;
            Ok((source.describe(Some(name), &adapter)?, (name.clone(), adapter)))
        };
        let (listed, adapters): (Vec<_>, Vec<_>) =
            several.iter().map(open).collect::<Result<Vec<_>, Error>>()?.into_iter().unzip();
        check_hashes(&listed)?;
        Ok(Self { adaptation: Adaptation::chosen(adapters)?, fused: None, several: listed })
    }
}

fn check_names(several: &[(String, AdapterSource)]) -> Result<(), AdapterError> {
    if !(2..=MAX_ADAPTERS).contains(&several.len()) {
        return Err(AdapterError::Count { got: several.len(), most: MAX_ADAPTERS });
    }
    for (at, (name, _)) in several.iter().enumerate() {
        if !is_adapter_name(name) {
            return Err(AdapterError::Name { name: name.clone() });
        }
        if several[..at].iter().any(|(other, _)| other == name) {
            return Err(AdapterError::NameTaken { name: name.clone() });
        }
    }
    Ok(())
}

/// That no adapter is there twice: vectors are told apart by an adapter's hash.
fn check_hashes(listed: &[BundleAdapter]) -> Result<(), AdapterError> {
    let mut known: HashMap<&str, &str> = HashMap::new();
    for adapter in listed {
        if let Some(first) = known.insert(&adapter.hash, &adapter.name) {
            return Err(AdapterError::Same { names: [first.to_owned(), adapter.name.clone()] });
        }
    }
    Ok(())
}

fn folder_name(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The last part of a source's name, in letters that names may have.
fn plain_name(source: &str) -> String {
    let last = source.rsplit('/').next().unwrap_or_default();
    let plain: String =
        last.chars().map(|letter| if is_adapter_name(&letter.to_string()) { letter } else { '-' }).collect();
    if plain.is_empty() { "adapter".to_owned() } else { plain }
}
