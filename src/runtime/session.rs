//! Runs an encoder's graph through ONNX Runtime.
//!
//! Owns the session's settings. Knows nothing of where a batch comes from.
//! Invariant: what comes out is one finite embedding per row of the length that the graph declares, or an error.

use std::path::{Path, PathBuf};

use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{Outlet, TensorElementType, TensorRef};

use crate::model::{ADAPTER, ATTENTION_MASK, INPUT_IDS, SENTENCE_EMBEDDING};

use super::adapter::{self, AdapterChoice};
use super::error::Error;
use super::library::OnnxRuntime;
use super::numa::{affinities, stay_on};
use super::opening::open_placed;
use super::placement::{PlacedNode, Placement, RECORD};
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
struct Output {
    name: String,
    dim: usize,
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
        Self::open_partly(runtime, options, outputs, &|_| false)
    }

    /// The same for a graph of which the CPU provider may keep the nodes of which `may_stay` says so, such as those that only
    /// compute shapes; [`EncoderSession::placement`] says how many it kept.
    ///
    /// # Errors
    /// As [`EncoderSession::open_outputs`].
    pub fn open_partly(
        runtime: &OnnxRuntime,
        options: &SessionOptions,
        outputs: &[&str],
        may_stay: &dyn Fn(&PlacedNode) -> bool,
    ) -> Result<Self, Error> {
        Self::open_with(runtime, options, outputs, (&CpuSettings::default(), may_stay))
    }

    /// The same with settings for the CPU provider.
    ///
    /// # Errors
    /// As [`EncoderSession::open_outputs`].
    pub fn open_with(
        runtime: &OnnxRuntime,
        options: &SessionOptions,
        outputs: &[&str],
        (cpu, may_stay): (&CpuSettings, &dyn Fn(&PlacedNode) -> bool),
    ) -> Result<Self, Error> {
        let (session, placement) = open_placed(runtime, options, (cpu, may_stay))?;
        let takes_adapter = check_inputs(&session, &options.graph)?;
        let output = |name: &&str| {
            let dim = row_length(&session, &options.graph, name)?;
            Ok(Output { name: (*name).to_owned(), dim })
        };
        let outputs = outputs.iter().map(output).collect::<Result<_, Error>>()?;
        let provider = options.provider.clone();
        let (cpu, adapter) = (cpu.clone(), AdapterChoice::ByRow);
        Ok(Self { session, cpu, provider, placement, outputs, takes_adapter, adapter })
    }

    /// Says which of the graph's several adapters texts go through.
    pub fn with_adapter(mut self, adapter: AdapterChoice) -> Self {
        self.adapter = adapter;
        self
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
/// * what runs where is put on record.
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
    let builder = match affinities(&cpu.cores, options.threads) {
        Some(cores) => builder.with_config_entry("session.intra_op_thread_affinities", cores)?,
        None => builder,
    };
    let builder = match &cpu.weights {
        Some(weights) => weights.give(builder)?,
        None => builder,
    };
    if adds_exactly() { Ok(builder) } else { Ok(builder.with_precise_qmm()?) }
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
        let dim = self.dim();
        if rows == 0 {
            return Ok(EmbeddingMatrix { rows, dim, data: Vec::new() });
        }
        let failed = |source| Error::Run { rows, columns, source };
        let ids = TensorRef::from_array_view(([rows, columns], batch.ids.as_slice())).map_err(failed)?;
        let mask = TensorRef::from_array_view(([rows, columns], batch.mask.as_slice())).map_err(failed)?;
        let adapters = self.adapter.of_rows(batch);
        adapter::check(&adapters, rows, self.takes_adapter)?;
        let mut inputs = ort::inputs![INPUT_IDS => ids, ATTENTION_MASK => mask];
        if self.takes_adapter {
            let adapters = TensorRef::from_array_view(([rows], &*adapters)).map_err(failed)?;
            inputs.extend(ort::inputs![ADAPTER => adapters]);
        }
        let outputs = self.session.run(inputs).map_err(failed)?;
        let mut tables = Vec::with_capacity(self.outputs.len());
        for output in &self.outputs {
            let (shape, data) = outputs[output.name.as_str()].try_extract_tensor::<f32>().map_err(failed)?;
            let expected = [rows, output.dim];
            if !shape.iter().copied().eq(expected.iter().map(|&length| length as i64)) {
                return Err(Error::OutputShape { output: output.name.clone(), got: shape.to_vec(), expected });
            }
            check_finite(data, expected, &output.name)?;
            tables.push((data, output.dim));
        }
        Ok(EmbeddingMatrix { rows, dim, data: side_by_side(&tables, rows) })
    }
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

/// The graphs in tests/data/tiny-graph are described in the script beside them.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::ProviderChoice;

    /// The library of this machine; without one, a test that needs it says so and passes.
    fn runtime() -> Option<OnnxRuntime> {
        match OnnxRuntime::load(None) {
            Ok(runtime) => Some(runtime),
            Err(error @ Error::LibraryNotFound { .. }) => {
                eprintln!("skipped: {error}; {}", error.hint().unwrap());
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn options(graph: &str) -> SessionOptions {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-graph");
        SessionOptions { graph: folder.join(graph), provider: ProviderChoice::Cpu.into(), threads: 2 }
    }

    fn batch(ids: &[i64], mask: &[i64], columns: usize) -> Batch {
        let rows = ids.len() / columns;
        Batch { ids: ids.to_vec(), mask: mask.to_vec(), rows, columns, adapters: Vec::new() }
    }

    #[test]
    fn a_batch_gives_one_embedding_per_row_the_same_alone_and_padded() {
        let Some(runtime) = runtime() else { return };
        let mut session = EncoderSession::open(&runtime, &options("encoder.onnx")).unwrap();
        assert_eq!((session.provider(), session.dim()), ("CPUExecutionProvider", 4));
        let alone = session.run(&batch(&[3, 4, 4], &[1, 1, 1], 3)).unwrap();
        let padded = session.run(&batch(&[9, 0, 0, 0, 3, 4, 4, 0], &[1, 0, 0, 0, 1, 1, 1, 0], 4)).unwrap();
        assert_eq!((padded.rows, padded.dim), (2, 4));
        assert_eq!(padded.row(0), [9.0, 9.25, 9.5, 9.75]);
        assert_eq!(padded.row(1), alone.row(0));
        assert!((f64::from(alone.data[0]) - 11.0 / 3.0).abs() < 1e-6);
        let none = session.run(&batch(&[], &[], 1)).unwrap();
        assert_eq!((none.rows, none.dim, none.data.len()), (0, 4, 0));
    }

    #[test]
    fn a_value_that_is_not_finite_is_an_error_that_names_its_row() {
        let Some(runtime) = runtime() else { return };
        let mut session = EncoderSession::open(&runtime, &options("log.onnx")).unwrap();
        let error = session.run(&batch(&[1, 1, 0, 0], &[1, 1, 1, 1], 2)).unwrap_err();
        let expected =
            "output `sentence_embedding` holds -inf at row 1, column 0 of a batch of 2: expected finite numbers";
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().is_some());
        assert!(session.run(&batch(&[1, 1], &[1, 1], 2)).is_ok());
    }

    #[test]
    fn a_graph_that_is_no_encoder_is_refused_with_what_it_takes_and_gives() {
        let Some(runtime) = runtime() else { return };
        let open = |graph: &str| EncoderSession::open(&runtime, &options(graph)).unwrap_err().to_string();
        let inputs = open("no_mask.onnx");
        assert!(inputs.contains("takes `input_ids`: Tensor<i64>"), "{inputs}");
        assert!(
            inputs.ends_with("expected `input_ids` and `attention_mask`, int64 of shape [batch, sequence], both free")
        );
        let outputs = open("free_dim.onnx");
        assert!(outputs.contains("gives `sentence_embedding`: Tensor<f32>"), "{outputs}");
        assert!(
            outputs.ends_with("expected `sentence_embedding`, float32 of shape [batch, fixed length]"),
            "{outputs}"
        );
        assert!(open("make.py").ends_with("make.py` could not be opened as a graph"));
        assert!(open("nowhere.onnx").starts_with("no graph at `"));
        let none = EncoderSession::open(&runtime, &SessionOptions { threads: 0, ..options("encoder.onnx") });
        assert_eq!(none.unwrap_err().to_string(), "a session needs at least 1 thread, got 0");
    }

    #[test]
    fn what_onnx_runtime_refuses_keeps_its_reason() {
        let Some(runtime) = runtime() else { return };
        let mut session = EncoderSession::open(&runtime, &options("encoder.onnx")).unwrap();
        let error = session.run(&batch(&[99], &[1], 1)).unwrap_err();
        assert_eq!(error.to_string(), "a batch of 1 rows × 1 tokens could not be run");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("indices element out of data bounds"));
        let mut wide = EncoderSession::open(&runtime, &options("two_rows.onnx")).unwrap();
        let error = wide.run(&batch(&[1, 2], &[1, 1], 1)).unwrap_err();
        assert_eq!(error.to_string(), "output `sentence_embedding` has shape [4, 4], expected [2, 4]");
    }

    #[test]
    fn one_batch_may_mix_adapters_and_a_session_may_have_one_for_all() {
        let Some(runtime) = runtime() else { return };
        let mut session = EncoderSession::open(&runtime, &options("adapters.onnx")).unwrap();
        assert!(session.takes_adapter());
        let without = batch(&[8, 0, 3, 5], &[1, 0, 1, 1], 2);
        let mixed = session.run(&Batch { adapters: vec![2, 0], ..without.clone() }).unwrap();
        assert_eq!(mixed.row(0), [8.0 * 9.0, 8.25 * 10.0, 8.5 * 11.0, 8.75 * 12.0]);
        assert_eq!(mixed.row(1), [4.0, 4.25 * 2.0, 4.5 * 3.0, 4.75 * 4.0]);
        let alone = session.run(&Batch { adapters: vec![2], ..batch(&[8], &[1], 1) }).unwrap();
        assert_eq!(alone.row(0), mixed.row(0));
        let error = session.run(&without).unwrap_err().to_string();
        assert_eq!(error, "a batch of 2 rows names 0 adapters, the graph takes 2");
        let error = session.run(&Batch { adapters: vec![3, 0], ..without.clone() }).unwrap_err();
        assert_eq!(error.to_string(), "a batch of 2 rows × 2 tokens could not be run", "there are three");
        let mut fixed = session.with_adapter(AdapterChoice::Fixed(0));
        assert_eq!(fixed.run(&without).unwrap().row(1), mixed.row(1));
        let mut plain = EncoderSession::open(&runtime, &options("encoder.onnx")).unwrap();
        assert!(!plain.takes_adapter());
        let error = plain.run(&Batch { adapters: vec![0, 0], ..without }).unwrap_err().to_string();
        assert_eq!(error, "a batch of 2 rows names 2 adapters, the graph takes 0");
        let error = EncoderSession::open(&runtime, &options("adapter_table.onnx")).unwrap_err().to_string();
        assert!(error.ends_with("[batch, sequence], both free; `adapter`, int64 of shape [batch]"), "{error}");
    }

    #[test]
    fn sessions_live_side_by_side_and_on_other_threads() {
        let Some(runtime) = runtime() else { return };
        let run = |id: i64| {
            let mut session = EncoderSession::open(&runtime, &options("encoder.onnx")).unwrap();
            std::thread::spawn(move || session.run(&batch(&[id], &[1], 1)).unwrap().data[0])
        };
        let runs: Vec<_> = (0..4).map(run).collect();
        let values: Vec<f32> = runs.into_iter().map(|run| run.join().unwrap()).collect();
        assert_eq!(values, [0.0, 1.0, 2.0, 3.0]);
    }
}
