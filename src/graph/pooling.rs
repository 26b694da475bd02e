//! From token states to one row per text, named `sentence_embedding`.
//! Every sum is a matrix product whose bits depend on the text alone. A `ReduceSum` splits its sum by batch and memory
//! alignment; a product with the states on its right splits it by the columns that each thread gets, hence by threads
//! and batch. With the states on the left and two columns on the right, the tokens are added in one fixed order.

use crate::model::{Pooling, SENTENCE_EMBEDDING};

use super::attention::AttentionMask;
use super::builder::{GraphBuilder, Value};
use super::encoder::{Ending, first_token};
use super::onnx::AttributeProto;

/// Keeps the division by a text's length defined for a row of padding alone.
const LEAST_COUNT: f32 = 1e-9;
/// Keeps the division by a vector's length defined: a zero vector stays zero.
const LEAST_NORM: f32 = 1e-12;

/// Pools `states`, [batch, rows, hidden] (for CLS the first row is enough), into the graph's output.
pub(super) fn pool(graph: &mut GraphBuilder<'_>, states: &str, mask: &AttentionMask, ending: Ending) {
    let pooled = match ending.pooling {
        Pooling::Cls => first_token(graph, states),
        Pooling::Mean => mean(graph, states, mask),
    };
    if ending.normalize {
        normalize(graph, &pooled);
    }
    graph.rename_last_output(SENTENCE_EMBEDDING);
}

/// The first token's state and the mean of the states, each [batch, hidden].
pub(super) fn either(graph: &mut GraphBuilder<'_>, states: &str, mask: &AttentionMask) -> [Value; 2] {
    [first_token(graph, states), mean(graph, states, mask)]
}

/// The mean of each text's token states, as it is pooled, `rows` times: [batch, rows, hidden].
pub(super) fn mean_rows(graph: &mut GraphBuilder<'_>, states: &str, mask: &AttentionMask, rows: i64) -> Value {
    let mean = mean(graph, states, mask);
    let axis = graph.ints(&[1]);
    let row = graph.node("Unsqueeze", &[&mean, &axis]);
    let times = graph.ints(&[1, rows, 1]);
    graph.node("Tile", &[&row, &times])
}

/// Mean over the tokens that are no padding, [batch, hidden]. The count is a sum of ones, exact in any order.
fn mean(graph: &mut GraphBuilder<'_>, states: &str, mask: &AttentionMask) -> Value {
    let last = graph.ints(&[2]);
    let column = graph.node("Unsqueeze", &[&mask.float, &last]);
    // One column would go to another kernel, which adds in an order of its own.
    let columns = graph.node_with("Concat", &[&column, &column], vec![AttributeProto::int("axis", 2)]);
    let across = graph.node_with("Transpose", &[states], vec![AttributeProto::ints("perm", &[0, 2, 1])]);
    let sums = graph.node("MatMul", &[&across, &columns]);
    let first = graph.int(0);
    let sum = graph.node_with("Gather", &[&sums, &first], vec![AttributeProto::int("axis", 2)]);
    let tokens = graph.ints(&[1]);
    let count = graph.node_with("ReduceSum", &[&mask.float, &tokens], vec![AttributeProto::int("keepdims", 1)]);
    let least = graph.float(LEAST_COUNT);
    let count = graph.node("Max", &[&count, &least]);
    graph.node("Div", &[&sum, &count])
}

/// `rows` [batch, hidden], each divided by its length: the root of its product with itself.
pub(super) fn normalize(graph: &mut GraphBuilder<'_>, rows: &str) -> Value {
    let [before, behind] = [1, 2].map(|axis| graph.ints(&[axis]));
    let lying = graph.node("Unsqueeze", &[rows, &before]);
    let standing = graph.node("Unsqueeze", &[rows, &behind]);
    let square = graph.node("MatMul", &[&lying, &standing]);
    let square = graph.node("Squeeze", &[&square, &behind]);
    let norm = graph.node("Sqrt", &[&square]);
    let least = graph.float(LEAST_NORM);
    let norm = graph.node("Max", &[&norm, &least]);
    graph.node("Div", &[rows, &norm])
}
