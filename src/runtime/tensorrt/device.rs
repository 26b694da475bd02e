//! Facts about the GPU and TensorRT on this machine, asked of their own libraries.
//!
//! Knows nothing of engines. Invariant: a fact that cannot be read is none, never a guess and never an error.

use std::ffi::{CStr, OsStr, c_char, c_int};

use libloading::Library;
use serde::{Deserialize, Serialize};

/// The major version that ONNX Runtime's TensorRT provider is linked with.
pub const TENSORRT_MAJOR: u32 = 10;

/// TensorRT's own library, of that version.
pub const TENSORRT_LIBRARY: &str = if cfg!(windows) { "nvinfer_10.dll" } else { "libnvinfer.so.10" };

/// The driver's library.
const CUDA_LIBRARY: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

/// A GPU, as the driver describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// The name of the card.
    pub name: String,
    /// Its architecture: `sm` and the compute capability without its point, such as `sm90`.
    pub architecture: String,
}

impl Gpu {
    /// The GPU of this number, counted as CUDA counts; none without a driver or without that GPU.
    pub fn read(device: u32) -> Option<Self> {
        Self::read_from(OsStr::new(CUDA_LIBRARY), device)
    }

    #[expect(unsafe_code, reason = "the driver's library is the one that knows which GPU CUDA means by a number")]
    fn read_from(library: &OsStr, device: u32) -> Option<Self> {
        type Init = unsafe extern "C" fn(u32) -> c_int;
        type Get = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
        type Name = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
        type Attribute = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int;
        /// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR` of cuda.h.
        const CAPABILITY: [c_int; 2] = [75, 76];
        // SAFETY: the initializers of the driver's library run, as they will when ONNX Runtime uses it.
        let library = unsafe { Library::new(library) }.ok()?;
        // A driver does not survive being unloaded with certainty: it stays mapped until the end.
        let library = std::mem::ManuallyDrop::new(library);
        let mut text: [c_char; 256] = [0; 256];
        // SAFETY: the symbols have the types of cuda.h; all pointers are to live locals of the stated sizes, and a
        // status other than 0 means that they were not written.
        unsafe {
            let init = library.get::<Init>(b"cuInit").ok()?;
            let get = library.get::<Get>(b"cuDeviceGet").ok()?;
            let name = library.get::<Name>(b"cuDeviceGetName").ok()?;
            let attribute = library.get::<Attribute>(b"cuDeviceGetAttribute").ok()?;
            let done = |status: c_int| (status == 0).then_some(());
            done(init(0))?;
            let mut handle = 0;
            done(get(&raw mut handle, c_int::try_from(device).ok()?))?;
            done(name(text.as_mut_ptr(), 255, handle))?;
            let mut numbers = [0; 2];
            for (number, which) in numbers.iter_mut().zip(CAPABILITY) {
                done(attribute(std::ptr::from_mut(number), which, handle))?;
            }
            let name = CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned();
            Some(Self { name, architecture: format!("sm{}{}", numbers[0], numbers[1]) })
        }
    }
}

/// The version of the TensorRT that the system's loader finds, such as `10.13.3`; none where there is none.
pub fn tensorrt_version() -> Option<String> {
    tensorrt_version_of(OsStr::new(TENSORRT_LIBRARY))
}

#[expect(unsafe_code, reason = "TensorRT's library states its version only through a call")]
fn tensorrt_version_of(library: &OsStr) -> Option<String> {
    // SAFETY: TensorRT's initializers run, as they will when ONNX Runtime's provider is loaded.
    let library = std::mem::ManuallyDrop::new(unsafe { Library::new(library) }.ok()?);
    // SAFETY: NvInferRuntime.h declares the function so in every version.
    let version = unsafe { library.get::<unsafe extern "C" fn() -> i32>(b"getInferLibVersion").ok()?() };
    version_of_number(version)
}

/// From version 10 on the number is major × 10,000 + minor × 100 + patch; the major number took three digits before.
fn version_of_number(number: i32) -> Option<String> {
    match number {
        10_000.. => Some(format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)),
        1_000.. => Some(format!("{}.{}.{}", number / 1_000, number / 100 % 10, number % 100)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    #[test]
    fn numbers_of_versions_are_read_as_nvidia_writes_them() {
        let read = [101_303, 100_900, 8_601, 7, -1].map(version_of_number);
        assert_eq!(read, [Some("10.13.3".into()), Some("10.9.0".into()), Some("8.6.1".into()), None, None]);
    }

    #[test]
    fn without_the_libraries_nothing_is_known() {
        assert_eq!(Gpu::read_from(OsStr::new("libno-such-driver.so.1"), 0), None);
        assert_eq!(tensorrt_version_of(OsStr::new("libno-such-tensorrt.so.10")), None);
    }

    /// Stands in for both libraries: a machine with one GPU.
    const LIBRARIES: &str = r#"
        #include <string.h>
        int cuInit(unsigned flags) { return flags != 0; }
        int cuDeviceGet(int *device, int ordinal) { *device = 40 + ordinal; return ordinal == 0 ? 0 : 101; }
        int cuDeviceGetName(char *name, int length, int device) {
            strncpy(name, "NVIDIA Test 1", length); return device != 40;
        }
        int cuDeviceGetAttribute(int *value, int attribute, int device) {
            *value = attribute == 75 ? 9 : attribute == 76 ? 0 : -1; return device != 40;
        }
        int getInferLibVersion(void) { return 101303; }
    "#;

    /// The path of the library above in `folder`; none where there is no C compiler.
    #[cfg(unix)]
    fn compiled(folder: &std::path::Path) -> Option<PathBuf> {
        let (source, library) = (folder.join("stand_in.c"), folder.join("libstand_in.so"));
        std::fs::write(&source, LIBRARIES).unwrap();
        let output = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).output();
        match output {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("skipped: there is no C compiler `cc` on PATH to build a stand-in for the driver with");
                None
            }
            output => {
                let output = output.unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                Some(library)
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_driver_names_the_gpu_and_tensorrt_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let Some(library) = compiled(folder.path()) else { return };
        let gpu = Gpu::read_from(library.as_os_str(), 0).unwrap();
        assert_eq!((gpu.name.as_str(), gpu.architecture.as_str()), ("NVIDIA Test 1", "sm90"));
        assert_eq!(Gpu::read_from(library.as_os_str(), 1), None, "there is one GPU only");
        assert_eq!(tensorrt_version_of(library.as_os_str()), Some("10.13.3".to_owned()));
    }
}
