//! The command line: one file per command, each of which builds its objects, makes one library call and prints its
//! report. Only this folder prints, and only it knows clap.

mod account;
mod adapter_args;
mod bench;
mod cache;
mod cache_export;
mod calibrate;
mod check;
mod classify;
mod classify_heads;
mod classify_report;
mod completions;
mod corpus_args;
mod doctor;
mod embed;
mod encode_args;
mod engine;
mod environment;
mod error;
mod export;
mod export_onnx;
mod fallback;
mod fuse;
mod head_fit;
mod hub;
mod hub_progress;
mod inspect;
mod inspect_manifest;
mod inspect_page;
mod inspect_words;
mod man;
mod output_args;
mod places;
mod progress;
mod run;
mod say;
mod self_check;
mod signals;
mod speed;
mod table;
mod train;
mod units;
mod version;

use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Effects, Styles};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use error::user_error;
use say::remark;

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
  offprint fuse --model BUNDLE --head field.head -o FUSED   one graph that embeds and classifies

Every flag can be set by an environment variable: --max-batch-tokens is OFFPRINT_MAX_BATCH_TOKENS; a switch takes 1 or 0.
Exit status: 0 done, 1 an asked check failed, 2 could not (also: rows were rejected without --allow-rejects),
130 / 143 stopped by SIGINT / SIGTERM.";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::Cyan.on_default().effects(Effects::BOLD))
    .placeholder(AnsiColor::Cyan.on_default());

#[derive(Debug, Parser)]
#[command(name = "offprint", version, about = ABOUT, after_help = AFTER_HELP, max_term_width = 120, styles = STYLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Export(export::ExportArgs),
    Inspect(inspect::InspectArgs),
    Embed(embed::EmbedArgs),
    Train(Box<train::TrainArgs>),
    Classify(classify::ClassifyArgs),
    Fuse(fuse::FuseArgs),
    Check(check::CheckArgs),
    Bench(Box<bench::BenchArgs>),
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    #[command(subcommand)]
    Engine(engine::EngineCommand),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    #[command(hide = true)]
    SelfCheck(self_check::SelfCheckArgs),
    #[command(hide = true)]
    Calibrate(calibrate::CalibrateArgs),
    #[command(hide = true)]
    FuseCheck(fuse::FuseCheckArgs),
    #[command(hide = true)]
    BenchCell(bench::BenchCellArgs),
}

/// The whole command line, without what the environment says.
fn command_line() -> clap::Command {
    // `check` and `export` bring texts of their own; to `export`, a corpus is one flag among others.
    Cli::command()
        .mut_subcommand("check", |check| check.mut_arg("corpus", |corpus| corpus.required(false)))
        .mut_subcommand("export", |export| export.mut_arg("corpus", export::as_flag))
}

/// What completions and manual pages tell of: everything but the hidden commands.
fn visible_command_line() -> clap::Command {
    let all = command_line();
    let visible = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let program = clap::Command::new("offprint").version(env!("CARGO_PKG_VERSION")).about(ABOUT).after_help(AFTER_HELP);
    program.subcommand_required(true).subcommands(visible)
}

/// Parses, runs, reports.
pub(crate) fn main() -> ExitCode {
    offprint::contained::hide_contained_panics();
    if let Err(error) = signals::survive_file_size_limits() {
        remark(&format!("warning: a file-size limit will end this program without a message: {error}"));
    }
    let mut command = environment::with_twins(command_line());
    if version::is_asked_at_length() {
        command = command.long_version(version::at_length());
    }
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    start_log();
    let result = match cli.command {
        Command::Export(args) => export::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Classify(args) => classify::run(&args),
        Command::Fuse(args) => fuse::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Cache(command) => cache::run(&command),
        Command::Engine(command) => engine::run(&command),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::SelfCheck(args) => self_check::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::FuseCheck(args) => fuse::run_check(&args),
        Command::BenchCell(args) => bench::run_child(&args),
    };
    match result {
        Ok(status) => ExitCode::from(status.code()),
        Err(error) => {
            if let Some(signals::Stopped(signal)) = error.downcast_ref() {
                return ExitCode::from(Status::Signal(*signal).code());
            }
            error::print(&error);
            ExitCode::from(2)
        }
    }
}

/// Messages of ONNX Runtime and of the libraries below go to stderr where `OFFPRINT_LOG` asks for them.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("OFFPRINT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
