//! Loads ONNX Runtime, once per process.
//!
//! Owns the checks that a file passes before ort sees it (it is a library, it is ONNX Runtime, it is new enough) and
//! the environment that all sessions share. Invariant: one process runs on one library, from its first use to its end.

use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::Error;
use super::search::{Found, Place, Surroundings, Tried, library_in, search};

/// Loads a library; gives its file and the version that it states, checked against what ort needs. A bare name is
/// looked up by the system's loader, and the file is the one that it chose.
#[expect(unsafe_code, reason = "loading a library runs its code: this is the one door through which it comes in")]
pub(super) fn probe(path: &Path) -> Result<(PathBuf, String), Error> {
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

    /// Finds the library that [`OnnxRuntime::load`] would take, without starting it: its file, its version and where
    /// it was found. Costs no more than mapping the file.
    ///
    /// # Errors
    /// As of [`OnnxRuntime::load`].
    pub fn find(ort_lib: Option<&Path>) -> Result<(PathBuf, String, Place), Error> {
        let found = search(ort_lib, &Surroundings::of_process())?;
        Ok((found.path, found.version, found.place))
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
    use super::super::search::tests::fake;
    use super::*;

    #[test]
    fn versions_count_by_number() {
        for (version, enough) in [("1.24.0", true), ("1.100", true), ("2.0", true), ("1.9.9", false), ("x", false)] {
            assert_eq!(new_enough(version), enough, "{version}");
        }
    }

    #[test]
    fn one_process_runs_on_one_library() {
        let runtime = match OnnxRuntime::load(None) {
            Ok(runtime) => runtime,
            Err(error) => return eprintln!("skipped: {error}"),
        };
        assert!(runtime.providers().iter().any(|provider| provider == "CPUExecutionProvider"));
        assert!(new_enough(runtime.version()));
        assert_eq!(runtime.tried().last().unwrap().path.as_deref(), Some(runtime.path()));
        assert_eq!(OnnxRuntime::load(Some(runtime.path())).unwrap().path(), runtime.path());
        let found = (runtime.path().to_owned(), runtime.version().to_owned(), runtime.place());
        assert_eq!(OnnxRuntime::find(None).unwrap(), found);
        let root = tempfile::tempdir().unwrap();
        let error = OnnxRuntime::load(Some(&fake(root.path(), "1.31.1"))).unwrap_err();
        let expected = format!("cannot be loaded: this process already runs on `{}`", runtime.path().display());
        assert!(error.to_string().ends_with(&expected), "{error}");
    }
}
