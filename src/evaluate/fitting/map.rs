//! Embeddings as points of a plane: the two directions in which they differ most. Knows no labels. Invariant: the same
//! rows give the same points, whose axes point to where the largest coordinate in size is positive.

use crate::heads::Rows;

/// Rounds of the iteration at most; what it converges to is a picture, not a result.
const MOST_ROUNDS: usize = 200;
/// Change of the directions at which it ends.
const STILL: f64 = 1e-6;

/// Rows in a plane.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaneMap {
    /// A point for each row.
    pub points: Vec<[f64; 2]>,
    /// Share of the rows' variance along each axis.
    pub shares: [f64; 2],
}

/// The principal components of some rows, by orthogonal iteration on the centred rows (Golub and Van Loan, Matrix
/// Computations, 8.2.4), which never makes their covariance. None of fewer than three rows, of rows that are all the same,
/// or of numbers that are not finite.
pub fn plane_map(rows: &dyn Rows, numbers: &[usize]) -> Option<PlaneMap> {
    let dim = rows.dim();
    if numbers.len() < 3 || dim < 2 {
        return None;
    }
    let mut mean = vec![0.0; dim];
    for &row in numbers {
        mean.iter_mut().zip(rows.row(row)).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    mean.iter_mut().for_each(|sum| *sum /= numbers.len() as f64);
    let centred: Vec<Vec<f64>> = numbers
        .iter()
        .map(|&row| rows.row(row).iter().zip(&mean).map(|(&value, mean)| f64::from(value) - mean).collect())
        .collect();
    let total: f64 = centred.iter().map(|row| dot(row, row)).sum();
    if !(total.is_finite() && total > 0.0) {
        return None;
    }
    // The row farthest from the mean and the one farthest from its line: a start that has both directions in it.
    let first = farthest(&centred, |row| dot(row, row))?;
    let mut axes = [centred[first].clone(), Vec::new()];
    normalize(&mut axes[0]);
    let second = farthest(&centred, |row| dot(row, row) - dot(row, &axes[0]).powi(2))?;
    axes[1] = centred[second].clone();
    orthonormalize(&mut axes)?;
    for _ in 0..MOST_ROUNDS {
        let mut next = axes.clone().map(|axis| turned(&centred, &axis));
        orthonormalize(&mut next)?;
        let moved = next.iter().zip(&axes).map(|(a, b)| 1.0 - dot(a, b).abs()).fold(0.0, f64::max);
        axes = next;
        if moved < STILL {
            break;
        }
    }
    for axis in &mut axes {
        let largest = axis.iter().copied().fold(
            0.0,
            |largest: f64, value| {
                if value.abs() > largest.abs() { value } else { largest }
            },
        );
        axis.iter_mut().for_each(|value| *value *= largest.signum());
    }
    let points: Vec<[f64; 2]> = centred.iter().map(|row| [dot(row, &axes[0]), dot(row, &axes[1])]).collect();
    let share = |at: usize| points.iter().map(|point| point[at] * point[at]).sum::<f64>() / total;
    Some(PlaneMap { shares: [share(0), share(1)], points })
}

/// Σ x (x·axis).
fn turned(rows: &[Vec<f64>], axis: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; axis.len()];
    for row in rows {
        let along = dot(row, axis);
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += along * value);
    }
    sum
}

fn farthest(rows: &[Vec<f64>], size: impl Fn(&[f64]) -> f64) -> Option<usize> {
    let sizes: Vec<f64> = rows.iter().map(|row| size(row)).collect();
    (0..sizes.len()).max_by(|&a, &b| sizes[a].total_cmp(&sizes[b]).then(b.cmp(&a)))
}

/// None where the second lies along the first but for rounding.
fn orthonormalize(axes: &mut [Vec<f64>; 2]) -> Option<()> {
    let [first, second] = axes;
    normalize(first).then_some(())?;
    let before = dot(second, second);
    let along = dot(first, second);
    second.iter_mut().zip(&*first).for_each(|(value, one)| *value -= along * one);
    (dot(second, second) > before * 1e-20).then_some(())?;
    normalize(second).then_some(())
}

fn normalize(axis: &mut [f64]) -> bool {
    let norm = dot(axis, axis).sqrt();
    if !(norm.is_finite() && norm > 0.0) {
        return false;
    }
    axis.iter_mut().for_each(|value| *value /= norm);
    true
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::Matrix;

    #[test]
    fn the_axes_are_those_of_the_largest_spread() {
        // Spread 10 along the third column, 3 along the first, 0.1 along the second, around (5, 5, 5).
        let mut values = Vec::new();
        for n in 0..60_u8 {
            let angle = f64::from(n) * std::f64::consts::TAU / 60.0;
            let row = [3.0 * angle.sin(), 0.1 * (7.0 * angle).cos(), 10.0 * angle.cos()];
            values.extend(row.map(|value| (5.0 + value) as f32));
        }
        let rows = Matrix::new(&values, (60, 3)).unwrap();
        let numbers: Vec<usize> = (0..60).collect();
        let map = plane_map(&rows, &numbers).unwrap();
        for (n, [across, up]) in map.points.iter().enumerate() {
            let angle = n as f64 * std::f64::consts::TAU / 60.0;
            assert!((across - 10.0 * angle.cos()).abs() < 1e-3, "{n}: {across}");
            assert!((up - 3.0 * angle.sin()).abs() < 1e-3, "{n}: {up}");
        }
        assert!((map.shares[0] - 100.0 / 109.01).abs() < 1e-4 && (map.shares[1] - 9.0 / 109.01).abs() < 1e-4);
        assert_eq!(plane_map(&rows, &numbers).unwrap(), map);
    }

    #[test]
    fn rows_without_a_plane_have_no_map() {
        let same = [1.0_f32; 12];
        let rows = Matrix::new(&same, (4, 3)).unwrap();
        assert_eq!(plane_map(&rows, &[0, 1, 2, 3]), None);
        let line: Vec<f32> = (0..5_u8).flat_map(|n| [f32::from(n), 2.0 * f32::from(n), 0.0]).collect();
        let rows = Matrix::new(&line, (5, 3)).unwrap();
        assert_eq!(plane_map(&rows, &[0, 1, 2, 3, 4]), None);
        assert_eq!(plane_map(&rows, &[0, 1]), None);
        let nan = [f32::NAN; 9];
        assert_eq!(plane_map(&Matrix::new(&nan, (3, 3)).unwrap(), &[0, 1, 2]), None);
    }
}
