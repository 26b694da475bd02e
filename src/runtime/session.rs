//! Runs an encoder's graph through ONNX Runtime.
//!
//! Owns the session's settings. Knows nothing of where a batch comes from.
//! Invariant: what comes out is one finite embedding per row of the length that the graph declares, or an error.

use std::path::{Path, PathBuf};

use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionOutputs};
use ort::value::{Outlet, TensorElementType};

use crate::model::{ADAPTER, ATTENTION_MASK, INPUT_IDS, SENTENCE_EMBEDDING};

use super::adapter::{self, AdapterChoice};
use super::bound::{BoundRuns, Input, views};
use super::error::Error;
use super::library::OnnxRuntime;
use super::numa::{affinities, stay_on};
use super::opening::open_placed;
use super::placement::{PlacedNode, Placement, RECORD};
use super::profile::{Profile, ProfileError};
use super::provider::Provider;
use super::shared_weights::CpuSettings;
use super::{Batch, EmbeddingMatrix, RunBatch};

/// What a session is opened with.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The ONNX file.
    pub graph: PathBuf,
    /// Where it shall run.
    pub provider: Provider,
    /// Threads inside one operator, the calling thread included; at least 1.
    pub threads: usize,
}

/// An encoder ready to run.
#[derive(Debug)]
pub struct EncoderSession {
    /// What inputs and outputs stay in between runs, where the provider copies them; declared before the session, which it
    /// belongs to.
    bound: Option<BoundRuns>,
    session: Session,
    /// What it has besides; declared behind the session, which reads the weights in it, so that they outlive it.
    cpu: CpuSettings,
    provider: Provider,
    placement: Placement,
    outputs: Vec<Output>,
    takes_adapter: bool,
    adapter: AdapterChoice,
}

/// An output that is read, and how many numbers it gives a text.
#[derive(Debug)]
pub(super) struct Output {
    pub name: String,
    pub dim: usize,
}

impl EncoderSession {
    /// Opens the graph and checks that it is an encoder: inputs `input_ids` and `attention_mask` and nothing else
    /// but, where it has several adapters, `adapter`; output `sentence_embedding` of a fixed length.
    ///
    /// # Errors
    /// No threads, no such file, a file that ONNX Runtime cannot open, other inputs or outputs.
    pub fn open(runtime: &OnnxRuntime, options: &SessionOptions) -> Result<Self, Error> {
        Self::open_outputs(runtime, options, &[SENTENCE_EMBEDDING])
    }

    /// Opens the graph for other outputs than `sentence_embedding`, such as the `probabilities` of its heads. A text's
    /// row holds those of all `outputs`, side by side in their order; the graph runs once for all.
    ///
    /// # Errors
    /// As [`EncoderSession::open`], with each of `outputs` in the place of `sentence_embedding`.
    pub fn open_outputs(runtime: &OnnxRuntime, options: &SessionOptions, outputs: &[&str]) -> Result<Self, Error> {
        Self::open_with(runtime, options, outputs, (&CpuSettings::default(), &|_| false))
    }

    /// The same with settings for the CPU provider, and for a graph of which the CPU provider may keep the nodes of which
    /// `may_stay` says so, such as those that only compute shapes; [`EncoderSession::placement`] says how many it kept.
    ///
    /// # Errors
    /// As [`EncoderSession::open_outputs`].
    pub fn open_with(
        runtime: &OnnxRuntime,
        options: &SessionOptions,
        outputs: &[&str],
        (cpu, may_stay): (&CpuSettings, &dyn Fn(&PlacedNode) -> bool),
    ) -> Result<Self, Error> {
        let (session, placement) = open_placed(runtime, options, cpu, may_stay)?;
        let takes_adapter = check_inputs(&session, &options.graph)?;
        let output = |name: &&str| {
            let dim = row_length(&session, &options.graph, name)?;
            Ok(Output { name: (*name).to_owned(), dim })
        };
        let outputs = outputs.iter().map(output).collect::<Result<_, Error>>()?;
        let (cpu, provider) = (cpu.clone(), options.provider.clone());
        let bound = provider.choice.has_devices().then(|| BoundRuns::pinned(&session, provider.first_device()));
        Ok(Self { bound, session, cpu, provider, placement, outputs, takes_adapter, adapter: AdapterChoice::ByRow })
    }

    /// Says which of the graph's several adapters texts go through.
    pub fn with_adapter(mut self, adapter: AdapterChoice) -> Self {
        self.adapter = adapter;
        self
    }

    /// Ends the profile of a session that was opened with [`CpuSettings::profile`]: what its runs took, but for the first
    /// `unmeasured` ones.
    ///
    /// # Errors
    /// It was opened without, or ONNX Runtime's file cannot be read or says something else.
    pub fn end_profile(&mut self, unmeasured: usize) -> Result<Profile, Error> {
        let ended = self.session.end_profiling().map_err(|source| ProfileError::Unended { source })?;
        Ok(Profile::read(Path::new(&ended), unmeasured)?)
    }

    /// Whether the graph has several adapters, of which each text goes through one.
    pub fn takes_adapter(&self) -> bool {
        self.takes_adapter
    }

    /// ONNX Runtime's name of the provider that runs the graph.
    pub fn provider(&self) -> &'static str {
        self.provider.choice.resolve()
    }

    /// How many nodes of the graph run on which provider.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Numbers that a text gets in each output, in their order.
    pub fn widths(&self) -> impl Iterator<Item = usize> {
        self.outputs.iter().map(|output| output.dim)
    }

    /// Numbers that a text gets: the length of an embedding, or how many labels the heads have together.
    pub fn dim(&self) -> usize {
        self.widths().sum()
    }
}

/// Whether the processor adds products of u8 with i8 in 32 bits, as those with VNNI do and all that are no x86.
pub fn adds_exactly() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx512vnni") || std::is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    true
}

/// The settings of every session, each for a reason:
/// * sequential execution, one operator at a time with all threads: an encoder's graph has no branches worth more;
/// * no memory pattern, unless `--memory fast` asks for it: it keeps a plan for each shape that it meets, and here
///   nearly every batch has its own, so that memory would grow with the run;
/// * the arena is kept, unless `--memory low` gives it up: blocks are used again without new page faults, which costs
///   large batches a tenth of their time. Its size is set by the largest batch, and that one comes first;
/// * idle threads sleep instead of spinning: they would take the cores from the tokenizer, which works beside them;
/// * products of u8 with i8 are precise on processors without VNNI, which would otherwise add two of them in 16 bits and
///   cut what does not fit; elsewhere the precise way would give the same bits in one and a half times the time;
/// * denormal numbers are left as they are: flushing them would change bits;
/// * what runs where is put on record;
/// * what else a session on the CPU provider has is the caller's choice.
pub(super) fn settings(
    runtime: &OnnxRuntime,
    options: &SessionOptions,
    cpu: &CpuSettings,
) -> Result<SessionBuilder, ort::Error> {
    let builder = Session::builder(runtime.environment())?
        .with_intra_threads(options.threads)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_memory_pattern(cpu.memory.plans_shapes())?
        .with_intra_op_spinning(false)?
        .with_config_entry(RECORD.0, RECORD.1)?;
    let builder = if adds_exactly() { builder } else { builder.with_precise_qmm()? };
    let builder = match &cpu.profile {
        Some(path) => builder.with_profiling(path)?,
        None => builder,
    };
    let builder = match affinities(&cpu.cores, options.threads) {
        Some(cores) => builder.with_config_entry("session.intra_op_thread_affinities", cores)?,
        None => builder,
    };
    match &cpu.weights {
        Some(weights) => weights.give(builder),
        None => Ok(builder),
    }
}

/// Whether an adapter is among the inputs; an error where they are not those of an encoder.
fn check_inputs(session: &Session, graph: &Path) -> Result<bool, Error> {
    let fits = |outlet: &Outlet| {
        let tensor = outlet.dtype();
        let sides = if outlet.name() == ADAPTER { 1 } else { 2 };
        [INPUT_IDS, ATTENTION_MASK, ADAPTER].contains(&outlet.name())
            && tensor.tensor_type() == Some(TensorElementType::Int64)
            && tensor.tensor_shape().is_some_and(|shape| shape.len() == sides && shape.iter().all(|&length| length < 0))
    };
    let inputs = session.inputs();
    let takes_adapter = inputs.iter().any(|outlet| outlet.name() == ADAPTER);
    if inputs.len() == 2 + usize::from(takes_adapter) && inputs.iter().all(fits) {
        return Ok(takes_adapter);
    }
    let adapter = if takes_adapter { format!("; `{ADAPTER}`, int64 of shape [batch]") } else { String::new() };
    Err(Error::GraphInputs {
        path: graph.to_owned(),
        got: describe(inputs),
        expected: format!("`{INPUT_IDS}` and `{ATTENTION_MASK}`, int64 of shape [batch, sequence], both free{adapter}"),
    })
}

/// The fixed length of the rows of an output.
fn row_length(session: &Session, graph: &Path, name: &str) -> Result<usize, Error> {
    let outputs = session.outputs();
    let output = outputs.iter().find(|outlet| outlet.name() == name);
    let float = output.filter(|outlet| outlet.dtype().tensor_type() == Some(TensorElementType::Float32));
    let shape = float.and_then(|outlet| outlet.dtype().tensor_shape());
    let dim = shape.filter(|shape| shape.len() == 2).and_then(|shape| usize::try_from(shape[1]).ok());
    dim.filter(|&dim| dim > 0).ok_or_else(|| Error::GraphOutputs {
        path: graph.to_owned(),
        got: describe(outputs),
        expected: format!("`{name}`, float32 of shape [batch, fixed length]"),
    })
}

fn describe(outlets: &[Outlet]) -> Vec<String> {
    outlets.iter().map(|outlet| format!("`{}`: {}", outlet.name(), outlet.dtype())).collect()
}

impl RunBatch for EncoderSession {
    fn run(&mut self, batch: &Batch) -> Result<EmbeddingMatrix, Error> {
        batch.check()?;
        stay_on(&self.cpu.cores);
        let Batch { rows, columns, .. } = *batch;
        if rows == 0 {
            return Ok(EmbeddingMatrix { rows, dim: self.dim(), data: Vec::new() });
        }
        let failed = |source| Error::Run { rows, columns, source };
        let adapters = self.adapter.of_rows(batch);
        adapter::check(&adapters, rows, self.takes_adapter)?;
        let mut inputs = vec![
            Input { name: INPUT_IDS, sides: vec![rows, columns], data: &batch.ids },
            Input { name: ATTENTION_MASK, sides: vec![rows, columns], data: &batch.mask },
        ];
        if self.takes_adapter {
            inputs.push(Input { name: ADAPTER, sides: vec![rows], data: &adapters });
        }
        let Self { bound, session, outputs, .. } = self;
        let given = match bound {
            Some(bound) => bound.run(session, (rows, columns), &inputs, outputs),
            None => views(&inputs).and_then(|views| session.run(views)),
        };
        read(&given.map_err(failed)?, outputs, (rows, columns))
    }
}

/// The rows of all outputs, side by side.
fn read(
    given: &SessionOutputs<'_>,
    outputs: &[Output],
    (rows, columns): (usize, usize),
) -> Result<EmbeddingMatrix, Error> {
    let mut tables = Vec::with_capacity(outputs.len());
    for output in outputs {
        let extracted = given[output.name.as_str()].try_extract_tensor::<f32>();
        let (shape, data) = extracted.map_err(|source| Error::Run { rows, columns, source })?;
        let expected = [rows, output.dim];
        if !shape.iter().copied().eq(expected.iter().map(|&length| length as i64)) {
            return Err(Error::OutputShape { output: output.name.clone(), got: shape.to_vec(), expected });
        }
        check_finite(data, expected, &output.name)?;
        tables.push((data, output.dim));
    }
    let dim = outputs.iter().map(|output| output.dim).sum();
    Ok(EmbeddingMatrix { rows, dim, data: side_by_side(&tables, rows) })
}

/// The rows of all tables, each given with its width, joined.
fn side_by_side(tables: &[(&[f32], usize)], rows: usize) -> Vec<f32> {
    if let [(data, _)] = tables {
        return data.to_vec();
    }
    let row = |row: usize| tables.iter().flat_map(move |(data, width)| &data[row * width..(row + 1) * width]);
    (0..rows).flat_map(row).copied().collect()
}

/// Refuses NaN and infinities, naming the first.
pub(super) fn check_finite(data: &[f32], [rows, dim]: [usize; 2], output: &str) -> Result<(), Error> {
    let Some(at) = data.iter().position(|value| !value.is_finite()) else { return Ok(()) };
    Err(Error::NotFinite { output: output.to_owned(), value: data[at], row: at / dim, column: at % dim, rows })
}

/// What the tests of bound runs need: this machine may have no device that would have them.
#[cfg(test)]
impl EncoderSession {
    pub(super) fn bound_to_ordinary_memory(mut self) -> Self {
        self.bound = Some(BoundRuns::ordinary());
        self
    }

    pub(super) fn bound_to_pinned_memory(mut self) -> Self {
        self.bound = Some(BoundRuns::pinned(&self.session, 0));
        self
    }

    pub(super) fn bound_shapes(&self) -> Option<usize> {
        self.bound.as_ref().map(BoundRuns::shapes)
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
