//! What ONNX Runtime's TensorRT provider is told for one profile, as names and values.
//!
//! Pure. Invariants: the three profiles name every input of the graph, as the provider asks for (it would wait for the
//! first batch and build an engine for that one alone otherwise); nothing is said of the precision but what the graph
//! computes in.

use std::path::Path;

use super::shape::{BatchShape, ShapeProfile};
use crate::model::{ADAPTER, ATTENTION_MASK, INPUT_IDS, Precision};

/// The settings of one engine.
#[derive(Debug, Clone, Copy)]
pub struct TrtOptions<'a> {
    /// The shapes that it takes.
    pub profile: &'a ShapeProfile,
    /// What the graph computes in.
    pub precision: Precision,
    /// Whether the graph has an input that chooses each text's adapter.
    pub takes_adapter: bool,
    /// The folder of this engine and no other: the provider tells engines of one folder apart by the names of nodes
    /// and not by weights, and would take another model's.
    pub folder: &'a Path,
    /// The folder of what was learnt about the speed of kernels, shared by all engines of one TensorRT and GPU.
    pub timing: &'a Path,
}

impl TrtOptions<'_> {
    /// Names and values, in a fixed order.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let half = if self.precision == Precision::Fp16 { "1" } else { "0" };
        let shapes = |shape| shapes_of_inputs(shape, self.takes_adapter);
        let pairs = [
            ("trt_engine_cache_enable", "1".to_owned()),
            ("trt_engine_cache_path", self.folder.display().to_string()),
            ("trt_timing_cache_enable", "1".to_owned()),
            ("trt_timing_cache_path", self.timing.display().to_string()),
            ("trt_profile_min_shapes", shapes(self.profile.min)),
            ("trt_profile_opt_shapes", shapes(self.profile.opt)),
            ("trt_profile_max_shapes", shapes(self.profile.max)),
            ("trt_fp16_enable", half.to_owned()),
            // Squares of fp16 overflow beyond 255.
            ("trt_layer_norm_fp32_fallback", half.to_owned()),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// `input_ids:8x128,attention_mask:8x128`, and `,adapter:8` where there is such an input.
pub(super) fn shapes_of_inputs(shape: BatchShape, takes_adapter: bool) -> String {
    let BatchShape { rows, columns } = shape;
    let adapter = if takes_adapter { format!(",{ADAPTER}:{rows}") } else { String::new() };
    format!("{INPUT_IDS}:{rows}x{columns},{ATTENTION_MASK}:{rows}x{columns}{adapter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_told_its_shapes_its_folders_and_its_precision() {
        let profile =
            ShapeProfile { min: BatchShape::new(1, 17), opt: BatchShape::new(300, 40), max: BatchShape::new(963, 64) };
        let options = TrtOptions {
            profile: &profile,
            precision: Precision::Fp16,
            takes_adapter: false,
            folder: Path::new("/c/engines/e/p1"),
            timing: Path::new("/c/engines/timing/t"),
        };
        let pairs = |options: TrtOptions<'_>| {
            options.pairs().into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        let expected = [
            "trt_engine_cache_enable=1",
            "trt_engine_cache_path=/c/engines/e/p1",
            "trt_timing_cache_enable=1",
            "trt_timing_cache_path=/c/engines/timing/t",
            "trt_profile_min_shapes=input_ids:1x17,attention_mask:1x17",
            "trt_profile_opt_shapes=input_ids:300x40,attention_mask:300x40",
            "trt_profile_max_shapes=input_ids:963x64,attention_mask:963x64",
            "trt_fp16_enable=1",
            "trt_layer_norm_fp32_fallback=1",
        ];
        assert_eq!(pairs(options), expected);
        let single = pairs(TrtOptions { precision: Precision::Fp32, takes_adapter: true, ..options });
        assert_eq!(single[4], "trt_profile_min_shapes=input_ids:1x17,attention_mask:1x17,adapter:1");
        assert_eq!(single[6], "trt_profile_max_shapes=input_ids:963x64,attention_mask:963x64,adapter:963");
        assert_eq!(single[7..], ["trt_fp16_enable=0", "trt_layer_norm_fp32_fallback=0"]);
    }
}
