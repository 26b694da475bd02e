//! `offprint classify`: a head says what papers are about.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use offprint::evaluate::{PartReport, measure_names};
use offprint::heads::Head;
use offprint::model::{Bundle, Task};
use offprint::output::{Labeller, PredictionOptions, PredictionSink, prediction_writer};
use offprint::report::{Cell, Report, Section};

use super::corpus_args::CorpusArgs;
use super::encode_args::EncodeArgs;
use super::output_args::CompressArgs;
use super::run::Run;
use super::say::{remark, say};
use super::train::{push_part, text_source_of};
use super::{Status, table, user_error};

/// Label papers with a head, or with the classifier in a bundle
///
/// Writes id, label and probability of every paper in the order of the corpus, and shows the first ones as a table.
#[derive(Debug, Args)]
pub(crate) struct ClassifyArgs {
    #[command(flatten)]
    encode: EncodeArgs,

    #[command(flatten)]
    corpus: CorpusArgs,

    /// Head that `offprint train` made [default: the classifier that the bundle was exported with]
    #[arg(long, value_name = "HEAD", help_heading = "Head")]
    head: Option<PathBuf>,

    /// Use a head that was trained on another encoder
    #[arg(long, help_heading = "Head")]
    allow_encoder_change: bool,

    /// Where predictions go, in the order of the corpus: .jsonl or .csv (each also with .gz or .zst) or .parquet
    /// [default: only the table]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,

    #[command(flatten)]
    compress: CompressArgs,

    /// Also give the K most probable labels of each paper
    #[arg(long, value_name = "K", default_value_t = 0, help_heading = "Output")]
    top_k: usize,

    /// Carry these fields of the corpus into the predictions, under another name if one is given
    #[arg(long, value_name = "[NAME=]FIELD,...", value_delimiter = ',', help_heading = "Output")]
    keep: Vec<String>,

    /// Call papers `unknown` whose most probable label has less than this probability
    #[arg(long, value_name = "P", help_heading = "Output")]
    min_probability: Option<f32>,

    /// Show this many papers on stdout
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Output")]
    show: usize,

    /// Field with the right label: accuracy and macro-F1 are reported
    #[arg(long, value_name = "FIELD", help_heading = "Corpus")]
    label: Option<String>,
}

pub(crate) fn run(args: &ClassifyArgs) -> Result<Status> {
    if let Some(p) = args.min_probability.filter(|p| !(0.0..=1.0).contains(p)) {
        return Err(user_error(format!("`--min-probability` is {p}, expected 0 to 1"), "0.5 is a common choice"));
    }
    let (kept_names, kept_fields): (Vec<String>, Vec<String>) = args.keep.iter().map(|keep| named_field(keep)).unzip();
    let corpus = args.corpus.open(args.label.as_deref(), &kept_fields)?;
    let head = args.head.as_deref().map(Head::load).transpose()?;
    let run = Run::new(&args.encode, &corpus, args.output.as_deref())?;
    let by_graph = head.is_none();
    let (run, labeller) = match head {
        Some(head) => {
            check_head(args, &head, &run)?;
            (run.with_cache()?, Labeller::Head(Box::new(head)))
        }
        None => {
            let labels = labels_of(args, run.bundle())?;
            (run, Labeller::Graph(labels))
        }
    };
    let options = PredictionOptions { top_k: args.top_k, kept_names, compression: args.compress.compress };
    let writer = args.output.as_deref().map(|path| prediction_writer(path, &options)).transpose()?;
    let mut sink = PredictionSink::new(labeller, writer, args.top_k)
        .with_min_probability(args.min_probability)
        .with_preview(if args.encode.json { 0 } else { args.show });
    let account = if by_graph {
        run.classify(&corpus, args.corpus.limit, &mut sink)?
    } else {
        run.encode(&corpus, args.corpus.limit, Some(&mut sink))?
    };
    if account.interrupted {
        run.print(&account)?;
        return Ok(run.status(&account));
    }
    let outcome = sink.finish()?;
    let measured = match outcome.truth.as_slice() {
        [] => None,
        truth => Some(measure_names(truth, &outcome.predicted)?),
    };
    print_table(args, &outcome.preview, account.rows - account.rejected)?;
    run.print(&account)?;
    print_quality(args, measured.as_ref(), outcome.truth.len());
    run.write_report(report(&outcome.counts, measured.as_ref()), &account)?;
    Ok(run.status(&account))
}

/// The labels of the classifier in the bundle's own graph, of which exactly one must be right.
fn labels_of(args: &ClassifyArgs, bundle: &Bundle) -> Result<Vec<String>> {
    let model = &args.encode.model;
    let Some(classifier) = bundle.manifest.heads.first() else {
        return Err(user_error(
            format!("bundle `{model}` has no classifier"),
            "give `--head`, or export a checkpoint of a sequence classifier",
        ));
    };
    let Some(answers) = other_answers(classifier.task) else { return Ok(classifier.labels.clone()) };
    Err(user_error(
        format!("the classifier of bundle `{model}` {answers}, which `classify` can't write"),
        "run `model.onnx` with ONNX Runtime and read its outputs `logits` and `probabilities`",
    ))
}

/// What a head answers with if not with one label.
fn other_answers(task: Task) -> Option<&'static str> {
    match task {
        Task::Classification => None,
        Task::Multilabel => Some("gives several labels to a paper"),
        Task::Regression => Some("gives numbers, not labels"),
    }
}

/// `year`, or `published=year` for a field that gets another name.
fn named_field(keep: &str) -> (String, String) {
    let (name, field) = keep.split_once('=').unwrap_or((keep, keep));
    (name.to_owned(), field.to_owned())
}

/// A head serves only the encoder that it was trained on, unless the user says otherwise; another way of making texts
/// is a warning.
fn check_head(args: &ClassifyArgs, head: &Head, run: &Run<'_>) -> Result<()> {
    if let Some(answers) = other_answers(head.task) {
        let file = args.head.as_deref().unwrap_or(Path::new(""));
        return Err(user_error(
            format!("head `{}` {answers}, which `classify` can't write", file.display()),
            "fuse it into the bundle with `offprint fuse`, and read the outputs of `model.onnx` with ONNX Runtime",
        ));
    }
    if let Err(error) = head.check_identity(run.bundle().identity().fields()) {
        // Vectors of another length fit no head, whatever the user allows.
        if !args.allow_encoder_change || head.dim() != run.bundle().manifest.dim {
            return Err(error.into());
        }
        remark(&format!("warning: {error}"));
    }
    let source = text_source_of(&args.corpus, &run.bundle().manifest.template);
    if source != head.template_or_field {
        remark(&format!(
            "warning: head `{}` was trained with {}, now {source}",
            args.head.as_deref().unwrap_or(Path::new("")).display(),
            head.template_or_field
        ));
    }
    Ok(())
}

fn print_table(args: &ClassifyArgs, preview: &[(String, String, f32)], papers: u64) -> Result<()> {
    if preview.is_empty() {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = preview
        .iter()
        .map(|(title, label, probability)| vec![title.clone(), label.clone(), format!("{probability:.3}")])
        .collect();
    say(table::layout(&["title", "label", "probability"], &rows, 70).trim_end())?;
    let more = papers.saturating_sub(preview.len() as u64);
    if more > 0 {
        match &args.output {
            Some(output) => say(&format!("... and {more} more in {}", output.display()))?,
            None => say(&format!("... and {more} more; `-o FILE` writes them all"))?,
        }
    }
    Ok(())
}

fn print_quality(args: &ClassifyArgs, measured: Option<&PartReport>, labelled: usize) {
    if let (Some(measured), Some(label)) = (measured, &args.label) {
        remark(&format!(
            "against `{label}` of {labelled} papers: accuracy {:.4}, macro-F1 {:.4}",
            measured.accuracy, measured.f1_macro
        ));
    }
    if let Some(output) = &args.output {
        remark(&format!("predictions: {}", output.display()));
    }
}

fn report(counts: &[(String, u64)], measured: Option<&PartReport>) -> Report {
    let mut report = Report::new("Predictions");
    let bars = counts.iter().map(|(label, papers)| (label.as_str(), *papers as f64));
    report.push(Section::bars("Papers by predicted label", bars));
    if let Some(measured) = measured {
        let facts = vec![
            ("labelled papers", Cell::from(measured.rows)),
            ("accuracy", measured.accuracy.into()),
            ("macro-F1", measured.f1_macro.into()),
        ];
        report.push(Section::facts("Quality", facts));
        push_part(&mut report, measured);
    }
    report
}
