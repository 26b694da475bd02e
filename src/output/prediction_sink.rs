//! What stands between the pipeline and predictions: windows of embeddings go through a head file, or are the answers
//! of the graph's own heads already; each row is read, counted and written, and then forgotten.

use std::ops::Range;

use ndarray::Array2;

use crate::encode::{EmbeddedWindow, Sink, SinkError};
use crate::heads::Head;

use super::answers::{Answer, HeadReader};
use super::counting::{HeadCount, HeadOutcome};
use super::{Error, Prediction, WritePredictions};

/// A head whose answers are written.
#[derive(Debug, Clone)]
pub struct PredictedHead {
    /// Reads its numbers.
    pub reader: HeadReader,
    /// Which of a paper's labels says what is right, if one does. It must be of the kind that the head answers with.
    pub truth: Option<usize>,
}

/// Writes what every window is labelled with.
pub struct PredictionSink {
    /// Makes answers of embeddings; without one they are answers, those of each head beside those of the one before.
    head_file: Option<Box<Head>>,
    heads: Vec<HeadPass>,
    writer: Option<Box<dyn WritePredictions>>,
    preview_rows: usize,
    preview: Vec<Preview>,
}

struct HeadPass {
    count: HeadCount,
    columns: Range<usize>,
    truth: Option<usize>,
}

/// One of the first rows, for showing.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The paper's title, or the beginning of a plain text.
    pub title: String,
    /// What each head says.
    pub answers: Vec<Answer>,
}

/// What a run of predictions came to.
#[derive(Debug)]
pub struct PredictionOutcome {
    /// The first rows.
    pub preview: Vec<Preview>,
    /// One entry for each head.
    pub heads: Vec<HeadOutcome>,
}

impl PredictionSink {
    /// For the answers of a graph, whose rows have those of each head in `heads` side by side.
    pub fn of_graph(heads: Vec<PredictedHead>, writer: Option<Box<dyn WritePredictions>>) -> Self {
        Self::new(None, heads, writer)
    }

    /// For embeddings, of which `head` makes the answers that `predicted` reads.
    pub fn of_file(head: Head, predicted: PredictedHead, writer: Option<Box<dyn WritePredictions>>) -> Self {
        Self::new(Some(Box::new(head)), vec![predicted], writer)
    }

    fn new(head_file: Option<Box<Head>>, heads: Vec<PredictedHead>, writer: Option<Box<dyn WritePredictions>>) -> Self {
        let mut end = 0;
        let passes = heads.into_iter().map(|PredictedHead { reader, truth }| {
            let start = end;
            end += reader.labels.len();
            HeadPass { count: HeadCount::new(reader, truth.is_some()), columns: start..end, truth }
        });
        Self { head_file, heads: passes.collect(), writer, preview_rows: 0, preview: Vec::new() }
    }

    /// Keeps the first `rows` rows for showing.
    pub fn with_preview(self, rows: usize) -> Self {
        Self { preview_rows: rows, ..self }
    }

    /// Puts the file in its place and gives what was counted.
    pub fn finish(self) -> Result<PredictionOutcome, Error> {
        if let Some(writer) = self.writer {
            writer.finish()?;
        }
        let heads = self.heads.into_iter().map(|head| head.count.finish()).collect();
        Ok(PredictionOutcome { preview: self.preview, heads })
    }

    fn answers(&self, id: &str, row: &[f32]) -> Result<Vec<Answer>, Error> {
        let answer = |head: &HeadPass| {
            let values = &row[head.columns.clone()];
            let reader = head.count.reader();
            match values.iter().find(|value| !value.is_finite()) {
                None => Ok(reader.read(values)),
                Some(&value) => Err(Error::NoAnswer { id: id.to_owned(), head: reader.name.clone(), value }),
            }
        };
        self.heads.iter().map(answer).collect()
    }
}

impl Sink for PredictionSink {
    fn window(&mut self, window: EmbeddedWindow) -> Result<(), SinkError> {
        let rows: Array2<f32> = match &self.head_file {
            Some(head) => head.predict(window.embeddings.view())?,
            None => window.embeddings,
        };
        for (paper, row) in window.papers.into_iter().zip(rows.outer_iter()) {
            let answers = self.answers(&paper.id, row.to_slice().expect("the matrix of a window is row-major"))?;
            for (head, answer) in self.heads.iter_mut().zip(&answers) {
                let truth = head.truth.and_then(|at| paper.labels.get(at)?.as_ref());
                head.count.add(answer, truth);
            }
            if self.preview.len() < self.preview_rows {
                self.preview.push(Preview { title: paper.text.short().to_owned(), answers: answers.clone() });
            }
            if let Some(writer) = &mut self.writer {
                writer.write(&Prediction { id: paper.id, answers, kept: paper.kept })?;
            }
        }
        Ok(())
    }
}
