//! Which nodes of a graph compute nothing but shapes: providers leave these to the processor, where shapes are needed. Knows
//! operators by name alone. Invariant: a node whose result may reach an output as a number is never among them.

use std::collections::{HashMap, HashSet};

use super::OnnxFile;
use super::names::reads;
use crate::graph::onnx::{GraphProto, NodeProto};

/// The first input of an operator that says where or how much and not what; all inputs behind it do, too.
fn first_shape_input(operator: &str) -> usize {
    match operator {
        "ConstantOfShape" | "Range" => 0,
        "Reshape" | "Expand" | "Tile" | "Slice" | "Split" | "Squeeze" | "Unsqueeze" | "Trilu" | "TopK" => 1,
        _ => usize::MAX,
    }
}

impl OnnxFile {
    /// Names of the nodes whose results only say of which shape others are. One without a name is not among them.
    pub fn nodes_that_feed_shapes(&self) -> HashSet<String> {
        nodes_that_feed_shapes(self.graph())
    }
}

fn nodes_that_feed_shapes(graph: &GraphProto) -> HashSet<String> {
    let makers: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(place, node)| node.output.iter().map(move |output| (output.as_str(), place)))
        .collect();
    // From the outputs back, by way of numbers alone.
    let mut gives_numbers = vec![false; graph.node.len()];
    let mut open: Vec<&str> = graph.output.iter().filter_map(|output| output.name.as_deref()).collect();
    while let Some(value) = open.pop() {
        let Some(&place) = makers.get(value) else { continue };
        if !std::mem::replace(&mut gives_numbers[place], true) {
            numbers_read(&graph.node[place], &mut open);
        }
    }
    let names = |numbers: bool| {
        let nodes = graph.node.iter().zip(&gives_numbers).filter(move |(_, gives)| **gives == numbers);
        nodes.filter_map(|(node, _)| node.name.clone()).filter(|name| !name.is_empty())
    };
    // Nothing forbids two nodes of one name.
    let not: HashSet<String> = names(true).collect();
    names(false).filter(|name| !not.contains(name)).collect()
}

/// The values that a node computes with. What graphs inside of it read counts among them, whatever it is for.
fn numbers_read<'g>(node: &'g NodeProto, into: &mut Vec<&'g str>) {
    if node.subgraphs().next().is_some() {
        return reads(node, into);
    }
    let first = first_shape_input(node.op_type.as_deref().unwrap_or_default());
    into.extend(node.input.iter().take(first).map(String::as_str));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::onnx::ValueInfoProto;

    /// `name: operator inputs -> output`, one a line.
    fn graph(nodes: &str, output: &str) -> GraphProto {
        let node = |line: &str| {
            let (name, rest) = line.split_once(": ").unwrap();
            let (made, output) = rest.split_once(" -> ").unwrap();
            let mut words = made.split(' ').map(str::to_owned);
            NodeProto {
                name: Some(name.to_owned()),
                op_type: words.next(),
                input: words.collect(),
                output: vec![output.to_owned()],
                ..NodeProto::default()
            }
        };
        let output = ValueInfoProto { name: Some(output.to_owned()), ..ValueInfoProto::default() };
        GraphProto {
            node: nodes.lines().map(|line| node(line.trim())).collect(),
            output: vec![output],
            ..GraphProto::default()
        }
    }

    fn shapes(nodes: &str, output: &str) -> Vec<String> {
        let mut names: Vec<String> = nodes_that_feed_shapes(&graph(nodes, output)).into_iter().collect();
        names.sort();
        names
    }

    #[test]
    fn what_only_says_how_long_something_is_computes_shapes() {
        let nodes = "shape: Shape ids -> s
            rows: Gather s zero -> r
            all: Concat r c -> t
            words: Gather table ids -> w
            split: Reshape w t -> h
            out: MatMul h weights -> y";
        assert_eq!(shapes(nodes, "y"), ["all", "rows", "shape"]);
    }

    #[test]
    fn what_also_reaches_a_number_does_not() {
        let nodes = "shape: Shape ids -> s
            length: Cast s -> f
            split: Reshape x s -> h
            out: Mul h f -> y";
        assert_eq!(shapes(nodes, "y"), Vec::<String>::new());
        let positions = "shape: Shape ids -> s
            range: Range zero s one -> p
            out: Gather table p -> y";
        assert_eq!(shapes(positions, "y"), ["shape"], "the positions are numbers, their end is not");
    }

    #[test]
    fn names_that_are_missing_or_stand_twice_prove_nothing() {
        let nodes = "twin: Shape ids -> s
            : Cast s -> t
            split: Reshape x t -> h
            twin: Relu h -> y";
        assert_eq!(shapes(nodes, "y"), Vec::<String>::new());
    }
}
