//! `--memory`: what a session on the CPU provider keeps between two batches. Owns the presets and their meaning.
//! Invariant: none of them changes a bit of any vector.

use std::fmt;
use std::str::FromStr;

use super::error::Error;

/// What a session keeps, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryPreset {
    /// Nothing: each intermediate result is asked of the system when it is needed and given back when it is not, and
    /// weights stay in a file from which the system reads them. Measured on MiniLM with batches of 4,096 tokens: 59 MiB
    /// of anonymous memory instead of 358.
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

    /// Whether weights lie in a mapped file, also those of a session that shares them with no other.
    pub(super) fn maps_weights(self) -> bool {
        self == Self::Low
    }

    /// Before a session is opened: tells the C library what is wanted of it, for the whole process. Left alone, it learns
    /// from the first large block that is given back to keep all later ones.
    pub(super) fn prepare_process(self) {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        if self == Self::Low {
            return_large_blocks();
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

/// Blocks of this many bytes go back to the system as soon as they are free.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BLOCK: libc::c_int = 1 << 20;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "only the C library itself can be told how it allocates")]
fn return_large_blocks() {
    // SAFETY: the call takes two numbers and may be made at any time.
    let status = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BLOCK) };
    if status != 1 {
        tracing::debug!("the C library keeps large blocks");
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
        let keeps =
            MemoryPreset::ALL.map(|preset| (!preset.maps_weights(), preset.keeps_arena(), preset.plans_shapes()));
        assert_eq!(keeps, [(false, false, false), (true, true, false), (true, true, true)]);
    }
}
