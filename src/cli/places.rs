//! Where offprint keeps things by default, and how a `--model` is found.

use std::path::{Path, PathBuf};

use anyhow::Result;
use offprint::model::Bundle;
use offprint::output;
use offprint::paper::Corpus;
use offprint::report::{HTML_FILE, JSON_FILE};
use offprint::{cache, durable};

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

const EMBEDDINGS: &str = "embeddings";

/// The embeddings of a cache that is named by its folder, or by that of its embeddings itself: one that is marked as
/// such, or that has their name and an encoder in it.
pub(crate) fn embeddings_dir(cache_dir: &Path) -> PathBuf {
    let has_name = || cache_dir.canonicalize().is_ok_and(|folder| folder.file_name().is_some_and(|n| n == EMBEDDINGS));
    let has_encoders = || cache::spaces(cache_dir).is_ok_and(|spaces| !spaces.is_empty());
    if cache::is_marked(cache_dir) || has_name() && has_encoders() {
        return cache_dir.to_owned();
    }
    cache_dir.join(EMBEDDINGS)
}

/// Where a cache of that folder keeps what `--tune` found: beside its embeddings.
pub(crate) fn tune_dir(cache_dir: &Path) -> PathBuf {
    durable::parent(&embeddings_dir(cache_dir)).join("tune")
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
            return hub::bundle(&Wanted::new(id, recipe.map(|recipe| *recipe), hub), &cache_dir, ort_lib);
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

/// Where a run is going to write.
pub(crate) struct Results<'a> {
    pub output: Option<&'a Path>,
    pub rejects: &'a Path,
    /// The folder of the report page.
    pub report: Option<&'a Path>,
}

impl Results<'_> {
    /// Nothing may take the place of a file of the corpus or of another result, and each needs a folder to lie in and a
    /// name that no folder has: better said before hours of work than after them.
    pub(crate) fn check(&self, corpus: &Corpus) -> Result<()> {
        let inputs: Vec<PathBuf> = corpus.files().iter().filter_map(|file| file.canonicalize().ok()).collect();
        let mut met: Vec<PathBuf> = Vec::new();
        for path in self.files() {
            let place = resolved(&path);
            let refuse = |what: &str| {
                let what = format!("`{}` {what}", path.display());
                Err(user_error(what, "give the result another name"))
            };
            if inputs.contains(&place) {
                return refuse("is a file of the corpus and would be replaced");
            }
            if met.contains(&place) {
                return refuse("is named twice: one result would replace the other");
            }
            if path.is_dir() {
                return refuse("is a folder, expected the name of a file");
            }
            met.push(place);
        }
        let Some(output) = self.output else { return Ok(()) };
        let folder = durable::parent(output);
        if !folder.is_dir() {
            let what = format!("`{}` cannot be written: there is no folder `{}`", output.display(), folder.display());
            return Err(user_error(what, "make the folder first"));
        }
        Ok(())
    }

    fn files(&self) -> Vec<PathBuf> {
        let output = self.output.into_iter().flat_map(|path| [Some(path.to_owned()), output::ids_path(path)]);
        let report = self.report.into_iter().flat_map(|folder| [folder.join(JSON_FILE), folder.join(HTML_FILE)]);
        output.flatten().chain([self.rejects.to_owned()]).chain(report).collect()
    }
}

/// The path without links and detours as far as there is something behind it.
fn resolved(path: &Path) -> PathBuf {
    let in_folder = || Some(durable::parent(path).canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}
