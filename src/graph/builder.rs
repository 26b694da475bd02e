//! Puts nodes and constants together. Owns naming: an output is called like its node, `<scope>/<op type>`, numbered
//! where that name is taken, so that a message of ONNX Runtime can be traced to a place in the encoder. Knows no
//! architecture.

use std::collections::{HashMap, HashSet};

use crate::model::{self, Tensor, WeightsFile};

use super::constants::{Constant, Values};
use super::onnx::{AttributeProto, ElementType, NodeProto, ValueInfoProto};

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
}

/// A value in the graph, by its name.
pub(super) type Value = String;

#[derive(Debug)]
pub(super) struct GraphBuilder<'a> {
    weights: &'a WeightsFile,
    nodes: Vec<NodeProto>,
    constants: Vec<Constant<'a>>,
    known: HashSet<String>,
    uses: HashMap<String, usize>,
    scope: String,
    parameters: u64,
}

impl<'a> GraphBuilder<'a> {
    pub(super) fn new(weights: &'a WeightsFile) -> Self {
        Self {
            weights,
            nodes: Vec::new(),
            constants: Vec::new(),
            known: HashSet::new(),
            uses: HashMap::new(),
            scope: String::new(),
            parameters: 0,
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
        let plain = format!("{}/{op_type}", self.scope);
        let uses = self.uses.entry(plain.clone()).or_default();
        *uses += 1;
        let name = if *uses == 1 { plain } else { format!("{plain}.{uses}") };
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![name.clone()],
            name: Some(name.clone()),
            op_type: Some(op_type.to_owned()),
            attribute,
        });
        name
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

    /// A constant f64 without dimensions.
    pub(super) fn double(&mut self, value: f64) -> Value {
        let values = Values::Bytes(value.to_le_bytes().to_vec());
        self.constant(Constant {
            name: format!("double({value:e})"),
            element: ElementType::Double,
            shape: vec![],
            values,
        })
    }

    /// The checkpoint's tensor of that name and shape, counted among the parameters.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor<'a>, model::Error> {
        let tensor = self.weights.tensor(name, shape)?;
        self.parameters += shape.iter().map(|size| *size as u64).product::<u64>();
        Ok(tensor)
    }

    /// A tensor of the checkpoint as it is stored, each value times `scale`.
    pub(super) fn weight(&mut self, name: &str, shape: &[usize], scale: f32) -> Result<Value, model::Error> {
        let tensor = self.tensor(name, shape)?;
        Ok(self.weights_constant(name, shape.to_vec(), Values::Stored { tensor, scale }))
    }

    /// A constant of f32 that is made of checkpoint tensors.
    pub(super) fn weights_constant(&mut self, name: &str, shape: Vec<usize>, values: Values<'a>) -> Value {
        self.constant(Constant { name: name.to_owned(), element: ElementType::Float, shape, values })
    }

    /// `input` [.., in] times the matrix `<name>.weight` (stored [out, in]) plus `<name>.bias`, both times `scale`.
    pub(super) fn linear(&mut self, input: &str, name: &str, sizes: Linear) -> Result<Value, model::Error> {
        let Linear { inputs, outputs, scale } = sizes;
        let matrix_name = format!("{name}.weight");
        let tensor = self.tensor(&matrix_name, &[outputs, inputs])?;
        let values = Values::Transposed { tensor, scale };
        let matrix = self.weights_constant(&matrix_name, vec![inputs, outputs], values);
        let bias = self.weight(&format!("{name}.bias"), &[outputs], scale)?;
        let product = self.node("MatMul", &[input, &matrix]);
        Ok(self.node("Add", &[&product, &bias]))
    }

    /// Ends the building.
    pub(super) fn finish(self, name: &str, inputs: Vec<ValueInfoProto>, outputs: Vec<ValueInfoProto>) -> Graph<'a> {
        let Self { nodes, constants, parameters, .. } = self;
        Graph { name: name.to_owned(), nodes, constants, inputs, outputs, parameters }
    }

    fn constant(&mut self, constant: Constant<'a>) -> Value {
        let name = constant.name.clone();
        if self.known.insert(name.clone()) {
            self.constants.push(constant);
        }
        name
    }
}

/// Sizes of a linear layer, and a factor that its weights and bias are multiplied with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear {
    pub inputs: usize,
    pub outputs: usize,
    pub scale: f32,
}

impl Linear {
    pub(super) fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, scale: 1.0 }
    }
}
