//! Papers become embeddings here: texts are tokenized, cut into batches that cost what they pad to, run, and accounted
//! for row by row. This room knows the corpus, the bundle, the sessions and the cache, but no head, no file format of
//! a result and no terminal. The one invariant: every row of the corpus ends as embedded, cached or rejected.

mod account;
mod batch;
mod check;
mod encoder;
mod error;
mod infer;
mod pipeline;
mod prepare;
mod tokenizer;

pub use account::{Account, Progress, Stages, Truncated};
pub use batch::{BatchPlan, TokenBudget, assemble, plan};
pub use check::{EncoderCheck, check_encoder};
pub use encoder::{BundleClassifier, BundleEncoder, OpenEncoder, OpenedEncoder, StubEncoder, Tokenize};
pub use error::{Error, SinkError};
pub use pipeline::{EmbeddedWindow, EncodeJob, EncodeOptions, Sink, encode_corpus};
pub use tokenizer::{Encoding, Tokenizer};
