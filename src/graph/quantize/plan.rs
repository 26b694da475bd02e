//! What is to be quantized and how: data alone, made by who ran a calibration, carried out by the pass.

use std::collections::BTreeMap;

/// Which of a graph's matrices are multiplied in int8; all others stay fp32.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QuantizePlan {
    /// By the name of the matrix, which is the checkpoint tensor's (`encoder.layer.0.attention.self.query.weight`).
    pub matrices: BTreeMap<String, MatrixPlan>,
    /// How far the weights' integers go.
    pub reach: WeightReach,
}

/// How one matrix is multiplied.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MatrixPlan {
    /// How the rows of its input become integers.
    pub rows: RowScale,
    /// What is subtracted from each channel of the input first, [inputs]; empty: nothing.
    pub shift: Vec<f32>,
    /// What each channel is divided by then, [inputs], all above 0; empty: by nothing.
    pub scale: Vec<f32>,
}

/// How the rows of a matrix's input become integers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum RowScale {
    /// Each row by its own largest number.
    #[default]
    OwnLargest,
    /// All rows by one range, what lies outside of it is cut off. In units behind shift and scale.
    Fixed {
        /// The number that becomes 0.
        low: f32,
        /// The number that becomes 255.
        high: f32,
    },
}

/// How far the integers of weights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightReach {
    /// −127 to 127: for CPUs that add four products without saturation (VNNI).
    #[default]
    Full,
    /// −63 to 63: two products of these with u8 fit into 16 bits, so no CPU saturates.
    Half,
}

/// What was seen of one matrix's input, [rows, inputs], over the texts of a calibration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InputStatistics {
    /// The lowest number of each channel.
    pub lowest: Vec<f32>,
    /// The highest number of each channel.
    pub highest: Vec<f32>,
}
