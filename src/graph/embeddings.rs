//! From token ids to the states that the first layer reads: word (+ position) (+ token type 0), normalized, projected
//! where the layers are wider. Token type is always 0 and lives in the position table. Inputs are padded on the right:
//! positions are counted along the mask.

use crate::model::{ATTENTION_MASK, EncoderConfig, INPUT_IDS, Positions};

use super::builder::{GraphBuilder, Linear, Norm, Value};
use super::constants::Values;
use super::encoder::add_rows;
use super::onnx::{AttributeProto, ElementType};

/// States [batch, sequence, hidden].
pub(super) fn embed(graph: &mut GraphBuilder<'_>, config: &EncoderConfig, prefix: &str) -> Value {
    let names = &config.architecture.embeddings;
    let width = config.embedding_size;
    let words = graph.weight(&format!("{prefix}{}.weight", names.words), &[config.vocab_size, width], 1.0);
    let sum = if config.architecture.positions == Positions::Rotary {
        graph.node("Gather", &[&words, INPUT_IDS])
    } else {
        let positions = position_table(graph, config, prefix);
        let word = graph.node("Gather", &[&words, INPUT_IDS]);
        let index = match config.padding {
            None => position_ids(graph),
            Some(padding) => position_ids_after(graph, padding),
        };
        let position = graph.node("Gather", &[&positions, &index]);
        add_rows(graph, &word, &position)
    };
    let states = graph.layer_norm(&sum, &format!("{prefix}{}", names.norm), Norm::of(config, width));
    match config.projection() {
        Some(name) => graph.linear(&states, &format!("{prefix}{name}"), Linear::new(width, config.hidden_size)),
        None => states,
    }
}

fn position_table(graph: &mut GraphBuilder<'_>, config: &EncoderConfig, prefix: &str) -> Value {
    let names = &config.architecture.embeddings;
    let name = format!("{prefix}{}.weight", names.positions);
    let shape = [config.positions, config.embedding_size];
    if config.token_types == 0 {
        return graph.weight(&name, &shape, 1.0);
    }
    let table = graph.tensor(&name, &shape);
    let types = format!("{prefix}{}.weight", names.token_types);
    let other = graph.tensor(&types, &[config.token_types, config.embedding_size]);
    let values = table.zip(other).map(|(table, other)| Values::PlusFirstRow { table, other });
    graph.weights_constant(&name, shape.to_vec(), values)
}

/// 0, 1, 2, .. along the tokens, 0 at padding: (running count of the mask − 1) × mask.
fn position_ids(graph: &mut GraphBuilder<'_>) -> Value {
    let axis = graph.int(1);
    let count = graph.node("CumSum", &[ATTENTION_MASK, &axis]);
    let one = graph.int(1);
    let index = graph.node("Sub", &[&count, &one]);
    graph.node("Mul", &[&index, ATTENTION_MASK])
}

/// Padding + 1, padding + 2, .. along the tokens; a padding token, also one that a text spells out, gets its own id and
/// does not count.
fn position_ids_after(graph: &mut GraphBuilder<'_>, padding: usize) -> Value {
    let padding = graph.int(padding as i64);
    let is_padding = graph.node("Equal", &[INPUT_IDS, &padding]);
    let is_token = graph.node("Not", &[&is_padding]);
    let token = graph.node_with("Cast", &[&is_token], vec![AttributeProto::int("to", ElementType::Int64 as i64)]);
    let counted = graph.node("Mul", &[&token, ATTENTION_MASK]);
    let axis = graph.int(1);
    let count = graph.node("CumSum", &[&counted, &axis]);
    let index = graph.node("Mul", &[&count, &counted]);
    graph.node("Add", &[&index, &padding])
}
