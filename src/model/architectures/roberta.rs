//! RoBERTa (Liu et al. 2019) and XLM-RoBERTa (Conneau et al. 2019): BERT with positions counted from behind the padding
//! token's id, and another head.

use super::{Activation, Architecture, HeadNames, MaskedLmNames, Padding, Positions, bert};

const SHARED: Architecture = Architecture {
    name: "roberta",
    classifier: "RobertaForSequenceClassification",
    prefix: "roberta.",
    fields: bert::FIELDS,
    positions: Positions::AfterPadding(Padding::Field("pad_token_id")),
    embeddings: bert::EMBEDDINGS,
    layers: bert::LAYERS,
    head: HEAD,
    masked_lm: MASKED_LM,
};

pub(super) static ROBERTA: Architecture = SHARED;

pub(super) static XLM_ROBERTA: Architecture =
    Architecture { name: "xlm-roberta", classifier: "XLMRobertaForSequenceClassification", ..SHARED };

/// A dense layer with tanh and a projection, both beside the encoder.
pub(super) const HEAD: HeadNames = HeadNames {
    dense: "classifier.dense",
    dense_in_encoder: false,
    activation: Activation::Tanh,
    norm: None,
    output: "classifier.out_proj",
};

/// The head that guesses masked words.
pub(super) const MASKED_LM: MaskedLmNames = MaskedLmNames {
    dense: "lm_head.dense",
    activation: Some(Activation::Gelu),
    norm: "lm_head.layer_norm",
    decoder: "lm_head.decoder.weight",
    bias: &["lm_head.decoder.bias", "lm_head.bias"],
};
