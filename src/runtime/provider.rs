//! Execution providers: the names that a user may type, and what is known of each.
//!
//! Owns what a provider is called, what it is told where the user says nothing, and how far its vectors may lie apart.
//! Opens none. Invariant: a name that is not known is refused with the list of those that are, never replaced by another.

use std::ffi::CStr;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::Precision;

use super::error::Error;

/// What `--provider` accepts, beside ONNX Runtime's own names.
pub(super) const KNOWN: &str = "auto, cpu, cuda, cuda:N, cuda:0,1, tensorrt, tensorrt:N, openvino, coreml, directml (or several, by preference: cuda,cpu)";

/// Padded tokens of a batch on a processor: activations stay in the second-level cache.
const TOKENS_ON_A_PROCESSOR: usize = 1_024;
/// Padded tokens of a batch on an accelerator, which is idle while a small batch is handed over.
const TOKENS_ON_AN_ACCELERATOR: usize = 16_384;

/// The largest difference between two vectors of one text where a provider chooses kernels by shape, as a share of the
/// vector's norm: sums of f32 that are split otherwise differ by some roundings in each layer. Measured on OpenVINO.
const TOLERANCE: f64 = 1e-5;
/// The same for a graph in fp16 that is computed as such: a rounding is 2^13 times as large as one of f32, and only some of
/// them meet in one sum.
const HALF_TOLERANCE: f64 = 5e-3;

/// A provider of ONNX Runtime that this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderChoice {
    /// ONNX Runtime's own kernels on the processor, which give a text the same bits in any batch.
    #[default]
    Cpu,
    /// NVIDIA's graphics cards.
    Cuda,
    /// NVIDIA's graphics cards, by engines that are built for the graph and the card.
    TensorRt,
    /// Intel's kernels, here on the processor.
    OpenVino,
    /// Apple's.
    CoreMl,
    /// Graphics cards under Windows.
    DirectMl,
}

impl ProviderChoice {
    /// Each of them, in the order in which messages list them.
    pub const ALL: [Self; 6] = [Self::Cpu, Self::Cuda, Self::TensorRt, Self::OpenVino, Self::CoreMl, Self::DirectMl];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::OpenVino => "openvino",
            Self::CoreMl => "coreml",
            Self::DirectMl => "directml",
        }
    }

    /// ONNX Runtime's name of it.
    pub fn resolve(self) -> &'static str {
        match self {
            Self::Cpu => "CPUExecutionProvider",
            Self::Cuda => "CUDAExecutionProvider",
            Self::TensorRt => "TensorrtExecutionProvider",
            Self::OpenVino => "OpenVINOExecutionProvider",
            Self::CoreMl => "CoreMLExecutionProvider",
            Self::DirectMl => "DmlExecutionProvider",
        }
    }

    /// The provider with that word or ONNX Runtime's name, in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(|choice| is(choice.name()) || is(choice.resolve()))
    }

    /// Padded tokens of a batch that suit it, where the user says nothing.
    pub fn batch_tokens(self) -> usize {
        if self.is_accelerator() { TOKENS_ON_AN_ACCELERATOR } else { TOKENS_ON_A_PROCESSOR }
    }

    /// Whether it computes beside the processor, which it leaves to the tokenizer.
    pub fn is_accelerator(self) -> bool {
        match self {
            Self::Cpu | Self::OpenVino => false,
            Self::Cuda | Self::TensorRt | Self::CoreMl | Self::DirectMl => true,
        }
    }

    /// Whether devices can be named: those of NVIDIA, which take and give through memory that stays where it is.
    pub fn has_devices(self) -> bool {
        matches!(self, Self::Cuda | Self::TensorRt)
    }

    /// Whether it can be told anything.
    pub(super) fn takes_options(self) -> bool {
        !matches!(self, Self::Cpu | Self::DirectMl)
    }

    /// What `--provider` may name with a library that has these providers.
    pub(super) fn served_by(providers: &[String]) -> Vec<String> {
        let has = |choice: &Self| providers.iter().any(|provider| provider == choice.resolve());
        let named = Self::ALL.into_iter().filter(has).map(|choice| choice.name().to_owned());
        std::iter::once("auto".to_owned()).chain(named).collect()
    }
}

impl fmt::Display for ProviderChoice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for ProviderChoice {
    type Err = Error;

    /// Accepts the words and ONNX Runtime's names, in any case.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::named(name).ok_or_else(|| Error::UnknownProvider { name: name.to_owned(), known: KNOWN })
    }
}

/// A provider with all that it is told: one that sessions can be opened on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provider {
    /// Which one.
    pub choice: ProviderChoice,
    /// The devices that were named, where it has several: each runs one session or more. Empty: its first.
    pub devices: Vec<u32>,
    /// What else it is told, in its own words: key and value. Overrules [`Provider::settings`].
    pub options: Vec<(String, String)>,
}

impl Provider {
    /// The number of its first device.
    pub fn first_device(&self) -> u32 {
        self.devices.first().copied().unwrap_or(0)
    }

    /// Sessions that it takes at least: one on each device.
    pub fn least_sessions(&self) -> usize {
        self.devices.len().max(1)
    }

    /// The provider of the session at this place among several: sessions take the devices in turns.
    #[must_use]
    pub fn of_session(&self, place: usize) -> Self {
        let devices = self.devices.iter().copied().cycle().nth(place).into_iter().collect();
        Self { devices, ..self.clone() }
    }

    /// Keys and values that the provider gets: what makes it compute what the graph says, on the device that was named,
    /// overruled and completed by the options.
    pub fn settings(&self, threads: usize) -> Vec<(String, String)> {
        let mut settings = self.own_settings(threads);
        for (key, value) in &self.options {
            settings.retain(|(known, _)| known != key);
            settings.push((key.clone(), value.clone()));
        }
        settings
    }

    /// What it is told where the user says nothing. Matrix products of fp32 are computed in fp32: without being told so, NVIDIA's
    /// cards cut them to TF32 and Intel's processors with units for it to bf16.
    fn own_settings(&self, threads: usize) -> Vec<(String, String)> {
        let device = self.first_device().to_string();
        let pairs = match self.choice {
            ProviderChoice::Cuda => vec![("device_id", device), ("use_tf32", "0".to_owned())],
            ProviderChoice::TensorRt => vec![("device_id", device)],
            ProviderChoice::OpenVino => vec![
                ("device_type", "CPU".to_owned()),
                ("precision", "FP32".to_owned()),
                ("num_of_threads", threads.to_string()),
            ],
            ProviderChoice::Cpu | ProviderChoice::CoreMl | ProviderChoice::DirectMl => Vec::new(),
        };
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The options that may change numbers by more than the order of sums: all that are not known to leave them alone, and
    /// that say something else than what it is told anyway.
    pub fn numerics(&self) -> Vec<(String, String)> {
        let own = self.own_settings(1);
        let changes = |pair: &&(String, String)| !LEAVE_NUMBERS_ALONE.contains(&pair.0.as_str()) && !own.contains(pair);
        self.options.iter().filter(changes).cloned().collect()
    }
}

impl Provider {
    /// What the user said: the device and the options, `key=value` each; nothing without any.
    pub(super) fn options_in_words(&self) -> String {
        let device = self.devices.first().map(|device| format!("`device_id={device}`"));
        let options = self.options.iter().map(|(key, value)| format!("`{key}={value}`"));
        let words: Vec<String> = device.into_iter().chain(options).collect();
        words.join(", ")
    }
}

/// Options of all providers that say where, how fast and from which files something is computed, not what.
const LEAVE_NUMBERS_ALONE: [&str; 38] = [
    "arena_extend_strategy",
    "cache_dir",
    "cudnn_conv_use_max_workspace",
    "device_id",
    "do_copy_in_default_stream",
    "enable_cuda_graph",
    "enable_opencl_throttling",
    "gpu_mem_limit",
    "num_of_threads",
    "num_streams",
    "ModelCacheDirectory",
    "ProfileComputePlan",
    "trt_auxiliary_streams",
    "trt_build_heuristics_enable",
    "trt_builder_optimization_level",
    "trt_context_memory_sharing_enable",
    "trt_cuda_graph_enable",
    "trt_detailed_build_log",
    "trt_dump_ep_context_model",
    "trt_dump_subgraphs",
    "trt_engine_cache_enable",
    "trt_engine_cache_path",
    "trt_engine_cache_prefix",
    "trt_engine_decryption_enable",
    "trt_engine_hw_compatible",
    "trt_ep_context_embed_mode",
    "trt_ep_context_file_path",
    "trt_force_sequential_engine_build",
    "trt_force_timing_cache",
    "trt_max_partition_iterations",
    "trt_max_workspace_size",
    "trt_min_subgraph_size",
    "trt_onnx_model_folder_path",
    "trt_profile_max_shapes",
    "trt_profile_min_shapes",
    "trt_profile_opt_shapes",
    "trt_timing_cache_enable",
    "trt_timing_cache_path",
];

impl From<ProviderChoice> for Provider {
    fn from(choice: ProviderChoice) -> Self {
        Self { choice, devices: Vec::new(), options: Vec::new() }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.choice)?;
        for (device, before) in self.devices.iter().zip(std::iter::once(':').chain(std::iter::repeat(','))) {
            write!(out, "{before}{device}")?;
        }
        Ok(())
    }
}

impl FromStr for Provider {
    type Err = Error;

    /// Accepts a name of a provider, with the numbers of devices behind a colon where it has several: `cuda:0,1`.
    fn from_str(word: &str) -> Result<Self, Error> {
        let Some((name, numbers)) = word.split_once(':') else { return Ok(word.parse::<ProviderChoice>()?.into()) };
        let Some(choice) = ProviderChoice::named(name) else {
            return Err(Error::UnknownProvider { name: word.to_owned(), known: KNOWN });
        };
        let mut devices: Vec<u32> = Vec::new();
        for device in numbers.split(',').map(str::trim) {
            // ONNX Runtime reads device numbers as i32.
            match device.parse().ok().filter(|&number: &u32| i32::try_from(number).is_ok()) {
                Some(number) if devices.contains(&number) => {
                    return Err(Error::ProviderTwice { provider: format!("{choice}:{number}") });
                }
                Some(number) if choice.has_devices() => devices.push(number),
                _ => return Err(Error::NoSuchDevice { choice, device: device.to_owned() }),
            }
        }
        Ok(Self { devices, ..choice.into() })
    }
}

/// How far two vectors of one text may lie apart on a provider of that name, as a share of their norm: 0 where every bit
/// has to be the same.
pub fn tolerance(provider: &str, precision: Precision) -> f64 {
    match ProviderChoice::named(provider) {
        None | Some(ProviderChoice::Cpu) => 0.0,
        // It computes an fp16 graph in fp32.
        Some(ProviderChoice::OpenVino) => TOLERANCE,
        Some(_) if precision == Precision::Fp16 => HALF_TOLERANCE,
        Some(_) => TOLERANCE,
    }
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
#[path = "provider_tests.rs"]
mod tests;
