//! Coordinate descent on the sums of products of one target: the elastic net without the rows.
//!
//! Knows a Gram matrix and penalties. Minimises ½·wᵀGw - qᵀw + l1·|w|₁ + ½·l2·|w|². Invariant: what it hands out carries a
//! duality gap that was computed from the coefficients handed out. Method: Friedman, Hastie, Tibshirani,
//! "Regularization paths for generalized linear models via coordinate descent", 2010; screening by the gap: Fercoq,
//! Gramfort, Salmon, "Mind the duality gap: safer rules for the lasso", 2015.

use ndarray::{Array2, ArrayView1};

use crate::heads::tridiagonal::Tridiagonal;

/// Passes over the coordinates that are left between two looks at the gap.
const BETWEEN_GAPS: u64 = 10;

/// Share of the target's squares that the gap may have lost to rounding.
const ROUNDING: f64 = 1e-12;

/// One target's least squares.
pub(super) struct Target<'a> {
    pub gram: &'a Array2<f64>,
    /// Products of the rows' columns with the target.
    pub cross: ArrayView1<'a, f64>,
    /// Sum of squares of the target.
    pub square: f64,
}

/// Both penalties, each times the number of rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Penalties {
    pub l1: f64,
    pub l2: f64,
}

/// Weight of the distance from the present coefficients in a jump, as a share of the largest curvature.
const NEAR: f64 = 1e-13;

/// Coefficients on their way.
#[derive(Debug, Clone)]
pub(super) struct Descent {
    pub coefficients: Vec<f64>,
    /// G·coefficients.
    product: Vec<f64>,
}

/// Where the descent ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub passes: u64,
    /// Duality gap over the sum of squares of the target.
    pub gap: f64,
    /// The objective in the meaning of this file's first lines, plus half of the target's squares.
    pub objective: f64,
}

impl Descent {
    pub fn from_zero(dim: usize) -> Self {
        Self { coefficients: vec![0.0; dim], product: vec![0.0; dim] }
    }

    /// Goes down from where it is until the gap is at most `tolerance` of the target's sum of squares, or for
    /// `max_passes`.
    pub fn run(&mut self, target: &Target<'_>, penalties: Penalties, (tolerance, max_passes): (f64, u64)) -> Ended {
        let mut left: Vec<usize> = (0..self.coefficients.len()).collect();
        let allowed = tolerance * target.square;
        let mut passes = 0;
        let (mut support, mut next_jump) = (Vec::new(), 2 * BETWEEN_GAPS);
        loop {
            let Look { gap, objective, shrink } = self.look(target, penalties);
            if gap <= allowed || passes >= max_passes {
                let gap = if target.square > 0.0 { gap / target.square } else { gap };
                return Ended { passes, gap, objective };
            }
            // What the gap may have lost to rounding is added, so that no coordinate is dropped by it.
            self.screen((target, penalties), (gap + ROUNDING * target.square, shrink), &mut left);
            let last = std::mem::replace(&mut support, self.support());
            if passes >= next_jump && support == last {
                next_jump = 2 * passes;
                // Each jump that stops on the way leaves one coordinate fewer.
                while !self.jump((target, penalties)) {}
            }
            for _ in 0..BETWEEN_GAPS.min(max_passes - passes) {
                passes += 1;
                if !self.pass(target, penalties, &left) {
                    break;
                }
            }
        }
    }

    /// Minimises over each coordinate of `left` in turn; false where none moved.
    fn pass(&mut self, target: &Target<'_>, penalties: Penalties, left: &[usize]) -> bool {
        let mut moved = false;
        for &at in left {
            let curvature = target.gram[[at, at]];
            if curvature == 0.0 {
                continue;
            }
            let old = self.coefficients[at];
            let slope = target.cross[at] - self.product[at] + old * curvature;
            let new = slope.signum() * (slope.abs() - penalties.l1).max(0.0) / (curvature + penalties.l2);
            if new != old {
                self.put(target, at, new);
                moved = true;
            }
        }
        moved
    }

    fn put(&mut self, target: &Target<'_>, at: usize, new: f64) {
        let change = new - self.coefficients[at];
        self.coefficients[at] = new;
        // A row of a symmetric matrix is its column.
        let row = target.gram.row(at);
        let row = row.as_slice().expect("standard layout");
        self.product.iter_mut().zip(row).for_each(|(product, value)| *product += change * value);
    }

    /// Coordinates that are not 0.
    fn support(&self) -> Vec<usize> {
        (0..self.coefficients.len()).filter(|&at| self.coefficients[at] != 0.0).collect()
    }

    /// Goes to where the objective is least among coefficients with the present signs, or on the way there to where the
    /// first of them becomes 0: as long as no sign changes the objective is a parabola, so it falls all the way. False
    /// where it stopped on the way.
    fn jump(&mut self, (target, Penalties { l1, l2 }): (&Target<'_>, Penalties)) -> bool {
        let support = self.support();
        let old = |at: usize| self.coefficients[support[at]];
        let count = support.len();
        let gram = Array2::from_shape_fn((count, count), |(i, j)| target.gram[[support[i], support[j]]]);
        let mut best = Array2::from_shape_fn((count, 1), |(at, _)| target.cross[support[at]] - l1 * old(at).signum());
        // Where columns depend on each other, there is a least among the nearest only.
        let near = NEAR * gram.diag().iter().fold(0.0_f64, |most, &value| most.max(value));
        for at in 0..count {
            best[[at, 0]] += near * old(at);
        }
        let factored = Tridiagonal::of(gram);
        factored.turn(best.view_mut());
        if !factored.solve(l2 + near, best.view_mut()) {
            return true;
        }
        factored.turn_back(best.view_mut());
        let share = |at: usize| if best[[at, 0]] * old(at) < 0.0 { old(at) / (old(at) - best[[at, 0]]) } else { 1.0 };
        let shares: Vec<f64> = (0..count).map(share).collect();
        let least = shares.iter().fold(1.0_f64, |least, &share| least.min(share));
        let mut ends = Vec::with_capacity(count);
        if !shares.iter().all(|share| share.is_finite()) {
            return true;
        }
        for (at, share) in shares.into_iter().enumerate() {
            let end = if share > least || least == 1.0 { old(at) + least * (best[[at, 0]] - old(at)) } else { 0.0 };
            ends.push(end);
        }
        support.iter().zip(ends).for_each(|(&at, end)| self.put(target, at, end));
        least == 1.0
    }

    /// Half of the negative gradient of the smooth part at a coordinate.
    fn slope(&self, target: &Target<'_>, l2: f64, at: usize) -> f64 {
        target.cross[at] - self.product[at] - l2 * self.coefficients[at]
    }

    fn look(&self, target: &Target<'_>, Penalties { l1, l2 }: Penalties) -> Look {
        let slopes = || (0..self.coefficients.len()).map(|at| self.slope(target, l2, at));
        let steepest = slopes().fold(0.0_f64, |most, slope| most.max(slope.abs()));
        let with_target = inner(target.cross.iter(), &self.coefficients);
        let size = inner(self.coefficients.iter(), &self.coefficients);
        let absolute: f64 = self.coefficients.iter().map(|value| value.abs()).sum();
        let residual = (target.square - 2.0 * with_target + inner(self.product.iter(), &self.coefficients)).max(0.0);
        let objective = 0.5 * residual + l1 * absolute + 0.5 * l2 * size;
        if l1 == 0.0 {
            // The dual has one feasible point, which is not known; strong convexity bounds the gap instead.
            let gap = slopes().map(|slope| slope * slope).sum::<f64>() / (2.0 * l2);
            return Look { gap, objective, shrink: 0.0 };
        }
        let shrink = if steepest > l1 { l1 / steepest } else { 1.0 };
        let dual = shrink * (target.square - with_target) - 0.5 * shrink * shrink * (residual + l2 * size);
        // Rounding may put the dual above the objective by a little.
        Look { gap: (objective - dual).max(0.0), objective, shrink }
    }

    /// Takes coordinates out of `left` that are 0 at the optimum for certain, given the duality gap.
    fn screen(
        &mut self,
        (target, Penalties { l1, l2 }): (&Target<'_>, Penalties),
        (gap, shrink): (f64, f64),
        left: &mut Vec<usize>,
    ) {
        let radius = (2.0 * gap).sqrt();
        let certain = |at: usize| {
            let norm = (target.gram[[at, at]] + l2).sqrt();
            shrink * self.slope(target, l2, at).abs() + radius * norm < l1
        };
        let (dropped, kept): (Vec<usize>, Vec<usize>) = left.iter().partition(|&&at| certain(at));
        *left = kept;
        for at in dropped {
            if self.coefficients[at] != 0.0 {
                self.put(target, at, 0.0);
            }
        }
    }
}

/// Where a descent is.
struct Look {
    gap: f64,
    objective: f64,
    /// What brings the slopes below the L1 penalty.
    shrink: f64,
}

fn inner<'a>(a: impl Iterator<Item = &'a f64>, b: &[f64]) -> f64 {
    a.zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows, their Gram matrix, products with a target of two columns and noise, and its squares.
    fn problem() -> (Array2<f64>, ndarray::Array1<f64>, f64) {
        let rows = Array2::from_shape_fn((60, 12), |(i, j)| ((i * 31 + j * 17 + i * j * 5) % 41) as f64 / 20.0 - 1.0);
        let target =
            ndarray::Array1::from_shape_fn(60, |i| 2.0 * rows[[i, 3]] - rows[[i, 7]] + ((i * 13) % 7) as f64 / 10.0);
        (rows.t().dot(&rows), rows.t().dot(&target), target.dot(&target))
    }

    #[test]
    fn at_the_optimum_no_coordinate_can_gain() {
        let (gram, cross, square) = problem();
        let target = Target { gram: &gram, cross: cross.view(), square };
        for (l1, l2) in [(5.0, 0.0), (1.0, 3.0), (1e-3, 1.0), (0.0, 2.0)] {
            let mut descent = Descent::from_zero(12);
            let ended = descent.run(&target, Penalties { l1, l2 }, (1e-14, 100_000));
            assert!(ended.gap <= 1e-14, "l1 {l1}, l2 {l2}: gap {:e} after {} passes", ended.gap, ended.passes);
            let product = gram.dot(&ndarray::ArrayView1::from(&descent.coefficients));
            for at in 0..12 {
                let (w, slope) = (descent.coefficients[at], cross[at] - product[at] - l2 * descent.coefficients[at]);
                let off = if w == 0.0 { (slope.abs() - l1).max(0.0) } else { (slope - l1 * w.signum()).abs() };
                assert!(off <= 1e-5, "l1 {l1}, l2 {l2}, coordinate {at}: {w} with slope {slope}");
            }
        }
    }

    #[test]
    fn a_warm_start_ends_at_the_same_place() {
        let (gram, cross, square) = problem();
        let target = Target { gram: &gram, cross: cross.view(), square };
        let mut warm = Descent::from_zero(12);
        warm.run(&target, Penalties { l1: 20.0, l2: 1.0 }, (1e-12, 10_000));
        warm.run(&target, Penalties { l1: 0.5, l2: 1.0 }, (1e-14, 10_000));
        let mut cold = Descent::from_zero(12);
        cold.run(&target, Penalties { l1: 0.5, l2: 1.0 }, (1e-14, 10_000));
        for (a, b) in warm.coefficients.iter().zip(&cold.coefficients) {
            assert!((a - b).abs() < 1e-6);
        }
    }

    #[test]
    fn passes_are_bounded_and_the_gap_is_told() {
        let (gram, cross, square) = problem();
        let target = Target { gram: &gram, cross: cross.view(), square };
        let ended = Descent::from_zero(12).run(&target, Penalties { l1: 1e-3, l2: 1e-3 }, (1e-14, 1));
        assert_eq!(ended.passes, 1);
        assert!(ended.gap > 1e-14);
    }
}
