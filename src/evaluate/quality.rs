//! What an encoder loses beside its original: labelled texts go through both, window by window, and a head that was
//! trained on the original answers on both. Knows no bundle and no threshold.
//!
//! Memory: one window of texts, what [`Comparison`] keeps, and 24 bytes a labelled text. Invariant: the head's figures
//! on both sides come from the same texts.

use std::collections::HashMap;
use std::io;

use ndarray::{ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::metrics::classification;
use crate::encode::{self, Comparison, Side, TokenBudget};
use crate::heads::{self, Head, most_probable};
use crate::model::{HeadQuality, MeasuredQuality};
use crate::runtime::EmbeddingMatrix;

/// Texts that are run at a time: enough to put texts of like length together.
const WINDOW: usize = 256;

/// A text with what is known to be right about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelledText {
    /// As the tokenizer gets it.
    pub text: String,
    /// Its label; none where the corpus has none.
    pub label: Option<String>,
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
    /// A head of the original that gives one label, and the name of the field that its label stands in.
    pub head: Option<(&'a Head, &'a str)>,
}

/// Runs `texts` on both encoders and measures; `watch` is told after each window how many texts are done.
///
/// # Errors
/// Texts that cannot be read, an encoder that cannot be opened or run, fewer than two different texts, or, with a head,
/// no text with a label that it knows.
pub fn measure_quality(
    job: &QualityJob<'_>,
    texts: &mut dyn Iterator<Item = io::Result<LabelledText>>,
    watch: &mut dyn FnMut(u64),
) -> Result<(MeasuredQuality, Option<HeadQuality>), Error> {
    let mut comparison = Comparison::open(job.original, job.new, job.budget).map_err(encoder)?;
    let mut answers = job.head.map(|(head, label)| Answers::new(head, label));
    let mut done = 0;
    loop {
        let window: Vec<LabelledText> =
            texts.take(WINDOW).collect::<Result<_, _>>().map_err(|source| Error::Texts { source })?;
        if window.is_empty() {
            break;
        }
        let texts: Vec<&str> = window.iter().map(|labelled| labelled.text.as_str()).collect();
        let pair = comparison.window(&texts).map_err(encoder)?;
        if let Some(answers) = &mut answers {
            answers.take(&window, &pair.original, &pair.new)?;
        }
        done += window.len() as u64;
        watch(done);
    }
    let measured = comparison.finish(job.corpus).map_err(encoder)?;
    Ok((measured, answers.map(Answers::finish).transpose()?))
}

fn encoder(source: encode::Error) -> Error {
    Error::Encoder { source: Box::new(source) }
}

/// What a head says on both sides. Classes are numbered: the head's own first, then others as they are met.
struct Answers<'a> {
    head: &'a Head,
    field: &'a str,
    classes: HashMap<String, usize>,
    truth: Vec<usize>,
    original: Vec<usize>,
    new: Vec<usize>,
    unlabelled: u64,
}

impl<'a> Answers<'a> {
    fn new(head: &'a Head, field: &'a str) -> Self {
        let classes = head.labels.iter().cloned().zip(0..).collect();
        Self { head, field, classes, truth: Vec::new(), original: Vec::new(), new: Vec::new(), unlabelled: 0 }
    }

    fn take(
        &mut self,
        window: &[LabelledText],
        original: &EmbeddingMatrix,
        new: &EmbeddingMatrix,
    ) -> Result<(), heads::Error> {
        let rows: Vec<usize> = (0..window.len()).filter(|&row| window[row].label.is_some()).collect();
        self.unlabelled += (window.len() - rows.len()) as u64;
        for label in window.iter().filter_map(|labelled| labelled.label.as_ref()) {
            let next = self.classes.len();
            self.truth.push(*self.classes.entry(label.clone()).or_insert(next));
        }
        let answer = |matrix: &EmbeddingMatrix| {
            let all = ArrayView2::from_shape((matrix.rows, matrix.dim), &matrix.data);
            let all = all.expect("a matrix has rows × dim numbers");
            Ok::<_, heads::Error>(most_probable(self.head.predict(all.select(Axis(0), &rows).view())?.view()))
        };
        let (on_original, on_new) = (answer(original)?, answer(new)?);
        self.original.extend(on_original);
        self.new.extend(on_new);
        Ok(())
    }

    fn finish(self) -> Result<HeadQuality, Error> {
        let known = self.head.labels.len();
        let unknown = self.truth.iter().filter(|&&class| class >= known).count();
        if unknown == self.truth.len() {
            let example = self.classes.iter().find(|(_, class)| **class == known).map(|(label, _)| label.clone());
            return Err(Error::NoKnownLabel {
                field: self.field.to_owned(),
                example,
                labels: self.head.labels.clone(),
            });
        }
        let f1 = |answers: &[usize]| Ok::<_, Error>(classification(&self.truth, answers, self.classes.len())?.f1_macro);
        let (f1_macro_original, f1_macro) = (f1(&self.original)?, f1(&self.new)?);
        let changed = self.original.iter().zip(&self.new).filter(|(original, new)| original != new).count();
        let file = self.head.file().and_then(|file| file.file_name());
        Ok(HeadQuality {
            name: file.map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            label: self.field.to_owned(),
            texts: self.truth.len() as u64,
            unknown_labels: unknown as u64,
            unlabelled: self.unlabelled,
            f1_macro_original,
            f1_macro,
            f1_drop: f1_macro_original - f1_macro,
            answers_changed: changed as u64,
        })
    }
}

#[cfg(test)]
#[path = "quality_tests.rs"]
mod tests;
