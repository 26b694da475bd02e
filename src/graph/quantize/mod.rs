//! int8 products in an encoder's graph: which matrices, from which calibration, in which form. Owns the plan and the pass
//! that carries it out; runs nothing and chooses nothing. Invariant: a row's bits depend on that row alone, so that an
//! embedding never depends on the texts beside it.

mod calibration;
mod pass;
mod plan;
mod products;
mod weights;

pub use calibration::{Matrix, write_calibration};
pub(super) use pass::{RUNTIME_DOMAIN, Stopped, quantize};
pub use plan::{InputStatistics, MatrixPlan, QuantizePlan, RowScale, WeightReach};
pub(super) use weights::Integers;
