//! `offprint train`: papers with labels become a head. What the flags mean is settled in `plan` and `kinds`, what a run
//! came to is told by `tell` and shown by `page`.

mod args;
mod json;
mod kinds;
mod page;
mod plan;
mod tell;
mod warnings;

use anyhow::Result;
use offprint::evaluate::{FitPlan, Objective, Rule, fit_and_measure};
use offprint::heads::{self, HeadDescription, TrainingSink};
use serde_json::Value;

use super::corpus_args::CorpusArgs;
use super::error::with_hint;
use super::run::Run;
use super::{Status, user_error};
use args::KindName;
pub(crate) use args::TrainArgs;
pub(crate) use page::{push_figures, push_part};
use plan::Plan;
use tell::Told;

pub(crate) fn run(args: &TrainArgs) -> Result<Status> {
    let plan = Plan::new(args)?;
    let corpus = args.corpus.open(Some(args.labels.label.as_str()), &plan.keep).map_err(plan::grid_taken_for_corpus)?;
    let corpus = corpus.with_label_kinds(vec![plan.label_kind.clone()]);
    let run = Run::new(&args.encode, &corpus, Some(&args.output))?;
    let identity = run.identity()?;
    let run = run.with_cache()?;
    let mut sink = TrainingSink::new(plan.set(args, run.bundle().manifest.dim), run.caches());
    let account = run.encode(&corpus, args.corpus.limit, Some(&mut sink))?;
    if account.interrupted {
        run.print(&account)?;
        return Ok(run.status(&account));
    }
    let set = match (sink.finish(), run.rejected(&account)) {
        (Err(error @ heads::Error::Set(heads::SetError::NoLabels { .. })), Some(rejected)) => {
            return Err(with_hint(error, rejected));
        }
        (set, _) => set?,
    };
    let task = set.task();
    let kind = args.kind.kind.unwrap_or_else(|| KindName::default_of(task));
    kinds::check_task(kind, task)?;
    kinds::check_flags(&[kind], Some(task))?;
    let trainer = kinds::trainer(args, (kind, task))?;
    let objective = plan.objective.unwrap_or_else(|| Objective::default_of(task));
    if !objective.serves(task) {
        return Err(user_error(format!("`--objective {objective}` says nothing about {task}"), plan::of_task(task)));
    }
    let strengths = kinds::strengths(&args.kind, kind)?;
    let fit = FitPlan {
        trainer: &*trainer,
        strengths: &strengths,
        folds: args.selection.folds.map(usize::from),
        seed: args.selection.seed,
        objective,
        rule: if args.selection.one_standard_error { Rule::OneStandardError } else { Rule::Best },
        balanced: args.kind.class_weight.is_some(),
        answers: plan.answers,
        learning_curve: args.selection.learning_curve,
        nested: args.selection.nested,
        unknown: plan.unknown,
        leaks: plan.leaks,
    };
    let description = HeadDescription {
        labels: Vec::new(),
        identity: identity.fields().clone(),
        template_or_field: text_source_of(&args.corpus, &run.bundle().manifest.template),
        metrics: Value::Null,
    };
    let fitting = fit_and_measure(&set, &fit, description)?;
    fitting.head.save(&args.output)?;
    let told = Told { args, set: &set, fitting: &fitting, kind, objective };
    run.print_with(&account, told.for_machines()?)?;
    told.print();
    run.write_report(told.report(), &account)?;
    Ok(run.status(&account))
}

/// What a head remembers about how texts were made: the template, or the field that was used as it is.
pub(crate) fn text_source_of(corpus: &CorpusArgs, template: &str) -> String {
    match &corpus.text_field {
        Some(field) => format!("text-field {field}"),
        None => format!("template {template}"),
    }
}
