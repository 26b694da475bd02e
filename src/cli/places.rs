//! Where offprint keeps things by default, and how a `--model` is found.

use std::path::{Path, PathBuf};

use anyhow::Result;
use offprint::model::Bundle;

use super::user_error;

/// The folder of the cache: `--cache-dir`, else `offprint` in the user's cache folder.
pub(crate) fn cache_dir(given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(folder) => Ok(folder.to_owned()),
        None => dirs::cache_dir().map(|folder| folder.join("offprint")).ok_or_else(|| {
            user_error("this user has no cache folder (neither HOME nor XDG_CACHE_HOME is set)", "give `--cache-dir`")
        }),
    }
}

/// The embeddings within the cache folder.
pub(crate) fn embeddings_dir(cache_dir: &Path) -> PathBuf {
    cache_dir.join("embeddings")
}

/// The bundle that `--model` names.
pub(crate) fn bundle(model: &str) -> Result<Bundle> {
    let folder = Path::new(model);
    if !folder.exists() {
        return Err(user_error(
            format!("model `{model}` not found"),
            "give the folder of a bundle; `offprint export` makes one from a checkpoint",
        ));
    }
    if folder.join("config.json").is_file() && !folder.join("bundle.toml").is_file() {
        return Err(user_error(
            format!("`{model}` is a checkpoint, not a bundle"),
            format!("`offprint export --model {model} -o BUNDLE` makes a bundle of it"),
        ));
    }
    Ok(Bundle::open(folder)?)
}

/// `file` with `suffix` behind its name.
pub(crate) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
