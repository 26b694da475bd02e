//! Adapters in the graph. Owns where a bottleneck's nodes stand behind a layer's block and how one of several is chosen
//! per text; what an adapter's files say lies in `model`. Invariant: whichever adapters a batch mixes, a text's vector
//! comes from its own adapter alone and has the same bits beside any others.
//!
//! Of several adapters, the first matrices lie side by side in one product: what is not of a text's own adapter gets a bias
//! far below 0, so that the function makes it 0, and falls away in a sum with zeros. The second matrix is gathered for each
//! text. The first could be gathered, too, but its few columns are shared out to threads by the lengths in a batch, and with
//! them ONNX Runtime changes the order in which it adds the many terms; the few terms of the second stay in one order.

use std::collections::BTreeMap;

use crate::model::{
    self, ADAPTER, Activation, Adapter, AdapterError, Block, EncoderConfig, Form, Lora, LowRank, Method, Reads,
    Residual, Site, Weights,
};

use super::builder::{GraphBuilder, Norm, Value};
use super::constants::{Computed, Part, Values};
use super::encoder::add_rows;
use super::onnx::{AttributeProto, Dimension, ElementType, ValueInfoProto};

/// What torch's layer normalization adds to the variance where nobody says otherwise.
const EPSILON: f32 = 1e-5;

/// What is done to a base model.
#[derive(Debug, Default)]
pub(super) enum Adaptation {
    /// Nothing.
    #[default]
    None,
    /// One adapter is part of it.
    Fused(Box<Adapter>),
    /// Several are in it, by name; each text says which is its own.
    Chosen(Vec<(String, Adapter)>),
}

/// What is added to numbers that the function is to make 0; half precision holds it, too.
const FAR_BELOW: f32 = -3e4;

/// So many terms ONNX Runtime adds in one order, however it shares out the columns of a matrix that is no constant; the
/// second matrices of wider bottlenecks stay side by side.
const FEW_TERMS: usize = 128;

/// A base model without adapters.
pub(super) static UNADAPTED: Adaptation = Adaptation::None;

impl Adaptation {
    /// Several adapters, each of a kind that can be chosen per text.
    pub(super) fn chosen(adapters: Vec<(String, Adapter)>) -> Result<Self, model::Error> {
        for (name, adapter) in &adapters {
            if let Some(reason) = why_not_choosable(adapter) {
                return Err(AdapterError::NotChoosable { name: name.clone(), reason }.into());
            }
        }
        Ok(Self::Chosen(adapters))
    }

    /// The input that says which adapter is a text's own, where there are several.
    pub(super) fn input(&self) -> Option<ValueInfoProto> {
        let Self::Chosen(_) = self else { return None };
        Some(ValueInfoProto::tensor(ADAPTER, ElementType::Int64, vec![Dimension::Named("batch".to_owned())]))
    }

    /// What is added to the checkpoint's linear layers, by their names in it. `prefixes` are what stands before the
    /// encoder's tensors and before those beside it.
    pub(super) fn merges<'a>(
        &'a self,
        config: &EncoderConfig,
        weights: &Weights,
        prefixes: (&str, &str),
    ) -> Result<BTreeMap<String, LowRank<'a>>, model::Error> {
        let Self::Fused(adapter) = self else { return Ok(BTreeMap::new()) };
        let mut merges = BTreeMap::new();
        for (module, low_rank) in adapter.low_rank() {
            let in_encoder = module.strip_prefix(config.architecture.prefix).unwrap_or(module);
            let names = [format!("{}{in_encoder}", prefixes.0), format!("{}{module}", prefixes.1)];
            let found = names.into_iter().find_map(|name| Some((weights.get(&format!("{name}.weight"))?, name)));
            let path = || adapter.weights_path().to_owned();
            let Some((matrix, name)) = found else {
                // A pooler or a head, which the checkpoint may lack; none of the vectors comes from it.
                if !Lora::is_in_a_layer(module) {
                    tracing::debug!(module, "is changed by the adapter and not in the checkpoint");
                    continue;
                }
                return Err(AdapterError::NoModule { path: path(), module: module.to_owned() }.into());
            };
            let shape = [low_rank.up.shape()[0], low_rank.down.shape()[1]];
            if matrix.shape() != shape {
                let (tensor, got, expected) = (low_rank.up.name().to_owned(), shape.to_vec(), matrix.shape());
                return Err(AdapterError::Shape { path: path(), tensor, got, expected }.into());
            }
            merges.insert(name, low_rank);
        }
        Ok(merges)
    }
}

fn why_not_choosable(adapter: &Adapter) -> Option<&'static str> {
    let Method::Bottleneck(bottleneck) = adapter.method() else {
        return Some("LoRA is merged into the base model's weights");
    };
    if bottleneck.form.norm_before || !bottleneck.form.is_additive() {
        return Some("it has normalizations or residuals of its own, so that its layers can't be shared");
    }
    if bottleneck.scales_channels() {
        return Some("it scales each channel by a factor of its own (`scaling` is `channel`)");
    }
    None
}

/// A place behind a layer's block, with the values that are there.
#[derive(Debug)]
pub(super) struct Place<'p> {
    pub layer: usize,
    pub site: Site,
    /// The block's result: [batch, rows, hidden].
    pub dense: &'p str,
    /// What the block read.
    pub states: &'p str,
    /// The sum of the two.
    pub sum: &'p str,
    /// Name and form of the layer's own normalization.
    pub norm: (&'p str, Norm),
}

impl Place<'_> {
    fn normalized(&self, graph: &mut GraphBuilder<'_>, rows: &str) -> Value {
        graph.layer_norm(rows, self.norm.0, self.norm.1)
    }

    fn read(&self, graph: &mut GraphBuilder<'_>, reads: Reads) -> Value {
        match reads {
            Reads::Normalized => self.normalized(graph, self.sum),
            Reads::Dense => self.dense.to_owned(),
            Reads::States => self.states.to_owned(),
        }
    }

    /// The name of a constant here.
    fn name(&self, part: &str) -> String {
        let site = match self.site {
            Site::Attention => "attention",
            Site::Output => "feed_forward",
        };
        format!("adapter.layer.{}.{site}.{part}", self.layer)
    }

    fn hidden(&self) -> usize {
        self.norm.1.size
    }
}

/// The layer's states behind the block: its normalization, with what adapters change about it.
pub(super) fn behind<'a>(graph: &mut GraphBuilder<'a>, adaptation: &'a Adaptation, place: &Place<'_>) -> Value {
    match adaptation {
        Adaptation::None => place.normalized(graph, place.sum),
        Adaptation::Fused(adapter) => match (adapter.method(), adapter.block(place.layer, place.site)) {
            (Method::Bottleneck(bottleneck), Some(block)) => fused(graph, (&bottleneck.form, &block), place),
            _ => place.normalized(graph, place.sum),
        },
        Adaptation::Chosen(adapters) => chosen(graph, adapters, place),
    }
}

/// One adapter's block.
fn fused<'a>(graph: &mut GraphBuilder<'a>, (form, block): (&Form, &Block<'a>), place: &Place<'_>) -> Value {
    let read = place.read(graph, form.reads);
    let result = bottleneck(graph, (form, block), (&read, place));
    if form.is_additive() {
        let sum = add_rows(graph, &result, place.sum);
        return place.normalized(graph, &sum);
    }
    let residual = match form.residual {
        Residual::Dense => place.dense,
        Residual::Sum => place.sum,
        Residual::Read => &read,
    };
    let own = match block.norm_after {
        Some(norm) if form.residual_before_norm => {
            let sum = add_rows(graph, &result, residual);
            own_norm(graph, (&sum, norm), place, "norm_after")
        }
        Some(norm) => {
            let result = own_norm(graph, (&result, norm), place, "norm_after");
            add_rows(graph, &result, residual)
        }
        None => add_rows(graph, &result, residual),
    };
    if !form.layer_norm_after {
        return own;
    }
    let sum = add_rows(graph, &own, place.states);
    place.normalized(graph, &sum)
}

/// The bottleneck's result for `read`, [batch, rows, hidden].
fn bottleneck<'a>(
    graph: &mut GraphBuilder<'a>,
    (form, block): (&Form, &Block<'a>),
    (read, place): (&str, &Place<'_>),
) -> Value {
    let read = match block.norm_before {
        Some(norm) => own_norm(graph, (read, norm), place, "norm_before"),
        None => read.to_owned(),
    };
    let (hidden, size, scale) = (place.hidden(), block.size, block.factor);
    let matrix = Values::Transposed { tensor: block.down[0], scale: 1.0 };
    let bias = Values::Stored { tensor: block.down[1], scale: 1.0 };
    let narrow = linear(graph, &read, (place, "down", [hidden, size]), [matrix, bias]);
    let active = graph.activation(&narrow, form.activation);
    let matrix = Values::Transposed { tensor: block.up[0], scale };
    let bias = Values::Stored { tensor: block.up[1], scale };
    let wide = linear(graph, &active, (place, "up", [size, hidden]), [matrix, bias]);
    match block.factors {
        Some(tensor) => {
            let factors = graph.added(&place.name("scaling"), vec![hidden], Values::Stored { tensor, scale: 1.0 });
            graph.node("Mul", &[&wide, &factors])
        }
        None => wide,
    }
}

/// `input` times a matrix plus a bias.
fn linear<'a>(
    graph: &mut GraphBuilder<'a>,
    input: &str,
    (place, part, shape): (&Place<'_>, &str, [usize; 2]),
    [matrix, bias]: [Values<'a>; 2],
) -> Value {
    let matrix = graph.added(&place.name(&format!("{part}.weight")), shape.to_vec(), matrix);
    let bias = graph.added(&place.name(&format!("{part}.bias")), vec![shape[1]], bias);
    let product = graph.node("MatMul", &[input, &matrix]);
    graph.node("Add", &[&product, &bias])
}

fn own_norm<'a>(
    graph: &mut GraphBuilder<'a>,
    (rows, tensors): (&str, [model::Tensor<'a>; 2]),
    place: &Place<'_>,
    part: &str,
) -> Value {
    let [weight, bias] = [("weight", tensors[0]), ("bias", tensors[1])].map(|(kind, tensor)| {
        let name = place.name(&format!("{part}.{kind}"));
        graph.added(&name, vec![place.hidden()], Values::Stored { tensor, scale: 1.0 })
    });
    let attributes = vec![AttributeProto::int("axis", -1), AttributeProto::float("epsilon", EPSILON)];
    graph.node_with("LayerNormalization", &[rows, &weight, &bias], attributes)
}

/// Adapters that read the same and have the same function share a bottleneck.
type Group = (Reads, Activation);

/// The blocks of several adapters; each text's own counts.
fn chosen<'a>(graph: &mut GraphBuilder<'a>, adapters: &'a [(String, Adapter)], place: &Place<'_>) -> Value {
    let mut groups: Vec<(Group, Vec<(usize, Block<'a>)>)> = Vec::new();
    for (number, (_, adapter)) in adapters.iter().enumerate() {
        let Method::Bottleneck(bottleneck) = adapter.method() else { continue };
        let Some(block) = adapter.block(place.layer, place.site) else { continue };
        let group = (bottleneck.form.reads, bottleneck.form.activation);
        match groups.iter_mut().find(|(other, _)| *other == group) {
            Some((_, blocks)) => blocks.push((number, block)),
            None => groups.push((group, vec![(number, block)])),
        }
    }
    if groups.is_empty() {
        return place.normalized(graph, place.sum);
    }
    let bias = chosen_bias(graph, &groups, (adapters.len(), place));
    let mut result = add_rows(graph, place.sum, &bias);
    for (index, (group, blocks)) in groups.iter().enumerate() {
        let part = if index == 0 { String::new() } else { format!("{index}.") };
        let product = side_by_side(graph, (*group, blocks), (adapters.len(), place, &part));
        result = add_rows(graph, &product, &result);
    }
    place.normalized(graph, &result)
}

/// The results of a group's bottlenecks without their last bias, each text's own alone.
fn side_by_side<'a>(
    graph: &mut GraphBuilder<'a>,
    ((reads, activation), blocks): (Group, &[(usize, Block<'a>)]),
    (adapters, place, part): (usize, &Place<'_>, &str),
) -> Value {
    let widest = blocks.iter().map(|(_, block)| block.size).max().unwrap_or_default();
    let (count, hidden) = (blocks.len(), place.hidden());
    let read = place.read(graph, reads);
    let rows = blocks.iter().map(|(_, block)| (block.down[0], widest)).collect();
    let name = place.name(&format!("{part}down.weight"));
    let matrix = graph.added(&name, vec![hidden, count * widest], Values::TransposedRows(rows));
    let product = graph.node("MatMul", &[&read, &matrix]);
    let bias = own_bias(graph, (blocks, widest), (adapters, place, part));
    let narrow = graph.node("Add", &[&product, &bias]);
    let active = graph.activation(&narrow, activation);
    let parts = graph.ints(&[0, 0, count as i64, widest as i64]);
    let parts = graph.node("Reshape", &[&active, &parts]);
    let parts = match activation {
        Activation::Tanh => masked(graph, &parts, (blocks, adapters)),
        _ => parts,
    };
    if widest > FEW_TERMS {
        let flat = graph.ints(&[0, 0, (count * widest) as i64]);
        let flat = graph.node("Reshape", &[&parts, &flat]);
        let fill = |block: &Block<'_>| Part::Filled { count: (widest - block.size) * hidden, value: 0.0 };
        let transposed = |block: &Block<'a>| Part::Transposed { tensor: block.up[0], scale: block.factor };
        let matrices = blocks.iter().flat_map(|(_, block)| [transposed(block), fill(block)]).collect();
        let name = place.name(&format!("{part}up.weight"));
        let matrix = graph.added(&name, vec![count * widest, hidden], Values::InTurn(matrices));
        return graph.node("MatMul", &[&flat, &matrix]);
    }
    let axis = graph.ints(&[2]);
    let own = graph.node_with("ReduceSum", &[&parts, &axis], vec![AttributeProto::int("keepdims", 0)]);
    let matrix = own_matrix(graph, (blocks, widest), (adapters, place, part));
    graph.node("MatMul", &[&own, &matrix])
}

/// The first bias of each text's own adapter, and far below 0 for the others, whose function is then 0: [batch, 1, sizes].
fn own_bias<'a>(
    graph: &mut GraphBuilder<'a>,
    (blocks, widest): (&[(usize, Block<'a>)], usize),
    (adapters, place, part): (usize, &Place<'_>, &str),
) -> Value {
    let mut parts = Vec::new();
    for adapter in 0..adapters {
        for (number, block) in blocks {
            if *number == adapter {
                parts.push(Part::Stored { tensor: block.down[1], scale: 1.0 });
                parts.push(Part::Filled { count: widest - block.size, value: 0.0 });
            } else {
                parts.push(Part::Filled { count: widest, value: FAR_BELOW });
            }
        }
    }
    let name = place.name(&format!("{part}down.bias"));
    let table = graph.added(&name, vec![adapters, blocks.len() * widest], Values::InTurn(parts));
    row_of(graph, &table)
}

/// The second matrix of each text's own adapter: [batch, size, hidden].
fn own_matrix<'a>(
    graph: &mut GraphBuilder<'a>,
    (blocks, widest): (&[(usize, Block<'a>)], usize),
    (adapters, place, part): (usize, &Place<'_>, &str),
) -> Value {
    let hidden = place.hidden();
    let mut parts = Vec::new();
    for adapter in 0..adapters {
        let block = blocks.iter().find(|(number, _)| *number == adapter).map(|(_, block)| block);
        parts.extend(block.map(|block| Part::Transposed { tensor: block.up[0], scale: block.factor }));
        let rest = widest - block.map_or(0, |block| block.size);
        parts.push(Part::Filled { count: rest * hidden, value: 0.0 });
    }
    let name = place.name(&format!("{part}up.weight"));
    let table = graph.added(&name, vec![adapters, widest, hidden], Values::InTurn(parts));
    graph.node_with("Gather", &[&table, ADAPTER], vec![AttributeProto::int("axis", 0)])
}

/// `parts`, [batch, rows, blocks, size], times 1 for the text's own adapter and 0 for the others: for a function that is
/// not 0 far below 0.
fn masked(graph: &mut GraphBuilder<'_>, parts: &str, (blocks, adapters): (&[(usize, Block<'_>)], usize)) -> Value {
    let owners: Vec<usize> = blocks.iter().map(|(number, _)| *number).collect();
    let name = format!("adapter.own{owners:?}");
    let table = graph.computed(&name, vec![adapters, blocks.len()], Box::new(Own(owners)));
    let row = row_of(graph, &table);
    let axis = graph.ints(&[3]);
    let column = graph.node("Unsqueeze", &[&row, &axis]);
    graph.node("Mul", &[parts, &column])
}

/// The row of each text's own adapter, of a table [adapters, size]: [batch, 1, size].
fn row_of(graph: &mut GraphBuilder<'_>, table: &str) -> Value {
    let row = graph.node_with("Gather", &[table, ADAPTER], vec![AttributeProto::int("axis", 0)]);
    let axis = graph.ints(&[1]);
    graph.node("Unsqueeze", &[&row, &axis])
}

/// The last bias of each text's own adapter: [batch, 1, hidden].
fn chosen_bias<'a>(
    graph: &mut GraphBuilder<'a>,
    groups: &[(Group, Vec<(usize, Block<'a>)>)],
    (adapters, place): (usize, &Place<'_>),
) -> Value {
    let blocks = || groups.iter().flat_map(|(_, blocks)| blocks);
    let row = |number| match blocks().find(|(other, _)| *other == number) {
        Some((_, block)) => Part::Stored { tensor: block.up[1], scale: block.factor },
        None => Part::Filled { count: place.hidden(), value: 0.0 },
    };
    let rows = Values::InTurn((0..adapters).map(row).collect());
    let table = graph.added(&place.name("up.bias"), vec![adapters, place.hidden()], rows);
    row_of(graph, &table)
}

/// Which part of a bottleneck is whose.
#[derive(Debug)]
struct Own(Vec<usize>);

impl Computed for Own {
    fn value(&self, index: usize) -> f32 {
        f32::from(self.0[index % self.0.len()] == index / self.0.len())
    }
}
