//! Multi-head self-attention (Vaswani et al. 2017) in plain operators, without shape arithmetic.
//! The scale 1/√head is multiplied into the query weights at export. Padding is kept out by an additive mask that is
//! made once for all layers: its −10⁹ makes a weight of exactly 0, so padding columns don't change a bit. Heads of up to
//! 128 numbers keep their bits in any batch; ONNX Runtime sums wider ones in an order that depends on the padding.

use crate::model::{ATTENTION_MASK, EncoderConfig};

use super::builder::{GraphBuilder, Linear, Value};
use super::onnx::{AttributeProto, ElementType};
use super::rotary::Angles;

/// Far below every score, and small enough that no sum overflows.
pub(super) const MASKED: f32 = 1e9;

/// The mask in the forms that layers and pooling use.
#[derive(Debug)]
pub(super) struct AttentionMask {
    /// 1 for tokens, 0 for padding: f32 [batch, sequence].
    pub float: Value,
    /// 0 for tokens, −10⁹ for padding: f32 [batch, 1, 1, sequence].
    pub additive: Value,
}

impl AttentionMask {
    pub(super) fn new(graph: &mut GraphBuilder<'_>) -> Self {
        let to_float = vec![AttributeProto::int("to", ElementType::Float as i64)];
        let float = graph.node_with("Cast", &[ATTENTION_MASK], to_float);
        let one = graph.float(1.0);
        let minus = graph.node("Sub", &[&float, &one]);
        let large = graph.float(MASKED);
        let scaled = graph.node("Mul", &[&minus, &large]);
        let axes = graph.ints(&[1, 2]);
        Self { additive: graph.node("Unsqueeze", &[&scaled, &axes]), float }
    }
}

/// What attention reads.
#[derive(Debug)]
pub(super) struct Inputs<'v> {
    /// Rows that ask: [batch, rows, hidden].
    pub queries: &'v str,
    /// Rows that are asked: [batch, sequence, hidden].
    pub states: &'v str,
    /// Added to the scores of every head: [batch, 1, rows or 1, sequence].
    pub mask: &'v str,
    /// Added to every text's scores, where there is such a thing: [heads, rows, sequence].
    pub bias: Option<&'v str>,
    /// By what the queries and the keys are turned, where they are.
    pub angles: Option<&'v [Angles; 2]>,
}

/// The context of each query, heads side by side: [batch, rows, hidden]. `layer` is the layer's name.
pub(super) fn attend(graph: &mut GraphBuilder<'_>, config: &EncoderConfig, layer: &str, inputs: &Inputs<'_>) -> Value {
    let names = &config.architecture.layers;
    let hidden = config.hidden_size;
    let linear = Linear { bias: config.biases.attention, ..Linear::new(hidden, hidden) };
    let [query, key, value] = names.attention().map(|name| linear.named(layer, name));
    let scale = (1.0 / (config.head_size() as f64).sqrt()) as f32;
    let query = graph.linear(inputs.queries, &query.0, Linear { scale, ..query.1 });
    let key = graph.linear(inputs.states, &key.0, key.1);
    let value = graph.linear(inputs.states, &value.0, value.1);

    let [asking, asked] = inputs.angles.map_or([None, None], |angles| angles.each_ref().map(Some));
    let query = split_heads(graph, config, (&query, asking), [0, 2, 1, 3]);
    let key = split_heads(graph, config, (&key, asked), [0, 2, 3, 1]);
    let few = inputs.queries != inputs.states;
    let value = split_heads(graph, config, (&value, None), if few { [0, 2, 3, 1] } else { [0, 2, 1, 3] });
    let scores = graph.node("MatMul", &[&query, &key]);
    let scores = match inputs.bias {
        Some(bias) => graph.node("Add", &[&scores, bias]),
        None => scores,
    };
    let masked = graph.node("Add", &[&scores, inputs.mask]);
    let weights = graph.node_with("Softmax", &[&masked], vec![AttributeProto::int("axis", -1)]);
    let together = if few {
        // Where rows are few, threads would share out the columns of the values and with them split the sums over the
        // tokens: the values stand on the left instead, as the states do in pooling.
        let standing = transpose(graph, &weights, [0, 1, 3, 2]);
        let context = graph.node("MatMul", &[&value, &standing]);
        transpose(graph, &context, [0, 3, 1, 2])
    } else {
        let context = graph.node("MatMul", &[&weights, &value]);
        transpose(graph, &context, [0, 2, 1, 3])
    };
    let shape = graph.ints(&[0, 0, hidden as i64]);
    graph.node("Reshape", &[&together, &shape])
}

/// [batch, rows, hidden] as [batch, rows, heads, head size] (0 keeps a size), turned, then in the order `perm`.
fn split_heads(
    graph: &mut GraphBuilder<'_>,
    config: &EncoderConfig,
    (input, angles): (&str, Option<&Angles>),
    perm: [i64; 4],
) -> Value {
    let shape = graph.ints(&[0, 0, config.heads as i64, config.head_size() as i64]);
    let split = graph.node("Reshape", &[input, &shape]);
    let split = angles.map_or(split.clone(), |angles| angles.turn(graph, config, &split));
    transpose(graph, &split, perm)
}

fn transpose(graph: &mut GraphBuilder<'_>, input: &str, perm: [i64; 4]) -> Value {
    graph.node_with("Transpose", &[input], vec![AttributeProto::ints("perm", &perm)])
}
