//! How a graph pools that gives an embedding and not token states: its rows are compared with the first token's state and
//! with the mean of the states. Owns what counts as the same; knows nothing of how a graph is made to show these rows.

use super::check::run_alone_and_together;
use super::texts::few_texts;
use super::{Error, OpenEncoder};
use crate::model::{Pooling, SeenPooling};

/// Vectors of the same direction have a cosine at most this far from 1: states of 16 bits are rounded to 3e-4 of
/// themselves, which takes 1e-7 from it.
const COSINE_TOLERANCE: f64 = 1e-5;
/// Lengths that differ by up to this share are the same: a normalization in 16 bits rounds so.
const NORM_TOLERANCE: f64 = 1e-3;

/// Runs the built-in texts, alone and in one batch. The rows of `encoder` hold three vectors of the same length, one
/// behind the other: the graph's own embedding, the first token's state, and the mean of the states.
///
/// # Errors
/// An encoder that cannot be opened or run, or whose rows are not three vectors.
pub fn see_pooling(encoder: &dyn OpenEncoder) -> Result<SeenPooling, Error> {
    let (alone, together) = run_alone_and_together(encoder, few_texts())?;
    let dim = alone.dim / 3;
    if dim == 0 || alone.dim % 3 != 0 {
        return Err(Error::unhealthy(format!("its rows have {} numbers, expected three vectors", alone.dim)));
    }
    let rows = [&alone, &together].into_iter().flat_map(|matrix| (0..matrix.rows).map(|row| matrix.row(row)));
    Ok(judge(&rows.collect::<Vec<_>>(), dim))
}

fn judge(rows: &[&[f32]], dim: usize) -> SeenPooling {
    let length = |vector: &[f32]| dot(vector, vector).sqrt();
    let normalized = rows.iter().all(|row| (length(&row[..dim]) - 1.0).abs() <= NORM_TOLERANCE);
    let is_made_of = |place: usize| {
        rows.iter().all(|row| {
            let (own, other) = (&row[..dim], &row[place * dim..(place + 1) * dim]);
            let (own_length, other_length) = (length(own), length(other));
            let cosine = dot(own, other) / (own_length * other_length);
            let same_length = normalized || (own_length / other_length - 1.0).abs() <= NORM_TOLERANCE;
            // What is no number is not the same.
            same_length && 1.0 - cosine <= COSINE_TOLERANCE
        })
    };
    let pooling = match [is_made_of(1), is_made_of(2)] {
        [true, false] => Some(Pooling::Cls),
        [false, true] => Some(Pooling::Mean),
        _ => None,
    };
    SeenPooling { pooling, normalized }
}

fn dot(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: [[f32; 3]; 2] = [[3.0, 0.0, 4.0], [1.0, 2.0, 2.0]];
    const MEAN: [[f32; 3]; 2] = [[0.0, 6.0, 8.0], [2.0, -1.0, 2.0]];

    /// What is seen of embeddings beside these two, each text's own vector made by `own`.
    fn seen(own: impl Fn(usize) -> [f32; 3]) -> SeenPooling {
        let rows: Vec<Vec<f32>> = (0..2).map(|text| [own(text), FIRST[text], MEAN[text]].concat()).collect();
        judge(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>(), 3)
    }

    fn scaled(vector: [f32; 3], factor: f32) -> [f32; 3] {
        vector.map(|value| value * factor)
    }

    #[test]
    fn each_pooling_is_told_scaled_or_not() {
        let seen_as = |pooling, normalized| SeenPooling { pooling, normalized };
        assert_eq!(seen(|text| FIRST[text]), seen_as(Some(Pooling::Cls), false));
        assert_eq!(seen(|text| MEAN[text]), seen_as(Some(Pooling::Mean), false));
        let unit = |vector: [f32; 3]| scaled(vector, (1.0 / dot(&vector, &vector).sqrt()) as f32);
        assert_eq!(seen(|text| unit(FIRST[text])), seen_as(Some(Pooling::Cls), true));
        assert_eq!(seen(|text| unit(MEAN[text])), seen_as(Some(Pooling::Mean), true));
    }

    #[test]
    fn what_is_neither_for_every_text_is_not_told() {
        for own in [
            [FIRST[0], MEAN[1]],
            [scaled(MEAN[0], 2.0), scaled(MEAN[1], 3.0)],
            [scaled(FIRST[0], 1.01), FIRST[1]],
            [[8.0, 6.0, 0.0], [2.0, 2.0, -1.0]],
            [[f32::NAN; 3], FIRST[1]],
            [[0.0; 3], MEAN[1]],
        ] {
            assert_eq!(seen(|text| own[text]).pooling, None, "{own:?}");
        }
        let same: Vec<f32> = [FIRST[0], FIRST[0], FIRST[0]].concat();
        assert_eq!(judge(&[&same], 3).pooling, None, "a text whose two vectors are one tells nothing");
    }
}
