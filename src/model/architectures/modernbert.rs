//! ModernBERT (Warner et al. 2024): rotary positions, normalization before the blocks, gated feed-forward blocks, no
//! biases, and attention that most layers keep within a window.

use super::{
    Activation, Architecture, BiasFields, ClassifierFields, EmbeddingNames, FieldNames, HeadNames, LayerNames,
    MaskedLmNames, Norms, Positions, bert,
};

pub(super) static MODERNBERT: Architecture = Architecture {
    name: "modernbert",
    classifier: "ModernBertForSequenceClassification",
    prefix: "model.",
    fields: FieldNames {
        activation: ("hidden_activation", "gelu"),
        token_types: None,
        epsilon: Some(("norm_eps", 1e-5)),
        biases: Some(BiasFields {
            norms: "norm_bias",
            attention: "attention_bias",
            feed_forward: "mlp_bias",
            classifier: "classifier_bias",
            decoder: "decoder_bias",
        }),
        classifier: Some(ClassifierFields { activation: "classifier_activation", pooling: "classifier_pooling" }),
        ..bert::FIELDS
    },
    positions: Positions::Rotary,
    embeddings: EmbeddingNames { words: "embeddings.tok_embeddings", norm: "embeddings.norm", ..bert::EMBEDDINGS },
    layers: LayerNames {
        layer: "layers.{layer}",
        query: "attn.Wqkv",
        key: "attn.Wqkv",
        value: "attn.Wqkv",
        attention_output: "attn.Wo",
        attention_norm: "attn_norm",
        wide: "mlp.Wi",
        gate: Some("mlp.Wi"),
        narrow: "mlp.Wo",
        output_norm: "mlp_norm",
        norms: Norms::Before("final_norm"),
    },
    head: HeadNames {
        dense: "head.dense",
        dense_in_encoder: false,
        activation: Activation::Gelu,
        norm: Some("head.norm"),
        output: "classifier",
    },
    masked_lm: MaskedLmNames {
        dense: "head.dense",
        activation: None,
        norm: "head.norm",
        decoder: "decoder.weight",
        bias: &["decoder.bias"],
    },
};
