//! Which of a graph's several adapters a text goes through, where the caller of a session does not say it row by row.
//! Knows ids and places in the bundle's list, no names. Invariant: a text gets the same adapter in any batch.

use std::borrow::Cow;

use super::Batch;
use super::error::Error;

/// How a session finds the adapter of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdapterChoice {
    /// By [`Batch::adapters`]. Also that of a graph in which there is nothing to choose.
    #[default]
    ByRow,
    /// All texts go through the one at this place of the bundle's list.
    Fixed(usize),
    /// Each text goes through one of so many, drawn by its token ids: so every batch mixes them, and a text has the same
    /// one wherever it stands. For checks, whose texts don't ask for any.
    Spread(usize),
}

impl AdapterChoice {
    /// The adapter of each row of `batch`; empty for [`AdapterChoice::ByRow`] where the batch says nothing.
    pub(super) fn of_rows(self, batch: &Batch) -> Cow<'_, [i64]> {
        match self {
            Self::ByRow => Cow::Borrowed(&batch.adapters),
            Self::Fixed(place) => vec![place as i64; batch.rows].into(),
            Self::Spread(count) => (0..batch.rows).map(|row| drawn(batch, row, count)).collect(),
        }
    }
}

/// FNV-1a over the row's ids without padding (Fowler, Noll, Vo), its upper half modulo `count`.
fn drawn(batch: &Batch, row: usize, count: usize) -> i64 {
    let span = row * batch.columns..(row + 1) * batch.columns;
    let tokens = batch.ids[span.clone()].iter().zip(&batch.mask[span]).filter(|(_, mask)| **mask != 0);
    let bytes = tokens.flat_map(|(id, _)| id.to_le_bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    ((hash >> 32) % count.max(1) as u64) as i64
}

/// Refuses rows without an adapter where the graph takes one, and adapters where it takes none.
pub(super) fn check(adapters: &[i64], rows: usize, takes: bool) -> Result<(), Error> {
    let expected = if takes { rows } else { 0 };
    if adapters.len() == expected {
        return Ok(());
    }
    Err(Error::BatchAdapters { rows, got: adapters.len(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_drawn_the_same_adapter_in_any_batch_and_all_are_drawn() {
        let alone = |id: i64| {
            let batch = Batch { ids: vec![2, id, 3], mask: vec![1; 3], rows: 1, columns: 3, adapters: vec![] };
            AdapterChoice::Spread(4).of_rows(&batch)[0]
        };
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for id in 0..64 {
            ids.extend([2, id, 3, 9, 9]);
            mask.extend([1, 1, 1, 0, 0]);
        }
        let batch = Batch { ids, mask, rows: 64, columns: 5, adapters: vec![] };
        let together = AdapterChoice::Spread(4).of_rows(&batch).into_owned();
        assert_eq!(together, (0..64).map(alone).collect::<Vec<_>>());
        for place in 0..4 {
            let count = together.iter().filter(|drawn| **drawn == place).count();
            assert!(count > 6, "adapter {place} has {count} of 64 texts");
        }
        assert_eq!(AdapterChoice::Fixed(2).of_rows(&batch), vec![2; 64]);
        assert!(AdapterChoice::ByRow.of_rows(&batch).is_empty());
    }

    #[test]
    fn rows_and_adapters_must_match() {
        assert!(check(&[0, 1], 2, true).is_ok() && check(&[], 2, false).is_ok() && check(&[], 0, true).is_ok());
        let message = |adapters: &[i64], takes| check(adapters, 2, takes).unwrap_err().to_string();
        assert_eq!(message(&[], true), "a batch of 2 rows names 0 adapters, the graph takes 2");
        assert_eq!(message(&[0, 1], false), "a batch of 2 rows names 2 adapters, the graph takes 0");
    }
}
