//! A BERT encoder, from `input_ids` and `attention_mask` [batch, sequence] to token states [batch, sequence, hidden].
//! Owns the names of a checkpoint's tensors and the order of the layers (Devlin et al. 2018, post-norm). Token type is
//! always 0 and lives in the position table. Inputs are padded on the right: positions are counted along the mask.

use crate::model::{self, Activation, BertConfig, Pooling, SENTENCE_EMBEDDING, WeightsFile};

use super::attention::{self, AttentionMask};
use super::builder::{Graph, GraphBuilder, Linear, Value};
use super::constants::Values;
use super::onnx::{AttributeProto, Dimension, ElementType, ValueInfoProto};
use super::pooling;

pub(super) const INPUT_IDS: &str = "input_ids";
pub(super) const ATTENTION_MASK: &str = "attention_mask";

const LAYER: &str = "encoder.layer.";
/// What a checkpoint saved with a task head puts before every name.
const TASK_PREFIX: &str = "bert.";

/// Rows of a last layer of which only the first is wanted. One would do, but ONNX Runtime multiplies a single row by
/// another kernel, whose sums over the tokens change with the padding; every text has two tokens.
const CUT_ROWS: i64 = 2;

/// The names of layer normalization weights: today's, and those of checkpoints converted from TensorFlow.
const NORM_NAMES: [[&str; 2]; 2] = [["weight", "bias"], ["gamma", "beta"]];

/// What an encoder's graph is to end in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub pooling: Pooling,
    pub normalize: bool,
}

/// Builds the graph. Every tensor that it needs is looked up and its shape checked; no weight is read.
pub(super) fn build<'a>(
    config: &BertConfig,
    weights: &'a WeightsFile,
    ending: Ending,
) -> Result<Graph<'a>, model::Error> {
    let prefix = if weights.get("bert.embeddings.word_embeddings.weight").is_some() { TASK_PREFIX } else { "" };
    check_layer_count(config, weights, prefix)?;
    let mut encoder = Encoder { graph: GraphBuilder::new(weights), weights, config, prefix };
    let mut states = encoder.embeddings()?;
    encoder.graph.enter("mask");
    let mask = AttentionMask::new(&mut encoder.graph);
    for layer in 0..config.layers {
        let cut = ending.pooling == Pooling::Cls && layer + 1 == config.layers;
        states = encoder.layer(layer, &states, &mask, cut)?;
    }
    encoder.graph.enter("pooling");
    pooling::pool(&mut encoder.graph, &states, &mask, ending);
    let tokens = || vec![Dimension::Named("batch".to_owned()), Dimension::Named("sequence".to_owned())];
    let inputs = [INPUT_IDS, ATTENTION_MASK].map(|name| ValueInfoProto::tensor(name, ElementType::Int64, tokens()));
    let row = vec![Dimension::Named("batch".to_owned()), Dimension::Fixed(config.hidden_size as i64)];
    let output = ValueInfoProto::tensor(SENTENCE_EMBEDDING, ElementType::Float, row);
    Ok(encoder.graph.finish("bert", inputs.to_vec(), vec![output]))
}

struct Encoder<'a, 'c> {
    graph: GraphBuilder<'a>,
    weights: &'a WeightsFile,
    config: &'c BertConfig,
    prefix: &'static str,
}

impl Encoder<'_, '_> {
    /// Word + position (+ token type 0), normalized.
    fn embeddings(&mut self) -> Result<Value, model::Error> {
        let (hidden, prefix) = (self.config.hidden_size, self.prefix);
        let graph = &mut self.graph;
        graph.enter("embeddings");
        let words = graph.weight(
            &format!("{prefix}embeddings.word_embeddings.weight"),
            &[self.config.vocab_size, hidden],
            1.0,
        )?;
        let position_name = format!("{prefix}embeddings.position_embeddings.weight");
        let type_name = format!("{prefix}embeddings.token_type_embeddings.weight");
        let table = graph.tensor(&position_name, &[self.config.positions, hidden])?;
        let other = graph.tensor(&type_name, &[self.config.token_types, hidden])?;
        let shape = vec![self.config.positions, hidden];
        let positions = graph.weights_constant(&position_name, shape, Values::PlusFirstRow { table, other });
        let word = graph.node("Gather", &[&words, INPUT_IDS]);
        let index = position_ids(graph);
        let position = graph.node("Gather", &[&positions, &index]);
        let sum = add_rows(graph, &word, &position);
        self.layer_norm(&sum, &format!("{prefix}embeddings.LayerNorm"))
    }

    /// Self-attention and feed-forward block. With `cut`, only the first tokens' states come out.
    fn layer(&mut self, index: usize, states: &str, mask: &AttentionMask, cut: bool) -> Result<Value, model::Error> {
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let name = format!("{}{LAYER}{index}", self.prefix);
        self.graph.enter(format!("layer.{index}/attention"));
        let queries = if cut { first_rows(&mut self.graph, states) } else { states.to_owned() };
        let inputs = attention::Inputs { queries: &queries, states, mask };
        let context = attention::attend(&mut self.graph, self.config, &format!("{name}.attention.self"), &inputs)?;
        let output = format!("{name}.attention.output.dense");
        let attended = self.graph.linear(&context, &output, Linear::new(hidden, hidden))?;
        let sum = add_rows(&mut self.graph, &attended, &queries);
        let states = self.layer_norm(&sum, &format!("{name}.attention.output.LayerNorm"))?;

        self.graph.enter(format!("layer.{index}/feed_forward"));
        let wide = self.graph.linear(&states, &format!("{name}.intermediate.dense"), Linear::new(hidden, inner))?;
        let active = self.activation(&wide);
        let narrow = self.graph.linear(&active, &format!("{name}.output.dense"), Linear::new(inner, hidden))?;
        let sum = add_rows(&mut self.graph, &narrow, &states);
        self.layer_norm(&sum, &format!("{name}.output.LayerNorm"))
    }

    fn activation(&mut self, input: &str) -> Value {
        match self.config.activation {
            Activation::Gelu => self.graph.node("Gelu", &[input]),
            Activation::GeluTanh => {
                self.graph.node_with("Gelu", &[input], vec![AttributeProto::text("approximate", "tanh")])
            }
            Activation::Relu => self.graph.node("Relu", &[input]),
        }
    }

    fn layer_norm(&mut self, input: &str, name: &str) -> Result<Value, model::Error> {
        let old = self.weights.get(&format!("{name}.gamma")).is_some();
        let [scale, bias] = NORM_NAMES[usize::from(old)];
        let shape = [self.config.hidden_size];
        let scale = self.graph.weight(&format!("{name}.{scale}"), &shape, 1.0)?;
        let bias = self.graph.weight(&format!("{name}.{bias}"), &shape, 1.0)?;
        let epsilon = self.config.layer_norm_epsilon;
        let attributes = vec![AttributeProto::int("axis", -1), AttributeProto::float("epsilon", epsilon)];
        Ok(self.graph.node_with("LayerNormalization", &[input, &scale, &bias], attributes))
    }
}

/// 0, 1, 2, .. along the tokens, 0 at padding: (running count of the mask − 1) × mask.
fn position_ids(graph: &mut GraphBuilder<'_>) -> Value {
    let axis = graph.int(1);
    let count = graph.node("CumSum", &[ATTENTION_MASK, &axis]);
    let one = graph.int(1);
    let index = graph.node("Sub", &[&count, &one]);
    graph.node("Mul", &[&index, ATTENTION_MASK])
}

/// The sum of two tensors before a layer normalization. `Sum`, not `Add`: on CPU, ONNX Runtime fuses `Add` and
/// `LayerNormalization` into a kernel that takes five times as long as the two apart (6 to 8 % of a MiniLM pass).
fn add_rows(graph: &mut GraphBuilder<'_>, left: &str, right: &str) -> Value {
    graph.node("Sum", &[left, right])
}

/// The states of each text's first [`CUT_ROWS`] tokens.
fn first_rows(graph: &mut GraphBuilder<'_>, states: &str) -> Value {
    let [start, end, axis] = [0, CUT_ROWS, 1].map(|value| graph.ints(&[value]));
    graph.node("Slice", &[states, &start, &end, &axis])
}

/// A config with fewer layers than the weights would silently be another encoder.
fn check_layer_count(config: &BertConfig, weights: &WeightsFile, prefix: &str) -> Result<(), model::Error> {
    let start = format!("{prefix}{LAYER}");
    let index = |name: &str| name.strip_prefix(&start)?.split('.').next()?.parse::<usize>().ok();
    let got = weights.names().filter_map(index).max().map_or(0, |last| last.saturating_add(1));
    if got == config.layers {
        return Ok(());
    }
    Err(model::Error::LayerCount { path: weights.path().to_owned(), got, expected: config.layers })
}
