//! `--shard i/n`: which rows of a corpus this run takes, decided by the id alone.
//!
//! Knows neither files nor order, so that n machines with any order of the same files share the rows without a word
//! between them: each row belongs to exactly one shard.

use std::fmt;
use std::str::FromStr;

use super::error::Error;

/// Separates these hashes from every other use of an id's hash: a table keyed by another hash of the ids of one shard
/// stays as evenly filled as one of all ids.
const CONTEXT: &str = "offprint 2026 shard of a row by id";

/// One of `count` parts of a corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Shard `index` (from 1) of `count`.
    ///
    /// # Errors
    /// An index of 0 or above `count`.
    pub fn new(index: u32, count: u32) -> Result<Self, Error> {
        if index == 0 || index > count {
            return Err(Error::BadShard { shard: format!("{index}/{count}") });
        }
        Ok(Self { index, count })
    }

    /// Which shard, from 1.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Of how many.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The shard (from 1) out of `count` to which an id belongs: the first eight bytes, as a little-endian number, of
    /// the id's BLAKE3 under the key derivation context `offprint 2026 shard of a row by id`, modulo `count`, plus one.
    pub fn of_id(id: &str, count: u32) -> u32 {
        let hash = blake3::derive_key(CONTEXT, id.as_bytes());
        let first = u64::from_le_bytes(*hash.first_chunk().expect("a BLAKE3 hash has 32 bytes"));
        u32::try_from(first % u64::from(count.max(1))).expect("a remainder is below its divisor, a u32") + 1
    }

    /// Whether the row with this id belongs to this shard. A row whose id is not known goes by its `file:line`.
    pub fn holds(&self, id: &str) -> bool {
        Self::of_id(id, self.count) == self.index
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let numbers = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        let (index, count) = numbers.ok_or_else(|| Error::BadShard { shard: text.to_owned() })?;
        Self::new(index, count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_shard_is_read_as_it_is_shown() {
        for text in ["1/1", "1/4", "4/4"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        for text in ["0/4", "5/4", "1/0", "4", "a/b", "1/4/2", "-1/4", "1/99999999999"] {
            let error = text.parse::<Shard>().unwrap_err();
            assert_eq!(error.to_string(), format!("shard `{text}` is none, expected i/n with i from 1 to n"));
        }
        assert!(Shard::new(2, 1).unwrap_err().hint().unwrap().contains("1/4"));
    }

    /// The rule is a promise: another program must be able to tell where a paper went.
    #[test]
    fn the_rule_is_what_the_documentation_says() {
        let ids = ["a", "b", "paper-1", "10.1000/x"];
        for id in ids {
            let mut hasher = blake3::Hasher::new_derive_key("offprint 2026 shard of a row by id");
            hasher.update(id.as_bytes());
            let bytes = *hasher.finalize().as_bytes();
            let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            assert_eq!(u64::from(Shard::of_id(id, 7)), number % 7 + 1);
        }
        assert_eq!(ids.map(|id| Shard::of_id(id, 4)), PINNED);
    }

    const PINNED: [u32; 4] = [4, 4, 2, 2];

    #[test]
    fn shards_are_about_equal() {
        let mut counts = [0; 8];
        for row in 0..80_000 {
            counts[Shard::of_id(&format!("paper-{row}"), 8) as usize - 1] += 1;
        }
        // 10,000 expected; the standard deviation is 94.
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn every_id_is_in_exactly_one_shard(id: String, count in 1u32..50) {
            let holders = (1..=count).filter(|&index| Shard::new(index, count).unwrap().holds(&id)).count();
            prop_assert_eq!(holders, 1);
        }
    }
}
