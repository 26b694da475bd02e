//! Where offprint keeps things by default, and how a `--model` is found.

use std::path::{Path, PathBuf};

use anyhow::Result;
use offprint::durable;
use offprint::model::Bundle;
use offprint::output;
use offprint::paper::Corpus;

use super::hub::{self, Found, HubArgs, Wanted};
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

/// The bundle that `--model` names: a folder, else a recipe or hub id, whose bundle is made once in the cache folder.
pub(crate) fn bundle(
    model: &str,
    hub: &HubArgs,
    cache_dir_given: Option<&Path>,
    ort_lib: Option<&Path>,
) -> Result<Bundle> {
    let folder = match hub::find(model)? {
        Found::Folder(folder) => {
            hub.check_folder(model)?;
            folder
        }
        Found::Hub { id, recipe } => {
            let cache_dir = cache_dir(cache_dir_given)?;
            return hub::bundle(&Wanted::new(id, recipe, hub), &cache_dir, ort_lib);
        }
    };
    if folder.join("config.json").is_file() && !folder.join("bundle.toml").is_file() {
        return Err(user_error(
            format!("`{model}` is a checkpoint, not a bundle"),
            format!("`offprint export --model {model} -o BUNDLE` makes a bundle of it"),
        ));
    }
    Ok(Bundle::open(&folder)?)
}

/// `file` with `suffix` behind its name.
pub(crate) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// No result may take the place of a file of the corpus, and each needs a folder to lie in: better said before hours of
/// work than after them.
pub(crate) fn check_outputs(corpus: &Corpus, output: Option<&Path>, rejects: &Path) -> Result<()> {
    let inputs: Vec<PathBuf> = corpus.files().iter().filter_map(|file| file.canonicalize().ok()).collect();
    let ids = output.and_then(output::ids_path);
    for path in output.into_iter().chain(ids.as_deref()).chain([rejects]) {
        if path.canonicalize().is_ok_and(|path| inputs.contains(&path)) {
            let what = format!("`{}` is a file of the corpus and would be replaced", path.display());
            return Err(user_error(what, "give the result another name"));
        }
    }
    if let Some(output) = output {
        let folder = durable::parent(output);
        if !folder.is_dir() {
            let what = format!("`{}` cannot be written: there is no folder `{}`", output.display(), folder.display());
            return Err(user_error(what, "make the folder first"));
        }
    }
    Ok(())
}
