//! Turns a graph into one for runtimes of an older operator set: only operators that opset 17 has, in the form that
//! they have there. Works on nodes, so that builders need not know. Invariant: the numbers stay what they were, up to
//! the rounding of a function that is written out.

use super::builder::Graph;
use super::constants::{Constant, Values};
use super::onnx::{AttributeProto, ElementType, NodeProto};

/// The operator set of a plain graph: the first with LayerNormalization.
pub(super) const PLAIN_OPSET: i64 = 17;

/// Rewrites what opset 17 lacks: `Gelu`, and the axes of `ReduceMax` as an input.
pub(super) fn plain(mut graph: Graph<'_>) -> Graph<'_> {
    graph.opset = PLAIN_OPSET;
    let nodes = std::mem::take(&mut graph.nodes);
    for node in nodes {
        match node.op_type.as_deref() {
            Some("Gelu") => write_out_gelu(&mut graph, &node),
            Some("ReduceMax") if node.input.len() == 2 => {
                let node = with_axes_as_attribute(&graph, node);
                graph.nodes.push(node);
            }
            _ => graph.nodes.push(node),
        }
    }
    drop_unused_constants(&mut graph);
    graph
}

/// Nodes that take the place of one, named after it.
struct Parts<'g, 'a> {
    graph: &'g mut Graph<'a>,
    name: String,
    count: usize,
}

impl Parts<'_, '_> {
    /// A node of two inputs or of one; gives its output.
    fn node(&mut self, op_type: &str, inputs: &[&str]) -> String {
        self.count += 1;
        let name = format!("{}/{op_type}.{}", self.name, self.count);
        self.graph.nodes.push(NodeProto::new(op_type, inputs, &name, Vec::new()));
        name
    }

    /// A constant number, shared by all that need it.
    fn number(&mut self, value: f32) -> String {
        let name = format!("float({value:e})");
        if !self.graph.constants.iter().any(|constant| constant.name == name) {
            let values = Values::Bytes(value.to_le_bytes().to_vec());
            let constant = Constant { name: name.clone(), element: ElementType::Float, shape: vec![], values };
            self.graph.constants.push(constant);
        }
        name
    }
}

/// Hendrycks and Gimpel 2016: x/2 · (1 + erf(x/√2)), or with tanh(√(2/π) · (x + 0.044715 x³)) in the place of erf. In
/// the order of operators that ONNX Runtime knows and fuses again.
fn write_out_gelu(graph: &mut Graph<'_>, node: &NodeProto) {
    let name = node.name.clone().unwrap_or_default();
    let mut parts = Parts { graph, name, count: 0 };
    let [one, half] = [1.0, 0.5].map(|value| parts.number(value));
    let input = node.input[0].as_str();
    let gate = if node.attribute.iter().any(|attribute| attribute.s.as_deref() == Some(b"tanh")) {
        let [cubic, scale] = [0.044_715, (2.0 / std::f64::consts::PI).sqrt() as f32].map(|value| parts.number(value));
        let square = parts.node("Mul", &[input, input]);
        let cube = parts.node("Mul", &[&square, input]);
        let small = parts.node("Mul", &[&cube, &cubic]);
        let sum = parts.node("Add", &[input, &small]);
        let scaled = parts.node("Mul", &[&sum, &scale]);
        parts.node("Tanh", &[&scaled])
    } else {
        let root = parts.number(std::f32::consts::SQRT_2);
        let scaled = parts.node("Div", &[input, &root]);
        parts.node("Erf", &[&scaled])
    };
    let raised = parts.node("Add", &[&gate, &one]);
    let product = parts.node("Mul", &[input, &raised]);
    parts.node("Mul", &[&product, &half]);
    if let Some(last) = graph.nodes.last_mut() {
        last.output.clone_from(&node.output);
    }
}

fn with_axes_as_attribute(graph: &Graph<'_>, mut node: NodeProto) -> NodeProto {
    let axes = node.input.pop().unwrap_or_default();
    let bytes = |constant: &'_ Constant<'_>| match &constant.values {
        Values::Bytes(bytes) if constant.name == axes => Some(bytes.clone()),
        _ => None,
    };
    let bytes = graph.constants.iter().find_map(bytes).expect("the builder makes axes as small constants");
    let words = bytes.chunks_exact(8).map(|word| word.try_into().expect("eight bytes are a word"));
    let axes: Vec<i64> = words.map(i64::from_le_bytes).collect();
    node.attribute.push(AttributeProto::ints("axes", &axes));
    node
}

pub(super) fn drop_unused_constants(graph: &mut Graph<'_>) {
    let used: std::collections::HashSet<&str> =
        graph.nodes.iter().flat_map(|node| node.input.iter().map(String::as_str)).collect();
    graph.constants.retain(|constant| used.contains(constant.name.as_str()));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use crate::graph::encoder::{self, Ending};
    use crate::model::{EncoderConfig, Pooling, Weights};

    use super::*;

    /// Operators that opset 17 has in the form in which our graphs use them.
    const KNOWN: [&str; 30] = [
        "Add",
        "Cast",
        "Concat",
        "CumSum",
        "Div",
        "Equal",
        "Erf",
        "Gather",
        "LayerNormalization",
        "MatMul",
        "Max",
        "Mul",
        "Not",
        "ReduceMax",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Cos",
        "Sin",
    ];

    #[test]
    fn plain_graphs_of_all_architectures_have_only_operators_of_opset_17() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-architectures");
        let folders = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
        let mut replaced = BTreeSet::new();
        for folder in folders {
            let config = EncoderConfig::open(&folder.join("config.json")).unwrap();
            let weights = Weights::in_folder(&folder).unwrap().unwrap();
            for pooling in Pooling::ALL {
                let build = || encoder::build(&config, &weights, Ending { pooling, normalize: true }).unwrap();
                let (normal, plain) = (build(), plain(build()));
                assert_eq!((normal.opset, plain.opset), (20, PLAIN_OPSET));
                let kinds = |graph: &Graph<'_>| -> BTreeSet<String> {
                    graph.nodes.iter().filter_map(|node| node.op_type.clone()).collect()
                };
                replaced.extend(kinds(&normal).difference(&kinds(&plain)).cloned());
                for node in &plain.nodes {
                    let kind = node.op_type.as_deref().unwrap();
                    assert!(KNOWN.contains(&kind), "{kind} in {}", folder.display());
                    assert!(kind != "ReduceMax" || node.input.len() == 1, "axes as an input in {}", folder.display());
                }
                assert_eq!(normal.outputs, plain.outputs);
                let made = |graph: &Graph<'_>, output: &str| {
                    graph.nodes.iter().any(|node| node.output.iter().any(|name| name == output))
                };
                let outputs = normal.outputs.iter().filter_map(|output| output.name.as_deref());
                assert!(outputs.into_iter().all(|output| made(&plain, output)), "{}", folder.display());
            }
        }
        assert_eq!(replaced, BTreeSet::from(["Gelu".to_owned()]));
    }
}
