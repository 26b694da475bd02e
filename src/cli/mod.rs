//! The command line: one file per command, each of which builds its objects, makes one library call and prints its
//! report. Only this folder prints, and only it knows clap.

mod cache;
mod classify;
mod corpus_args;
mod doctor;
mod embed;
mod encode_args;
mod error;
mod export;
mod hub;
mod hub_progress;
mod places;
mod progress;
mod run;
mod say;
mod self_check;
mod signals;
mod table;
mod train;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use error::user_error;

/// How a command ended; errors are status 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Done.
    Done,
    /// Done, and a check that was asked for failed.
    CheckFailed,
    /// The work went to its end, but rows were rejected and `--allow-rejects` was not given.
    RowsRejected,
    /// Stopped by this signal.
    Signal(i32),
}

impl Status {
    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::CheckFailed => 1,
            Self::RowsRejected => 2,
            Self::Signal(signal) => 128_u8.saturating_add(u8::try_from(signal).unwrap_or(127)),
        }
    }
}

const ABOUT: &str = "Turns corpora of scientific papers into embeddings and labels, through ONNX Runtime";

const AFTER_HELP: &str = "\
A first run:
  offprint export --model CHECKPOINT -o BUNDLE         a Hugging Face folder or id becomes one ready graph
  offprint embed --model BUNDLE papers.jsonl           fills the embedding cache
  offprint train --model BUNDLE --label field papers.jsonl -o field.head
  offprint classify --model BUNDLE --head field.head new.jsonl -o predictions.jsonl

Flags with a value can be set by an environment variable, and most switches: --max-batch-tokens is OFFPRINT_MAX_BATCH_TOKENS.
Exit status: 0 done, 1 an asked check failed, 2 could not (also: rows were rejected without --allow-rejects),
130 / 143 stopped by SIGINT / SIGTERM.";

#[derive(Debug, Parser)]
#[command(name = "offprint", version, about = ABOUT, after_help = AFTER_HELP, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Export(export::ExportArgs),
    Embed(embed::EmbedArgs),
    Train(train::TrainArgs),
    Classify(classify::ClassifyArgs),
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    Doctor(doctor::DoctorArgs),
    #[command(hide = true)]
    SelfCheck(self_check::SelfCheckArgs),
}

/// Parses, runs, reports.
pub(crate) fn main() -> ExitCode {
    let command = with_environment(Cli::command());
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    start_log();
    let result = match cli.command {
        Command::Export(args) => export::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Classify(args) => classify::run(&args),
        Command::Cache(command) => cache::run(&command),
        Command::Doctor(args) => doctor::run(&args),
        Command::SelfCheck(args) => self_check::run(&args),
    };
    match result {
        Ok(status) => ExitCode::from(status.code()),
        Err(error) if error::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            error::print(&error);
            ExitCode::from(2)
        }
    }
}

/// Gives every flag of every command its `OFFPRINT_*` twin.
fn with_environment(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| match arg.get_long() {
        // A pair of opposite switches would clash with a twin of either.
        Some(long) if !matches!(long, "help" | "version" | "normalize" | "no-normalize") => {
            let name = format!("OFFPRINT_{}", long.replace('-', "_").to_uppercase());
            arg.env(name).hide_env(true)
        }
        _ => arg,
    });
    command.mut_subcommands(with_environment)
}

/// Messages of ONNX Runtime and of the libraries below go to stderr where `OFFPRINT_LOG` asks for them.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("OFFPRINT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
