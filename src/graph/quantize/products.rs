//! The products of a graph that can be done in int8: a layer's rows times a matrix of constants, with the bias behind it.
//! Heads, pooling and what attention multiplies are none of them.

use std::collections::HashMap;

use super::super::builder::Graph;
use super::super::constants::Constant;
use super::super::onnx::{ElementType, NodeProto};

/// What names of nodes inside of layers begin with.
const LAYERS: &str = "layer.";

/// A product, by the places of its nodes in the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Product {
    /// The `MatMul`.
    pub node: usize,
    /// The `Add` behind it, and which of its inputs the bias is.
    pub bias: Option<(usize, usize)>,
}

/// All of them, in their order.
pub(super) fn products(graph: &Graph<'_>) -> Vec<Product> {
    let floats = graph.constants.iter().filter(|constant| constant.element == ElementType::Float);
    let constants: HashMap<&str, &Constant<'_>> = floats.map(|constant| (constant.name.as_str(), constant)).collect();
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, node) in graph.nodes.iter().enumerate() {
        for input in &node.input {
            readers.entry(input).or_default().push(place);
        }
    }
    let outputs: Vec<&str> = graph.outputs.iter().filter_map(|output| output.name.as_deref()).collect();
    let product = |(place, node): (usize, &NodeProto)| {
        let layer = node.name.as_deref().is_some_and(|name| name.starts_with(LAYERS));
        let matrix = node.input.get(1).and_then(|name| constants.get(name.as_str()));
        if !layer || !is(node, "MatMul") || matrix.is_none_or(|matrix| matrix.shape.len() != 2) {
            return None;
        }
        let columns = matrix.map(|matrix| matrix.shape[1..].to_vec());
        let behind = readers.get(node.output[0].as_str()).map_or(&[][..], Vec::as_slice);
        let alone = behind.len() == 1 && !outputs.contains(&node.output[0].as_str());
        let bias = behind.first().filter(|_| alone).filter(|&&place| is(&graph.nodes[place], "Add"));
        let bias = bias.and_then(|&place| {
            let is_bias = |name: &String| constants.get(name.as_str()).map(|bias| bias.shape.clone()) == columns;
            graph.nodes[place].input.iter().position(is_bias).map(|input| (place, input))
        });
        Some(Product { node: place, bias })
    };
    graph.nodes.iter().enumerate().filter_map(product).collect()
}

pub(super) fn is(node: &NodeProto, op_type: &str) -> bool {
    node.is_standard() && node.op_type.as_deref() == Some(op_type)
}

/// Which node gives each value.
pub(super) fn producers(nodes: &[NodeProto]) -> HashMap<&str, &NodeProto> {
    nodes.iter().flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node))).collect()
}
