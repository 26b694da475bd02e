//! What a row is found by, and what is kept beside its floats. Knows nothing of files.
//!
//! A key hashes the text that the tokenizer saw, after the template: two papers with the same text share a row.

use std::fmt;

/// The first 16 bytes of the BLAKE3 of a rendered text. Orders like its bytes, as parts do.
///
/// At 10⁹ texts the chance of any collision is about 10⁻²¹.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; Key::BYTES]);

impl Key {
    /// Length of a key.
    pub const BYTES: usize = 16;

    /// The key of a text as the tokenizer gets it.
    pub fn of_text(rendered: &str) -> Self {
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(&blake3::hash(rendered.as_bytes()).as_bytes()[..Self::BYTES]);
        Self(bytes)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What the account needs to know of a text without tokenizing it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowMeta {
    /// Token ids that the encoder read, special ones included.
    pub n_tokens: u32,
    /// Tokens lost by truncation.
    pub n_dropped: u32,
    /// Whether truncation reached into the title.
    pub title_cut: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_head_of_the_published_hash_of_the_text() {
        // First 16 bytes of BLAKE3("") as its specification gives them: a change here is a change of CACHE_FORMAT.
        assert_eq!(Key::of_text("").to_string(), "af1349b9f5f9a1a6a0404dea36dcc949");
        assert_ne!(Key::of_text("a"), Key::of_text("a "));
    }
}
