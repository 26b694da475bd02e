//! Turns a graph into one that computes in half precision where that is safe. Works on nodes, as `plain` does, and knows
//! the encoder by the names of its scopes alone.
//!
//! Half are the weights of linear layers with their biases, the tables that tokens and angles are looked up in, and what
//! is computed from one product of matrices to the next: activations, rotations, scores and contexts. All that sums over
//! a text or a row stays in f32: residual sums, layer normalization, the masked softmax (its −10⁹ is no f16), pooling and
//! heads, whose numbers may be years. Invariant: inputs and outputs keep their types, and a value is cast at most once.

use std::collections::{HashMap, HashSet};

use super::builder::Graph;
use super::onnx::{AttributeProto, ElementType, NodeProto};

/// Where weights and products are half; a layer's scope begins with the last of them.
const SCOPES: [&str; 3] = ["embeddings/", "rotary/", "layer."];

/// Operators that take numbers as they come: half where no input is f32.
const FOLLOWERS: [&str; 17] = [
    "Add",
    "Concat",
    "Div",
    "Erf",
    "Gather",
    "Gelu",
    "MatMul",
    "Mul",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Slice",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
];

/// In what a value is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Half,
    Full,
    /// No floating-point number.
    Other,
}

/// What a node reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// What a node or an input gives.
    Value(Kind),
    /// Constant floats of at least two dimensions.
    Table,
    /// Other constant floats.
    Numbers,
}

/// Rewrites a graph of [`super::encoder::build`], also behind `plain`.
pub(super) fn half(mut graph: Graph<'_>) -> Graph<'_> {
    let nodes = std::mem::take(&mut graph.nodes);
    let kinds = kinds(&graph, &nodes);
    let full: HashSet<&String> = nodes
        .iter()
        .zip(&kinds.nodes)
        .filter(|(_, kind)| **kind == Kind::Full)
        .flat_map(|(node, _)| &node.input)
        .collect();
    let floats = graph.constants.iter_mut().filter(|constant| constant.element == ElementType::Float);
    let mut values = kinds.values;
    for constant in floats {
        let kind = if full.contains(&constant.name) { Kind::Full } else { Kind::Half };
        if kind == Kind::Half {
            constant.element = ElementType::Float16;
        }
        values.insert(constant.name.clone(), kind);
    }
    let mut casts = Casts { values, made: HashMap::new() };
    for (mut node, kind) in nodes.into_iter().zip(kinds.nodes) {
        for input in &mut node.input {
            casts.cast(input, kind, &mut graph.nodes);
        }
        graph.nodes.push(node);
    }
    graph
}

/// What each node computes in, in their order, and what each value is held in that a node gives.
struct Kinds {
    nodes: Vec<Kind>,
    values: HashMap<String, Kind>,
}

fn kinds(graph: &Graph<'_>, nodes: &[NodeProto]) -> Kinds {
    let floats = graph.constants.iter().filter(|constant| constant.element == ElementType::Float);
    let constants: HashMap<&str, Read> = floats
        .map(|constant| (constant.name.as_str(), if constant.shape.len() >= 2 { Read::Table } else { Read::Numbers }))
        .collect();
    let mut found = Kinds { nodes: Vec::with_capacity(nodes.len()), values: HashMap::new() };
    for node in nodes {
        let read = |name: &String| match constants.get(name.as_str()) {
            Some(constant) => *constant,
            // Inputs of the graph and constants that are no floats are not listed.
            None => Read::Value(found.values.get(name).copied().unwrap_or(Kind::Other)),
        };
        let reads: Vec<Read> = node.input.iter().map(read).collect();
        let computes = computes_in(node, &reads);
        let gives = match node.op_type.as_deref() {
            Some("Cast") => cast_to(node),
            _ => computes,
        };
        found.values.extend(node.output.iter().map(|output| (output.clone(), gives)));
        found.nodes.push(computes);
    }
    found
}

/// What a node computes in that reads this.
fn computes_in(node: &NodeProto, reads: &[Read]) -> Kind {
    let [half, full] = [Kind::Half, Kind::Full].map(|kind| reads.contains(&Read::Value(kind)));
    let (table, numbers) = (reads.contains(&Read::Table), reads.contains(&Read::Numbers));
    if !(half || full || table || numbers) {
        return Kind::Other;
    }
    let (name, op_type) = (node.name.as_deref().unwrap_or_default(), node.op_type.as_deref().unwrap_or_default());
    if !SCOPES.iter().any(|scope| name.starts_with(scope)) || !FOLLOWERS.contains(&op_type) {
        return Kind::Full;
    }
    let half = match op_type {
        "MatMul" => half || table,
        "Gather" => table || half,
        _ => half && !full,
    };
    if half { Kind::Half } else { Kind::Full }
}

fn cast_to(node: &NodeProto) -> Kind {
    let to = node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some("to"));
    if to.and_then(|to| to.i) == Some(ElementType::Float as i64) { Kind::Full } else { Kind::Other }
}

/// The casts so far, by value.
struct Casts {
    values: HashMap<String, Kind>,
    made: HashMap<String, String>,
}

impl Casts {
    /// Puts the like of a value in the place of its name that is held in `kind`, behind a cast if there is none yet. What
    /// is no float stays as it is.
    fn cast(&mut self, name: &mut String, kind: Kind, nodes: &mut Vec<NodeProto>) {
        let held = self.values.get(name).copied().unwrap_or(Kind::Other);
        let (to, ending) = match kind {
            Kind::Half => (ElementType::Float16, "half"),
            _ => (ElementType::Float, "float"),
        };
        if held == Kind::Other || kind == Kind::Other || held == kind {
            return;
        }
        let made = self.made.entry(name.clone()).or_insert_with(|| {
            let output = format!("{name}/{ending}");
            nodes.push(NodeProto::new("Cast", &[name], &output, vec![AttributeProto::int("to", to as i64)]));
            output
        });
        name.clone_from(made);
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use crate::graph::encoder::{self, Ending};
    use crate::graph::plain::plain;
    use crate::model::{EncoderConfig, Pooling, Weights};

    use super::*;

    fn checkpoints() -> Vec<PathBuf> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-architectures");
        let entries = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    }

    /// Each graph of the tiny checkpoints as it is and in half, with its name and layers.
    fn for_all(mut check: impl FnMut(&str, usize, (&Graph<'_>, &Graph<'_>))) {
        let folders = checkpoints();
        assert_eq!(folders.len(), 16);
        for folder in folders {
            let config = EncoderConfig::open(&folder.join("config.json")).unwrap();
            let weights = Weights::in_folder(&folder).unwrap().unwrap();
            for (pooling, is_plain) in Pooling::ALL.into_iter().flat_map(|pooling| [(pooling, false), (pooling, true)])
            {
                let make = || {
                    let graph = encoder::build(&config, &weights, Ending { pooling, normalize: true }).unwrap();
                    if is_plain { plain(graph) } else { graph }
                };
                let name = format!("{} {pooling} {is_plain}", folder.file_name().unwrap().to_string_lossy());
                check(&name, config.layers, (&make(), &half(make())));
            }
        }
    }

    fn casts<'g>(graph: &'g Graph<'_>) -> Vec<&'g str> {
        let casts = graph.nodes.iter().filter(|node| node.op_type.as_deref() == Some("Cast"));
        casts.filter_map(|node| node.name.as_deref()).collect()
    }

    #[test]
    fn all_numbers_that_a_node_reads_are_of_one_type_and_what_must_be_f32_is() {
        for_all(|name, _, (_, graph)| {
            let mut types: HashMap<&str, ElementType> =
                graph.constants.iter().map(|constant| (constant.name.as_str(), constant.element)).collect();
            for node in &graph.nodes {
                let op_type = node.op_type.as_deref().unwrap();
                let inputs = node.input.iter().filter_map(|input| types.get(input.as_str()).copied());
                let floats: Vec<ElementType> = inputs.filter(|element| *element != ElementType::Int64).collect();
                assert!(floats.windows(2).all(|pair| pair[0] == pair[1]), "{:?} in {name}: {floats:?}", node.name);
                if ["LayerNormalization", "Softmax", "Sum", "ReduceSum", "Sqrt", "Max"].contains(&op_type) {
                    assert_eq!(floats[0], ElementType::Float, "{:?} in {name}", node.name);
                }
                let gives = match (op_type, cast_to_number(node)) {
                    ("Cast", Some(to)) => Some(to),
                    _ => floats.first().copied(),
                };
                types.extend(gives.iter().flat_map(|gives| node.output.iter().map(|output| (output.as_str(), *gives))));
            }
            for output in &graph.outputs {
                assert_eq!(types[output.name.as_deref().unwrap()], ElementType::Float, "{name}");
            }
        });
    }

    fn cast_to_number(node: &NodeProto) -> Option<ElementType> {
        ElementType::of_number(node.attribute.first()?.i? as i32)
    }

    #[test]
    fn a_layer_has_six_casts_and_no_value_is_cast_twice() {
        for_all(|name, layers, (before, after)| {
            let (before, casts) = (casts(before), casts(after));
            // Constants that heads and layers share are cast, too, but when a session is opened.
            let constants = after.constants.iter().map(|constant| format!("{}/half", constant.name));
            let constants: HashSet<String> = constants.collect();
            let at_run_time = |cast: &&&str| !before.contains(cast) && !constants.contains(**cast);
            let added = casts.iter().filter(at_run_time).count();
            // Beside them those of both tables in the embeddings and of what leaves them; a CLS layer casts its rows apart.
            let most = 6 * layers + 5;
            assert!(added >= 6 * layers - 1 && added <= most, "{added} of {most} in {name}: {casts:?}");
            let inputs: HashSet<&String> = after
                .nodes
                .iter()
                .filter(|node| node.op_type.as_deref() == Some("Cast"))
                .map(|node| &node.input[0])
                .collect();
            assert_eq!(inputs.len(), casts.len(), "{name}");
            let within =
                |layer: usize| casts.iter().filter(|cast| cast.starts_with(&format!("layer.{layer}/"))).count();
            assert!((0..layers).all(|layer| within(layer) <= 7), "{name}: {casts:?}");
        });
    }

    #[test]
    fn matrices_and_tables_are_half_but_for_what_is_added_to_scores_and_heads() {
        for_all(|name, _, (before, after)| {
            let mut halves = 0;
            for (old, new) in before.constants.iter().zip(&after.constants) {
                assert_eq!((&old.name, &old.shape), (&new.name, &new.shape), "{name}");
                if old.element != ElementType::Float || old.shape.len() < 2 {
                    continue;
                }
                let users = after.nodes.iter().filter(|node| node.input.contains(&old.name));
                let names: Vec<&str> = users.filter_map(|node| node.name.as_deref()).collect();
                let full = ["relative/", "window/", "head/"];
                let is_full = names.iter().any(|user| full.iter().any(|scope| user.starts_with(scope)));
                let expected = if is_full { ElementType::Float } else { ElementType::Float16 };
                assert_eq!(new.element, expected, "{} in {name}, for {names:?}", old.name);
                halves += usize::from(!is_full);
            }
            assert!(halves > 6, "{halves} in {name}");
        });
    }
}
