//! `offprint cache export`: the rows of one encoder, for programs that know nothing of the cache.
//!
//! Chooses the encoder and names the file; rows are walked and written by the library.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use offprint::cache::{EmbeddingCache, Space, space_by_prefix, spaces};
use offprint::durable;
use offprint::output::{EmbeddingOutputOptions, embedding_writer, export_rows};
use serde_json::json;

use super::cache::CacheArgs;
use super::output_args::CompressArgs;
use super::say::{counted, remark, say};
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
    #[arg(long, alias = "fingerprint", value_name = "FINGERPRINT")]
    encoder: Option<String>,

    /// Where embeddings go: .parquet, .jsonl, .jsonl.gz, .jsonl.zst, or a matrix with the keys beside it in .ids.txt:
    /// .npy, .safetensors, .fbin
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: PathBuf,

    #[command(flatten)]
    compress: CompressArgs,
}

pub(crate) fn run(args: &ExportArgs) -> Result<Status> {
    let root = args.cache.root()?;
    let space = match &args.encoder {
        Some(prefix) => space_by_prefix(&root, prefix)?,
        None => the_only_one(&root)?,
    };
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
        let (rows, output) = (counted(written.rows, "row"), args.output.display());
        remark(&format!("{rows} × {} of encoder {}: {output}", space.dim, short(&space)));
    }
    Ok(Status::Done)
}

/// The space of a cache that has one.
fn the_only_one(root: &Path) -> Result<Space> {
    let mut found = spaces(root)?;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let hint = "`offprint embed` fills a cache; `--cache-dir` names another one";
            Err(user_error(format!("the cache in `{}` is empty", root.display()), hint))
        }
        count => {
            let what = format!("the cache holds {count} encoders that could be meant:\n{}", listed(&found));
            Err(user_error(what, format!("`--encoder {}` for the first of them", short(&found[0]))))
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
