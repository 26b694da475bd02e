//! A sample of a corpus' texts, chosen by the hash of the id: the same whatever the order of the rows, and most of it
//! still the same when rows are added. Keeps the sample and no more, however long the corpus is.

use std::collections::{BTreeMap, HashSet};

use super::{Error, RowAdapters};
use crate::cache::Key;
use crate::paper::{Corpus, Label, Row, Template};

/// Separates these hashes from every other use of an id's hash.
const CONTEXT: &str = "offprint 2025 sample of rows by id";

/// Texts out of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSample {
    /// The texts, each another (or of another adapter), in the order of their ids' hashes.
    pub texts: Vec<String>,
    /// The place of each text's adapter; empty where there is nothing to choose.
    pub adapters: Vec<i64>,
    /// Rows that were read and can be embedded.
    pub rows: u64,
    /// Rows that cannot be used.
    pub rejected: u64,
}

/// A text, and what the corpus says is right for it.
pub type SampledPaper = (String, Option<Label>);

/// Papers out of a corpus, as [`TextSample`].
#[derive(Debug, Clone, PartialEq)]
pub struct PaperSample {
    /// The texts, each another, in the order of their ids' hashes, with what the corpus says is right for each: its first
    /// label field, if it has any.
    pub papers: Vec<SampledPaper>,
    /// The place of each text's adapter; empty where there is nothing to choose.
    pub adapters: Vec<i64>,
    /// Rows that were read and can be embedded.
    pub rows: u64,
    /// Rows that cannot be used.
    pub rejected: u64,
}

/// Reads the whole corpus and keeps the `size` rows with the smallest hashes of their ids. Rows of one id count once
/// (the first), texts that occur more than once are kept once, so that there may be fewer texts than `size`.
///
/// # Errors
/// A corpus that cannot be read to its end, or that has no row that can be embedded.
pub fn sample_texts(
    corpus: &Corpus,
    template: (&Template, &str),
    adapters: &RowAdapters,
    size: usize,
) -> Result<TextSample, Error> {
    let PaperSample { papers, adapters, rows, rejected } = sample_papers(corpus, template, adapters, size)?;
    Ok(TextSample { texts: papers.into_iter().map(|(text, _)| text).collect(), adapters, rows, rejected })
}

/// [`sample_texts`] with the papers' labels.
///
/// # Errors
/// As [`sample_texts`].
pub fn sample_papers(
    corpus: &Corpus,
    (template, sep): (&Template, &str),
    adapters: &RowAdapters,
    size: usize,
) -> Result<PaperSample, Error> {
    let mut kept: BTreeMap<[u8; 32], (u8, SampledPaper)> = BTreeMap::new();
    let (mut rows, mut rejected) = (0, 0);
    for row in corpus.rows() {
        let paper = match row? {
            Row::Paper(paper) => paper,
            Row::Rejected(_) => {
                rejected += 1;
                continue;
            }
        };
        let Ok(adapter) = adapters.place_of(&paper) else {
            rejected += 1;
            continue;
        };
        rows += 1;
        let hash = blake3::derive_key(CONTEXT, paper.id.as_bytes());
        let beyond = kept.len() >= size && kept.last_key_value().is_none_or(|(last, _)| hash > *last);
        if beyond || kept.contains_key(&hash) {
            continue;
        }
        let label = paper.labels.into_iter().next().flatten();
        kept.insert(hash, (adapter, (template.render(&paper.text, sep).text, label)));
        if kept.len() > size {
            kept.pop_last();
        }
    }
    if kept.is_empty() {
        return Err(Error::EmptyCorpus { files: corpus.files().len() });
    }
    let mut seen = HashSet::new();
    let distinct = kept.into_values().filter(|(adapter, (text, _))| seen.insert((*adapter, Key::of_text(text))));
    let (places, papers): (Vec<u8>, Vec<_>) = distinct.unzip();
    Ok(PaperSample { papers, adapters: adapters.of_rows(places.into_iter()), rows, rejected })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::paper::CorpusOptions;

    fn sample(lines: &str, size: usize) -> Result<TextSample, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("papers.jsonl");
        std::fs::write(&path, lines).unwrap();
        let corpus = Corpus::open(&[path.display().to_string()], CorpusOptions::default()).unwrap();
        sample_texts(&corpus, (&Template::ModelCard, "[SEP]"), &RowAdapters::default(), size)
    }

    fn lines(numbers: impl Iterator<Item = usize>) -> String {
        numbers.fold(String::new(), |mut text, n| {
            writeln!(text, r#"{{"id": "p{n}", "title": "paper {n}", "abstract": "x"}}"#).unwrap();
            text
        })
    }

    #[test]
    fn a_sample_does_not_depend_on_the_order_of_the_rows() {
        let forwards = sample(&lines(0..500), 20).unwrap();
        assert_eq!((forwards.texts.len(), forwards.rows, forwards.rejected), (20, 500, 0));
        assert_eq!(sample(&lines((0..500).rev()), 20).unwrap(), forwards);
        assert!(forwards.texts.iter().all(|text| text.starts_with("paper ") && text.ends_with("[SEP]x")));
        // Added rows take places, but nothing else moves.
        let more = sample(&lines(0..520), 20).unwrap();
        assert!(more.texts.iter().filter(|text| forwards.texts.contains(text)).count() >= 15);
        assert_eq!(sample(&lines(0..7), 20).unwrap().texts.len(), 7);
    }

    #[test]
    fn repeated_texts_count_once_and_rejected_rows_are_counted() {
        let text = format!("{}{}\n{{\"id\": 3, \"title\": 4}}\n", lines(0..3), lines(0..1).trim());
        let same = "{\"id\": \"q\", \"title\": \"paper 0\", \"abstract\": \"x\"}\n";
        let found = sample(&format!("{text}{same}"), 10).unwrap();
        assert_eq!((found.texts.len(), found.rows, found.rejected), (3, 5, 1));
    }

    #[test]
    fn a_corpus_without_rows_is_an_error() {
        let error = sample("", 10).unwrap_err();
        assert_eq!(error.to_string(), "the corpus holds no rows (files read: 1)");
    }
}
