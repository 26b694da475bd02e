//! `offprint classify`: heads say what papers are about. What the flags ask of the heads is settled in
//! `classify_heads`, what a run came to is shown by `classify_report`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use offprint::heads::Head;
use offprint::model::Manifest;
use offprint::output::{PredictedHead, PredictionOptions, PredictionSink, prediction_writer};

use super::classify_heads::{Source, Truth, adapters, check_rules, columns, match_truths, rules};
use super::classify_report::Shown;
use super::corpus_args::CorpusArgs;
use super::encode_args::EncodeArgs;
use super::environment::is_typed;
use super::output_args::CompressArgs;
use super::run::Run;
use super::{Status, user_error};

/// Label papers, or predict numbers of them, by a head or by the heads in a bundle
///
/// Writes what each paper is predicted to be, in the order of the corpus, and shows the first ones as a table. A head
/// file works on embeddings, which are cached; heads in the bundle's own graph (a fine-tuned classifier, fused heads)
/// answer all in one pass. What is written depends on the head: of one label `label` and `probability`; of several the
/// lists `labels` and `probabilities` of those at or above their threshold; of numbers `value`, or a column for each
/// name. A head without probabilities, such as a support vector machine that was not calibrated, gives `score` and
/// `scores` instead. A head with conformal sets also gives `label_set`, the labels that may be right. A label whose
/// probability lies in the head's own abstain band is `unknown`. With several heads the columns begin with the head's name: topic_label, year_value.
#[derive(Debug, Args)]
pub(crate) struct ClassifyArgs {
    #[command(flatten)]
    pub(super) encode: EncodeArgs,

    #[command(flatten)]
    pub(super) corpus: CorpusArgs,

    /// Head file to use, also where the bundle has heads of its own [default: all heads that the bundle has]
    #[arg(long, value_name = "FILE", help_heading = "Head")]
    pub(super) head: Option<PathBuf>,

    /// Use only this head of the bundle; columns then have no name before them
    #[arg(long, value_name = "NAME", conflicts_with = "head", help_heading = "Head")]
    pub(super) head_name: Option<String>,

    /// Use a head file that was trained on another encoder
    #[arg(long, help_heading = "Head")]
    pub(super) allow_encoder_change: bool,

    /// Where predictions go, in the order of the corpus: .jsonl or .csv (each also with .gz or .zst) or .parquet
    /// [default: only the table]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub(super) output: Option<PathBuf>,

    #[command(flatten)]
    compress: CompressArgs,

    /// Where one label is right, also give the K most probable ones; where several may be, give at most K
    ///
    /// CSV spreads them over label_2, probability_2, ...; where the label is `unknown`, label_2 is the most probable one.
    /// A head for several labels has as many columns there as it has labels, unless this says less.
    #[arg(long, value_name = "K", default_value_t = 0, help_heading = "Output")]
    pub(super) top_k: usize,

    /// Carry these fields of the corpus into the predictions, under another name if one is given
    #[arg(long, value_name = "[NAME=]FIELD,...", value_delimiter = ',', help_heading = "Output")]
    keep: Vec<String>,

    /// Where one label is right, call papers `unknown` whose most probable label has less than this probability; where
    /// several may be, give each from this probability on
    ///
    /// It takes the place of the head's own abstain band, and for several labels of its thresholds (0.5 where it has
    /// none): 0 gives all labels, with --top-k 3 the three most probable. Heads that give numbers or scores have no
    /// probabilities.
    #[arg(long, value_name = "P", help_heading = "Output")]
    pub(super) min_probability: Option<f32>,

    /// Show this many papers on stdout
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Output")]
    show: usize,

    /// Field that says what is right, for each head that is to be measured; with several heads as HEAD=FIELD
    ///
    /// One label: accuracy and macro-F1. Several: micro-, macro- and samples-F1; the field is a list (in CSV as JSON) or
    /// a text with separators, an empty list says that none is right. Numbers: R², MAE, RMSE, Kendall's tau-b and
    /// Pearson's correlation; the field is a number, or a list of as many as the head gives. Rows where it is missing,
    /// null or an empty text are not measured; rows where it is something else are rejected.
    #[arg(long, value_name = "[HEAD=]FIELD,...", value_delimiter = ',', help_heading = "Corpus")]
    label: Vec<String>,

    /// What stands between labels in a text that has several; a blank is any run of blanks [default: ;]
    #[arg(long, value_name = "TEXT", help_heading = "Corpus")]
    pub(super) label_separator: Option<String>,
}

pub(crate) fn run(args: &ClassifyArgs) -> Result<Status> {
    if let Some(p) = args.min_probability.filter(|p| !(0.0..=1.0).contains(p)) {
        return Err(user_error(format!("`--min-probability` is {p}, expected 0 to 1"), "0.5 is a common choice"));
    }
    if args.allow_encoder_change && args.head.is_none() && is_typed("--allow-encoder-change") {
        return Err(user_error("`--allow-encoder-change` is given without `--head`", "it is about a head file"));
    }
    let truths = args.label.iter().map(|label| Truth::parse(label)).collect::<Result<Vec<_>>>()?;
    let (kept_names, kept_fields): (Vec<String>, Vec<String>) = args.keep.iter().map(|keep| named_field(keep)).unzip();
    let fields = truths.iter().map(|truth| truth.field.as_str());
    let adapter_field = args.encode.adapter.adapter_field.as_deref();
    let corpus = args.corpus.open_with_adapters(fields, &kept_fields, adapter_field)?;
    // Read before the bundle, which may have to be downloaded first.
    let head = args.head.as_deref().map(Head::load).transpose()?;
    let choose = |manifest: &Manifest| adapters(args, manifest);
    let run = Run::with_adapters(&args.encode, &corpus, args.output.as_deref(), &choose)?;
    let source = Source::choose(args, head, &run)?;
    let readers = source.readers(rules(args));
    check_rules(args, &readers)?;
    let matched = match_truths(args, &truths, &readers)?;
    let corpus = corpus.with_label_kinds(matched.kinds);
    let options =
        PredictionOptions { heads: columns(&readers, args.top_k), kept_names, compression: args.compress.compress };
    let writer = args.output.as_deref().map(|path| prediction_writer(path, &options)).transpose()?;
    let heads = readers.into_iter().zip(&matched.of_heads).map(|(reader, &truth)| PredictedHead { reader, truth });
    let mut heads: Vec<PredictedHead> = heads.collect();
    let preview = if args.encode.json { 0 } else { args.show };
    let (run, account, sink) = match source {
        Source::Graph(graph_heads) => {
            let mut sink = PredictionSink::of_graph(heads, writer).with_preview(preview);
            let account = run.classify(&graph_heads, (&corpus, args.corpus.limit), &mut sink)?;
            (run, account, sink)
        }
        Source::File { head, .. } => {
            let run = run.with_cache()?;
            let mut sink = PredictionSink::of_file(*head, heads.remove(0), writer).with_preview(preview);
            let account = run.encode(&corpus, args.corpus.limit, Some(&mut sink))?;
            (run, account, sink)
        }
    };
    if account.interrupted {
        run.print(&account)?;
        return Ok(run.status(&account));
    }
    let outcome = sink.finish()?;
    let fields = matched.of_heads.iter().map(|truth| truth.map(|at| truths[at].field.as_str())).collect();
    let shown = Shown { heads: &outcome.heads, fields };
    shown.print_table(&outcome.preview, args.output.as_deref(), account.rows - account.rejected)?;
    run.print(&account)?;
    shown.print_quality(args.output.as_deref());
    run.write_report(shown.report(), &account)?;
    Ok(run.status(&account))
}

/// `year`, or `published=year` for a field that gets another name.
fn named_field(keep: &str) -> (String, String) {
    let (name, field) = keep.split_once('=').unwrap_or((keep, keep));
    (name.to_owned(), field.to_owned())
}
