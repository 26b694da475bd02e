//! What stands between the pipeline and a file of embeddings: windows become rows.

use crate::encode::{EmbeddedWindow, Sink, SinkError};

use super::{EmbeddingRow, Error, WriteEmbeddings, Written};

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
