//! From token states to one row per text, named `sentence_embedding`.
//! Sums run in f64: an f32 sum over tokens depends on how the kernel splits it, hence on batch and padding, an f64 sum
//! of f32 values rounds to the same f32 however it is split. That keeps an embedding a function of its text alone.

use crate::model::{Pooling, SENTENCE_EMBEDDING};

use super::attention::AttentionMask;
use super::builder::{GraphBuilder, Value};
use super::encoder::{Ending, first_token};
use super::onnx::{AttributeProto, ElementType};

/// Keeps the division by a text's length defined for a row of padding alone.
const LEAST_COUNT: f64 = 1e-9;
/// Keeps the division by a vector's length defined: a zero vector stays zero.
const LEAST_NORM: f64 = 1e-12;

/// Pools `states`, [batch, rows, hidden] (for CLS the first row is enough), into the graph's output.
pub(super) fn pool(graph: &mut GraphBuilder<'_>, states: &str, mask: &AttentionMask, ending: Ending) {
    let pooled = match ending.pooling {
        Pooling::Cls => first_token(graph, states),
        Pooling::Mean => mean(graph, states, mask),
    };
    match (ending.pooling, ending.normalize) {
        (Pooling::Cls, false) => {}
        (Pooling::Mean, false) => {
            cast(graph, &pooled, ElementType::Float);
        }
        (pooling, true) => {
            let wide = if pooling == Pooling::Cls { cast(graph, &pooled, ElementType::Double) } else { pooled };
            let normalized = normalize(graph, &wide);
            cast(graph, &normalized, ElementType::Float);
        }
    }
    graph.rename_last_output(SENTENCE_EMBEDDING);
}

/// The mean of each text's token states, as it is pooled, `rows` times: f32 [batch, rows, hidden].
pub(super) fn mean_rows(graph: &mut GraphBuilder<'_>, states: &str, mask: &AttentionMask, rows: i64) -> Value {
    let wide = mean(graph, states, mask);
    let mean = cast(graph, &wide, ElementType::Float);
    let axis = graph.ints(&[1]);
    let row = graph.node("Unsqueeze", &[&mean, &axis]);
    let times = graph.ints(&[1, rows, 1]);
    graph.node("Tile", &[&row, &times])
}

/// Mean over the tokens that are no padding, f64 [batch, hidden].
fn mean(graph: &mut GraphBuilder<'_>, states: &str, mask: &AttentionMask) -> Value {
    let last = graph.ints(&[2]);
    let column = graph.node("Unsqueeze", &[&mask.float, &last]);
    let kept = graph.node("Mul", &[states, &column]);
    let wide = cast(graph, &kept, ElementType::Double);
    let sum = sum_axis_1(graph, &wide, false);
    let wide_mask = cast(graph, &mask.float, ElementType::Double);
    let count = sum_axis_1(graph, &wide_mask, true);
    let least = graph.double(LEAST_COUNT);
    let count = graph.node("Max", &[&count, &least]);
    graph.node("Div", &[&sum, &count])
}

/// Rows of f64 divided by their length.
fn normalize(graph: &mut GraphBuilder<'_>, rows: &str) -> Value {
    let squares = graph.node("Mul", &[rows, rows]);
    let sum = sum_axis_1(graph, &squares, true);
    let norm = graph.node("Sqrt", &[&sum]);
    let least = graph.double(LEAST_NORM);
    let norm = graph.node("Max", &[&norm, &least]);
    graph.node("Div", &[rows, &norm])
}

fn sum_axis_1(graph: &mut GraphBuilder<'_>, input: &str, keep: bool) -> Value {
    let axis = graph.ints(&[1]);
    graph.node_with("ReduceSum", &[input, &axis], vec![AttributeProto::int("keepdims", i64::from(keep))])
}

fn cast(graph: &mut GraphBuilder<'_>, input: &str, to: ElementType) -> Value {
    graph.node_with("Cast", &[input], vec![AttributeProto::int("to", to as i64)])
}
