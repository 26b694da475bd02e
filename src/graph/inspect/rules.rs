//! The shapes that single operators give, after the ONNX standard and ONNX Runtime's own operators. A rule gives nothing
//! where it does not know; it never guesses.

use super::super::onnx::NodeProto;
use super::integers::range_len;
use super::shapes::{Known, product};

/// A shape, where it is known.
type Shape = Option<Vec<i64>>;

/// The attribute of that name, an integer.
pub(super) fn int(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))?.i
}

/// The attribute of that name, a list of integers.
pub(super) fn ints<'n>(node: &'n NodeProto, name: &str) -> Option<&'n [i64]> {
    let attribute = node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))?;
    Some(&attribute.ints)
}

/// An axis counted from the front.
pub(super) fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(rank as i64)? } else { axis };
    usize::try_from(axis).ok().filter(|axis| *axis < rank)
}

/// What is known of a node's outputs; fewer than it has where nothing is.
pub(super) fn outputs(node: &NodeProto, inputs: &[Known]) -> Vec<Known> {
    let standard = node.is_standard();
    let operator = node.op_type.as_deref().unwrap_or_default();
    let shape = |index: usize| inputs.get(index).and_then(|known| known.shape.clone());
    let one = |shape: Shape| vec![Known::of_shape(shape)];
    match operator {
        "Split" if standard => split(node, inputs),
        "DynamicQuantizeLinear" => [shape(0), Some(Vec::new()), Some(Vec::new())].map(Known::of_shape).to_vec(),
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {
            // The sum before the normalization comes last.
            [shape(0), None, None, shape(0)].map(Known::of_shape).to_vec()
        }
        "EmbedLayerNormalization" | "QEmbedLayerNormalization" => one(embedded(inputs)),
        "Attention" | "QAttention" if !standard => one(packed_attention(node, inputs)),
        "MultiHeadAttention" => one(multi_head(inputs)),
        _ => match matrix_inputs(node) {
            Some((left, right)) => one(matmul(node, inputs.get(left), inputs.get(right))),
            None if standard => one(standard_shape(node, operator, inputs)),
            None if ["BiasGelu", "FastGelu", "QuickGelu", "Gelu", "RotaryEmbedding", "BiasSplitGelu"]
                .contains(&operator) =>
            {
                one(shape(0))
            }
            None if operator == "MatMulNBits" => one(packed_matrix(node, inputs)),
            None => Vec::new(),
        },
    }
}

/// The places of the two matrices of an operator that multiplies two.
pub(super) fn matrix_inputs(node: &NodeProto) -> Option<(usize, usize)> {
    match node.op_type.as_deref()? {
        "MatMul"
        | "Gemm"
        | "FusedGemm"
        | "FusedMatMul"
        | "TransposeMatMul"
        | "FusedMatMulActivation"
        | "MatMulInteger"
        | "MatMulInteger16"
        | "DynamicQuantizeMatMul"
        | "MatMulIntegerToFloat"
        | "GemmFloat8" => Some((0, 1)),
        "QLinearMatMul" | "QGemm" => Some((0, 3)),
        _ => None,
    }
}

fn standard_shape(node: &NodeProto, operator: &str, inputs: &[Known]) -> Shape {
    let shape = |index: usize| inputs.get(index).and_then(|known| known.shape.clone());
    match operator {
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Sum" | "Max" | "Min" | "Mean" | "Where" | "Equal" | "Less"
        | "Greater" | "LessOrEqual" | "GreaterOrEqual" | "And" | "Or" | "Xor" | "Mod" | "PRelu" | "BitShift" => {
            broadcast(inputs)
        }
        "Transpose" => transpose(node, &shape(0)?),
        "Reshape" => reshape(node, inputs),
        "Unsqueeze" => unsqueeze(&shape(0)?, axes(node, inputs)?),
        "Squeeze" => squeeze(&shape(0)?, axes(node, inputs).map(<[i64]>::to_vec), inputs.len() > 1),
        "Gather" => {
            let (data, indices) = (shape(0)?, shape(1)?);
            let axis = axis_of(int(node, "axis").unwrap_or(0), data.len())?;
            Some([&data[..axis], &indices, &data[axis + 1..]].concat())
        }
        "GatherElements" => shape(1),
        "Concat" => concat(node, inputs),
        "Slice" => slice(node, inputs),
        "Flatten" => {
            let data = shape(0)?;
            let axis = usize::try_from(int(node, "axis").unwrap_or(1)).ok().filter(|axis| *axis <= data.len())?;
            let side = |sizes: &[i64]| i64::try_from(product(sizes)?).ok();
            Some(vec![side(&data[..axis])?, side(&data[axis..])?])
        }
        "Expand" => {
            let target = Known::of_shape(inputs.get(1)?.ints.clone());
            broadcast(&[inputs.first()?.clone(), target])
        }
        "Tile" => {
            let (data, times) = (shape(0)?, inputs.get(1)?.ints.as_deref()?);
            (data.len() == times.len()).then_some(())?;
            data.iter().zip(times).map(|(size, times)| size.checked_mul(*times)).collect()
        }
        "ConstantOfShape" => inputs.first()?.ints.clone(),
        "Range" => {
            let bound = |index: usize| inputs.get(index)?.ints.as_deref()?.first().copied();
            Some(vec![range_len(bound(0)?, bound(1)?, bound(2)?)?])
        }
        "Shape" => Some(vec![shape(0)?.len() as i64]),
        "Size" => Some(Vec::new()),
        "ArgMax" | "ArgMin" => reduce(node, &shape(0)?, Some(vec![int(node, "axis").unwrap_or(0)])),
        "Conv" => convolution(node, &shape(0)?, &shape(1)?),
        "GlobalAveragePool" | "GlobalMaxPool" => {
            let data = shape(0)?;
            Some(data.iter().enumerate().map(|(place, size)| if place < 2 { *size } else { 1 }).collect())
        }
        "Attention" => standard_attention(inputs),
        _ if operator.starts_with("Reduce") => {
            let listed = axes(node, inputs).map(<[i64]>::to_vec);
            // Axes that are given but can't be told are not "all".
            let told = inputs.get(1).is_none_or(|known| known.ints.is_some() || known.shape.as_deref() == Some(&[0]));
            told.then(|| reduce(node, &shape(0)?, listed))?
        }
        _ if SAME.split(' ').any(|known| known == operator) => shape(0),
        _ => None,
    }
}

/// Standard operators whose first output has the shape of their first input.
const SAME: &str = "Relu Gelu Erf Tanh Sigmoid Sqrt Exp Log Neg Abs Cast CastLike Not Identity Dropout Softmax LogSoftmax Hardmax \
    LayerNormalization RMSNormalization SimplifiedLayerNormalization CumSum Clip Reciprocal QuantizeLinear \
    DequantizeLinear LeakyRelu Elu Selu Celu HardSigmoid HardSwish Mish Softplus Softsign Swish Trilu Sin Cos \
    Floor Ceil Round Sign IsNaN IsInf BatchNormalization InstanceNormalization GroupNormalization LpNormalization \
    ScatterND ScatterElements RotaryEmbedding LRN ThresholdedRelu";

/// Axes from the second input, else from the attribute; `None` where neither says any, or where they can't be told.
fn axes<'n>(node: &'n NodeProto, inputs: &'n [Known]) -> Option<&'n [i64]> {
    match inputs.get(1) {
        Some(known) => known.ints.as_deref(),
        None => ints(node, "axes"),
    }
}

/// The shape of several values put together, sizes of 1 repeated.
pub(super) fn broadcast(inputs: &[Known]) -> Shape {
    let shapes = inputs.iter().map(|known| known.shape.as_deref()).collect::<Option<Vec<_>>>()?;
    let rank = shapes.iter().map(|shape| shape.len()).max()?;
    let size = |place: usize| {
        let mut sizes = shapes.iter().filter_map(|shape| shape.get((place + shape.len()).checked_sub(rank)?));
        sizes.try_fold(1_i64, |size, next| match (size, *next) {
            (size, next) if size == next || next == 1 => Some(size),
            (1, next) => Some(next),
            _ => None,
        })
    };
    (0..rank).map(size).collect()
}

/// The last two sizes of a matrix, turned where an attribute says so.
pub(super) fn matrix(node: &NodeProto, shape: &[i64], turn: &str) -> Option<[i64; 2]> {
    let [.., rows, columns] = *shape else { return None };
    Some(if int(node, turn).unwrap_or(0) == 1 { [columns, rows] } else { [rows, columns] })
}

fn matmul(node: &NodeProto, left: Option<&Known>, right: Option<&Known>) -> Shape {
    let (mut left, mut right) = (left?.shape.clone()?, right?.shape.clone()?);
    // A list of numbers is a row on the left and a column on the right; the size that it gets for that goes again.
    let (row, column) = (left.len() == 1, right.len() == 1);
    if row {
        left.insert(0, 1);
    }
    if column {
        right.push(1);
    }
    let [rows, _] = matrix(node, &left, "transA")?;
    let [_, columns] = matrix(node, &right, "transB")?;
    let stack = |shape: &[i64]| Known::of_shape(Some(shape[..shape.len() - 2].to_vec()));
    let mut shape = broadcast(&[stack(&left), stack(&right)])?;
    shape.extend((!row).then_some(rows));
    shape.extend((!column).then_some(columns));
    Some(shape)
}

fn transpose(node: &NodeProto, shape: &[i64]) -> Shape {
    let Some(order) = ints(node, "perm") else { return Some(shape.iter().rev().copied().collect()) };
    (order.len() == shape.len()).then_some(())?;
    order.iter().map(|place| shape.get(usize::try_from(*place).ok()?).copied()).collect()
}

fn reshape(node: &NodeProto, inputs: &[Known]) -> Shape {
    let from = inputs.first()?.shape.as_deref()?;
    let wanted = inputs.get(1)?.ints.as_deref()?;
    let keeps = int(node, "allowzero").unwrap_or(0) == 0;
    let size = |(place, size): (usize, &i64)| if *size == 0 && keeps { from.get(place).copied() } else { Some(*size) };
    let mut shape = wanted.iter().enumerate().map(size).collect::<Option<Vec<i64>>>()?;
    let Some(open) = shape.iter().position(|size| *size == -1) else { return Some(shape) };
    shape[open] = 1;
    let (all, rest) = (product(from)?, product(&shape)?);
    shape[open] = i64::try_from(all.checked_div(rest)?).ok()?;
    Some(shape)
}

fn unsqueeze(shape: &[i64], axes: &[i64]) -> Shape {
    let rank = shape.len() + axes.len();
    let new = axes.iter().map(|axis| axis_of(*axis, rank)).collect::<Option<Vec<_>>>()?;
    let mut old = shape.iter().copied();
    (0..rank).map(|place| if new.contains(&place) { Some(1) } else { old.next() }).collect()
}

fn squeeze(shape: &[i64], axes: Option<Vec<i64>>, given: bool) -> Shape {
    let gone = match axes {
        Some(axes) => axes.iter().map(|axis| axis_of(*axis, shape.len())).collect::<Option<Vec<_>>>()?,
        None if given => return None,
        None => (0..shape.len()).filter(|place| shape[*place] == 1).collect(),
    };
    Some(shape.iter().enumerate().filter(|(place, _)| !gone.contains(place)).map(|(_, size)| *size).collect())
}

fn concat(node: &NodeProto, inputs: &[Known]) -> Shape {
    let shapes = inputs.iter().map(|known| known.shape.as_deref()).collect::<Option<Vec<_>>>()?;
    let mut shape = shapes.first()?.to_vec();
    let axis = axis_of(int(node, "axis")?, shape.len())?;
    shape[axis] = shapes.iter().try_fold(0_i64, |sum, next| sum.checked_add(*next.get(axis)?))?;
    Some(shape)
}

fn slice(node: &NodeProto, inputs: &[Known]) -> Shape {
    let mut shape = inputs.first()?.shape.clone()?;
    let list = |index: usize, name: &str| match inputs.get(index) {
        Some(known) => known.ints.clone(),
        None => ints(node, name).map(<[i64]>::to_vec),
    };
    let (starts, ends) = (list(1, "starts")?, list(2, "ends")?);
    let axes = list(3, "axes").unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = if inputs.len() > 4 { list(4, "steps")? } else { vec![1; starts.len()] };
    for (place, axis) in axes.iter().enumerate() {
        let axis = axis_of(*axis, shape.len())?;
        let (size, step) = (shape[axis], *steps.get(place)?);
        let bound = |bound: i64| if bound < 0 { bound.saturating_add(size) } else { bound };
        let (start, end) = (bound(*starts.get(place)?), bound(*ends.get(place)?));
        shape[axis] = if step > 0 {
            range_len(start.clamp(0, size), end.clamp(0, size), step)?
        } else if size == 0 {
            0
        } else {
            range_len(start.clamp(0, size - 1), end.clamp(-1, size - 1), step)?
        };
    }
    Some(shape)
}

fn split(node: &NodeProto, inputs: &[Known]) -> Vec<Known> {
    let parts = node.output.len() as i64;
    let shapes = || {
        let shape = inputs.first()?.shape.clone()?;
        let axis = axis_of(int(node, "axis").unwrap_or(0), shape.len())?;
        let listed = match inputs.get(1) {
            Some(known) => Some(known.ints.clone()?),
            None => ints(node, "split").map(<[i64]>::to_vec),
        };
        let even = shape[axis].checked_add(parts - 1)?.checked_div(parts)?;
        let sizes = listed.unwrap_or_else(|| {
            (0..parts).map(|part| if part + 1 < parts { even } else { shape[axis] - even * (parts - 1) }).collect()
        });
        Some(
            sizes
                .into_iter()
                .map(|size| Known::of_shape(Some([&shape[..axis], &[size], &shape[axis + 1..]].concat())))
                .collect(),
        )
    };
    shapes().unwrap_or_default()
}

fn reduce(node: &NodeProto, shape: &[i64], axes: Option<Vec<i64>>) -> Shape {
    let gone = match axes {
        Some(axes) if !axes.is_empty() => {
            axes.iter().map(|axis| axis_of(*axis, shape.len())).collect::<Option<Vec<_>>>()?
        }
        _ if int(node, "noop_with_empty_axes") == Some(1) => return Some(shape.to_vec()),
        _ => (0..shape.len()).collect(),
    };
    let keeps = int(node, "keepdims").unwrap_or(1) == 1;
    let sizes = shape.iter().enumerate().filter(|(place, _)| keeps || !gone.contains(place));
    Some(sizes.map(|(place, size)| if gone.contains(&place) { 1 } else { *size }).collect())
}

fn convolution(node: &NodeProto, data: &[i64], kernel: &[i64]) -> Shape {
    let ([batch, _, sizes @ ..], [channels, _, window @ ..]) = (data, kernel) else { return None };
    let automatic = node.attribute.iter().any(|attribute| {
        attribute.name.as_deref() == Some("auto_pad") && attribute.s.as_deref().is_some_and(|kind| kind != b"NOTSET")
    });
    (!automatic && sizes.len() == window.len()).then_some(())?;
    let option = |name: &str, place: usize, default: i64| {
        ints(node, name).map_or(Some(default), |list| list.get(place).copied())
    };
    let mut shape = vec![*batch, *channels];
    for (place, (size, window)) in sizes.iter().zip(window).enumerate() {
        let padded =
            size.checked_add(option("pads", place, 0)?)?.checked_add(option("pads", place + sizes.len(), 0)?)?;
        let reach = option("dilations", place, 1)?.checked_mul(window.checked_sub(1)?)?.checked_add(1)?;
        shape.push(padded.checked_sub(reach)?.checked_div(option("strides", place, 1)?)?.checked_add(1)?);
    }
    shape.iter().all(|size| *size >= 0).then_some(shape)
}

/// ONNX Runtime's embedding block: ids [batch, sequence] and the table of words, third.
fn embedded(inputs: &[Known]) -> Shape {
    let ids = inputs.first()?.shape.as_deref()?;
    let table = inputs.get(2)?.shape.as_deref()?;
    Some([ids, table.get(1..)?].concat())
}

/// ONNX Runtime's attention with one matrix for queries, keys and values: states [batch, sequence, width].
fn packed_attention(node: &NodeProto, inputs: &[Known]) -> Shape {
    let [batch, sequence, _] = *inputs.first()?.shape.as_deref()? else { return None };
    let sizes = ints(node, "qkv_hidden_sizes").and_then(|sizes| sizes.get(2).copied());
    let columns = *inputs.get(1)?.shape.as_deref()?.get(1)?;
    Some(vec![batch, sequence, sizes.unwrap_or(columns / 3)])
}

fn multi_head(inputs: &[Known]) -> Shape {
    let [batch, sequence, width] = *inputs.first()?.shape.as_deref()? else { return None };
    let values = inputs.get(2)?.shape.as_deref()?;
    Some(vec![batch, sequence, if let [_, _, width] = *values { width } else { width }])
}

fn standard_attention(inputs: &[Known]) -> Shape {
    let (query, value) = (inputs.first()?.shape.as_deref()?, inputs.get(2)?.shape.as_deref()?);
    match (query, value) {
        ([batch, heads, sequence, _], [.., width]) => Some(vec![*batch, *heads, *sequence, *width]),
        // Heads lie side by side; the value's may be wider, which only the number of heads would tell.
        ([_, _, queries], [_, _, values]) if queries == values => Some(query.to_vec()),
        _ => None,
    }
}

/// A matrix packed in blocks of a few bits, with its sizes as attributes.
fn packed_matrix(node: &NodeProto, inputs: &[Known]) -> Shape {
    let mut shape = inputs.first()?.shape.clone()?;
    *shape.last_mut()? = int(node, "N")?;
    Some(shape)
}
