//! Finds ONNX Runtime, opens graphs with it and runs batches of token ids through them.
//!
//! Owns everything that names `ort`: library search, execution providers, sessions, and the facts about the machine
//! that a report needs. Knows nothing of papers, texts or tokenizers: a batch comes in as ids and mask, a matrix of
//! embeddings goes out. Invariant: a session that cannot give what was asked is an error, never another provider or
//! a row of NaN.

mod adapter;
mod blame;
mod bound;
mod cpu_plan;
mod doctor;
mod error;
mod fallback;
mod gemm;
mod hint;
mod library;
mod machine;
mod masked_lm;
mod memory;
mod numa;
mod opening;
mod placement;
mod probe;
mod profile;
mod provider;
mod provider_list;
mod refusal;
mod search;
mod selection;
mod session;
mod shared_library;
mod shared_weights;
mod stub;
pub mod tensorrt;

pub use adapter::AdapterChoice;
pub use cpu_plan::divide_threads;
pub use doctor::{CacheFolder, Doctor, Library, Problem};
pub use error::{Error, Looked};
pub use fallback::Fallback;
pub use gemm::GemmSession;
pub use library::OnnxRuntime;
pub use machine::{Machine, MemoryInUse, default_threads, memory_in_use, work_seconds};
pub use masked_lm::MaskedLmSession;
pub use memory::MemoryPreset;
pub use numa::{default_sessions, numa_nodes};
pub use placement::{PlacedNode, Placement};
pub use probe::ProbeSession;
pub use profile::{OperatorTime, Profile, ProfileError};
pub use provider::{Provider, ProviderChoice, tolerance};
pub use provider_list::{ProviderList, provider_words};
pub use refusal::{Elsewhere, PassedOver, PassedOverChain, Refusal};
pub use search::{Place, Tried};
pub use selection::{Selection, Wanted, first_usable, refuse_unopened};
pub use session::{EncoderSession, SessionOptions, adds_exactly};
pub use shared_weights::{CpuSettings, SharedWeights};
pub use stub::{StubFault, StubSession};

/// Token ids of some texts, padded to one length. Row-major, `rows × columns` each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids; a padded position holds the tokenizer's pad id.
    pub ids: Vec<i64>,
    /// 1 for a token, 0 for padding; padding stands on the right.
    pub mask: Vec<i64>,
    /// Texts in the batch.
    pub rows: usize,
    /// Tokens of each row, padding included: the length of the longest text, or more.
    pub columns: usize,
    /// For a graph with several adapters, the place of each text's adapter in the bundle's list; else empty, and also
    /// where the session was told which to take.
    pub adapters: Vec<i64>,
}

impl Batch {
    /// Refuses a batch whose vectors do not have `rows × columns` entries, or that has rows without columns, or more adapters
    /// than rows.
    fn check(&self) -> Result<(), Error> {
        let expected = self.rows.checked_mul(self.columns);
        let fits = expected == Some(self.ids.len()) && expected == Some(self.mask.len());
        if fits && (self.rows == 0 || self.columns > 0) {
            return adapter::check(&self.adapters, self.rows, !self.adapters.is_empty());
        }
        Err(Error::BatchShape { rows: self.rows, columns: self.columns, ids: self.ids.len(), mask: self.mask.len() })
    }
}

/// One embedding per row of a batch, in the batch's order. Row-major, `rows × dim`.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingMatrix {
    /// Texts in the batch.
    pub rows: usize,
    /// Length of one embedding.
    pub dim: usize,
    /// The values, `rows × dim`.
    pub data: Vec<f32>,
}

impl EmbeddingMatrix {
    /// The embedding of one row; panics if `row >= rows`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.dim..(row + 1) * self.dim]
    }
}

/// What turns a batch into embeddings. A pipeline owns its runner on one thread, hence `Send` and `&mut`.
pub trait RunBatch: Send {
    /// Gives one finite embedding per row, in the batch's order. A batch without rows gives a matrix without rows.
    ///
    /// # Errors
    /// The batch's vectors do not fit its shape, the run failed, or the output has another shape or a value that is
    /// not finite.
    fn run(&mut self, batch: &Batch) -> Result<EmbeddingMatrix, Error>;
}
