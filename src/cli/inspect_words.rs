//! What a model knows about words, for `offprint inspect`: the nearest pieces of a word, and what a mask may stand for.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use offprint::encode::{FilledMask, Filling, NearestWords, Tokenizer, WordPiece, fill_masks, nearest_words};
use offprint::graph::foreign::OnnxFile;
use offprint::graph::{MAX_GRAPH_BYTES, WordTable, write_masked_lm};
use offprint::model::{Bundle, Checkpoint, GRAPH_FILE, TOKENIZER_FILE};
use offprint::runtime::{MaskedLmSession, OnnxRuntime, ProviderChoice, SessionOptions, default_threads};
use serde::Serialize;
use tempfile::TempDir;

use super::inspect::{InspectArgs, Subject};
use super::say::say;
use super::table::layout;
use super::{Status, user_error};

/// Characters of a word piece that are shown.
const WIDEST: usize = 40;
/// Word pieces of a word; far more than any has.
const LONGEST: usize = 4_096;

/// A word with the neighbours of its pieces.
#[derive(Debug, Serialize)]
struct Word {
    word: String,
    pieces: Vec<NearestWords>,
}

/// Guesses the masks of a text with the checkpoint's own masked-LM head, in a graph that is written for this run only.
pub(crate) fn fill(args: &InspectArgs, subject: &Subject, text: &str) -> Result<Status> {
    let folder = match subject {
        Subject::Checkpoint(folder) => folder,
        Subject::Bundle(folder) => return Err(no_head(args, Bundle::open(folder).ok().as_ref())),
        Subject::Graph(_) => return Err(no_head(args, None)),
    };
    let runtime = OnnxRuntime::load(args.ort_lib.as_deref())?;
    let checkpoint = Checkpoint::open(folder)?;
    let (workshop, tokenizer) = unpacked_tokenizer(&checkpoint)?;
    let tokenizer = Tokenizer::open(&tokenizer, checkpoint.max_length(None)?)?;
    let graph = workshop.path().join("masked-lm.onnx");
    write_masked_lm(&checkpoint, &graph, MAX_GRAPH_BYTES)?;
    let options = SessionOptions { graph, provider: ProviderChoice::Cpu.into(), threads: default_threads() };
    let mut session = MaskedLmSession::open(&runtime, &options)?;
    let masks = fill_masks(&mut session, &tokenizer, text, args.top.into())?;
    if args.json {
        say(&serde_json::to_string_pretty(&serde_json::json!({"text": text, "masks": masks}))?)?;
    } else {
        say(masks.iter().map(describe_mask).collect::<Vec<_>>().join("\n").trim_end())?;
    }
    Ok(Status::Done)
}

/// The nearest pieces of each word, in the table of the graph or the checkpoint.
pub(crate) fn nearest(args: &InspectArgs, subject: &Subject) -> Result<Status> {
    let words = match subject {
        Subject::Checkpoint(folder) => {
            let checkpoint = Checkpoint::open(folder)?;
            let (_workshop, path) = unpacked_tokenizer(&checkpoint)?;
            let path = args.tokenizer.clone().unwrap_or(path);
            search(args, &WordTable::of_checkpoint(&checkpoint)?, &path)?
        }
        Subject::Bundle(folder) => {
            let file = OnnxFile::open(&folder.join(GRAPH_FILE))?;
            let path = args.tokenizer.clone().unwrap_or_else(|| folder.join(TOKENIZER_FILE));
            search(args, &WordTable::of_graph(&file)?, &path)?
        }
        Subject::Graph(path) => {
            let tokenizer = tokenizer_near(args, path)?;
            search(args, &WordTable::of_graph(&OnnxFile::open(path)?)?, &tokenizer)?
        }
    };
    if args.json {
        say(&serde_json::to_string_pretty(&serde_json::json!({ "words": words }))?)?;
    } else {
        say(words.iter().map(describe_word).collect::<Vec<_>>().join("\n").trim_end())?;
    }
    Ok(Status::Done)
}

fn search(args: &InspectArgs, table: &WordTable<'_>, tokenizer: &Path) -> Result<Vec<Word>> {
    let tokenizer = Tokenizer::open(tokenizer, LONGEST)?;
    let search = |word: &String| {
        Ok(Word { word: word.clone(), pieces: nearest_words(table, &tokenizer, word, args.top.into())? })
    };
    args.word.iter().map(search).collect()
}

/// `tokenizer.json` beside an ONNX file, or in the folder above, where optimum and others leave it.
fn tokenizer_near(args: &InspectArgs, graph: &Path) -> Result<PathBuf> {
    if let Some(path) = &args.tokenizer {
        return Ok(path.clone());
    }
    let folder = graph.canonicalize().unwrap_or_else(|_| graph.to_owned());
    let mut folders = folder.ancestors().skip(1).take(2).map(|folder| folder.join(TOKENIZER_FILE));
    folders.find(|path| path.is_file()).ok_or_else(|| {
        user_error(
            format!("there is no {TOKENIZER_FILE} beside `{}` or in the folder above it", graph.display()),
            "name it with `--tokenizer FILE`",
        )
    })
}

/// The checkpoint's tokenizer as a file, which is gone with the folder.
fn unpacked_tokenizer(checkpoint: &Checkpoint) -> Result<(TempDir, PathBuf)> {
    let workshop = tempfile::tempdir().context("could not make a temporary folder")?;
    let path = workshop.path().join(TOKENIZER_FILE);
    std::fs::write(&path, checkpoint.tokenizer()).context("could not write into a temporary folder")?;
    Ok((workshop, path))
}

fn describe_word(word: &Word) -> String {
    let table = |piece: &NearestWords| {
        let pieces: Vec<&WordPiece> = piece.nearest.iter().map(|near| &near.piece).collect();
        let numbers = piece.nearest.iter().map(|near| format!("{:.4}", near.similarity)).collect();
        format!("nearest to `{}`\n{}", piece.piece.piece, word_table(&pieces, "cosine", numbers))
    };
    let tables: Vec<String> = word.pieces.iter().map(table).collect();
    let split = word.pieces.iter().map(|piece| format!("`{}`", piece.piece.piece)).collect::<Vec<_>>().join(" ");
    let opening = if tables.len() > 1 { format!("{} is split into {split}\n\n", word.word) } else { String::new() };
    format!("{opening}{}", tables.join("\n"))
}

/// A graph that gives vectors or labels doesn't guess words.
fn no_head(args: &InspectArgs, bundle: Option<&Bundle>) -> anyhow::Error {
    let source = bundle.map(|bundle| bundle.manifest.source.name.clone()).filter(|name| name.contains('/'));
    let checkpoint = source.unwrap_or_else(|| "CHECKPOINT".to_owned());
    user_error(
        format!("`{}` has no masked-LM head: its graph gives vectors or labels, not words", args.model),
        format!("give the checkpoint itself: `offprint inspect {checkpoint} --fill \"..\"`"),
    )
}

fn describe_mask(mask: &FilledMask) -> String {
    let pieces: Vec<&WordPiece> = mask.fillings.iter().map(|filling| &filling.piece).collect();
    let numbers = mask.fillings.iter().map(|filling: &Filling| format!("{:.4}", filling.probability)).collect();
    format!("mask at token {}\n{}", mask.place, word_table(&pieces, "probability", numbers))
}

/// Pieces with a number each; how they read is shown where it differs from how they are written.
fn word_table(pieces: &[&WordPiece], name: &str, numbers: Vec<String>) -> String {
    let differs = pieces.iter().any(|piece| piece.text != piece.piece);
    let row = |(piece, number): (&&WordPiece, String)| {
        let mut cells = vec![format!("`{}`", piece.piece)];
        cells.extend(differs.then(|| format!("`{}`", piece.text)));
        cells.push(number);
        cells
    };
    let rows: Vec<Vec<String>> = pieces.iter().zip(numbers).map(row).collect();
    let header: &[&str] = if differs { &["piece", "reads", name] } else { &["piece", name] };
    layout(header, &rows, WIDEST)
}
