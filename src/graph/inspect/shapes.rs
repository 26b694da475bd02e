//! The shapes of all values for one text of a given length, followed from the inputs node by node. Owns what a free size
//! stands for; the rules of single operators stand in `rules`. Invariant: a shape is known only if every step to it is;
//! shapes have at most `MAX_RANK` sizes, lists of integers at most `MAX_INTS`, so memory follows the number of nodes.

use std::collections::HashMap;

use super::super::onnx::{Dimension, ElementType, GraphProto, NodeProto, TensorProto, TensorTypeProto, ValueInfoProto};
use super::{integers, rules};

/// No operator of an encoder has more dimensions.
const MAX_RANK: usize = 16;
/// A node with more inputs is not followed: what is known of each is held while it is looked at.
const MAX_INPUTS: usize = 1_000;
/// Integers that are followed through shape arithmetic.
const MAX_INTS: usize = 64;

/// What is known of a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Its sizes.
    pub shape: Option<Vec<i64>>,
    /// Its numbers, where it is a short list of integers.
    pub ints: Option<Vec<i64>>,
    /// Whether it is the same for every text.
    pub constant: bool,
}

impl Known {
    pub(super) fn of_shape(shape: Option<Vec<i64>>) -> Self {
        Self { shape, ..Self::default() }
    }

    /// A list of integers, or one without dimensions.
    pub(super) fn of_ints(ints: Option<Vec<i64>>, shape: Option<Vec<i64>>) -> Self {
        let ints = ints.filter(|ints| ints.len() <= MAX_INTS);
        Self { ints, shape, constant: false }
    }

    /// How many elements it has.
    pub(super) fn count(&self) -> Option<u64> {
        product(self.shape.as_deref()?)
    }
}

/// The product of sizes; `None` for a negative one and for what no machine holds.
pub(super) fn product(sizes: &[i64]) -> Option<u64> {
    sizes.iter().try_fold(1_u64, |product, size| product.checked_mul(u64::try_from(*size).ok()?))
}

/// The values of a graph for one length.
pub(super) struct Shapes<'m> {
    known: HashMap<&'m str, Known>,
    /// What the names of free sizes stand for.
    sizes: HashMap<&'m str, i64>,
    declared: HashMap<&'m str, &'m TensorTypeProto>,
}

impl<'m> Shapes<'m> {
    /// All shapes of the graph for one text of `length` tokens; without a length, only fixed sizes and the batch are
    /// known.
    pub(super) fn of(graph: &'m GraphProto, length: Option<u64>) -> Self {
        let types = graph.value_info.iter().chain(&graph.output);
        let declared = types.filter_map(|value| Some((value.name.as_deref()?, value.tensor_type()?))).collect();
        let mut shapes = Self { known: HashMap::new(), sizes: HashMap::new(), declared };
        for input in &graph.input {
            shapes.input(input, length.and_then(|length| i64::try_from(length).ok()));
        }
        for tensor in &graph.initializer {
            shapes.known.insert(tensor.name.as_deref().unwrap_or_default(), of_tensor(tensor));
        }
        for node in &graph.node {
            shapes.node(node);
        }
        shapes
    }

    /// What is known of a node's input; nothing where it is left out.
    pub(super) fn input_of(&self, node: &NodeProto, index: usize) -> Known {
        node.input.get(index).and_then(|name| self.known.get(name.as_str())).cloned().unwrap_or_default()
    }

    /// What is known of all inputs of a node; nothing of those of a node with more than [`MAX_INPUTS`].
    pub(super) fn inputs_of(&self, node: &NodeProto) -> Vec<Known> {
        let count = if node.input.len() > MAX_INPUTS { 0 } else { node.input.len() };
        (0..count).map(|index| self.input_of(node, index)).collect()
    }

    /// What is known of a value.
    pub(super) fn get(&self, name: &str) -> Option<&Known> {
        self.known.get(name)
    }

    /// The first size of an input is the batch, any other free one is the length.
    fn input(&mut self, input: &'m ValueInfoProto, length: Option<i64>) {
        let (Some(name), Some(tensor)) = (input.name.as_deref(), input.tensor_type()) else { return };
        let Some(shape) = tensor.shape.as_ref().filter(|shape| shape.dim.len() <= MAX_RANK) else { return };
        let mut sizes = Vec::new();
        for (place, dimension) in shape.dim.iter().enumerate() {
            let free = if place == 0 { Some(1) } else { length };
            sizes.push(match &dimension.value {
                Some(Dimension::Fixed(size)) => Some(*size).filter(|size| *size >= 0),
                Some(Dimension::Named(name)) if !name.is_empty() => {
                    let known = self.sizes.get(name.as_str()).copied().or(free);
                    if let Some(size) = known {
                        self.sizes.insert(name, size);
                    }
                    known
                }
                _ => free,
            });
        }
        self.known.insert(name, Known::of_shape(sizes.into_iter().collect()));
    }

    fn node(&mut self, node: &'m NodeProto) {
        let inputs = self.inputs_of(node);
        let constant = !inputs.is_empty()
            && node.input.iter().zip(&inputs).all(|(name, known)| name.is_empty() || known.constant)
            || is(node, "Constant");
        let mut outputs = rules::outputs(node, &inputs);
        outputs.resize(node.output.len(), Known::default());
        if let (Some(found), Some(first)) = (integers::compute(node, &inputs), outputs.first_mut()) {
            let shape = first.shape.take().or(found.shape);
            *first = Known::of_ints(found.ints, shape);
        }
        for (name, mut value) in node.output.iter().zip(outputs) {
            value.constant = constant;
            value.shape = value.shape.filter(|shape| shape.len() <= MAX_RANK).or_else(|| self.declared(name));
            if !name.is_empty() {
                self.known.insert(name, value);
            }
        }
    }

    /// The shape that the file itself says, where its names are those of inputs.
    fn declared(&self, name: &str) -> Option<Vec<i64>> {
        let shape = self.declared.get(name)?.shape.as_ref().filter(|shape| shape.dim.len() <= MAX_RANK)?;
        let size = |dimension: &Option<Dimension>| match dimension {
            Some(Dimension::Fixed(size)) => Some(*size).filter(|size| *size >= 0),
            Some(Dimension::Named(name)) => self.sizes.get(name.as_str()).copied(),
            None => None,
        };
        shape.dim.iter().map(|dimension| size(&dimension.value)).collect()
    }
}

/// Whether a node is this operator of the standard set.
pub(super) fn is(node: &NodeProto, operator: &str) -> bool {
    node.op_type.as_deref() == Some(operator) && node.is_standard()
}

/// The shape of a constant, and its numbers if they are a few integers.
pub(super) fn of_tensor(tensor: &TensorProto) -> Known {
    let count = tensor.count();
    let ints = count.filter(|count| *count <= MAX_INTS as u64).and_then(|count| few_integers(tensor, count as usize));
    let shape = (tensor.dims.len() <= MAX_RANK && count.is_some()).then(|| tensor.dims.clone());
    Known { shape, ints, constant: true }
}

fn few_integers(tensor: &TensorProto, count: usize) -> Option<Vec<i64>> {
    let listed: Vec<i64> = match (tensor.element()?, &tensor.raw_data) {
        (ElementType::Int64, Some(raw)) => {
            raw.chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap_or_default())).collect()
        }
        (ElementType::Int32, Some(raw)) => raw
            .chunks_exact(4)
            .map(|bytes| i64::from(i32::from_le_bytes(bytes.try_into().unwrap_or_default())))
            .collect(),
        (ElementType::Bool, Some(raw)) => raw.iter().map(|&byte| byte.into()).collect(),
        (ElementType::Int64, None) => tensor.int64_data.clone(),
        (ElementType::Int32 | ElementType::Bool, None) => tensor.int32_data.iter().map(|&value| value.into()).collect(),
        _ => return None,
    };
    (listed.len() == count).then_some(listed)
}
