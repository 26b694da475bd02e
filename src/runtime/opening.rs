//! Opens a graph on a provider, or says why that one does not run it.
//!
//! Owns what a provider is told and what becomes of its refusal; how a session computes is said beside it. Knows no bundle.
//! Invariant: a session that is handed out runs on the provider that was asked for, but for the nodes that the caller allowed.

use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProviderDispatch};
use ort::session::Session;
use ort::session::builder::SessionBuilder;

use super::error::Error;
use super::library::OnnxRuntime;
use super::placement::{self, PlacedNode, Placement};
use super::provider::{Provider, ProviderChoice};
use super::refusal::{Elsewhere, Refusal};
use super::session::{SessionOptions, settings};
use super::shared_library;
use super::shared_weights::CpuSettings;

/// A session for a graph, whatever its inputs and outputs, that runs wholly on the provider.
pub(super) fn open_session(runtime: &OnnxRuntime, options: &SessionOptions) -> Result<Session, Error> {
    Ok(open_placed(runtime, options, (&CpuSettings::default(), &|_| false))?.0)
}

/// A session for a graph, and where its nodes run: on the provider, but for those of which `may_stay` says that the CPU
/// provider may keep them.
pub(super) fn open_placed(
    runtime: &OnnxRuntime,
    options: &SessionOptions,
    (cpu, may_stay): (&CpuSettings, &dyn Fn(&PlacedNode) -> bool),
) -> Result<(Session, Placement), Error> {
    let provider = options.provider.choice;
    let path = || options.graph.clone();
    if options.threads == 0 {
        return Err(Error::Threads { threads: options.threads });
    }
    if !options.graph.is_file() {
        return Err(Error::GraphMissing { path: path() });
    }
    if !runtime.providers().iter().any(|built_in| built_in == provider.resolve()) {
        return Err(Refusal::NotBuiltIn { provider, library: runtime.path().to_owned() }.into());
    }
    let commit = |whole| -> Result<Result<Session, ort::Error>, Error> {
        Ok(provided(runtime, options, (cpu, whole))?.commit_from_file(&options.graph))
    };
    let session = match commit(true)? {
        Ok(session) => session,
        // Opened once more without the ban, it tells what would be left.
        Err(refused) if refused.message().contains("fallback to CPU EP has been explicitly disabled") => commit(false)?
            .map_err(|_| {
                let elsewhere = Elsewhere::Said(refused);
                Refusal::NotPlaced { path: path(), provider, elsewhere }
            })?,
        Err(source) if provider == ProviderChoice::Cpu => return Err(Error::GraphUnloadable { path: path(), source }),
        Err(source) => {
            let options = options.provider.options_in_words();
            return Err(Refusal::NotOpened { path: path(), provider, options, source }.into());
        }
    };
    let nodes = placement::read(&session).map_err(|source| Error::PlacementUnread { path: path(), source })?;
    let left = |node: &&PlacedNode| node.provider != provider.resolve() && !may_stay(node);
    let left: Vec<PlacedNode> = nodes.iter().filter(left).cloned().collect();
    if left.is_empty() {
        return Ok((session, Placement::of(&nodes)));
    }
    Err(Refusal::NotPlaced { path: path(), provider, elsewhere: Elsewhere::Nodes(left) }.into())
}

/// The settings with the provider that was asked for. Another one than the CPU's must take the whole graph if `whole`: what
/// falls back would run there silently. The CPU provider needs no such ban; ONNX Runtime refuses the two together.
///
/// What the provider's own library lacks and lies in the environment of ONNX Runtime's is loaded from there.
fn provided(
    runtime: &OnnxRuntime,
    options: &SessionOptions,
    (cpu, whole): (&CpuSettings, bool),
) -> Result<SessionBuilder, Error> {
    let provider = &options.provider;
    let unloadable = |source| Error::GraphUnloadable { path: options.graph.clone(), source };
    let build = || -> Result<SessionBuilder, Error> {
        let builder = settings(runtime, options, cpu).map_err(unloadable)?;
        let whole = whole && provider.choice != ProviderChoice::Cpu;
        Ok(if whole { builder.with_disable_cpu_fallback().map_err(|error| unloadable(error.into()))? } else { builder })
    };
    let start = || -> Result<Result<SessionBuilder, ort::Error>, Error> {
        let dispatch = dispatch(provider, options.threads, cpu);
        Ok(build()?.with_execution_providers([dispatch]).map_err(ort::Error::from))
    };
    let ends_early = |(key, value): &&(String, String)| key.contains('\0') || value.contains('\0');
    if let Some((key, value)) = provider.options.iter().find(ends_early) {
        let option = format!("{key}={value}").escape_default().to_string();
        return Err(Error::ProviderOption { option, reason: "it holds a zero byte" });
    }
    let choice = provider.choice;
    let not_started = |source| Refusal::NotStarted { provider: choice, options: provider.options_in_words(), source };
    match start()? {
        Ok(builder) => Ok(builder),
        Err(source) if shared_library::complete(choice, runtime.path())?.is_empty() => Err(not_started(source).into()),
        Err(_) => Ok(start()?.map_err(not_started)?),
    }
}

/// Whether a provider can be used at all, with a graph of a single node.
///
/// # Errors
/// Why it can't be.
pub(super) fn try_out(runtime: &OnnxRuntime, provider: ProviderChoice) -> Result<(), Error> {
    /// `y = Relu(x)` for one f32, in opset 17, as a model of ONNX.
    const ONE_NODE: &[u8] = b"\x08\x08\x3a\x33\
        \x0a\x0c\x0a\x01x\x12\x01y\x22\x04Relu\
        \x12\x01g\
        \x5a\x0f\x0a\x01x\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01\
        \x62\x0f\x0a\x01y\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01\
        \x42\x02\x10\x11";
    let path = std::path::PathBuf::from("a graph of one node");
    let options = SessionOptions { graph: path.clone(), provider: provider.into(), threads: 1 };
    let refused = |source| Refusal::NotOpened { path, provider, options: String::new(), source };
    provided(runtime, &options, (&CpuSettings::default(), true))?.commit_from_memory(ONE_NODE).map_err(refused)?;
    Ok(())
}

/// The provider with all that it is told, as ort hands it over.
fn dispatch(provider: &Provider, threads: usize, cpu: &CpuSettings) -> ExecutionProviderDispatch {
    fn told<P: ArbitrarilyConfigurableExecutionProvider>(to: P, settings: Vec<(String, String)>) -> P {
        settings.into_iter().fold(to, |to, (key, value)| to.with_arbitrary_config(key, value))
    }
    let settings = provider.settings(threads);
    let dispatch = match provider.choice {
        ProviderChoice::Cpu => ep::CPU::default().with_arena_allocator(cpu.memory.keeps_arena()).build(),
        ProviderChoice::Cuda => told(ep::CUDA::default(), settings).build(),
        ProviderChoice::TensorRt => told(ep::TensorRT::default(), settings).build(),
        ProviderChoice::OpenVino => told(ep::OpenVINO::default(), settings).build(),
        ProviderChoice::CoreMl => told(ep::CoreML::default(), settings).build(),
        ProviderChoice::DirectMl => ep::DirectML::default().build(),
    };
    dispatch.error_on_failure()
}
