//! Under which name engines are kept: an engine serves one graph with its weights, one set of profiles, one ONNX Runtime,
//! one TensorRT and one GPU architecture, and nothing else.
//!
//! Rule: whoever adds what decides an engine, or changes what a value means, changes the format word.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::device::{Gpu, tensorrt_version};
use super::options::shapes_of_inputs;
use super::planner::EnginePlan;
use crate::model::{Manifest, Precision};

/// Part of every hash: a change of the fields' meaning changes this word.
const FORMAT: &str = "offprint engine 1";

/// Hex digits of a hash in a name.
const DIGITS: usize = 12;

/// What stands for an unknown part in a name.
const UNKNOWN: &str = "*";

/// What engines are built of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineSetting {
    /// Hash of the graph and of the weights beside it.
    pub graph: String,
    /// What the graph computes in.
    pub precision: Precision,
    /// Whether the graph has an input that chooses each text's adapter.
    pub takes_adapter: bool,
    /// The profiles.
    pub plan: EnginePlan,
}

impl EngineSetting {
    /// The profiles for a bundle's graph.
    pub fn new(manifest: &Manifest, plan: EnginePlan) -> Self {
        let takes_adapter = !manifest.adapters.is_empty();
        Self { graph: Self::graph_of(manifest), precision: manifest.precision, takes_adapter, plan }
    }

    /// [`EngineSetting::graph`] of a bundle.
    pub fn graph_of(manifest: &Manifest) -> String {
        with_data(&manifest.graph_hash, manifest.data.as_ref().map(|data| data.hash.as_str()))
    }

    /// `<graph>-<settings>-ort<version>-trt<version>-sm<architecture>`, with `*` for what is not known.
    pub fn folder_name(&self, target: &EngineTarget) -> String {
        let part = |value: &Option<String>| value.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        format!(
            "{}-{}-ort{}-trt{}-{}",
            short(&self.graph),
            short(&self.settings()),
            part(&target.onnxruntime),
            part(&target.tensorrt),
            part(&target.architecture),
        )
    }

    /// Hash of all that the provider is told, apart from folders.
    fn settings(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key(FORMAT);
        let mut field = |text: String| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        field(self.precision.to_string());
        for profile in &self.plan.profiles {
            for shape in [profile.min, profile.opt, profile.max] {
                field(shapes_of_inputs(shape, self.takes_adapter));
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// The hash of a graph with all its weights, whether in it or beside it.
fn with_data(graph: &str, data: Option<&str>) -> String {
    let Some(data) = data else { return graph.to_owned() };
    let mut hasher = blake3::Hasher::new_derive_key(FORMAT);
    hasher.update(graph.as_bytes()).update(data.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// The beginning of a hash; all of a shorter one.
fn short(hash: &str) -> &str {
    hash.get(..DIGITS).unwrap_or(hash)
}

/// The libraries and the GPU that engines are built with; what could not be read is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineTarget {
    /// Version of ONNX Runtime, such as `1.31.1`.
    pub onnxruntime: Option<String>,
    /// Version of TensorRT, such as `10.13.3`.
    pub tensorrt: Option<String>,
    /// The GPU's architecture, such as `sm90`.
    pub architecture: Option<String>,
}

impl EngineTarget {
    /// This ONNX Runtime, the TensorRT that is loaded or that the system's loader finds, and this GPU.
    pub fn here(onnxruntime: Option<String>, gpu: Option<&Gpu>) -> Self {
        let architecture = gpu.map(|gpu| gpu.architecture.clone());
        Self { onnxruntime, tensorrt: tensorrt_version(), architecture }
    }

    /// What is not known of it, in words; empty where engines can be kept for it.
    pub fn missing(&self) -> Vec<&'static str> {
        let parts = [
            (&self.onnxruntime, "the version of ONNX Runtime"),
            (&self.tensorrt, "the version of TensorRT"),
            (&self.architecture, "the architecture of the GPU"),
        ];
        parts.into_iter().filter(|(value, _)| value.is_none()).map(|(_, words)| words).collect()
    }

    /// The name of the folder with the timing cache: kernels are timed for one TensorRT and one architecture.
    pub(super) fn timing_name(&self) -> String {
        let part = |value: &Option<String>| value.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        format!("trt{}-{}", part(&self.tensorrt), part(&self.architecture))
    }
}

impl fmt::Display for EngineTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |value: &Option<String>, name: &str| match value {
            Some(value) => format!("{name}{value}"),
            None => format!("an unknown {}", name.trim()),
        };
        let architecture = self.architecture.clone().unwrap_or_else(|| "an unknown GPU".to_owned());
        let [runtime, tensorrt] = [known(&self.onnxruntime, "ONNX Runtime "), known(&self.tensorrt, "TensorRT ")];
        write!(out, "{runtime}, {tensorrt}, {architecture}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BatchShape, PlanLimits, ShapeHistogram, plan_profiles};
    use super::*;

    fn plan(batch_tokens: usize) -> EnginePlan {
        let mut histogram = ShapeHistogram::default();
        histogram.add(BatchShape::new(8, 64));
        let limits = PlanLimits { max_length: 128, batch_tokens, batch_rows: 4_096, step: 8, profiles: 8 };
        plan_profiles(&histogram, limits).unwrap()
    }

    fn target() -> EngineTarget {
        let some = |text: &str| Some(text.to_owned());
        EngineTarget { onnxruntime: some("1.31.1"), tensorrt: some("10.13.3"), architecture: some("sm90") }
    }

    #[test]
    fn whatever_decides_an_engine_decides_the_name_of_its_folder() {
        let setting = EngineSetting {
            graph: "0123456789abcdef0123".to_owned(),
            precision: Precision::Fp16,
            takes_adapter: false,
            plan: plan(4_096),
        };
        let name = setting.folder_name(&target());
        assert!(name.starts_with("0123456789ab-") && name.ends_with("-ort1.31.1-trt10.13.3-sm90"), "{name}");
        let some = |text: &str| Some(text.to_owned());
        let others = [
            (EngineSetting { graph: "1123456789abcdef0123".to_owned(), ..setting.clone() }, target()),
            (EngineSetting { precision: Precision::Fp32, ..setting.clone() }, target()),
            (EngineSetting { takes_adapter: true, ..setting.clone() }, target()),
            (EngineSetting { plan: plan(4_095), ..setting.clone() }, target()),
            (setting.clone(), EngineTarget { onnxruntime: some("1.31.2"), ..target() }),
            (setting.clone(), EngineTarget { tensorrt: some("10.14.1"), ..target() }),
            (setting.clone(), EngineTarget { architecture: some("sm89"), ..target() }),
        ];
        for (setting, target) in others {
            assert_ne!(setting.folder_name(&target), name, "{setting:?} on {target}");
        }
        assert_eq!(setting.clone().folder_name(&target()), name);
        let unknown = EngineTarget { onnxruntime: some("1.31.1"), ..EngineTarget::default() };
        assert!(setting.folder_name(&unknown).ends_with("-ort1.31.1-trt*-*"));
        assert_eq!(unknown.missing(), ["the version of TensorRT", "the architecture of the GPU"]);
        assert_eq!(unknown.to_string(), "ONNX Runtime 1.31.1, an unknown TensorRT, an unknown GPU");
        assert_eq!(target().to_string(), "ONNX Runtime 1.31.1, TensorRT 10.13.3, sm90");
        assert_eq!((target().missing().len(), target().timing_name().as_str()), (0, "trt10.13.3-sm90"));
    }

    #[test]
    fn weights_beside_the_graph_are_part_of_it() {
        assert_eq!(with_data("g", None), "g");
        let [one, other] = ["aa", "bb"].map(|data| with_data("g", Some(data)));
        assert!(one != other && one != "g" && one.len() == 64);
        assert_ne!(one, with_data("h", Some("aa")));
    }
}
