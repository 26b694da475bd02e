//! The pass that carries a plan out: rows become u8, the matrix int8, and one node multiplies both and gives f32. Works on
//! a finished graph, as `plain` and `half` do. Invariant: whatever a row becomes depends on that row alone, and a product of
//! integers is exact in any order.

use std::collections::{HashMap, HashSet};

use super::super::builder::Graph;
use super::super::constants::{Constant, Problem, Scratch, Values};
use super::super::onnx::{AttributeProto, ElementType, NodeProto};
use super::super::plain::drop_unused_constants;
use super::plan::{MatrixPlan, QuantizePlan, RowScale};
use super::products::{Product, is, products};
use super::weights::{Integers, floats};

/// The operator set of ONNX Runtime's own operators.
pub(in crate::graph) const RUNTIME_DOMAIN: &str = "com.microsoft";

/// What stopped the pass.
#[derive(Debug)]
pub(in crate::graph) enum Stopped {
    /// The plan names no matrix of a layer.
    UnknownMatrix(String),
    /// A list of the plan has another length than the matrix has rows.
    Length {
        matrix: String,
        list: &'static str,
        got: usize,
        expected: usize,
    },
    /// A number of the plan that can't be used.
    Number {
        matrix: String,
        list: &'static str,
        value: f32,
    },
    Read(Problem),
}

impl From<Problem> for Stopped {
    fn from(problem: Problem) -> Self {
        Self::Read(problem)
    }
}

/// Rewrites a graph of [`super::super::encoder::build`].
pub(in crate::graph) fn quantize<'a>(mut graph: Graph<'a>, plan: &QuantizePlan) -> Result<Graph<'a>, Stopped> {
    let all = products(&graph);
    let name_of = |product: &Product| graph.nodes[product.node].input[1].clone();
    let planned: Vec<(Product, String)> = all.iter().map(|product| (product.clone(), name_of(product))).collect();
    for (name, matrix) in &plan.matrices {
        let Some((product, _)) = planned.iter().find(|(_, planned)| planned == name) else {
            return Err(Stopped::UnknownMatrix(name.clone()));
        };
        check(&graph, product, (name, matrix))?;
    }
    let mut replaced: HashMap<usize, (Product, &MatrixPlan)> = HashMap::new();
    let mut biases = Vec::new();
    let read = |name: &String| planned.iter().filter(|(_, read)| read == name).count();
    let shared: HashSet<String> = plan.matrices.keys().filter(|name| read(name) > 1).cloned().collect();
    for (product, name) in planned {
        let Some(plan) = plan.matrices.get(&name) else { continue };
        biases.extend(product.bias.map(|(add, _)| add));
        replaced.insert(product.node, (product, plan));
    }

    let nodes = std::mem::take(&mut graph.nodes);
    let mut rewrite =
        Rewrite { nodes: &nodes, graph, reach: plan.reach.largest(), rows: Vec::new(), made: HashMap::new(), shared };
    for (place, node) in nodes.iter().enumerate() {
        match replaced.get(&place) {
            Some((product, plan)) => rewrite.product(product, plan)?,
            None if biases.contains(&place) => {}
            None => rewrite.graph.nodes.push(node.clone()),
        }
    }
    let mut graph = rewrite.graph;
    drop_unused_norms(&mut graph);
    drop_unused_constants(&mut graph);
    Ok(graph)
}

/// An error if a plan does not fit its matrix.
fn check(graph: &Graph<'_>, product: &Product, (name, plan): (&str, &MatrixPlan)) -> Result<(), Stopped> {
    let matrix = || name.to_owned();
    let constant = graph.constants.iter().find(|constant| constant.name == graph.nodes[product.node].input[1]);
    let expected = constant.map_or(0, |constant| constant.shape[0]);
    for (list, values) in [("shift", &plan.shift), ("scale", &plan.scale), ("mean", &plan.mean)] {
        if !values.is_empty() && values.len() != expected {
            return Err(Stopped::Length { matrix: matrix(), list, got: values.len(), expected });
        }
        let usable = |value: &f32| value.is_finite() && (list != "scale" || *value > 0.0);
        if let Some(value) = values.iter().find(|value| !usable(value)) {
            return Err(Stopped::Number { matrix: matrix(), list, value: *value });
        }
    }
    let ends = match plan.rows {
        RowScale::OwnLargest => Vec::new(),
        RowScale::OwnHighest { lowest } => vec![lowest],
        RowScale::Fixed { low, high } => vec![low, high],
    };
    match ends.into_iter().find(|end| !end.is_finite()) {
        Some(value) => Err(Stopped::Number { matrix: matrix(), list: "range", value }),
        None => Ok(()),
    }
}

/// Rows that have become integers, by the names of their values.
#[derive(Debug, Clone)]
struct Rows {
    integers: String,
    /// What one stands for; where each row has its own scale, 1.
    step: String,
    /// The integer of 0.
    zero: String,
    /// What the product of each row is multiplied with: [.., 1].
    scale: Option<String>,
}

struct Rewrite<'n, 'a> {
    /// Those of the graph as it was.
    nodes: &'n [NodeProto],
    graph: Graph<'a>,
    reach: f32,
    /// The rows so far, by value and by what of the plan they depend on.
    rows: Vec<((String, MatrixPlan), Rows)>,
    /// The constants of each matrix so far.
    made: HashMap<String, Made>,
    /// Matrices that several products read, as those of layers do that share their weights.
    shared: HashSet<String>,
}

/// The constants of a matrix, by their names.
#[derive(Debug, Clone)]
struct Made {
    integers: String,
    /// What an integer of each column stands for.
    columns: String,
    /// The integer of 0, where it isn't 0.
    zero: Option<String>,
    bias: Option<String>,
}

impl<'a> Rewrite<'_, 'a> {
    /// The nodes of a product, with the bias behind it.
    fn product(&mut self, product: &Product, plan: &MatrixPlan) -> Result<(), Stopped> {
        let nodes = self.nodes;
        let node = &nodes[product.node];
        let bias = product.bias.map(|(add, input)| (&nodes[add].output[0], nodes[add].input[input].as_str()));
        let result = bias.map_or(&node.output[0], |(sum, _)| sum);
        let scope = node.name.clone().unwrap_or_default();
        let rows = self.rows(&scope, &node.input[0], plan)?;
        let Made { integers, columns, zero, bias } = self.matrix(&node.input[1], bias.map(|(_, bias)| bias), plan)?;
        let mut inputs = vec![rows.integers, integers, rows.step, columns, rows.zero];
        inputs.extend(zero.clone());
        let Some(scale) = rows.scale else {
            let no_zero = zero.is_none() && bias.is_some();
            inputs.extend(no_zero.then(String::new).into_iter().chain(bias));
            self.multiply(&scope, inputs, result);
            return Ok(());
        };
        let product = format!("{scope}/integers");
        self.multiply(&scope, inputs, &product);
        let Some(bias) = bias else {
            self.node("Mul", (&[&product, &scale], result), Vec::new());
            return Ok(());
        };
        let scaled = format!("{scope}/scaled");
        self.node("Mul", (&[&product, &scale], &scaled), Vec::new());
        self.node("Add", (&[&scaled, &bias], result), Vec::new());
        Ok(())
    }

    fn multiply(&mut self, scope: &str, input: Vec<String>, output: &str) {
        self.graph.nodes.push(NodeProto {
            input,
            output: vec![output.to_owned()],
            name: Some(format!("{scope}/int8")),
            op_type: Some("MatMulIntegerToFloat".to_owned()),
            domain: Some(RUNTIME_DOMAIN.to_owned()),
            ..NodeProto::default()
        });
    }

    /// The rows of a value as integers, made once for all products that read them alike.
    fn rows(&mut self, scope: &str, value: &str, plan: &MatrixPlan) -> Result<Rows, Stopped> {
        let key = (value.to_owned(), MatrixPlan { mean: Vec::new(), ..plan.clone() });
        if let Some((_, rows)) = self.rows.iter().find(|(known, _)| *known == key) {
            return Ok(rows.clone());
        }
        let even = self.even(scope, value, plan)?;
        let integers = format!("{scope}/u8");
        let rows = match plan.rows {
            RowScale::Fixed { low, high } => {
                let (low, high) = (low.min(0.0), high.max(0.0));
                let step = ((high - low) / 255.0).max(f32::MIN_POSITIVE);
                let zero = (-low / step).round_ties_even().clamp(0.0, 255.0) as u8;
                let rows = Rows { integers, step: self.float(step), zero: self.byte(zero), scale: None };
                self.node("QuantizeLinear", (&[&even, &rows.step, &rows.zero], &rows.integers), Vec::new());
                rows
            }
            RowScale::OwnLargest => {
                let size = format!("{scope}/size");
                self.node("Abs", (&[&even], &size), Vec::new());
                self.by_row(scope, (&even, &size), (128, TINY))
            }
            RowScale::OwnHighest { lowest } => {
                let zero = if lowest < 0.0 { BELOW } else { 0 };
                let least = if lowest < 0.0 { -lowest / f32::from(BELOW) } else { TINY };
                self.by_row(scope, (&even, &even), (zero, least))
            }
        };
        self.rows.push((key, rows.clone()));
        Ok(rows)
    }

    /// Each row divided by its scale, which is the highest number of its row in `sizes`, divided by the integers above that
    /// of 0, and at least `least`.
    fn by_row(&mut self, scope: &str, (value, sizes): (&str, &str), (zero, least): (u8, f32)) -> Rows {
        let [highest, wanted, scale, divided] =
            ["highest", "wanted_scale", "scale", "divided"].map(|part| format!("{scope}/{part}"));
        let axis = self.constant("ints[-1]", ElementType::Int64, vec![1], (-1_i64).to_le_bytes().to_vec());
        let share = self.float(1.0 / f32::from(255 - zero));
        let least = self.float(least);
        self.node("ReduceMax", (&[sizes, &axis], &highest), vec![AttributeProto::int("keepdims", 1)]);
        self.node("Mul", (&[&highest, &share], &wanted), Vec::new());
        self.node("Max", (&[&wanted, &least], &scale), Vec::new());
        self.node("Div", (&[value, &scale], &divided), Vec::new());
        let rows =
            Rows { integers: format!("{scope}/u8"), step: self.float(1.0), zero: self.byte(zero), scale: Some(scale) };
        self.node("QuantizeLinear", (&[&divided, &rows.step, &rows.zero], &rows.integers), Vec::new());
        rows
    }

    /// A value behind the plan's shift and scale. Out of a layer normalization it is another one of the same rows, with other
    /// weights.
    fn even(&mut self, scope: &str, value: &str, plan: &MatrixPlan) -> Result<String, Stopped> {
        if plan.shift.is_empty() && plan.scale.is_empty() {
            return Ok(value.to_owned());
        }
        let nodes = self.nodes;
        let norm = nodes.iter().find(|node| is(node, "LayerNormalization") && node.output[0] == value);
        let count = plan.shift.len().max(plan.scale.len());
        let scale = |at: usize| plan.scale.get(at).copied().unwrap_or(1.0);
        let shift = |at: usize| plan.shift.get(at).copied().unwrap_or(0.0);
        let even = format!("{scope}/even");
        let Some(norm) = norm else {
            let shifts = self.floats(&format!("{scope}/shift"), &(0..count).map(shift).collect::<Vec<f32>>());
            let scales = self.floats(&format!("{scope}/scales"), &(0..count).map(scale).collect::<Vec<f32>>());
            let shifted = format!("{scope}/shifted");
            self.node("Sub", (&[value, &shifts], &shifted), Vec::new());
            self.node("Div", (&[&shifted, &scales], &even), Vec::new());
            return Ok(even);
        };
        let gains = self.read(&norm.input[1])?;
        let offsets = norm.input.get(2).map(|name| self.read(name)).transpose()?.unwrap_or_else(|| vec![0.0; count]);
        let gains: Vec<f32> = gains.iter().enumerate().map(|(at, gain)| gain / scale(at)).collect();
        let offsets: Vec<f32> =
            offsets.iter().enumerate().map(|(at, offset)| (offset - shift(at)) / scale(at)).collect();
        let gains = self.floats(&format!("{scope}/gain"), &gains);
        let offsets = self.floats(&format!("{scope}/offset"), &offsets);
        self.node("LayerNormalization", (&[&norm.input[0], &gains, &offsets], &even), norm.attribute.clone());
        Ok(even)
    }

    /// The constants of a matrix. A shared one is written as u8: that of ONNX Runtime's precise products, which are for CPUs
    /// without VNNI, makes u8 of i8 by itself, but of each constant only once.
    fn matrix(&mut self, name: &str, bias: Option<&str>, plan: &MatrixPlan) -> Result<Made, Stopped> {
        if let Some(made) = self.made.get(name) {
            return Ok(made.clone());
        }
        let place = self.graph.constants.iter().position(|constant| constant.name == name);
        let matrix = self.graph.constants.remove(place.expect("a product's matrix is a constant"));
        let (shape, scales) = (matrix.shape.clone(), plan.scale.clone());
        let zero = self.shared.contains(name).then_some(128_u8);
        let integers = Integers::new(matrix, scales, (self.reach, zero))?;
        let mut values = match bias {
            Some(bias) => Some(self.read(bias)?.into_iter().map(f64::from).collect::<Vec<f64>>()),
            None => None,
        };
        if let Some(added) = integers.added(plan)? {
            let values = values.get_or_insert_with(|| vec![0.0; added.len()]);
            values.iter_mut().zip(added).for_each(|(value, added)| *value += added);
        }
        let columns = self.floats(&format!("{name}/columns"), integers.columns());
        let bias = values.map(|values| {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            self.floats(&format!("{name}/bias"), &values)
        });
        let zero = zero.map(|zero| self.byte(zero));
        let element = integers.element();
        let kind = if zero.is_some() { "uint8" } else { "int8" };
        let made = Made { integers: format!("{name}/{kind}"), columns, zero, bias };
        let values = Values::Integers(Box::new(integers));
        self.graph.constants.push(Constant { name: made.integers.clone(), element, shape, values });
        self.made.insert(name.to_owned(), made.clone());
        Ok(made)
    }

    /// A small constant's numbers.
    fn read(&self, name: &str) -> Result<Vec<f32>, Problem> {
        let constant = self.graph.constants.iter().find(|constant| constant.name == name);
        let mut values = Vec::new();
        if let Some(constant) = constant {
            constant.stream(&mut Scratch::default(), &mut |bytes| {
                values.extend(floats(bytes));
                Ok(())
            })?;
        }
        Ok(values)
    }

    fn node(&mut self, op_type: &str, (inputs, output): (&[&str], &str), attribute: Vec<AttributeProto>) {
        self.graph.nodes.push(NodeProto::new(op_type, inputs, output, attribute));
    }

    fn float(&mut self, value: f32) -> String {
        self.constant(&format!("float({value:e})"), ElementType::Float, vec![], value.to_le_bytes().to_vec())
    }

    fn byte(&mut self, value: u8) -> String {
        self.constant(&format!("byte({value})"), ElementType::Uint8, vec![], vec![value])
    }

    fn floats(&mut self, name: &str, values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, ElementType::Float, vec![values.len()], bytes)
    }

    /// A constant, once however often it is asked for.
    fn constant(&mut self, name: &str, element: ElementType, shape: Vec<usize>, bytes: Vec<u8>) -> String {
        if !self.graph.constants.iter().any(|constant| constant.name == name) {
            let values = Values::Bytes(bytes);
            self.graph.constants.push(Constant { name: name.to_owned(), element, shape, values });
        }
        name.to_owned()
    }
}

/// The integer of 0 where numbers are a little below it: most of the 255 are for those above.
const BELOW: u8 = 16;
/// Keeps the scale of a row of zeros defined.
const TINY: f32 = 1e-9;

/// Drops normalizations that nothing reads any more.
fn drop_unused_norms(graph: &mut Graph<'_>) {
    let read: HashSet<String> = graph.nodes.iter().flat_map(|node| node.input.clone()).collect();
    let outputs: Vec<Option<&str>> = graph.outputs.iter().map(|output| output.name.as_deref()).collect();
    let kept = |node: &NodeProto| {
        !is(node, "LayerNormalization") || read.contains(&node.output[0]) || outputs.contains(&Some(&node.output[0]))
    };
    graph.nodes.retain(kept);
}
