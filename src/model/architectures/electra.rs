//! ELECTRA (Clark et al. 2020): BERT whose embeddings may be narrower than its states.

use super::{Activation, Architecture, EmbeddingNames, FieldNames, HeadNames, Positions, Projection, bert, roberta};

pub(super) static ELECTRA: Architecture = Architecture {
    name: "electra",
    classifier: "ElectraForSequenceClassification",
    prefix: "electra.",
    fields: FieldNames { embedding_size: Some("embedding_size"), ..bert::FIELDS },
    positions: Positions::FromZero,
    embeddings: EmbeddingNames { projection: Projection::WhereWidthsDiffer("embeddings_project"), ..bert::EMBEDDINGS },
    layers: bert::LAYERS,
    head: HeadNames { activation: Activation::Gelu, ..roberta::HEAD },
};
