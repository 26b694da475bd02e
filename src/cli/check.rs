//! `offprint check`: proves on the user's machine, with the user's texts, that an embedding depends on its text alone.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use indicatif::HumanCount;
use offprint::encode::{
    BundleEncoder, CheckStep, InvarianceOptions, InvarianceReport, OpenEncoder, TextSample, Threaded, TokenBudget,
    built_in_texts, check_invariance, sample_texts,
};
use offprint::model::Bundle;
use offprint::paper::Template;
use offprint::report::{Cell, HTML_FILE, Report, Section};
use offprint::runtime::default_threads;
use serde::Serialize;

use super::adapter_args::{AdapterArgs, Adapters};
use super::corpus_args::CorpusArgs;
use super::environment::is_typed;
use super::fallback::{ProviderArgs, Ran};
use super::hub::HubArgs;
use super::progress::Display;
use super::say::{counted, counted_that, remark, say};
use super::signals::Stop;
use super::{Status, places, table, user_error};

/// Check that an embedding depends on its text alone, to the bit
///
/// The same texts are run alone, in batches, padded, shuffled and as a run plans them, on 1 to N threads, and every
/// vector is compared with the one that its text gets alone. Without a corpus built-in texts of very different lengths
/// are used. Exit status 1 if a single bit differs; on another provider than the CPU's, whose bits do depend on the batch,
/// if a component differs by more than 1e-5 of the largest norm (5e-3 for fp16 on a graphics card; both bounds are reckoned
/// from the rounding, and were seen to hold on openvino alone).
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Folder of the bundle that `offprint export` made, a recipe's name or a hub id
    #[arg(short, long, alias = "model-id", value_name = "BUNDLE", help_heading = "Encoder")]
    model: String,

    #[command(flatten)]
    hub: HubArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// Folder with the bundles of hub ids [default: offprint in the user's cache folder]
    #[arg(long, value_name = "DIR", help_heading = "Hub")]
    cache_dir: Option<PathBuf>,

    #[command(flatten)]
    provider: ProviderArgs,

    /// ONNX Runtime library to load [default: searched for; `offprint doctor` shows where]
    #[arg(long, value_name = "FILE", help_heading = "Encoder")]
    ort_lib: Option<PathBuf>,

    /// Padded tokens of a planned batch [default: 1024, 16384 on cuda, tensorrt, coreml and directml; or the bundle's max
    /// length if that is more]
    #[arg(long, value_name = "N", help_heading = "Encoder")]
    max_batch_tokens: Option<usize>,

    /// Most threads to try; 1, 2, 4 and so on are tried below it [default: the cores, or what the cgroup quota allows;
    /// at least 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Encoder")]
    threads: Option<u16>,

    #[command(flatten)]
    corpus: CorpusArgs,

    /// Texts taken from the corpus, chosen by the hash of the id [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=10_000), help_heading = "Corpus")]
    sample: Option<u16>,

    /// Write report.json and report.html into this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    report: Option<PathBuf>,

    /// Print what was measured as one JSON object
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Texts of a corpus that are taken.
const DEFAULT_SAMPLE: u16 = 200;

const WHERE_CORPUS: &str = "name the corpus behind the flags";

/// What `--json` prints.
#[derive(Serialize)]
struct Account<'a> {
    model: &'a str,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<&'a str>,
    source: &'a str,
    invariant: bool,
    #[serde(flatten)]
    measured: &'a InvarianceReport,
}

pub(crate) fn run(args: &CheckArgs) -> Result<Status> {
    args.corpus.refuse_without_corpus(WHERE_CORPUS)?;
    let bundle = places::bundle(&args.model, &args.hub, args.cache_dir.as_deref(), args.ort_lib.as_deref())?;
    let adapters = args.adapter.choose(&args.model, &bundle.manifest)?;
    if let (Adapters::ByRow(_), true) = (&adapters, args.corpus.corpus.is_empty()) {
        return Err(user_error("`--adapter-field` is given without a corpus", WHERE_CORPUS));
    }
    let provider = args.provider.list()?;
    let max_length = bundle.manifest.max_length;
    let budget = args
        .max_batch_tokens
        .map_or_else(|| Ok(TokenBudget::of_provider(max_length)), |tokens| TokenBudget::new(tokens, max_length))?;
    if let Some(folder) = &args.report {
        std::fs::create_dir_all(folder).with_context(|| format!("could not create `{}`", folder.display()))?;
    }
    // Nothing is kept half done here: a signal ends the program at once, with its own status.
    Stop::on_signals()?.end_at_once();
    let (source, texts) = texts(args, &bundle, &adapters)?;
    let encoder = |threads| BundleEncoder {
        ort_lib: args.ort_lib.clone(),
        provider: provider.clone(),
        fallback: args.provider.fallback,
        adapter: adapters.choice(),
        ..BundleEncoder::on_cpu(bundle.clone(), threads)
    };
    let counts = thread_counts(args.threads);
    rayon::ThreadPoolBuilder::new().num_threads(counts[0]).build_global().context("could not start the threads")?;
    let encoders: Vec<BundleEncoder> = counts.into_iter().map(encoder).collect();
    let threaded: Vec<Threaded<'_>> = encoders
        .iter()
        .map(|encoder| Threaded { threads: encoder.threads, encoder: encoder as &dyn OpenEncoder })
        .collect();
    let options = InvarianceOptions {
        budget,
        max_length,
        normalized: bundle.manifest.normalize,
        precision: bundle.manifest.precision,
        adapters: texts.adapters.clone(),
    };
    let mut display = Display::new();
    let measured = check_invariance(&threaded, &texts.texts, &options, &mut |step| show(&mut display, step))?;
    drop(display);
    let ran = Ran { asked: &provider, used: &measured.provider, selection: &measured.selection };
    let warnings = args.provider.warnings(ran, bundle.manifest.precision);
    warnings.iter().for_each(|warning| remark(&format!("warning: {warning}")));
    if args.json {
        let account = Account {
            model: &args.model,
            fingerprint: encoders[0].fingerprint().hash(),
            adapter: adapters.name(),
            source: &source,
            invariant: measured.is_invariant(),
            measured: &measured,
        };
        say(&serde_json::to_string_pretty(&account)?)?;
    } else {
        say(&describe(args, &source, &measured))?;
        if !bundle.manifest.batch_invariant {
            say("bundle.toml promises nothing (`batch_invariant = false`): the graph is that of another program")?;
        }
    }
    if let Some(folder) = &args.report {
        report(&encoders[0], &source, &measured).write(folder)?;
        remark(&format!("report: {}", folder.join(HTML_FILE).display()));
    }
    Ok(if measured.is_invariant() { Status::Done } else { Status::CheckFailed })
}

/// The texts to run, and what to call them.
fn texts(args: &CheckArgs, bundle: &Bundle, adapters: &Adapters) -> Result<(String, TextSample)> {
    let manifest = &bundle.manifest;
    if args.corpus.corpus.is_empty() {
        if args.sample.is_some() && is_typed("--sample") {
            return Err(user_error("`--sample` is given without a corpus".to_owned(), WHERE_CORPUS));
        }
        let texts = built_in_texts(manifest.max_length);
        let rows = texts.len() as u64;
        let source = format!("{rows} built-in texts");
        return Ok((source, TextSample { texts, adapters: Vec::new(), rows, rejected: 0 }));
    }
    let corpus = args.corpus.open_with_adapters(None, &[], args.adapter.adapter_field.as_deref())?;
    let template: Template = manifest.template.parse()?;
    let size = args.sample.unwrap_or(DEFAULT_SAMPLE).into();
    let sample = sample_texts(&corpus, (&template, &manifest.sep_token), &adapters.of_rows(), size)?;
    if sample.rejected > 0 {
        let verbs = ("cannot be used and was passed over", "cannot be used and were passed over");
        remark(&format!("warning: {}", counted_that(sample.rejected, "row", verbs)));
    }
    let count = sample.texts.len();
    if count < 2 {
        let texts = counted_that(count as u64, "text", ("that differs", "that differ"));
        let what = format!("the corpus has {texts} from the others, the check needs 2 or more");
        return Err(user_error(what, "leave the corpus out to check with built-in texts"));
    }
    Ok((format!("{count} texts out of {}, by hash of the id", counted(sample.rows, "row")), sample))
}

/// The numbers of threads to try, the largest first: that one runs most, and it is the fastest.
fn thread_counts(most: Option<u16>) -> Vec<usize> {
    let most = most.map_or_else(|| default_threads().max(2), usize::from);
    let below = std::iter::successors(Some(1_usize), |threads| threads.checked_mul(2));
    let mut counts: Vec<usize> = below.take_while(|&threads| threads < most).collect();
    counts.push(most);
    counts.reverse();
    counts
}

fn threads(count: usize) -> String {
    counted(count as u64, "thread")
}

fn show(display: &mut Display, step: CheckStep) {
    let (done, all) = step.tokens;
    let what = format!("{}, {}  {}", step.composition, threads(step.threads), counted(step.texts, "text"));
    display.show(done as f64 / all.max(1) as f64, &what, || format!("{} tokens, ", HumanCount(all)));
}

const COLUMNS: [&str; 6] =
    ["composition", "threads", "rows that differ", "max |Δ|", "worst cosine", "neighbours changed"];

fn describe(args: &CheckArgs, source: &str, measured: &InvarianceReport) -> String {
    let mut lines = vec![
        format!("{}: {source}, {} dimensions", args.model, measured.dim),
        format!(
            "{} to {} tokens, {} cut to the max length; ONNX Runtime {}, {}",
            measured.tokens.0, measured.tokens.1, measured.truncated, measured.runtime_version, measured.provider
        ),
        format!("nodes of the graph: {}", measured.selection.placement),
        format!(
            "compared with each text alone on {}; neighbours: the nearest {} among the texts",
            threads(measured.reference_threads),
            measured.neighbours
        ),
        String::new(),
    ];
    let number = |value: f64| if value == 0.0 { "0".to_owned() } else { format!("{value:.1e}") };
    let rows: Vec<Vec<String>> = measured
        .compositions
        .iter()
        .map(|compared| {
            vec![
                compared.composition.clone(),
                compared.threads.to_string(),
                compared.rows_differ.to_string(),
                number(compared.max_delta),
                cosine(compared.worst_cosine),
                compared.neighbours_changed.to_string(),
            ]
        })
        .collect();
    lines.push(table::layout(&COLUMNS, &rows, 40).trim_end().to_owned());
    lines.push(String::new());
    lines.push(verdict(measured));
    lines.join("\n")
}

/// With as many digits as it takes to tell it from 1.
pub(crate) fn cosine(value: f64) -> String {
    match 1.0 - value {
        0.0 => "1".to_owned(),
        short if short < 1e-8 => format!("1 - {short:.1e}"),
        _ => format!("{value:.9}"),
    }
}

fn verdict(measured: &InvarianceReport) -> String {
    if measured.compositions.iter().all(|compared| compared.rows_differ == 0) {
        return "the same bits in every composition: an embedding depends on its text alone".to_owned();
    }
    if measured.is_invariant() {
        return format!(
            "differences of at most {:.1e}, allowed on {} are {:.1e}: an embedding depends on its text alone up to that",
            measured.compositions.iter().map(|compared| compared.max_delta).fold(0.0, f64::max),
            measured.provider,
            measured.allowed,
        );
    }
    let broken = measured.compositions.iter().filter(|compared| !measured.allows(compared)).count();
    let most = measured.compositions.iter().map(|compared| compared.rows_differ).max().unwrap_or(0);
    format!(
        "failed: up to {most} of {} embeddings depend on more than their text, in {broken} of {} compositions",
        measured.texts,
        measured.compositions.len()
    )
}

fn report(encoder: &BundleEncoder, source: &str, measured: &InvarianceReport) -> Report {
    let mut report = Report::new("Batch invariance");
    report.push_environment("encoder", encoder.bundle.manifest.source.name.as_str());
    report.push_environment("fingerprint", encoder.fingerprint().hash());
    report.push_environment("provider", measured.provider.as_str());
    report.push_environment("nodes", measured.selection.placement.to_string());
    report.push_environment("ONNX Runtime", measured.runtime_version.as_str());
    report.push_environment("processor", measured.cpu.as_str());
    report.push(Section::note("Verdict", &verdict(measured)));
    let rows = measured.compositions.iter().map(|compared| {
        vec![
            Cell::from(compared.composition.as_str()),
            compared.threads.into(),
            compared.rows_differ.into(),
            compared.max_delta.into(),
            compared.worst_cosine.into(),
            compared.neighbours_changed.into(),
        ]
    });
    report.push(Section::table("Compositions", &COLUMNS, rows.collect()));
    let facts = [
        ("texts", Cell::from(source)),
        ("tokens of the shortest text", measured.tokens.0.into()),
        ("tokens of the longest text", measured.tokens.1.into()),
        ("texts cut to the max length", measured.truncated.into()),
        ("threads of the texts alone", measured.reference_threads.into()),
        ("neighbours looked at", measured.neighbours.into()),
        ("smallest norm", measured.norms.0.into()),
        ("largest norm", measured.norms.1.into()),
    ];
    report.push(Section::facts("What was compared", facts));
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_tried_in_powers_of_two_below_the_most() {
        assert_eq!(thread_counts(Some(1)), [1]);
        assert_eq!(thread_counts(Some(2)), [2, 1]);
        assert_eq!(thread_counts(Some(6)), [6, 4, 2, 1]);
        assert_eq!(thread_counts(Some(8)), [8, 4, 2, 1]);
        assert!(thread_counts(None).len() >= 2, "at least two numbers of threads are compared");
    }

    #[test]
    fn a_cosine_below_one_never_reads_as_one() {
        assert_eq!(cosine(1.0), "1");
        assert_eq!(cosine(0.999_999_97), "0.999999970");
        assert_eq!(cosine(1.0 - f64::EPSILON), "1 - 2.2e-16");
    }
}
