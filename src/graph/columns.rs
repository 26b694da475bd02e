//! The columns of a batch, numbered by the longest text's running count, so that no operator asks for a shape. Columns
//! behind it are padding in every text and share its number.

use crate::model::ATTENTION_MASK;

use super::builder::{GraphBuilder, Value};
use super::onnx::AttributeProto;

/// 1, 2, 3, ..: int64 [sequence].
pub(super) fn counts(graph: &mut GraphBuilder<'_>) -> Value {
    let axis = graph.int(1);
    let count = graph.node("CumSum", &[ATTENTION_MASK, &axis]);
    let texts = graph.ints(&[0]);
    graph.node_with("ReduceMax", &[&count, &texts], vec![AttributeProto::int("keepdims", 0)])
}

/// How far the asked column is behind the asking one, as a place in a table of the distances from 1 − `longest` to
/// `longest` − 1: int64 [sequence, sequence], one row for each that asks.
pub(super) fn distances(graph: &mut GraphBuilder<'_>, counts: &str, longest: usize) -> Value {
    let [above, below] = [0, 1].map(|axis| graph.ints(&[axis]));
    let middle = graph.int(longest as i64 - 1);
    let place = graph.node("Add", &[counts, &middle]);
    let asked = graph.node("Unsqueeze", &[&place, &above]);
    let asking = graph.node("Unsqueeze", &[counts, &below]);
    graph.node("Sub", &[&asked, &asking])
}
