//! Why a provider does not run a graph: each reason with its facts, and the way out.
//!
//! Opens nothing. Invariant: these reasons are the provider's alone, so that another provider may still run the graph; what
//! would fail on every provider is an [`Error`](super::Error).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::placement::PlacedNode;
use super::provider::ProviderChoice;
use super::shared_library::{Product, tensorrt_package};
use super::tensorrt;
use crate::causes::on_one_line;

/// A provider that does not run a graph as it should.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A provider that the loaded library is not built with.
    #[error("the loaded ONNX Runtime at `{}` has no `{}`", library.display(), provider.resolve())]
    NotBuiltIn {
        /// The provider.
        provider: ProviderChoice,
        /// The library.
        library: PathBuf,
    },
    /// A provider whose own library is not beside ONNX Runtime's.
    #[error("`{}` cannot be used: there is no `{}`", provider.resolve(), file.display())]
    NoLibrary {
        /// The provider.
        provider: ProviderChoice,
        /// Where its library has to be.
        file: PathBuf,
    },
    /// A provider whose library has no host beside it.
    #[error("`{}` cannot be used: there is no `{}`, through which ONNX Runtime loads it", provider.resolve(), host.display())]
    NoHost {
        /// The provider.
        provider: ProviderChoice,
        /// Where the host has to be: beside the provider's library.
        host: PathBuf,
    },
    /// A provider whose library needs another one that is not found.
    #[error("`{}` cannot be used: `{}` needs `{missing}`{}, which is not found", provider.resolve(), file.display(), of(missing))]
    SharedLibraryMissing {
        /// The provider.
        provider: ProviderChoice,
        /// Its library.
        file: PathBuf,
        /// File name of the one that is missing.
        missing: String,
        /// What the system's loader said.
        #[source]
        source: libloading::Error,
    },
    /// A provider whose library, or one that it needs, is there and cannot be loaded.
    #[error("`{}` cannot be used: `{}` could not be loaded", provider.resolve(), file.display())]
    Unloadable {
        /// The provider.
        provider: ProviderChoice,
        /// The library that could not be loaded.
        file: PathBuf,
        /// What the system's loader said.
        #[source]
        source: libloading::Error,
    },
    /// A provider that ONNX Runtime could not start, or whose options it refused.
    #[error("`{}` could not be started{}", provider.resolve(), with(options))]
    NotStarted {
        /// The provider.
        provider: ProviderChoice,
        /// The options that the user gave.
        options: String,
        /// What ONNX Runtime said.
        #[source]
        source: ort::Error,
    },
    /// A graph that ONNX Runtime could not open on the provider.
    #[error("`{}` could not be opened on `{}`{}", path.display(), provider.resolve(), with(options))]
    NotOpened {
        /// The graph.
        path: PathBuf,
        /// The provider.
        provider: ProviderChoice,
        /// The options that the user gave.
        options: String,
        /// What ONNX Runtime said.
        #[source]
        source: ort::Error,
    },
    /// A provider that left a part of the graph to another, which is never done silently.
    #[error("`{}` does not run wholly on `{}`", path.display(), provider.resolve())]
    NotPlaced {
        /// The graph.
        path: PathBuf,
        /// The provider.
        provider: ProviderChoice,
        /// What is left.
        #[source]
        elsewhere: Elsewhere,
    },
    /// A bundle in half precision on a provider that has no kernels for it.
    #[error(
        "the bundle computes in fp16, and `CPUExecutionProvider` (chosen by `--provider {asked}`) would turn every step into fp32 and back"
    )]
    HalfOnCpu {
        /// What was asked for.
        asked: String,
    },
    /// An int8 bundle on another provider than the one that it is made for.
    #[error(
        "the bundle computes in int8, which is made for `CPUExecutionProvider`; `--provider {provider}` would give other vectors"
    )]
    Int8Elsewhere {
        /// The provider.
        provider: ProviderChoice,
    },
    /// A bundle in fp32 on TensorRT, which has no option to leave TF32 alone.
    #[error(
        "the bundle computes in fp32, which `TensorrtExecutionProvider` cuts to TF32 (10 bits of 23) unless `NVIDIA_TF32_OVERRIDE` is 0"
    )]
    Tf32,
    /// TensorRT without engines for the bundle, or in a command that has no use for them.
    #[error(transparent)]
    Engines(Box<tensorrt::Error>),
    /// Not one of several providers.
    #[error("none of the providers that `--provider {asked}` may take can be used")]
    NoneUsable {
        /// What was asked for.
        asked: String,
        /// Whether the CPU provider would refuse the bundle as well, for want of kernels for fp16.
        half: bool,
        /// Each of them with its reason, as a chain of causes.
        #[source]
        passed_over: PassedOverChain,
    },
}

/// What a provider left to another one.
#[derive(Debug, thiserror::Error)]
pub enum Elsewhere {
    /// The nodes.
    #[error("{}", in_words(.0))]
    Nodes(Vec<PlacedNode>),
    /// What ONNX Runtime said, where the nodes could not be read.
    #[error("{0}")]
    Said(ort::Error),
}

impl Refusal {
    /// The way out, where one is known to apply.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotBuiltIn { provider, .. } => Some(where_it_is(*provider)),
            Self::NoLibrary { provider, .. } => {
                Some(format!("install ONNX Runtime again: {}", where_it_is(*provider)))
            }
            // For pip a package with a file that is gone is installed.
            Self::NoHost { provider, .. } => package(*provider).map(|package| {
                format!(
                    "`pip install --force-reinstall --no-deps {package}` in the environment of that ONNX Runtime, or copy the \
                     file from where its library is from"
                )
            }),
            Self::SharedLibraryMissing { missing, .. } => Product::of(missing).map(|product| product.way()),
            Self::HalfOnCpu { .. } | Self::NoneUsable { half: true, .. } => Some(
                "export it with `--precision fp32` for this machine, which does not round and takes no more memory, or \
                 run it all the same with `--fallback warn`"
                    .to_owned(),
            ),
            Self::Int8Elsewhere { .. } => {
                Some("`--provider cpu`, or export it with `--precision fp32` for this provider".to_owned())
            }
            Self::NotPlaced { .. } => Some("export the bundle again, or run it with `--provider cpu`".to_owned()),
            Self::Tf32 => Some(
                "`NVIDIA_TF32_OVERRIDE=0 offprint ...`, or export the bundle with `--precision fp16`".to_owned(),
            ),
            Self::NotStarted { source, .. } | Self::NotOpened { source, .. } if of_cuda(source.message()).is_some() => {
                Some("`nvidia-smi` lists the cards that the driver sees, and their memory".to_owned())
            }
            Self::Engines(error) => error.hint(),
            Self::NoneUsable { half: false, .. } => Some("`--provider cpu` is always there".to_owned()),
            Self::Unloadable { .. } | Self::NotStarted { .. } | Self::NotOpened { .. } => None,
        }
    }
}

impl Refusal {
    /// The error and its causes on one line, without what only repeats it.
    pub(super) fn reason(&self) -> String {
        match self {
            // What the loader said is that the library is missing.
            Self::SharedLibraryMissing { .. } => self.to_string(),
            Self::NotStarted { source, .. } | Self::NotOpened { source, .. } => match of_cuda(source.message()) {
                Some(said) => format!("{self}: {said}"),
                None => on_one_line(self),
            },
            _ => on_one_line(self),
        }
    }
}

/// What CUDA said, in the middle of where in ONNX Runtime's sources it said so.
fn of_cuda(message: &str) -> Option<&str> {
    let said = &message[message.find("CUDA failure ")?..];
    Some(said.split(" ; ").next().unwrap_or(said).trim())
}

/// pip's package of ONNX Runtime with a provider whose library lies beside its own; none for the other providers.
fn package(provider: ProviderChoice) -> Option<&'static str> {
    match provider {
        ProviderChoice::Cuda | ProviderChoice::TensorRt => Some("onnxruntime-gpu"),
        ProviderChoice::OpenVino => Some("onnxruntime-openvino"),
        ProviderChoice::Cpu | ProviderChoice::CoreMl | ProviderChoice::DirectMl => None,
    }
}

/// Where a provider is to be had.
fn where_it_is(provider: ProviderChoice) -> String {
    const GPU: &str = "'onnxruntime-gpu[cuda,cudnn]'";
    let by_name = |packages: &str| format!("`pip install {packages}`, then name its library with `--ort-lib`");
    match provider {
        ProviderChoice::Cpu => "every ONNX Runtime has it: `pip install onnxruntime`".to_owned(),
        ProviderChoice::Cuda => by_name(GPU),
        ProviderChoice::TensorRt => by_name(&format!("{GPU} {}", tensorrt_package(tensorrt::TENSORRT_MAJOR))),
        ProviderChoice::OpenVino => by_name("onnxruntime-openvino"),
        ProviderChoice::CoreMl => "it is on macOS alone: `pip install onnxruntime` there".to_owned(),
        ProviderChoice::DirectMl => "it is on Windows alone: `pip install onnxruntime-directml` there".to_owned(),
    }
}

/// What a shared library belongs to, in brackets behind its name.
fn of(missing: &str) -> String {
    Product::of(missing).map_or_else(String::new, |product| format!(" ({product})"))
}

/// The options that the user gave, behind what they may be the reason of.
fn with(options: &str) -> String {
    if options.is_empty() { String::new() } else { format!(" with {options}") }
}

/// Operators by provider, each with the number of its nodes: `2 of Cast and 1 of ReduceSum are left to CPUExecutionProvider`.
fn in_words(nodes: &[PlacedNode]) -> String {
    let mut counts: Vec<((&str, &str), usize)> = Vec::new();
    for node in nodes {
        let key = (node.provider.as_str(), node.operator.as_str());
        match counts.iter_mut().find(|(known, _)| *known == key) {
            Some((_, count)) => *count += 1,
            None => counts.push((key, 1)),
        }
    }
    counts.sort();
    let words: Vec<String> = counts
        .chunk_by(|((one, _), _), ((other, _), _)| one == other)
        .map(|of_provider| {
            let operators = of_provider.iter().map(|((_, operator), count)| format!("{count} of {operator}"));
            format!("{} left to {}", operators.collect::<Vec<_>>().join(", "), of_provider[0].0.0)
        })
        .collect();
    words.join("; ")
}

/// A provider that was preferred and did not run, with the reason on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// As it was named.
    pub provider: String,
    /// Why.
    pub reason: String,
}

/// Providers that were passed over, one per link of the chain of causes.
#[derive(Debug, thiserror::Error)]
#[error("`{}`: {}", this.provider, this.reason)]
pub struct PassedOverChain {
    this: PassedOver,
    #[source]
    next: Option<Box<PassedOverChain>>,
}

impl PassedOverChain {
    /// Chains them in their order; none for an empty list.
    pub(super) fn of(passed_over: Vec<PassedOver>) -> Option<Self> {
        passed_over.into_iter().rev().fold(None, |next, this| Some(Self { this, next: next.map(Box::new) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(operator: &str, provider: &str) -> PlacedNode {
        PlacedNode { name: String::new(), operator: operator.to_owned(), provider: provider.to_owned() }
    }

    #[test]
    fn nodes_are_counted_by_provider_and_operator() {
        let nodes = [node("Cast", "CPU"), node("ReduceSum", "CPU"), node("Cast", "CPU"), node("Gather", "Azure")];
        assert_eq!(in_words(&nodes), "1 of Gather left to Azure; 2 of Cast, 1 of ReduceSum left to CPU");
    }

    #[test]
    fn a_provider_that_is_not_built_in_says_where_it_is() {
        for (provider, hint) in [
            (
                ProviderChoice::Cuda,
                "`pip install 'onnxruntime-gpu[cuda,cudnn]'`, then name its library with `--ort-lib`",
            ),
            (
                ProviderChoice::TensorRt,
                "`pip install 'onnxruntime-gpu[cuda,cudnn]' 'tensorrt-cu13-libs==10.*'`, then name its library with `--ort-lib`",
            ),
            (ProviderChoice::OpenVino, "`pip install onnxruntime-openvino`, then name its library with `--ort-lib`"),
            (ProviderChoice::CoreMl, "it is on macOS alone: `pip install onnxruntime` there"),
            (ProviderChoice::DirectMl, "it is on Windows alone: `pip install onnxruntime-directml` there"),
        ] {
            let refusal = Refusal::NotBuiltIn { provider, library: "/lib/x.so".into() };
            assert_eq!(
                refusal.to_string(),
                format!("the loaded ONNX Runtime at `/lib/x.so` has no `{}`", provider.resolve())
            );
            assert_eq!(refusal.hint().unwrap(), hint);
        }
    }

    #[test]
    fn a_reason_is_one_line() {
        let lines = std::io::Error::other("first\n  second\tthird ");
        assert_eq!(on_one_line(&lines), "first second third");
    }

    #[test]
    fn what_cuda_said_is_taken_out_of_where_it_was_said() {
        let message = "/src/info.cc:63 Parse Failed to parse provider option \"device_id\": CUDA failure 100: no CUDA-capable \
                       device is detected ; GPU=-1 ; hostname=h ; file=/src/info.cc ; line=70 ; ";
        assert_eq!(of_cuda(message), Some("CUDA failure 100: no CUDA-capable device is detected"));
        assert_eq!(of_cuda("Unknown provider option: \"nonsense\"."), None);
    }

    #[test]
    fn passed_over_providers_are_a_chain_of_causes_in_their_order() {
        let passed =
            |provider: &str, reason: &str| PassedOver { provider: provider.to_owned(), reason: reason.to_owned() };
        let chain = PassedOverChain::of(vec![passed("tensorrt", "no engine"), passed("cuda:1", "no card")]).unwrap();
        let refusal = Refusal::NoneUsable { asked: "tensorrt,cuda:1".to_owned(), half: false, passed_over: chain };
        assert_eq!(refusal.to_string(), "none of the providers that `--provider tensorrt,cuda:1` may take can be used");
        let causes = std::iter::successors(std::error::Error::source(&refusal), |source| source.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        assert_eq!(causes, ["`tensorrt`: no engine", "`cuda:1`: no card"]);
        assert_eq!(refusal.hint().unwrap(), "`--provider cpu` is always there");
        assert!(PassedOverChain::of(Vec::new()).is_none());
    }
}
