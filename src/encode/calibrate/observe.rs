//! Runs a graph that shows what stands before its matrices, and keeps the lowest and the highest number of each channel and
//! their mean. One text at a time: rows of padding would be counted, too, and memory is that of one text.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::encode::{BundleEncoder, Tokenizer, assemble};
use crate::runtime::{OnnxRuntime, ProbeSession, ProviderChoice, SessionOptions};

/// The outputs that show what stands before a matrix, each with a number for each channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The lowest numbers.
    pub lowest: String,
    /// The highest.
    pub highest: String,
    /// Their means over the rows of a text.
    pub mean: String,
    /// Whether there is a row for each token; else the mean is that of one row.
    pub per_token: bool,
}

/// What was seen before a matrix, a number for each channel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The lowest numbers.
    pub lowest: Vec<f32>,
    /// The highest.
    pub highest: Vec<f32>,
    /// Their means over all rows of all texts.
    pub mean: Vec<f32>,
}

/// What is seen of each of `watched` while `graph` runs on all texts, on the CPU provider. `bundle` has the tokenizer and says what the graph is
/// run with.
///
/// # Errors
/// A graph or tokenizer that cannot be opened or run, and numbers that aren't finite.
pub fn observe(bundle: &BundleEncoder, graph: &Path, watched: &[Watched], texts: &[&str]) -> Result<Vec<Seen>, Error> {
    let runtime = OnnxRuntime::load(bundle.ort_lib.as_deref())?;
    let options =
        SessionOptions { graph: graph.to_owned(), provider: ProviderChoice::Cpu.into(), threads: bundle.threads };
    let mut session = ProbeSession::open(&runtime, &options)?;
    let tokenizer = Tokenizer::open(&bundle.bundle.tokenizer_path(), bundle.bundle.manifest.max_length)?;
    let names = |watched: &Watched| [watched.lowest.clone(), watched.highest.clone(), watched.mean.clone()];
    let names: Vec<String> = watched.iter().flat_map(names).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut sums: Vec<Sums> = watched.iter().map(|_| Sums::default()).collect();
    for text in texts {
        let encodings = tokenizer.encode_all(&[(*text, 0)]).into_iter().collect::<Result<Vec<_>, _>>()?;
        let batch = assemble(&encodings.iter().collect::<Vec<_>>(), tokenizer.pad_id());
        let found = session.run(&batch, &names)?;
        for ((sums, found), watched) in sums.iter_mut().zip(found.chunks_exact(3)).zip(watched) {
            sums.take(found, if watched.per_token { batch.columns } else { 1 });
        }
    }
    Ok(sums.into_iter().map(Sums::finish).collect())
}

/// What was seen so far.
#[derive(Default)]
struct Sums {
    lowest: Vec<f32>,
    highest: Vec<f32>,
    sum: Vec<f64>,
    rows: f64,
}

impl Sums {
    /// Takes the lowest, the highest and the mean numbers of so many rows.
    fn take(&mut self, found: &[Vec<f32>], rows: usize) {
        let channels = found[0].len();
        self.lowest.resize(channels, f32::INFINITY);
        self.highest.resize(channels, f32::NEG_INFINITY);
        self.sum.resize(channels, 0.0);
        self.lowest.iter_mut().zip(&found[0]).for_each(|(all, one)| *all = all.min(*one));
        self.highest.iter_mut().zip(&found[1]).for_each(|(all, one)| *all = all.max(*one));
        self.sum.iter_mut().zip(&found[2]).for_each(|(all, one)| *all += f64::from(*one) * rows as f64);
        self.rows += rows as f64;
    }

    fn finish(self) -> Seen {
        let mean = self.sum.iter().map(|sum| (sum / self.rows) as f32).collect();
        Seen { lowest: self.lowest, highest: self.highest, mean }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_only_grow_and_each_row_counts_once_in_the_mean() {
        let mut sums = Sums::default();
        for (low, rows) in [([1.0, -2.0], 1), ([0.5, -1.0], 3)] {
            let found = [low.to_vec(), low.iter().map(|low| low + 4.0).collect(), low.to_vec()];
            sums.take(&found, rows);
        }
        let seen = sums.finish();
        assert_eq!((seen.lowest, seen.highest), (vec![0.5, -2.0], vec![5.0, 3.0]));
        assert_eq!(seen.mean, [0.625, -1.25]);
    }
}
