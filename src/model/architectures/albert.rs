//! ALBERT (Lan et al. 2019): narrow embeddings with a projection, and layers that share their weights in groups.

use super::{
    Activation, Architecture, EmbeddingNames, FieldNames, HeadNames, LayerNames, MaskedLmNames, Positions, Projection,
    bert,
};

pub(super) static ALBERT: Architecture = Architecture {
    name: "albert",
    classifier: "AlbertForSequenceClassification",
    prefix: "albert.",
    fields: FieldNames {
        embedding_size: Some("embedding_size"),
        activation: ("hidden_act", "gelu_new"),
        shared_layers: Some(["num_hidden_groups", "inner_group_num"]),
        ..bert::FIELDS
    },
    positions: Positions::FromZero,
    embeddings: EmbeddingNames {
        projection: Projection::Always("encoder.embedding_hidden_mapping_in"),
        ..bert::EMBEDDINGS
    },
    layers: LayerNames {
        layer: "encoder.albert_layer_groups.{group}.albert_layers.{inner}",
        query: "attention.query",
        key: "attention.key",
        value: "attention.value",
        attention_output: "attention.dense",
        attention_norm: "attention.LayerNorm",
        wide: "ffn",
        narrow: "ffn_output",
        output_norm: "full_layer_layer_norm",
        ..bert::LAYERS
    },
    head: HeadNames {
        dense: "pooler",
        dense_in_encoder: true,
        activation: Activation::Tanh,
        norm: None,
        output: "classifier",
    },
    masked_lm: MaskedLmNames {
        dense: "predictions.dense",
        activation: None,
        norm: "predictions.LayerNorm",
        decoder: "predictions.decoder.weight",
        bias: &["predictions.decoder.bias", "predictions.bias"],
    },
};
