//! What can stop a run of the pipeline. Bad rows and texts that the encoder fails on don't: they are rejected and the run
//! goes on.

use std::path::PathBuf;

use crate::{cache, graph, model, paper, runtime};

/// The `tokenizers` library's own error.
pub(super) type TokenizersError = Box<dyn std::error::Error + Send + Sync>;

/// Whatever a sink fails with.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Why texts could not be turned into embeddings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The corpus could not be read to its end.
    #[error(transparent)]
    Paper(#[from] paper::Error),
    /// The bundle cannot be used.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// ONNX Runtime, a session or a batch failed.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The embedding cache could not be read or written.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// A session fails at a batch, and at the shortest text as well.
    #[error("no batch can be run, not even one of a single letter")]
    SessionFails {
        /// How it failed at the batch.
        #[source]
        source: runtime::Error,
    },
    /// Texts fail one by one, and there are no others.
    #[error("none of {texts} texts in {batches} batches in a row could be run")]
    NothingRuns {
        /// Whole batches that failed.
        batches: usize,
        /// Texts in them.
        texts: usize,
        /// How the last of them failed.
        #[source]
        source: runtime::Error,
    },
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
    /// The table of word embeddings cannot be read.
    #[error(transparent)]
    Graph(Box<graph::Error>),
    /// A word that the tokenizer makes nothing of.
    #[error("the tokenizer makes no word piece of `{word}`")]
    NoPieces {
        /// The word.
        word: String,
    },
    /// A word of which at least a part is unknown to the tokenizer.
    #[error("`{word}` is not in the vocabulary, the tokenizer makes `{pieces}` of it")]
    NotInVocabulary {
        /// The word.
        word: String,
        /// Its pieces, with blanks between.
        pieces: String,
    },
    /// A tokenizer that belongs to another model.
    #[error("piece `{piece}` has the id {id}, the table of word embeddings has {rows} rows")]
    NoRow {
        /// The piece.
        piece: String,
        /// Its id.
        id: u32,
        /// Rows of the table.
        rows: usize,
    },
    /// The tokenizer has no token for a hidden word.
    #[error("the tokenizer has no mask token (neither `{known}`)")]
    NoMaskToken {
        /// What was looked for.
        known: String,
    },
    /// There is nothing to guess in a text.
    #[error("the text has no `{mask}` in it")]
    NoMask {
        /// The tokenizer's mask.
        mask: String,
    },
    /// A text whose end the encoder would not read.
    #[error("the text has {tokens} tokens, the encoder reads {max_length}")]
    TextTooLong {
        /// Tokens, special ones included.
        tokens: usize,
        /// The longest input in tokens.
        max_length: usize,
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
    /// Caches that don't go with the adapters that rows choose from.
    #[error("{got} caches were given for {adapters} adapters, expected one for each, or none at all")]
    CachesOfAdapters {
        /// As given.
        got: usize,
        /// Adapters that rows choose from.
        adapters: usize,
    },
    /// There was nothing to encode.
    #[error("the corpus holds no rows (files read: {files})")]
    EmptyCorpus {
        /// Files that were opened.
        files: usize,
    },
    /// Too few texts to take ranges from and to measure a loss on.
    #[error("`{flag}` names {got} different texts, a calibration needs {least} or more")]
    FewCalibrationTexts {
        /// The flag that names the corpus.
        flag: &'static str,
        /// Different texts.
        got: usize,
        /// The least number.
        least: usize,
    },
    /// Too few texts to measure a loss on that ranges were not taken from.
    #[error("{got} texts are left that the ranges were not taken from, a calibration needs {least} or more")]
    FewHeldOutTexts {
        /// Different texts.
        got: usize,
        /// The least number.
        least: usize,
    },
    /// Too few texts to compare two encoders on.
    #[error("{got} texts that differ from each other, two encoders are compared on 2 or more")]
    FewTexts {
        /// Different texts.
        got: usize,
    },
    /// A vector that the cache had is gone: its file was changed under the run.
    #[error("the cached embedding of {row} vanished during the run")]
    RowLost {
        /// `file:line` of the row.
        row: String,
    },
    /// A new encoder gives vectors that no healthy one gives.
    #[error("the encoder failed its check: {what}")]
    Unhealthy {
        /// What was found and what was expected.
        what: String,
    },
    /// The sink could not take a window; its error is the source.
    #[error("{0}")]
    Sink(#[source] SinkError),
}

impl Error {
    pub(super) fn unhealthy(what: String) -> Self {
        Self::Unhealthy { what }
    }

    /// The way out, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Paper(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::Runtime(error) => error.hint(),
            Self::SessionFails { source } | Self::NothingRuns { source, .. } => source.hint(),
            Self::Graph(error) => error.hint(),
            Self::NoRow { .. } => Some("graph and tokenizer look like different models".into()),
            Self::Cache(error) => error.hint(),
            Self::RowLost { .. } => Some("run `offprint cache verify`, then the command again".into()),
            Self::BudgetTooSmall { max_length, .. } => Some(format!(
                "raise `--max-batch-tokens` to {max_length} or more, or export the bundle with a shorter `--max-length`"
            )),
            Self::MaxLengthTooShort { special, .. } => {
                Some(format!("export the bundle with `--max-length` {} or more", special + 1))
            }
            Self::FewCalibrationTexts { .. } => Some("take a larger corpus: a few hundred papers are enough".into()),
            Self::FewHeldOutTexts { .. } => Some("take other papers for `--check` than for `--calibrate`".into()),
            Self::NoMask { mask } => {
                Some(format!("write `{mask}` where a word is to be guessed, as in \"the {mask} of a protein\""))
            }
            _ => None,
        }
    }
}

impl From<graph::Error> for Error {
    fn from(source: graph::Error) -> Self {
        Self::Graph(Box::new(source))
    }
}
