//! What a `--model` that is no folder stands for: a recipe or a hub id, its checkpoint, and the bundle that is made of it
//! once. A bundle in the cache folder lies under the model's id, commit and choices, and is used without the network.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use offprint::graph::{AdapterSource, ExportOptions};
use offprint::model::hub::{Error, Hub, HubId, HubKind, HubRequest, HubSettings, LockFile, Snapshot};
use offprint::model::{BUNDLE_FORMAT, Bundle, Checkpoint, MANIFEST_FILE, Recipe};
use offprint::runtime::OnnxRuntime;

use super::environment::is_typed;
use super::hub_progress::Shower;
use super::say::remark;
use super::{export, user_error};

/// The branch that is meant where none is named.
const MAIN: &str = "main";

/// Which files of a model on the hub are meant.
#[derive(Debug, Args)]
pub(crate) struct HubArgs {
    /// Branch, tag or commit of a model from the hub [default: the recipe's, else main]
    #[arg(long, value_name = "REV", help_heading = "Hub")]
    pub revision: Option<String>,

    /// Use only what is downloaded already, and no network [also: HF_HUB_OFFLINE=1]
    #[arg(long, help_heading = "Hub")]
    pub offline: bool,
}

impl HubArgs {
    /// An error if a revision was typed for a folder, which has none.
    pub(crate) fn check_folder(&self, model: &str) -> Result<()> {
        match &self.revision {
            Some(revision) if is_typed("--revision") => Err(user_error(
                format!("`--revision {revision}` is given, and `{model}` is a folder, which has no revisions"),
                "leave `--revision` out, or give a hub id",
            )),
            _ => Ok(()),
        }
    }
}

/// What a `--model` is.
pub(crate) enum Found {
    /// A folder or file on this machine.
    Folder(PathBuf),
    /// A model on the hub, and the program's recipe for it.
    Hub { id: HubId, recipe: Option<Box<Recipe>> },
}

/// A model on the hub, with what is known of it before anything is downloaded.
pub(crate) struct Wanted {
    id: HubId,
    revision: String,
    recipe: Option<Recipe>,
    offline: bool,
    /// Whether a recipe or a flag says how to pool.
    pub pooling_known: bool,
}

impl Wanted {
    pub(crate) fn new(id: HubId, recipe: Option<Recipe>, args: &HubArgs) -> Self {
        let of_id = recipe.as_ref().filter(|recipe| recipe.source == id.as_str());
        let pinned = of_id.and_then(|recipe| recipe.revision.clone());
        let revision = args.revision.clone().or(pinned).unwrap_or_else(|| MAIN.to_owned());
        let pooling_known = recipe.as_ref().is_some_and(|recipe| recipe.pooling.is_some());
        Self { id, revision, recipe, offline: args.offline, pooling_known }
    }

    fn choices_known(&self) -> bool {
        let known = |recipe: &Recipe| recipe.normalize.is_some() && recipe.max_length.is_some();
        self.pooling_known && self.recipe.as_ref().is_some_and(known)
    }

    /// The adapter that belongs to the recipe's model.
    fn own_adapter(&self) -> Result<Option<HubId>, Error> {
        let id = self.recipe.as_ref().and_then(|recipe| recipe.adapters.get(recipe.adapter.as_ref()?));
        id.map(|id| HubId::parse(id)).transpose()
    }

    /// The choices of the recipe, else the checkpoint's own.
    fn options(&self, folder: &Path, commit: &str) -> ExportOptions {
        let base = match &self.recipe {
            Some(recipe) => ExportOptions::from_recipe(folder, recipe),
            None => ExportOptions::new(folder),
        };
        let of_id = self.recipe.as_ref().filter(|recipe| recipe.source == self.id.as_str());
        let license = of_id.and_then(|recipe| recipe.license.clone());
        ExportOptions { name: Some(self.id.to_string()), revision: Some(commit.to_owned()), license, ..base }
    }
}

/// An existing folder wins, then a recipe's name, then a hub id.
pub(crate) fn find(model: &str) -> Result<Found> {
    let path = Path::new(model);
    if path.exists() {
        return Ok(Found::Folder(path.to_owned()));
    }
    if let Some(recipe) = Recipe::built_in(model) {
        return Ok(Found::Hub { id: HubId::parse(&recipe.source)?, recipe: Some(recipe.into()) });
    }
    if let Some(instead) = Recipe::explain_adapter(model) {
        return Err(Error::IsAdapter { id: model.to_owned(), instead }.into());
    }
    if let Some(recipe) = Recipe::of_source(model) {
        return Ok(Found::Hub { id: HubId::parse(model)?, recipe: Some(recipe.into()) });
    }
    let Ok(id) = HubId::parse(model) else {
        return Err(user_error(
            format!("model `{model}` not found"),
            format!(
                "give the folder of a bundle (`offprint export` makes one from a checkpoint), a recipe's name ({}) or \
                 a hub id such as `allenai/specter2_base`",
                Recipe::names().collect::<Vec<_>>().join(", ")
            ),
        ));
    };
    // A mistyped path should not be asked for on the network.
    match model.split_once('/') {
        Some((folder, name)) if Path::new(folder).is_dir() => Err(user_error(
            format!("model `{model}` not found: there is no `{name}` in the folder `{folder}` here"),
            format!("check the path; to take `{model}` from the hub, run in a folder without a `{folder}`"),
        )),
        _ => Ok(Found::Hub { id, recipe: None }),
    }
}

/// What `--recipe` names: a file, a recipe of the program, or `none`.
pub(crate) fn recipe(word: &str) -> Result<Option<Recipe>> {
    let path = Path::new(word);
    if word == "none" && !path.exists() {
        return Ok(None);
    }
    if let Some(recipe) = Recipe::built_in(word).filter(|_| !path.exists()) {
        return Ok(Some(recipe));
    }
    Ok(Some(Recipe::open(path)?))
}

/// The model's checkpoint in the hub's cache, downloaded where it is missing, and how it is to be exported.
pub(crate) fn checkpoint(wanted: &Wanted, cache_dir: &Path) -> Result<ExportOptions> {
    if let Some(recipe) = wanted.recipe.as_ref().filter(|recipe| recipe.source != wanted.id.as_str()) {
        remark(&format!(
            "note: recipe {} is for {}; {} is taken at {}",
            recipe.name, recipe.source, wanted.id, wanted.revision
        ));
    }
    let request = HubRequest {
        id: wanted.id.clone(),
        revision: wanted.revision.clone(),
        choices_known: wanted.choices_known(),
        pooling_known: wanted.pooling_known,
        kind: HubKind::Model,
    };
    let Snapshot { folder, commit, .. } = fetch(&request, wanted.offline, &LockFile::new(cache_dir))?;
    if let Some(recipe) = &wanted.recipe {
        recipe.verify(&folder)?;
        if let Some(note) = &recipe.note {
            remark(&format!("note: recipe {}: {note}", recipe.name));
        }
    }
    Ok(wanted.options(&folder, &commit))
}

/// An adapter in the hub's cache, downloaded where it is missing: `ID` or `ID@REVISION`.
pub(crate) fn adapter(word: &str, args: &HubArgs, cache_dir: &Path) -> Result<AdapterSource> {
    let (id, revision) = word.split_once('@').unwrap_or((word, MAIN));
    let id = HubId::parse(id)?;
    let request = HubRequest {
        id: id.clone(),
        revision: revision.to_owned(),
        choices_known: true,
        pooling_known: true,
        kind: HubKind::Adapter,
    };
    let Snapshot { folder, commit, .. } = fetch(&request, args.offline, &LockFile::new(cache_dir))?;
    let name = Some(id.to_string());
    Ok(AdapterSource { name, revision: Some(commit), ..AdapterSource::new(folder) })
}

/// The bundle of the model: the one in the cache folder, made first if it is not there.
pub(crate) fn bundle(wanted: &Wanted, cache_dir: &Path, ort_lib: Option<&Path>) -> Result<Bundle> {
    let lock = LockFile::new(cache_dir);
    let own = wanted.own_adapter()?;
    let pinned = |id: &HubId, revision: &str| Ok::<_, Error>(lock.find(id, revision)?.map(|model| model.commit));
    let adapter = own.as_ref().map_or(Ok(None), |id| pinned(id, MAIN))?;
    if let Some(commit) = pinned(&wanted.id, &wanted.revision)?.filter(|_| adapter.is_some() == own.is_some()) {
        let folder = bundle_folder(wanted, cache_dir, (&commit, adapter.as_deref()));
        if folder.join(MANIFEST_FILE).is_file() {
            return open(&folder);
        }
    }
    // The new bundle will be run once: better said before a download than after it.
    OnnxRuntime::find(ort_lib)?;
    let mut options = checkpoint(wanted, cache_dir)?;
    let args = HubArgs { revision: None, offline: wanted.offline };
    options.adapter = own.map(|id| self::adapter(id.as_str(), &args, cache_dir)).transpose()?;
    let commit = options.revision.clone().unwrap_or_default();
    let adapter = options.adapter.as_ref().and_then(|adapter| adapter.revision.as_deref());
    let folder = bundle_folder(wanted, cache_dir, (&commit, adapter));
    // Whoever comes second finds the bundle of the first.
    let _guard = LockFile::guard(&folder.with_extension("lock"), || {
        remark(&format!("waiting for another process that exports {}", wanted.id));
    })?;
    if !folder.join(MANIFEST_FILE).is_file() {
        remark(&format!("exporting {} once into {}", wanted.id, folder.display()));
        export::make_bundle(&options, &folder, ort_lib)?;
    }
    open(&folder)
}

fn open(folder: &Path) -> Result<Bundle> {
    remark(&format!("bundle: {}", folder.display()));
    Bundle::open(folder).with_context(|| {
        format!("the bundle in the cache folder cannot be used; remove `{}` to have it made again", folder.display())
    })
}

/// `bundles/<id>/<commit>-<choices>` in the cache folder; the commits are the model's and its adapter's.
fn bundle_folder(wanted: &Wanted, cache_dir: &Path, (commit, adapter): (&str, Option<&str>)) -> PathBuf {
    let options = wanted.options(Path::new(""), commit);
    let mut choices = format!(
        "{BUNDLE_FORMAT} {:?} {:?} {:?} {:?} {}",
        options.pooling, options.normalize, options.max_length, options.template, options.precision
    );
    if let Some(adapter) = adapter {
        choices += &format!(" {:?} {adapter}", wanted.recipe.as_ref().and_then(|recipe| recipe.adapter.as_ref()));
    }
    let choices = blake3::hash(choices.as_bytes()).to_hex();
    let name = format!("{}-{}", commit.get(..12).unwrap_or(commit), &choices[..12]);
    cache_dir.join("bundles").join(wanted.id.folder_name()).join(name)
}

fn fetch(request: &HubRequest, offline: bool, lock: &LockFile) -> Result<Snapshot> {
    let mut settings = HubSettings::from_environment()?;
    settings.offline |= offline;
    let mut shower = Shower::new(&request.id);
    let hub = Hub::new(&settings)?.with_check(Checkpoint::check_without_weights);
    let snapshot = hub.fetch(request, lock, &mut |event| shower.show(event));
    shower.end();
    Ok(snapshot?)
}
