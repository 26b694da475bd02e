//! The feed-forward block of a layer: a wide linear layer, a function, and a linear layer back (Vaswani et al. 2017); where
//! the family has a gate, the function's result is multiplied by another linear layer's (Shazeer 2020).

use crate::model::EncoderConfig;

use super::builder::{GraphBuilder, Linear, Value};

/// The block's result for `states`, [batch, rows, hidden], before it is added to them. `layer` is the layer's name.
pub(super) fn block(graph: &mut GraphBuilder<'_>, config: &EncoderConfig, layer: &str, states: &str) -> Value {
    let names = &config.architecture.layers;
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (wide, gate) = names.feed_forward();
    let bias = config.biases.feed_forward;
    let (name, linear) = Linear { bias, ..Linear::new(hidden, inner) }.named(layer, wide);
    let wide = graph.linear(states, &name, linear);
    let mut active = graph.activation(&wide, config.activation);
    if let Some(gate) = gate {
        let (name, linear) = linear.named(layer, gate);
        let gate = graph.linear(states, &name, linear);
        active = graph.node("Mul", &[&active, &gate]);
    }
    let linear = Linear { bias, ..Linear::new(inner, hidden) };
    graph.linear(&active, &format!("{layer}.{}", names.narrow), linear)
}
