//! A model as a folder: which commit, which files, from where. Owns the order of the steps: what is pinned in `lock.toml`
//! and lies in the hub's cache is used without the network; everything else is asked for, checked and pinned.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::client::{Client, one_line};
use super::download::Place;
use super::id::{check_revision, is_commit, is_hex};
use super::plan::{ALWAYS_DECIDING, DECIDING, MODULES, Plan, VOCABULARY, names_classifier};
use super::store::{Store, failed};
use super::{Error, Event, HubId, HubSettings, LockFile, LockedFile, LockedModel, Observer};
use crate::model::recipe::sha256;

/// Which model is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubRequest {
    /// The model.
    pub id: HubId,
    /// Branch, tag or commit.
    pub revision: String,
    /// Whether pooling, normalization and length are known from elsewhere, so that offline nothing hangs on whether the
    /// model has files that say so.
    pub choices_known: bool,
    /// Whether the pooling is known from elsewhere; if not, a model that does not say it is refused before its weights
    /// are downloaded.
    pub pooling_known: bool,
    /// What it is to be.
    pub kind: HubKind,
}

/// What lies under an id on the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubKind {
    /// A checkpoint.
    Model,
    /// An adapter of one.
    Adapter,
}

/// A model's files on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder.
    pub folder: PathBuf,
    /// The commit.
    pub commit: String,
    /// The files by name, with the hashes of what lies there.
    pub files: BTreeMap<String, LockedFile>,
}

impl HubRequest {
    /// Which of the listed files are needed.
    fn plan(&self, listed: &BTreeSet<String>, modules: Option<&Path>) -> Result<Plan, Error> {
        match self.kind {
            HubKind::Model => Plan::new(&self.id, listed, modules),
            HubKind::Adapter => Plan::of_adapter(&self.id, listed),
        }
    }
}

/// The hub and its cache.
#[derive(Debug)]
pub struct Hub {
    client: Client,
    cache: PathBuf,
    offline: bool,
    check: Check,
}

/// Says of a folder that lacks only the weights whether they would be of use.
pub type Check = fn(&Path) -> Result<(), crate::model::Error>;

#[derive(Deserialize)]
struct ModelInfo {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Hub {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// Settings that can't be used: an address, token or file of authorities that is none.
    pub fn new(settings: &HubSettings) -> Result<Self, Error> {
        let (cache, offline) = (settings.cache.clone(), settings.offline);
        Ok(Self { client: Client::new(settings)?, cache, offline, check: |_| Ok(()) })
    }

    /// Asks `check` about a model's folder before its weights are downloaded.
    pub fn with_check(self, check: Check) -> Self {
        Self { check, ..self }
    }

    /// The model's files, downloaded where they are missing, and in agreement with `lock`.
    ///
    /// # Errors
    /// Anything of [`Error`]; a cut download is kept and goes on with the next call.
    pub fn fetch(&self, request: &HubRequest, lock: &LockFile, observer: &mut Observer<'_>) -> Result<Snapshot, Error> {
        check_revision(&request.revision)?;
        let store = Store::new(&self.cache, &request.id);
        let locked = lock.find(&request.id, &request.revision)?.filter(|model| is_commit(&model.commit));
        let here = match &locked {
            Some(model) if model.files.keys().all(|name| store.present(&model.commit, name).is_some()) => {
                Some((model.commit.clone(), model.files.keys().cloned().collect()))
            }
            _ if self.offline => Some(offline_files(request, &store, locked.as_ref(), &self.cache)?),
            _ => None,
        };
        let (commit, names) = match here {
            Some((commit, names)) => {
                observer(&Event::Reusing { folder: &store.snapshot(&commit) });
                (commit, names)
            }
            None => self.download(request, &store, locked.as_ref(), observer)?,
        };
        let folder = store.snapshot(&commit);
        let files = hash_all(&folder, names)?;
        let found = LockedModel {
            id: request.id.to_string(),
            revision: request.revision.clone(),
            commit: commit.clone(),
            files: files.clone(),
        };
        lock.agree(&found)?;
        Ok(Snapshot { folder, commit, files })
    }

    fn download(
        &self,
        request: &HubRequest,
        store: &Store,
        locked: Option<&LockedModel>,
        observer: &mut Observer<'_>,
    ) -> Result<(String, Vec<String>), Error> {
        let revision = locked.map_or(request.revision.as_str(), |model| model.commit.as_str());
        observer(&Event::Asking { endpoint: self.client.endpoint(), id: &request.id, revision });
        let (commit, listed) = self.list(&request.id, revision, store, observer)?;
        // A commit that is pinned here says nothing about what the revision stands for by now.
        if locked.is_none() {
            store.set_commit(&request.revision, &commit)?;
        }
        let place = Place { client: &self.client, store, id: &request.id, commit: &commit };
        let modules = match request.kind == HubKind::Model && listed.contains(MODULES) {
            true => Some(place.small(MODULES, observer)?),
            false => None,
        };
        let plan = request.plan(&listed, modules.as_deref())?;
        let mut classifies = false;
        for name in &plan.small {
            let path = place.small(name, observer)?;
            classifies |= plan.is_config(name) && names_classifier(&path)?;
        }
        if !(request.pooling_known || plan.has_pooling || classifies) {
            return Err(Error::NoPooling { id: request.id.to_string() });
        }
        if request.kind == HubKind::Model {
            (self.check)(&store.snapshot(&commit))
                .map_err(|source| Error::Unfit { id: request.id.to_string(), source: Box::new(source) })?;
        }
        let mut names = plan.small.clone();
        if plan.weights.ends_with(".json") {
            let index = place.small(&plan.weights, observer)?;
            let shards = Plan::shards(&index, &plan.weights, &listed)?;
            for shard in &shards {
                place.file(shard, observer)?;
            }
            names.extend(shards);
        } else {
            place.file(&plan.weights, observer)?;
        }
        names.push(plan.weights);
        Ok((commit, names))
    }

    /// The commit of a revision and the names of its files.
    fn list(
        &self,
        id: &HubId,
        revision: &str,
        store: &Store,
        observer: &mut Observer<'_>,
    ) -> Result<(String, BTreeSet<String>), Error> {
        let place = Place { client: &self.client, store, id, commit: revision };
        let url = format!("{}/api/models/{id}/revision/{}", self.client.endpoint(), revision.replace('/', "%2F"));
        let asked = self.client.retrying(observer, |_, _| self.client.get_small(&url));
        let bytes = asked.map_err(|error| place.explain(error, "files"))?;
        let info: ModelInfo =
            serde_json::from_slice(&bytes).map_err(|source| Error::Json { url: url.clone(), source })?;
        if !is_commit(&info.sha) || (is_commit(revision) && info.sha != revision) {
            let expected = if is_commit(revision) { revision } else { "40 hex digits" };
            let got = format!("`{}`", one_line(&info.sha));
            return Err(Error::Header { url, header: "the commit", got, expected: expected.to_owned() });
        }
        Ok((info.sha, info.siblings.into_iter().map(|sibling| sibling.rfilename).collect()))
    }
}

/// What lies in the hub's cache, if it is certain to be all of it.
fn offline_files(
    request: &HubRequest,
    store: &Store,
    locked: Option<&LockedModel>,
    cache: &Path,
) -> Result<(String, Vec<String>), Error> {
    let missing = |missing: String| Error::Offline {
        id: request.id.to_string(),
        revision: request.revision.clone(),
        cache: cache.to_owned(),
        missing,
    };
    if let Some(model) = locked {
        let names = model.files.keys().filter(|name| store.present(&model.commit, name).is_none());
        return Err(missing(format!("no {}", listing(names))));
    }
    let commit = store.commit_of(&request.revision).filter(|commit| store.snapshot(commit).is_dir());
    let Some(commit) = commit else {
        return Err(missing("it was never downloaded".to_owned()));
    };
    let folder = store.snapshot(&commit);
    let mut listed = BTreeSet::new();
    list_folder(&folder, "", &mut listed);
    let modules = Some(folder.join(MODULES)).filter(|_| listed.contains(MODULES));
    let plan = match request.plan(&listed, modules.as_deref()) {
        Ok(plan) if request.kind == HubKind::Adapter => return Ok((commit, [plan.small, vec![plan.weights]].concat())),
        Ok(plan) => plan,
        Err(Error::NoTokenizer { .. }) => return Err(missing("no `tokenizer.json`".to_owned())),
        Err(_) => return Err(missing("no weights".to_owned())),
    };
    let [vocabulary, added] = VOCABULARY;
    let added = plan.small.iter().any(|name| name.ends_with(vocabulary)).then_some(added);
    let mut names = plan.small;
    if plan.weights.ends_with(".json") {
        let shards = Plan::shards(&folder.join(&plan.weights), &plan.weights, &listed);
        names.extend(shards.map_err(|error| missing(error.to_string()))?);
    }
    names.push(plan.weights);
    let deciding = if request.choices_known { &[][..] } else { &DECIDING[..] };
    let unknown = |name: &&&str| {
        !listed.iter().any(|have| have == **name || have.ends_with(&format!("/{name}")))
            && !store.known_absent(&commit, name)
    };
    let unknown: Vec<String> =
        deciding.iter().chain(&ALWAYS_DECIDING).chain(&added).filter(unknown).map(|name| (*name).to_owned()).collect();
    if !unknown.is_empty() {
        return Err(missing(format!("whether it has {} is not known", listing(unknown.iter()))));
    }
    Ok((commit, names))
}

fn listing<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The files of a snapshot, which has at most one level of folders that matter.
fn list_folder(folder: &Path, prefix: &str, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = entry.path();
        if path.is_file() {
            into.insert(format!("{prefix}{name}"));
        } else if prefix.is_empty() && path.is_dir() {
            list_folder(&path, &format!("{name}/"), into);
        }
    }
}

fn hash_all(folder: &Path, names: Vec<String>) -> Result<BTreeMap<String, LockedFile>, Error> {
    let mut files = BTreeMap::new();
    for name in names {
        let path = folder.join(&name);
        let size = std::fs::metadata(&path).map_err(failed("read", &path))?.len();
        let sha256 = sha256(&path).map_err(failed("read", &path))?;
        // A blob of a large file is named by its hash, whoever has put it there.
        let blob = path.canonicalize().ok().and_then(|blob| Some(blob.file_name()?.to_str()?.to_owned()));
        if let Some(expected) = blob.filter(|blob| is_hex(blob, 64) && *blob != sha256) {
            return Err(Error::Damaged { file: path.display().to_string(), got: sha256, expected });
        }
        files.insert(name, LockedFile { size, sha256 });
    }
    Ok(files)
}
