//! What the inputs and outputs of a bundle's graphs are called.

/// Input: token ids, int64 [batch, sequence].
pub const INPUT_IDS: &str = "input_ids";

/// Input: 1 for a token, 0 for padding, int64 [batch, sequence].
pub const ATTENTION_MASK: &str = "attention_mask";

/// Input of a graph with several adapters: the place of each text's adapter in the bundle's list, int64 `[batch]`.
pub const ADAPTER: &str = "adapter";

/// Input of a masked-LM graph: where the masks stand, int64 `[masks]`.
pub const MASK_PLACES: &str = "mask_places";

/// Output: one embedding per text, float32 [batch, dim].
pub const SENTENCE_EMBEDDING: &str = "sentence_embedding";

/// A head's output before softmax or sigmoid; for a regression, its answer.
pub const LOGITS: &str = "logits";

/// A head's probability of each label.
pub const PROBABILITIES: &str = "probabilities";
