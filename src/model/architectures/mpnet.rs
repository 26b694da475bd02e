//! MPNet (Song et al. 2020): RoBERTa's positions and, in the scores of every layer, a bias by relative position that all
//! layers share (the buckets of T5). No token types.

use super::{Architecture, EmbeddingNames, FieldNames, LayerNames, Padding, Positions, bert, roberta};

pub(super) static MPNET: Architecture = Architecture {
    name: "mpnet",
    classifier: "MPNetForSequenceClassification",
    prefix: "mpnet.",
    fields: FieldNames { token_types: None, relative_buckets: Some("relative_attention_num_buckets"), ..bert::FIELDS },
    positions: Positions::AfterPadding(Padding::Id(1)),
    embeddings: EmbeddingNames { relative: Some("encoder.relative_attention_bias"), ..bert::EMBEDDINGS },
    layers: LayerNames {
        query: "attention.attn.q",
        key: "attention.attn.k",
        value: "attention.attn.v",
        attention_output: "attention.attn.o",
        attention_norm: "attention.LayerNorm",
        ..bert::LAYERS
    },
    head: roberta::HEAD,
    masked_lm: roberta::MASKED_LM,
};
