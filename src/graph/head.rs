//! The head of a sequence classifier, from a text's state to the outputs `logits` and `probabilities`.
//! It runs on several rows of each text and picks the first at its end, for the reason given at `FIRST_ROWS`.

use crate::model::{Classification, EncoderConfig, LOGITS, PROBABILITIES, Task};

use super::builder::{GraphBuilder, Linear, Norm};
use super::encoder::first_token;
use super::onnx::{AttributeProto, Dimension, ElementType, ValueInfoProto};

/// Where the head's tensors lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefixes<'p> {
    /// Before the encoder's tensors.
    pub encoder: &'p str,
    /// Before those beside the encoder.
    pub beside: &'p str,
}

/// Adds the head to the first of `rows`, [batch, rows, hidden], and gives the graph's outputs for it.
pub(super) fn classify(
    graph: &mut GraphBuilder<'_>,
    config: &EncoderConfig,
    (classification, prefixes): (&Classification, Prefixes<'_>),
    rows: &str,
) -> Vec<ValueInfoProto> {
    let names = &config.architecture.head;
    let (hidden, labels) = (config.hidden_size, classification.labels.len());
    let place = if names.dense_in_encoder { prefixes.encoder } else { prefixes.beside };
    let linear = Linear { bias: config.biases.classifier, ..Linear::new(hidden, hidden) };
    let dense = graph.linear(rows, &format!("{place}{}", names.dense), linear);
    let mut active = graph.activation(&dense, config.head_activation);
    if let Some(norm) = names.norm {
        active = graph.layer_norm(&active, &format!("{}{norm}", prefixes.beside), Norm::of(config, hidden));
    }
    let output = format!("{}{}", prefixes.beside, names.output);
    let scores = graph.linear(&active, &output, Linear::new(hidden, labels));
    first_token(graph, &scores);
    graph.rename_last_output(LOGITS);
    let probabilities = match classification.task {
        Task::Classification => Some(graph.node_with("Softmax", &[LOGITS], vec![AttributeProto::int("axis", -1)])),
        Task::Multilabel => Some(graph.node("Sigmoid", &[LOGITS])),
        Task::Regression => None,
    };
    let mut outputs = vec![output_of(LOGITS, labels)];
    if probabilities.is_some() {
        graph.rename_last_output(PROBABILITIES);
        outputs.push(output_of(PROBABILITIES, labels));
    }
    outputs
}

fn output_of(name: &str, labels: usize) -> ValueInfoProto {
    let row = vec![Dimension::Named("batch".to_owned()), Dimension::Fixed(labels as i64)];
    ValueInfoProto::tensor(name, ElementType::Float, row)
}
