//! `--fallback`: the flag of every command that opens a session, and the words for a run that went elsewhere than it
//! should. Opens nothing.

use clap::Args;
use offprint::model::{Manifest, Precision};
use offprint::runtime::{Fallback, ProviderChoice};

use super::check::cosine;

/// Where a bundle may run instead.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct FallbackArgs {
    /// What to do if the provider cannot run the bundle as it should: error, warn (run it on the CPU provider and say
    /// so) or allow (run it there). An fp16 bundle is for GPU providers: on the CPU provider it needs warn or allow,
    /// also where auto chose that one [default: error where a provider is named, allow for auto]
    #[arg(long, value_name = "WORD", help_heading = "Encoder")]
    pub fallback: Option<Fallback>,
}

impl FallbackArgs {
    /// What is to be said of a run on the provider `used`, where `--fallback warn` made it possible.
    pub(crate) fn warning(self, asked: ProviderChoice, precision: Precision, used: &str) -> Option<String> {
        if self.fallback != Some(Fallback::Warn) {
            return None;
        }
        if used != asked.resolve() {
            let why = "`--fallback error` says why";
            return Some(format!("`--provider {asked}` could not run the bundle; {used} did ({why})"));
        }
        (precision == Precision::Fp16 && used == ProviderChoice::Cpu.resolve()).then(|| {
            format!("the bundle computes in fp16, which {used} turns into fp32 and back at each step: an fp32 bundle is faster there, and exact")
        })
    }
}

/// How far a bundle's vectors are from the original's, in words, where they are not fp32 and it was measured.
pub(crate) fn distance(manifest: &Manifest) -> Option<(String, String)> {
    let quality = manifest.quality.as_ref().filter(|_| manifest.precision != Precision::Fp32)?;
    let measured = quality.measured.as_ref()?;
    let facts = format!(
        "vectors as measured at export against the {}: least cosine {}, mean {} ({} texts, {})",
        quality.original,
        cosine(measured.cosine_min),
        cosine(measured.cosine_mean),
        measured.texts,
        measured.corpus
    );
    Some((manifest.precision.to_string(), facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_warn_says_something_and_only_of_what_went_elsewhere() {
        use ProviderChoice::{Auto, Cpu, OpenVino};
        let cpu = Cpu.resolve();
        let said = |fallback, asked, precision| FallbackArgs { fallback }.warning(asked, precision, cpu);
        let warn = Some(Fallback::Warn);
        assert_eq!(said(warn, Auto, Precision::Fp32), None);
        for quiet in [None, Some(Fallback::Error), Some(Fallback::Allow)] {
            assert_eq!((said(quiet, OpenVino, Precision::Fp32), said(quiet, Cpu, Precision::Fp16)), (None, None));
        }
        let elsewhere =
            "`--provider openvino` could not run the bundle; CPUExecutionProvider did (`--fallback error` says why)";
        assert_eq!(said(warn, OpenVino, Precision::Fp16).as_deref(), Some(elsewhere));
        assert_eq!(said(warn, OpenVino, Precision::Fp32).as_deref(), Some(elsewhere));
        let turned = said(warn, Auto, Precision::Fp16).unwrap();
        assert!(
            turned.starts_with("the bundle computes in fp16, which CPUExecutionProvider turns into fp32"),
            "{turned}"
        );
        let asked = FallbackArgs { fallback: warn };
        assert_eq!(asked.warning(OpenVino, Precision::Fp16, OpenVino.resolve()), None);
    }
}
