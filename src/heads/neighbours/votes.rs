//! Decision values out of neighbours and what is right for them.
//!
//! Knows targets and distances, no rows. Invariant: shares are from 0 to 1; values of two classes and of labels are the
//! share for less the share against, so that above 0 means the second class, or that the label is given.

use ndarray::ArrayViewMut1;
use serde::{Deserialize, Serialize};

use super::candidates::Neighbour;
use crate::heads::trainer::Targets;

/// How much each neighbour counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighting {
    /// All the same.
    #[default]
    Uniform,
    /// By the inverse of the distance; where some are at distance 0, they alone count.
    Distance,
}

impl Weighting {
    /// Writes one weight per neighbour.
    fn write(self, neighbours: &[Neighbour], weights: &mut Vec<f64>) {
        weights.clear();
        match self {
            Self::Uniform => weights.resize(neighbours.len(), 1.0),
            Self::Distance => {
                weights.extend(neighbours.iter().map(|neighbour| neighbour.distance.recip()));
                if weights.iter().any(|weight| weight.is_infinite()) {
                    weights.iter_mut().for_each(|weight| *weight = if weight.is_infinite() { 1.0 } else { 0.0 });
                }
            }
        }
    }
}

/// Writes the decision values of one query (one per column of the targets), given its neighbours; `weights` is space.
pub(super) fn decide(
    targets: &Targets,
    (neighbours, weighting): (&[Neighbour], Weighting),
    weights: &mut Vec<f64>,
    mut out: ArrayViewMut1<'_, f64>,
) {
    weighting.write(neighbours, weights);
    let total: f64 = weights.iter().sum();
    let weighed = || neighbours.iter().map(|neighbour| neighbour.row).zip(weights.iter().copied());
    out.fill(0.0);
    match targets {
        Targets::Classes { of, classes: 2 } => {
            weighed().for_each(|(row, weight)| out[0] += if of[row] == 1 { weight } else { -weight });
            out[0] /= total;
        }
        Targets::Classes { of, .. } => {
            weighed().for_each(|(row, weight)| out[of[row]] += weight);
            out /= total;
        }
        Targets::Labels { of, .. } => {
            weighed().for_each(|(row, weight)| of[row].iter().for_each(|&label| out[label] += 2.0 * weight));
            out.mapv_inplace(|given| (given - total) / total);
        }
        Targets::Numbers(numbers) => {
            weighed().for_each(|(row, weight)| out.scaled_add(weight, &numbers.row(row)));
            out /= total;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, array};

    fn decided(targets: &Targets, weighting: Weighting, distances: &[f64]) -> Vec<f64> {
        let neighbours: Vec<Neighbour> =
            distances.iter().enumerate().map(|(row, &distance)| Neighbour { row, distance }).collect();
        let mut out = Array1::zeros(targets.columns());
        decide(targets, (&neighbours, weighting), &mut Vec::new(), out.view_mut());
        out.to_vec()
    }

    #[test]
    fn shares_by_count_and_by_distance() {
        let distances = [0.5, 1.0, 2.0, 2.0];
        let two = Targets::Classes { of: vec![1, 0, 0, 0], classes: 2 };
        assert_eq!(decided(&two, Weighting::Uniform, &distances), [-0.5]);
        assert_eq!(decided(&two, Weighting::Distance, &distances), [0.0]);
        let three = Targets::Classes { of: vec![2, 0, 0, 1], classes: 3 };
        assert_eq!(decided(&three, Weighting::Uniform, &distances), [0.5, 0.25, 0.25]);
        assert_eq!(decided(&three, Weighting::Distance, &distances), [0.375, 0.125, 0.5]);
        let labels = Targets::Labels { of: vec![vec![0, 1], vec![1], vec![], vec![1]], labels: 3 };
        assert_eq!(decided(&labels, Weighting::Uniform, &distances), [-0.5, 0.5, -1.0]);
        let numbers = Targets::Numbers(array![[1.0], [2.0], [3.0], [6.0]]);
        assert_eq!(decided(&numbers, Weighting::Uniform, &distances), [3.0]);
        assert_eq!(decided(&numbers, Weighting::Distance, &distances), [2.125]);
    }

    #[test]
    fn the_same_row_outvotes_all_others() {
        let three = Targets::Classes { of: vec![2, 2, 1, 0], classes: 3 };
        assert_eq!(decided(&three, Weighting::Distance, &[0.0, 0.0, 1e-9, 1.0]), [0.0, 0.0, 1.0]);
        // Too near for its inverse to be a number.
        assert_eq!(decided(&three, Weighting::Distance, &[1.0, 1.0, 1e-310, 1.0]), [0.0, 1.0, 0.0]);
    }
}
