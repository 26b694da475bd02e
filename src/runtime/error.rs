//! What can go wrong between this program and ONNX Runtime; the ways out stand beside it.
//!
//! Facts are fields and sources are kept; the text of a source is never repeated in the message above it.

use std::path::PathBuf;

use crate::graph;

use super::profile::ProfileError;
use super::provider::ProviderChoice;
use super::refusal::Refusal;
use super::search::{LIBRARY_NAME, Tried};
use super::tensorrt;

/// An error of the runtime room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No place that is searched holds a usable library.
    #[error("no ONNX Runtime library was found")]
    LibraryNotFound {
        /// Every place, in the order of the search, as a chain of causes.
        #[source]
        looked: Looked,
    },
    /// A path that was named does not exist.
    #[error("no ONNX Runtime library at `{}`: no such file or folder", path.display())]
    LibraryMissing {
        /// As named, made absolute.
        path: PathBuf,
    },
    /// A folder that was named holds no library.
    #[error("the folder `{}` holds no ONNX Runtime library (expected `{LIBRARY_NAME}` or `onnxruntime/capi/` in it)", path.display())]
    FolderWithoutLibrary {
        /// As named, made absolute.
        path: PathBuf,
    },
    /// The system's loader refused the file.
    #[error("`{}` could not be loaded as a library", path.display())]
    LibraryUnloadable {
        /// The file.
        path: PathBuf,
        /// What the loader said.
        #[source]
        source: libloading::Error,
    },
    /// A library, but of something else.
    #[error("`{}` is not ONNX Runtime: it has no `OrtGetApiBase`", path.display())]
    NotOnnxRuntime {
        /// The file.
        path: PathBuf,
    },
    /// An ONNX Runtime older than the API that this program is built for.
    #[error("`{}` is ONNX Runtime {got}, needed is 1.{needed} or newer", path.display())]
    LibraryTooOld {
        /// The file.
        path: PathBuf,
        /// Its version, as it says.
        got: String,
        /// The least minor version.
        needed: u32,
    },
    /// ort refused a library that the checks above passed.
    #[error("`{}` was refused", path.display())]
    LibraryRefused {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ort::LoadDynamicError,
    },
    /// One process loads one library.
    #[error("`{}` cannot be loaded: this process already runs on `{}`", asked.display(), loaded.display())]
    AnotherLibraryLoaded {
        /// The library in use.
        loaded: PathBuf,
        /// The library asked for.
        asked: PathBuf,
    },
    /// The library loaded, but could not start.
    #[error("ONNX Runtime from `{}` could not be started", path.display())]
    Start {
        /// The library.
        path: PathBuf,
        /// What ONNX Runtime said.
        #[source]
        source: ort::Error,
    },
    /// A provider name that this version does not know.
    #[error("execution provider `{name}` is not known, known are: {known}")]
    UnknownProvider {
        /// As typed.
        name: String,
        /// The names that are accepted.
        known: &'static str,
    },
    /// A word that `--fallback` does not know.
    #[error("unknown fallback `{word}`, known are: {known}")]
    UnknownFallback {
        /// As typed.
        word: String,
        /// The words that are accepted.
        known: String,
    },
    /// A device of a provider that has none to choose from, or no number.
    #[error("`{choice}` {}, got `{device}`", devices(*choice))]
    NoSuchDevice {
        /// The provider.
        choice: ProviderChoice,
        /// As typed.
        device: String,
    },
    /// `auto` in a list of providers.
    #[error("`--provider auto` chooses by itself and stands alone")]
    AutoAmongOthers,
    /// The same provider twice in a list.
    #[error("`--provider` names `{provider}` twice")]
    ProviderTwice {
        /// As typed.
        provider: String,
    },
    /// A number where a provider is expected.
    #[error("`--provider` names a device `{device}` without its provider")]
    BareDevice {
        /// As typed.
        device: String,
        /// What stands before it.
        before: String,
    },
    /// An option that no provider may take.
    #[error("provider option `{option}` can't be used: {reason}")]
    ProviderOption {
        /// As typed.
        option: String,
        /// Why.
        reason: &'static str,
    },
    /// An option that may change numbers, where it isn't known which provider will run.
    #[error("provider option `{key}={value}` may change numbers, and `--provider` names several that may run")]
    NumericsOfSeveral {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// A provider that does not run a graph as it should.
    #[error(transparent)]
    Provider(Box<Refusal>),
    /// ONNX Runtime does not say which provider runs which nodes.
    #[error("the placement of `{}` could not be read", path.display())]
    PlacementUnread {
        /// The graph.
        path: PathBuf,
        /// What ONNX Runtime said.
        #[source]
        source: ort::Error,
    },
    /// Zero threads.
    #[error("a session needs at least 1 thread, got {threads}")]
    Threads {
        /// As asked.
        threads: usize,
    },
    /// Threads that cannot be divided among the sessions.
    #[error("`--sessions {sessions}` needs {sessions} threads or more, got {threads}")]
    FewThreads {
        /// Threads of all sessions together.
        threads: usize,
        /// As asked.
        sessions: usize,
    },
    /// Zero sessions.
    #[error("an encoder needs at least 1 session, got 0")]
    NoSessions,
    /// A word that `--memory` does not know.
    #[error("unknown memory preset `{word}`, known are: {known}")]
    UnknownMemory {
        /// As typed.
        word: String,
        /// The words that are accepted.
        known: String,
    },
    /// A graph whose weights cannot be told apart.
    #[error("the weights of the graph cannot be shared among sessions")]
    WeightsUnreadable {
        /// What was wrong with the file.
        #[source]
        source: Box<graph::Error>,
    },
    /// No room for weights that sessions share.
    #[error("no temporary file could be written in `{}` for weights that sessions share", folder.display())]
    WeightsUnplaced {
        /// Where temporary files lie.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The graph's file is not there.
    #[error("no graph at `{}`", path.display())]
    GraphMissing {
        /// The file.
        path: PathBuf,
    },
    /// ONNX Runtime could not make a session of the graph.
    #[error("`{}` could not be opened as a graph", path.display())]
    GraphUnloadable {
        /// The file.
        path: PathBuf,
        /// What ONNX Runtime said.
        #[source]
        source: ort::Error,
    },
    /// The graph takes other inputs than an encoder's.
    #[error("graph `{}` takes {}, expected {expected}", path.display(), list(got))]
    GraphInputs {
        /// The file.
        path: PathBuf,
        /// Names, types and shapes of the inputs found.
        got: Vec<String>,
        /// What an encoder takes.
        expected: String,
    },
    /// The graph gives no output of the expected name, type and shape.
    #[error("graph `{}` gives {}, expected {expected}", path.display(), list(got))]
    GraphOutputs {
        /// The file.
        path: PathBuf,
        /// Names, types and shapes of the outputs found.
        got: Vec<String>,
        /// What an encoder gives.
        expected: String,
    },
    /// A batch whose vectors disagree with its shape.
    #[error(
        "a batch of {rows} rows × {columns} columns came with {ids} ids and {mask} mask values; this is a bug in offprint, please report it with the lines above"
    )]
    BatchShape {
        /// As stated by the batch.
        rows: usize,
        /// As stated by the batch.
        columns: usize,
        /// Length of the ids.
        ids: usize,
        /// Length of the mask.
        mask: usize,
    },
    /// A batch that names adapters where there is nothing to choose, or none where there is.
    #[error("a batch of {rows} rows names {got} adapters, the graph takes {expected}")]
    BatchAdapters {
        /// Rows of the batch.
        rows: usize,
        /// Adapters that it names.
        got: usize,
        /// How many it must name.
        expected: usize,
    },
    /// The run of a batch failed.
    #[error("a batch of {rows} rows × {columns} tokens could not be run")]
    Run {
        /// Rows of the batch.
        rows: usize,
        /// Columns of the batch.
        columns: usize,
        /// What ONNX Runtime said.
        #[source]
        source: ort::Error,
    },
    /// The output has another shape than one embedding per row.
    #[error("output `{output}` has shape {got:?}, expected {expected:?}")]
    OutputShape {
        /// Name of the output tensor.
        output: String,
        /// As ONNX Runtime gave it.
        got: Vec<i64>,
        /// Rows × dim.
        expected: [usize; 2],
    },
    /// A graph without an output that was asked for.
    #[error("the graph gives no output `{output}`")]
    OutputMissing {
        /// Name of the output tensor.
        output: String,
    },
    /// NaN or an infinity in an embedding.
    #[error(
        "output `{output}` holds {value} at row {row}, column {column} of a batch of {rows}: expected finite numbers"
    )]
    NotFinite {
        /// Name of the output tensor.
        output: String,
        /// The value found.
        value: f32,
        /// Row in the batch.
        row: usize,
        /// Position in the embedding.
        column: usize,
        /// Rows of the batch.
        rows: usize,
    },
    /// Engines for TensorRT that are not there, or a batch that they are not built for.
    #[error(transparent)]
    TensorRt(Box<tensorrt::Error>),
    /// A stub session fails where it was told to.
    #[error("the stub session fails at batch {batch}, as asked")]
    StubFailure {
        /// Counted from 0.
        batch: u64,
    },
    /// A stub session fails on a text with a token that it was told of.
    #[error("the stub session fails on token {id}, as asked")]
    StubToken {
        /// The token.
        id: i64,
    },
    /// A stub session has no more memory than it was told.
    #[error("the stub session has memory for {room} padded tokens, got {tokens}")]
    StubMemory {
        /// Rows × columns of the batch.
        tokens: usize,
        /// The most that it takes.
        room: usize,
    },
    /// A profile that could not be had.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

impl Error {
    /// Whether a provider left a part of the graph to another.
    pub fn is_placement(&self) -> bool {
        matches!(self, Self::Provider(refusal) if matches!(**refusal, Refusal::NotPlaced { .. }))
    }
}

impl From<tensorrt::Error> for Error {
    fn from(source: tensorrt::Error) -> Self {
        Self::TensorRt(Box::new(source))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Provider(Box::new(refusal))
    }
}

/// What can be said of a provider's devices.
fn devices(choice: ProviderChoice) -> &'static str {
    match choice {
        ProviderChoice::Cuda | ProviderChoice::TensorRt => "has devices 0, 1 and so on",
        _ => "has no devices to choose from",
    }
}

/// The places that were searched, one per link of the chain of causes.
#[derive(Debug, thiserror::Error)]
#[error("{tried}")]
pub struct Looked {
    tried: Tried,
    #[source]
    next: Option<Box<Looked>>,
}

impl Looked {
    /// Chains the places in their order; none for an empty list.
    pub(super) fn chain(places: Vec<Tried>) -> Option<Self> {
        places.into_iter().rev().fold(None, |next, tried| Some(Self { tried, next: next.map(Box::new) }))
    }

    /// The places in the order of the search.
    pub fn places(&self) -> impl Iterator<Item = &Tried> {
        std::iter::successors(Some(self), |looked| looked.next.as_deref()).map(|looked| &looked.tried)
    }
}

/// `a, b and c`, or `nothing`.
fn list(items: &[String]) -> String {
    match items {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
