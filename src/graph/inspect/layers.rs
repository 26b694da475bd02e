//! Which layer a node and its weights belong to, by their names, and what the layers hold. Knows no architecture: a
//! number behind the word `layer`, `block` or `h` is a layer, the words `embed`, `pool`, `head` and the like name the
//! parts beside them.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::super::onnx::{GraphProto, NodeProto, TensorProto};

/// The part of an encoder that isn't in any other.
pub(super) const ELSEWHERE: &str = "elsewhere";

/// A part of the graph, with the constants that it is the first to read and its share of the cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// `layer.3`, `embeddings`, `head`, ...
    pub name: String,
    /// Its nodes, those of subgraphs left out.
    pub nodes: usize,
    /// Numbers in its weights.
    pub parameters: u64,
    /// Bytes of its constants.
    pub bytes: u64,
    /// Its constants by type, most bytes first.
    pub types: Vec<TypeShare>,
    /// What it costs at each length, in FLOPs.
    pub flops: Vec<u64>,
}

/// Constants of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeShare {
    /// The type.
    pub element: String,
    /// Their bytes.
    pub bytes: u64,
    /// Numbers in those of them that are weights.
    pub parameters: u64,
}

/// What all layers hold together.
pub(super) struct Weights {
    pub parameters: u64,
    pub bytes: u64,
    pub external: BTreeMap<String, u64>,
}

/// The layer of each node of the graph, in the order of the nodes.
pub(super) fn scopes(graph: &GraphProto) -> Vec<String> {
    let constants: std::collections::HashSet<&str> =
        graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref()).collect();
    let of_node = |node: &NodeProto| {
        let own = [node.name.as_deref(), node.output.first().map(String::as_str)];
        let weights = node.input.iter().map(String::as_str).filter(|input| constants.contains(input));
        let mut names = own.into_iter().flatten().chain(weights);
        names.find_map(scope).unwrap_or_else(|| ELSEWHERE.to_owned())
    };
    graph.node.iter().map(of_node).collect()
}

/// The layer that a name speaks of.
pub(super) fn scope(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split(['.', '/', ':']).collect();
    for pair in parts.windows(2) {
        let is_layer = |word: &str| {
            word == "h"
                || word.ends_with("layer")
                || word.ends_with("layers")
                || word.ends_with("block")
                || word.ends_with("blocks")
        };
        if is_layer(pair[0])
            && !pair[1].is_empty()
            && pair[1].len() < 6
            && pair[1].bytes().all(|byte| byte.is_ascii_digit())
        {
            return Some(format!(
                "layer.{}",
                pair[1].trim_start_matches('0').to_owned() + if pair[1].bytes().all(|b| b == b'0') { "0" } else { "" }
            ));
        }
    }
    // `layer_3`, as some converters write it.
    for part in &parts {
        let Some((word, number)) = part.rsplit_once('_') else { continue };
        if (word == "layer" || word.ends_with("_layer"))
            && !number.is_empty()
            && number.len() < 6
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Some(format!("layer.{number}"));
        }
    }
    let has = |word: &str| parts.iter().any(|part| part.to_ascii_lowercase().contains(word));
    let known = [
        ("embed", "embeddings"),
        ("relative", "relative positions"),
        ("masked_lm", "head"),
        ("lm_head", "head"),
        ("predictions", "head"),
        ("classifier", "head"),
        ("head", "head"),
        ("pool", "pooling"),
        ("mask", "mask"),
    ];
    known.into_iter().find(|(word, _)| has(word)).map(|(_, name)| name.to_owned())
}

/// Each layer with what it holds, in the order of the graph, and all of it together.
pub(super) fn layers(
    graph: &GraphProto,
    scopes: &[String],
    flops: &BTreeMap<String, Vec<u64>>,
) -> (Vec<Layer>, Weights) {
    let mut first_reader: HashMap<&str, &str> = HashMap::new();
    for (node, scope) in graph.node.iter().zip(scopes) {
        for input in &node.input {
            first_reader.entry(input).or_insert(scope);
        }
    }
    let mut order: Vec<&str> = Vec::new();
    let mut found: HashMap<&str, Layer> = HashMap::new();
    let mut types: HashMap<&str, BTreeMap<String, TypeShare>> = HashMap::new();
    for scope in scopes {
        layer(&mut found, &mut order, scope, flops).nodes += 1;
    }
    let mut weights = Weights { parameters: 0, bytes: 0, external: BTreeMap::new() };
    let mut inline = Vec::new();
    for (node, scope) in graph.node.iter().zip(scopes) {
        node.each_tensor(&mut |tensor| inline.push((tensor, scope.as_str())));
    }
    let stored = graph.constants().map(|tensor| {
        let name = tensor.name.as_deref().unwrap_or_default();
        (tensor, first_reader.get(name).copied().unwrap_or(ELSEWHERE))
    });
    for (tensor, scope) in stored.chain(inline) {
        let (numbers, bytes) = (tensor.weights(), byte_len(tensor));
        let layer = layer(&mut found, &mut order, scope, flops);
        layer.parameters = layer.parameters.saturating_add(numbers);
        layer.bytes = layer.bytes.saturating_add(bytes);
        weights.parameters = weights.parameters.saturating_add(numbers);
        weights.bytes = weights.bytes.saturating_add(bytes);
        let element = element_name(tensor);
        let share = types.entry(scope).or_default().entry(element.clone());
        let share = share.or_insert(TypeShare { element, bytes: 0, parameters: 0 });
        share.bytes = share.bytes.saturating_add(bytes);
        share.parameters = share.parameters.saturating_add(numbers);
        if let Some(file) = external_file(tensor) {
            let total = weights.external.entry(file.to_owned()).or_default();
            *total = total.saturating_add(bytes);
        }
    }
    let list = order.into_iter().filter_map(|name| {
        let mut layer = found.remove(name)?;
        layer.types = types.remove(name).unwrap_or_default().into_values().collect();
        layer.types.sort_by_key(|share| std::cmp::Reverse(share.bytes));
        Some(layer)
    });
    (list.collect(), weights)
}

fn layer<'f, 's>(
    found: &'f mut HashMap<&'s str, Layer>,
    order: &mut Vec<&'s str>,
    scope: &'s str,
    flops: &BTreeMap<String, Vec<u64>>,
) -> &'f mut Layer {
    found.entry(scope).or_insert_with(|| {
        order.push(scope);
        let flops = flops.get(scope).cloned().unwrap_or_default();
        Layer { name: scope.to_owned(), nodes: 0, parameters: 0, bytes: 0, types: Vec::new(), flops }
    })
}

/// Bytes of a constant; of a text, those of its characters.
fn byte_len(tensor: &TensorProto) -> u64 {
    let texts = || tensor.string_data.iter().map(|text| text.len() as u64).sum();
    tensor.byte_len().unwrap_or_else(texts)
}

fn element_name(tensor: &TensorProto) -> String {
    match tensor.element() {
        Some(element) => element.to_string(),
        None => format!("type {}", tensor.data_type.unwrap_or_default()),
    }
}

/// The file that holds a constant, where it isn't this one.
fn external_file(tensor: &TensorProto) -> Option<&str> {
    let entries = tensor.is_external().then_some(&tensor.external_data)?;
    let location = entries.iter().find(|entry| entry.key.as_deref() == Some("location"))?;
    location.value.as_deref()
}

#[cfg(test)]
mod tests {
    use super::scope;

    #[test]
    fn names_tell_the_layer() {
        for (name, expected) in [
            ("layer.3/attention/MatMul.2", Some("layer.3")),
            ("/encoder/layer.11/attention/self/query/MatMul", Some("layer.11")),
            ("bert.encoder.layer.0.output.LayerNorm.weight", Some("layer.0")),
            ("/transformer/h.7/mlp/Gemm", Some("layer.7")),
            ("model.layers.21.mlp.Wi.weight", Some("layer.21")),
            ("bert/encoder/layer_5/output/dense/MatMul", Some("layer.5")),
            ("/embeddings/word_embeddings/Gather", Some("embeddings")),
            ("pooling/ReduceSum", Some("pooling")),
            ("head/MatMul", Some("head")),
            ("classifier.out_proj.bias", Some("head")),
            ("/Reshape_12", None),
            ("layer.x", None),
        ] {
            assert_eq!(scope(name).as_deref(), expected, "{name}");
        }
    }
}
