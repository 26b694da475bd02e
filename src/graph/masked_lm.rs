//! An encoder with the head that guesses masked words. Owns this graph's inputs and output: beside the tokens it takes
//! the places of the masks, so that the wide last layer runs for these alone and nothing asks for a shape.

use std::path::Path;

use crate::model::{Checkpoint, EncoderConfig, LOGITS, MASK_PLACES, MaskedLmHead, Weights};

use super::Error;
use super::builder::{Graph, Linear, Norm};
use super::onnx::{AttributeProto, Dimension, ElementType, ValueInfoProto};
use super::{encoder, export};

/// Writes the graph of a checkpoint with a masked-LM head: `input_ids` and `attention_mask`, [batch, sequence], and
/// `mask_places`, int64 `[masks]`, counted through all rows; gives `logits`, float32 `[masks, vocabulary]`. Weights that would
/// make the file larger than `largest_graph` bytes lie beside it, in a file with `.data` behind its name.
///
/// # Errors
/// The checkpoint has no such head, tensors of it are missing, or a file cannot be written.
pub fn write_masked_lm(checkpoint: &Checkpoint, path: &Path, largest_graph: u64) -> Result<(), Error> {
    let graph = build(checkpoint.config(), checkpoint.weights())?;
    export::write_alone(&graph, path, (largest_graph, checkpoint.folder()))
}

/// Whether a checkpoint has the head.
pub(super) fn has_head(config: &EncoderConfig, weights: &Weights) -> bool {
    let (prefix, beside) = encoder::prefixes(config, weights);
    MaskedLmHead::find(config, weights, (&prefix, &beside)).is_ok()
}

fn build<'a>(config: &EncoderConfig, weights: &'a Weights) -> Result<Graph<'a>, crate::model::Error> {
    let (prefix, beside) = encoder::prefixes(config, weights);
    let head = MaskedLmHead::find(config, weights, (&prefix, &beside))?;
    let (mut graph, states) = encoder::token_states(config, weights)?;
    let (hidden, width, words) = (config.hidden_size, config.embedding_size, config.vocab_size);
    graph.enter("masked_lm");
    let shape = graph.ints(&[-1, hidden as i64]);
    let rows = graph.node("Reshape", &[&states, &shape]);
    let masked = graph.node("Gather", &[&rows, MASK_PLACES]);
    let sizes = Linear { bias: config.biases.classifier, ..Linear::new(hidden, width) };
    let dense = graph.linear(&masked, &head.dense, sizes);
    let active = graph.activation(&dense, head.activation);
    let normed = graph.layer_norm(&active, &head.norm, Norm::of(config, width));
    let decoder = graph.weight(&head.decoder, &[words, width], 1.0);
    let bias = head.bias.map(|bias| graph.weight(&bias, &[words], 1.0));
    let inputs: Vec<&str> = [&normed, &decoder].into_iter().chain(&bias).map(AsRef::as_ref).collect();
    graph.node_with("Gemm", &inputs, vec![AttributeProto::int("transB", 1)]);
    graph.rename_last_output(LOGITS);

    let masks = || Dimension::Named("masks".to_owned());
    let mut inputs = encoder::token_inputs();
    inputs.push(ValueInfoProto::tensor(MASK_PLACES, ElementType::Int64, vec![masks()]));
    let row = vec![masks(), Dimension::Fixed(words as i64)];
    let outputs = vec![ValueInfoProto::tensor(LOGITS, ElementType::Float, row)];
    graph.finish(config.architecture.name, inputs, outputs)
}
