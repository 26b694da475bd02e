//! The kinds of layers within one encoder: those that see the whole text and, in some families, local ones. Owns what the
//! attention of each reads beside the states; it is made once and serves all layers of the kind.

use crate::model::EncoderConfig;

use super::attention::{self, AttentionMask};
use super::builder::{GraphBuilder, Linear, Value};
use super::encoder::first_rows;
use super::rotary::Angles;
use super::{columns, window};

/// What the attention of a kind of layers reads beside the states.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    /// What hides padding, and in local layers what is far away: [batch, 1, sequence or 1, sequence].
    mask: Value,
    /// Whether the mask has a row for each that asks.
    by_row: bool,
    /// Added to every text's scores: [heads, sequence, sequence].
    bias: Option<Value>,
    /// By what queries and keys are turned.
    angles: Option<Angles>,
}

/// What layers read that see the whole text, and what local ones do, where there are some.
pub(super) fn kinds(
    graph: &mut GraphBuilder<'_>,
    config: &EncoderConfig,
    mask: &AttentionMask,
    bias: Option<Value>,
) -> [Kind; 2] {
    let padding = &mask.additive;
    let whole = Kind { mask: padding.clone(), by_row: false, bias, angles: None };
    let Some(rotary) = &config.rotary else { return [whole.clone(), whole] };
    graph.enter("rotary");
    let counts = columns::counts(graph);
    let whole = Kind { angles: Some(Angles::new(graph, config, rotary.base, &counts)), ..whole };
    if !rotary.local.contains(&true) {
        return [whole.clone(), whole];
    }
    let angles = Some(Angles::new(graph, config, rotary.local_base, &counts));
    graph.enter("window");
    let mask = window::mask(graph, config, rotary.window, (padding, &counts));
    [whole.clone(), Kind { mask, by_row: true, angles, ..whole }]
}

impl Kind {
    /// Self-attention of the layer of that name with the linear layer behind its heads: a row for each of `queries`, which
    /// are `states`, [batch, sequence, hidden], or their first rows.
    pub(super) fn attend(
        &self,
        graph: &mut GraphBuilder<'_>,
        config: &EncoderConfig,
        layer: &str,
        (queries, states): (&str, &str),
    ) -> Value {
        let cut = queries != states;
        let bias = match &self.bias {
            Some(bias) if cut => Some(first_rows(graph, bias, 1)),
            bias => bias.clone(),
        };
        let mask = if cut && self.by_row { first_rows(graph, &self.mask, 2) } else { self.mask.clone() };
        let angles = self.angles.as_ref().map(|angles| {
            let asking = if cut { angles.first(graph) } else { angles.clone() };
            [asking, angles.clone()]
        });
        let (bias, angles) = (bias.as_deref(), angles.as_ref());
        let context =
            attention::attend(graph, config, layer, &attention::Inputs { queries, states, mask: &mask, bias, angles });
        let hidden = config.hidden_size;
        let linear = Linear { bias: config.biases.attention, ..Linear::new(hidden, hidden) };
        graph.linear(&context, &format!("{layer}.{}", config.architecture.layers.attention_output), linear)
    }
}
