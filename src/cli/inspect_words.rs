//! What a model knows about words, for `offprint inspect`: the nearest pieces of a word, and what a mask may stand for.

use anyhow::{Context, Result};
use offprint::encode::{FilledMask, Filling, Tokenizer, WordPiece, fill_masks};
use offprint::graph::write_masked_lm;
use offprint::model::{Bundle, Checkpoint, TOKENIZER_FILE};
use offprint::runtime::{MaskedLmSession, OnnxRuntime, ProviderChoice, SessionOptions, default_threads};

use super::inspect::{InspectArgs, Subject};
use super::say::say;
use super::table::layout;
use super::{Status, user_error};

/// Characters of a word piece that are shown.
const WIDEST: usize = 40;

/// Guesses the masks of a text with the checkpoint's own masked-LM head, in a graph that is written for this run only.
pub(crate) fn fill(args: &InspectArgs, subject: &Subject, text: &str) -> Result<Status> {
    let folder = match subject {
        Subject::Checkpoint(folder) => folder,
        Subject::Bundle(folder) => return Err(no_head(args, Bundle::open(folder).ok().as_ref())),
        Subject::Graph(_) => return Err(no_head(args, None)),
    };
    let runtime = OnnxRuntime::load(args.ort_lib.as_deref())?;
    let checkpoint = Checkpoint::open(folder)?;
    let workshop = tempfile::tempdir().context("could not make a temporary folder")?;
    let tokenizer = workshop.path().join(TOKENIZER_FILE);
    std::fs::write(&tokenizer, checkpoint.tokenizer()).context("could not write into a temporary folder")?;
    let tokenizer = Tokenizer::open(&tokenizer, checkpoint.max_length(None)?)?;
    let graph = workshop.path().join("masked-lm.onnx");
    write_masked_lm(&checkpoint, &graph)?;
    let options = SessionOptions { graph, provider: ProviderChoice::Cpu, threads: default_threads() };
    let mut session = MaskedLmSession::open(&runtime, &options)?;
    let masks = fill_masks(&mut session, &tokenizer, text, args.top.into())?;
    if args.json {
        say(&serde_json::to_string_pretty(&serde_json::json!({"text": text, "masks": masks}))?)?;
    } else {
        say(&masks.iter().map(describe_mask).collect::<Vec<_>>().join("\n").trim_end())?;
    }
    Ok(Status::Done)
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
