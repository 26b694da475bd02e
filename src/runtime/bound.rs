//! Runs through memory that stays: for each shape of a batch the inputs and outputs are laid out once, in memory that the
//! device copies from and to without a detour where it offers such, and used again for the next batch of that shape.
//!
//! Knows no text and no provider's name but that of its pinned memory. Invariant: a run gives what it would give without,
//! whatever ran before; nothing of an earlier batch is left in what the next one reads.

use std::collections::HashMap;

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session, SessionInputValue, SessionOutputs};
use ort::value::{Tensor, TensorRef};

use super::session::Output;

/// Shapes whose memory is kept, at most: a run by steps of the width has about half as many. After that all begin anew.
const SHAPES: usize = 128;

/// Whole numbers that a graph takes.
pub(super) struct Input<'b> {
    pub name: &'static str,
    /// The lengths of its sides.
    pub sides: Vec<usize>,
    /// Row by row; as many as the sides say.
    pub data: &'b [i64],
}

/// The inputs as they lie, for a run that is bound to nothing.
pub(super) fn views<'b>(inputs: &'b [Input<'b>]) -> Result<Vec<(&'static str, SessionInputValue<'b>)>, ort::Error> {
    let view = |input: &'b Input<'b>| Ok((input.name, TensorRef::from_array_view((&*input.sides, input.data))?.into()));
    inputs.iter().map(view).collect()
}

/// Memory by the shape of a batch.
#[derive(Debug)]
pub(super) struct BoundRuns {
    shapes: HashMap<(usize, usize), Bound>,
    memory: Allocator,
}

/// The memory of one shape.
#[derive(Debug)]
struct Bound {
    binding: IoBinding,
    /// In the order in which a run names its inputs, the same at all times.
    inputs: Vec<Tensor<i64>>,
}

impl BoundRuns {
    /// In memory that the CUDA device of this number reads and writes by itself; where the session has none to offer, in
    /// ordinary memory.
    pub fn pinned(session: &Session, device: u32) -> Self {
        let device = i32::try_from(device).unwrap_or(0);
        let pinned =
            MemoryInfo::new(AllocationDevice::CUDA_PINNED, device, AllocatorType::Device, MemoryType::CPUInput);
        match pinned.and_then(|pinned| Allocator::new(session, pinned)) {
            Ok(memory) => Self { shapes: HashMap::new(), memory },
            Err(error) => {
                tracing::debug!(%error, "no pinned memory: copies to and from the device take a detour");
                Self::ordinary()
            }
        }
    }

    /// In ordinary memory.
    pub fn ordinary() -> Self {
        Self { shapes: HashMap::new(), memory: Allocator::default() }
    }

    /// Shapes whose memory is laid out.
    #[cfg(test)]
    pub fn shapes(&self) -> usize {
        self.shapes.len()
    }

    /// Runs a batch of that many rows and columns; what comes out is there until the next run.
    pub fn run<'s>(
        &'s mut self,
        session: &'s mut Session,
        shape: (usize, usize),
        inputs: &[Input<'_>],
        outputs: &[Output],
    ) -> Result<SessionOutputs<'s>, ort::Error> {
        if !self.shapes.contains_key(&shape) {
            if self.shapes.len() >= SHAPES {
                self.shapes.clear();
            }
            let bound = Bound::new((session, &self.memory), shape.0, inputs, outputs)?;
            self.shapes.insert(shape, bound);
        }
        let bound = self.shapes.get_mut(&shape).expect("it was put there if it was not there before");
        bound.fill(inputs)?;
        session.run_binding(&bound.binding)
    }
}

impl Bound {
    fn new(
        (session, memory): (&Session, &Allocator),
        rows: usize,
        inputs: &[Input<'_>],
        outputs: &[Output],
    ) -> Result<Self, ort::Error> {
        let mut binding = session.create_binding()?;
        for output in outputs {
            binding.bind_output(output.name.as_str(), Tensor::<f32>::new(memory, [rows, output.dim])?)?;
        }
        let tensor = |input: &Input<'_>| Tensor::new(memory, &*input.sides);
        Ok(Self { binding, inputs: inputs.iter().map(tensor).collect::<Result<_, _>>()? })
    }

    /// Puts a batch into the inputs. A device gets its copy when they are bound, so that they are bound for each batch; the
    /// copies are waited for, since the run may be on another stream.
    fn fill(&mut self, inputs: &[Input<'_>]) -> Result<(), ort::Error> {
        for (tensor, input) in self.inputs.iter_mut().zip(inputs) {
            tensor.try_extract_tensor_mut::<i64>()?.1.copy_from_slice(input.data);
            self.binding.bind_input(input.name, tensor)?;
        }
        self.binding.synchronize_inputs()
    }
}

/// The graphs in tests/data/tiny-graph are described in the script beside them.
#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::SENTENCE_EMBEDDING;
    use crate::runtime::{Batch, EncoderSession, Error, OnnxRuntime, ProviderChoice, RunBatch, SessionOptions};

    fn open(graph: &str, outputs: &[&str]) -> Option<EncoderSession> {
        let runtime = match OnnxRuntime::load(None) {
            Ok(runtime) => runtime,
            Err(error @ Error::LibraryNotFound { .. }) => {
                eprintln!("skipped: {error}; {}", error.hint().unwrap());
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let graph = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-graph").join(graph);
        let options = SessionOptions { graph, provider: ProviderChoice::Cpu.into(), threads: 1 };
        Some(EncoderSession::open_outputs(&runtime, &options, outputs).unwrap())
    }

    /// A batch whose ids, mask and adapters come from a number.
    fn batch(rows: usize, columns: usize, number: usize, adapters: usize) -> Batch {
        let id = |at: usize| ((at * 7 + number * 13) % 10) as i64;
        let length = |row: usize| 1 + (row + number) % columns;
        let place = |at: usize| i64::from(at % columns < length(at / columns));
        let tokens = rows * columns;
        let adapter = |row: usize| ((row + number) % adapters) as i64;
        Batch {
            ids: (0..tokens).map(id).collect(),
            mask: (0..tokens).map(place).collect(),
            rows,
            columns,
            adapters: (0..if adapters == 0 { 0 } else { rows }).map(adapter).collect(),
        }
    }

    fn bits(session: &mut EncoderSession, batch: &Batch) -> Vec<u32> {
        session.run(batch).unwrap().data.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn bound_runs_give_the_bits_of_plain_ones_in_any_order_of_shapes() {
        for (graph, outputs, adapters) in [
            ("encoder.onnx", &[SENTENCE_EMBEDDING][..], 0),
            ("adapters.onnx", &[SENTENCE_EMBEDDING], 3),
            ("encoder.onnx", &[SENTENCE_EMBEDDING, SENTENCE_EMBEDDING], 0),
        ] {
            let Some(mut plain) = open(graph, outputs) else { return };
            let mut bound = open(graph, outputs).unwrap().bound_to_ordinary_memory();
            for number in 0..40 {
                let batch = batch(1 + number % 3, 1 + number % 4, number, adapters);
                assert_eq!(bits(&mut bound, &batch), bits(&mut plain, &batch), "{graph}, batch {number}");
            }
            let shapes = bound.bound_shapes().unwrap();
            assert_eq!(shapes, 12, "each shape is laid out once");
        }
    }

    #[test]
    fn a_run_that_fails_leaves_the_next_one_as_it_would_be() {
        let Some(mut plain) = open("encoder.onnx", &[SENTENCE_EMBEDDING]) else { return };
        let mut bound = open("encoder.onnx", &[SENTENCE_EMBEDDING]).unwrap().bound_to_ordinary_memory();
        let good = batch(2, 3, 5, 0);
        let expected = bits(&mut plain, &good);
        assert_eq!(bits(&mut bound, &good), expected);
        let error = bound.run(&Batch { ids: vec![99; 6], ..good.clone() }).unwrap_err();
        assert_eq!(error.to_string(), "a batch of 2 rows × 3 tokens could not be run");
        assert_eq!(bits(&mut bound, &good), expected);
        let mut wide = open("two_rows.onnx", &[SENTENCE_EMBEDDING]).unwrap().bound_to_ordinary_memory();
        assert!(wide.run(&batch(2, 1, 0, 0)).is_err(), "it gives more rows than it was given");
    }

    #[test]
    fn memory_is_kept_for_so_many_shapes_and_no_more() {
        let Some(session) = open("encoder.onnx", &[SENTENCE_EMBEDDING]) else { return };
        let mut bound = session.bound_to_ordinary_memory();
        let first = bits(&mut bound, &batch(1, 1, 3, 0));
        for rows in 2..=SHAPES + 5 {
            bits(&mut bound, &batch(rows, 1, rows, 0));
            assert!(bound.bound_shapes().unwrap() <= SHAPES);
        }
        assert_eq!(bound.bound_shapes(), Some(5));
        assert_eq!(bits(&mut bound, &batch(1, 1, 3, 0)), first);
    }

    #[test]
    fn where_no_memory_is_pinned_ordinary_memory_does() {
        let Some(mut plain) = open("encoder.onnx", &[SENTENCE_EMBEDDING]) else { return };
        let mut bound = open("encoder.onnx", &[SENTENCE_EMBEDDING]).unwrap().bound_to_pinned_memory();
        let batch = batch(3, 2, 1, 0);
        assert_eq!(bits(&mut bound, &batch), bits(&mut plain, &batch));
        let session = std::thread::spawn(move || {
            bits(&mut bound, &batch);
            bound
        });
        assert_eq!(session.join().unwrap().bound_shapes(), Some(1), "a session may move to another thread");
    }
}
