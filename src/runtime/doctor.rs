//! What is there and what is missing: the facts behind `offprint doctor`.
//!
//! Owns the collection of the facts, not their printing. Invariant: nothing here fails; what is wrong becomes a
//! [`Problem`] with the way out where one is known.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::Error;
use super::library::OnnxRuntime;
use super::machine::{Machine, default_threads};
use super::opening::try_out;
use super::provider::ProviderChoice;
use super::refusal::PassedOver;
use super::search::{Place, Tried};

/// The report.
#[derive(Debug, Clone, Serialize)]
pub struct Doctor {
    /// Version of this program.
    pub version: &'static str,
    /// The ONNX Runtime that would be used.
    pub library: Option<Library>,
    /// Every place looked at for it, in order; empty when a named library was refused.
    pub looked: Vec<Tried>,
    /// Cores, quota, processor, memory.
    pub machine: Machine,
    /// Threads used where `--threads` is not given.
    pub default_threads: usize,
    /// The cache folder, where one was given.
    pub cache: Option<CacheFolder>,
    /// What is missing; empty when all is well.
    pub problems: Vec<Problem>,
}

/// A loaded ONNX Runtime.
#[derive(Debug, Clone, Serialize)]
pub struct Library {
    /// Its file.
    pub path: PathBuf,
    /// Its version.
    pub version: String,
    /// Where it was found.
    pub place: Place,
    /// The execution providers built into it.
    pub providers: Vec<String>,
    /// What `--provider` may name with it.
    pub choices: Vec<String>,
    /// Built in, and not to be used here, with the reasons.
    pub unusable: Vec<PassedOver>,
}

/// The state of a cache folder.
#[derive(Debug, Clone, Serialize)]
pub struct CacheFolder {
    /// The folder.
    pub path: PathBuf,
    /// Whether it exists; it is made at first use.
    pub exists: bool,
    /// Whether a file could be made in it, or in the nearest folder above it that exists.
    pub writable: bool,
}

/// Something that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What failed.
    pub what: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// The way out, where it is known.
    pub hint: Option<String>,
}

impl Doctor {
    /// Looks for ONNX Runtime as a run would, loads it, and tries the cache folder.
    pub fn examine(ort_lib: Option<&Path>, cache_folder: Option<&Path>) -> Self {
        let mut problems = Vec::new();
        let (library, looked) = match OnnxRuntime::load(ort_lib) {
            Ok(runtime) => (Some(Library::of(&runtime)), runtime.tried().to_vec()),
            Err(error) => {
                problems.push(Problem::of(&error));
                (None, places(&error))
            }
        };
        let cache = cache_folder.map(CacheFolder::examine);
        if let Some(folder) = cache.as_ref().filter(|folder| !folder.writable) {
            problems.push(Problem {
                what: format!("cache folder `{}` cannot be written", folder.path.display()),
                causes: Vec::new(),
                hint: Some("name another one with `--cache-dir` or `OFFPRINT_CACHE_DIR`".to_owned()),
            });
        }
        Self {
            version: env!("CARGO_PKG_VERSION"),
            library,
            looked,
            machine: Machine::read(),
            default_threads: default_threads(),
            cache,
            problems,
        }
    }

    /// Whether nothing is missing.
    pub fn is_well(&self) -> bool {
        self.problems.is_empty()
    }
}

impl Library {
    fn of(runtime: &OnnxRuntime) -> Self {
        let built_in = ProviderChoice::served_by(&runtime.providers());
        let unusable: Vec<PassedOver> = built_in
            .iter()
            .filter_map(|name| {
                let refused = try_out(runtime, ProviderChoice::named(name)?).err()?;
                let reason = match &refused {
                    Error::Provider(refusal) => refusal.reason(),
                    other => other.to_string(),
                };
                Some(PassedOver { provider: name.clone(), reason })
            })
            .collect();
        let usable = |name: &String| !unusable.iter().any(|passed| passed.provider == *name);
        Self {
            path: runtime.path().to_owned(),
            version: runtime.version().to_owned(),
            place: runtime.place(),
            providers: runtime.providers(),
            choices: built_in.iter().filter(|name| usable(name)).cloned().collect(),
            unusable,
        }
    }
}

impl CacheFolder {
    fn examine(path: &Path) -> Self {
        let nearest = path.ancestors().find(|place| place.exists());
        // Permission bits do not tell about read-only mounts and full disks: only a file that was made does.
        let writable = nearest.is_some_and(|folder| tempfile::tempfile_in(folder).is_ok());
        Self { path: path.to_owned(), exists: path.is_dir(), writable }
    }
}

impl Problem {
    fn of(error: &Error) -> Self {
        let causes = std::iter::successors(std::error::Error::source(error), |source| source.source());
        // The places looked at have a list of their own in the report.
        let listed = matches!(error, Error::LibraryNotFound { .. });
        Self {
            what: error.to_string(),
            causes: if listed { Vec::new() } else { causes.map(ToString::to_string).collect() },
            hint: error.hint(),
        }
    }
}

fn places(error: &Error) -> Vec<Tried> {
    match error {
        Error::LibraryNotFound { looked } => looked.places().cloned().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_a_problem_with_a_way_out_and_the_rest_is_still_told() {
        let folder = tempfile::tempdir().unwrap();
        let report = Doctor::examine(Some(&folder.path().join("none.so")), Some(&folder.path().join("cache/deep")));
        assert!(!report.is_well() && report.library.is_none());
        assert!(report.problems[0].what.ends_with("none.so`: no such file or folder"), "{:?}", report.problems);
        assert!(report.problems[0].hint.is_some());
        let cache = report.cache.unwrap();
        assert!(cache.writable && !cache.exists);
        assert!(report.default_threads >= 1 && report.machine.logical_cores >= report.default_threads);
    }

    #[test]
    fn a_cache_folder_that_is_a_file_is_a_problem() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cache");
        std::fs::write(&file, "").unwrap();
        let report = Doctor::examine(None, Some(&file));
        let problem = report.problems.last().unwrap();
        assert_eq!(problem.what, format!("cache folder `{}` cannot be written", file.display()));
        assert_eq!(problem.hint.as_deref(), Some("name another one with `--cache-dir` or `OFFPRINT_CACHE_DIR`"));
        let below = CacheFolder::examine(&file.join("deep"));
        assert!(!below.writable, "a folder cannot be made below a file");
    }

    #[test]
    fn the_report_serializes_with_the_places_looked_at() {
        let looked = vec![Tried { place: Place::Flag, path: None, outcome: "not given".to_owned() }];
        let chain = super::super::error::Looked::chain(looked.clone()).unwrap();
        let error = Error::LibraryNotFound { looked: chain };
        assert_eq!(places(&error), looked);
        assert_eq!(Problem::of(&error).causes, Vec::<String>::new());
        let text = serde_json::to_value(&looked).unwrap();
        assert_eq!(text, serde_json::json!([{"place": "flag", "path": null, "outcome": "not given"}]));
    }
}
