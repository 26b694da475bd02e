//! A runner without a model, for tests, benches and measurements of everything around the session.
//!
//! Knows nothing of ONNX Runtime. Invariant: a row depends on its own unpadded ids alone, so that any batching, order
//! or padding of the same texts gives the same embeddings to the bit, and different ids give different ones.

use std::ops::Range;

use super::error::Error;
use super::session::check_finite;
use super::{Batch, EmbeddingMatrix, RunBatch};

/// What a stub session is told to fail at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StubFault {
    /// The batch of this number, counted from 0; those before and after it are run.
    Batch(u64),
    /// All batches from this number on.
    From(u64),
    /// Batches that hold this token id.
    Token(i64),
    /// Rows that hold this token id: they come out as NaN.
    NanToken(i64),
    /// Batches of more padded tokens than these, for want of memory.
    Memory(usize),
}

/// Gives each row a pseudo-random unit vector that is a pure function of the row's unpadded ids, and of its adapter
/// where the batch names one.
#[derive(Debug, Clone)]
pub struct StubSession {
    dim: usize,
    faults: Vec<StubFault>,
    batches: u64,
}

impl StubSession {
    /// A stub whose embeddings have `dim` values.
    pub fn new(dim: usize) -> Self {
        Self { dim, faults: Vec::new(), batches: 0 }
    }

    /// Makes it fail at something, also.
    pub fn failing(mut self, fault: StubFault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Batches run so far, failed ones included.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Fails where it was told to; gives the tokens whose rows come out as NaN.
    fn fail(&self, batch: &Batch, number: u64) -> Result<Vec<i64>, Error> {
        let mut spoilt = Vec::new();
        let tokens = batch.rows * batch.columns;
        for &fault in &self.faults {
            match fault {
                StubFault::Batch(at) if at == number => return Err(Error::StubFailure { batch: number }),
                StubFault::From(first) if first <= number => return Err(Error::StubFailure { batch: number }),
                StubFault::Token(id) if unpadded(batch, 0..batch.rows).any(|own| own == id) => {
                    return Err(Error::StubToken { id });
                }
                StubFault::Memory(room) if tokens > room => return Err(Error::StubMemory { tokens, room }),
                StubFault::NanToken(id) => spoilt.push(id),
                _ => {}
            }
        }
        Ok(spoilt)
    }
}

/// The ids of some rows, without padding.
fn unpadded(batch: &Batch, rows: Range<usize>) -> impl Iterator<Item = i64> {
    let span = rows.start * batch.columns..rows.end * batch.columns;
    batch.ids[span.clone()].iter().zip(&batch.mask[span]).filter(|(_, mask)| **mask != 0).map(|(&id, _)| id)
}

impl RunBatch for StubSession {
    fn run(&mut self, batch: &Batch) -> Result<EmbeddingMatrix, Error> {
        batch.check()?;
        let number = self.batches;
        self.batches += 1;
        let spoilt = self.fail(batch, number)?;
        let mut data = Vec::with_capacity(batch.rows * self.dim);
        for row in 0..batch.rows {
            let ids = || unpadded(batch, row..row + 1);
            if ids().any(|id| spoilt.contains(&id)) {
                data.resize(data.len() + self.dim, f32::NAN);
                continue;
            }
            let start = batch.adapters.get(row).map_or(0, |&adapter| mix(!(adapter as u64)));
            push_unit_vector(ids().fold(start, |state, id| mix(state ^ id as u64)), self.dim, &mut data);
        }
        check_finite(&data, [batch.rows, self.dim], "stub")?;
        Ok(EmbeddingMatrix { rows: batch.rows, dim: self.dim, data })
    }
}

/// Appends `dim` values of norm 1 drawn from `seed`.
fn push_unit_vector(seed: u64, dim: usize, data: &mut Vec<f32>) {
    let start = data.len();
    let mut state = seed;
    for _ in 0..dim {
        state = mix(state);
        data.push((state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0);
    }
    let norm = data[start..].iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { (1.0 / norm) as f32 } else { 0.0 };
    data[start..].iter_mut().for_each(|value| *value *= scale);
}

/// One step of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(rows: &[&[i64]], columns: usize) -> Batch {
        let pad = |value: i64, row: &&[i64]| vec![value; columns - row.len()];
        let ids = rows.iter().flat_map(|row| [row.to_vec(), pad(7, row)].concat()).collect();
        let mask = rows.iter().flat_map(|row| [vec![1; row.len()], pad(0, row)].concat()).collect();
        Batch { ids, mask, rows: rows.len(), columns, adapters: Vec::new() }
    }

    #[test]
    fn a_row_depends_on_its_unpadded_ids_alone() {
        let mut stub = StubSession::new(16);
        let alone = stub.run(&batch(&[&[101, 5, 102]], 3)).unwrap();
        let padded = stub.run(&batch(&[&[101, 6], &[101, 5, 102]], 9)).unwrap();
        assert_eq!(alone.row(0), padded.row(1));
        assert_ne!(padded.row(0), padded.row(1));
        let norm: f64 = alone.data.iter().map(|value| f64::from(*value).powi(2)).sum();
        assert!((norm - 1.0).abs() < 1e-6, "{norm}");
    }

    #[test]
    fn adapters_give_vectors_of_their_own() {
        let same = batch(&[&[101, 5], &[101, 5], &[101, 5]], 2);
        let mut stub = StubSession::new(8);
        let plain = stub.run(&same).unwrap();
        let mixed = stub.run(&Batch { adapters: vec![0, 1, 0], ..same.clone() }).unwrap();
        assert_eq!(mixed.row(0), mixed.row(2));
        assert_ne!(mixed.row(0), mixed.row(1));
        assert_ne!(mixed.row(0), plain.row(0));
        let error = stub.run(&Batch { adapters: vec![0, 1], ..same }).unwrap_err().to_string();
        assert_eq!(error, "a batch of 3 rows names 2 adapters, the graph takes 3");
    }

    #[test]
    fn the_batch_that_shall_fail_fails_and_no_other() {
        let mut stub = StubSession::new(4).failing(StubFault::Batch(1)).failing(StubFault::From(3));
        let one = batch(&[&[1]], 1);
        assert!(stub.run(&one).is_ok());
        assert_eq!(stub.run(&one).unwrap_err().to_string(), "the stub session fails at batch 1, as asked");
        assert!(stub.run(&one).is_ok());
        assert_eq!(stub.run(&one).unwrap_err().to_string(), "the stub session fails at batch 3, as asked");
        assert!(stub.run(&one).is_err());
        assert_eq!(stub.batches(), 5);
    }

    #[test]
    fn texts_that_shall_fail_fail_by_their_tokens_and_not_by_their_padding() {
        let mixed = batch(&[&[101, 5, 102], &[101, 6]], 4);
        let run = |fault: StubFault| StubSession::new(4).failing(fault).run(&mixed).map_err(|error| error.to_string());
        assert_eq!(run(StubFault::Token(6)).unwrap_err(), "the stub session fails on token 6, as asked");
        assert_eq!(
            run(StubFault::NanToken(6)).unwrap_err(),
            "output `stub` holds NaN at row 1, column 0 of a batch of 2: expected finite numbers"
        );
        assert_eq!(run(StubFault::Memory(7)).unwrap_err(), "the stub session has memory for 7 padded tokens, got 8");
        for harmless in [StubFault::Token(7), StubFault::NanToken(7), StubFault::Memory(8)] {
            assert!(run(harmless).is_ok(), "{harmless:?}: 7 is what pads");
        }
    }

    #[test]
    fn a_batch_that_does_not_fit_its_shape_is_refused() {
        let mut stub = StubSession::new(4);
        let wrong = Batch { ids: vec![1, 2, 3], mask: vec![1, 1, 1, 1], rows: 2, columns: 2, adapters: vec![] };
        let message = stub.run(&wrong).unwrap_err().to_string();
        assert!(message.starts_with("a batch of 2 rows × 2 columns came with 3 ids and 4 mask values"), "{message}");
        let hollow = Batch { ids: vec![], mask: vec![], rows: 2, columns: 0, adapters: vec![] };
        assert!(stub.run(&hollow).is_err());
        let none = Batch { ids: vec![], mask: vec![], rows: 0, columns: 0, adapters: vec![] };
        assert_eq!(stub.run(&none).unwrap().data, Vec::<f32>::new());
    }
}
