//! Which ids were seen before, in which group of rows and with which text, at a stated price per row.
//!
//! Keeps 96 bits of the id's BLAKE3 and the caller's 64-bit text hash: 20 bytes, and a control byte, in tables that are
//! at least 7/16 full, so at most 48 bytes per row. The tables are many and grow one at a time, so growing needs no
//! second copy of the whole. Two ids out of 10 million share 96 bits with a probability of 10⁻¹⁵.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

const TABLES: usize = 64;

/// What [`Duplicates::check`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicate {
    /// The id was not seen before; it is remembered with this text.
    New,
    /// The id was seen with the same text.
    SameText,
    /// The id was first seen with another text, which stays the remembered one.
    OtherText,
}

/// The ids seen so far.
#[derive(Debug)]
pub struct Duplicates {
    tables: Vec<Table>,
}

type Table = HashMap<IdHash, [u8; 8], BuildHasherDefault<FirstBytes>>;

/// 96 bits without alignment, so that an entry is 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct IdHash([u8; 12]);

/// The id's hash is uniform already: its first bytes serve as they are.
#[derive(Debug, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length_prefix: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Duplicates {
    fn default() -> Self {
        Self { tables: (0..TABLES).map(|_| Table::default()).collect() }
    }
}

impl Duplicates {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `id` was seen before among the rows of this group, and with this text; `text_hash` is any 64-bit hash of the
    /// rendered text. Groups have ids of their own: the same id in another one is another row.
    pub fn check(&mut self, id: &str, group: u8, text_hash: u64) -> Duplicate {
        let hash = blake3::Hasher::new().update(id.as_bytes()).update(&[group]).finalize();
        let bytes = hash.as_bytes();
        let mut key = [0; 12];
        key.copy_from_slice(&bytes[..12]);
        let text = text_hash.to_le_bytes();
        match self.tables[usize::from(bytes[12]) % TABLES].entry(IdHash(key)) {
            Entry::Vacant(place) => {
                place.insert(text);
                Duplicate::New
            }
            Entry::Occupied(seen) if *seen.get() == text => Duplicate::SameText,
            Entry::Occupied(_) => Duplicate::OtherText,
        }
    }

    /// Distinct ids seen.
    pub fn len(&self) -> usize {
        self.tables.iter().map(HashMap::len).sum()
    }

    /// Whether no id was seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_text_of_an_id_is_the_one_that_counts() {
        let mut seen = Duplicates::new();
        assert!(seen.is_empty());
        let verdicts = [("a", 1), ("b", 1), ("a", 1), ("a", 2), ("a", 1), ("b", 3), ("", 0), ("", 0)]
            .map(|(id, text)| seen.check(id, 0, text));
        use Duplicate::{New, OtherText, SameText};
        assert_eq!(verdicts, [New, New, SameText, OtherText, SameText, OtherText, New, SameText]);
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn each_group_has_ids_of_its_own() {
        let mut seen = Duplicates::new();
        let rows = [("a", 0, 1), ("a", 1, 1), ("a", 0, 2), ("a", 1, 1), ("b", 1, 1), ("a", 2, 3)];
        use Duplicate::{New, OtherText, SameText};
        let verdicts = rows.map(|(id, group, text)| seen.check(id, group, text));
        assert_eq!(verdicts, [New, New, OtherText, SameText, New, New]);
    }

    /// The worst moment is right after a table has grown; `capacity` is 7/8 of the places that a table has.
    #[test]
    fn a_row_costs_at_most_48_bytes() {
        assert_eq!(size_of::<(IdHash, [u8; 8])>(), 20);
        let mut seen = Duplicates::new();
        for row in 0..60_000u64 {
            seen.check(&row.to_string(), 0, row);
            if row > 10_000 && row.is_multiple_of(500) {
                let places: usize = seen.tables.iter().map(|table| table.capacity() * 8 / 7).sum();
                let bytes = places * 21;
                assert!(bytes <= 48 * seen.len(), "{bytes} bytes for {} rows", seen.len());
            }
        }
    }
}
