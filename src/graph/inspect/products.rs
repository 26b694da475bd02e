//! What single operators cost: multiplications and additions of products, each counted as one operation. Other operators
//! take a few per cent beside them and don't count.

use super::super::onnx::{GraphProto, NodeProto};
use super::rules::{broadcast, int, ints, matrix, matrix_inputs};
use super::shapes::{Known, Shapes, is, product};

/// What a node's products cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flops {
    /// Products with weights.
    pub linear: u64,
    /// Products of values that both come from the text: attention, and the sums of pooling and normalization.
    pub attention: u64,
}

/// What is known of a node's cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Counted {
    /// It multiplies nothing that counts.
    Nothing,
    /// It costs this.
    Flops(Flops),
    /// It has products, and their sizes can't be told; why.
    Unknown(&'static str),
}

/// Operators with products that no rule is known for.
const OTHERS: [&str; 22] = [
    "LSTM",
    "GRU",
    "RNN",
    "ConvTranspose",
    "ConvInteger",
    "QLinearConv",
    "DeformConv",
    "FusedConv",
    "NhwcFusedConv",
    "GroupQueryAttention",
    "PackedAttention",
    "PackedMultiHeadAttention",
    "PagedAttention",
    "SparseAttention",
    "DecoderMaskedMultiHeadAttention",
    "LongformerAttention",
    "QOrderedAttention",
    "QOrderedMatMul",
    "QMoE",
    "MoE",
    "DFT",
    "LinearAttention",
];

/// What one run of a node costs.
pub(super) fn count(node: &NodeProto, shapes: &Shapes<'_>) -> Counted {
    let operator = node.op_type.as_deref().unwrap_or_default();
    let inputs = shapes.inputs_of(node);
    let counted = if let Some((left, right)) = matrix_inputs(node) {
        of_matrices(node, inputs.get(left), inputs.get(right))
    } else if is(node, "Conv") {
        convolution(shapes, node, &inputs)
    } else if operator == "Einsum" {
        einsum(node, &inputs)
    } else if operator == "MatMulNBits" {
        packed_matrix(node, &inputs)
    } else if operator == "MultiHeadAttention" || is(node, "Attention") {
        attention(&inputs)
    } else if operator == "Attention" || operator == "QAttention" {
        packed_attention(node, &inputs)
    } else if OTHERS.contains(&operator) {
        return Counted::Unknown("no rule for this operator");
    } else if node.subgraphs().any(has_products) {
        return Counted::Unknown("how often its subgraph runs is not known");
    } else {
        return Counted::Nothing;
    };
    counted.map_or(Counted::Unknown("the sizes can't be told from the file"), Counted::Flops)
}

/// Whether a graph multiplies matrices anywhere.
fn has_products(graph: &GraphProto) -> bool {
    graph.node.iter().any(multiplies)
}

/// Whether a node is, or holds, an operator that has products.
pub(super) fn multiplies(node: &NodeProto) -> bool {
    let operator = node.op_type.as_deref().unwrap_or_default();
    let known = ["Conv", "Einsum", "MatMulNBits", "MultiHeadAttention", "Attention", "QAttention"];
    matrix_inputs(node).is_some()
        || known.contains(&operator)
        || OTHERS.contains(&operator)
        || node.subgraphs().any(has_products)
}

/// A multiplication and an addition for each element of the result and each of the sum.
fn twice(sizes: &[Option<u64>]) -> Option<u64> {
    sizes.iter().try_fold(2_u64, |product, size| product.checked_mul((*size)?))
}

fn size(size: i64) -> Option<u64> {
    u64::try_from(size).ok()
}

fn linear(flops: u64) -> Flops {
    Flops { linear: flops, ..Flops::default() }
}

fn of_matrices(node: &NodeProto, left: Option<&Known>, right: Option<&Known>) -> Option<Flops> {
    let (left, right) = (left?, right?);
    let (mut a, mut b) = (left.shape.clone()?, right.shape.clone()?);
    if a.len() == 1 {
        a.insert(0, 1);
    }
    if b.len() == 1 {
        b.push(1);
    }
    let [rows, inner] = matrix(node, &a, "transA")?;
    let [_, columns] = matrix(node, &b, "transB")?;
    let stack = |shape: &[i64]| Known::of_shape(Some(shape[..shape.len() - 2].to_vec()));
    let batches = product(&broadcast(&[stack(&a), stack(&b)])?);
    let flops = twice(&[batches, size(rows), size(inner), size(columns)])?;
    Some(if left.constant || right.constant { linear(flops) } else { Flops { attention: flops, linear: 0 } })
}

fn convolution(shapes: &Shapes<'_>, node: &NodeProto, inputs: &[Known]) -> Option<Flops> {
    let output = shapes.get(node.output.first()?)?.count();
    // [outputs, inputs of a group, window ..]: each element of the result sums over all but the first.
    let window = product(inputs.get(1)?.shape.as_deref()?.get(1..)?);
    twice(&[output, window]).map(linear)
}

/// `bij,bjk->bik`: every index runs once.
fn einsum(node: &NodeProto, inputs: &[Known]) -> Option<Flops> {
    let attribute = node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some("equation"))?;
    let equation: Vec<u8> = attribute.s.as_deref()?.iter().copied().filter(|byte| *byte != b' ').collect();
    let end = equation.windows(2).position(|pair| pair == b"->").unwrap_or(equation.len());
    let mut sizes = std::collections::BTreeMap::new();
    for (letters, known) in equation[..end].split(|byte| *byte == b',').zip(inputs) {
        let shape = known.shape.as_deref()?;
        (letters.len() == shape.len() && letters.iter().all(u8::is_ascii_alphabetic)).then_some(())?;
        sizes.extend(letters.iter().copied().zip(shape.iter().copied()));
    }
    let flops = twice(&[product(&sizes.into_values().collect::<Vec<_>>())])?;
    let constant = inputs.iter().any(|known| known.constant);
    Some(if constant { linear(flops) } else { Flops { attention: flops, linear: 0 } })
}

fn packed_matrix(node: &NodeProto, inputs: &[Known]) -> Option<Flops> {
    let [stack @ .., _] = inputs.first()?.shape.as_deref()? else { return None };
    twice(&[product(stack), size(int(node, "K")?), size(int(node, "N")?)]).map(linear)
}

/// Scores and context: queries [batch, rows, width], keys and values [batch, sequence, width], or each with its heads
/// apart, [batch, heads, rows, width].
fn attention(inputs: &[Known]) -> Option<Flops> {
    let shape = |index: usize| inputs.get(index).and_then(|known| known.shape.as_deref());
    let (queries, keys, values) = (shape(0)?, shape(1)?, shape(2)?);
    let [stack @ .., rows, width] = queries else { return None };
    let ([.., sequence, _], [.., value_width]) = (keys, values) else { return None };
    let scores = twice(&[product(stack), size(*rows), size(*sequence), size(*width)])?;
    let context = twice(&[product(stack), size(*rows), size(*sequence), size(*value_width)])?;
    Some(Flops { linear: 0, attention: scores.checked_add(context)? })
}

fn packed_attention(node: &NodeProto, inputs: &[Known]) -> Option<Flops> {
    let shape = |index: usize| inputs.get(index).and_then(|known| known.shape.as_deref());
    let [batch, sequence, width] = *shape(0)? else { return None };
    let columns = *shape(1)?.get(1)?;
    let [queries, values] = match ints(node, "qkv_hidden_sizes") {
        Some([queries, _, values]) => [*queries, *values],
        _ => [columns / 3, columns / 3],
    };
    let (batch, sequence) = (size(batch), size(sequence));
    let scores = twice(&[batch, sequence, sequence, size(queries)])?;
    let context = twice(&[batch, sequence, sequence, size(values)])?;
    let linear = twice(&[batch, sequence, size(width), size(columns)])?;
    Some(Flops { linear, attention: scores.checked_add(context)? })
}
