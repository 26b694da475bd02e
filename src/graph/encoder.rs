//! An encoder, from `input_ids` and `attention_mask` [batch, sequence] to one row per text. Owns the order of the parts
//! and of the layers (Vaswani et al. 2017); what families differ in stands in `model::Architecture`.

use std::collections::BTreeSet;

use crate::model::{self, ATTENTION_MASK, EncoderConfig, INPUT_IDS, Norms, Pooling, SENTENCE_EMBEDDING, Site, Weights};

use super::adapter::{self, Adaptation, UNADAPTED};
use super::attention::AttentionMask;
use super::builder::{Graph, GraphBuilder, Norm, Value};
use super::onnx::{AttributeProto, Dimension, ElementType, ValueInfoProto};
use super::{embeddings, feed_forward, head, kinds, pooling, relative};

/// What may stand before the names of a checkpoint that was saved from inside another module.
const WRAPPERS: [&str; 3] = ["", "model.", "module."];

/// Rows that stand for the first token where only its state is wanted. One would do, but ONNX Runtime multiplies a
/// single row by another kernel, whose sums over the tokens change with the padding; every text has two tokens.
const FIRST_ROWS: i64 = 2;

/// What an encoder's graph is to end in, beside the head of a classifier.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub pooling: Pooling,
    pub normalize: bool,
}

/// Builds the graph. Every tensor that it needs is looked up and its shape checked; no weight is read.
pub(super) fn build<'a>(
    config: &EncoderConfig,
    weights: &'a Weights,
    ending: Ending,
) -> Result<Graph<'a>, model::Error> {
    build_adapted(config, (weights, &UNADAPTED), ending)
}

/// Builds the graph of a checkpoint with adapters that were opened for it.
pub(super) fn build_adapted<'a>(
    config: &EncoderConfig,
    (weights, adaptation): (&'a Weights, &'a Adaptation),
    ending: Ending,
) -> Result<Graph<'a>, model::Error> {
    let (mut encoder, states) = Encoder::embedded(config, (weights, adaptation))?;
    let states = encoder.layers(states, ending.pooling);
    encoder.graph.enter("pooling");
    pooling::pool(&mut encoder.graph, &states, &encoder.mask, ending);
    let outputs = encoder.outputs(&states, ending.pooling);
    let inputs = token_inputs().into_iter().chain(adaptation.input()).collect();
    encoder.graph.finish(config.architecture.name, inputs, outputs)
}

/// The states of all tokens behind the last layer, [batch, sequence, hidden], in a graph that can be built on.
pub(super) fn token_states<'a>(
    config: &EncoderConfig,
    weights: &'a Weights,
) -> Result<(GraphBuilder<'a>, Value), model::Error> {
    let (mut encoder, states) = Encoder::embedded(config, (weights, &UNADAPTED))?;
    // Mean pooling reads every row of the last layer.
    let states = encoder.layers(states, Pooling::Mean);
    Ok((encoder.graph, states))
}

/// What stands before the encoder's tensors, and before those beside it.
pub(super) fn prefixes(config: &EncoderConfig, weights: &Weights) -> (String, String) {
    let encoder = encoder_prefix(config, weights);
    let beside = encoder.strip_suffix(config.architecture.prefix).unwrap_or_default().to_owned();
    (encoder, beside)
}

/// The inputs that every encoder has.
pub(super) fn token_inputs() -> Vec<ValueInfoProto> {
    let tokens = || vec![Dimension::Named("batch".to_owned()), Dimension::Named("sequence".to_owned())];
    [INPUT_IDS, ATTENTION_MASK].map(|name| ValueInfoProto::tensor(name, ElementType::Int64, tokens())).to_vec()
}

struct Encoder<'a, 'c> {
    graph: GraphBuilder<'a>,
    config: &'c EncoderConfig,
    adaptation: &'a Adaptation,
    prefix: String,
    mask: AttentionMask,
    /// What layers read that see the whole text, and what local ones do.
    kinds: [kinds::Kind; 2],
}

impl<'a, 'c> Encoder<'a, 'c> {
    /// The parts before the first layer, and what they give: states [batch, sequence, hidden].
    fn embedded(
        config: &'c EncoderConfig,
        (weights, adaptation): (&'a Weights, &'a Adaptation),
    ) -> Result<(Self, Value), model::Error> {
        let prefix = encoder_prefix(config, weights);
        check_layer_count(config, weights, &prefix)?;
        let mut graph = GraphBuilder::new(weights);
        let (inside, beside) = prefixes(config, weights);
        graph.change(adaptation.merges(config, weights, (&inside, &beside))?);
        graph.enter("embeddings");
        let states = embeddings::embed(&mut graph, config, &prefix);
        graph.enter("mask");
        let mask = AttentionMask::new(&mut graph);
        let bias = config.architecture.embeddings.relative.map(|name| {
            graph.enter("relative");
            relative::bias(&mut graph, config, &format!("{prefix}{name}"))
        });
        let kinds = kinds::kinds(&mut graph, config, &mask, bias);
        Ok((Self { graph, config, adaptation, prefix, mask, kinds }, states))
    }

    /// All layers; where nothing but the first tokens' states is read of them, only those come out of the last.
    fn layers(&mut self, mut states: Value, pooling: Pooling) -> Value {
        let head = self.config.classification.as_ref().map(|_| self.config.head_pooling);
        let first_alone = pooling == Pooling::Cls && head.is_none_or(|head| head == Pooling::Cls);
        for layer in 0..self.config.layers {
            let cut = first_alone && layer + 1 == self.config.layers;
            states = self.layer(layer, &states, cut);
        }
        match self.config.architecture.layers.norms {
            Norms::Behind => states,
            Norms::Before(last) => {
                self.graph.enter("norm");
                let norm = Norm::of(self.config, self.config.hidden_size);
                self.graph.layer_norm(&states, &format!("{}{last}", self.prefix), norm)
            }
        }
    }

    /// Self-attention and feed-forward block, each added to what it read.
    fn layer(&mut self, index: usize, states: &str, cut: bool) -> Value {
        let (config, names) = (self.config, &self.config.architecture.layers);
        let name = format!("{}{}", self.prefix, config.layer_name(index));
        let norm = |graph: &mut GraphBuilder<'_>, rows: &str, kind: &str| {
            graph.layer_norm(rows, &format!("{name}.{kind}"), Norm::of(config, config.hidden_size))
        };
        let adaptation = self.adaptation;
        let adapted = |graph: &mut GraphBuilder<'a>, (site, kind): (Site, &str), [dense, states, sum]: [&str; 3]| {
            let norm = (&*format!("{name}.{kind}"), Norm::of(config, config.hidden_size));
            adapter::behind(graph, adaptation, &adapter::Place { layer: index, site, dense, states, sum, norm })
        };
        let before = names.norms != Norms::Behind;
        let graph = &mut self.graph;
        graph.enter(format!("layer.{index}/attention"));
        let rows = if cut { first_rows(graph, states, 1) } else { states.to_owned() };
        let (read, queries) = if before && index > 0 {
            let read = norm(graph, states, names.attention_norm);
            let queries = if cut { first_rows(graph, &read, 1) } else { read.clone() };
            (read, queries)
        } else {
            (states.to_owned(), rows.clone())
        };
        let kind = &self.kinds[usize::from(config.rotary.as_ref().is_some_and(|rotary| rotary.local[index]))];
        let attended = kind.attend(graph, config, &name, (&queries, &read));
        let sum = add_rows(graph, &attended, &rows);
        let states = if before {
            sum
        } else {
            adapted(graph, (Site::Attention, names.attention_norm), [&attended, &rows, &sum])
        };

        graph.enter(format!("layer.{index}/feed_forward"));
        let read = if before { norm(graph, &states, names.output_norm) } else { states.clone() };
        let narrow = feed_forward::block(graph, config, &name, &read);
        let sum = add_rows(graph, &narrow, &states);
        if before { sum } else { adapted(graph, (Site::Output, names.output_norm), [&narrow, &states, &sum]) }
    }

    /// The graph's outputs, after adding the head of a classifier where there is one.
    fn outputs(&mut self, states: &str, pooling: Pooling) -> Vec<ValueInfoProto> {
        let row = vec![Dimension::Named("batch".to_owned()), Dimension::Fixed(self.config.hidden_size as i64)];
        let mut outputs = vec![ValueInfoProto::tensor(SENTENCE_EMBEDDING, ElementType::Float, row)];
        if let Some(classification) = &self.config.classification {
            self.graph.enter("head");
            let rows = match (self.config.head_pooling, pooling) {
                (Pooling::Cls, Pooling::Cls) => states.to_owned(),
                (Pooling::Cls, Pooling::Mean) => first_rows(&mut self.graph, states, 1),
                (Pooling::Mean, _) => pooling::mean_rows(&mut self.graph, states, &self.mask, FIRST_ROWS),
            };
            let beside = self.prefix.strip_suffix(self.config.architecture.prefix).unwrap_or_default();
            let prefixes = head::Prefixes { encoder: &self.prefix, beside };
            outputs.extend(head::classify(&mut self.graph, self.config, (classification, prefixes), &rows));
        }
        outputs
    }
}

/// The sum of two tensors before a layer normalization. `Sum`, not `Add`: on CPU, ONNX Runtime fuses `Add` and
/// `LayerNormalization` into a kernel that takes five times as long as the two apart (6 to 8 % of a MiniLM pass).
pub(super) fn add_rows(graph: &mut GraphBuilder<'_>, left: &str, right: &str) -> Value {
    graph.node("Sum", &[left, right])
}

/// The state of each text's first token, [batch, size], of `rows` [batch, rows, size].
pub(super) fn first_token(graph: &mut GraphBuilder<'_>, rows: &str) -> Value {
    let first = graph.int(0);
    graph.node_with("Gather", &[rows, &first], vec![AttributeProto::int("axis", 1)])
}

/// The first [`FIRST_ROWS`] places of that axis.
pub(super) fn first_rows(graph: &mut GraphBuilder<'_>, values: &str, axis: i64) -> Value {
    let [start, end, axis] = [0, FIRST_ROWS, axis].map(|value| graph.ints(&[value]));
    graph.node("Slice", &[values, &start, &end, &axis])
}

/// What stands before the encoder's tensors: the family's prefix, that of a wrapper, both or nothing.
fn encoder_prefix(config: &EncoderConfig, weights: &Weights) -> String {
    let words = config.architecture.embeddings.words;
    let prefixes = [config.architecture.prefix, ""];
    let both = prefixes.iter().flat_map(|prefix| WRAPPERS.map(|wrapper| format!("{wrapper}{prefix}")));
    let mut found = both.filter(|prefix| weights.get(&format!("{prefix}{words}.weight")).is_some());
    found.next().unwrap_or_default()
}

/// A config with fewer layers than the weights would silently be another encoder.
fn check_layer_count(config: &EncoderConfig, weights: &Weights, prefix: &str) -> Result<(), model::Error> {
    let names = &config.architecture.layers;
    let start = format!("{prefix}{}", names.stem());
    let parts = names.layer.split('.').count() + prefix.matches('.').count();
    let layer = |name: &str| name.split('.').take(parts).collect::<Vec<_>>().join(".");
    let found: BTreeSet<String> = weights.names().filter(|name| name.starts_with(&start)).map(layer).collect();
    let (got, expected) = (found.len(), config.stored_layers());
    if got == expected {
        return Ok(());
    }
    Err(model::Error::LayerCount { path: weights.path().to_owned(), got, expected })
}
