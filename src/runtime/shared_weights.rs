//! Weights that all sessions of one graph on the CPU provider share, and the packed copies that its kernels make of
//! them. Owns the memory that those weights lie in: the graph's file where they are aligned there, else a file without
//! a name. Both are mapped, so that the system may drop pages that nobody reads any more, as those of packed weights.
//!
//! Invariant: the bytes behind a value stay mapped, and unchanged, for as long as a session may read them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::Mmap;
use ort::AsPointer;
use ort::memory::{Allocator, MemoryInfo};
use ort::session::builder::{PrepackedWeights, SessionBuilder};
use ort::value::{DynValue, TensorElementType};
use prost::bytes::Bytes;

use crate::graph::{ElementType, LargeWeight, large_weights};

use super::error::Error;
use super::memory::MemoryPreset;

/// Where a weight may begin, in bytes: as ONNX Runtime's own allocations do.
const ALIGNMENT: usize = 64;

/// What a session has besides: on the CPU provider all of it, on others, which keep memory by rules of their own, the
/// profile alone.
#[derive(Debug, Clone, Default)]
pub struct CpuSettings {
    /// What it keeps between two batches.
    pub memory: MemoryPreset,
    /// Weights of the same graph that it shares with others.
    pub weights: Option<Arc<SharedWeights>>,
    /// The cores that its threads stay on; empty: anywhere.
    pub cores: Vec<usize>,
    /// The beginning of the name of the file that says how long each operator took, of any provider; none: nobody looks.
    pub profile: Option<PathBuf>,
}

impl CpuSettings {
    /// The settings of sessions side by side: several of them share the weights of their graph, and one alone has them in a
    /// mapped file if it is to keep little.
    ///
    /// # Errors
    /// A graph that cannot be read, or no room for its weights.
    pub fn side_by_side(graph: &Path, sessions: usize, memory: MemoryPreset) -> Result<Self, Error> {
        memory.prepare_process();
        let shared = sessions > 1 || sessions == 1 && memory.maps_weights();
        let weights = if shared { Some(Arc::new(SharedWeights::of_graph(graph)?)) } else { None };
        Ok(Self { memory, weights, ..Self::default() })
    }
}

/// The weights of one graph. A session that was given them holds a clone of the handle.
#[derive(Debug)]
pub struct SharedWeights {
    values: Vec<(String, Arc<DynValue>)>,
    packed: PrepackedWeights,
    /// What the values point to; declared behind them, so that it is given back after them.
    _bytes: Vec<Bytes>,
}

impl SharedWeights {
    /// The large weights of a graph's file.
    ///
    /// # Errors
    /// A graph that cannot be read; no room for a temporary file; values that ONNX Runtime refuses.
    pub(super) fn of_graph(graph: &Path) -> Result<Self, Error> {
        let found = large_weights(graph).map_err(|source| Error::WeightsUnreadable { source: Box::new(source) })?;
        let weights =
            aligned(found).map_err(|source| Error::WeightsUnplaced { folder: std::env::temp_dir(), source })?;
        let values = weights.iter().map(|weight| Ok((weight.name.clone(), Arc::new(value(weight)?))));
        let unloadable = |source| Error::GraphUnloadable { path: graph.to_owned(), source };
        let values = values.collect::<Result<_, ort::Error>>().map_err(unloadable)?;
        let bytes = weights.into_iter().map(|weight| weight.bytes).collect();
        Ok(Self { values, packed: PrepackedWeights::new(), _bytes: bytes })
    }

    /// Lets a session use them in the place of those in its graph.
    pub(super) fn give(&self, builder: SessionBuilder) -> Result<SessionBuilder, ort::Error> {
        let mut builder = builder.with_prepacked_weights(&self.packed)?;
        for (name, value) in &self.values {
            builder = builder.with_initializer(name, Arc::clone(value))?;
        }
        Ok(builder)
    }
}

/// The same weights, each at an aligned address. A graph's file puts constants where they fall: those are copied.
fn aligned(mut weights: Vec<LargeWeight>) -> io::Result<Vec<LargeWeight>> {
    let is_aligned = |weight: &LargeWeight| weight.bytes.as_ptr().addr().is_multiple_of(ALIGNMENT);
    if weights.iter().all(is_aligned) {
        return Ok(weights);
    }
    let mut file = BufWriter::with_capacity(1 << 20, tempfile::tempfile()?);
    let mut end = 0_usize;
    let mut places = Vec::new();
    for (index, weight) in weights.iter().enumerate().filter(|(_, weight)| !is_aligned(weight)) {
        let start = end.next_multiple_of(ALIGNMENT);
        file.write_all(&[0; ALIGNMENT][..start - end])?;
        file.write_all(&weight.bytes)?;
        end = start + weight.bytes.len();
        places.push((index, start..end));
    }
    let copies = map(&file.into_inner().map_err(io::IntoInnerError::into_error)?)?;
    for (index, range) in places {
        weights[index].bytes = copies.slice(range);
    }
    Ok(weights)
}

#[expect(unsafe_code, reason = "the file has no name, so that nobody can shorten or change it under the map")]
fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: only this process holds the file, and it writes no more.
    let map = unsafe { Mmap::map(file) }?;
    Ok(Bytes::from_owner(map))
}

/// A tensor over a weight's bytes, which are not copied.
#[expect(unsafe_code, reason = "ort makes tensors over memory of its own or for one run, not over a map")]
fn value(weight: &LargeWeight) -> Result<DynValue, ort::Error> {
    let element = match weight.element {
        ElementType::Float16 => TensorElementType::Float16,
        ElementType::Int8 => TensorElementType::Int8,
        ElementType::Uint8 => TensorElementType::Uint8,
        _ => TensorElementType::Float32,
    };
    let (memory, mut made) = (MemoryInfo::default(), std::ptr::null_mut());
    // SAFETY: the bytes are as many as shape and type ask for (`large_weights` compared them), are aligned, and outlive
    // the value: `SharedWeights` gives them back last, and each session holds it. ONNX Runtime never writes to a
    // constant.
    let status = unsafe {
        (ort::api().CreateTensorWithDataAsOrtValue)(
            memory.ptr(),
            weight.bytes.as_ptr().cast_mut().cast(),
            weight.bytes.len(),
            weight.shape.as_ptr(),
            weight.shape.len(),
            element.into(),
            &raw mut made,
        )
    };
    // SAFETY: the status was just returned by the library and is used once.
    unsafe { ort::Error::result_from_status(status) }?;
    let made = NonNull::new(made).ok_or_else(|| ort::Error::new("no tensor was made"))?;
    // SAFETY: the value was just made and is owned by nobody else; it has no memory of its own to give back.
    Ok(unsafe { DynValue::from_ptr(made, Some(&Allocator::default())) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(bytes: Bytes) -> LargeWeight {
        let shape = vec![bytes.len() as i64];
        LargeWeight { name: "w".to_owned(), shape, element: ElementType::Uint8, bytes }
    }

    #[test]
    fn weights_that_lie_badly_are_copied_to_aligned_places() {
        let content: Bytes = (0..10_000).map(|byte| (byte % 251) as u8).collect::<Vec<_>>().into();
        let first = content.as_ptr().addr().next_multiple_of(ALIGNMENT) - content.as_ptr().addr();
        let ranges = [first..first + 100, first + 101..first + 333, first + 64..first + 128, first + 7..9_999];
        let weights = ranges.clone().map(|range| weight(content.slice(range)));
        let moved = aligned(weights.to_vec()).unwrap();
        for (range, (before, after)) in ranges.into_iter().zip(weights.iter().zip(&moved)) {
            assert_eq!(after.bytes, content.slice(range));
            assert!(after.bytes.as_ptr().addr().is_multiple_of(ALIGNMENT));
            let stayed = before.bytes.as_ptr() == after.bytes.as_ptr();
            assert_eq!(stayed, before.bytes.as_ptr().addr().is_multiple_of(ALIGNMENT));
        }
        let stay = aligned(vec![weights[0].clone()]).unwrap();
        assert_eq!(stay[0].bytes.as_ptr(), weights[0].bytes.as_ptr());
        assert!(aligned(Vec::new()).unwrap().is_empty());
    }
}
