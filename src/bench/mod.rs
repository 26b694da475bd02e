//! Measures what an encoder does on a machine: a grid of settings, each round of each cell in a process of its own, cells
//! in turns, and what the rounds allow to say. Knows encoders, sessions and the clock, but no terminal, no page and not
//! how processes are started.
//!
//! Invariant: a figure is only ever what was measured of the setting beside it; what could not be run says why.

mod accuracy;
mod cell;
mod compare;
mod error;
mod figures;
mod gpu;
mod grid;
mod machine;
mod peak;
mod profiled;
mod ready;
mod record;
mod reference;
mod rounds;
mod statistics;
mod texts;
mod warm_up;

use serde::{Deserialize, Serialize};

pub use accuracy::Accuracy;
pub use cell::{CellJob, Round, Timing, provider_with};
pub use compare::{BenchComparison, ComparedCell, compare};
pub use error::Error;
pub use figures::Figures;
pub use gpu::GpuUse;
pub use grid::{Batching, Grid, GridModel, Setting, Shape};
pub use peak::{Peak, PeakJob};
pub use ready::Work;
pub use record::{BENCH_CSV, BENCH_FORMAT, BENCH_JSON, CellRecord, Record, State, TextsRecord};
pub use reference::ReferenceJob;
pub use rounds::{CellPlan, Outcome, RunPlan, Runner, run_rounds};
pub use statistics::{CONFIDENCE, Interval, REPEATS_FOR_CLAIMS, Ratio, Verdict, percentile};
pub use texts::{read_vectors, write_texts};
pub use warm_up::WarmUp;

/// What a process of its own is asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// A round of a cell.
    Cell(CellJob),
    /// The vectors that all others are compared with.
    Reference(ReferenceJob),
    /// What the machine computes at most.
    Peak(PeakJob),
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What the round measured.
    Cell(Box<Round>),
    /// The vectors lie where they were to be written.
    Reference,
    /// The fastest product.
    Peak(Peak),
}

impl Job {
    /// Threads that the process may compute with.
    pub fn threads(&self) -> usize {
        match self {
            Self::Cell(job) => job.setting.threads,
            Self::Reference(job) => job.threads,
            Self::Peak(job) => job.threads,
        }
    }

    /// Does it, in this process.
    ///
    /// # Errors
    /// What it is about can't be opened or run.
    pub fn run(&self) -> Result<Answer, Error> {
        match self {
            Self::Cell(job) => Ok(Answer::Cell(Box::new(cell::run_cell(job)?))),
            Self::Reference(job) => job.run().map(|()| Answer::Reference),
            Self::Peak(job) => Ok(Answer::Peak(peak::run_peak(job)?)),
        }
    }
}
