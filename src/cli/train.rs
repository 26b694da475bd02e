//! `offprint train`: papers with labels become a head.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use offprint::evaluate::{ClassFigures, Fitting, PartReport, Strength, fit_and_measure};
use offprint::heads::{Head, HeadDescription, HeadKind, TRAIN, TrainingSet, TrainingSink};
use offprint::model::Task;
use offprint::report::{Cell, Report, Section};

use super::corpus_args::CorpusArgs;
use super::encode_args::EncodeArgs;
use super::run::Run;
use super::say::{counted, counted_that, remark};
use super::{Status, table, user_error};

/// Train a head on the embeddings of labelled papers
///
/// A logistic regression with scikit-learn's objective. Where the corpus has a split field, the head is fitted on its
/// `train` rows alone and the others are only reported; else a stratified 20 % by hash of the id is held out.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    encode: EncodeArgs,

    #[command(flatten)]
    corpus: CorpusArgs,

    /// Field with the label; rows without one are embedded, left out and counted
    #[arg(long, value_name = "FIELD", help_heading = "Corpus")]
    label: String,

    /// Where the head goes
    #[arg(short, long, value_name = "HEAD", help_heading = "Output")]
    output: PathBuf,

    /// Inverse strength of the L2 penalty, as scikit-learn's C
    #[arg(long, value_name = "C", default_value_t = 1.0, help_heading = "Head")]
    c: f64,

    /// Choose C among these by macro-F1: on the corpus' dev rows, else by a stratified 5-fold on its train rows
    #[arg(long, value_name = "C,C,...", value_delimiter = ',', num_args = 0..=1, require_equals = true,
          default_missing_value = "0.01,0.1,1,10,100", conflicts_with = "c", help_heading = "Head")]
    c_grid: Option<Vec<f64>>,
}

pub(crate) fn run(args: &TrainArgs) -> Result<Status> {
    let strength = strength(args)?;
    let corpus = args.corpus.open(Some(args.label.as_str()), &[])?;
    let run = Run::new(&args.encode, &corpus, Some(&args.output))?;
    let identity = run.identity()?;
    let run = run.with_cache()?;
    let mut sink = TrainingSink::new(run.bundle().manifest.dim);
    let account = run.encode(&corpus, args.corpus.limit, Some(&mut sink))?;
    if account.interrupted {
        run.print(&account)?;
        return Ok(run.status(&account));
    }
    let set = sink.finish()?;
    let fitting = fit_and_measure(&set, &strength)?;
    let Fitting { fit, parts, .. } = &fitting;
    let description = HeadDescription {
        labels: set.classes.names[..set.classes.trained].to_vec(),
        identity: identity.fields().clone(),
        template_or_field: text_source_of(&args.corpus, &run.bundle().manifest.template),
        metrics: serde_json::to_value(parts)?,
    };
    let head = Head::new((Task::Classification, HeadKind::Logistic), fit.clone().into(), description)?;
    head.save(&args.output)?;
    run.print(&account)?;
    print(args, &set, &fitting);
    run.write_report(report(args, &set, &fitting), &account)?;
    Ok(run.status(&account))
}

fn strength(args: &TrainArgs) -> Result<Strength> {
    let positive = |c: f64, flag: &str| {
        if c > 0.0 && c.is_finite() {
            return Ok(c);
        }
        Err(user_error(format!("`{flag}` is {c}, expected a positive number"), "scikit-learn's default is 1"))
    };
    match &args.c_grid {
        Some(grid) => Ok(Strength::Grid(grid.iter().map(|&c| positive(c, "--c-grid")).collect::<Result<Vec<f64>>>()?)),
        None => Ok(Strength::Fixed(positive(args.c, "--c")?)),
    }
}

/// What a head remembers about how texts were made: the template, or the field that was used as it is.
pub(crate) fn text_source_of(corpus: &CorpusArgs, template: &str) -> String {
    match &corpus.text_field {
        Some(field) => format!("text-field {field}"),
        None => format!("template {template}"),
    }
}

fn print(args: &TrainArgs, set: &TrainingSet, fitting: &Fitting) {
    if set.unlabelled > 0 {
        remark(&format!("warning: {}", left_out(set.unlabelled, &args.label)));
    }
    if set.without_split > 0 {
        let verbs = ("names no part of the split and was left out", "name no part of the split and were left out");
        remark(&format!("warning: {}", counted_that(set.without_split, "labelled row", verbs)));
    }
    let convergence = &fitting.fit.convergence;
    remark(&format!(
        "logistic regression on {} × {}, {}, C = {}{}: converged after {}",
        counted(set.rows_of(TRAIN).len() as u64, "row"),
        set.matrix.ncols(),
        counted(set.classes.trained as u64, "class"),
        fitting.c,
        fitting.choice.as_ref().map_or(String::new(), |choice| format!(" (chosen on {})", choice.on)),
        counted(convergence.iterations, "iteration"),
    ));
    let figure = |value: f64| format!("{value:.4}");
    let row = |part: &PartReport| {
        vec![part.part.clone(), part.rows.to_string(), figure(part.accuracy), figure(part.f1_macro)]
    };
    let rows: Vec<Vec<String>> = fitting.parts.iter().map(row).collect();
    remark(table::layout(&SUMMARY, &rows, 40).trim_end());
    for part in fitting.parts.iter().filter(|part| part.unknown_labels > 0) {
        let [one, several] = ["has", "have"].map(|has| format!("of {} {has} a label that no train row has", part.part));
        remark(&format!("warning: {}", counted_that(part.unknown_labels as u64, "row", (&one, &several))));
    }
    remark(&format!("head: {}", args.output.display()));
}

/// Rows that have no label.
fn left_out(rows: u64, field: &str) -> String {
    let [one, several] =
        [("has", "was"), ("have", "were")].map(|(has, was)| format!("{has} no `{field}` and {was} left out"));
    counted_that(rows, "row", (&one, &several))
}

const SUMMARY: [&str; 4] = ["part", "rows", "accuracy", "f1_macro"];

fn summary(part: &PartReport) -> Vec<Cell> {
    vec![part.part.as_str().into(), part.rows.into(), part.accuracy.into(), part.f1_macro.into()]
}

fn report(args: &TrainArgs, set: &TrainingSet, fitting: &Fitting) -> Report {
    let mut report = Report::new(&format!("Head for {}", args.label));
    let summaries = fitting.parts.iter().map(summary).collect();
    report.push_environment("C", fitting.c);
    report.push_environment("train rows", set.rows_of(TRAIN).len());
    report.push(Section::table("Quality", &SUMMARY, summaries));
    if let Some(choice) = &fitting.choice {
        let bars = choice.path.points.iter().map(|point| (format!("C = {}", point.c), point.mean));
        report.push(Section::bars(&format!("Macro-F1 by C, on {}", choice.on), bars));
    }
    for part in fitting.parts.iter().filter(|part| fitting.parts.len() == 1 || part.part != TRAIN) {
        push_part(&mut report, part, &str::to_owned);
    }
    if set.unlabelled > 0 {
        report.push(Section::note("Left out", &(left_out(set.unlabelled, &args.label) + ".")));
    }
    report
}

/// Per-class figures and the confusion matrix of one part, under titles that `title` completes.
pub(crate) fn push_part(report: &mut Report, part: &PartReport, title: &dyn Fn(&str) -> String) {
    push_figures(report, &title(&format!("Classes in {}", part.part)), &part.classes, &part.per_class);
    let confusion = title(&format!("Confusion in {}", part.part));
    if part.confusion.is_empty() {
        let text = format!("Not drawn: there are {} classes.", part.classes.len());
        report.push(Section::note(&confusion, &text));
    } else {
        report.push(Section::confusion(&confusion, &part.classes, &part.confusion));
    }
}

/// A table with the figures of each class.
pub(crate) fn push_figures(report: &mut Report, title: &str, classes: &[String], figures: &[ClassFigures]) {
    let rows = classes.iter().zip(figures).map(|(name, class)| {
        vec![
            Cell::from(name.as_str()),
            class.support.into(),
            class.precision.into(),
            class.recall.into(),
            class.f1.into(),
        ]
    });
    report.push(Section::table(title, &["class", "rows", "precision", "recall", "f1"], rows.collect()));
}
