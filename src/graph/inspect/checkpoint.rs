//! What a checkpoint consists of: its tensors by layer, and the graph that an export would make of it, built without its
//! weights.

use std::collections::HashMap;

use prost::bytes::Bytes;
use serde::Serialize;

use super::super::constants::{Constant, Values};
use super::super::encoder::{self, Ending};
use super::super::onnx::{GraphProto, ModelProto, TensorProto};
use super::super::{Error, builder, masked_lm};
use super::{InspectOptions, Inspection, inspect_model, layers};
use crate::model::{Checkpoint, Classification, Pooling};

/// What a checkpoint consists of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckpointInspection {
    /// `model_type` of its config.
    pub architecture: String,
    /// Width of a token state, the length of an embedding.
    pub hidden_size: usize,
    /// Encoder layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Rows of the word embedding table.
    pub vocab_size: usize,
    /// Longest input in tokens.
    pub max_length: usize,
    /// How token states become one vector, where the checkpoint says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// Whether its vectors are scaled to length 1.
    pub normalize: bool,
    /// The labels of a sequence classifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classification: Option<Classification>,
    /// Whether it has a head that guesses masked words.
    pub masked_lm: bool,
    /// The stored tensors by layer, their cost left out.
    pub tensors: Vec<TensorGroup>,
    /// The graph that an export makes of it, with mean pooling where nothing else is said.
    pub graph: Inspection,
}

/// The stored tensors of a layer that have one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorGroup {
    /// The layer.
    pub layer: String,
    /// The type.
    pub element: String,
    /// How many tensors.
    pub tensors: usize,
    /// Their numbers.
    pub numbers: u64,
}

/// Looks through a checkpoint; no weight is read.
///
/// # Errors
/// Tensors that the graph needs are missing or have other shapes than config.json says.
pub fn inspect_checkpoint(checkpoint: &Checkpoint, options: &InspectOptions) -> Result<CheckpointInspection, Error> {
    let (config, weights) = (checkpoint.config(), checkpoint.weights());
    let pooling = checkpoint.pooling(None).ok();
    let normalize = checkpoint.normalize(None);
    let ending = Ending { pooling: pooling.unwrap_or(Pooling::Mean), normalize };
    let graph = encoder::build(config, weights, ending)?;
    Ok(CheckpointInspection {
        architecture: config.architecture.name.to_owned(),
        hidden_size: config.hidden_size,
        layers: config.layers,
        heads: config.heads,
        intermediate_size: config.intermediate_size,
        vocab_size: config.vocab_size,
        max_length: checkpoint.max_length(None)?,
        pooling,
        normalize,
        classification: config.classification.clone(),
        masked_lm: masked_lm::has_head(config, weights),
        tensors: tensors(checkpoint),
        graph: inspect_model(&without_weights(&graph), options),
    })
}

fn tensors(checkpoint: &Checkpoint) -> Vec<TensorGroup> {
    let weights = checkpoint.weights();
    let mut groups: Vec<TensorGroup> = Vec::new();
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    for tensor in weights.names().filter_map(|name| weights.get(name)) {
        let key = (layers::scope(tensor.name()).unwrap_or_else(|| layers::ELSEWHERE.to_owned()), tensor.type_name());
        let place = *places.entry(key.clone()).or_insert_with(|| {
            let (layer, element) = key;
            groups.push(TensorGroup { layer, element, tensors: 0, numbers: 0 });
            groups.len() - 1
        });
        groups[place].tensors += 1;
        groups[place].numbers += tensor.count() as u64;
    }
    // `layer.10` behind `layer.9`.
    let number = |layer: &str| layer.strip_prefix("layer.").and_then(|number| number.parse::<u32>().ok());
    groups.sort_by_key(|group| (number(&group.layer).is_some(), number(&group.layer)));
    groups
}

/// The graph as a message, its weights as shapes alone.
fn without_weights(graph: &builder::Graph<'_>) -> ModelProto {
    let constant = |constant: &Constant<'_>| TensorProto {
        raw_data: match &constant.values {
            Values::Bytes(bytes) => Some(Bytes::from(bytes.clone())),
            _ => None,
        },
        dims: constant.shape.iter().map(|size| *size as i64).collect(),
        data_type: Some(constant.element as i32),
        name: Some(constant.name.clone()),
        ..TensorProto::default()
    };
    let graph = GraphProto {
        node: graph.nodes.clone(),
        name: Some(graph.name.clone()),
        initializer: graph.constants.iter().map(constant).collect(),
        input: graph.inputs.clone(),
        output: graph.outputs.clone(),
        ..GraphProto::default()
    };
    ModelProto { graph: Some(graph), ..ModelProto::default() }
}
