//! `offprint bench`: throughput over a grid of settings, measured in turns and in processes of their own. Flags and what
//! they come to lie in `args` and `plan`, the processes in `child`, the words in `tell` and `page`; here they meet.

mod args;
mod child;
mod compare;
mod operators;
mod page;
mod plan;
mod tell;

use std::path::Path;

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use offprint::bench::{BENCH_JSON, Error, Job, Outcome, Record, Runner, run_rounds};
use offprint::report::HTML_FILE;

use super::Status;
use super::progress::Display;
use super::say::{remark, say};
use super::signals::Stop;

pub(crate) use child::{BenchCellArgs, run_child};

/// Measure throughput over a grid of bundles, providers, batches, sessions and threads, or compare two measurements
///
/// Real texts of the corpus in their real mix of lengths go through every setting: through a bare loop over ready batches,
/// through the tokenizer alone, and through the whole pipeline from file to vectors. Every round of every setting is a
/// process of its own, and settings take turns, so that a machine that slows down slows all of them. Each figure is a
/// median over rounds with its 95 % interval, beside it how far the vectors are from fp32 on the CPU provider; where
/// intervals overlap nothing is called faster.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = AFTER_HELP)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,

    #[command(flatten)]
    run: args::RunArgs,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    Compare(compare::CompareArgs),
}

const AFTER_HELP: &str = "\
Examples:
  offprint bench --model minilm papers.jsonl -o speed
  offprint bench --model minilm,minilm-int8 papers.jsonl --max-batch-tokens 256,1024,4096 -o budgets
  offprint bench --model minilm papers.jsonl --providers cpu,openvino --ort-lib openvino=VENV -o providers
  offprint bench --model minilm papers.jsonl --threads 1,2,4,8 -o threads
  offprint bench compare before after --fail-below 0.95

Figures that have no source on a machine are absent, not 0. The peak is the fastest product of matrices that the same
library computed on as many threads, in fp32; on graphics cards in the bundle's precision.";

pub(crate) fn run(args: &BenchArgs) -> Result<Status> {
    match &args.command {
        Some(BenchCommand::Compare(args)) => compare::run(args),
        None => measure(&args.run),
    }
}

fn measure(args: &args::RunArgs) -> Result<Status> {
    let output = args.output()?;
    let stop = Stop::on_signals()?;
    let mut prepared = plan::prepare(args)?;
    let record = &mut prepared.record;
    let mut runner = Children { stop: &stop, output, display: Display::new() };
    run_rounds(record, &prepared.plan, &mut runner)?;
    drop(runner);
    stop.end_at_once();
    page::report(record).write(output)?;
    if args.json {
        say(&serde_json::to_string_pretty(record)?)?;
    } else {
        say(&tell::table_of(record))?;
    }
    tell::notes(record).iter().for_each(|note| remark(note));
    remark(&format!("results: {}, page: {}", output.join(BENCH_JSON).display(), output.join(HTML_FILE).display()));
    if let Some(signal) = stop.signal() {
        return Ok(Status::Signal(signal));
    }
    match record.run().next() {
        Some(_) => Ok(Status::Done),
        None => {
            let reason = record.cells.iter().find_map(|cell| cell.reason.clone()).unwrap_or_default();
            Err(anyhow!(reason).context("no setting could be measured"))
        }
    }
}

/// Runs jobs in children, and keeps the record in the folder of the results.
struct Children<'a> {
    stop: &'a Stop,
    output: &'a Path,
    display: Display,
}

impl Runner for Children<'_> {
    fn run(&mut self, job: &Job) -> Outcome {
        child::run_job(job, &|| self.stop.signal().is_some())
    }

    fn keep(&mut self, record: &Record, done: f64, what: &str) -> Result<(), Error> {
        self.display.show(done, what, String::new);
        record.write(self.output)
    }
}
