//! What was seen of a graph that pools by itself. Knows nothing of how it was seen.

use serde::{Deserialize, Serialize};

use super::Pooling;

/// How the rows of a graph came about that gives an embedding and not token states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenPooling {
    /// What they are made of, where they are the one or the other for every text, scaled to length 1 or as they were.
    pub pooling: Option<Pooling>,
    /// Whether every row has length 1.
    pub normalized: bool,
}
