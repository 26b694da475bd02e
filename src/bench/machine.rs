//! An encoder that was opened once, for all that is measured of it: its sessions run ready batches, and the same ones
//! serve a whole pipeline. Knows no clock. Invariant: no session runs two batches at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Error;
use crate::cache::PartOrigin;
use crate::encode::{self, Encoding, OpenEncoder, OpenedEncoder, Tokenize};
use crate::model::Bundle;
use crate::runtime::{self, AdapterChoice, Batch, EmbeddingMatrix, RunBatch, Selection};

/// A session that several owners take turns with.
#[derive(Clone)]
pub(super) struct SharedSession(Arc<Mutex<Box<dyn RunBatch>>>);

impl SharedSession {
    fn lock(&self) -> MutexGuard<'_, Box<dyn RunBatch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunBatch for SharedSession {
    fn run(&mut self, batch: &Batch) -> Result<EmbeddingMatrix, runtime::Error> {
        self.lock().run(batch)
    }
}

/// A tokenizer with several owners.
struct SharedTokenizer(Arc<dyn Tokenize>);

impl Tokenize for SharedTokenizer {
    fn encode_all(&self, texts: &[(&str, usize)]) -> Vec<Result<Encoding, encode::Error>> {
        self.0.encode_all(texts)
    }

    fn pad_id(&self) -> u32 {
        self.0.pad_id()
    }
}

/// The adapter that all texts go through: the first of several, which all cost the same.
pub(super) fn one_adapter(bundle: &Bundle) -> AdapterChoice {
    if bundle.manifest.adapters.is_empty() { AdapterChoice::default() } else { AdapterChoice::Fixed(0) }
}

/// What an encoder opened into.
pub(super) struct Machine {
    tokenizer: Arc<dyn Tokenize>,
    pub sessions: Vec<SharedSession>,
    pub origin: PartOrigin,
    pub selection: Selection,
    pub engine_build_seconds: Option<f64>,
    dim: usize,
}

impl Machine {
    /// Opens the encoder.
    pub(super) fn open(encoder: &dyn OpenEncoder) -> Result<Self, Error> {
        let OpenedEncoder { tokenizer, sessions, origin, selection, engine_build_seconds } = encoder.open()?;
        let shared = |session| SharedSession(Arc::new(Mutex::new(session)));
        Ok(Self {
            tokenizer: Arc::from(tokenizer),
            sessions: sessions.into_iter().map(shared).collect(),
            origin,
            selection,
            engine_build_seconds,
            dim: encoder.dim(),
        })
    }

    /// The tokens of each text.
    pub(super) fn encode(&self, texts: &[String]) -> Result<Vec<Encoding>, Error> {
        let whole: Vec<(&str, usize)> = texts.iter().map(|text| (text.as_str(), 0)).collect();
        Ok(self.tokenizer.encode_all(&whole).into_iter().collect::<Result<_, _>>()?)
    }

    /// The id that fills up shorter rows.
    pub(super) fn pad_id(&self) -> u32 {
        self.tokenizer.pad_id()
    }
}

impl OpenEncoder for Machine {
    fn dim(&self) -> usize {
        self.dim
    }

    /// Hands out the same tokenizer and sessions; whoever uses them at the same time takes turns.
    fn open(&self) -> Result<OpenedEncoder, encode::Error> {
        let session = |session: &SharedSession| Box::new(session.clone()) as Box<dyn RunBatch>;
        Ok(OpenedEncoder {
            tokenizer: Box::new(SharedTokenizer(Arc::clone(&self.tokenizer))),
            sessions: self.sessions.iter().map(session).collect(),
            origin: self.origin.clone(),
            selection: self.selection.clone(),
            engine_build_seconds: self.engine_build_seconds,
        })
    }
}
