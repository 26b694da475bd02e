//! The flags of `offprint export` that add adapters, and what they come to: a folder each, downloaded where it is on the
//! hub. Owns what a word for an adapter may stand for; what the folder holds, `model` finds out.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use offprint::graph::{AdapterSource, ExportOptions};
use offprint::model::{ADAPTER_HEADS, Recipe};

use super::super::hub::{self, HubArgs};
use super::super::say::remark;
use super::super::user_error;

/// The word that asks for a recipe's model without its adapter.
const NONE: &str = "none";

/// Adapters that go into the graph.
#[derive(Debug, Args)]
pub(crate) struct AdapterArgs {
    /// Make an adapter part of the encoder: a folder that the `adapters` library or peft wrote (a bottleneck, or LoRA,
    /// which is added to the weights), a hub id (ID@REVISION for another than main), a name that the recipe has for
    /// one, or none [default: the recipe's, where --model is its name]
    #[arg(long, value_name = "ADAPTER", conflicts_with_all = ["adapters", "from_onnx"])]
    adapter: Option<String>,

    /// Make one bundle of several bottleneck adapters, of which each paper goes through its own (`embed --adapter NAME`
    /// or `--adapter-field FIELD`): NAME=ADAPTER,NAME=ADAPTER,.. or names that the recipe has
    #[arg(long, value_name = "NAME=ADAPTER,..", value_delimiter = ',', conflicts_with = "from_onnx")]
    adapters: Vec<String>,
}

impl AdapterArgs {
    /// An error in what was written, before anything is downloaded.
    pub(super) fn check(&self) -> Result<()> {
        match self.adapters.as_slice() {
            [] => Ok(()),
            [one] => {
                let adapter = one.split_once('=').map_or(one.as_str(), |(_, adapter)| adapter);
                Err(user_error(
                    format!("`--adapters {one}` names a single adapter, expected two or more"),
                    format!("`--adapter {adapter}` makes it part of the encoder"),
                ))
            }
            several => several.iter().try_for_each(|word| match word.split_once('=') {
                Some((name, adapter)) if name.is_empty() || adapter.is_empty() => Err(user_error(
                    format!("`{word}` in `--adapters` lacks a name or an adapter"),
                    "write NAME=DIR or NAME=HUB_ID, with commas between them",
                )),
                _ => Ok(()),
            }),
        }
    }

    /// Whether one bundle shall hold several adapters.
    pub(crate) fn are_several(&self) -> bool {
        !self.adapters.is_empty()
    }

    /// Adds the adapters that were asked for, or the one that belongs to the recipe.
    pub(super) fn add_to(&self, options: &mut ExportOptions, from: &Sources<'_>) -> Result<()> {
        if !self.adapters.is_empty() {
            let named = |word: &String| match word.split_once('=') {
                Some((name, adapter)) => Ok((name.to_owned(), from.source(adapter)?)),
                None => Ok((word.clone(), from.source(word)?)),
            };
            options.adapters = self.adapters.iter().map(named).collect::<Result<_>>()?;
        } else if let Some(word) = self.adapter.as_deref().or(from.own()) {
            options.adapter = if word == NONE { None } else { Some(from.source(word)?) };
        }
        for source in options.adapter.iter().chain(options.adapters.iter().map(|(_, source)| source)) {
            tell_unused_head(&source.folder);
        }
        Ok(())
    }
}

/// Where adapters may come from.
pub(super) struct Sources<'s> {
    pub recipe: Option<&'s Recipe>,
    pub hub: &'s HubArgs,
    pub cache_dir: PathBuf,
}

impl Sources<'_> {
    /// The adapter that belongs to the recipe's model.
    fn own(&self) -> Option<&str> {
        self.recipe?.adapter.as_deref()
    }

    /// An existing folder wins, then a name of the recipe's, then a hub id.
    fn source(&self, word: &str) -> Result<AdapterSource> {
        if Path::new(word).exists() {
            return Ok(AdapterSource::new(word));
        }
        if let Some(id) = self.recipe.and_then(|recipe| recipe.adapters.get(word)) {
            return hub::adapter(id, self.hub, &self.cache_dir);
        }
        if word.contains('/') {
            return hub::adapter(word, self.hub, &self.cache_dir);
        }
        let names: Vec<&str> =
            self.recipe.iter().flat_map(|recipe| recipe.adapters.keys().map(String::as_str)).collect();
        let names =
            if names.is_empty() { String::new() } else { format!(", one of the recipe's ({})", names.join(", ")) };
        Err(user_error(
            format!("adapter `{word}` not found"),
            format!("give the folder of an adapter{names} or a hub id such as `allenai/specter2_classification`"),
        ))
    }
}

/// A head beside an adapter is a task's and not the encoder's.
fn tell_unused_head(folder: &Path) {
    if let Some(head) = ADAPTER_HEADS.iter().find(|name| folder.join(name).is_file()) {
        remark(&format!(
            "note: `{}` is not used: an embedding comes from the adapter alone",
            folder.join(head).display()
        ));
    }
}
