//! A linear head as nodes behind `sentence_embedding`. Owns in which numbers and in which order a head is summed.
//!
//! In f32, one product over the whole embedding rounds too often: with heads fitted at C = 100 on 384 dimensions, whose
//! columns are 67 long, probabilities were off by 1.6e-6. Summed in parts of at most [`PART`] columns, each product added
//! to the sum of those before it and the bias to them all, they are off by a quarter of that. Rounding the weights themselves to f32
//! costs 8e-8. In f64 nothing is lost but the last rounding; not every provider has f64.

use super::builder::{GraphBuilder, Value};
use super::constants::{Constant, Values};
use super::fuse::LinearHead;
use super::onnx::{AttributeProto, ElementType};
use crate::model::{GraphHead, HeadActivation, SENTENCE_EMBEDDING};

/// Columns of the embedding that one product adds up at most. A product gives a row the same bits alone and in a batch.
const PART: usize = 96;

/// Adds the head; its outputs are called as `described` says.
pub(super) fn add(graph: &mut GraphBuilder<'_>, head: &LinearHead, described: &GraphHead) {
    graph.enter(format!("head.{}", head.name));
    let values = if head.wide { wide_values(graph, head) } else { narrow_values(graph, head) };
    let values = if head.wide {
        cast(graph, &values, ElementType::Float);
        values
    } else {
        described.logits.clone()
    };
    graph.rename_last_output(&described.logits);
    let Some(probabilities) = &described.probabilities else { return };
    let shares = match head.activation {
        HeadActivation::None => return,
        HeadActivation::Softmax => softmax(graph, &values),
        HeadActivation::Sigmoid => graph.node("Sigmoid", &[&values]),
        HeadActivation::NormalizedSigmoid => normalized_sigmoid(graph, &values, head),
    };
    if head.wide {
        cast(graph, &shares, ElementType::Float);
    }
    graph.rename_last_output(probabilities);
}

fn softmax(graph: &mut GraphBuilder<'_>, values: &str) -> Value {
    graph.node_with("Softmax", &[values], vec![AttributeProto::int("axis", -1)])
}

/// Sigmoids over their sum. As σ(x) = e^min(x, 0) · σ(|x|), the part that could vanish is that of a softmax, and no row
/// is divided by nothing.
fn normalized_sigmoid(graph: &mut GraphBuilder<'_>, values: &str, head: &LinearHead) -> Value {
    let zero = graph.constant(constant(head, "zero", (Vec::new(), &[0.0])));
    let below = graph.node("Min", &[values, &zero]);
    let shares = softmax(graph, &below);
    let size = graph.node("Abs", &[values]);
    let beside = graph.node("Sigmoid", &[&size]);
    let parts = graph.node("Mul", &[&shares, &beside]);
    // A product gives a row the same bits wherever it lies in a batch, which ReduceSum does not.
    let labels = head.labels.len();
    let ones = graph.constant(constant(head, "ones", (vec![labels, 1], &vec![1.0; labels])));
    let sum = graph.node("Gemm", &[&parts, &ones]);
    graph.node("Div", &[&parts, &sum])
}

/// One product in f64.
fn wide_values(graph: &mut GraphBuilder<'_>, head: &LinearHead) -> Value {
    let (dim, labels) = (head.dim(), head.labels.len());
    let rows = cast(graph, SENTENCE_EMBEDDING, ElementType::Double);
    let weights = graph.constant(constant(head, "weights", (vec![dim, labels], &head.weights)));
    let bias = graph.constant(constant(head, "bias", (vec![labels], &head.bias)));
    graph.node("Gemm", &[&rows, &weights, &bias])
}

/// Product after product in f32, in the order of the columns, and then the bias, which is the largest for numbers such as
/// years.
fn narrow_values(graph: &mut GraphBuilder<'_>, head: &LinearHead) -> Value {
    let (dim, labels) = (head.dim(), head.labels.len());
    let bias = graph.constant(constant(head, "bias", (vec![labels], &head.bias)));
    let mut sum: Option<Value> = None;
    let columns = dim.div_ceil(dim.div_ceil(PART));
    for (part, weights) in head.weights.chunks(columns * labels).enumerate() {
        let (first, count) = (part * columns, weights.len() / labels);
        let (mut name, mut rows) = ("weights".to_owned(), SENTENCE_EMBEDDING.to_owned());
        if count < dim {
            let [from, to, axis] = [first, first + count, 1].map(|number| graph.ints(&[number as i64]));
            rows = graph.node("Slice", &[SENTENCE_EMBEDDING, &from, &to, &axis]);
            name = format!("weights.{part}");
        }
        let weights = graph.constant(constant(head, &name, (vec![count, labels], weights)));
        let added = if count == dim { Some(&bias) } else { sum.as_ref() };
        let inputs: Vec<&str> =
            [Some(&rows), Some(&weights), added].into_iter().flatten().map(String::as_str).collect();
        sum = Some(graph.node("Gemm", &inputs));
    }
    match sum {
        Some(parts) if columns < dim => graph.node("Add", &[&parts, &bias]),
        Some(whole) => whole,
        None => bias,
    }
}

fn constant<'a>(head: &LinearHead, part: &str, (shape, values): (Vec<usize>, &[f64])) -> Constant<'a> {
    let (element, bytes) = if head.wide {
        (ElementType::Double, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    } else {
        (ElementType::Float, values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect())
    };
    Constant { name: format!("head.{}.{part}", head.name), element, shape, values: Values::Bytes(bytes) }
}

fn cast(graph: &mut GraphBuilder<'_>, input: &str, to: ElementType) -> Value {
    graph.node_with("Cast", &[input], vec![AttributeProto::int("to", to as i64)])
}
