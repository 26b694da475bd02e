//! Which of the providers asked for runs a graph: the first that can, each one before it named with its reason.
//!
//! Opens nothing itself: how a graph is opened on a provider is handed in. Invariant: nothing falls back unless the user said
//! so, and what was passed over is on record.

use serde::{Deserialize, Serialize};

use crate::model::Precision;

use super::error::Error;
use super::fallback::Fallback;
use super::placement::Placement;
use super::provider::{Provider, ProviderChoice};
use super::provider_list::ProviderList;
use super::refusal::{PassedOver, PassedOverChain, Refusal};

/// What is asked of the providers.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// By preference, or `auto`.
    pub providers: &'a ProviderList,
    /// What the graph computes in.
    pub precision: Precision,
    /// Whether the CPU provider may run it in their place, or in a precision that it has no kernels for.
    pub fallback: Option<Fallback>,
}

/// Which provider runs a graph, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The nodes of the graph by provider.
    #[serde(default, rename = "nodes", skip_serializing_if = "Placement::is_empty")]
    pub placement: Placement,
    /// Those that were preferred, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
    /// Why `auto` took it; none where it was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The one that runs, as `--provider` names it; none where no session was opened.
    #[serde(skip)]
    pub provider: Option<Provider>,
}

impl Selection {
    /// The provider that runs; the CPU's where no session was opened, or where it is none of ONNX Runtime's.
    pub fn choice(&self) -> ProviderChoice {
        self.provider.as_ref().map_or(ProviderChoice::Cpu, |provider| provider.choice)
    }
}

/// An error if it is known without a look at the machine that no provider can run the graph.
///
/// # Errors
/// The precision is for none of those that were named, and nobody allowed that.
pub fn refuse_unopened(wanted: Wanted<'_>) -> Result<(), Error> {
    let check = |provider: &Provider| Some((provider.to_string(), check_precision(provider.choice, wanted).err()?));
    let named = wanted.providers.named();
    let refusals: Vec<(String, Refusal)> = named.iter().filter_map(check).collect();
    let int8 = |(_, refusal): &(String, Refusal)| matches!(refusal, Refusal::Int8Elsewhere { .. });
    let may_fall_back = Fallback::permits(wanted.fallback) && !refusals.iter().any(int8);
    if named.is_empty() || refusals.len() < named.len() || may_fall_back {
        return Ok(());
    }
    Err(none_usable(wanted, refusals))
}

/// Opens a graph on the first provider that can run it; `built_in` are ONNX Runtime's names of those that the library has.
///
/// `auto` is CUDA where the library has it and the graph runs wholly on it, else the CPU provider; int8, which is made for the
/// CPU provider, stays there. No other provider is chosen by itself: OpenVINO gives other bits on the same processor,
/// TensorRT builds engines for minutes, and the others were never measured.
///
/// # Errors
/// The reason of the only provider asked for, or of each of several; what is no provider's reason ends the search.
pub fn first_usable<T>(
    wanted: Wanted<'_>,
    built_in: &[String],
    mut open: impl FnMut(&Provider) -> Result<T, Error>,
) -> Result<(T, Selection), Error> {
    let Wanted { providers, precision, fallback } = wanted;
    let mut refusals: Vec<(String, Refusal)> = Vec::new();
    let mut candidates = if providers.is_auto() { of_auto(built_in, precision) } else { providers.named().to_vec() };
    // Numbers that an option changes are cached as such: the CPU provider would not compute them.
    let may_fall_back = Fallback::permits(fallback) && !providers.is_auto() && providers.numerics().is_none();
    let named = candidates.len();
    if may_fall_back && candidates.iter().all(|provider| provider.choice != ProviderChoice::Cpu) {
        candidates.push(ProviderChoice::Cpu.into());
    }
    for (place, provider) in candidates.into_iter().enumerate() {
        // int8 elsewhere is a mistake and no weakness of the machine: the CPU provider has to be asked for.
        if place == named && refusals.iter().any(|(_, refusal)| matches!(refusal, Refusal::Int8Elsewhere { .. })) {
            break;
        }
        let fits = check_precision(provider.choice, wanted).map_err(Error::from);
        match fits.and_then(|()| open(&provider)) {
            Ok(opened) => {
                let passed_over = in_words(refusals);
                let because = providers.is_auto().then(|| why(provider.choice, &passed_over, precision));
                let placement = Placement::default();
                return Ok((opened, Selection { placement, passed_over, because, provider: Some(provider) }));
            }
            Err(Error::Provider(refusal)) => refusals.push((provider.to_string(), *refusal)),
            Err(error) => return Err(error),
        }
    }
    Err(none_usable(wanted, refusals))
}

/// What `auto` tries.
fn of_auto(built_in: &[String], precision: Precision) -> Vec<Provider> {
    let has = |choice: ProviderChoice| built_in.iter().any(|provider| provider == choice.resolve());
    let cuda = has(ProviderChoice::Cuda) && precision != Precision::Int8;
    let candidates = [cuda.then_some(ProviderChoice::Cuda), Some(ProviderChoice::Cpu)];
    candidates.into_iter().flatten().map(Provider::from).collect()
}

/// Why `auto` took a provider.
fn why(taken: ProviderChoice, passed_over: &[PassedOver], precision: Precision) -> String {
    match (taken, passed_over) {
        (ProviderChoice::Cpu, [first, ..]) => {
            format!("auto: the provider that keeps every bit; {}: {}", first.provider, first.reason)
        }
        (ProviderChoice::Cpu, []) if precision == Precision::Int8 => {
            "auto: the provider that int8 is made for".to_owned()
        }
        (ProviderChoice::Cpu, []) => "auto: the provider that keeps every bit".to_owned(),
        _ => "auto: a usable graphics card; `--provider cpu` keeps every bit".to_owned(),
    }
}

/// The error of a search that found none.
fn none_usable(wanted: Wanted<'_>, mut refusals: Vec<(String, Refusal)>) -> Error {
    if refusals.len() == 1
        && let Some((_, refusal)) = refusals.pop()
    {
        return refusal.into();
    }
    let passed_over = PassedOverChain::of(in_words(refusals)).expect("a list of providers has one or more");
    // The CPU provider is the way out of every list, also of one that it is not in, unless it would refuse the bundle.
    let half = matches!(check_precision(ProviderChoice::Cpu, wanted), Err(Refusal::HalfOnCpu { .. }));
    Refusal::NoneUsable { asked: wanted.providers.to_string(), half, passed_over }.into()
}

fn in_words(refusals: Vec<(String, Refusal)>) -> Vec<PassedOver> {
    refusals.into_iter().map(|(provider, refusal)| PassedOver { provider, reason: refusal.reason() }).collect()
}

/// An error if a graph of that precision is not for the provider, and nobody allowed that. Opens nothing.
///
/// The CPU provider computes fp16 in fp32, between a conversion there and one back at each step: measured on MiniLM, 0.8
/// to 1.3 times the processor time of the fp32 graph, and as much memory. OpenVINO takes an fp16 graph wholly, in the time
/// of the fp32 one. int8 is the CPU provider's alone, whatever is allowed: OpenVINO computes such a graph in 1.7 times its
/// time, and vectors differ by 2e-2. TensorRT computes fp32 in TF32 and has no option against it, only the variable that
/// NVIDIA's libraries read.
pub(super) fn check_precision(choice: ProviderChoice, wanted: Wanted<'_>) -> Result<(), Refusal> {
    let tf32_is_off = std::env::var_os("NVIDIA_TF32_OVERRIDE").is_some_and(|value| value == "0");
    match (wanted.precision, choice) {
        (Precision::Int8, choice) if choice != ProviderChoice::Cpu => Err(Refusal::Int8Elsewhere { provider: choice }),
        (Precision::Fp16, ProviderChoice::Cpu) if !Fallback::permits(wanted.fallback) => {
            Err(Refusal::HalfOnCpu { asked: wanted.providers.to_string() })
        }
        (Precision::Fp32 | Precision::Mixed, ProviderChoice::TensorRt) if !tf32_is_off => Err(Refusal::Tf32),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
