//! Attention within a window (Beltagy et al. 2020): a mask that, in local layers, hides from a token what is further away
//! than the window. It is as large as the scores of one head and is made once for all local layers, together with that
//! of padding, so that a local layer costs what a global one does.

use crate::model::EncoderConfig;

use super::attention::MASKED;
use super::builder::{GraphBuilder, Value};
use super::columns;
use super::constants::Computed;

/// `padding` [batch, 1, 1, sequence] with what lies outside the `window`: f32 [batch, 1, sequence, sequence]. A token sees
/// itself, so no row of a text is hidden as a whole.
pub(super) fn mask(
    graph: &mut GraphBuilder<'_>,
    config: &EncoderConfig,
    window: usize,
    (padding, counts): (&str, &str),
) -> Value {
    let longest = config.longest_input();
    let name = format!("window.{window}");
    let table = graph.computed(&name, vec![2 * longest - 1], Box::new(Table { middle: longest - 1, window }));
    let places = columns::distances(graph, counts, longest);
    let outside = graph.node("Gather", &[&table, &places]);
    graph.node("Add", &[padding, &outside])
}

/// What is added to a score, by distance from 1 − n to n − 1, with n the longest input.
#[derive(Debug)]
struct Table {
    middle: usize,
    window: usize,
}

impl Computed for Table {
    fn value(&self, index: usize) -> f32 {
        if index.abs_diff(self.middle) <= self.window { 0.0 } else { -MASKED }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_far_away_as_the_window_is_seen() {
        let table = Table { middle: 4, window: 2 };
        let seen: Vec<bool> = (0..9).map(|index| table.value(index) == 0.0).collect();
        assert_eq!(seen, [false, false, true, true, true, true, true, false, false]);
        assert_eq!(table.value(0), -1e9);
    }
}
