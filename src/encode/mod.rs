//! Papers become embeddings here: texts are tokenized, cut into batches that cost what they pad to, run, and accounted
//! for row by row. This room knows the corpus, the bundle, the sessions and the cache, but no head, no file format of
//! a result and no terminal. The one invariant: every row of the corpus ends as embedded, cached or rejected.

mod account;
mod adapters;
mod batch;
pub mod calibrate;
mod check;
mod composition;
mod encoder;
mod engines;
mod error;
mod fill;
mod finish;
mod infer;
mod invariance;
mod nearest;
mod neighbours;
mod opening;
mod pipeline;
mod pooled;
mod prepare;
mod quality;
mod rescue;
mod sample;
mod science;
mod shapes;
mod texts;
mod tokenizer;
mod tune;
mod turns;

pub use account::{Account, Progress, Stages, Truncated};
pub use adapters::{RowAdapters, RowKey};
pub(crate) use batch::padding_share;
pub use batch::{BatchPlan, TokenBudget, assemble, assemble_within, plan};
pub use check::{EncoderCheck, check_encoder, measure_encoder, run_alone_and_together};
pub use composition::Composition;
pub use encoder::{
    BundleClassifier, BundleEncoder, BundleWithHeads, OpenEncoder, OpenedEncoder, SessionCount, StubEncoder, Tokenize,
};
pub use engines::EngineUse;
pub use error::{Error, SinkError};
pub use fill::{FilledMask, Filling, fill_masks};
pub use invariance::{CheckStep, Compared, InvarianceOptions, InvarianceReport, Threaded, check_invariance};
pub(crate) use invariance::{cosine, differences};
pub use nearest::{NearWord, NearestWords, nearest_words};
pub use pipeline::{EmbeddedWindow, EncodeJob, EncodeOptions, Sink, WINDOW, encode_corpus};
pub use pooled::see_pooling;
pub use quality::{Comparison, NEIGHBOUR_TEXTS, Side, WindowPair, WindowRows};
pub use sample::{PaperSample, SampledPaper, TextSample, sample_papers, sample_texts};
pub use shapes::{CorpusShapes, ShapeOptions, ShapeProgress, corpus_shapes};
pub use texts::{built_in_texts, comparison_texts};
pub use tokenizer::{Encoding, Tokenizer, WordPiece};
pub use tune::{
    Measured, OpenSessions, Race, Setting, TuneJob, TuneKey, TuneStep, Tuned, first_texts, keep_tuned, kept_tuned,
    tune, tuned_before,
};
