//! `--memory`: what a session on the CPU provider keeps between two batches. Owns the presets and their meaning.
//! Invariant: none of them changes a bit of any vector.

use std::fmt;
use std::str::FromStr;

use super::error::Error;

/// What a session keeps, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryPreset {
    /// Nothing: each intermediate result is asked of the system when it is needed and given back when it is not.
    Low,
    /// An arena of blocks that are used again; grows to what the largest batch needs.
    #[default]
    Balanced,
    /// The arena, and for each shape of a batch a plan of where its intermediate results lie in it.
    Fast,
}

impl MemoryPreset {
    /// Each of them, in the order in which messages list them.
    pub const ALL: [Self; 3] = [Self::Low, Self::Balanced, Self::Fast];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Balanced => "balanced",
            Self::Fast => "fast",
        }
    }

    /// Whether blocks are kept in an arena.
    pub(super) fn keeps_arena(self) -> bool {
        self != Self::Low
    }

    /// Whether a plan is kept for each shape.
    pub(super) fn plans_shapes(self) -> bool {
        self == Self::Fast
    }
}

impl fmt::Display for MemoryPreset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for MemoryPreset {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.name() == word)
            .ok_or_else(|| Error::UnknownMemory { word: word.to_owned(), known: Self::ALL.map(Self::name).join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_round_and_an_unknown_one_lists_them() {
        for preset in MemoryPreset::ALL {
            assert_eq!(preset.to_string().parse::<MemoryPreset>().unwrap(), preset);
        }
        let error = "high".parse::<MemoryPreset>().unwrap_err().to_string();
        assert_eq!(error, "unknown memory preset `high`, known are: low, balanced, fast");
    }

    #[test]
    fn each_preset_keeps_more_than_the_one_before() {
        let keeps = MemoryPreset::ALL.map(|preset| (preset.keeps_arena(), preset.plans_shapes()));
        assert_eq!(keeps, [(false, false), (true, false), (true, true)]);
    }
}
