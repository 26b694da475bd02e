//! `offprint cache export`: the rows of one encoder, for programs that know nothing of the cache.
//!
//! Chooses the encoder and names the file; rows are walked and written by the library.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use indicatif::HumanCount;
use offprint::cache::{EmbeddingCache, Space, spaces};
use offprint::durable;
use offprint::output::{EmbeddingOutputOptions, embedding_writer, export_rows};
use serde_json::json;

use super::cache::CacheArgs;
use super::output_args::CompressArgs;
use super::say::{remark, say};
use super::{Status, user_error};

/// Hex digits by which encoders are told apart in messages.
const SHORT: usize = 12;

/// Write all embeddings of one encoder into a file, by the hash of their text
///
/// Rows ascend by key: the first 32 hex digits of the BLAKE3 of the text that the tokenizer saw. The cache knows texts,
/// no papers; for rows by paper id, `offprint embed CORPUS -o FILE` takes from the cache what it has and computes
/// nothing twice.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    cache: CacheArgs,

    /// The encoder: the beginning of its fingerprint, as `offprint cache stat` shows it; needed if the cache has several
    #[arg(long, value_name = "PREFIX")]
    fingerprint: Option<String>,

    /// Where embeddings go: .parquet, .jsonl, .jsonl.gz, .jsonl.zst, or a matrix with the keys beside it in .ids.txt:
    /// .npy, .safetensors, .fbin
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: PathBuf,

    #[command(flatten)]
    compress: CompressArgs,
}

pub(crate) fn run(args: &ExportArgs) -> Result<Status> {
    let root = args.cache.root()?;
    let space = choose(&root, spaces(&root)?, args.fingerprint.as_deref())?;
    let folder = durable::parent(&args.output);
    if !folder.is_dir() {
        let what = format!("`{}` cannot be written: there is no folder `{}`", args.output.display(), folder.display());
        return Err(user_error(what, "make the folder first"));
    }
    let options = EmbeddingOutputOptions {
        id_column: "key".to_owned(),
        jsonl_id_key: "key".to_owned(),
        fingerprint: space.fingerprint.clone(),
        encoder: None,
        compression: args.compress.compress,
    };
    let mut writer = embedding_writer(&args.output, space.dim, &options)?;
    let cache = EmbeddingCache::open(&root, &space)?;
    // An export without the rows of a damaged part would look whole.
    if let Some(damage) = cache.take_warnings().into_iter().next() {
        return Err(damage.into());
    }
    export_rows(&cache, writer.as_mut())?;
    let written = writer.finish()?;
    if args.cache.json {
        let account = json!({
            "fingerprint": space.fingerprint,
            "rows": written.rows,
            "dim": space.dim,
            "output": args.output.display().to_string(),
        });
        say(&account.to_string())?;
    } else {
        let (rows, output) = (HumanCount(written.rows), args.output.display());
        remark(&format!("{rows} rows × {} of encoder {}: {output}", space.dim, short(&space)));
    }
    Ok(Status::Done)
}

/// The space whose fingerprint begins with `prefix`; without one, the only one.
fn choose(root: &Path, known: Vec<Space>, prefix: Option<&str>) -> Result<Space> {
    let all = known.clone();
    let mut found: Vec<Space> =
        known.into_iter().filter(|space| space.fingerprint.starts_with(prefix.unwrap_or_default())).collect();
    match (found.len(), prefix) {
        (1, _) => Ok(found.remove(0)),
        (0, Some(prefix)) if !all.is_empty() => {
            let what = format!("`--fingerprint {prefix}` fits none of these encoders:\n{}", listed(&all));
            Err(user_error(what, "`offprint cache stat` shows each with all its fields"))
        }
        (0, _) => {
            let hint = "`offprint embed` fills a cache; `--cache-dir` names another one";
            Err(user_error(format!("the cache in `{}` is empty", root.display()), hint))
        }
        (count, _) => {
            let what = format!("the cache holds {count} encoders that could be meant:\n{}", listed(&found));
            Err(user_error(what, format!("`--fingerprint {}` for the first of them", short(&found[0]))))
        }
    }
}

/// One line per encoder: the beginning of its fingerprint and the fields in which it differs from others.
fn listed(spaces: &[Space]) -> String {
    let names: BTreeSet<&String> = spaces.iter().flat_map(|space| space.fields.keys()).collect();
    let differ: Vec<&String> = names
        .into_iter()
        .filter(|name| spaces.iter().any(|space| space.fields.get(*name) != spaces[0].fields.get(*name)))
        .collect();
    let lines = spaces.iter().map(|space| {
        let fields = differ.iter().map(|name| {
            let value = space.fields.get(*name).map_or("none", String::as_str);
            // Hashes are told apart by their beginning.
            format!("{name}: {}", value.get(..SHORT).filter(|_| value.len() == 64).unwrap_or(value))
        });
        let fields: Vec<String> = fields.collect();
        format!("  {}  {}", short(space), fields.join(", "))
    });
    lines.collect::<Vec<String>>().join("\n")
}

fn short(space: &Space) -> &str {
    space.fingerprint.get(..SHORT).unwrap_or(&space.fingerprint)
}
