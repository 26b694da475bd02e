//! What becomes of a run whose provider can't do it as it should: refused, or done on the CPU provider. Knows no bundle,
//! only its precision. Invariant: nothing falls back unless the user said so.

use std::fmt;
use std::str::FromStr;

use crate::model::Precision;

use super::error::Error;
use super::library::OnnxRuntime;
use super::provider::{self, ProviderChoice};
use super::session::{EncoderSession, SessionOptions};
use super::shared_weights::CpuSettings;

/// What `--fallback` says. Without it a named provider takes the run or is an error; `auto` takes what there is, but no
/// bundle on a provider that its precision is not for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// Refuse.
    Error,
    /// Run on the CPU provider; whoever prints is to say so.
    Warn,
    /// Run on the CPU provider.
    Allow,
}

impl Fallback {
    /// Each of them, in the order in which messages list them.
    pub const ALL: [Self; 3] = [Self::Error, Self::Warn, Self::Allow];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Allow => "allow",
        }
    }

    fn permits(asked: Option<Self>) -> bool {
        matches!(asked, Some(Self::Warn | Self::Allow))
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Fallback {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|fallback| fallback.name() == word).ok_or_else(|| Error::UnknownFallback {
            word: word.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// An error if a graph of that precision would run on a provider that has no kernels for it, and nobody allowed that.
/// Opens nothing.
///
/// The CPU provider computes fp16 in fp32, between a conversion there and one back at each step: measured on MiniLM, 0.8
/// to 1.3 times the processor time of the fp32 graph, and as much memory. OpenVINO takes an fp16 graph wholly, in the time
/// of the fp32 one. int8 is the CPU provider's alone, whatever is allowed: OpenVINO computes such a graph in 1.7 times its
/// time, and vectors differ by 2e-2.
pub fn check_precision(choice: ProviderChoice, precision: Precision, fallback: Option<Fallback>) -> Result<(), Error> {
    if precision == Precision::Int8 && choice.resolve() != provider::CPU {
        return Err(Error::Int8Elsewhere { provider: choice.resolve(), choice });
    }
    if precision != Precision::Fp16 || choice.resolve() != provider::CPU || Fallback::permits(fallback) {
        return Ok(());
    }
    Err(Error::HalfOnCpu { provider: choice.resolve(), choice })
}

/// Opens a graph on the provider asked for, or where that one is missing or leaves a part of the graph to the CPU, on the
/// CPU provider if `fallback` allows it; [`EncoderSession::provider`] says which it was.
///
/// # Errors
/// As [`EncoderSession::open_outputs`].
pub fn open_or_fall_back(
    runtime: &OnnxRuntime,
    options: &SessionOptions,
    outputs: &[&str],
    (fallback, cpu): (Option<Fallback>, &CpuSettings),
) -> Result<EncoderSession, Error> {
    match EncoderSession::open_with(runtime, options, outputs, cpu) {
        Err(Error::ProviderMissing { .. } | Error::NotPlaced { .. }) if Fallback::permits(fallback) => {
            let options = SessionOptions { provider: ProviderChoice::Cpu, ..options.clone() };
            EncoderSession::open_with(runtime, &options, outputs, cpu)
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_round_and_an_unknown_one_lists_them() {
        for fallback in Fallback::ALL {
            assert_eq!(fallback.to_string().parse::<Fallback>().unwrap(), fallback);
        }
        let error = "cpu".parse::<Fallback>().unwrap_err().to_string();
        assert_eq!(error, "unknown fallback `cpu`, known are: error, warn, allow");
    }

    #[test]
    fn int8_is_refused_on_all_but_the_cpu_provider() {
        for fallback in [None, Some(Fallback::Warn), Some(Fallback::Allow)] {
            assert!(check_precision(ProviderChoice::Cpu, Precision::Int8, fallback).is_ok());
            assert!(check_precision(ProviderChoice::Auto, Precision::Int8, fallback).is_ok());
            let error = check_precision(ProviderChoice::OpenVino, Precision::Int8, fallback).unwrap_err();
            let expected = "the bundle computes in int8, which is made for `CPUExecutionProvider`; `--provider openvino` \
                            would be slower and give other vectors";
            assert_eq!(error.to_string(), expected);
            assert_eq!(
                error.hint().unwrap(),
                "`--provider cpu`, or export it with `--precision fp32` for this provider"
            );
        }
    }

    #[test]
    fn fp16_is_refused_on_the_cpu_provider_also_where_auto_chose_it() {
        use ProviderChoice::{Auto, Cpu, OpenVino};
        let check = |choice, precision, fallback| check_precision(choice, precision, fallback).is_ok();
        for choice in [Auto, Cpu] {
            assert!(!check(choice, Precision::Fp16, None) && !check(choice, Precision::Fp16, Some(Fallback::Error)));
            assert!(check(choice, Precision::Fp16, Some(Fallback::Warn)));
            assert!(check(choice, Precision::Fp16, Some(Fallback::Allow)));
            assert!(check(choice, Precision::Fp32, None) && check(choice, Precision::Mixed, None));
        }
        assert!(check(OpenVino, Precision::Fp16, None));
        let error = check_precision(Auto, Precision::Fp16, None).unwrap_err();
        let expected = "the bundle computes in fp16, and `CPUExecutionProvider` (chosen by `--provider auto`) would turn \
                        every step into fp32 and back";
        assert_eq!(error.to_string(), expected);
        let hint = error.hint().unwrap();
        assert!(hint.starts_with("export it with `--precision fp32` for this machine"), "{hint}");
        assert!(hint.contains("`--fallback warn`"), "{hint}");
    }
}
