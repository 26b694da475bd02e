//! BERT (Devlin et al. 2018) and whatever is saved as such: SciBERT, SPECTER, MiniLM, BGE.

use super::{
    Activation, Architecture, EmbeddingNames, FieldNames, HeadNames, LayerNames, MaskedLmNames, Norms, Positions,
    Projection,
};

pub(super) static BERT: Architecture = Architecture {
    name: "bert",
    classifier: "BertForSequenceClassification",
    prefix: "bert.",
    fields: FIELDS,
    positions: Positions::FromZero,
    embeddings: EMBEDDINGS,
    layers: LAYERS,
    head: HeadNames {
        dense: "pooler.dense",
        dense_in_encoder: true,
        activation: Activation::Tanh,
        norm: None,
        output: "classifier",
    },
    masked_lm: MaskedLmNames {
        dense: "cls.predictions.transform.dense",
        activation: None,
        norm: "cls.predictions.transform.LayerNorm",
        decoder: "cls.predictions.decoder.weight",
        bias: &["cls.predictions.decoder.bias", "cls.predictions.bias"],
    },
};

pub(super) const FIELDS: FieldNames = FieldNames {
    hidden_size: "hidden_size",
    embedding_size: None,
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    intermediate_size: "intermediate_size",
    activation: ("hidden_act", "gelu"),
    token_types: Some("type_vocab_size"),
    epsilon: Some(("layer_norm_eps", 1e-12)),
    relative_buckets: None,
    shared_layers: None,
    biases: None,
    classifier: None,
};

pub(super) const EMBEDDINGS: EmbeddingNames = EmbeddingNames {
    words: "embeddings.word_embeddings",
    positions: "embeddings.position_embeddings",
    token_types: "embeddings.token_type_embeddings",
    norm: "embeddings.LayerNorm",
    projection: Projection::None,
    relative: None,
};

pub(super) const LAYERS: LayerNames = LayerNames {
    layer: "encoder.layer.{layer}",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    wide: "intermediate.dense",
    gate: None,
    narrow: "output.dense",
    output_norm: "output.LayerNorm",
    norms: Norms::Behind,
};
