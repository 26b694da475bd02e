//! What batches a corpus makes, found without a model: texts are tokenized and planned as a run would, and counted.
//!
//! Knows no session. Invariant: memory is that of a window, however long the corpus is; what is planned here is planned
//! by the same function as in a run.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::encoder::Tokenize;
use super::prepare::WINDOW_BYTES;
use super::{Error, TokenBudget, padding_share, plan};
use crate::cache::Key;
use crate::paper::{Corpus, Rendered, Row, Template};
use crate::runtime::tensorrt::{BatchShape, ShapeHistogram};

/// Texts between two looks at how far the work is.
const TEXTS_A_STEP: usize = 256;

/// How papers become batches.
#[derive(Debug, Clone)]
pub struct ShapeOptions {
    /// Renders title and abstract.
    pub template: Template,
    /// The tokenizer's separator token, as the template writes it.
    pub sep: String,
    /// Padded tokens of a batch.
    pub budget: TokenBudget,
    /// Papers of a window.
    pub window: usize,
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShapeProgress {
    /// Rows that were read.
    pub rows: u64,
    /// Bytes on disk that were read.
    pub bytes: u64,
}

/// The batches of a corpus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CorpusShapes {
    /// Rows that can be embedded.
    pub rows: u64,
    /// Rows that cannot be used.
    pub rejected: u64,
    /// Texts that a run without a cache would compute: each one once in its window.
    pub texts: u64,
    /// Texts that are cut at the max length.
    pub truncated: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Tokens with padding.
    pub padded_tokens: u64,
    /// Batches.
    pub batches: u64,
    /// Batches by length.
    #[serde(skip)]
    pub histogram: ShapeHistogram,
}

impl CorpusShapes {
    /// The share of the computed tokens that is padding, 0 to 1.
    pub fn padding_share(&self) -> f64 {
        padding_share(self.padded_tokens, self.tokens)
    }
}

/// Reads the corpus to its end, tokenizes it on rayon's current pool and plans its batches, window by window.
///
/// # Errors
/// A corpus that cannot be read to its end or has no row that can be embedded, or a text that cannot be tokenized.
pub fn corpus_shapes(
    corpus: &Corpus,
    tokenizer: &dyn Tokenize,
    options: &ShapeOptions,
    watch: &mut dyn FnMut(ShapeProgress),
) -> Result<CorpusShapes, Error> {
    let mut rows = corpus.rows();
    let bytes = rows.progress();
    let mut shapes = CorpusShapes::default();
    loop {
        let mut texts: Vec<Rendered> = Vec::new();
        let mut seen = HashSet::new();
        let (mut papers, mut text_bytes) = (0, 0);
        while papers < options.window && text_bytes < WINDOW_BYTES {
            match rows.next().transpose()? {
                None => break,
                Some(Row::Rejected(_)) => shapes.rejected += 1,
                Some(Row::Paper(paper)) => {
                    papers += 1;
                    shapes.rows += 1;
                    let rendered = options.template.render(&paper.text, &options.sep);
                    if seen.insert(Key::of_text(&rendered.text)) {
                        text_bytes += rendered.text.len();
                        texts.push(rendered);
                    }
                }
            }
        }
        if papers == 0 {
            break;
        }
        let mut lengths = Vec::with_capacity(texts.len());
        for some in texts.chunks(TEXTS_A_STEP) {
            let borrowed: Vec<(&str, usize)> = some.iter().map(|text| (text.text.as_str(), text.title_end)).collect();
            for encoding in tokenizer.encode_all(&borrowed) {
                let encoding = encoding?;
                shapes.truncated += u64::from(encoding.n_dropped > 0);
                lengths.push(encoding.ids.len());
            }
            let read = shapes.rows + shapes.rejected;
            watch(ShapeProgress { rows: read, bytes: bytes.load(Ordering::Relaxed) });
        }
        count(&lengths, options.budget, &mut shapes);
    }
    match shapes.rows {
        0 => Err(Error::EmptyCorpus { files: corpus.files().len() }),
        _ => Ok(shapes),
    }
}

/// Adds the batches of a window of texts of these lengths.
fn count(lengths: &[usize], budget: TokenBudget, shapes: &mut CorpusShapes) {
    let plan = plan(lengths, budget);
    shapes.texts += lengths.len() as u64;
    shapes.tokens += plan.useful_tokens;
    shapes.padded_tokens += plan.padded_tokens;
    shapes.batches += plan.batches.len() as u64;
    for batch in &plan.batches {
        let longest = batch.iter().map(|&text| lengths[text]).max().unwrap_or(0);
        shapes.histogram.add(BatchShape::new(batch.len(), budget.columns(longest)));
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::super::{OpenEncoder, OpenedEncoder, StubEncoder};
    use super::*;
    use crate::paper::CorpusOptions;
    use crate::runtime::ProviderChoice;

    fn options(window: usize) -> ShapeOptions {
        let budget = TokenBudget::new(64, 16).unwrap().on(ProviderChoice::TensorRt);
        ShapeOptions { template: Template::ModelCard, sep: "[SEP]".to_owned(), budget, window }
    }

    fn shapes(lines: &str, window: usize) -> Result<(CorpusShapes, Vec<ShapeProgress>), Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("papers.jsonl");
        std::fs::write(&path, lines).unwrap();
        let corpus = Corpus::open(&[path.display().to_string()], CorpusOptions::default()).unwrap();
        let OpenedEncoder { tokenizer, .. } = StubEncoder { dim: 4, max_length: 16 }.open().unwrap();
        let mut seen = Vec::new();
        let found = corpus_shapes(&corpus, tokenizer.as_ref(), &options(window), &mut |step| seen.push(step))?;
        Ok((found, seen))
    }

    /// Papers whose text has so many words; a paper without an abstract ends in a separator.
    fn papers(words: &[usize]) -> String {
        words.iter().enumerate().fold(String::new(), |mut lines, (n, words)| {
            let title = (0..*words).map(|word| format!("w{n}x{word}")).collect::<Vec<_>>().join(" ");
            writeln!(lines, r#"{{"id": "p{n}", "title": "{title}", "abstract": ""}}"#).unwrap();
            lines
        })
    }

    #[test]
    fn batches_are_those_that_a_run_would_make() {
        let (found, seen) = shapes(&papers(&[4, 4, 4, 30, 9]), 4_096).unwrap();
        // Two special tokens each; the fourth is cut at 16.
        assert_eq!((found.rows, found.texts, found.truncated, found.tokens), (5, 5, 1, 3 * 6 + 16 + 11));
        assert_eq!(found.batches, found.histogram.batches());
        assert_eq!(found.padded_tokens, found.histogram.tokens());
        let expected = plan(&[6, 6, 6, 16, 11], options(1).budget);
        // Three of 6 tokens are 8 wide, the other two 16.
        assert_eq!((found.histogram.tokens_at(8), found.histogram.tokens_at(16)), (3 * 8, 2 * 16));
        assert_eq!((found.batches, found.padded_tokens), (expected.batches.len() as u64, expected.padded_tokens));
        assert_eq!(found.padding_share(), expected.padding_share());
        assert_eq!(seen.last().map(|step| step.rows), Some(5));
        assert!(seen.last().is_some_and(|step| step.bytes > 0));
    }

    #[test]
    fn windows_are_planned_by_themselves_and_repeated_texts_count_once() {
        let lines = papers(&[4; 6]);
        let (one, _) = shapes(&lines, 6).unwrap();
        let (several, _) = shapes(&lines, 2).unwrap();
        assert_eq!((one.batches, several.batches), (1, 3));
        assert_eq!(one.tokens, several.tokens);
        let repeated =
            "{\"id\": \"a\", \"title\": \"one\"}\n{\"id\": \"b\", \"title\": \"one\"}\n{\"id\": 3, \"title\": 4}\n";
        let (found, _) = shapes(repeated, 10).unwrap();
        assert_eq!((found.rows, found.texts, found.rejected), (2, 1, 1));
    }

    #[test]
    fn a_corpus_without_a_paper_is_an_error() {
        assert_eq!(shapes("", 10).unwrap_err().to_string(), "the corpus holds no rows (files read: 1)");
    }
}
