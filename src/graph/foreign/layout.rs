//! What an encoder's file offers, found by names and types: its inputs, and the output that the embedding is made of.
//! Never guesses: what could be meant in two ways is an error that lists what was seen, and `--onnx-output` decides.

use std::collections::HashMap;
use std::path::Path;

use super::Error;
use crate::graph::onnx::{Dimension, ElementType, GraphProto, NodeProto, TensorProto, ValueInfoProto};
use crate::model::{ATTENTION_MASK, INPUT_IDS, LOGITS, SENTENCE_EMBEDDING};

/// What exporters call the states of all tokens.
const STATES: [&str; 2] = ["last_hidden_state", "token_embeddings"];

/// The inputs that are understood, each int64 or int32 [batch, sequence].
pub(super) const INPUTS: [&str; 4] = [INPUT_IDS, ATTENTION_MASK, "token_type_ids", "position_ids"];
/// Those of them that a file must have.
const REQUIRED: [&str; 2] = [INPUT_IDS, ATTENTION_MASK];

/// How a file is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// The types of its inputs, by name.
    pub inputs: HashMap<String, ElementType>,
    /// Where the embedding comes from.
    pub source: Source,
    /// The scores of a classifier.
    pub logits: Option<Row>,
}

/// A value that the embedding is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Token states, [batch, sequence, size].
    States(Row),
    /// One row per text, [batch, size].
    Ready(Row),
}

/// A value whose last axis has a size that may be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub name: String,
    /// Not known for a value inside the graph.
    pub element: Option<ElementType>,
    pub size: Option<usize>,
}

/// Finds inputs and outputs. `asked` names the output, or a value inside the graph whose shape the file says.
pub(super) fn find(path: &Path, graph: &GraphProto, asked: Option<&str>) -> Result<Layout, Error> {
    let finder = Finder { path, graph };
    let inputs = finder.inputs()?;
    let logits = finder.output(LOGITS).filter(|value| rank(value) == Some(2) && is_float(value)).map(row);
    let source = match asked {
        Some(name) => finder.asked(name)?,
        None => finder.source(logits.as_ref())?,
    };
    let used = |row: &Row| asked.is_some() && matches!(&source, Source::Ready(ready) if ready.name == row.name);
    Ok(Layout { inputs, logits: logits.filter(|row| !used(row)), source })
}

struct Finder<'f> {
    path: &'f Path,
    graph: &'f GraphProto,
}

impl Finder<'_> {
    fn inputs(&self) -> Result<HashMap<String, ElementType>, Error> {
        let mut found = HashMap::new();
        for input in self.graph.true_inputs() {
            let name = name_of(input);
            if !INPUTS.contains(&name) {
                return Err(self.error(format!("reads `{name}`"), format!("only {}", quoted(&INPUTS))));
            }
            let element = input.tensor_type().and_then(|tensor| tensor.element());
            let element = element.filter(|element| [ElementType::Int64, ElementType::Int32].contains(element));
            let free = input.tensor_type().is_some_and(|tensor| match &tensor.shape {
                None => true,
                Some(shape) => {
                    let fixed = |size: &Option<Dimension>| matches!(size, Some(Dimension::Fixed(_)));
                    shape.dim.len() == 2 && !shape.dim.iter().any(|dim| fixed(&dim.value))
                }
            });
            let (Some(element), true) = (element, free) else {
                let expected = "int64 or int32 of shape [batch, sequence], both free: export it with dynamic axes";
                return Err(self.error(format!("reads `{name}` as {}", type_of(input)), expected.to_owned()));
            };
            found.insert(name.to_owned(), element);
        }
        match REQUIRED.iter().find(|name| !found.contains_key(**name)) {
            Some(name) => Err(self.error(format!("has no input `{name}`"), quoted(&REQUIRED))),
            None => Ok(found),
        }
    }

    fn output(&self, name: &str) -> Option<&ValueInfoProto> {
        self.graph.output.iter().find(|output| name_of(output) == name)
    }

    fn asked(&self, name: &str) -> Result<Source, Error> {
        let inner = || self.graph.value_info.iter().find(|value| name_of(value) == name);
        let Some(value) = self.output(name).or_else(inner) else {
            return Err(self.error(format!("has no output `{name}`"), "one of its outputs".to_owned()));
        };
        match rank(value).filter(|_| is_float(value)) {
            Some(3) => Ok(Source::States(row(value))),
            Some(2) => Ok(Source::Ready(row(value))),
            _ => {
                let expected = "numbers of shape [batch, sequence, size] or [batch, size]".to_owned();
                Err(self.error(format!("gives `{name}` as {}", type_of(value)), expected))
            }
        }
    }

    fn source(&self, logits: Option<&Row>) -> Result<Source, Error> {
        if let Some(states) = states_among_outputs(self.graph) {
            return Ok(Source::States(states));
        }
        let expected = || {
            let states = STATES.map(|name| format!("`{name}`")).join(", ");
            format!(
                "token states ({states}, or one output of shape [batch, sequence, size]), `{SENTENCE_EMBEDDING}` \
                 [batch, size], or a classifier's `{LOGITS}` [batch, labels]"
            )
        };
        let several: Vec<&ValueInfoProto> = unnamed_states(self.graph).collect();
        if !several.is_empty() {
            let names: Vec<&str> = several.iter().map(|output| name_of(output)).collect();
            return Err(
                self.error(format!("has several outputs that could be token states ({})", quoted(&names)), expected())
            );
        }
        if let Some(ready) = floats_of_rank(self.graph, 2).find(|output| name_of(output) == SENTENCE_EMBEDDING) {
            return Ok(Source::Ready(row(ready)));
        }
        let Some(logits) = logits else {
            return Err(self.error("has no output that an embedding could be made of".to_owned(), expected()));
        };
        let states = rows_of_head(self.graph, &logits.name).ok_or_else(|| {
            let problem = "gives a classifier's scores alone, and it can't be seen which token states they are made of";
            self.error(problem.to_owned(), expected())
        })?;
        Ok(Source::States(Row { name: states, element: None, size: None }))
    }

    fn error(&self, problem: String, expected: String) -> Error {
        let list = |values: &mut dyn Iterator<Item = &ValueInfoProto>| {
            values.map(|value| format!("`{}`: {}", name_of(value), type_of(value))).collect::<Box<[String]>>()
        };
        Error::Layout {
            path: self.path.to_owned(),
            problem,
            expected,
            inputs: list(&mut self.graph.true_inputs()),
            outputs: list(&mut self.graph.output.iter()),
        }
    }
}

/// The output with token states: by its name, else the only one of their shape.
pub(super) fn states_among_outputs(graph: &GraphProto) -> Option<Row> {
    let named = STATES.iter().find_map(|name| floats_of_rank(graph, 3).find(|output| name_of(output) == *name));
    let mut unnamed = unnamed_states(graph);
    let single = unnamed.next().filter(|_| unnamed.next().is_none());
    named.or(single).map(row)
}

/// Outputs that may be token states, whatever they are called.
fn unnamed_states(graph: &GraphProto) -> impl Iterator<Item = &ValueInfoProto> {
    floats_of_rank(graph, 3).filter(|output| name_of(output) != LOGITS)
}

fn floats_of_rank(graph: &GraphProto, wanted: usize) -> impl Iterator<Item = &ValueInfoProto> {
    graph.output.iter().filter(move |output| rank(output) == Some(wanted) && is_float(output))
}

/// The token states that a classifier's head reads the first of: back from its scores through the operators of a head,
/// to one Gather of place 0 on axis 1.
fn rows_of_head(graph: &GraphProto, logits: &str) -> Option<String> {
    const OF_A_HEAD: [&str; 16] = [
        "Gemm",
        "MatMul",
        "Add",
        "Mul",
        "Div",
        "Sub",
        "Pow",
        "Tanh",
        "Erf",
        "Gelu",
        "Relu",
        "Sigmoid",
        "Dropout",
        "Identity",
        "Cast",
        "LayerNormalization",
    ];
    const MOST_STEPS: usize = 64;
    let makers: HashMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node))).collect();
    let mut open = vec![logits];
    let mut states = None;
    for _ in 0..MOST_STEPS {
        let Some(name) = open.pop() else { return states.map(str::to_owned) };
        // Constants have no maker, or a node without inputs.
        let Some(node) = makers.get(name).filter(|node| !node.input.is_empty()) else { continue };
        let kind = node.op_type.as_deref().unwrap_or_default();
        if OF_A_HEAD.contains(&kind) {
            open.extend(node.input.iter().map(String::as_str));
            continue;
        }
        let axis = node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some("axis"));
        let [rows, place] = node.input.as_slice() else { return None };
        let first = kind == "Gather" && axis.and_then(|axis| axis.i) == Some(1) && is_zero(graph, &makers, place);
        if !first || states.is_some_and(|states| states != rows.as_str()) {
            return None;
        }
        states = Some(rows.as_str());
    }
    None
}

/// Whether a value is the constant 0.
fn is_zero(graph: &GraphProto, makers: &HashMap<&str, &NodeProto>, name: &str) -> bool {
    let stored = graph.initializer.iter().find(|tensor| tensor.name.as_deref() == Some(name));
    let made = || makers.get(name)?.attribute.iter().find_map(|attribute| attribute.t.as_deref());
    let zero = |tensor: &TensorProto| {
        let bytes = tensor.raw_data.clone().unwrap_or_else(|| tensor.typed_bytes().into());
        tensor.element() == Some(ElementType::Int64) && bytes.as_ref() == [0; 8].as_slice()
    };
    stored.or_else(made).is_some_and(zero)
}

fn row(value: &ValueInfoProto) -> Row {
    let tensor = value.tensor_type();
    let last = tensor.and_then(|tensor| tensor.shape.as_ref()?.dim.last()?.value.clone());
    let size = match last {
        Some(Dimension::Fixed(size)) => usize::try_from(size).ok().filter(|size| *size > 0),
        _ => None,
    };
    Row { name: name_of(value).to_owned(), element: tensor.and_then(|tensor| tensor.element()), size }
}

fn rank(value: &ValueInfoProto) -> Option<usize> {
    Some(value.tensor_type()?.shape.as_ref()?.dim.len())
}

fn is_float(value: &ValueInfoProto) -> bool {
    let element = value.tensor_type().and_then(|tensor| tensor.element());
    element.is_some_and(|element| {
        [ElementType::Float, ElementType::Float16, ElementType::Bfloat16, ElementType::Double].contains(&element)
    })
}

fn name_of(value: &ValueInfoProto) -> &str {
    value.name.as_deref().unwrap_or_default()
}

fn type_of(value: &ValueInfoProto) -> String {
    value.r#type.as_ref().map_or_else(|| "of no type".to_owned(), ToString::to_string)
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of old formats list every constant among the inputs. Looked for one by one, this many would take minutes.
    #[test]
    fn constants_among_the_inputs_are_told_apart_however_many_there_are() {
        const MANY: usize = 150_000;
        let free = || ["batch", "sequence"].map(|name| Dimension::Named(name.to_owned())).to_vec();
        let states = [free(), vec![Dimension::Fixed(8)]].concat();
        let names = (0..MANY).map(|number| format!("encoder.layer.weight.{number}"));
        let listed = |name: String| ValueInfoProto::tensor(&name, ElementType::Float, vec![Dimension::Fixed(1)]);
        let inputs = REQUIRED.map(|name| ValueInfoProto::tensor(name, ElementType::Int64, free()));
        let graph = GraphProto {
            initializer: names.clone().map(|name| TensorProto { name: Some(name), ..TensorProto::default() }).collect(),
            input: names.map(listed).chain(inputs).collect(),
            output: vec![ValueInfoProto::tensor(STATES[0], ElementType::Float, states)],
            ..GraphProto::default()
        };
        let layout = find(Path::new("model.onnx"), &graph, None).unwrap();
        assert_eq!(layout.inputs.len(), REQUIRED.len());
        assert!(matches!(layout.source, Source::States(row) if row.size == Some(8)));
    }
}
