//! What stands between the pipeline and a file: windows of embeddings become rows of an embedding file, or go through
//! a head and become predictions.

use crate::encode::{EmbeddedWindow, Sink, SinkError};
use crate::heads::Head;
use crate::paper::Paper;

use super::{EmbeddingRow, Error, Prediction, WriteEmbeddings, WritePredictions, Written};

/// Writes every row of a window.
pub struct EmbeddingSink {
    writer: Box<dyn WriteEmbeddings>,
}

impl EmbeddingSink {
    /// Hands rows to `writer`.
    pub fn new(writer: Box<dyn WriteEmbeddings>) -> Self {
        Self { writer }
    }

    /// Puts the file in its place and says what it holds.
    pub fn finish(self) -> Result<Written, Error> {
        self.writer.finish()
    }
}

impl Sink for EmbeddingSink {
    fn window(&mut self, window: EmbeddedWindow) -> Result<(), SinkError> {
        for ((paper, embedding), meta) in window.papers.iter().zip(window.embeddings.outer_iter()).zip(&window.metas) {
            let embedding = embedding.to_slice().expect("the matrix of a window is row-major");
            self.writer.write(&EmbeddingRow {
                id: &paper.id,
                embedding,
                n_tokens: meta.n_tokens,
                n_dropped: meta.n_dropped,
            })?;
        }
        Ok(())
    }
}

/// Where the probabilities of labels come from.
pub enum Labeller {
    /// A head makes them of embeddings.
    Head(Box<Head>),
    /// The bundle's own graph made them; these are the labels of its columns.
    Graph(Vec<String>),
}

impl Labeller {
    fn labels(&self) -> &[String] {
        match self {
            Self::Head(head) => &head.labels,
            Self::Graph(labels) => labels,
        }
    }
}

/// Writes what every window is labelled with.
pub struct PredictionSink {
    labeller: Labeller,
    writer: Option<Box<dyn WritePredictions>>,
    top_k: usize,
    min_probability: Option<f32>,
    preview_rows: usize,
    outcome: PredictionOutcome,
}

/// What a run of predictions came to.
#[derive(Debug, Default)]
pub struct PredictionOutcome {
    /// Title (or the beginning of a plain text), label and probability of the first rows.
    pub preview: Vec<(String, String, f32)>,
    /// Rows by predicted label, most frequent first.
    pub counts: Vec<(String, u64)>,
    /// Right labels of the rows that carry one, in the order of the corpus.
    pub truth: Vec<String>,
    /// What was predicted for them.
    pub predicted: Vec<String>,
}

/// Label of rows whose best probability is too low.
pub const UNKNOWN: &str = "unknown";

impl PredictionSink {
    /// Predicts by `labeller`; each prediction lists the `top_k` most probable labels if that is at least 1.
    pub fn new(labeller: Labeller, writer: Option<Box<dyn WritePredictions>>, top_k: usize) -> Self {
        let outcome = PredictionOutcome::default();
        Self { labeller, writer, top_k, min_probability: None, preview_rows: 0, outcome }
    }

    /// Rows below this probability are called [`UNKNOWN`].
    pub fn with_min_probability(self, min_probability: Option<f32>) -> Self {
        Self { min_probability, ..self }
    }

    /// Keeps the first `rows` rows for showing.
    pub fn with_preview(self, rows: usize) -> Self {
        Self { preview_rows: rows, ..self }
    }

    /// Puts the file in its place and gives what was counted.
    pub fn finish(mut self) -> Result<PredictionOutcome, Error> {
        if let Some(writer) = self.writer {
            writer.finish()?;
        }
        self.outcome.counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Ok(self.outcome)
    }

    fn decide(&self, probabilities: &[f32]) -> (String, f32, Vec<(String, f32)>) {
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        // Ties go to the first label, as scikit-learn's argmax does.
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
        let best = probabilities[order[0]];
        let sure = self.min_probability.is_none_or(|least| best >= least);
        let labels = self.labeller.labels();
        let label = if sure { labels[order[0]].clone() } else { UNKNOWN.to_owned() };
        let ranked = order.iter().take(self.top_k).map(|&n| (labels[n].clone(), probabilities[n])).collect();
        (label, best, ranked)
    }

    fn count(&mut self, paper: &Paper, label: &str, probability: f32) {
        match self.outcome.counts.iter_mut().find(|(name, _)| name == label) {
            Some((_, rows)) => *rows += 1,
            None => self.outcome.counts.push((label.to_owned(), 1)),
        }
        if self.outcome.preview.len() < self.preview_rows {
            self.outcome.preview.push((paper.text.short().to_owned(), label.to_owned(), probability));
        }
        if let Some(truth) = &paper.label {
            self.outcome.truth.push(truth.clone());
            self.outcome.predicted.push(label.to_owned());
        }
    }
}

impl Sink for PredictionSink {
    fn window(&mut self, window: EmbeddedWindow) -> Result<(), SinkError> {
        let probabilities = match &self.labeller {
            Labeller::Head(head) => head.predict(window.embeddings.view())?,
            Labeller::Graph(_) => window.embeddings,
        };
        for (paper, row) in window.papers.into_iter().zip(probabilities.outer_iter()) {
            let (label, probability, ranked) = self.decide(&row.to_vec());
            self.count(&paper, &label, probability);
            if let Some(writer) = &mut self.writer {
                writer.write(&Prediction { id: paper.id, label, probability, ranked, kept: paper.kept })?;
            }
        }
        Ok(())
    }
}
