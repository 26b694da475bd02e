//! DistilBERT (Sanh et al. 2019): BERT without token types, under other names. Sinusoidal positions are stored like
//! learnt ones.

use super::{Activation, Architecture, FieldNames, HeadNames, LayerNames, MaskedLmNames, Positions, bert};

pub(super) static DISTILBERT: Architecture = Architecture {
    name: "distilbert",
    classifier: "DistilBertForSequenceClassification",
    prefix: "distilbert.",
    fields: FieldNames {
        hidden_size: "dim",
        layers: "n_layers",
        heads: "n_heads",
        intermediate_size: "hidden_dim",
        activation: ("activation", "gelu"),
        token_types: None,
        epsilon: None,
        ..bert::FIELDS
    },
    positions: Positions::FromZero,
    embeddings: bert::EMBEDDINGS,
    layers: LayerNames {
        layer: "transformer.layer.{layer}",
        query: "attention.q_lin",
        key: "attention.k_lin",
        value: "attention.v_lin",
        attention_output: "attention.out_lin",
        attention_norm: "sa_layer_norm",
        wide: "ffn.lin1",
        narrow: "ffn.lin2",
        output_norm: "output_layer_norm",
        ..bert::LAYERS
    },
    head: HeadNames {
        dense: "pre_classifier",
        dense_in_encoder: false,
        activation: Activation::Relu,
        norm: None,
        output: "classifier",
    },
    masked_lm: MaskedLmNames {
        dense: "vocab_transform",
        activation: None,
        norm: "vocab_layer_norm",
        decoder: "vocab_projector.weight",
        bias: &["vocab_projector.bias"],
    },
};
