//! Puts nodes and constants together. Owns naming: an output is called like its node, `<scope>/<op type>`, numbered
//! where that name is taken, so that a message of ONNX Runtime can be traced to a place in the encoder. Knows no
//! architecture.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::model::{self, Activation, EncoderConfig, LinearName, LowRank, Tensor, Weights};

use super::constants::{Computed, Constant, Values};
use super::onnx::{AttributeProto, ElementType, GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// A graph: nodes in an order in which they can run, constants in the order of their first use.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    pub name: String,
    pub nodes: Vec<NodeProto>,
    pub constants: Vec<Constant<'a>>,
    pub inputs: Vec<ValueInfoProto>,
    pub outputs: Vec<ValueInfoProto>,
    /// Numbers that were taken from the checkpoint.
    pub parameters: u64,
    /// The version of the standard operator set that the nodes are of.
    pub opset: i64,
}

/// Operators are taken from this version of the standard set (Gelu is new in it).
pub(super) const OPSET: i64 = 20;

/// The names of layer normalization weights: today's, and those of checkpoints converted from TensorFlow.
const NORM_NAMES: [[&str; 2]; 2] = [["weight", "bias"], ["gamma", "beta"]];

/// A value in the graph, by its name.
pub(super) type Value = String;

#[derive(Debug)]
pub(super) struct GraphBuilder<'a> {
    /// The checkpoint; none where nodes are added to a graph that is there already.
    weights: Option<&'a Weights>,
    nodes: Vec<NodeProto>,
    constants: Vec<Constant<'a>>,
    /// The constants so far, and the names that they have in the graph.
    known: HashMap<String, Value>,
    /// Names of nodes and values that a graph has already.
    taken: HashSet<String>,
    uses: HashMap<String, usize>,
    scope: String,
    parameters: u64,
    /// What is added to linear layers of the checkpoint, by their names.
    changes: BTreeMap<String, LowRank<'a>>,
    /// Tensors of the checkpoint that were asked for.
    used: HashSet<String>,
    /// Those of them that are not there, in the order of their use.
    missing: Vec<String>,
    /// What else was wrong with one, the first.
    problem: Option<model::Error>,
}

impl<'a> GraphBuilder<'a> {
    pub(super) fn new(weights: &'a Weights) -> Self {
        Self { weights: Some(weights), ..Self::empty() }
    }

    /// Linear layers of these names get their weights with what is added to them.
    pub(super) fn change(&mut self, changes: BTreeMap<String, LowRank<'a>>) {
        self.changes = changes;
    }

    /// For nodes that are to be added to `graph`, by [`GraphBuilder::finish_into`]: no name of it is used again.
    pub(super) fn adding_to(graph: &GraphProto) -> Self {
        let nodes = graph.node.iter().flat_map(|node| node.name.iter().chain(&node.input).chain(&node.output));
        let values = graph.input.iter().chain(&graph.output).filter_map(|value| value.name.as_ref());
        let constants = graph.initializer.iter().filter_map(|tensor| tensor.name.as_ref());
        Self { taken: nodes.chain(values).chain(constants).cloned().collect(), ..Self::empty() }
    }

    fn empty() -> Self {
        Self {
            weights: None,
            nodes: Vec::new(),
            constants: Vec::new(),
            known: HashMap::new(),
            taken: HashSet::new(),
            uses: HashMap::new(),
            scope: String::new(),
            parameters: 0,
            changes: BTreeMap::new(),
            used: HashSet::new(),
            missing: Vec::new(),
            problem: None,
        }
    }

    /// Names of the nodes that follow begin with `scope`.
    pub(super) fn enter(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// Adds a node with one output and gives that output.
    pub(super) fn node(&mut self, op_type: &str, inputs: &[&str]) -> Value {
        self.node_with(op_type, inputs, Vec::new())
    }

    /// Adds a node with attributes and one output and gives that output.
    pub(super) fn node_with(&mut self, op_type: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> Value {
        let name = self.free_name(&format!("{}/{op_type}", self.scope));
        self.nodes.push(NodeProto::new(op_type, inputs, &name, attribute));
        name
    }

    /// `plain`, numbered where that name is taken.
    fn free_name(&mut self, plain: &str) -> Value {
        let uses = self.uses.entry(plain.to_owned()).or_default();
        loop {
            *uses += 1;
            let name = if *uses == 1 { plain.to_owned() } else { format!("{plain}.{uses}") };
            if !self.taken.contains(&name) {
                return name;
            }
        }
    }

    /// Gives the last node's output the name of a graph output.
    pub(super) fn rename_last_output(&mut self, name: &str) {
        if let Some(node) = self.nodes.last_mut() {
            node.output = vec![name.to_owned()];
        }
    }

    /// A constant list of integers.
    pub(super) fn ints(&mut self, values: &[i64]) -> Value {
        let words: Vec<String> = values.iter().map(ToString::to_string).collect();
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let name = format!("ints[{}]", words.join(","));
        self.constant(Constant {
            name,
            element: ElementType::Int64,
            shape: vec![values.len()],
            values: Values::Bytes(bytes),
        })
    }

    /// A constant integer without dimensions.
    pub(super) fn int(&mut self, value: i64) -> Value {
        let values = Values::Bytes(value.to_le_bytes().to_vec());
        self.constant(Constant { name: format!("int({value})"), element: ElementType::Int64, shape: vec![], values })
    }

    /// A constant f32 without dimensions.
    pub(super) fn float(&mut self, value: f32) -> Value {
        let values = Values::Bytes(value.to_le_bytes().to_vec());
        self.constant(Constant {
            name: format!("float({value:e})"),
            element: ElementType::Float,
            shape: vec![],
            values,
        })
    }

    /// A constant of f32 that is computed as it is written.
    pub(super) fn computed(&mut self, name: &str, shape: Vec<usize>, values: Box<dyn Computed>) -> Value {
        self.weights_constant(name, shape, Some(Values::Computed(values)))
    }

    /// The checkpoint's tensor of that name and shape, counted among the parameters at its first use. One that is not
    /// there or has another shape is noted: the graph can't be finished, but all that is missing can be named.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize]) -> Option<Tensor<'a>> {
        let first = self.used.insert(name.to_owned());
        let Some(weights) = self.weights else {
            self.missing.extend(first.then(|| name.to_owned()));
            return None;
        };
        match weights.tensor(name, shape) {
            Ok(tensor) => {
                if first {
                    self.parameters += shape.iter().map(|size| *size as u64).product::<u64>();
                }
                Some(tensor)
            }
            Err(model::Error::NoTensors { tensors, .. }) => {
                self.missing.extend(tensors.into_iter().filter(|_| first));
                None
            }
            Err(error) => {
                self.problem.get_or_insert(error);
                None
            }
        }
    }

    /// A tensor of the checkpoint as it is stored, each value times `scale`.
    pub(super) fn weight(&mut self, name: &str, shape: &[usize], scale: f32) -> Value {
        let values = self.tensor(name, shape).map(|tensor| Values::Stored { tensor, scale });
        self.weights_constant(name, shape.to_vec(), values)
    }

    /// A constant of f32 that is made of checkpoint tensors; `None` where one of them could not be had.
    pub(super) fn weights_constant(&mut self, name: &str, shape: Vec<usize>, values: Option<Values<'a>>) -> Value {
        match values {
            Some(values) => {
                self.constant(Constant { name: name.to_owned(), element: ElementType::Float, shape, values })
            }
            None => name.to_owned(),
        }
    }

    /// A constant of f32 from another file than the checkpoint, counted among the parameters.
    pub(super) fn added(&mut self, name: &str, shape: Vec<usize>, values: Values<'a>) -> Value {
        self.parameters += shape.iter().map(|size| *size as u64).product::<u64>();
        self.weights_constant(name, shape, Some(values))
    }

    /// `input` [.., in] times the matrix `<name>.weight` (stored [out, in]) plus `<name>.bias` where there is one, both
    /// times `scale`.
    pub(super) fn linear(&mut self, input: &str, name: &str, linear: Linear) -> Value {
        let Linear { inputs, outputs, scale, bias, .. } = linear;
        let (matrix_name, tensor) = self.share(&format!("{name}.weight"), &[outputs, inputs], linear.share);
        let change = self.changes.get(name).map(|change| change.share(linear.share));
        let values = tensor.map(|tensor| match change {
            Some(change) => Values::Merged { tensor, change, scale },
            None => Values::Transposed { tensor, scale },
        });
        let matrix = self.weights_constant(&matrix_name, vec![inputs, outputs], values);
        let product = self.node("MatMul", &[input, &matrix]);
        if !bias {
            return product;
        }
        let (bias_name, tensor) = self.share(&format!("{name}.bias"), &[outputs], linear.share);
        let values = tensor.map(|tensor| Values::Stored { tensor, scale });
        let bias = self.weights_constant(&bias_name, vec![outputs], values);
        self.node("Add", &[&product, &bias])
    }

    /// One of equal shares of a tensor's rows, of this shape, and the name of a constant that is made of it.
    fn share(&mut self, name: &str, shape: &[usize], (index, of): (usize, usize)) -> (String, Option<Tensor<'a>>) {
        let stored: Vec<usize> = [shape[0] * of].iter().chain(&shape[1..]).copied().collect();
        let tensor = self.tensor(name, &stored).map(|tensor| tensor.share(index, of));
        let name = if of == 1 { name.to_owned() } else { format!("{name}[{index}/{of}]") };
        (name, tensor)
    }

    /// Layer normalization of `input` [.., size], with the weights `<name>.weight` and, where there is one, `<name>.bias`.
    pub(super) fn layer_norm(&mut self, input: &str, name: &str, norm: Norm) -> Value {
        let old = self.weights.is_some_and(|weights| weights.get(&format!("{name}.gamma")).is_some());
        let names = &NORM_NAMES[usize::from(old)][..if norm.bias { 2 } else { 1 }];
        let weights = names.iter().map(|kind| self.weight(&format!("{name}.{kind}"), &[norm.size], 1.0));
        let weights: Vec<Value> = weights.collect();
        let inputs: Vec<&str> = [input].into_iter().chain(weights.iter().map(String::as_str)).collect();
        let attributes = vec![AttributeProto::int("axis", -1), AttributeProto::float("epsilon", norm.epsilon)];
        self.node_with("LayerNormalization", &inputs, attributes)
    }

    /// A function of each number.
    pub(super) fn activation(&mut self, input: &str, activation: Activation) -> Value {
        match activation {
            Activation::Gelu => self.node("Gelu", &[input]),
            Activation::GeluTanh => self.node_with("Gelu", &[input], vec![AttributeProto::text("approximate", "tanh")]),
            Activation::QuickGelu => {
                let factor = self.float(1.702);
                let scaled = self.node("Mul", &[input, &factor]);
                let gate = self.node("Sigmoid", &[&scaled]);
                self.node("Mul", &[input, &gate])
            }
            Activation::Relu => self.node("Relu", &[input]),
            Activation::Silu => {
                let gate = self.node("Sigmoid", &[input]);
                self.node("Mul", &[input, &gate])
            }
            Activation::Tanh => self.node("Tanh", &[input]),
        }
    }

    /// Ends the building: an error if a tensor is missing or not what the config says. Tensors of the checkpoint that
    /// no node uses are listed in the log.
    pub(super) fn finish(
        self,
        name: &str,
        inputs: Vec<ValueInfoProto>,
        outputs: Vec<ValueInfoProto>,
    ) -> Result<Graph<'a>, model::Error> {
        let Self { weights, nodes, constants, parameters, used, missing, problem, .. } = self;
        if !missing.is_empty() {
            let path = weights.map_or_else(Default::default, |weights| weights.path().to_owned());
            return Err(model::Error::NoTensors { path, tensors: missing });
        }
        if let Some(problem) = problem {
            return Err(problem);
        }
        for tensor in weights.iter().flat_map(|weights| weights.names()).filter(|tensor| !used.contains(*tensor)) {
            tracing::debug!(tensor, "not used in the graph");
        }
        Ok(Graph { name: name.to_owned(), nodes, constants, inputs, outputs, parameters, opset: OPSET })
    }

    /// Appends what was built, which may use values of the graph by their names, to the graph that the builder was
    /// made for. Constants are those held as bytes; a checkpoint's weights can't be had here.
    pub(super) fn finish_into(self, graph: &mut GraphProto) {
        graph.node.extend(self.nodes);
        let tensor = |constant: Constant<'_>| match constant.values {
            Values::Bytes(bytes) => {
                let dims: Vec<i64> = constant.shape.iter().map(|size| *size as i64).collect();
                Some(TensorProto::of_bytes(&constant.name, constant.element, &dims, bytes.into()))
            }
            _ => None,
        };
        graph.initializer.extend(self.constants.into_iter().filter_map(tensor));
    }

    /// A constant, once however often it is asked for.
    pub(super) fn constant(&mut self, mut constant: Constant<'a>) -> Value {
        if let Some(name) = self.known.get(&constant.name) {
            return name.clone();
        }
        let asked = constant.name.clone();
        if self.taken.contains(&asked) {
            constant.name = self.free_name(&asked);
        }
        let name = constant.name.clone();
        self.known.insert(asked, name.clone());
        self.constants.push(constant);
        name
    }
}

/// A linear layer: its sizes and how its weights are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear {
    pub inputs: usize,
    pub outputs: usize,
    /// What weights and bias are multiplied with.
    pub scale: f32,
    /// Whether it adds a bias.
    pub bias: bool,
    /// Which of how many equal shares of the stored rows are its own.
    pub share: (usize, usize),
}

impl Linear {
    /// A layer with a bias and tensors of its own.
    pub(super) fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, scale: 1.0, bias: true, share: (0, 1) }
    }

    /// Its name within `place`, and itself with the share of the rows that the name stands for.
    pub(super) fn named(self, place: &str, name: LinearName) -> (String, Self) {
        (format!("{place}.{}", name.name), Self { share: name.share, ..self })
    }
}

/// A layer normalization.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    pub size: usize,
    pub epsilon: f32,
    /// Whether it adds a bias.
    pub bias: bool,
}

impl Norm {
    /// Of rows of that size, as an encoder does it.
    pub(super) fn of(config: &EncoderConfig, size: usize) -> Self {
        Self { size, epsilon: config.layer_norm_epsilon, bias: config.biases.norms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_takes_no_name_that_is_there() {
        let mut graph = GraphProto {
            node: vec![NodeProto {
                output: vec!["x/Neg".into()],
                name: Some("x/Neg.2".into()),
                ..NodeProto::default()
            }],
            initializer: vec![TensorProto::of_bytes("ints[1]", ElementType::Int64, &[1], vec![9; 8].into())],
            ..GraphProto::default()
        };
        let mut added = GraphBuilder::adding_to(&graph);
        added.enter("x");
        let axis = added.ints(&[1]);
        let again = added.ints(&[1]);
        let name = added.node("Neg", &[&axis]);
        assert_eq!((axis.as_str(), again.as_str(), name.as_str()), ("ints[1].2", "ints[1].2", "x/Neg.3"));
        added.finish_into(&mut graph);
        assert_eq!((graph.node.len(), graph.initializer.len()), (2, 2));
        assert_eq!(graph.initializer[1].raw_data.as_deref(), Some(1_i64.to_le_bytes().as_slice()));
    }
}
