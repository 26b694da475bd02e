//! Finds an ONNX Runtime library and loads it, once per process.
//!
//! Owns the order of the search and the checks that a file passes before ort sees it (it exists, it is a library, it
//! is ONNX Runtime, it is new enough). Must not look into the current folder on its own: that would run whatever code
//! lies where the user happens to be. Invariant: a place that was named (flag, `ORT_DYLIB_PATH`) is final, a place
//! that is merely known is skipped when it does not serve, and every place looked at is on record.

use std::ffi::{CStr, c_char};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::error::{Error, Looked};

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
    fn of_process() -> Self {
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
struct Found {
    path: PathBuf,
    version: String,
    place: Place,
    tried: Vec<Tried>,
}

/// Walks the places in their order until one holds a library that serves.
fn search(flag: Option<&Path>, surroundings: &Surroundings) -> Result<Found, Error> {
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
fn library_in(path: &Path, place: Place) -> Result<PathBuf, Error> {
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

/// An error and its sources on one line, for the list of places.
fn plain(error: &Error) -> String {
    let sources = std::iter::successors(std::error::Error::source(error), |source| source.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
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

/// Loads a library; gives its file and the version that it states, checked against what ort needs. A bare name is
/// looked up by the system's loader, and the file is the one that it chose.
#[expect(unsafe_code, reason = "loading a library runs its code: this is the one door through which it comes in")]
fn probe(path: &Path) -> Result<(PathBuf, String), Error> {
    type GetApi = unsafe extern "C" fn(u32) -> *const ort::sys::OrtApi;
    type GetVersion = unsafe extern "C" fn() -> *const c_char;
    /// The head of ONNX Runtime's entry table, as onnxruntime_c_api.h lays it out; stable since version 1.0.
    #[repr(C)]
    struct ApiBase {
        get_api: GetApi,
        get_version: GetVersion,
    }
    let unloadable = |source| Error::LibraryUnloadable { path: path.to_owned(), source };
    // SAFETY: the library's initializers run, as they will when ort loads it; the user named or installed it.
    let library = unsafe { libloading::Library::new(path) }.map_err(unloadable)?;
    // A C++ runtime does not survive being unloaded with certainty; a refused candidate stays mapped until the end.
    let library = std::mem::ManuallyDrop::new(library);
    // SAFETY: the symbol's type is that of the C header for every version of ONNX Runtime.
    let base = unsafe { library.get::<unsafe extern "C" fn() -> *const ApiBase>(b"OrtGetApiBase") };
    let Ok(base) = base else { return Err(Error::NotOnnxRuntime { path: path.to_owned() }) };
    // SAFETY: the function takes nothing and returns a pointer to a static table, or null.
    let Some(base) = (unsafe { base().as_ref() }) else { return Err(Error::NotOnnxRuntime { path: path.to_owned() }) };
    // SAFETY: `get_version` returns a static string that ends in NUL.
    let version = unsafe { CStr::from_ptr((base.get_version)()) }.to_string_lossy().into_owned();
    let too_old = || Error::LibraryTooOld { path: path.to_owned(), got: version.clone(), needed: ort::MINOR_VERSION };
    if !new_enough(&version) {
        return Err(too_old());
    }
    // SAFETY: `get_api` takes a number and returns a static table, or null where it does not offer that version.
    if unsafe { (base.get_api)(ort::MINOR_VERSION) }.is_null() {
        return Err(too_old());
    }
    let file = if path.is_absolute() { None } else { file_of(std::ptr::from_ref(base).cast()) };
    Ok((file.unwrap_or_else(|| path.to_owned()), version))
}

/// The file of the library that holds an address.
#[cfg(unix)]
#[expect(unsafe_code, reason = "the system's loader says only here which file it chose for a name")]
fn file_of(address: *const std::ffi::c_void) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr fills the structure, whose zeroes are valid, and reads nothing at the address.
    let info = unsafe { (libc::dladdr(address, info.as_mut_ptr()) != 0).then(|| info.assume_init()) }?;
    // SAFETY: the name, where there is one, is a string that lives as long as the library, which is never unloaded.
    let name = (!info.dli_fname.is_null()).then(|| unsafe { CStr::from_ptr(info.dli_fname) })?;
    let file = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
    file.canonicalize().ok()
}

#[cfg(not(unix))]
fn file_of(_: *const std::ffi::c_void) -> Option<PathBuf> {
    None
}

/// Whether a version such as `1.31.1` offers the API that ort is built for.
fn new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (major, minor) >= (1, ort::MINOR_VERSION)
}

/// A loaded ONNX Runtime. Clones share it; it stays loaded until the process ends.
#[derive(Debug, Clone)]
pub struct OnnxRuntime(Arc<Loaded>);

#[derive(Debug)]
struct Loaded {
    found: Found,
    environment: ort::environment::Environment,
    providers: Vec<String>,
}

/// The one library of this process. ort makes no second environment once one has been made, so it is kept for good;
/// ending the process with it alive is what ONNX Runtime's own Python package does.
static LOADED: Mutex<Option<OnnxRuntime>> = Mutex::new(None);

impl OnnxRuntime {
    /// Finds and loads the library: `--ort-lib`, `ORT_DYLIB_PATH`, beside the executable, `.venv` of the source tree
    /// when the executable lies in its `target/`, `VIRTUAL_ENV`, `CONDA_PREFIX`, the system's loader; never the
    /// current folder. `ort_lib` may name the file, its folder, or a Python environment. Loaded once per process:
    /// a further call gives the same.
    ///
    /// # Errors
    /// Nothing found (with every place looked at as a chain of causes), the named file is missing, no library, no
    /// ONNX Runtime or too old; another library is loaded already.
    pub fn load(ort_lib: Option<&Path>) -> Result<Self, Error> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = loaded.as_ref() {
            return runtime.serves(ort_lib).map(|()| runtime.clone());
        }
        let found = search(ort_lib, &Surroundings::of_process())?;
        let runtime = Self::start(found)?;
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// Refuses a request for another library than the one that this process runs on.
    fn serves(&self, ort_lib: Option<&Path>) -> Result<(), Error> {
        let Some(asked) = ort_lib else { return Ok(()) };
        let asked = std::path::absolute(asked).unwrap_or_else(|_| asked.to_owned());
        let asked = library_in(&asked, Place::Flag)?;
        if asked.canonicalize().ok() == self.path().canonicalize().ok() {
            return Ok(());
        }
        Err(Error::AnotherLibraryLoaded { loaded: self.path().to_owned(), asked })
    }

    fn start(found: Found) -> Result<Self, Error> {
        let path = || found.path.clone();
        let builder = ort::init_from(&found.path).map_err(|source| Error::LibraryRefused { path: path(), source })?;
        let start = |source| Error::Start { path: path(), source };
        let environment = builder.with_name("offprint").with_telemetry(false).build().map_err(start)?;
        environment.set_log_level(ort::logging::LogLevel::Warning);
        let providers = super::provider::available().map_err(start)?;
        tracing::debug!(path = %found.path.display(), version = found.version, "loaded ONNX Runtime");
        Ok(Self(Arc::new(Loaded { found, environment, providers })))
    }

    /// The library's file; its bare name where the system's loader chose it.
    pub fn path(&self) -> &Path {
        &self.0.found.path
    }

    /// Its version, such as `1.31.1`.
    pub fn version(&self) -> &str {
        &self.0.found.version
    }

    /// Where it was found.
    pub fn place(&self) -> Place {
        self.0.found.place
    }

    /// Every place looked at, the one used last.
    pub fn tried(&self) -> &[Tried] {
        &self.0.found.tried
    }

    /// The execution providers built into it, by ONNX Runtime's names, in its order.
    pub fn providers(&self) -> Vec<String> {
        self.0.providers.clone()
    }

    pub(super) fn environment(&self) -> &ort::environment::Environment {
        &self.0.environment
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// A library that says of itself to be ONNX Runtime of this version.
    fn fake(folder: &Path, version: &str) -> PathBuf {
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
        assert!(lines[2].starts_with("beside the executable (`") && lines[2].contains("holds no ONNX Runtime library"));
        assert!(lines[3].contains("tree/.venv`): no ONNX Runtime library at"), "{}", lines[3]);
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
    fn versions_count_by_number() {
        for (version, enough) in [("1.24.0", true), ("1.100", true), ("2.0", true), ("1.9.9", false), ("x", false)] {
            assert_eq!(new_enough(version), enough, "{version}");
        }
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
        assert!(error.hint().unwrap().starts_with("`pip install onnxruntime`"));
    }
}
