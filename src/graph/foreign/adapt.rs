//! Fits a foreign graph between the two inputs that a session feeds and the outputs that it reads: casts, token types
//! and positions before it, pooling, normalization and probabilities behind it. No node that is added computes with
//! shapes. What no output needs any more is left out.

use std::collections::HashMap;

use super::layout::{INPUTS, Layout, Row, Source};
use super::names;
use crate::graph::attention::AttentionMask;
use crate::graph::builder::{GraphBuilder, Value};
use crate::graph::encoder::Ending;
use crate::graph::onnx::{AttributeProto, Dimension, ElementType, GraphProto, ValueInfoProto};
use crate::graph::pooling;
use crate::model::{ATTENTION_MASK, INPUT_IDS, LOGITS, PROBABILITIES, SENTENCE_EMBEDDING, Task};

pub(super) const POSITION_IDS: &str = "position_ids";

/// What a graph is to become.
pub(super) struct Adapted<'l> {
    pub layout: &'l Layout,
    pub ending: Ending,
    /// Length of an embedding.
    pub dim: usize,
    /// The position of the first token.
    pub first_position: usize,
    /// What the scores mean and how many there are, where there are scores.
    pub task: Option<(Task, usize)>,
    /// Token states that are to be pooled either way behind a ready embedding.
    pub beside: Option<&'l Row>,
}

/// Changes the graph, whose names and constants have been checked.
pub(super) fn adapt(graph: &mut GraphProto, wanted: &Adapted<'_>) {
    let Layout { source, logits, .. } = wanted.layout;
    let vectors = if wanted.beside.is_some() { 3 } else { 1 };
    feed(graph, wanted);
    let room = make_room(graph);
    let renamed = |row: &Row| Row { name: room.get(row.name.as_str()).unwrap_or(&row.name).clone(), ..row.clone() };
    let logits = logits.as_ref().map(renamed);
    let (Source::States(row) | Source::Ready(row)) = source;
    let row = renamed(row);
    let beside = wanted.beside.map(renamed);

    let mut added = GraphBuilder::adding_to(graph);
    added.enter("pooling");
    let value = floats(&mut added, &row);
    match (source, &beside) {
        (Source::States(_), _) => {
            let mask = AttentionMask::new(&mut added);
            pooling::pool(&mut added, &value, &mask, wanted.ending);
        }
        (Source::Ready(_), Some(states)) => both_ways(&mut added, &value, states),
        (Source::Ready(_), None) if wanted.ending.normalize => {
            pooling::normalize(&mut added, &value);
        }
        (Source::Ready(_), None) => {
            added.node("Identity", &[&value]);
        }
    }
    added.rename_last_output(SENTENCE_EMBEDDING);
    let mut outputs = vec![output(SENTENCE_EMBEDDING, vectors * wanted.dim)];
    if let (Some(row), Some((task, labels))) = (&logits, wanted.task) {
        added.enter("head");
        outputs.extend(answers(&mut added, row, (task, labels)));
    }
    added.finish_into(graph);
    graph.output = outputs;
    names::prune(graph);
}

/// An embedding, and behind it what either pooling makes of the states.
fn both_ways(added: &mut GraphBuilder<'_>, embedding: &str, states: &Row) {
    let states = floats(added, states);
    let mask = AttentionMask::new(added);
    let [first, mean] = pooling::either(added, &states, &mask);
    added.node_with("Concat", &[embedding, &first, &mean], vec![AttributeProto::int("axis", 1)]);
}

/// Values that go by the names of our outputs get others; gives those.
fn make_room(graph: &mut GraphProto) -> HashMap<&'static str, String> {
    [SENTENCE_EMBEDDING, LOGITS, PROBABILITIES]
        .into_iter()
        .map(|name| {
            let other = names::free(graph, &format!("{name}.source"));
            names::rename(graph, name, &other);
            (name, other)
        })
        .collect()
}

/// Makes every input of the graph out of int64 `input_ids` and `attention_mask`.
fn feed(graph: &mut GraphProto, wanted: &Adapted<'_>) {
    let mut casts = Vec::new();
    for name in [INPUT_IDS, ATTENTION_MASK] {
        if wanted.layout.inputs.get(name) == Some(&ElementType::Int32) {
            let narrow = names::free(graph, &format!("{name}.int32"));
            names::rename(graph, name, &narrow);
            casts.push((name, narrow));
        }
    }
    let mut added = GraphBuilder::adding_to(graph);
    added.enter("inputs");
    for (name, narrow) in &casts {
        cast(&mut added, name, ElementType::Int32);
        added.rename_last_output(narrow);
    }
    for name in &INPUTS[2..] {
        let Some(element) = wanted.layout.inputs.get(*name) else { continue };
        let wide = if *name == POSITION_IDS { positions(&mut added, wanted.first_position) } else { zeros(&mut added) };
        if *element == ElementType::Int32 {
            cast(&mut added, &wide, ElementType::Int32);
        }
        added.rename_last_output(name);
    }
    let mut before = GraphProto::default();
    added.finish_into(&mut before);
    graph.node.splice(0..0, before.node);
    graph.initializer.extend(before.initializer);
    let sizes = || ["batch", "sequence"].map(|name| Dimension::Named(name.to_owned())).to_vec();
    graph.input =
        [INPUT_IDS, ATTENTION_MASK].map(|name| ValueInfoProto::tensor(name, ElementType::Int64, sizes())).to_vec();
    // They may still be listed as values of another type.
    graph.value_info.retain(|value| !value.name.as_deref().is_some_and(|name| INPUTS.contains(&name)));
}

/// Token type 0 for every token.
fn zeros(added: &mut GraphBuilder<'_>) -> Value {
    added.node("Sub", &[INPUT_IDS, INPUT_IDS])
}

/// The place of each token among those that are no padding, counted from `first` on.
fn positions(added: &mut GraphBuilder<'_>, first: usize) -> Value {
    let [axis, one, none] = [1, 1, 0].map(|value| added.int(value));
    let counted = added.node("CumSum", &[ATTENTION_MASK, &axis]);
    let from_zero = added.node("Sub", &[&counted, &one]);
    // A row of padding alone counts to 0.
    let place = added.node("Max", &[&from_zero, &none]);
    let first = added.int(first as i64);
    added.node("Add", &[&place, &first])
}

/// Scores as float32, and what they say about the labels.
fn answers(added: &mut GraphBuilder<'_>, scores: &Row, (task, labels): (Task, usize)) -> Vec<ValueInfoProto> {
    if scores.element == Some(ElementType::Float) {
        added.node("Identity", &[&scores.name]);
    } else {
        cast(added, &scores.name, ElementType::Float);
    }
    added.rename_last_output(LOGITS);
    let mut outputs = vec![output(LOGITS, labels)];
    match task {
        Task::Classification => added.node_with("Softmax", &[LOGITS], vec![AttributeProto::int("axis", -1)]),
        Task::Multilabel => added.node("Sigmoid", &[LOGITS]),
        Task::Regression => return outputs,
    };
    added.rename_last_output(PROBABILITIES);
    outputs.push(output(PROBABILITIES, labels));
    outputs
}

/// A value as float32; one inside the graph, whose type is not known, is cast in any case.
fn floats(added: &mut GraphBuilder<'_>, row: &Row) -> Value {
    if row.element == Some(ElementType::Float) { row.name.clone() } else { cast(added, &row.name, ElementType::Float) }
}

fn cast(added: &mut GraphBuilder<'_>, value: &str, to: ElementType) -> Value {
    added.node_with("Cast", &[value], vec![AttributeProto::int("to", to as i64)])
}

fn output(name: &str, size: usize) -> ValueInfoProto {
    let row = vec![Dimension::Named("batch".to_owned()), Dimension::Fixed(size as i64)];
    ValueInfoProto::tensor(name, ElementType::Float, row)
}
