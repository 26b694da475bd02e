//! The libraries that providers come in, and those that they need in turn.
//!
//! Owns the way to find out what is missing: by loading, and by what the system's loader says then. Knows no graph. What the
//! loader does not find but lies in the Python environment of the ONNX Runtime library (as `pip` puts NVIDIA's libraries there)
//! is loaded from there. Invariant: a library is only ever loaded from beside ONNX Runtime's, from that environment, or by the
//! system's loader.

#[cfg(target_os = "linux")]
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::provider::ProviderChoice;
use super::refusal::Refusal;

/// The library through which ONNX Runtime loads all others: theirs ask it for their host.
#[cfg(target_os = "linux")]
const HOST: &str = "libonnxruntime_providers_shared.so";

/// What a shared library belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    /// CUDA, with its version where the library's name tells it.
    Cuda(Option<u32>),
    /// cuDNN.
    Cudnn(u32),
    /// TensorRT.
    TensorRt(u32),
    /// The driver of the card.
    Driver,
    /// OpenVINO.
    OpenVino,
}

impl Product {
    /// What a library with that file name, such as `libcublas.so.13`, belongs to; none for others.
    pub(super) fn of(name: &str) -> Option<Self> {
        let (stem, versions) = name.strip_prefix("lib")?.split_once(".so")?;
        let version: Option<u32> =
            versions.strip_prefix('.').and_then(|versions| versions.split('.').next()?.parse().ok());
        Some(match stem {
            "cuda" => Self::Driver,
            "cudart" | "cublas" | "cublasLt" | "nvrtc" | "nvJitLink" => Self::Cuda(version),
            // Counts one behind CUDA since its version 9.
            "cufft" => Self::Cuda(version.map(|version| version + 1)),
            "curand" | "cusolver" | "cusparse" | "cupti" => Self::Cuda(None),
            _ if stem.starts_with("cudnn") => Self::Cudnn(version?),
            _ if stem.starts_with("nvinfer") || stem == "nvonnxparser" => Self::TensorRt(version?),
            _ if stem.starts_with("openvino") || stem.starts_with("tbb") => Self::OpenVino,
            _ => return None,
        })
    }

    /// How to get it.
    pub(super) fn way(self) -> String {
        let pip = |package: &str| format!("`pip install {package}` in the environment of that ONNX Runtime");
        match self {
            Self::Cuda(_) | Self::Cudnn(_) => {
                format!(
                    "{}, or {self} from NVIDIA where the system's loader finds it",
                    pip("'onnxruntime-gpu[cuda,cudnn]'")
                )
            }
            Self::TensorRt(version) => {
                format!("{}, or {self} from NVIDIA where the system's loader finds it", pip(&tensorrt_package(version)))
            }
            Self::Driver => "it comes with NVIDIA's driver; without a card of NVIDIA's: `--provider cpu`".to_owned(),
            Self::OpenVino => pip("onnxruntime-openvino"),
        }
    }
}

/// What `pip` is asked for to get the libraries of that version of TensorRT.
pub(super) fn tensorrt_package(version: u32) -> String {
    format!("'tensorrt-cu13-libs=={version}.*'")
}

impl fmt::Display for Product {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cuda(Some(version)) => write!(out, "CUDA {version}"),
            Self::Cuda(None) => out.write_str("CUDA"),
            Self::Cudnn(version) => write!(out, "cuDNN {version}"),
            Self::TensorRt(version) => write!(out, "TensorRT {version}"),
            Self::Driver => out.write_str("NVIDIA's driver"),
            Self::OpenVino => out.write_str("OpenVINO"),
        }
    }
}

/// The file name of the library that a provider comes in; none where it is a part of ONNX Runtime's own.
#[cfg(target_os = "linux")]
fn file_name(provider: ProviderChoice) -> Option<&'static str> {
    match provider {
        ProviderChoice::Cuda => Some("libonnxruntime_providers_cuda.so"),
        ProviderChoice::TensorRt => Some("libonnxruntime_providers_tensorrt.so"),
        ProviderChoice::OpenVino => Some("libonnxruntime_providers_openvino.so"),
        ProviderChoice::Cpu | ProviderChoice::CoreMl | ProviderChoice::DirectMl => None,
    }
}

/// Finds out why a provider's library did not load, by loading it again; `runtime` is ONNX Runtime's library. Gives the
/// libraries that were missing and are loaded now, after which ONNX Runtime may be asked once more. None if nothing was missing:
/// the reason is another one, or can't be found out on this system.
///
/// Call it only after ONNX Runtime has tried: a provider's library asks for its host while it is loaded.
///
/// # Errors
/// The library or that of its host is not there, needs one that is not found, or can't be loaded.
#[cfg(target_os = "linux")]
pub(super) fn complete(provider: ProviderChoice, runtime: &Path) -> Result<Vec<PathBuf>, Refusal> {
    let Some(name) = file_name(provider) else { return Ok(Vec::new()) };
    let beside = |runtime: &Path| runtime.parent().map(|folder| folder.join(name)).filter(|file| file.is_file());
    let resolved = runtime.canonicalize().unwrap_or_else(|_| runtime.to_owned());
    let Some(file) = beside(runtime).or_else(|| beside(&resolved)) else {
        return Err(Refusal::NoLibrary { provider, file: runtime.with_file_name(name) });
    };
    // Without it the library lacks a symbol, which names neither the file nor a way out.
    let host = file.with_file_name(HOST);
    if !host.is_file() {
        return Err(Refusal::NoHost { provider, host });
    }
    let mut loader =
        Loader { provider, folders: folders_of(runtime, &resolved), asked: HashSet::new(), loaded: Vec::new() };
    loader.load(&file)?;
    Ok(loader.loaded)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn complete(_: ProviderChoice, _: &Path) -> Result<Vec<PathBuf>, Refusal> {
    Ok(Vec::new())
}

/// The folders of the environment in which ONNX Runtime's library was named, and of the one that it lies in.
#[cfg(target_os = "linux")]
fn folders_of(named: &Path, resolved: &Path) -> Vec<PathBuf> {
    let mut folders = environment_folders(named);
    if named != resolved {
        folders.extend(environment_folders(resolved));
    }
    folders
}

/// Where `pip` puts the libraries of NVIDIA's packages in the environment that holds ONNX Runtime's, by name.
#[cfg(target_os = "linux")]
fn environment_folders(runtime: &Path) -> Vec<PathBuf> {
    let Some(capi) = runtime.parent().filter(|folder| folder.ends_with("onnxruntime/capi")) else { return Vec::new() };
    let Some(packages) = capi.ancestors().nth(2) else { return Vec::new() };
    let mut folders = vec![packages.join("tensorrt_libs")];
    if let Ok(entries) = packages.join("nvidia").read_dir() {
        folders.extend(entries.flatten().map(|entry| entry.path().join("lib")));
    }
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    folders
}

/// Loads a library and what it needs.
#[cfg(target_os = "linux")]
struct Loader {
    provider: ProviderChoice,
    folders: Vec<PathBuf>,
    /// Names of libraries that were missing, each looked for once.
    asked: HashSet<String>,
    loaded: Vec<PathBuf>,
}

#[cfg(target_os = "linux")]
impl Loader {
    fn load(&mut self, file: &Path) -> Result<(), Refusal> {
        loop {
            let Err(source) = open(file) else { return Ok(()) };
            let provider = self.provider;
            let Some(missing) = missing_in(&source) else {
                return Err(Refusal::Unloadable { provider, file: file.to_owned(), source });
            };
            let found = self.folders.iter().map(|folder| folder.join(&missing)).find(|place| place.is_file());
            match found {
                Some(place) if self.asked.insert(missing.clone()) => {
                    self.load(&place)?;
                    self.loaded.push(place);
                }
                _ => return Err(Refusal::SharedLibraryMissing { provider, file: file.to_owned(), missing, source }),
            }
        }
    }
}

/// Loads a library for good.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "only loading a library tells what it lacks")]
fn open(file: &Path) -> Result<(), libloading::Error> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: the library's initializers run, as they do when ONNX Runtime loads it: it lies beside ONNX Runtime's library or in
    // the same environment, and nothing is called in it. All symbols are asked for at once, so that one that is missing is an
    // error here and not the end of the process later.
    let library = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL) }?;
    // Others are about to be bound to it.
    std::mem::forget(library);
    Ok(())
}

/// The file name of the library that the loader did not find; none where it complains of something else.
#[cfg(target_os = "linux")]
fn missing_in(error: &libloading::Error) -> Option<String> {
    let said = std::error::Error::source(error)?.to_string();
    // glibc: `libx.so.1: cannot open shared object file: ...`; musl: `Error loading shared library libx.so.1: ... (needed by ...)`.
    let name = match said.strip_prefix("Error loading shared library ") {
        Some(rest) => rest.split_once(':')?.0,
        None => said.split_once(": cannot open shared object file")?.0,
    };
    // With a folder before it, it is the file that was asked for.
    (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "shared_library_tests.rs"]
mod tests;
