//! How far vectors lie from those of the reference: fp32 on the CPU provider. A speed without this number says little.
//! Knows not how either came about.

use serde::{Deserialize, Serialize};

use crate::encode::{cosine, differences};
use crate::runtime::EmbeddingMatrix;

/// Vectors of the same texts, compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Texts that were compared.
    pub texts: usize,
    /// Least cosine of a text's two vectors; exactly 1 where no bit differs.
    pub cosine_min: f64,
    /// Their mean.
    pub cosine_mean: f64,
    /// Largest difference of a component.
    pub max_delta: f64,
    /// Texts whose vectors differ in a bit.
    pub rows_differ: usize,
}

impl Accuracy {
    /// `vectors` beside those of the reference; none where they are not of the same texts, or of none.
    pub fn of(vectors: &EmbeddingMatrix, reference: &EmbeddingMatrix) -> Option<Self> {
        if vectors.rows == 0 || (vectors.rows, vectors.dim) != (reference.rows, reference.dim) {
            return None;
        }
        let (rows, max_delta) = differences(reference, vectors);
        let cosines: Vec<f64> = rows.iter().map(|&row| cosine(reference.row(row), vectors.row(row))).collect();
        let same = (vectors.rows - rows.len()) as f64;
        Some(Self {
            texts: vectors.rows,
            cosine_min: cosines.iter().copied().fold(1.0, f64::min),
            cosine_mean: (cosines.iter().sum::<f64>() + same) / vectors.rows as f64,
            max_delta,
            rows_differ: rows.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_counted_and_the_same_is_exactly_the_same() {
        let reference = EmbeddingMatrix { rows: 2, dim: 2, data: vec![1.0, 0.0, 0.6, 0.8] };
        let same = Accuracy::of(&reference, &reference).unwrap();
        assert_eq!(same, Accuracy { texts: 2, cosine_min: 1.0, cosine_mean: 1.0, max_delta: 0.0, rows_differ: 0 });
        let turned = EmbeddingMatrix { data: vec![0.0, 1.0, 0.6, 0.8], ..reference.clone() };
        let found = Accuracy::of(&turned, &reference).unwrap();
        assert_eq!(found, Accuracy { texts: 2, cosine_min: 0.0, cosine_mean: 0.5, max_delta: 1.0, rows_differ: 1 });
        let fewer = EmbeddingMatrix { rows: 1, dim: 2, data: vec![1.0, 0.0] };
        assert_eq!(Accuracy::of(&fewer, &reference), None);
    }
}
