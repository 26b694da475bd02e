//! Runs a graph that shows what stands before its matrices, and keeps the lowest and the highest number of each channel.
//! One text at a time: rows of padding would be counted, too, and memory is that of one text.

use std::path::PathBuf;

use super::Error;
use crate::encode::{BundleEncoder, Tokenizer, assemble};
use crate::runtime::{OnnxRuntime, ProbeSession, SessionOptions};

/// A graph with further outputs.
#[derive(Debug, Clone, Copy)]
pub struct ObservedGraph<'a> {
    /// The ONNX file.
    pub graph: &'a std::path::Path,
    /// Pairs of outputs, each of as many numbers as the matrix has inputs: the lowest of each channel, and the highest.
    pub outputs: &'a [(String, String)],
}

/// The lowest and the highest number of each channel over all texts, for each pair of outputs. `bundle` has the tokenizer
/// and says what the graph is run with.
///
/// # Errors
/// A graph or tokenizer that cannot be opened or run, and numbers that aren't finite.
pub fn observe(
    bundle: &BundleEncoder,
    observed: ObservedGraph<'_>,
    texts: &[&str],
) -> Result<Vec<(Vec<f32>, Vec<f32>)>, Error> {
    let runtime = OnnxRuntime::load(bundle.ort_lib.as_deref())?;
    let graph: PathBuf = observed.graph.to_owned();
    let options = SessionOptions { graph, provider: bundle.provider, threads: bundle.threads };
    let mut session = ProbeSession::open(&runtime, &options)?;
    let tokenizer = Tokenizer::open(&bundle.bundle.tokenizer_path(), bundle.bundle.manifest.max_length)?;
    let names: Vec<&str> = observed.outputs.iter().flat_map(|(low, high)| [low.as_str(), high.as_str()]).collect();
    let mut ranges: Vec<(Vec<f32>, Vec<f32>)> = Vec::new();
    for text in texts {
        let encodings = tokenizer.encode_all(&[(*text, 0)]).into_iter().collect::<Result<Vec<_>, _>>()?;
        let batch = assemble(&encodings.iter().collect::<Vec<_>>(), tokenizer.pad_id());
        let rows = session.run(&batch, &names)?;
        ranges.resize(observed.outputs.len(), Default::default());
        for ((lowest, highest), found) in ranges.iter_mut().zip(rows.chunks_exact(2)) {
            widen(lowest, &found[0], f32::min);
            widen(highest, &found[1], f32::max);
        }
    }
    Ok(ranges)
}

/// Takes the numbers of one text into those of all.
fn widen(all: &mut Vec<f32>, of_text: &[f32], further: fn(f32, f32) -> f32) {
    if all.is_empty() {
        all.extend_from_slice(of_text);
    }
    for (all, one) in all.iter_mut().zip(of_text) {
        *all = further(*all, *one);
    }
}

#[cfg(test)]
mod tests {
    use super::widen;

    #[test]
    fn ranges_only_grow() {
        let (mut low, mut high) = (Vec::new(), Vec::new());
        for text in [[1.0, -2.0], [0.5, -1.0], [3.0, -4.0]] {
            widen(&mut low, &text, f32::min);
            widen(&mut high, &text, f32::max);
        }
        assert_eq!((low, high), (vec![0.5, -4.0], vec![3.0, -1.0]));
    }
}
