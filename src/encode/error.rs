//! What can go wrong between a text and its embedding, with the way out where it is known.

use std::path::PathBuf;

/// The `tokenizers` library's own error.
type TokenizersError = Box<dyn std::error::Error + Send + Sync>;

/// An error of the encode room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `tokenizer.json` could not be read or understood.
    #[error("`{}` could not be opened as a tokenizer", path.display())]
    TokenizerUnreadable {
        /// The file.
        path: PathBuf,
        /// What was wrong with it.
        #[source]
        source: TokenizersError,
    },
    /// The tokenizer puts the text nowhere, or more than once, between its special tokens.
    #[error("the tokenizer `{}` puts a text {times} times between its special tokens, expected once", path.display())]
    TokenizerTemplate {
        /// The file.
        path: PathBuf,
        /// How often.
        times: usize,
    },
    /// The max length leaves no room for text.
    #[error("max length {max_length} leaves no room for text beside the tokenizer's {special} special tokens")]
    MaxLengthTooShort {
        /// As asked.
        max_length: usize,
        /// Tokens that the tokenizer adds to each text.
        special: usize,
    },
    /// The tokenizer failed on a text.
    #[error("a text of {bytes} bytes could not be tokenized")]
    Tokenize {
        /// Length of the text.
        bytes: usize,
        /// What the tokenizer said.
        #[source]
        source: TokenizersError,
    },
    /// A title that ends inside a character or beyond the text.
    #[error(
        "a title ends at byte {title_end} of a text of {bytes} bytes, which is no place between two characters; this is a bug in offprint, please report it with the lines above"
    )]
    TitleEnd {
        /// As given.
        title_end: usize,
        /// Length of the text.
        bytes: usize,
    },
    /// A budget that the longest possible text does not fit.
    #[error(
        "`--max-batch-tokens {budget}` is below the longest input (max length {max_length}), so such a paper would fit in no batch"
    )]
    BudgetTooSmall {
        /// As asked, in padded tokens.
        budget: usize,
        /// The bundle's max length, in tokens.
        max_length: usize,
    },
}

impl Error {
    /// The way out, where one is known to apply.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::BudgetTooSmall { max_length, .. } => Some(format!(
                "raise `--max-batch-tokens` to {max_length} or more, or export the bundle with a shorter `--max-length`"
            )),
            Self::MaxLengthTooShort { special, .. } => {
                Some(format!("export the bundle with `--max-length` {} or more", special + 1))
            }
            _ => None,
        }
    }
}
