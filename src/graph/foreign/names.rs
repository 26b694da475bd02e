//! The names in a graph that was decoded: whether every value is made once and before it is read, renaming, and leaving
//! out what no output needs. Looks into the graphs inside of nodes, which may read values of the graph around them.

use std::collections::{HashMap, HashSet};

use crate::graph::onnx::{GraphProto, NodeProto};

/// An error text unless every value of the graph has one origin, and each node reads what is there before it.
pub(super) fn check(graph: &GraphProto) -> Result<(), String> {
    let mut known = HashSet::new();
    let inputs: HashSet<&str> = graph.input.iter().filter_map(|input| input.name.as_deref()).collect();
    if inputs.len() < graph.input.len() {
        return Err("has two inputs of the same name, or one without a name".to_owned());
    }
    for name in constants(graph) {
        if name.is_empty() || !known.insert(name) {
            return Err(format!("has two constants called `{name}`"));
        }
    }
    known.extend(inputs);
    for node in &graph.node {
        check_node(node, &mut known)?;
    }
    let made = |name: &str| known.contains(name);
    let outputs = graph.output.iter().map(|output| output.name.as_deref().unwrap_or_default());
    match outputs.clone().find(|name| !made(name)) {
        Some(name) => Err(format!("has the output `{name}`, which no node makes")),
        None if outputs.clone().collect::<HashSet<_>>().len() < graph.output.len() => {
            Err("has two outputs of the same name".to_owned())
        }
        None => Ok(()),
    }
}

fn check_node<'g>(node: &'g NodeProto, known: &mut HashSet<&'g str>) -> Result<(), String> {
    for input in node.input.iter().filter(|input| !input.is_empty()) {
        if !known.contains(input.as_str()) {
            return Err(format!("reads `{input}` in {}, which is made later or not at all", describe(node)));
        }
    }
    for graph in node.subgraphs() {
        let inner = graph.input.iter().filter_map(|input| input.name.as_deref()).chain(constants(graph));
        let mut added: Vec<&str> = inner.filter(|name| known.insert(name)).collect();
        for node in &graph.node {
            let outputs: Vec<&str> =
                node.output.iter().map(String::as_str).filter(|name| !known.contains(name)).collect();
            check_node(node, known)?;
            added.extend(outputs);
        }
        added.iter().for_each(|name| {
            known.remove(name);
        });
    }
    for output in node.output.iter().filter(|output| !output.is_empty()) {
        if !known.insert(output) {
            return Err(format!("makes `{output}` in {}, though it is there already", describe(node)));
        }
    }
    Ok(())
}

/// A node as a message names it.
pub(super) fn describe(node: &NodeProto) -> String {
    let kind = node.op_type.as_deref().unwrap_or_default();
    match node.name.as_deref() {
        Some(name) if !name.is_empty() => format!("`{name}` ({kind})"),
        _ => format!("the node that makes `{}` ({kind})", node.output.first().map_or("", String::as_str)),
    }
}

fn constants(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let dense = graph.initializer.iter().map(|tensor| tensor.name.as_deref().unwrap_or_default());
    let values = graph.sparse_initializer.iter().filter_map(|tensor| tensor.values.as_ref());
    dense.chain(values.map(|tensor| tensor.name.as_deref().unwrap_or_default()))
}

/// Gives a value another name, wherever it is made or read.
pub(super) fn rename(graph: &mut GraphProto, from: &str, to: &str) {
    let swap = |name: &mut String| {
        if name == from {
            to.clone_into(name);
        }
    };
    for node in &mut graph.node {
        node.input.iter_mut().chain(&mut node.output).for_each(swap);
        for attribute in &mut node.attribute {
            attribute
                .g
                .as_deref_mut()
                .into_iter()
                .chain(&mut attribute.graphs)
                .for_each(|graph| rename(graph, from, to));
        }
    }
    let values = graph.output.iter_mut().chain(&mut graph.value_info).filter_map(|value| value.name.as_mut());
    let tensors = graph
        .initializer
        .iter_mut()
        .chain(graph.sparse_initializer.iter_mut().filter_map(|tensor| tensor.values.as_mut()));
    values.chain(tensors.filter_map(|tensor| tensor.name.as_mut())).for_each(swap);
}

/// A name that no value and no node of the graph has.
pub(super) fn free(graph: &GraphProto, wanted: &str) -> String {
    let mut taken = HashSet::new();
    collect(graph, &mut taken);
    let numbered = (2..).map(|number| format!("{wanted}.{number}"));
    let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name.as_str())).unwrap_or_default()
}

/// All names of values and nodes.
fn collect<'g>(graph: &'g GraphProto, into: &mut HashSet<&'g str>) {
    into.extend(constants(graph));
    into.extend(graph.input.iter().chain(&graph.output).filter_map(|value| value.name.as_deref()));
    for node in &graph.node {
        into.extend(node.input.iter().chain(&node.output).chain(&node.name).map(String::as_str));
        node.subgraphs().for_each(|graph| collect(graph, into));
    }
}

/// What a node reads, by itself or in the graphs inside it (with names that are made in there).
pub(super) fn reads<'g>(node: &'g NodeProto, into: &mut Vec<&'g str>) {
    into.extend(node.input.iter().map(String::as_str));
    for graph in node.subgraphs() {
        graph.node.iter().for_each(|node| reads(node, into));
        into.extend(graph.output.iter().filter_map(|value| value.name.as_deref()));
    }
}

/// Takes away the nodes and constants that no output depends on, and what is said about their values.
pub(super) fn prune(graph: &mut GraphProto) {
    let live = live(graph);
    let nodes: Vec<bool> =
        graph.node.iter().map(|node| node.output.iter().any(|output| live.contains(output.as_str()))).collect();
    let live: HashSet<String> = live.into_iter().map(str::to_owned).collect();
    let mut nodes = nodes.into_iter();
    graph.node.retain(|_| nodes.next().unwrap_or(false));
    let lives = |name: Option<&String>| name.is_some_and(|name| live.contains(name));
    graph.initializer.retain(|tensor| lives(tensor.name.as_ref()));
    graph.sparse_initializer.retain(|tensor| lives(tensor.values.as_ref().and_then(|values| values.name.as_ref())));
    graph.value_info.retain(|value| lives(value.name.as_ref()));
    graph.quantization_annotation.retain(|annotation| lives(annotation.tensor_name.as_ref()));
}

/// The values that the outputs depend on.
fn live(graph: &GraphProto) -> HashSet<&str> {
    let makers: HashMap<&str, &NodeProto> = graph
        .node
        .iter()
        .flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node)))
        .filter(|(output, _)| !output.is_empty())
        .collect();
    let mut live = HashSet::new();
    let mut open: Vec<&str> = graph.output.iter().filter_map(|output| output.name.as_deref()).collect();
    while let Some(name) = open.pop() {
        if live.insert(name)
            && let Some(node) = makers.get(name)
        {
            reads(node, &mut open);
        }
    }
    live
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::onnx::{AttributeProto, ElementType, TensorProto, ValueInfoProto};

    fn node(inputs: &[&str], output: &str) -> NodeProto {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        NodeProto { input: own(inputs), output: own(&[output]), op_type: Some("Add".into()), ..NodeProto::default() }
    }

    fn graph(nodes: Vec<NodeProto>, output: &str) -> GraphProto {
        let value = |name: &str| ValueInfoProto::tensor(name, ElementType::Float, vec![]);
        GraphProto {
            node: nodes,
            input: vec![value("x")],
            output: vec![value(output)],
            initializer: vec![TensorProto::of_bytes("w", ElementType::Float, &[1], vec![0; 4].into())],
            ..GraphProto::default()
        }
    }

    fn branch(inner: GraphProto, output: &str) -> NodeProto {
        let body = AttributeProto { g: Some(Box::new(inner)), ..AttributeProto::default() };
        NodeProto { attribute: vec![body], ..node(&["x"], output) }
    }

    #[test]
    fn values_are_made_once_and_before_they_are_read() {
        assert_eq!(check(&graph(vec![node(&["x", "w"], "y"), node(&["y", ""], "z")], "z")), Ok(()));
        let text = |graph: &GraphProto| check(graph).unwrap_err();
        let circle = graph(vec![node(&["z"], "y"), node(&["y"], "z")], "z");
        assert_eq!(text(&circle), "reads `z` in the node that makes `y` (Add), which is made later or not at all");
        let twice = graph(vec![node(&["x"], "y"), node(&["x"], "y")], "y");
        assert_eq!(text(&twice), "makes `y` in the node that makes `y` (Add), though it is there already");
        assert_eq!(text(&graph(vec![], "y")), "has the output `y`, which no node makes");
        let mut two = graph(vec![], "w");
        two.initializer.push(two.initializer[0].clone());
        assert_eq!(text(&two), "has two constants called `w`");
        two.input.push(two.input[0].clone());
        assert_eq!(text(&two), "has two inputs of the same name, or one without a name");
    }

    #[test]
    fn graphs_inside_of_nodes_read_what_is_around_them() {
        let inner = || GraphProto { input: vec![], ..graph(vec![node(&["y", "w"], "i")], "i") };
        let inner = || GraphProto { initializer: vec![], ..inner() };
        let whole = graph(vec![node(&["x"], "y"), branch(inner(), "z"), branch(inner(), "v")], "v");
        assert_eq!(check(&whole), Ok(()));
        let early = graph(vec![branch(inner(), "z"), node(&["x"], "y")], "z");
        assert!(check(&early).unwrap_err().starts_with("reads `y`"));

        let mut pruned = whole.clone();
        rename(&mut pruned, "y", "renamed");
        prune(&mut pruned);
        let outputs: Vec<&str> = pruned.node.iter().map(|node| node.output[0].as_str()).collect();
        assert_eq!(outputs, ["renamed", "v"]);
        let body = pruned.node[1].attribute[0].g.as_ref().unwrap();
        assert_eq!((body.node[0].input[0].as_str(), pruned.initializer.len()), ("renamed", 1));
        assert_eq!(check(&pruned), Ok(()));
        assert_eq!((free(&whole, "i"), free(&whole, "new")), ("i.2".to_owned(), "new".to_owned()));
    }
}
