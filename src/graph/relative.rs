//! The bias by relative position that MPNet adds to the scores of every layer. It depends on the distance of two tokens
//! alone, so it is a table over distances, made at export, from which one Gather takes a matrix for all texts.

use crate::model::EncoderConfig;

use super::builder::{GraphBuilder, Value};
use super::columns;
use super::constants::Values;
use super::onnx::AttributeProto;

/// Distances up to here have a bucket each, in either direction.
const EXACT: i64 = 8;
/// Buckets of each direction.
const BUCKETS: i64 = 16;
/// From this distance on, all share the last bucket.
const FURTHEST: f64 = 128.0;

/// The bias [heads, sequence, sequence]. Columns behind the longest text are padding in every text and may have any bias.
pub(super) fn bias(graph: &mut GraphBuilder<'_>, config: &EncoderConfig, name: &str) -> Value {
    let longest = config.longest_input();
    let buckets = config.relative_buckets.unwrap_or_default();
    let distances = 2 * longest - 1;
    let name = format!("{name}.weight");
    let table = graph.tensor(&name, &[buckets, config.heads]);
    let values = table.map(|table| Values::ByDistance { table, distances, bucket });
    let table = graph.weights_constant(&name, vec![config.heads, distances], values);

    let columns = columns::counts(graph);
    let places = columns::distances(graph, &columns, longest);
    graph.node_with("Gather", &[&table, &places], vec![AttributeProto::int("axis", 1)])
}

/// The bucket of a distance, asked token − asking token (Raffel et al. 2019): each small distance has its own, larger ones
/// share theirs by their logarithm; those of tokens behind come after those of tokens before.
fn bucket(distance: i64) -> usize {
    let away = distance.abs();
    let bucket = if away < EXACT {
        away
    } else {
        let exact = EXACT as f64;
        let share = (away as f64 / exact).log2() / (FURTHEST / exact).log2();
        (EXACT + (share * (BUCKETS - EXACT) as f64) as i64).min(BUCKETS - 1)
    };
    (bucket + if distance > 0 { BUCKETS } else { 0 }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_transformers() {
        // `MPNetEncoder.relative_position_bucket`: the distances at which a new bucket begins.
        let starts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91];
        for (number, start) in starts.into_iter().enumerate() {
            assert_eq!(bucket(-start), number, "{start} back");
            if start > 0 {
                assert_eq!(bucket(-(start - 1)), number - 1, "{start} back");
                assert_eq!(bucket(start), number + 16, "{start} ahead");
            }
        }
        assert_eq!((bucket(-5_000), bucket(5_000)), (15, 31));
    }
}
