//! The fp32 graph with outputs that show what stands before its matrices: three rows for each matrix, however long the
//! texts are. Owns what is known of a matrix without running anything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::super::builder::Graph;
use super::super::constants::{Constant, Problem, Scratch, Values};
use super::super::onnx::{AttributeProto, Dimension, ElementType, NodeProto, ValueInfoProto};
use super::super::{Error, ExportOptions, export};
use super::products::{is, producers, products};
use super::weights::floats;
use crate::model::Checkpoint;

/// A matrix that can be multiplied in int8.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// The name in the plan.
    pub name: String,
    /// What it multiplies, by a name: matrices of the same input share its integers, so choose all of them or none.
    pub input: String,
    /// Channels of the input.
    pub inputs: usize,
    /// Columns.
    pub outputs: usize,
    /// The output with the lowest number of each channel, f32 `[inputs]`, over all rows of the run, also those of padding.
    pub lowest: String,
    /// The output with the highest.
    pub highest: String,
    /// The output with the mean.
    pub mean: String,
    /// Whether it multiplies a row for each token; else only the first rows of each text.
    pub per_token: bool,
    /// What kind of numbers it multiplies.
    pub(super) reads: Reads,
    /// The largest weight of each channel without its sign, over all matrices of the same input: [inputs].
    pub(super) peaks: Vec<f32>,
}

/// What kind of numbers a matrix multiplies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reads {
    /// Rows out of a layer normalization, whose channels differ by much.
    Normalized,
    /// Numbers that are never below this one.
    Above(f32),
    /// Averages of other rows, as attention makes them.
    Averages,
    Other,
}

/// The least value of GELU is −0.16997, that of its approximation by tanh −0.17004.
const LEAST_GELU: f32 = -0.1701;
/// The least value of x · sigmoid(x) is −0.27846.
const LEAST_SILU: f32 = -0.2785;

/// What a `Slice` to the first rows of each text reads behind its value: start, end and axis.
const FIRST_ROWS: [&str; 3] = ["ints[0]", "ints[2]", "ints[1]"];

/// Writes the fp32 graph of an export with three further outputs for each matrix, without metadata, and gives the
/// matrices. Weights that would make it larger than `options.largest_graph` bytes lie beside it, in a file with `.data`
/// behind its name. Run it on texts without padding.
///
/// # Errors
/// A checkpoint that cannot be read, and a file that cannot be written.
pub fn write_calibration(options: &ExportOptions, path: &Path) -> Result<Vec<Matrix>, Error> {
    let checkpoint = Checkpoint::open(&options.checkpoint)?;
    let opened = export::adapters(&checkpoint, options)?;
    let mut graph = export::original((&checkpoint, &opened), export::ending(&checkpoint, options)?)?;
    let matrices = matrices(&graph).map_err(|problem| export::stopped(problem, path))?;
    watch(&mut graph, &matrices);
    export::write_alone(&graph, path, (options.largest_graph, &options.checkpoint))?;
    Ok(matrices.into_iter().map(|(matrix, _)| matrix).collect())
}

/// Each matrix with the values that it multiplies: several where layers share their weights.
pub(super) fn matrices(graph: &Graph<'_>) -> Result<Vec<(Matrix, Vec<String>)>, Problem> {
    let mut read: Vec<(String, Vec<String>)> = Vec::new();
    for product in products(graph) {
        let [input, matrix] = [0, 1].map(|place| graph.nodes[product.node].input[place].clone());
        match read.iter_mut().find(|(name, _)| *name == matrix) {
            Some((_, inputs)) => inputs.push(input),
            None => read.push((matrix, vec![input])),
        }
    }
    let mut peaks: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    let mut shapes = BTreeMap::new();
    for (name, inputs) in &read {
        let Some(constant) = graph.constants.iter().find(|constant| constant.name == *name) else { continue };
        let own = row_peaks(constant)?;
        shapes.insert(name.clone(), [constant.shape[0], constant.shape[1]]);
        for input in inputs {
            let peaks = peaks.entry(input.clone()).or_insert_with(|| vec![0.0; own.len()]);
            peaks.iter_mut().zip(&own).for_each(|(peak, own)| *peak = peak.max(*own));
        }
    }
    let (producers, few) = (producers(&graph.nodes), few_rows(graph));
    let matrix = |(name, values): (String, Vec<String>)| {
        let shape = shapes.get(&name)?;
        let mut all = vec![0.0_f32; shape[0]];
        for peaks in values.iter().filter_map(|value| peaks.get(value)) {
            all.iter_mut().zip(peaks).for_each(|(all, peak)| *all = all.max(*peak));
        }
        let producer = producers.get(values[0].as_str());
        let matrix = Matrix {
            input: values[0].clone(),
            inputs: shape[0],
            outputs: shape[1],
            lowest: format!("{name}/lowest"),
            highest: format!("{name}/highest"),
            mean: format!("{name}/mean"),
            per_token: values.iter().any(|value| !few.contains(value.as_str())),
            reads: producer.map_or(Reads::Other, |node| reads(node, &producers)),
            peaks: all,
            name,
        };
        Some((matrix, values))
    };
    Ok(read.into_iter().filter_map(matrix).collect())
}

/// What kind of numbers a node gives.
fn reads(node: &NodeProto, producers: &HashMap<&str, &NodeProto>) -> Reads {
    match node.op_type.as_deref().unwrap_or_default() {
        "LayerNormalization" => Reads::Normalized,
        // Some of the rows of a value.
        "Slice" => producers.get(node.input[0].as_str()).map_or(Reads::Other, |node| reads(node, producers)),
        "Gelu" => Reads::Above(LEAST_GELU),
        "Relu" => Reads::Above(0.0),
        "Reshape" => Reads::Averages,
        "Mul" if gates_itself(node, producers) => Reads::Above(LEAST_SILU),
        _ => Reads::Other,
    }
}

/// Whether a product is that of a number and its own sigmoid.
fn gates_itself(node: &NodeProto, producers: &HashMap<&str, &NodeProto>) -> bool {
    let gate = node.input.get(1).and_then(|gate| producers.get(gate.as_str()));
    gate.is_some_and(|gate| is(gate, "Sigmoid") && gate.input[0] == node.input[0])
}

/// The values that have only the first rows of each text, or come of such.
fn few_rows<'g>(graph: &'g Graph<'_>) -> HashSet<&'g str> {
    let mut few = HashSet::new();
    for node in &graph.nodes {
        let cut = is(node, "Slice") && node.input[1..] == FIRST_ROWS;
        if cut || node.input.iter().any(|input| few.contains(input.as_str())) {
            few.extend(node.output.iter().map(String::as_str));
        }
    }
    few
}

/// The largest number of each row of a matrix without its sign.
fn row_peaks(matrix: &Constant<'_>) -> Result<Vec<f32>, Problem> {
    let (mut peaks, mut at) = (vec![0.0_f32; matrix.shape[0]], 0);
    let width = matrix.shape[1].max(1);
    matrix.stream(&mut Scratch::default(), &mut |bytes| {
        for value in floats(bytes) {
            peaks[at / width] = peaks[at / width].max(value.abs());
            at += 1;
        }
        Ok(())
    })?;
    Ok(peaks)
}

/// Adds the outputs.
fn watch(graph: &mut Graph<'_>, matrices: &[(Matrix, Vec<String>)]) {
    let axes = Constant {
        name: "calibration/axes".to_owned(),
        element: ElementType::Int64,
        shape: vec![2],
        values: Values::Bytes([0_i64, 1].iter().flat_map(|axis| axis.to_le_bytes()).collect()),
    };
    for (matrix, inputs) in matrices {
        let outputs = [&matrix.lowest, &matrix.highest, &matrix.mean];
        let kinds = [("ReduceMin", "Min"), ("ReduceMax", "Max"), ("ReduceMean", "Mean")];
        for (output, (reduce, join)) in outputs.into_iter().zip(kinds) {
            let mut parts = Vec::new();
            for (place, input) in inputs.iter().enumerate() {
                let part = format!("{output}/{place}");
                let keep = vec![AttributeProto::int("keepdims", 0)];
                graph.nodes.push(NodeProto::new(reduce, &[input, &axes.name], &part, keep));
                parts.push(part);
            }
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            graph.nodes.push(NodeProto::new(join, &parts, output, Vec::new()));
            let shape = vec![Dimension::Fixed(matrix.inputs as i64)];
            graph.outputs.push(ValueInfoProto::tensor(output, ElementType::Float, shape));
        }
    }
    graph.constants.push(axes);
}
