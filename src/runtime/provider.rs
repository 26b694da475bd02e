//! Execution providers: which one was chosen, and which ones the loaded library has.
//!
//! Owns the names that a user may type and their meaning. Invariant: a name that is not known is refused with the
//! list of those that are, never replaced by another.

use std::ffi::CStr;
use std::fmt;
use std::str::FromStr;

use super::error::Error;

/// Names that `--provider` accepts.
const KNOWN: &[&str] = &["auto", "cpu", "openvino"];

/// ONNX Runtime's own kernels.
pub(super) const CPU: &str = "CPUExecutionProvider";
/// Intel's.
const OPENVINO: &str = "OpenVINOExecutionProvider";

/// The largest difference between two vectors of one text that OpenVINO may make, as a share of the vector's norm. It
/// chooses kernels by shape, and sums of f32 that are split otherwise differ by some roundings in each layer.
const OPENVINO_TOLERANCE: f64 = 1e-5;

/// The provider that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProviderChoice {
    /// The one that gives a text the same bits in any batch: [`ProviderChoice::Cpu`].
    #[default]
    Auto,
    /// ONNX Runtime's own kernels on the processor.
    Cpu,
    /// Intel's kernels on the processor; the library must be built with them.
    OpenVino,
}

impl ProviderChoice {
    /// ONNX Runtime's name of the provider that serves this choice.
    pub fn resolve(self) -> &'static str {
        match self {
            Self::Auto | Self::Cpu => CPU,
            Self::OpenVino => OPENVINO,
        }
    }

    /// What `--provider` may name with a library that has these providers.
    pub(super) fn served_by(providers: &[String]) -> Vec<String> {
        let served = |name: &&&str| {
            let choice: Result<Self, Error> = name.parse();
            choice.is_ok_and(|choice| providers.iter().any(|provider| provider == choice.resolve()))
        };
        KNOWN.iter().filter(served).map(ToString::to_string).collect()
    }
}

impl fmt::Display for ProviderChoice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::OpenVino => "openvino",
        })
    }
}

impl FromStr for ProviderChoice {
    type Err = Error;

    /// Accepts `auto`, `cpu`, `openvino` and ONNX Runtime's names of providers, in any case.
    fn from_str(name: &str) -> Result<Self, Error> {
        match name.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" | "cpuexecutionprovider" => Ok(Self::Cpu),
            "openvino" | "openvinoexecutionprovider" => Ok(Self::OpenVino),
            _ => Err(Error::UnknownProvider { name: name.to_owned(), known: KNOWN }),
        }
    }
}

/// How far two vectors of one text may lie apart on a provider of that name, as a share of their norm: 0 where every bit
/// has to be the same.
pub fn tolerance(provider: &str) -> f64 {
    if provider == OPENVINO { OPENVINO_TOLERANCE } else { 0.0 }
}

/// The providers built into the loaded library, in its order of preference.
#[expect(unsafe_code, reason = "ort has no call that lists the providers; its raw table does")]
pub(super) fn available() -> Result<Vec<String>, ort::Error> {
    let mut names = std::ptr::null_mut();
    let mut count = 0;
    // SAFETY: both pointers are to live locals; on success the library hands over `count` strings that end in NUL.
    let status = unsafe { (ort::api().GetAvailableProviders)(&raw mut names, &raw mut count) };
    // SAFETY: the status was just returned by the library and is used once.
    unsafe { ort::Error::result_from_status(status) }?;
    let length = usize::try_from(count).unwrap_or(0);
    // SAFETY: as above; each string is copied before the list is given back, which happens once.
    let copied =
        (0..length).map(|index| unsafe { CStr::from_ptr(*names.add(index)) }.to_string_lossy().into_owned()).collect();
    // SAFETY: as above.
    let status = unsafe { (ort::api().ReleaseAvailableProviders)(names, count) };
    // SAFETY: as above.
    unsafe { ort::Error::result_from_status(status) }?;
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_named_as_users_and_as_onnx_runtime_name_it() {
        for (name, choice) in [
            ("auto", ProviderChoice::Auto),
            ("cpu", ProviderChoice::Cpu),
            ("CPU", ProviderChoice::Cpu),
            ("CPUExecutionProvider", ProviderChoice::Cpu),
            ("OpenVINO", ProviderChoice::OpenVino),
            ("OpenVINOExecutionProvider", ProviderChoice::OpenVino),
        ] {
            assert_eq!(name.parse::<ProviderChoice>().unwrap(), choice);
        }
        for name in KNOWN {
            assert_eq!(name.parse::<ProviderChoice>().unwrap().to_string(), *name);
        }
    }

    #[test]
    fn a_library_serves_the_choices_whose_provider_it_has() {
        let [cpu, openvino] = [CPU, OPENVINO].map(str::to_owned);
        assert_eq!(ProviderChoice::served_by(std::slice::from_ref(&cpu)), ["auto", "cpu"]);
        assert_eq!(ProviderChoice::served_by(&[openvino, cpu]), ["auto", "cpu", "openvino"]);
    }

    #[test]
    fn only_openvino_is_allowed_a_difference() {
        assert_eq!((tolerance(CPU), tolerance("stub"), tolerance(OPENVINO)), (0.0, 0.0, OPENVINO_TOLERANCE));
    }

    #[test]
    fn an_unknown_provider_is_refused_with_those_that_are_known() {
        let error = "cuda:0".parse::<ProviderChoice>().unwrap_err();
        assert_eq!(error.to_string(), "execution provider `cuda:0` is not known; this version has auto, cpu, openvino");
    }
}
