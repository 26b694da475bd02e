//! The token states behind an embedding that a foreign graph pools by itself: among its outputs, or back from the
//! embedding to the first value that has their shape. A wrong find does no harm: the embedding is then seen to be made
//! of something else.

use std::collections::{HashMap, HashSet, VecDeque};

use super::layout::{self, Row};
use crate::graph::inspect::shapes_of;
use crate::graph::onnx::{GraphProto, NodeProto};

/// No pooling has more values behind it.
const MOST_STEPS: usize = 64;
/// Tokens of the text whose shapes are followed: a number that no model has as a size.
const TOKENS: u64 = 11;

/// The states that `embedding`, of `dim` numbers, seems to be made of.
pub(super) fn states(graph: &GraphProto, embedding: &str, dim: usize) -> Option<Row> {
    if let Some(output) = layout::states_among_outputs(graph).filter(|row| row.size == Some(dim)) {
        return Some(output);
    }
    let wanted = [1, TOKENS as i64, i64::try_from(dim).ok()?];
    let shapes = shapes_of(graph, TOKENS);
    let makers: HashMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node))).collect();
    let mut open = VecDeque::from([embedding]);
    let mut seen = HashSet::from([embedding]);
    for _ in 0..MOST_STEPS {
        let name = open.pop_front()?;
        if shapes(name).is_some_and(|shape| shape == wanted) {
            return Some(Row { name: name.to_owned(), element: None, size: Some(dim) });
        }
        let inputs = makers.get(name).into_iter().flat_map(|node| &node.input).map(String::as_str);
        open.extend(inputs.filter(|input| !input.is_empty() && seen.insert(input)));
    }
    None
}
