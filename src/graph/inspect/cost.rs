//! What a pass costs, as a function of the text's length: all products of the graph added up for the lengths that were
//! asked for, and the law behind them. Owns what a length is; single operators are counted in `products`.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::super::onnx::{Dimension, ElementType, GraphProto, ModelProto, NodeProto};
use super::products::{self, Counted, Flops};
use super::shapes::Shapes;

/// Lengths from which the law is told.
const SAMPLES: [u64; 3] = [4, 8, 16];

/// What a pass costs: multiplications and additions of products, in FLOPs (a multiplication and an addition are two).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// For one text of each length; a single entry without a length where the graph reads no tokens.
    pub lengths: Vec<CostAt>,
    /// How it follows from the length, where it follows this law.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub law: Option<CostLaw>,
    /// What computing only a few rows in the last layer saves, where it does so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// Operators with products that could not be counted.
    pub not_counted: Vec<NotCounted>,
}

/// The cost of one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CostAt {
    /// Its tokens, where the graph reads tokens.
    pub length: Option<u64>,
    /// Products with weights.
    pub linear: u64,
    /// Products without: attention, and the sums of pooling and normalization.
    pub attention: u64,
    /// Both.
    pub total: u64,
}

/// A text of n tokens costs `linear_per_token · n + linear_per_text + attention_per_pair · n² + attention_per_token · n +
/// attention_per_text`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostLaw {
    /// Products with weights that every token passes.
    pub linear_per_token: u64,
    /// Products with weights that a text passes once.
    pub linear_per_text: u64,
    /// Attention of each token to each.
    pub attention_per_pair: u64,
    /// Attention of a few rows to each token, and the sum over the tokens in mean pooling.
    pub attention_per_token: u64,
    /// Products of a text's vector with itself, which give its length.
    pub attention_per_text: u64,
}

impl CostLaw {
    /// The cost of a text of `length` tokens.
    pub fn flops(&self, length: u64) -> u64 {
        let parts = [
            self.linear_per_text.saturating_add(self.attention_per_text),
            self.linear_per_token.saturating_add(self.attention_per_token).saturating_mul(length),
            self.attention_per_pair.saturating_mul(length).saturating_mul(length),
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// Whether it gives the cost at that length.
    fn holds(&self, at: &CostAt) -> bool {
        let n = u128::from(at.length.unwrap_or_default());
        let sum = |per_text: u64, per_token: u64, per_pair: u64| {
            u128::from(per_text) + u128::from(per_token) * n + u128::from(per_pair) * n * n
        };
        u128::from(at.linear) == sum(self.linear_per_text, self.linear_per_token, 0)
            && u128::from(at.attention)
                == sum(self.attention_per_text, self.attention_per_token, self.attention_per_pair)
    }
}

/// The last layer, where it computes fewer rows than the one before it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cut {
    /// The layer.
    pub layer: String,
    /// For each length, how much of the cost without the cut it saves, from 0 to 1.
    pub saved: Vec<f64>,
}

/// Operators that have products and were not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotCounted {
    /// The operator.
    pub operator: String,
    /// How many nodes of it.
    pub count: usize,
    /// Why.
    pub reason: String,
}

/// The cost, and that of each scope for each length.
pub(super) struct Costs {
    pub cost: Cost,
    pub by_scope: BTreeMap<String, Vec<u64>>,
}

/// Sums of one length.
struct Pass {
    flops: Flops,
    by_scope: BTreeMap<String, u64>,
    unknown: BTreeMap<(String, &'static str), usize>,
}

/// How texts enter a graph.
struct Entrance {
    /// Texts in a run, where their number is fixed.
    texts: u64,
    /// Their length, where it is fixed.
    length: Option<u64>,
}

pub(super) fn cost(model: &ModelProto, graph: &GraphProto, scopes: &[String], lengths: &[u64]) -> Costs {
    let entrance = entrance(graph);
    let fixed = entrance.as_ref().and_then(|entrance| entrance.length);
    let texts = entrance.as_ref().map_or(1, |entrance| entrance.texts.max(1));
    let functions = functions_with_products(model);
    let run = |length: Option<u64>| pass(graph, scopes, (length, texts), &functions);
    let (lengths, passes): (Vec<Option<u64>>, Vec<Pass>) = match (&entrance, fixed) {
        (None, _) => (vec![None], vec![run(None)]),
        (_, Some(length)) => (vec![Some(length)], vec![run(Some(length))]),
        _ => fitting(lengths, &run),
    };
    let at = |(length, pass): (&Option<u64>, &Pass)| CostAt {
        length: *length,
        linear: pass.flops.linear,
        attention: pass.flops.attention,
        total: pass.flops.linear.saturating_add(pass.flops.attention),
    };
    let costs: Vec<CostAt> = lengths.iter().zip(&passes).map(at).collect();
    let mut by_scope: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (place, pass) in passes.iter().enumerate() {
        for (scope, flops) in &pass.by_scope {
            by_scope.entry(scope.clone()).or_insert_with(|| vec![0; passes.len()])[place] = *flops;
        }
    }
    let free = fixed.is_none() && lengths.iter().all(Option::is_some);
    let law = free.then(|| law(SAMPLES.map(|length| run(Some(length)).flops))).flatten();
    // A parabola goes through any three samples; a law holds for every length.
    let law = law.filter(|law| costs.iter().all(|at| law.holds(at)));
    let unknown = passes.into_iter().next().map(|pass| pass.unknown).unwrap_or_default();
    let not_counted: Vec<NotCounted> = unknown
        .into_iter()
        .map(|((operator, reason), count)| NotCounted { operator, count, reason: reason.to_owned() })
        .collect();
    let cut = free.then(|| cut(&by_scope, &costs)).flatten();
    Costs { cost: Cost { lengths: costs, law, cut, not_counted }, by_scope }
}

/// The lengths that the graph takes, with their sums: a text longer than a table of positions fits nowhere. The longest
/// sample where none of them does.
fn fitting(lengths: &[u64], run: &dyn Fn(Option<u64>) -> Pass) -> (Vec<Option<u64>>, Vec<Pass>) {
    let unknown = |pass: &Pass| pass.unknown.values().sum::<usize>();
    let least = unknown(&run(Some(SAMPLES[0])));
    let passes = lengths.iter().map(|length| (Some(*length), run(Some(*length))));
    let fitting: Vec<(Option<u64>, Pass)> = passes.filter(|(_, pass)| unknown(pass) <= least).collect();
    match fitting.is_empty() {
        true => (vec![Some(SAMPLES[2])], vec![run(Some(SAMPLES[2]))]),
        false => fitting.into_iter().unzip(),
    }
}

/// The first input that is a table of integers, texts × tokens.
fn entrance(graph: &GraphProto) -> Option<Entrance> {
    let sizes = |input: &super::super::onnx::ValueInfoProto| {
        let tensor = input.tensor_type()?;
        matches!(tensor.element()?, ElementType::Int64 | ElementType::Int32).then_some(())?;
        let [texts, length] = tensor.shape.as_ref()?.dim.as_slice() else { return None };
        let fixed = |size: &Option<Dimension>| match size {
            Some(Dimension::Fixed(size)) => u64::try_from(*size).ok(),
            _ => None,
        };
        Some(Entrance { texts: fixed(&texts.value).unwrap_or(1), length: fixed(&length.value) })
    };
    graph.input.iter().find_map(sizes)
}

fn pass(
    graph: &GraphProto,
    scopes: &[String],
    (length, texts): (Option<u64>, u64),
    functions: &HashSet<(String, String)>,
) -> Pass {
    let shapes = Shapes::of(graph, length);
    let mut pass = Pass { flops: Flops::default(), by_scope: BTreeMap::new(), unknown: BTreeMap::new() };
    for (node, scope) in graph.node.iter().zip(scopes) {
        let counted = if functions.contains(&function_name(node)) {
            Counted::Unknown("functions are not looked into")
        } else {
            products::count(node, &shapes)
        };
        match counted {
            Counted::Nothing => {}
            Counted::Flops(Flops { linear, attention }) => {
                let (linear, attention) = (linear / texts, attention / texts);
                pass.flops.linear = pass.flops.linear.saturating_add(linear);
                pass.flops.attention = pass.flops.attention.saturating_add(attention);
                let sum = pass.by_scope.entry(scope.clone()).or_default();
                *sum = sum.saturating_add(linear).saturating_add(attention);
            }
            Counted::Unknown(reason) => {
                *pass.unknown.entry((node.op_type.clone().unwrap_or_default(), reason)).or_default() += 1;
            }
        }
    }
    pass
}

/// The functions of the model that multiply matrices, by domain and name.
fn functions_with_products(model: &ModelProto) -> HashSet<(String, String)> {
    let multiplying = model.functions.iter().filter(|function| function.node.iter().any(products::multiplies));
    multiplying
        .map(|function| (function.domain.clone().unwrap_or_default(), function.name.clone().unwrap_or_default()))
        .collect()
}

fn function_name(node: &NodeProto) -> (String, String) {
    (node.domain.clone().unwrap_or_default(), node.op_type.clone().unwrap_or_default())
}

/// The law that three samples follow, if it has whole coefficients and nothing is left over.
fn law(samples: [Flops; 3]) -> Option<CostLaw> {
    let [linear_per_text, linear_per_token, 0] = parabola(samples.map(|flops| flops.linear))? else { return None };
    let [attention_per_text, attention_per_token, attention_per_pair] = parabola(samples.map(|flops| flops.attention))?;
    let any = samples.iter().any(|flops| flops.linear > 0 || flops.attention > 0);
    any.then_some(CostLaw {
        linear_per_token,
        linear_per_text,
        attention_per_pair,
        attention_per_token,
        attention_per_text,
    })
}

/// The whole numbers c, b, a of c + b·n + a·n² through the samples; `None` where there are none.
fn parabola(values: [u64; 3]) -> Option<[u64; 3]> {
    let [x, y] = [(SAMPLES[0], SAMPLES[1]), (SAMPLES[1], SAMPLES[2])].map(|(from, to)| i128::from(to - from));
    let [f, g, h] = values.map(i128::from);
    let exact = |value: i128, by: i128| (value % by == 0).then_some(value / by);
    let (first, second) = (exact(g - f, x)?, exact(h - g, y)?);
    let a = exact(second - first, i128::from(SAMPLES[2] - SAMPLES[0]))?;
    let b = first - a * i128::from(SAMPLES[0] + SAMPLES[1]);
    let c = f - b * i128::from(SAMPLES[0]) - a * i128::from(SAMPLES[0]).pow(2);
    let whole = |value: i128| u64::try_from(value).ok();
    Some([whole(c)?, whole(b)?, whole(a)?])
}

/// What the last layer saves against the one before it.
fn cut(by_scope: &BTreeMap<String, Vec<u64>>, costs: &[CostAt]) -> Option<Cut> {
    let number = |scope: &str| scope.strip_prefix("layer.")?.parse::<u32>().ok();
    let last = by_scope.keys().filter_map(|scope| number(scope)).max()?;
    let of = |layer: u32| by_scope.get(&format!("layer.{layer}"));
    let (before, after) = (of(last.checked_sub(1)?)?, of(last)?);
    let saved = |place: usize| {
        let saved = before[place].saturating_sub(after[place]);
        saved as f64 / costs[place].total.saturating_add(saved).max(1) as f64
    };
    let saved: Vec<f64> = (0..costs.len()).map(saved).collect();
    saved.iter().all(|share| *share > 0.0).then(|| Cut { layer: format!("layer.{last}"), saved })
}

#[cfg(test)]
mod tests {
    use super::{SAMPLES, parabola};

    #[test]
    fn a_law_is_told_from_three_lengths() {
        let at = |c: u64, b: u64, a: u64| SAMPLES.map(|n| c + b * n + a * n * n);
        assert_eq!(parabola(at(7, 5, 3)), Some([7, 5, 3]));
        assert_eq!(parabola(at(0, 0, 0)), Some([0, 0, 0]));
        assert_eq!(parabola([1, 2, 4]), None);
        assert_eq!(parabola([9, 5, 1]), None);
    }
}
