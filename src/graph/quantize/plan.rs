//! What is to be quantized and how: data alone, made by who ran a calibration, carried out by the pass. Owns the recipe by
//! which what was seen of an input becomes a plan. Reads no weights and no graph.

use std::collections::BTreeMap;

use super::calibration::{Matrix, Reads};

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
    /// What is subtracted from each channel of the input first, `[inputs]`; empty: nothing. The product is what it was: the
    /// bias takes up the difference.
    pub shift: Vec<f32>,
    /// What each channel is divided by then, `[inputs]`, all above 0; empty: by nothing. The matrix takes up the difference.
    pub scale: Vec<f32>,
    /// The mean of each channel, `[inputs]`; empty: not known. With it, the bias takes up what rounding the weights adds to the
    /// mean of each output.
    pub mean: Vec<f32>,
}

/// How the rows of a matrix's input become integers from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum RowScale {
    /// Each row by its own number farthest from 0, which becomes 1 or 255.
    #[default]
    OwnLargest,
    /// Each row by its own highest number, which becomes 255.
    OwnHighest {
        /// No number can be below it.
        lowest: f32,
    },
    /// All rows by one range; what lies outside of it is cut off. In units behind shift and scale.
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
    /// −127 to 127: for CPUs that add four products without saturation (VNNI), and for sessions that ask others for it.
    #[default]
    Full,
    /// −64 to 64: two products of these with u8 fit into 16 bits, so no CPU saturates.
    Half,
}

/// What was seen of one matrix's input, [rows, inputs], over the texts of a calibration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InputStatistics {
    /// The lowest number of each channel, `[inputs]`.
    pub lowest: Vec<f32>,
    /// The highest number of each channel, `[inputs]`.
    pub highest: Vec<f32>,
    /// The mean of each channel over all rows, `[inputs]`; empty where it wasn't taken.
    pub mean: Vec<f32>,
}

/// How much of the difference between channels is moved from the input into the matrix (`alpha` of Xiao et al. 2022,
/// "SmoothQuant"). With the shift of Wei et al. 2023 ("Outlier Suppression+"), 0.75 loses least on MiniLM.
const MOVED: f32 = 0.75;
/// Keeps the scale of a channel defined that is always the same, and of one that the matrix ignores.
const LEAST_RANGE: f32 = 1e-5;

impl WeightReach {
    /// What sessions of this program multiply without saturation on any CPU: they ask ONNX Runtime for precise products
    /// where the CPU has no VNNI.
    pub fn of_this_machine() -> Self {
        Self::Full
    }

    /// The largest integer.
    pub fn largest(self) -> f32 {
        match self {
            Self::Full => 127.0,
            Self::Half => 64.0,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Half => "half",
        }
    }
}

impl MatrixPlan {
    /// The form that loses least for the time that it takes, by what the matrix reads: normalized rows with a shift and a
    /// scale for each channel, which cost one more normalization, and one range for all; what comes out of a function that
    /// is bounded below, each row by its highest number; averages of values by one range; all else each row by its largest.
    pub fn from_statistics(matrix: &Matrix, seen: &InputStatistics) -> Self {
        let mean = seen.mean.clone();
        match matrix.reads {
            Reads::Normalized => Self { mean, ..Self::smoothed(matrix, seen) },
            Reads::Above(lowest) => Self { rows: RowScale::OwnHighest { lowest }, mean, ..Self::default() },
            Reads::Averages => {
                let rows = RowScale::Fixed { low: least(&seen.lowest), high: -least(&negated(&seen.highest)) };
                Self { rows, mean, ..Self::default() }
            }
            Reads::Other => Self { mean, ..Self::default() },
        }
    }

    fn smoothed(matrix: &Matrix, seen: &InputStatistics) -> Self {
        let ends = || seen.lowest.iter().zip(&seen.highest);
        let shift: Vec<f32> = ends().map(|(low, high)| low / 2.0 + high / 2.0).collect();
        let halves: Vec<f32> = ends().map(|(low, high)| (high / 2.0 - low / 2.0).max(LEAST_RANGE)).collect();
        let logs = halves.iter().zip(&matrix.peaks);
        let logs: Vec<f64> = logs
            .map(|(half, peak)| f64::from(MOVED * half.ln() - (1.0 - MOVED) * peak.max(LEAST_RANGE).ln()))
            .collect();
        let middle = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
        let scale: Vec<f32> = logs.iter().map(|log| (log - middle).exp() as f32).collect();
        let widest = halves.iter().zip(&scale).map(|(half, scale)| half / scale).fold(0.0, f32::max);
        Self { rows: RowScale::Fixed { low: -widest, high: widest }, shift, scale, mean: Vec::new() }
    }
}

fn negated(values: &[f32]) -> Vec<f32> {
    values.iter().map(|value| -value).collect()
}

/// The least of the values, at most 0.
fn least(values: &[f32]) -> f32 {
    values.iter().copied().fold(0.0, f32::min)
}
