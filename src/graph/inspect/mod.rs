//! What a graph consists of: inputs and outputs, operators, weights by layer, and what a pass costs. Works on any ONNX
//! file, reads no weights and runs nothing. What can't be told from the structure is listed, never guessed.

mod checkpoint;
mod cost;
mod integers;
mod layers;
#[cfg(test)]
mod operator_tests;
mod products;
mod rules;
mod shapes;
mod words;
#[cfg(test)]
mod words_tests;

use std::collections::BTreeMap;

use serde::Serialize;

use super::foreign::OnnxFile;
use super::onnx::{Dimension, FunctionProto, GraphProto, ModelProto, NodeProto, STANDARD, ValueInfoProto, is_standard};

pub use checkpoint::{CheckpointInspection, TensorGroup, inspect_checkpoint};
pub use cost::{Cost, CostAt, CostLaw, Cut, NotCounted};
pub use layers::{Layer, TypeShare};
pub use words::WordTable;

/// What an ONNX graph consists of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The version of the file format.
    pub ir_version: i64,
    /// The program that wrote the file, with its version; empty where it doesn't say.
    pub producer: String,
    /// Versions of the operator sets by domain.
    pub opsets: BTreeMap<String, i64>,
    /// What has to be given.
    pub inputs: Vec<Port>,
    /// What comes out.
    pub outputs: Vec<Port>,
    /// How often each operator occurs, the most frequent first; those inside subgraphs and functions included.
    pub operators: Vec<OperatorCount>,
    /// Nodes, those inside subgraphs and functions included.
    pub nodes: usize,
    /// Numbers in the weights. Integers that address or shape something and constants without dimensions don't count.
    pub parameters: u64,
    /// Bytes of all constants.
    pub weight_bytes: u64,
    /// Constants by the layer that reads them first, and what each layer costs.
    pub layers: Vec<Layer>,
    /// What a pass costs.
    pub cost: Cost,
    /// Files beside this one that hold weights, with the bytes in each.
    pub external: BTreeMap<String, u64>,
    /// The file's metadata.
    pub metadata: BTreeMap<String, String>,
    /// Every node, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub node_list: Vec<NodeLine>,
}

/// An input or output of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The type of its elements; what it is instead where it is no tensor.
    pub element: String,
    /// Its sizes, a name or `?` for one that is only known when the graph runs; `None` where nothing is said.
    pub shape: Option<Vec<String>>,
}

/// How often an operator occurs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorCount {
    /// The operator.
    pub operator: String,
    /// The set it belongs to.
    pub domain: String,
    /// How often.
    pub count: usize,
}

/// A node of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeLine {
    /// Its name; may be empty.
    pub name: String,
    /// The operator, with its domain before it where that isn't the standard one.
    pub operator: String,
    /// What it reads.
    pub inputs: Vec<String>,
    /// What it gives.
    pub outputs: Vec<String>,
}

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectOptions {
    /// Lengths in tokens for which the cost is computed, in ascending order.
    pub lengths: Vec<u64>,
    /// Whether every node is listed.
    pub nodes: bool,
}

impl Default for InspectOptions {
    fn default() -> Self {
        Self { lengths: vec![128, 256, 512], nodes: false }
    }
}

/// Looks through a file. Takes time in proportion to its nodes; weights are not touched.
pub fn inspect(file: &OnnxFile, options: &InspectOptions) -> Inspection {
    inspect_model(file.model(), options)
}

/// [`inspect`] for a model that is in memory, whose constants may lack their numbers.
pub(super) fn inspect_model(model: &ModelProto, options: &InspectOptions) -> Inspection {
    let nothing = GraphProto::default();
    let graph = model.graph.as_ref().unwrap_or(&nothing);
    let scopes = layers::scopes(graph);
    let cost = cost::cost(model, graph, &scopes, &options.lengths);
    let (layers, weights) = layers::layers(graph, &scopes, &cost.by_scope);
    let operators = operators(model, graph);
    Inspection {
        ir_version: model.ir_version.unwrap_or_default(),
        producer: [&model.producer_name, &model.producer_version]
            .map(|part| part.as_deref().unwrap_or_default())
            .join(" ")
            .trim()
            .to_owned(),
        opsets: model
            .opset_import
            .iter()
            .map(|set| (domain(set.domain.as_deref()), set.version.unwrap_or_default()))
            .collect(),
        inputs: graph.true_inputs().map(port).collect(),
        outputs: graph.output.iter().map(port).collect(),
        nodes: operators.iter().map(|operator| operator.count).sum(),
        operators,
        parameters: weights.parameters,
        weight_bytes: weights.bytes,
        layers,
        cost: cost.cost,
        external: weights.external,
        metadata: model
            .metadata_props
            .iter()
            .map(|entry| (entry.key.clone().unwrap_or_default(), entry.value.clone().unwrap_or_default()))
            .collect(),
        node_list: if options.nodes { graph.node.iter().map(node_line).collect() } else { Vec::new() },
    }
}

/// The shape of any value for one text of `length` tokens, as far as it can be followed.
pub(super) fn shapes_of(graph: &GraphProto, length: u64) -> impl Fn(&str) -> Option<Vec<i64>> {
    let shapes = shapes::Shapes::of(graph, Some(length));
    move |name| shapes.get(name)?.shape.clone()
}

fn domain(written: Option<&str>) -> String {
    written.filter(|_| !is_standard(written)).unwrap_or(STANDARD).to_owned()
}

fn port(value: &ValueInfoProto) -> Port {
    let name = value.name.clone().unwrap_or_default();
    let Some(tensor) = value.tensor_type() else {
        let element = value.r#type.as_ref().map_or_else(|| "of no type".to_owned(), ToString::to_string);
        return Port { name, element, shape: None };
    };
    let element = match tensor.element() {
        Some(element) => element.to_string(),
        None => format!("type {}", tensor.elem_type.unwrap_or_default()),
    };
    let size = |dimension: &Option<Dimension>| match dimension {
        Some(Dimension::Fixed(size)) => size.to_string(),
        Some(Dimension::Named(name)) if !name.is_empty() => name.clone(),
        _ => "?".to_owned(),
    };
    let shape = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(|dimension| size(&dimension.value)).collect());
    Port { name, element, shape }
}

fn node_line(node: &NodeProto) -> NodeLine {
    let operator = node.op_type.clone().unwrap_or_default();
    let operator = match node.domain.as_deref() {
        Some(domain) if !node.is_standard() => format!("{domain}.{operator}"),
        _ => operator,
    };
    NodeLine {
        name: node.name.clone().unwrap_or_default(),
        operator,
        inputs: node.input.clone(),
        outputs: node.output.clone(),
    }
}

/// All operators of the model, the most frequent first, equally frequent ones by their names.
fn operators(model: &ModelProto, graph: &GraphProto) -> Vec<OperatorCount> {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut count = |node: &NodeProto| {
        let key = (domain(node.domain.as_deref()), node.op_type.clone().unwrap_or_default());
        *counts.entry(key).or_default() += 1;
    };
    each_node(&graph.node, &mut count);
    for FunctionProto { node, .. } in &model.functions {
        each_node(node, &mut count);
    }
    let mut list: Vec<OperatorCount> =
        counts.into_iter().map(|((domain, operator), count)| OperatorCount { operator, domain, count }).collect();
    list.sort_by_key(|operator| std::cmp::Reverse(operator.count));
    list
}

/// Shows each node and those of its subgraphs. A file that could be opened nests only a few deep.
fn each_node<'m>(nodes: &'m [NodeProto], show: &mut dyn FnMut(&'m NodeProto)) {
    for node in nodes {
        show(node);
        for graph in node.subgraphs() {
            each_node(&graph.node, show);
        }
    }
}
