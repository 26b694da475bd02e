//! Where an ONNX Runtime library is looked for, and in which order.
//!
//! Owns the list of places and how a library is recognised in a folder. Must not look into the current folder on its
//! own: that would run whatever code lies where the user happens to be. Invariant: a place that was named (flag,
//! `ORT_DYLIB_PATH`) is final, a place that is merely known is skipped when it does not serve, and every place looked
//! at is on record.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::{Error, Looked};
use super::library::probe;

/// File name of the library; versions follow after a dot.
#[cfg(target_os = "windows")]
pub(super) const LIBRARY_NAME: &str = "onnxruntime.dll";
#[cfg(target_os = "macos")]
pub(super) const LIBRARY_NAME: &str = "libonnxruntime.dylib";
#[cfg(not(any(target_os = "windows", target_os = "macos")))]
pub(super) const LIBRARY_NAME: &str = "libonnxruntime.so";

/// A place where a library is looked for, in the order of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The path given with `--ort-lib`.
    Flag,
    /// The environment variable `ORT_DYLIB_PATH`; a relative path counts from the executable's folder.
    DylibPath,
    /// The folder of the executable.
    BesideExecutable,
    /// `.venv` of the source tree, when the executable lies in its `target/`.
    SourceTree,
    /// The Python environment in `VIRTUAL_ENV`.
    VirtualEnv,
    /// The Python environment in `CONDA_PREFIX`.
    CondaPrefix,
    /// The system's loader, by the library's name.
    Loader,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Flag => "`--ort-lib`",
            Self::DylibPath => "`ORT_DYLIB_PATH`",
            Self::BesideExecutable => "beside the executable",
            Self::SourceTree => "`.venv` of the source tree",
            Self::VirtualEnv => "`VIRTUAL_ENV`",
            Self::CondaPrefix => "`CONDA_PREFIX`",
            Self::Loader => "the system's loader",
        })
    }
}

/// One place that was looked at, and what was found there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Which place.
    pub place: Place,
    /// The file or folder looked at; none when the place does not apply (a variable that is not set).
    pub path: Option<PathBuf>,
    /// `used`, or why not.
    pub outcome: String,
}

impl fmt::Display for Tried {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(out, "{} (`{}`): {}", self.place, path.display(), self.outcome),
            None => write!(out, "{}: {}", self.place, self.outcome),
        }
    }
}

/// What the search asks of its process; a value of its own, so that tests need not touch the environment.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    pub dylib_path: Option<PathBuf>,
    pub executable: Option<PathBuf>,
    pub virtual_env: Option<PathBuf>,
    pub conda_prefix: Option<PathBuf>,
}

impl Surroundings {
    pub(super) fn of_process() -> Self {
        let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            dylib_path: folder("ORT_DYLIB_PATH"),
            executable: std::env::current_exe().and_then(|path| path.canonicalize()).ok(),
            virtual_env: folder("VIRTUAL_ENV"),
            conda_prefix: folder("CONDA_PREFIX"),
        }
    }

    fn executable_folder(&self) -> Option<&Path> {
        self.executable.as_deref().and_then(Path::parent)
    }

    /// The source tree that built the executable: the folder that holds `Cargo.toml` beside a `target/` above it.
    fn source_tree(&self) -> Option<&Path> {
        let target = self.executable.as_deref()?.ancestors().find(|folder| folder.ends_with("target"))?;
        target.parent().filter(|tree| tree.join("Cargo.toml").is_file())
    }
}

/// A library that passed the checks.
#[derive(Debug)]
pub(super) struct Found {
    pub path: PathBuf,
    pub version: String,
    pub place: Place,
    pub tried: Vec<Tried>,
}

/// Walks the places in their order until one holds a library that serves.
pub(super) fn search(flag: Option<&Path>, surroundings: &Surroundings) -> Result<Found, Error> {
    let mut tried = Vec::new();
    for (place, folder) in places(flag, surroundings) {
        let Some(folder) = folder else {
            tried.push(Tried { place, path: None, outcome: absence(place).to_owned() });
            continue;
        };
        let named = matches!(place, Place::Flag | Place::DylibPath);
        let outcome = match place {
            Place::Loader => probe_loader(),
            _ => library_in(&folder, place).and_then(|file| probe(&file)),
        };
        let path = (place != Place::Loader).then_some(folder);
        match outcome {
            Ok((path, version)) => {
                tried.push(Tried { place, path: Some(path.clone()), outcome: format!("used, version {version}") });
                return Ok(Found { path, version, place, tried });
            }
            Err(error) if named => return Err(error),
            Err(error) => tried.push(Tried { place, path, outcome: plain(&error) }),
        }
    }
    match Looked::chain(tried) {
        Some(looked) => Err(Error::LibraryNotFound { looked }),
        None => unreachable!("the list of places is a constant that is not empty"),
    }
}

/// All places in order; a path where the place applies.
fn places(flag: Option<&Path>, around: &Surroundings) -> [(Place, Option<PathBuf>); 7] {
    let beside = around.executable_folder();
    let dylib_path = around.dylib_path.as_deref().map(|path| beside.unwrap_or(Path::new("/")).join(path));
    [
        (Place::Flag, flag.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))),
        (Place::DylibPath, dylib_path),
        (Place::BesideExecutable, beside.map(Path::to_owned)),
        (Place::SourceTree, around.source_tree().map(|tree| tree.join(".venv"))),
        (Place::VirtualEnv, around.virtual_env.clone().filter(|path| path.is_absolute())),
        (Place::CondaPrefix, around.conda_prefix.clone().filter(|path| path.is_absolute())),
        // Windows' loader looks into the current folder, so it is not asked there.
        (Place::Loader, cfg!(unix).then(|| PathBuf::from(LIBRARY_NAME))),
    ]
}

/// Why a place does not apply.
fn absence(place: Place) -> &'static str {
    match place {
        Place::Flag => "not given",
        Place::DylibPath | Place::VirtualEnv | Place::CondaPrefix => "not set",
        Place::BesideExecutable => "the executable's folder is unknown",
        Place::SourceTree => "the executable does not lie in a source tree's `target/`",
        Place::Loader => "not asked on this system",
    }
}

/// The library's file in a place that may be a file, a folder of libraries, or a Python environment.
pub(super) fn library_in(path: &Path, place: Place) -> Result<PathBuf, Error> {
    if !path.exists() {
        return Err(Error::LibraryMissing { path: path.to_owned() });
    }
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let mut folders = vec![path.to_owned()];
    // An executable is installed among other people's programs: only its own folder counts there.
    if place != Place::BesideExecutable {
        folders.push(path.join("onnxruntime/capi"));
        folders.push(path.join("Lib/site-packages/onnxruntime/capi"));
        for library in ["lib", "lib64"] {
            let pythons = entries(&path.join(library));
            folders.extend(pythons.into_iter().map(|python| python.join("site-packages/onnxruntime/capi")));
        }
    }
    let newest = folders.iter().find_map(|folder| newest_library(folder));
    newest.ok_or_else(|| Error::FolderWithoutLibrary { path: path.to_owned() })
}

/// The library of the highest version in a folder.
fn newest_library(folder: &Path) -> Option<PathBuf> {
    let mut libraries: Vec<PathBuf> = entries(folder).into_iter().filter(|path| is_library(path)).collect();
    libraries.sort_by_key(|path| version_key(path));
    libraries.pop()
}

/// Files and folders in `folder`; none when it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).into_iter().flatten().flatten();
    read.map(|entry| entry.path()).collect()
}

/// `libonnxruntime.so`, `libonnxruntime.so.1.31.1`, `libonnxruntime.1.31.1.dylib`, `onnxruntime.dll`: not the
/// libraries of single providers, which carry a suffix before the dot.
fn is_library(path: &Path) -> bool {
    let (stem, extension) = LIBRARY_NAME.split_once('.').unwrap_or((LIBRARY_NAME, ""));
    let Some(rest) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(stem)) else {
        return false;
    };
    let rest = rest.strip_prefix('.').unwrap_or("");
    let parts: Vec<&str> = rest.split('.').collect();
    let numbers = parts.iter().filter(|part| part.parse::<u32>().is_ok()).count();
    parts.contains(&extension) && numbers + 1 == parts.len() && path.is_file()
}

/// The numbers in a file name, so that 1.31 sorts after 1.9.
fn version_key(path: &Path) -> Vec<u32> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split('.').filter_map(|part| part.parse().ok()).collect()
}

/// Why a place that was looked at does not serve, on one line beside its path.
fn plain(error: &Error) -> String {
    match error {
        Error::LibraryMissing { .. } => "does not exist".to_owned(),
        Error::FolderWithoutLibrary { .. } => "holds no ONNX Runtime library".to_owned(),
        _ => {
            let sources = std::iter::successors(std::error::Error::source(error), |source| source.source());
            sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
        }
    }
}

/// Asks the system's loader by name, first without and then with the major version.
fn probe_loader() -> Result<(PathBuf, String), Error> {
    let versioned = format!("{LIBRARY_NAME}.1");
    match probe(Path::new(LIBRARY_NAME)) {
        Err(Error::LibraryUnloadable { path, source }) => {
            probe(Path::new(&versioned)).map_err(|_| Error::LibraryUnloadable { path, source })
        }
        outcome => outcome,
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
pub(super) mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// A library that says of itself to be ONNX Runtime of this version.
    pub(in super::super) fn fake(folder: &Path, version: &str) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let (source, library) = (folder.join("fake.c"), folder.join(format!("{LIBRARY_NAME}.{version}")));
        let code = format!(
            "static int table; static const void *api(unsigned v) {{ return &table; }}
             static const char *version(void) {{ return \"{version}\"; }}
             static const struct {{ const void *(*a)(unsigned); const char *(*v)(void); }} base = {{ api, version }};
             const void *OrtGetApiBase(void) {{ return &base; }}"
        );
        fs::write(&source, code).unwrap();
        let compiler = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
        assert!(compiler.expect("the C compiler that built the tokenizer is there").success());
        library
    }

    #[test]
    fn the_places_are_searched_in_their_order_and_every_one_is_on_record() {
        let root = tempfile::tempdir().unwrap();
        let capi =
            |environment: &str| root.path().join(environment).join("lib/python3.11/site-packages/onnxruntime/capi");
        fake(&capi("old"), "1.20.1");
        fake(&capi("good"), "1.9.0");
        let newest = fake(&capi("good"), "1.31.1");
        fs::write(capi("good").join("libonnxruntime_providers_shared.so"), "another library").unwrap();
        let around = Surroundings {
            executable: Some(root.path().join("tree/target/release/offprint")),
            virtual_env: Some(root.path().join("old")),
            conda_prefix: Some(root.path().join("good")),
            dylib_path: None,
        };
        fs::create_dir_all(root.path().join("tree/target/release")).unwrap();
        fs::write(root.path().join("tree/Cargo.toml"), "").unwrap();
        let found = search(None, &around).unwrap();
        assert_eq!((found.path, found.version.as_str(), found.place), (newest, "1.31.1", Place::CondaPrefix));
        let lines: Vec<String> = found.tried.iter().map(ToString::to_string).collect();
        assert_eq!(lines[0], "`--ort-lib`: not given");
        assert_eq!(lines[1], "`ORT_DYLIB_PATH`: not set");
        assert!(
            lines[2].starts_with("beside the executable (`") && lines[2].ends_with("holds no ONNX Runtime library")
        );
        assert!(lines[3].contains("tree/.venv`): does not exist"), "{}", lines[3]);
        assert!(lines[4].contains("1.20.1` is ONNX Runtime 1.20.1, needed is 1.24 or newer"), "{}", lines[4]);
        assert!(lines[5].ends_with("used, version 1.31.1"), "{}", lines[5]);
    }

    #[test]
    fn a_place_that_was_named_is_final() {
        let root = tempfile::tempdir().unwrap();
        let good = fake(root.path(), "1.24.0");
        let around = Surroundings { conda_prefix: Some(root.path().to_owned()), ..Surroundings::default() };
        assert_eq!(search(Some(&good), &around).unwrap().place, Place::Flag);
        assert_eq!(search(Some(root.path()), &around).unwrap().path, good);
        let missing = search(Some(&root.path().join("none.so")), &around).unwrap_err();
        assert!(missing.to_string().ends_with("none.so`: no such file or folder"), "{missing}");
        let text = root.path().join("text.so");
        fs::write(&text, "no library").unwrap();
        let error = search(None, &Surroundings { dylib_path: Some(text), ..around.clone() }).unwrap_err();
        assert!(matches!(error, Error::LibraryUnloadable { .. }), "{error}");
        let empty = tempfile::tempdir().unwrap();
        let error = search(Some(empty.path()), &around).unwrap_err();
        assert!(error.to_string().contains("holds no ONNX Runtime library"), "{error}");
    }

    #[test]
    fn a_library_of_something_else_and_one_too_old_are_named_as_such() {
        let root = tempfile::tempdir().unwrap();
        let error = search(Some(&fake(root.path(), "1.23.9")), &Surroundings::default()).unwrap_err();
        assert!(error.to_string().ends_with("is ONNX Runtime 1.23.9, needed is 1.24 or newer"), "{error}");
        assert_eq!(error.hint().unwrap(), "`pip install 'onnxruntime>=1.24'` in that environment");
        let other = root.path().join("other.so");
        let compiler = Command::new("cc").args(["-shared", "-x", "c", "/dev/null", "-o"]).arg(&other).status();
        assert!(compiler.unwrap().success());
        let error = search(Some(&other), &Surroundings::default()).unwrap_err();
        assert!(error.to_string().ends_with("is not ONNX Runtime: it has no `OrtGetApiBase`"), "{error}");
    }

    #[test]
    fn a_relative_place_in_the_environment_never_means_the_current_folder() {
        let around = Surroundings {
            dylib_path: Some("lib/x.so".into()),
            executable: Some("/opt/offprint/bin/offprint".into()),
            virtual_env: Some("venv".into()),
            conda_prefix: Some(".".into()),
        };
        let places = places(None, &around);
        assert_eq!(places[1].1.as_deref(), Some(Path::new("/opt/offprint/bin/lib/x.so")));
        assert_eq!((&places[4].1, &places[5].1), (&None, &None));
    }

    #[test]
    fn nothing_found_lists_every_place_as_a_cause() {
        let places = [Place::Flag, Place::Loader];
        let tried = places.map(|place| Tried { place, path: None, outcome: absence(place).to_owned() });
        let error = Error::LibraryNotFound { looked: Looked::chain(tried.to_vec()).unwrap() };
        assert_eq!(error.to_string(), "no ONNX Runtime library was found");
        let causes = std::iter::successors(std::error::Error::source(&error), |source| source.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        assert_eq!(causes, ["`--ort-lib`: not given", "the system's loader: not asked on this system"]);
        assert!(error.hint().unwrap().starts_with("`pip install --upgrade onnxruntime`"));
    }
}
