//! Shapes of batches, and ranges of them. Knows nothing of where they come from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Texts × tokens of a padded batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BatchShape {
    /// Texts.
    pub rows: usize,
    /// Length of the longest text, in tokens.
    pub columns: usize,
}

impl BatchShape {
    /// `rows` texts of `columns` tokens.
    pub fn new(rows: usize, columns: usize) -> Self {
        Self { rows, columns }
    }

    /// Padded tokens.
    pub fn tokens(self) -> usize {
        self.rows.saturating_mul(self.columns)
    }
}

impl fmt::Display for BatchShape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} × {}", self.rows, self.columns)
    }
}

/// The shapes that one engine takes: every one between `min` and `max` in both sides. It is tuned for `opt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ShapeProfile {
    /// The smallest shape.
    pub min: BatchShape,
    /// The shape for which the fastest kernels are chosen.
    pub opt: BatchShape,
    /// The largest shape; memory is set aside for it.
    pub max: BatchShape,
}

impl ShapeProfile {
    /// Whether a batch of this shape may go through the engine.
    pub fn contains(&self, shape: BatchShape) -> bool {
        (self.min.rows..=self.max.rows).contains(&shape.rows)
            && (self.min.columns..=self.max.columns).contains(&shape.columns)
    }
}

impl fmt::Display for ShapeProfile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} to {}, best at {}", self.min, self.max, self.opt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_contains_its_corners_and_nothing_beyond() {
        let profile =
            ShapeProfile { min: BatchShape::new(1, 17), opt: BatchShape::new(300, 40), max: BatchShape::new(963, 64) };
        for inside in [profile.min, profile.opt, profile.max, BatchShape::new(1, 64), BatchShape::new(963, 17)] {
            assert!(profile.contains(inside), "{inside}");
        }
        for outside in [(0, 17), (1, 16), (964, 64), (963, 65)] {
            assert!(!profile.contains(BatchShape::new(outside.0, outside.1)), "{outside:?}");
        }
        assert_eq!(profile.to_string(), "1 × 17 to 963 × 64, best at 300 × 40");
        assert_eq!(profile.max.tokens(), 963 * 64);
    }
}
