//! Ready batches, and the bare loop that runs them: what a pipeline could reach at most. Knows nothing of where texts
//! come from. Invariant: every batch is run once in a pass, on whichever session is free.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Error;
use super::grid::{Batching, Shape};
use super::machine::{Machine, SharedSession};
use crate::encode::{Encoding, TokenBudget, assemble_within, padding_share, plan};
use crate::graph::CostLaw;
use crate::runtime::{Batch, EmbeddingMatrix, ProviderChoice, RunBatch, work_seconds};

/// The least number of batches of one shape that are run in a pass.
const LEAST_FIXED: usize = 4;
/// Rows of batches of one shape whose vectors are compared, at most: the CPU provider has to run them, too, whatever the
/// shape is made for.
const COMPARED_FIXED: usize = 64;

/// What one pass over all batches computes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Texts.
    pub texts: u64,
    /// Batches.
    pub batches: u64,
    /// Different shapes of batches.
    pub shapes: u64,
    /// Tokens, padding included.
    pub padded_tokens: u64,
    /// Tokens that belong to texts.
    pub useful_tokens: u64,
    /// Floating-point operations of products, padding included; absent where the graph's cost could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padded_flops: Option<f64>,
    /// Those that texts without padding would take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub useful_flops: Option<f64>,
}

impl Work {
    /// The share of the computed tokens that is padding, 0 to 1.
    pub fn padding_share(&self) -> f64 {
        padding_share(self.padded_tokens, self.useful_tokens)
    }
}

/// Batches, with the texts in each.
pub(super) struct Ready {
    pub batches: Vec<Batch>,
    /// The places of the vectors of each batch among all; of batches of one shape the first rows alone have some.
    texts: Vec<Vec<usize>>,
    pub work: Work,
}

impl Ready {
    /// The batches that `encodings` become for an encoder of that pad id and maximum length, on that provider.
    pub(super) fn of(
        encodings: &[Encoding],
        batching: Batching,
        (pad_id, max_length, provider): (u32, usize, ProviderChoice),
        law: Option<&CostLaw>,
    ) -> Result<Self, Error> {
        match batching {
            Batching::Tokens(tokens) => {
                Self::planned(encodings, TokenBudget::new(tokens, max_length)?.on(provider), pad_id, law)
            }
            Batching::Fixed(shape) => Self::fixed(encodings, shape, law),
        }
    }

    fn planned(encodings: &[Encoding], budget: TokenBudget, pad_id: u32, law: Option<&CostLaw>) -> Result<Self, Error> {
        if encodings.is_empty() {
            return Err(Error::NoTexts);
        }
        let lengths: Vec<usize> = encodings.iter().map(|encoding| encoding.ids.len()).collect();
        let texts = plan(&lengths, budget).batches;
        let ready = |places: &Vec<usize>| {
            assemble_within(budget, &places.iter().map(|&at| &encodings[at]).collect::<Vec<_>>(), pad_id)
        };
        let batches: Vec<Batch> = texts.iter().map(ready).collect();
        let work = work(&batches, &lengths, law);
        Ok(Self { batches, texts, work })
    }

    /// Batches of one shape, filled with the tokens of the texts one behind the other, around and around.
    fn fixed(encodings: &[Encoding], shape: Shape, law: Option<&CostLaw>) -> Result<Self, Error> {
        let ids: Vec<i64> = encodings.iter().flat_map(|encoding| &encoding.ids).map(|&id| i64::from(id)).collect();
        if ids.is_empty() {
            return Err(Error::NoTexts);
        }
        let tokens = shape.rows * shape.tokens;
        let mut endless = ids.iter().copied().cycle();
        let batch = |_| Batch {
            ids: endless.by_ref().take(tokens).collect(),
            mask: vec![1; tokens],
            rows: shape.rows,
            columns: shape.tokens,
            adapters: Vec::new(),
        };
        let batches: Vec<Batch> = (0..ids.len().div_ceil(tokens).max(LEAST_FIXED)).map(batch).collect();
        let lengths = vec![shape.tokens; batches.len() * shape.rows];
        let work = work(&batches, &lengths, law);
        let compared: Vec<usize> = (0..lengths.len().min(COMPARED_FIXED)).collect();
        let texts = compared.chunks(shape.rows).map(<[usize]>::to_vec).collect();
        Ok(Self { batches, texts, work })
    }

    /// Those whose vectors are compared, each row in a batch of its own: a card's batch may be more than a processor's
    /// memory holds, and our graphs give a row the same bits in any batch there. Only for batches without padding.
    pub(super) fn row_by_row(self) -> Self {
        let compared = self.batches.iter().zip(&self.texts);
        let row = |batch: &Batch, row: usize| {
            let of_row = row * batch.columns..(row + 1) * batch.columns;
            let (ids, mask) = (batch.ids[of_row.clone()].to_vec(), batch.mask[of_row].to_vec());
            Batch { ids, mask, rows: 1, columns: batch.columns, adapters: Vec::new() }
        };
        let batches: Vec<Batch> =
            compared.flat_map(|(batch, places)| (0..places.len()).map(move |place| row(batch, place))).collect();
        let texts = (0..batches.len()).map(|place| vec![place]).collect();
        Self { batches, texts, work: self.work }
    }

    /// The vectors of the texts, in the order of the texts; of batches of one shape those of their first rows.
    pub(super) fn vectors(&self, machine: &Machine) -> Result<EmbeddingMatrix, Error> {
        let rows = self.texts.iter().map(Vec::len).sum();
        let mut vectors: Vec<Vec<f32>> = vec![Vec::new(); rows];
        let mut session = machine.sessions[0].clone();
        for (batch, places) in self.batches.iter().zip(&self.texts) {
            let matrix = session.run(batch)?;
            for (row, &place) in places.iter().enumerate().take(matrix.rows) {
                vectors[place] = matrix.row(row).to_vec();
            }
        }
        let dim = vectors.first().map_or(0, Vec::len);
        Ok(EmbeddingMatrix { rows, dim, data: vectors.concat() })
    }

    /// Every so many-th batch, at most `most`: what warms up, the same in each window.
    pub(super) fn some(&self, most: usize) -> Vec<&Batch> {
        let step = self.batches.len().div_ceil(most.max(1)).max(1);
        self.batches.iter().step_by(step).collect()
    }
}

fn work(batches: &[Batch], lengths: &[usize], law: Option<&CostLaw>) -> Work {
    let tokens = |batch: &Batch| (batch.rows * batch.columns) as u64;
    let flops = |batch: &Batch| Some(law?.flops(batch.columns as u64) as f64 * batch.rows as f64);
    let shapes: HashSet<(usize, usize)> = batches.iter().map(|batch| (batch.rows, batch.columns)).collect();
    Work {
        texts: lengths.len() as u64,
        batches: batches.len() as u64,
        shapes: shapes.len() as u64,
        padded_tokens: batches.iter().map(tokens).sum(),
        useful_tokens: lengths.iter().map(|&length| length as u64).sum(),
        padded_flops: batches.iter().map(flops).sum(),
        useful_flops: lengths.iter().map(|&length| Some(law?.flops(length as u64) as f64)).sum(),
    }
}

/// One pass of the bare loop.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Pass {
    /// Wall time in seconds.
    pub seconds: f64,
    /// Processor time of the process in seconds.
    pub cpu_seconds: f64,
    /// Milliseconds of each batch, in ascending order.
    pub latencies: Vec<f64>,
}

/// Runs every batch once, on all sessions side by side.
pub(super) fn run_all(batches: &[&Batch], sessions: &[SharedSession]) -> Result<Pass, Error> {
    let next = AtomicUsize::new(0);
    let latencies = Mutex::new(Vec::with_capacity(batches.len()));
    let (started, work) = (Instant::now(), work_seconds());
    let run = &|mut session: SharedSession| -> Result<(), Error> {
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            let started = Instant::now();
            std::hint::black_box(session.run(batch)?);
            let milliseconds = started.elapsed().as_secs_f64() * 1e3;
            latencies.lock().unwrap_or_else(PoisonError::into_inner).push(milliseconds);
        }
        Ok(())
    };
    match sessions {
        [only] => run(only.clone())?,
        several => std::thread::scope(|scope| {
            let threads: Vec<_> = several.iter().map(|session| scope.spawn(move || run(session.clone()))).collect();
            let ended = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            ended.collect::<Result<Vec<()>, Error>>()
        })
        .map(drop)?,
    }
    let (seconds, cpu_seconds) = (started.elapsed().as_secs_f64(), work_seconds() - work);
    let mut latencies = latencies.into_inner().unwrap_or_else(PoisonError::into_inner);
    latencies.sort_unstable_by(f64::total_cmp);
    Ok(Pass { seconds, cpu_seconds, latencies })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{StubEncoder, assemble};

    const STUB: StubEncoder = StubEncoder { dim: 4, max_length: 32 };

    fn encodings(lengths: &[usize]) -> Vec<Encoding> {
        let ids = |(n, &length): (usize, &usize)| (0..length).map(|at| (n * 100 + at) as u32).collect();
        let encoding = |ids| Encoding { ids, n_dropped: 0, title_cut: false };
        lengths.iter().enumerate().map(ids).map(encoding).collect()
    }

    /// 10 FLOPs a token, and 1 for each pair of them.
    const LAW: CostLaw = CostLaw {
        linear_per_token: 10,
        linear_per_text: 0,
        attention_per_pair: 1,
        attention_per_token: 0,
        attention_per_text: 0,
    };

    #[test]
    fn the_work_of_a_pass_is_counted_with_and_without_padding() {
        let ready =
            Ready::of(&encodings(&[3, 4, 32]), Batching::Tokens(32), (0, 32, ProviderChoice::Cpu), Some(&LAW)).unwrap();
        let work = &ready.work;
        assert_eq!((work.texts, work.batches, work.shapes), (3, 2, 2));
        assert_eq!((work.padded_tokens, work.useful_tokens), (32 + 8, 39));
        assert_eq!(work.padded_flops, Some((32 * 42 + 2 * 4 * 14) as f64));
        assert_eq!(work.useful_flops, Some((32 * 42 + 4 * 14 + 3 * 13) as f64));
        assert_eq!(work.padding_share(), 1.0 / 40.0);
        let on_card =
            Ready::of(&encodings(&[3, 4, 32]), Batching::Tokens(32), (0, 32, ProviderChoice::Cuda), None).unwrap();
        assert_eq!((on_card.work.padded_tokens, on_card.work.useful_tokens), (32 + 16, 39), "widths go by steps there");
        let unknown =
            Ready::of(&encodings(&[3]), Batching::Tokens(32), (0, 32, ProviderChoice::Cpu), None).unwrap().work;
        assert_eq!((unknown.padded_flops, unknown.useful_flops), (None, None));
        let none = Ready::of(&[], Batching::Tokens(32), (0, 32, ProviderChoice::Cpu), None).err().unwrap();
        assert_eq!(none.to_string(), "there is no text to measure with");
    }

    #[test]
    fn batches_of_one_shape_have_no_padding_and_repeat_short_corpora() {
        let shape = Batching::Fixed(Shape { rows: 2, tokens: 5 });
        let ready = Ready::of(&encodings(&[3, 4]), shape, (0, 32, ProviderChoice::Cpu), Some(&LAW)).unwrap();
        assert_eq!(ready.batches.len(), LEAST_FIXED);
        assert!(ready.batches.iter().all(|batch| batch.ids.len() == 10 && batch.mask == [1; 10]));
        assert_eq!(ready.batches[0].ids, [0, 1, 2, 100, 101, 102, 103, 0, 1, 2]);
        let work = &ready.work;
        assert_eq!((work.texts, work.batches, work.shapes), (8, 4, 1));
        assert_eq!((work.padded_tokens, work.useful_tokens, work.padding_share()), (40, 40, 0.0));
        assert_eq!((work.padded_flops, work.useful_flops), (Some(8.0 * 75.0), Some(8.0 * 75.0)));
    }

    #[test]
    fn of_batches_of_one_shape_the_first_rows_have_vectors_which_are_the_same_row_by_row() {
        let machine = Machine::open(&STUB).unwrap();
        for (rows, tokens, compared) in [(2, 5, 8), (48, 5, 64), (100, 3, 64), (1, 5, 4)] {
            let shape = Batching::Fixed(Shape { rows, tokens });
            let ready = Ready::of(&encodings(&[3, 4]), shape, (0, 32, ProviderChoice::Cpu), None).unwrap();
            let together = ready.vectors(&machine).unwrap();
            assert_eq!((together.rows, together.dim), (compared, 4), "{rows} x {tokens}");
            let one = machine.sessions[0].clone().run(&ready.batches[0]).unwrap();
            assert_eq!(together.row(0), one.row(0));
            let alone = ready.row_by_row();
            assert!(alone.batches.iter().all(|batch| (batch.rows, batch.columns) == (1, tokens)));
            assert_eq!(alone.vectors(&machine).unwrap(), together);
        }
    }

    #[test]
    fn a_pass_runs_every_batch_on_any_number_of_sessions() {
        let ready = Ready::of(&encodings(&[9; 40]), Batching::Tokens(32), (0, 32, ProviderChoice::Cpu), None).unwrap();
        let all: Vec<&Batch> = ready.batches.iter().collect();
        let machine = Machine::open(&STUB).unwrap();
        for sessions in [1, 3] {
            let sessions = vec![machine.sessions[0].clone(); sessions];
            let pass = run_all(&all, &sessions).unwrap();
            assert_eq!(pass.latencies.len(), all.len());
            assert!(pass.latencies.is_sorted() && pass.seconds > 0.0 && pass.cpu_seconds >= 0.0);
        }
        assert_eq!((ready.some(4).len(), ready.some(1_000).len(), ready.some(0).len()), (4, all.len(), 1));
    }

    #[test]
    fn vectors_come_in_the_order_of_the_texts() {
        let machine = Machine::open(&STUB).unwrap();
        let texts: Vec<String> = (0..9).map(|n| format!("{n} {}", "ice ".repeat(n))).collect();
        let encodings = machine.encode(&texts).unwrap();
        let law = None;
        let ready =
            Ready::of(&encodings, Batching::Tokens(32), (machine.pad_id(), 32, ProviderChoice::Cpu), law).unwrap();
        let together = ready.vectors(&machine).unwrap();
        for (row, encoding) in encodings.iter().enumerate() {
            let alone = machine.sessions[0].clone().run(&assemble(&[encoding], 0)).unwrap();
            assert_eq!(alone.row(0), together.row(row));
        }
    }
}
