//! Fake providers, each a library made for the test by the system's C compiler: what they lack is missing in earnest.

use std::fs;
use std::process::Command;

use super::*;
use crate::runtime::tensorrt::{TENSORRT_LIBRARY, TENSORRT_MAJOR};

/// A Python environment with an ONNX Runtime in it.
struct Environment(tempfile::TempDir);

impl Environment {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["onnxruntime/capi", "nvidia/cu13/lib", "nvidia/cudnn/lib", "tensorrt_libs", "nowhere"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        Self(root)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// ONNX Runtime's library, with the host of its providers beside it.
    fn runtime(&self) -> PathBuf {
        let file = self.path("onnxruntime/capi/libonnxruntime.so.1.31.1");
        fs::write(&file, "").unwrap();
        fs::write(file.with_file_name(HOST), "").unwrap();
        file
    }

    /// A library at `place` that needs others, each at its place when it is made.
    fn library(&self, place: &str, needs: &[&str]) -> PathBuf {
        let file = self.path(place);
        let soname = format!("-Wl,-soname,{}", file.file_name().unwrap().to_str().unwrap());
        let mut command = Command::new("cc");
        command.args(["-shared", "-x", "c", "/dev/null", "-x", "none", "-Wl,--no-as-needed", &soname]);
        command.args(needs.iter().map(|name| self.path(name))).arg("-o").arg(&file);
        let said = command.output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        file
    }

    fn complete(&self, provider: ProviderChoice) -> Result<Vec<PathBuf>, Refusal> {
        complete(provider, &self.runtime())
    }
}

const CUDA: &str = "onnxruntime/capi/libonnxruntime_providers_cuda.so";

#[test]
fn a_library_that_is_missing_is_named_with_its_version_and_the_way_to_it() {
    let env = Environment::new();
    env.library("nowhere/libcublasLt.so.13", &[]);
    let file = env.library(CUDA, &["nowhere/libcublasLt.so.13"]);
    let refusal = env.complete(ProviderChoice::Cuda).unwrap_err();
    let expected = format!(
        "`CUDAExecutionProvider` cannot be used: `{}` needs `libcublasLt.so.13` (CUDA 13), which is not found",
        file.canonicalize().unwrap().display()
    );
    assert_eq!(refusal.to_string(), expected);
    let hint = refusal.hint().unwrap();
    let expected = "`pip install 'onnxruntime-gpu[cuda,cudnn]'` in the environment of that ONNX Runtime, or CUDA 13 from NVIDIA where \
                    the system's loader finds it";
    assert_eq!(hint, expected);
    let causes = std::iter::successors(std::error::Error::source(&refusal), |source| source.source());
    let last = causes.last().unwrap().to_string();
    assert!(last.starts_with("libcublasLt.so.13: cannot open shared object file"), "{last}");
}

#[test]
fn what_lies_in_the_environment_is_loaded_from_there_in_the_order_of_need() {
    let env = Environment::new();
    env.library("nvidia/cu13/lib/libofftestlt.so.13", &[]);
    env.library("nvidia/cu13/lib/libofftest.so.13", &["nvidia/cu13/lib/libofftestlt.so.13"]);
    env.library("tensorrt_libs/libofftestinfer.so.10", &[]);
    let needs = ["nvidia/cu13/lib/libofftest.so.13", "tensorrt_libs/libofftestinfer.so.10"];
    env.library("onnxruntime/capi/libonnxruntime_providers_tensorrt.so", &needs);
    let loaded = env.complete(ProviderChoice::TensorRt).unwrap();
    let names: Vec<&str> = loaded.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["libofftestlt.so.13", "libofftest.so.13", "libofftestinfer.so.10"]);
    assert_eq!(env.complete(ProviderChoice::TensorRt).unwrap(), Vec::<PathBuf>::new(), "all of them are loaded");
}

#[test]
fn a_library_in_the_environment_that_lacks_another_names_that_one() {
    let env = Environment::new();
    env.library("nowhere/libcudnn_lacking.so.9", &[]);
    let middle = env.library("nvidia/cudnn/lib/libofftestmiddle.so.9", &["nowhere/libcudnn_lacking.so.9"]);
    env.library(CUDA, &["nvidia/cudnn/lib/libofftestmiddle.so.9"]);
    let refusal = env.complete(ProviderChoice::Cuda).unwrap_err().to_string();
    let expected = format!(
        "`{}` needs `libcudnn_lacking.so.9` (cuDNN 9), which is not found",
        middle.canonicalize().unwrap().display()
    );
    assert!(refusal.ends_with(&expected), "{refusal}");
}

#[test]
fn a_provider_without_its_library_and_one_that_is_none_are_told_apart() {
    let env = Environment::new();
    let refusal = env.complete(ProviderChoice::Cuda).unwrap_err();
    let expected = format!("`CUDAExecutionProvider` cannot be used: there is no `{}`", env.path(CUDA).display());
    assert_eq!(refusal.to_string(), expected);
    assert!(refusal.hint().unwrap().starts_with("install ONNX Runtime again: `pip install 'onnxruntime-gpu"));
    fs::write(env.path(CUDA), "no library").unwrap();
    let refusal = env.complete(ProviderChoice::Cuda).unwrap_err();
    assert!(refusal.to_string().ends_with("libonnxruntime_providers_cuda.so` could not be loaded"), "{refusal}");
    assert!(matches!(refusal, Refusal::Unloadable { .. }));
    assert_eq!(env.complete(ProviderChoice::Cpu).unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn a_host_that_is_missing_is_named_and_not_the_symbol_that_it_would_have() {
    let env = Environment::new();
    for (provider, package) in
        [(ProviderChoice::OpenVino, "onnxruntime-openvino"), (ProviderChoice::Cuda, "onnxruntime-gpu")]
    {
        let runtime = env.runtime();
        env.library(&format!("onnxruntime/capi/{}", file_name(provider).unwrap()), &[]);
        let host = runtime.with_file_name("libonnxruntime_providers_shared.so");
        fs::remove_file(&host).unwrap();
        let refusal = complete(provider, &runtime).unwrap_err();
        let expected = format!(
            "`{}` cannot be used: there is no `{}`, through which ONNX Runtime loads it",
            provider.resolve(),
            host.display()
        );
        assert_eq!((refusal.to_string(), refusal.reason()), (expected.clone(), expected));
        let expected = format!(
            "`pip install --force-reinstall --no-deps {package}` in the environment of that ONNX Runtime, or copy the file \
             from where its library is from"
        );
        assert_eq!(refusal.hint().unwrap(), expected);
    }
}

#[test]
fn the_environment_in_which_the_library_was_named_counts_though_it_is_a_link() {
    let (named, real) = (Environment::new(), Environment::new());
    real.library("nowhere/libofftestlinked.so.13", &[]);
    let provider = real.library(CUDA, &["nowhere/libofftestlinked.so.13"]);
    named.library("nvidia/cu13/lib/libofftestlinked.so.13", &[]);
    let runtime = named.path("onnxruntime/capi/libonnxruntime.so.1.31.1");
    std::os::unix::fs::symlink(real.runtime(), &runtime).unwrap();
    std::os::unix::fs::symlink(provider, named.path(CUDA)).unwrap();
    std::os::unix::fs::symlink(real.runtime().with_file_name(HOST), runtime.with_file_name(HOST)).unwrap();
    let loaded = complete(ProviderChoice::Cuda, &runtime).unwrap();
    assert_eq!(loaded, [named.path("nvidia/cu13/lib/libofftestlinked.so.13")]);
}

#[test]
fn nothing_is_loaded_from_beside_a_library_that_is_in_no_python_environment() {
    let env = Environment::new();
    env.library("nvidia/cu13/lib/libofftestoutside.so.13", &[]);
    fs::create_dir(env.path("lib")).unwrap();
    env.library("lib/libonnxruntime_providers_cuda.so", &["nvidia/cu13/lib/libofftestoutside.so.13"]);
    let runtime = env.path("lib/libonnxruntime.so");
    fs::write(&runtime, "").unwrap();
    fs::write(runtime.with_file_name(HOST), "").unwrap();
    let refusal = complete(ProviderChoice::Cuda, &runtime).unwrap_err();
    assert!(refusal.to_string().ends_with("needs `libofftestoutside.so.13`, which is not found"), "{refusal}");
    assert_eq!(refusal.hint(), None);
}

#[test]
fn names_of_libraries_tell_what_they_belong_to() {
    for (name, product, words) in [
        ("libcudart.so.12", Product::Cuda(Some(12)), "CUDA 12"),
        ("libcublas.so.13", Product::Cuda(Some(13)), "CUDA 13"),
        ("libcufft.so.12", Product::Cuda(Some(13)), "CUDA 13"),
        ("libcurand.so.10", Product::Cuda(None), "CUDA"),
        ("libcudnn.so.9", Product::Cudnn(9), "cuDNN 9"),
        ("libcudnn_graph.so.9", Product::Cudnn(9), "cuDNN 9"),
        ("libnvinfer_plugin.so.10", Product::TensorRt(10), "TensorRT 10"),
        ("libnvonnxparser.so.10", Product::TensorRt(10), "TensorRT 10"),
        ("libcuda.so.1", Product::Driver, "NVIDIA's driver"),
        ("libopenvino.so.2541", Product::OpenVino, "OpenVINO"),
    ] {
        assert_eq!(Product::of(name), Some(product), "{name}");
        assert_eq!(product.to_string(), words);
        assert!(!product.way().is_empty());
    }
    for name in ["libm.so.6", "cuda", "libcuda", "libcudnn.so"] {
        assert_eq!(Product::of(name), None, "{name}");
    }
    assert_eq!(Product::of(TENSORRT_LIBRARY), Some(Product::TensorRt(TENSORRT_MAJOR)));
    assert!(Product::TensorRt(10).way().starts_with("`pip install 'tensorrt-cu13-libs==10.*'`"));
}
