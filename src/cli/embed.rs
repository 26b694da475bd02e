//! `offprint embed`: a corpus becomes embeddings, in a file or in the cache alone.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use offprint::encode::Sink;
use offprint::output::{EmbeddingOutputOptions, EmbeddingSink, embedding_writer};
use offprint::report::Report;

use super::corpus_args::CorpusArgs;
use super::encode_args::EncodeArgs;
use super::run::Run;
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

    /// Where embeddings go, in the order of the corpus: .parquet, .npy (ids beside it in .ids.txt) or .jsonl
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,

    /// Name of the id in JSONL output
    #[arg(long, value_name = "KEY", default_value = "doc_id", help_heading = "Output")]
    jsonl_id_key: String,
}

pub(crate) fn run(args: &EmbedArgs) -> Result<Status> {
    if args.encode.no_cache && args.output.is_none() {
        return Err(user_error("`--no-cache` without an output would keep nothing", "add `-o FILE`"));
    }
    let corpus = args.corpus.open(None, &[])?;
    let run = Run::new(&args.encode, &corpus, args.output.as_deref())?;
    let mut writer = match &args.output {
        Some(path) => {
            let options = EmbeddingOutputOptions {
                jsonl_id_key: args.jsonl_id_key.clone(),
                fingerprint: run.bundle().fingerprint().hash(),
            };
            Some(EmbeddingSink::new(embedding_writer(path, run.bundle().manifest.dim, &options)?))
        }
        None => None,
    };
    let sink = writer.as_mut().map(|sink| sink as &mut dyn Sink);
    let account = run.encode(&corpus, args.corpus.limit, sink)?;
    if let (Some(writer), false) = (writer, account.interrupted) {
        writer.finish()?;
    }
    run.print(&account)?;
    run.write_report(Report::new("Embeddings"), &account)?;
    Ok(run.status(&account))
}
