//! What an encoder loses beside its original: texts go through both, window by window, and heads answer on both: those
//! in the graphs, or one that was trained on the original. Knows no threshold of what is good enough.
//!
//! Memory: one window of texts, what [`Comparison`] keeps, and counts by label.

use std::io;

use ndarray::s;
use serde::{Deserialize, Serialize};

use super::answers::Answers;
use super::error::Error;
use super::view;
use crate::encode::{Comparison, Side, TokenBudget, WindowPair};
use crate::heads::{self, Head};
use crate::model::{GraphHead, HeadQuality, MeasuredQuality};
use crate::runtime::EmbeddingMatrix;

/// Texts that are run at a time: enough to put texts of like length together.
const WINDOW: usize = 256;

/// A text with what is known to be right about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelledText {
    /// As the tokenizer gets it.
    pub text: String,
    /// Its labels, exactly one where the head gives one; none where the corpus says nothing.
    pub labels: Option<Vec<String>>,
}

/// What is compared, and on what.
pub struct QualityJob<'a> {
    /// The encoder that rules.
    pub original: Side<'a>,
    /// The one that is measured.
    pub new: Side<'a>,
    /// Padded tokens of a batch.
    pub budget: TokenBudget,
    /// What the texts are called.
    pub corpus: &'a str,
    /// The heads whose answers stand behind the vectors of both, in their order: as the original has them, and as the new
    /// bundle has them.
    pub graph_heads: &'a [(GraphHead, GraphHead)],
    /// A head of the original that gives labels.
    pub head: Option<&'a Head>,
    /// The field that the texts' labels come from: they are right for `head`, else for one of `graph_heads`.
    pub label: Option<&'a str>,
    /// The number of that one.
    pub labelled_head: usize,
}

/// Runs `texts` on both encoders and measures; `watch` is told after each window how many texts are done.
///
/// # Errors
/// Texts that cannot be read, an encoder that cannot be opened or run, fewer than two different texts, or, with a label,
/// no text with one that the head knows.
pub fn measure_quality(
    job: &QualityJob<'_>,
    texts: &mut dyn Iterator<Item = io::Result<LabelledText>>,
    watch: &mut dyn FnMut(u64),
) -> Result<(MeasuredQuality, Vec<HeadQuality>), Error> {
    let mut comparison = Comparison::open(job.original, job.new, job.budget)?;
    let mut answers = AllAnswers::new(job);
    let mut done = 0;
    loop {
        let window: Vec<LabelledText> =
            texts.take(WINDOW).collect::<Result<_, _>>().map_err(|source| Error::Texts { source })?;
        if window.is_empty() {
            break;
        }
        let texts: Vec<&str> = window.iter().map(|labelled| labelled.text.as_str()).collect();
        let pair = comparison.window(&texts)?;
        let truths: Vec<Option<&[String]>> = window.iter().map(|labelled| labelled.labels.as_deref()).collect();
        answers.take(&pair, &truths)?;
        done += window.len() as u64;
        watch(done);
    }
    Ok((comparison.finish(job.corpus)?, answers.finish()?))
}

/// How a head's answers on new vectors differ from those on the vectors of the original, row by row; `label` is the field
/// that `truths` come from, where the texts are labelled.
///
/// # Errors
/// Vectors of another length than the head's, or, with a label, no text with one that the head knows.
pub fn head_quality(
    (head, label): (&Head, Option<&str>),
    (original, new): (&EmbeddingMatrix, &EmbeddingMatrix),
    truths: &[Option<&[String]>],
) -> Result<HeadQuality, Error> {
    let mut answers = Answers::of_file(head, label);
    let predict = |vectors: &EmbeddingMatrix| head.predict(view(vectors));
    answers.take(predict(original)?.view(), predict(new)?.view(), truths);
    answers.finish()
}

/// The answers of all heads.
struct AllAnswers<'a> {
    of_file: Option<(&'a Head, Answers)>,
    of_graph: Vec<Answers>,
    /// Columns of the heads in the graph.
    widths: Vec<usize>,
}

impl<'a> AllAnswers<'a> {
    fn new(job: &QualityJob<'a>) -> Self {
        let own = |at: usize| job.label.filter(|_| job.head.is_none() && at == job.labelled_head);
        Self {
            of_file: job.head.map(|head| (head, Answers::of_file(head, job.label))),
            of_graph: (0..).zip(job.graph_heads).map(|(at, head)| Answers::of_graph(head, own(at))).collect(),
            widths: job.graph_heads.iter().map(|(_, head)| head.labels.len()).collect(),
        }
    }

    fn take(&mut self, pair: &WindowPair, truths: &[Option<&[String]>]) -> Result<(), heads::Error> {
        if let Some((head, answers)) = &mut self.of_file {
            let predict = |vectors: &EmbeddingMatrix| head.predict(view(vectors));
            answers.take(predict(&pair.original.vectors)?.view(), predict(&pair.new.vectors)?.view(), truths);
        }
        let (original, new) = (view(&pair.original.answers), view(&pair.new.answers));
        let mut start = 0;
        for (answers, width) in self.of_graph.iter_mut().zip(&self.widths) {
            let columns = s![.., start..start + width];
            answers.take(original.slice(columns), new.slice(columns), truths);
            start += width;
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<HeadQuality>, Error> {
        let all = self.of_file.into_iter().map(|(_, answers)| answers).chain(self.of_graph);
        all.map(Answers::finish).collect()
    }
}

#[cfg(test)]
#[path = "quality_tests.rs"]
mod tests;
