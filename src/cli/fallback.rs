//! `--provider`, `--provider-option` and `--fallback`: the flags of every command that opens a session, and the words for where
//! a run went. Opens nothing.

use anyhow::Result;
use clap::Args;
use offprint::model::{Manifest, Precision};
use offprint::runtime::{Fallback, ProviderChoice, ProviderList, Selection};

use super::check::cosine;

/// Where a bundle may run.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProviderArgs {
    /// Execution provider: auto, cpu, cuda[:N], tensorrt[:N], openvino, coreml, directml or ONNX Runtime's name of one; N is a
    /// device, and cuda:0,1 runs on both, a session on each. Several providers with commas between them are tried in that order
    /// (cuda,cpu), and each one passed over is named with the reason. All but cpu need an ONNX Runtime that is built with them (--ort-lib). auto is cuda where that can run the whole
    /// bundle, else cpu, whose bits depend on the text alone; int8 stays on cpu
    #[arg(long, value_name = "NAME", default_value = "auto", help_heading = "Encoder")]
    pub provider: String,

    /// An option of the provider in its own words, such as gpu_mem_limit=8000000000; may be repeated. With several providers
    /// NAME.KEY=VALUE is for one of them. What may change numbers (use_tf32=1) is cached apart, and is for a single provider
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Encoder")]
    pub provider_option: Vec<String>,

    /// What to do if the provider cannot run the bundle as it should: error, warn (run it on the CPU provider and say
    /// so) or allow (run it there). An fp16 bundle is for GPU providers: on the CPU provider it needs warn or allow,
    /// also where auto chose that one [default: error where a provider is named, allow for auto]
    #[arg(long, value_name = "WORD", help_heading = "Encoder")]
    pub fallback: Option<Fallback>,
}

/// Where a run went, and where it should have gone.
#[derive(Clone, Copy)]
pub(crate) struct Ran<'a> {
    pub asked: &'a ProviderList,
    /// ONNX Runtime's name of the provider.
    pub used: &'a str,
    pub selection: &'a Selection,
}

impl ProviderArgs {
    /// The providers with their options.
    pub(crate) fn list(&self) -> Result<ProviderList> {
        Ok(self.provider.parse::<ProviderList>()?.with_options(&self.provider_option)?)
    }

    /// What is to be said of a run that went elsewhere than it was asked to first: always where several were named, else where
    /// `--fallback warn` made it possible.
    pub(crate) fn warnings(&self, ran: Ran<'_>, precision: Precision) -> Vec<String> {
        let Ran { asked, used, selection } = ran;
        let warn = self.fallback == Some(Fallback::Warn);
        let several = asked.named().len() > 1;
        let passed_over = selection.passed_over.iter().filter(|_| several || (warn && !asked.is_auto()));
        let mut warnings: Vec<String> = passed_over
            .map(|passed| {
                format!("`--provider {}` could not run the bundle; {used} did: {}", passed.provider, passed.reason)
            })
            .collect();
        if warn && precision == Precision::Fp16 && used == ProviderChoice::Cpu.resolve() {
            warnings.push(format!(
                "the bundle computes in fp16, which {used} turns into fp32 and back at each step; an fp32 bundle rounds \
                 nothing there and takes no more memory (which of them is faster depends on the processor: fp16 took 0.8 \
                 to 1.3 times the time of fp32)"
            ));
        }
        warnings
    }
}

/// A provider, and why it was taken where nobody named it.
pub(crate) fn chosen(provider: &str, selection: &Selection) -> String {
    selection.because.as_ref().map_or_else(|| provider.to_owned(), |because| format!("{provider} ({because})"))
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
    use offprint::runtime::PassedOver;

    use super::*;

    const WARN: Option<Fallback> = Some(Fallback::Warn);

    /// What is said of a run on the CPU provider for which others were passed over.
    fn said(fallback: Option<Fallback>, provider: &str, (precision, names): (Precision, &[&str])) -> Vec<String> {
        let args = ProviderArgs { provider: provider.to_owned(), provider_option: Vec::new(), fallback };
        let passed = |name: &&str| PassedOver { provider: (*name).to_owned(), reason: "it is not there".to_owned() };
        let selection = Selection { passed_over: names.iter().map(passed).collect(), ..Selection::default() };
        let asked = args.list().unwrap();
        args.warnings(Ran { asked: &asked, used: "CPUExecutionProvider", selection: &selection }, precision)
    }

    #[test]
    fn a_single_provider_is_spoken_of_only_where_a_warning_was_asked_for() {
        for quiet in [None, Some(Fallback::Error), Some(Fallback::Allow)] {
            assert_eq!(said(quiet, "openvino", (Precision::Fp32, &["openvino"])), Vec::<String>::new());
        }
        let expected = "`--provider openvino` could not run the bundle; CPUExecutionProvider did: it is not there";
        assert_eq!(said(WARN, "openvino", (Precision::Fp32, &["openvino"])), [expected]);
        assert_eq!(said(WARN, "auto", (Precision::Fp32, &["cuda"])), Vec::<String>::new(), "the account says it");
        assert_eq!(said(WARN, "cpu", (Precision::Fp32, &[])), Vec::<String>::new());
    }

    #[test]
    fn each_of_several_that_was_passed_over_is_named() {
        let warnings = said(None, "tensorrt,cuda:1,cpu", (Precision::Fp32, &["tensorrt", "cuda:1"]));
        let expected = ["tensorrt", "cuda:1"].map(|name| {
            format!("`--provider {name}` could not run the bundle; CPUExecutionProvider did: it is not there")
        });
        assert_eq!(warnings, expected);
    }

    #[test]
    fn fp16_on_the_cpu_provider_is_said_to_be_turned_into_fp32_where_a_warning_was_asked_for() {
        let turned = said(WARN, "auto", (Precision::Fp16, &[]));
        assert_eq!(turned.len(), 1);
        assert!(turned[0].starts_with("the bundle computes in fp16, which CPUExecutionProvider turns into fp32"));
        assert_eq!(said(Some(Fallback::Allow), "cpu", (Precision::Fp16, &[])), Vec::<String>::new());
        assert_eq!(said(WARN, "openvino", (Precision::Fp16, &["openvino"])).len(), 2);
    }

    #[test]
    fn what_auto_chose_is_said_with_the_reason() {
        let because = Some("auto: it is there".to_owned());
        let selection = Selection { because, ..Selection::default() };
        assert_eq!(chosen("CPUExecutionProvider", &selection), "CPUExecutionProvider (auto: it is there)");
        assert_eq!(chosen("CPUExecutionProvider", &Selection::default()), "CPUExecutionProvider");
    }
}
