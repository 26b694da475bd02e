//! The machinery behind a bundle: its tokenizer and its sessions, opened when the first text needs them, so that a run
//! that finds all in the cache opens neither. [`OpenEncoder`] is the seam: the pipeline, the cache and the crash
//! tests run with [`StubEncoder`], which needs no model and no ONNX Runtime.

use std::path::PathBuf;

use super::{Encoding, EngineUse, Error, Tokenizer};
use crate::cache::PartOrigin;
use crate::model::{Bundle, Fingerprint, GraphHead, Identity, SENTENCE_EMBEDDING};
use crate::runtime::{
    AdapterChoice, Fallback, MemoryPreset, ProviderChoice, ProviderList, RunBatch, Selection, StubSession,
};

/// Turns a text into token ids.
pub trait Tokenize: Send + Sync {
    /// Encodes texts, each with the number of its bytes that are the title, on rayon's current pool and in their order.
    fn encode_all(&self, texts: &[(&str, usize)]) -> Vec<Result<Encoding, Error>>;

    /// The id that fills up shorter rows of a batch.
    fn pad_id(&self) -> u32;
}

impl Tokenize for Tokenizer {
    fn encode_all(&self, texts: &[(&str, usize)]) -> Vec<Result<Encoding, Error>> {
        Tokenizer::encode_all(self, texts)
    }

    fn pad_id(&self) -> u32 {
        Tokenizer::pad_id(self)
    }
}

/// A tokenizer with sessions that run what it makes.
pub struct OpenedEncoder {
    /// Shared by the threads that tokenize.
    pub tokenizer: Box<dyn Tokenize>,
    /// One for each thread that runs batches; at least one.
    pub sessions: Vec<Box<dyn RunBatch>>,
    /// What is noted in the cache about where vectors came from.
    pub origin: PartOrigin,
    /// Which provider runs it, and why.
    pub selection: Selection,
    /// Seconds that building the engines took that the first session runs on; none on other providers than TensorRT.
    pub engine_build_seconds: Option<f64>,
}

/// Something that can be opened into a tokenizer and sessions.
pub trait OpenEncoder: Sync {
    /// Length of the embeddings.
    fn dim(&self) -> usize;

    /// Opens it; called at most once a run.
    fn open(&self) -> Result<OpenedEncoder, Error>;
}

/// The outputs with the answers of heads, and how many numbers each has.
fn answers(heads: &[GraphHead]) -> impl Iterator<Item = (&str, usize)> {
    heads.iter().map(|head| (head.answer(), head.labels.len()))
}

/// Numbers that the answers of heads have together.
fn answers_dim(heads: &[GraphHead]) -> usize {
    heads.iter().map(|head| head.labels.len()).sum()
}

/// A number of sessions, which may be another one on the provider that it was measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCount {
    usual: usize,
    tuned: Option<(ProviderChoice, usize)>,
}

impl SessionCount {
    /// The same, but so many on that provider, where these were found to be fastest.
    #[must_use]
    pub fn tuned(self, sessions: usize, provider: ProviderChoice) -> Self {
        Self { tuned: Some((provider, sessions)), ..self }
    }

    /// The provider on which it was measured, if it was.
    pub fn tuned_on(self) -> Option<ProviderChoice> {
        self.tuned.map(|(provider, _)| provider)
    }

    /// Sessions on that provider.
    pub fn on(self, provider: ProviderChoice) -> usize {
        self.tuned.filter(|(tuned, _)| *tuned == provider).map_or(self.usual, |(_, sessions)| sessions)
    }
}

impl From<usize> for SessionCount {
    /// As many on all providers.
    fn from(usual: usize) -> Self {
        Self { usual, tuned: None }
    }
}

/// A bundle, with what is needed to open it.
#[derive(Debug)]
pub struct BundleEncoder {
    /// The bundle.
    pub bundle: Bundle,
    /// The ONNX Runtime library to load, where the user named one.
    pub ort_lib: Option<PathBuf>,
    /// The execution providers that may run the graph, by preference.
    pub provider: ProviderList,
    /// Whether the CPU provider may run it in the place of that one, or in a precision that it has no kernels for; if
    /// `None`, it may not.
    pub fallback: Option<Fallback>,
    /// Threads of all sessions together.
    pub threads: usize,
    /// Sessions that run batches side by side, among which `threads` are divided; at least 1, at most `threads`.
    pub sessions: SessionCount,
    /// The cores of each NUMA node, among which the sessions are spread if there are as many; empty: they run anywhere.
    pub nodes: Vec<Vec<usize>>,
    /// What a session on the CPU provider keeps between two batches.
    pub memory: MemoryPreset,
    /// Which of the bundle's several adapters texts go through; the default where it has none to choose from.
    pub adapter: AdapterChoice,
    /// Where engines for TensorRT are, and which batches they have to take; without it the bundle does not run there.
    pub engines: Option<EngineUse>,
}

impl BundleEncoder {
    /// On the CPU provider with the library that is found, in one session, and nothing else said.
    pub fn on_cpu(bundle: Bundle, threads: usize) -> Self {
        Self {
            bundle,
            ort_lib: None,
            provider: ProviderChoice::Cpu.into(),
            fallback: None,
            threads,
            sessions: 1.into(),
            nodes: Vec::new(),
            memory: MemoryPreset::default(),
            adapter: AdapterChoice::default(),
            engines: None,
        }
    }
}

impl OpenEncoder for BundleEncoder {
    fn dim(&self) -> usize {
        self.bundle.manifest.dim
    }

    fn open(&self) -> Result<OpenedEncoder, Error> {
        self.open_outputs(&[(SENTENCE_EMBEDDING, self.dim())])
    }
}

impl BundleEncoder {
    /// Which function of a text it computes; where texts choose their adapters one by one, see [`Manifest::identity`].
    ///
    /// [`Manifest::identity`]: crate::model::Manifest::identity
    pub fn identity(&self) -> Identity {
        self.bundle.manifest.identity_of(self.place())
    }

    /// What decides the bits of its vectors; where texts choose their adapters one by one, see [`Manifest::fingerprint`].
    ///
    /// [`Manifest::fingerprint`]: crate::model::Manifest::fingerprint
    pub fn fingerprint(&self) -> Fingerprint {
        self.bundle.manifest.fingerprint_of(self.place()).with_numerics(self.provider.numerics())
    }

    /// The place of the one adapter that all texts go through.
    fn place(&self) -> Option<usize> {
        match self.adapter {
            AdapterChoice::Fixed(place) => Some(place),
            AdapterChoice::ByRow | AdapterChoice::Spread(_) => None,
        }
    }

    /// Opens the bundle for outputs of its graph, each with as many numbers a text as it must have.
    ///
    /// # Errors
    /// A bundle whose precision is not for the provider or fewer threads than sessions, which is found before anything is
    /// opened; a graph or tokenizer that cannot be opened; rows of another length.
    pub fn open_outputs(&self, outputs: &[(&str, usize)]) -> Result<OpenedEncoder, Error> {
        self.open_graph(&self.bundle.graph_path(), outputs)
    }
}

/// Heads in a bundle's own graph: a text's row holds the answers of all of them, one number for each label, in their
/// order. There is no cache for these.
#[derive(Debug)]
pub struct BundleClassifier<'b> {
    /// The bundle and how it is opened.
    pub encoder: &'b BundleEncoder,
    /// The heads wanted, of those that the bundle has.
    pub heads: &'b [GraphHead],
}

impl OpenEncoder for BundleClassifier<'_> {
    /// How many labels the heads have together.
    fn dim(&self) -> usize {
        answers_dim(self.heads)
    }

    /// Opens the probabilities, or the numbers themselves for a regression.
    fn open(&self) -> Result<OpenedEncoder, Error> {
        self.encoder.open_outputs(&answers(self.heads).collect::<Vec<_>>())
    }
}

/// A bundle with heads in its graph: a text's row holds its vector and behind it the answers of the heads wanted.
#[derive(Debug)]
pub struct BundleWithHeads<'b> {
    /// The bundle and how it is opened.
    pub encoder: &'b BundleEncoder,
    /// The heads wanted, of those that the bundle has.
    pub heads: &'b [GraphHead],
}

impl OpenEncoder for BundleWithHeads<'_> {
    /// The vector's numbers and how many labels the heads have together.
    fn dim(&self) -> usize {
        self.encoder.dim() + answers_dim(self.heads)
    }

    fn open(&self) -> Result<OpenedEncoder, Error> {
        let embedding = std::iter::once((SENTENCE_EMBEDDING, self.encoder.dim()));
        self.encoder.open_outputs(&embedding.chain(answers(self.heads)).collect::<Vec<_>>())
    }
}

/// An encoder without a model: words are hashed to ids, vectors are made from the ids. For tests, benchmarks and
/// measurements of everything around the model.
#[derive(Debug, Clone)]
pub struct StubEncoder {
    /// Length of the vectors.
    pub dim: usize,
    /// Longest encoding in tokens, the two special ones included.
    pub max_length: usize,
}

impl OpenEncoder for StubEncoder {
    fn dim(&self) -> usize {
        self.dim
    }

    fn open(&self) -> Result<OpenedEncoder, Error> {
        let origin = PartOrigin { provider: "stub".into(), runtime_version: "none".into(), cpu: "any".into() };
        let tokenizer = Box::new(WordHasher { max_length: self.max_length });
        let sessions: Vec<Box<dyn RunBatch>> = vec![Box::new(StubSession::new(self.dim))];
        let selection = Selection::default();
        Ok(OpenedEncoder { tokenizer, sessions, origin, selection, engine_build_seconds: None })
    }
}

/// One id for each run of characters between blanks.
struct WordHasher {
    max_length: usize,
}

impl WordHasher {
    fn encode(&self, text: &str) -> Encoding {
        let room = self.max_length.saturating_sub(2);
        let words = text.split_whitespace().count();
        let hash = |word: &str| word.bytes().fold(17_u32, |h, b| h.wrapping_mul(31).wrapping_add(b.into())) % 30_000;
        let mut ids = vec![101];
        ids.extend(text.split_whitespace().take(room).map(|word| 1_000 + hash(word)));
        ids.push(102);
        Encoding { ids, n_dropped: u32::try_from(words.saturating_sub(room)).unwrap_or(u32::MAX), title_cut: false }
    }
}

impl Tokenize for WordHasher {
    fn encode_all(&self, texts: &[(&str, usize)]) -> Vec<Result<Encoding, Error>> {
        texts.iter().map(|(text, _)| Ok(self.encode(text))).collect()
    }

    fn pad_id(&self) -> u32 {
        0
    }
}
