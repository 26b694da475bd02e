//! `offprint embed`: a corpus becomes embeddings, in a file or in the cache alone.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use offprint::encode::Sink;
use offprint::output::{EmbeddingFormat, EmbeddingOutputOptions, EmbeddingSink, embedding_writer, ids_path};
use offprint::report::Report;

use super::corpus_args::CorpusArgs;
use super::encode_args::EncodeArgs;
use super::environment::is_typed;
use super::output_args::CompressArgs;
use super::run::Run;
use super::say::counted_that;
use super::{Status, user_error};

/// Turn papers into embeddings: into a file, or into the cache alone
///
/// Texts that the cache has are not computed again. Without -o the cache is filled and nothing else is written.
#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    encode: EncodeArgs,

    #[command(flatten)]
    corpus: CorpusArgs,

    /// Where embeddings go, in the order of the corpus: .parquet, .jsonl, .jsonl.gz, .jsonl.zst, or a matrix with the
    /// ids beside it in .ids.txt: .npy, .safetensors, .fbin
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,

    #[command(flatten)]
    compress: CompressArgs,

    /// Write JSONL as this benchmark reads it: scirepeval wants the id under `doc_id`, scidocs under `paper_id`
    #[arg(long, value_name = "BENCHMARK", conflicts_with = "jsonl_id_key", help_heading = "Output")]
    jsonl_for: Option<JsonlConsumer>,

    /// Name of the id in JSONL output [default: doc_id]
    #[arg(long, value_name = "KEY", help_heading = "Output")]
    jsonl_id_key: Option<String>,
}

/// Who reads the JSONL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum JsonlConsumer {
    Scirepeval,
    Scidocs,
}

impl EmbedArgs {
    /// The id's key in JSONL, if one was chosen.
    fn chosen_id_key(&self) -> Option<(&'static str, &str)> {
        match (self.jsonl_for, &self.jsonl_id_key) {
            (Some(JsonlConsumer::Scirepeval), _) => Some(("--jsonl-for", "doc_id")),
            (Some(JsonlConsumer::Scidocs), _) => Some(("--jsonl-for", "paper_id")),
            (None, Some(key)) => Some(("--jsonl-id-key", key)),
            (None, None) => None,
        }
    }

    /// What can be said of the output before anything is opened.
    fn output_options(&self) -> Result<EmbeddingOutputOptions> {
        if self.output.is_none() && self.compress.compress.is_some() && is_typed("--compress") {
            return Err(user_error("`--compress` is about the output, and there is none", "add `-o FILE`"));
        }
        let mut options = EmbeddingOutputOptions { compression: self.compress.compress, ..Default::default() };
        if let Some((flag, key)) = self.chosen_id_key() {
            let Some(output) = &self.output else {
                if !is_typed(flag) {
                    return Ok(options);
                }
                return Err(user_error(
                    format!("`{flag}` is about the output, and there is none"),
                    "add `-o FILE.jsonl`",
                ));
            };
            if EmbeddingFormat::from_path(output)? != EmbeddingFormat::Jsonl {
                if !is_typed(flag) {
                    return Ok(options);
                }
                let what = format!("`{flag}` is about JSONL, and output `{}` is none", output.display());
                return Err(user_error(what, "end the output's name in `.jsonl`, or leave the flag out"));
            }
            options.jsonl_id_key = key.to_owned();
        }
        Ok(options)
    }
}

pub(crate) fn run(args: &EmbedArgs) -> Result<Status> {
    if args.encode.no_cache && args.output.is_none() {
        return Err(user_error("`--no-cache` without an output would keep nothing", "add `-o FILE`"));
    }
    let options = args.output_options()?;
    let corpus = args.corpus.open_with_adapters(None, &[], args.encode.adapter.adapter_field.as_deref())?;
    let run = Run::new(&args.encode, &corpus, args.output.as_deref())?.with_cache()?;
    let mut writer = match &args.output {
        Some(path) => {
            let options = EmbeddingOutputOptions {
                fingerprint: run.fingerprint().hash(),
                encoder: Some(run.bundle().manifest.source.name.clone()),
                ..options
            };
            Some(EmbeddingSink::new(embedding_writer(path, run.bundle().manifest.dim, &options)?))
        }
        None => None,
    };
    let sink = writer.as_mut().map(|sink| sink as &mut dyn Sink);
    let mut account = run.encode(&corpus, args.corpus.limit, sink)?;
    if let (Some(writer), false) = (writer, account.interrupted) {
        let written = writer.finish()?;
        account.warnings.extend(args.output.as_deref().and_then(|path| quoted_ids(path, written.quoted_ids)));
    }
    run.print(&account)?;
    run.write_report(Report::new("Embeddings"), &account)?;
    Ok(run.status(&account))
}

/// Who reads a list of ids line by line should know of lines that are not the id itself.
fn quoted_ids(output: &Path, count: u64) -> Option<String> {
    let ids = ids_path(output).filter(|_| count > 0)?;
    let why = "for a line break or control character, or a quotation mark at the beginning";
    let quoted = counted_that(count, "id", ("stands as JSON string", "stand as JSON strings"));
    Some(format!("{quoted} in {}, {why}", ids.display()))
}
