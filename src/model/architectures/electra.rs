//! ELECTRA (Clark et al. 2020): BERT whose embeddings may be narrower than its states.

use super::{
    Activation, Architecture, EmbeddingNames, FieldNames, HeadNames, MaskedLmNames, Positions, Projection, bert,
    roberta,
};

pub(super) static ELECTRA: Architecture = Architecture {
    name: "electra",
    classifier: "ElectraForSequenceClassification",
    prefix: "electra.",
    fields: FieldNames { embedding_size: Some("embedding_size"), ..bert::FIELDS },
    positions: Positions::FromZero,
    embeddings: EmbeddingNames { projection: Projection::WhereWidthsDiffer("embeddings_project"), ..bert::EMBEDDINGS },
    layers: bert::LAYERS,
    head: HeadNames { activation: Activation::Gelu, ..roberta::HEAD },
    // Only the generator has it; the discriminator tells right words from wrong ones.
    masked_lm: MaskedLmNames {
        dense: "generator_predictions.dense",
        activation: Some(Activation::Gelu),
        norm: "generator_predictions.LayerNorm",
        decoder: "generator_lm_head.weight",
        bias: &["generator_lm_head.bias"],
    },
};
