//! A linear head as nodes behind `sentence_embedding`. Owns in which numbers and in which order a head is summed.
//!
//! In f32, one product over the whole embedding rounds too often: with heads fitted at C = 100 on 384 dimensions, whose
//! columns are 67 long, probabilities were off by 1.6e-6. Summed in parts of at most [`PART`] columns, each product
//! beginning with the sum of those before it, they are off by a quarter of that. Rounding the weights themselves to f32
//! costs 8e-8. In f64 nothing is lost but the last rounding; not every provider has f64.

use super::builder::{GraphBuilder, Value};
use super::constants::{Constant, Values};
use super::fuse::LinearHead;
use super::onnx::{AttributeProto, ElementType};
use crate::model::{GraphHead, SENTENCE_EMBEDDING, Task};

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
    let shares = match head.task {
        Task::Classification => graph.node_with("Softmax", &[&values], vec![AttributeProto::int("axis", -1)]),
        Task::Multilabel | Task::Regression => graph.node("Sigmoid", &[&values]),
    };
    if head.wide {
        cast(graph, &shares, ElementType::Float);
    }
    graph.rename_last_output(probabilities);
}

/// One product in f64.
fn wide_values(graph: &mut GraphBuilder<'_>, head: &LinearHead) -> Value {
    let (dim, labels) = (head.dim(), head.labels.len());
    let rows = cast(graph, SENTENCE_EMBEDDING, ElementType::Double);
    let weights = graph.constant(constant(head, "weights", (vec![dim, labels], &head.weights)));
    let bias = graph.constant(constant(head, "bias", (vec![labels], &head.bias)));
    graph.node("Gemm", &[&rows, &weights, &bias])
}

/// The bias, then product after product in f32, in the order of the columns.
fn narrow_values(graph: &mut GraphBuilder<'_>, head: &LinearHead) -> Value {
    let (dim, labels) = (head.dim(), head.labels.len());
    let mut sum = graph.constant(constant(head, "bias", (vec![labels], &head.bias)));
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
        sum = graph.node("Gemm", &[&rows, &weights, &sum]);
    }
    sum
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
