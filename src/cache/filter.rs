//! Says quickly that a key is not in a part, so that a look-up searches one part and not all. Knows keys, no files.
//!
//! Invariant: a key that was put in is never denied; of the others, about one in a hundred is not denied either.
//!
//! A Bloom filter whose bits for a key all lie in one word (Putze, Sanders, Singler 2007, "Cache-, Hash- and
//! Space-Efficient Bloom Filters"), so that a look costs one access to memory. Words follow the order of the keys:
//! sorted look-ups walk through them.

use super::key::Key;

/// Rows for which a word of 64 bits is made: 16 bits, 2 bytes a row.
const ROWS_PER_WORD: usize = 4;
/// Bits of a word that a key sets.
const BITS: u32 = 5;

/// The keys of one part, roughly.
#[derive(Debug)]
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// A filter of `rows` keys.
    pub fn of<'a>(rows: usize, keys: impl Iterator<Item = &'a [u8; Key::BYTES]>) -> Self {
        let mut words = vec![0; rows / ROWS_PER_WORD + 1];
        for key in keys {
            let (word, bits) = place(key, words.len());
            words[word] |= bits;
        }
        Self { words }
    }

    /// Whether `key` may be among the keys; `false` is certain.
    pub fn may_hold(&self, key: &Key) -> bool {
        let (word, bits) = place(&key.0, self.words.len());
        self.words[word] & bits == bits
    }
}

/// The word of a key, by its first half, and its bits there, by its second half. Keys are hashes: both spread evenly.
fn place(key: &[u8; Key::BYTES], words: usize) -> (usize, u64) {
    let number = u128::from_be_bytes(*key);
    let (head, mut tail) = ((number >> 64) as u64, number as u64);
    let word = (u128::from(head) * words as u128) >> 64;
    let mut bits = 0;
    for _ in 0..BITS {
        bits |= 1 << (tail & 63);
        tail >>= 6;
    }
    (word as usize, bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(range: std::ops::Range<u32>) -> Vec<Key> {
        range.map(|row| Key::of_text(&row.to_string())).collect()
    }

    #[test]
    fn about_one_absent_key_in_a_hundred_is_not_denied() {
        let present = keys(0..20_000);
        let filter = Filter::of(present.len(), present.iter().map(|key| &key.0));
        assert!(present.iter().all(|key| filter.may_hold(key)));
        let wrong = keys(20_000..60_000).iter().filter(|key| filter.may_hold(key)).count();
        assert!((1..1_000).contains(&wrong), "{wrong} of 40,000");
        assert_eq!(filter.words.len() * 8 / present.len(), 2, "bytes a row");
    }

    proptest! {
        #[test]
        fn no_key_that_was_put_in_is_denied(keys in prop::collection::vec(any::<[u8; 16]>(), 0..50), other: [u8; 16]) {
            let filter = Filter::of(keys.len(), keys.iter());
            prop_assert!(keys.iter().all(|key| filter.may_hold(&Key(*key))));
            if keys.is_empty() {
                prop_assert!(!filter.may_hold(&Key(other)));
            }
        }
    }
}
