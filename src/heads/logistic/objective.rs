//! The exact objective of a logistic head in f64: value, gradient and Hessian products over blocks of f32 rows.
//!
//! Knows no solver and no file. Invariant: in the plain frame this is scikit-learn's `LogisticRegression` objective, mean
//! log loss + |W|²/(2·C·n), the intercept unpenalised or left out; another frame is the same objective in other
//! coordinates. Sums run in row order, so a value is the same on every run.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut1, Axis, Zip, s};

use super::super::arithmetic::{sigmoid, softmax};
use super::products::PADDING;

/// Rows converted to f64 at a time: a block of 384-dimensional rows stays in the second-level cache.
const BLOCK: usize = 256;

/// Coordinates that rows are seen in, `x' = (x - centre)·scale`: weights are `w' = w / scale`, intercepts
/// `b' = b + w·centre`. Rows are never transformed for it, only parameters and gradients.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub centre: Array1<f64>,
    pub scale: f64,
}

impl Frame {
    /// Rows as they are.
    pub fn plain(dim: usize) -> Self {
        Self { centre: Array1::zeros(dim), scale: 1.0 }
    }

    /// Centred rows of root mean square norm `norm`; none where all rows are the same.
    pub fn centred(rows: ArrayView2<'_, f32>, norm: f64) -> Option<Self> {
        let mut centre = Array1::<f64>::zeros(rows.ncols());
        for row in rows.rows() {
            centre.zip_mut_with(&row, |sum, &value| *sum += f64::from(value));
        }
        centre /= rows.nrows() as f64;
        Self::around(centre, rows, norm)
    }

    /// Rows of root mean square norm `norm`, their origin kept; none of zeros.
    pub fn scaled(rows: ArrayView2<'_, f32>, norm: f64) -> Option<Self> {
        Self::around(Array1::zeros(rows.ncols()), rows, norm)
    }

    fn around(centre: Array1<f64>, rows: ArrayView2<'_, f32>, norm: f64) -> Option<Self> {
        let n = rows.nrows() as f64;
        let mut squared = 0.0;
        for row in rows.rows() {
            squared += row.iter().zip(&centre).map(|(&v, c)| (f64::from(v) - c) * (f64::from(v) - c)).sum::<f64>();
        }
        let found = (squared / n).sqrt();
        (found > 1e-12 * centre.dot(&centre).sqrt()).then(|| Self { centre, scale: norm / found })
    }

    /// Numbers of a row in a pass: padded to whole registers.
    pub fn width(&self) -> usize {
        self.centre.len().next_multiple_of(PADDING)
    }

    /// The rows in these coordinates.
    pub fn enter_rows(&self, rows: ArrayView2<'_, f32>) -> Array2<f64> {
        let mut framed = rows.mapv(f64::from);
        framed -= &self.centre;
        framed *= self.scale;
        framed
    }

    /// The same model for plain rows: w = scale·w', b = b' - w·centre.
    pub fn leave(&self, parameters: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut plain = parameters.to_owned();
        let (mut weights, mut intercepts) = plain.view_mut().split_at(Axis(0), self.centre.len());
        weights *= self.scale;
        intercepts -= &self.centre.dot(&weights);
        plain
    }

    /// A gradient by plain parameters as one by these (chain rule): scale·(g_w - centre·g_b), g_b.
    pub fn enter_gradient(&self, mut gradient: Array2<f64>) -> Array2<f64> {
        let (mut weights, intercepts) = gradient.view_mut().split_at(Axis(0), self.centre.len());
        for (mut row, centre) in weights.rows_mut().into_iter().zip(&self.centre) {
            row.scaled_add(-centre, &intercepts.row(0));
        }
        weights *= self.scale;
        gradient
    }
}

/// Rows, labels and strength. Parameters are (dim + 1) × columns: one column per class (a single column for two
/// classes), the intercepts in the last row.
#[derive(Debug)]
pub(super) struct Objective<'a> {
    pub rows: ArrayView2<'a, f32>,
    pub labels: &'a [usize],
    /// Columns of the parameters: 1 for two classes, else the number of classes.
    pub columns: usize,
    /// scikit-learn's C, for plain rows.
    pub c: f64,
    /// Not centred where there are no intercepts.
    pub frame: Frame,
    /// Whether there are intercepts; else they are 0 and have no slope.
    pub fit_intercept: bool,
}

/// The objective at one point. `gradient` has the shape of the parameters.
#[derive(Debug)]
pub(super) struct Value {
    pub objective: f64,
    pub gradient: Array2<f64>,
    /// Probabilities, rows × columns: what Hessian products at this point need.
    pub probabilities: Array2<f64>,
}

impl Objective<'_> {
    /// Weight of |W'|²/2 in the mean objective: with w = scale·w', |w|²/(C·n) = (scale²/(C·n))·|w'|².
    pub fn strength(&self) -> f64 {
        self.frame.scale * self.frame.scale / (self.c * self.rows.nrows() as f64)
    }

    /// Value and gradient at `parameters`, (dim + 1) × columns.
    pub fn value(&self, parameters: ArrayView2<'_, f64>) -> Value {
        let dim = self.rows.ncols();
        let weights = parameters.slice(s![..dim, ..]);
        let mut probabilities = self.logits(parameters);
        let mut loss = 0.0;
        for (mut row, &label) in probabilities.rows_mut().into_iter().zip(self.labels) {
            loss += row_loss(row.view_mut(), label);
        }
        let n = self.rows.nrows() as f64;
        let gradient = self.back(parameters, |row, mut out| {
            out.assign(&probabilities.row(row));
            subtract_target(out, self.labels[row]);
        });
        let objective = loss / n + 0.5 * self.strength() * weights.iter().map(|w| w * w).sum::<f64>();
        Value { objective, gradient, probabilities }
    }

    /// Hessian at the point of `value`, times `direction` (both (dim + 1) × columns).
    pub fn hessian_product(&self, value: &Value, direction: ArrayView2<'_, f64>) -> Array2<f64> {
        let along = self.logits(direction);
        self.back(direction, |row, mut out| {
            let p = value.probabilities.row(row);
            let u = along.row(row);
            if self.columns == 1 {
                out[0] = p[0] * (1.0 - p[0]) * u[0];
            } else {
                let mean = p.dot(&u);
                out.iter_mut().zip(p.iter().zip(u)).for_each(|(o, (p, u))| *o = p * (u - mean));
            }
        })
    }

    /// Rows × columns: `x'·W' + b'`, which are `x·W + b`.
    pub fn logits(&self, parameters: ArrayView2<'_, f64>) -> Array2<f64> {
        let dim = self.rows.ncols();
        let plain = self.frame.leave(parameters);
        let mut logits = Array2::zeros((self.rows.nrows(), self.columns));
        self.for_blocks(|start, block| {
            let mut out = logits.slice_mut(s![start..start + block.nrows(), ..]);
            general_mat_mul(1.0, &block, &plain.slice(s![..dim, ..]), 0.0, &mut out);
            out += &plain.row(dim);
        });
        logits
    }

    /// `X'ᵀ·D/n` (features and intercept) + the penalty's part at `parameters`; `fill` writes row i of D.
    fn back(&self, parameters: ArrayView2<'_, f64>, fill: impl Fn(usize, ArrayViewMut1<'_, f64>)) -> Array2<f64> {
        let dim = self.rows.ncols();
        let n = self.rows.nrows() as f64;
        let mut out = Array2::zeros((dim + 1, self.columns));
        let mut residual = Array2::zeros((BLOCK.min(self.rows.nrows()), self.columns));
        self.for_blocks(|start, block| {
            let mut residual = residual.slice_mut(s![..block.nrows(), ..]);
            for (offset, row) in residual.rows_mut().into_iter().enumerate() {
                fill(start + offset, row);
            }
            general_mat_mul(1.0, &block.t(), &residual, 1.0, &mut out.slice_mut(s![..dim, ..]));
            let mut intercepts = out.row_mut(dim);
            intercepts += &residual.sum_axis(Axis(0));
        });
        out /= n;
        let mut out = self.frame.enter_gradient(out);
        if !self.fit_intercept {
            out.row_mut(dim).fill(0.0);
        }
        out.slice_mut(s![..dim, ..]).scaled_add(self.strength(), &parameters.slice(s![..dim, ..]));
        out
    }

    fn for_blocks(&self, mut each: impl FnMut(usize, ArrayView2<'_, f64>)) {
        let mut block = Array2::zeros((BLOCK.min(self.rows.nrows()), self.rows.ncols()));
        for (index, rows) in self.rows.axis_chunks_iter(Axis(0), BLOCK).enumerate() {
            let mut block = block.slice_mut(s![..rows.nrows(), ..]);
            Zip::from(&mut block).and(rows).for_each(|out, &value| *out = f64::from(value));
            each(index * BLOCK, block.view());
        }
    }
}

/// Turns a row of logits into probabilities and gives the log loss of `label`, safe for logits of any width.
fn row_loss(mut row: ArrayViewMut1<'_, f64>, label: usize) -> f64 {
    if row.len() == 1 {
        let logit = row[0];
        row[0] = sigmoid(logit);
        let wrong = if label == 1 { -logit } else { logit };
        return wrong.max(0.0) + (-wrong.abs()).exp().ln_1p();
    }
    let target = row[label];
    let log_sum = softmax(row.view_mut());
    log_sum - target
}

fn subtract_target(mut row: ArrayViewMut1<'_, f64>, label: usize) {
    if row.len() == 1 {
        row[0] -= label as f64;
    } else {
        row[label] -= 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn objective<'a>(rows: &'a Array2<f32>, labels: &'a [usize], columns: usize, frame: Frame) -> Objective<'a> {
        Objective { rows: rows.view(), labels, columns, c: 0.7, frame, fit_intercept: true }
    }

    /// Rows and a point, over more than one block.
    fn problem(columns: usize) -> (Array2<f32>, Vec<usize>, Array2<f64>) {
        let classes = columns.max(2);
        let n = BLOCK + 5;
        let rows = Array2::from_shape_fn((n, 3), |(i, j)| ((i * 7 + j * 13) % 11) as f32 / 5.0 - 0.4 * j as f32);
        let labels = (0..n).map(|row| (row * row + row / 3) % classes).collect();
        (rows, labels, Array2::from_shape_fn((4, columns), |(i, j)| 0.3 * i as f64 - 0.5 * j as f64 + 0.1))
    }

    #[test]
    fn gradient_and_hessian_are_the_differences() {
        for columns in [1, 3] {
            let (rows, labels, point) = problem(columns);
            for frame in [Frame::plain(3), Frame::centred(rows.view(), 3.0).unwrap()] {
                let objective = objective(&rows, &labels, columns, frame);
                let value = objective.value(point.view());
                for index in ndarray::indices(point.dim()) {
                    let mut direction = Array2::zeros(point.dim());
                    direction[index] = 1.0;
                    let (after, before) = (&point + &(&direction * 1e-5), &point - &(&direction * 1e-5));
                    let (after, before) = (objective.value(after.view()), objective.value(before.view()));
                    let slope = (after.objective - before.objective) / 2e-5;
                    assert!((slope - value.gradient[index]).abs() < 1e-8, "{slope} at {index:?}");
                    let bend = (&after.gradient - &before.gradient) / 2e-5;
                    let product = objective.hessian_product(&value, direction.view());
                    assert!((&bend - &product).iter().all(|d| d.abs() < 1e-7), "{bend} for {product}");
                }
            }
        }
    }

    #[test]
    fn without_intercepts_their_slope_is_zero_and_the_rest_stays() {
        let (rows, labels, mut point) = problem(3);
        point.row_mut(3).fill(0.0);
        for frame in [Frame::plain(3), Frame::scaled(rows.view(), 3.0).unwrap()] {
            assert!(frame.centre.iter().all(|&value| value == 0.0));
            let with = objective(&rows, &labels, 3, frame);
            let without = Objective { fit_intercept: false, frame: with.frame.clone(), ..with };
            let (with, without) = (with.value(point.view()), without.value(point.view()));
            assert_eq!((with.objective, without.gradient.row(3).sum()), (without.objective, 0.0));
            assert_eq!(with.gradient.slice(s![..3, ..]), without.gradient.slice(s![..3, ..]));
            assert!(with.gradient.row(3).iter().any(|&slope| slope != 0.0));
        }
    }

    #[test]
    fn a_frame_changes_coordinates_and_nothing_else() {
        let (rows, labels, framed_point) = problem(3);
        let frame = Frame::centred(rows.view(), 3.0).unwrap();
        let framed_rows = frame.enter_rows(rows.view());
        let mean_square = framed_rows.iter().map(|v| v * v).sum::<f64>() / rows.nrows() as f64;
        assert!((mean_square - 9.0).abs() < 1e-9 && framed_rows.sum_axis(Axis(0)).iter().all(|s| s.abs() < 1e-9));

        let plain_point = frame.leave(framed_point.view());
        let framed = objective(&rows, &labels, 3, frame.clone());
        let plain = objective(&rows, &labels, 3, Frame::plain(3));
        let direct = framed_rows.dot(&framed_point.slice(s![..3, ..])) + framed_point.row(3);
        assert!((&framed.logits(framed_point.view()) - &direct).iter().all(|d| d.abs() < 1e-12));
        let (inside, outside) = (framed.value(framed_point.view()), plain.value(plain_point.view()));
        assert!((inside.objective - outside.objective).abs() < 1e-12);
        let entered = frame.enter_gradient(outside.gradient);
        assert!((&inside.gradient - &entered).iter().all(|d| d.abs() < 1e-12));
    }

    #[test]
    fn the_value_is_the_formula() {
        let rows = array![[1.0_f32], [-1.0]];
        let objective = objective(&rows, &[1, 0], 1, Frame::plain(1));
        let value = objective.value(array![[2.0], [0.5]].view());
        let want = ((-2.5_f64).exp().ln_1p() + (-1.5_f64).exp().ln_1p()) / 2.0 + 4.0 / (2.0 * 0.7 * 2.0);
        assert!((value.objective - want).abs() < 1e-15);
    }

    #[test]
    fn losses_of_wide_logits_are_exact() {
        let mut row = array![1000.0, 0.0, -1000.0];
        assert_eq!(row_loss(row.view_mut(), 1), 1000.0);
        assert_eq!(row, array![1.0, 0.0, 0.0]);
        assert_eq!(row_loss(array![800.0].view_mut(), 0), 800.0);
        assert_eq!(row_loss(array![-800.0].view_mut(), 0), 0.0);
        assert_eq!((sigmoid(-800.0), sigmoid(0.0), sigmoid(800.0)), (0.0, 0.5, 1.0));
    }
}
