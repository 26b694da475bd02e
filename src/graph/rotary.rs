//! Rotary positions (Su et al. 2021): queries and keys are turned in pairs of numbers by angles that grow with the
//! position, so that a score depends on the distance of two tokens. Cosines and sines of all positions are tables, made at
//! export in the rounding that transformers has; a turn is linear, so the scale of the queries stays in their weights.

use crate::model::EncoderConfig;

use super::builder::{GraphBuilder, Value};
use super::constants::Computed;
use super::encoder::first_rows;
use super::onnx::AttributeProto;

/// Cosine and sine for each column: [sequence, 1, 2, half a head].
#[derive(Debug, Clone)]
pub(super) struct Angles {
    cosine: Value,
    sine: Value,
}

impl Angles {
    /// Of all columns, whose numbers are `counts`.
    pub(super) fn new(graph: &mut GraphBuilder<'_>, config: &EncoderConfig, base: f64, counts: &str) -> Self {
        let half = config.head_size() / 2;
        let one = graph.int(1);
        let positions = graph.node("Sub", &[counts, &one]);
        let [cosine, sine] = [false, true].map(|sine| {
            let name = format!("rotary.{base:e}.{}", if sine { "sine" } else { "cosine" });
            let table = Table { base: base as f32, half, sine };
            let table = graph.computed(&name, vec![config.positions, 1, 2, half], Box::new(table));
            graph.node("Gather", &[&table, &positions])
        });
        Self { cosine, sine }
    }

    /// Those of the first columns.
    pub(super) fn first(&self, graph: &mut GraphBuilder<'_>) -> Self {
        Self { cosine: first_rows(graph, &self.cosine, 0), sine: first_rows(graph, &self.sine, 0) }
    }

    /// Turns `rows`, [batch, rows, heads, head size]: each number of a head's first half makes a pair with its like in
    /// the second.
    pub(super) fn turn(&self, graph: &mut GraphBuilder<'_>, config: &EncoderConfig, rows: &str) -> Value {
        let (heads, size) = (config.heads as i64, config.head_size() as i64);
        let halves = graph.ints(&[0, 0, heads, 2, size / 2]);
        let rows = graph.node("Reshape", &[rows, &halves]);
        let other = graph.ints(&[1, 0]);
        let swapped = graph.node_with("Gather", &[&rows, &other], vec![AttributeProto::int("axis", 3)]);
        let along = graph.node("Mul", &[&rows, &self.cosine]);
        let across = graph.node("Mul", &[&swapped, &self.sine]);
        let turned = graph.node("Add", &[&along, &across]);
        let whole = graph.ints(&[0, 0, heads, size]);
        graph.node("Reshape", &[&turned, &whole])
    }
}

/// Cosines or sines, [positions, 1, 2, half]; the sines of the first half are negative, as the turn needs them.
#[derive(Debug)]
struct Table {
    base: f32,
    half: usize,
    sine: bool,
}

impl Computed for Table {
    fn value(&self, index: usize) -> f32 {
        let (position, column) = (index / (2 * self.half), index % (2 * self.half));
        let angle = f64::from(position as f32 * self.frequency(column % self.half));
        match self.sine {
            false => angle.cos() as f32,
            true if column < self.half => -angle.sin() as f32,
            true => angle.sin() as f32,
        }
    }
}

impl Table {
    /// What a pair's angle grows by with each position. Each step is rounded to f32 as in transformers: at position 8,000
    /// a last bit of the frequency is an angle of 5·10⁻⁴.
    fn frequency(&self, pair: usize) -> f32 {
        let exponent = (2 * pair) as f32 / (2 * self.half) as f32;
        1.0 / (f64::from(self.base).powf(f64::from(exponent)) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_those_of_transformers() {
        // `compute_default_rope_parameters` for heads of 64 numbers: 1.0 / (base ** (torch.arange(0, 64, 2) / 64)).
        for (base, pair, bits) in [
            (160000.0, 1, 0x3f300a3a),
            (160000.0, 2, 0x3ef21c1f),
            (160000.0, 7, 0x3d94e963),
            (160000.0, 16, 0x3b23d70a),
            (160000.0, 25, 0x38b443d0),
            (160000.0, 31, 0x37187c4d),
            (10000.0, 1, 0x3f3ff911),
            (10000.0, 7, 0x3e088d77),
            (10000.0, 25, 0x3a44948c),
            (10000.0, 31, 0x390bd472),
        ] {
            let table = Table { base, half: 32, sine: false };
            assert_eq!(table.frequency(pair).to_bits(), bits, "{base} {pair}");
        }
    }

    #[test]
    fn a_table_holds_both_halves_of_a_turn() {
        let [cosine, sine] = [false, true].map(|sine| Table { base: 100.0, half: 2, sine });
        let row = |table: &Table, position: usize| [0, 1, 2, 3].map(|column| table.value(position * 4 + column));
        assert_eq!((row(&cosine, 0), row(&sine, 0)), ([1.0; 4], [-0.0, -0.0, 0.0, 0.0]));
        // The angles are 3 and 0.3.
        let [a, b] = [3.0_f64, f64::from(3.0_f32 * 0.1)];
        assert_eq!(row(&cosine, 3), [a.cos() as f32, b.cos() as f32, a.cos() as f32, b.cos() as f32]);
        assert_eq!(row(&sine, 3), [-a.sin() as f32, -b.sin() as f32, a.sin() as f32, b.sin() as f32]);
    }
}
