//! Products of f32 rows with weights in either precision, on the widest registers of the machine: plain loops that the
//! compiler makes wide, unlike those of `lanes`, which name their registers.
//!
//! Knows numbers only. Invariant: products are added in the same order and rounded in the same places whatever the
//! registers are (no fused multiply-add), so a fit is the same bits on all of them.

/// A precision that weights are kept in while they change.
pub(super) trait Real: Copy + Send + Sync {
    /// The nearest number of this precision.
    fn of(value: f64) -> Self;

    /// `x·weights`; both have the same length.
    fn dot(x: &[f32], weights: &[Self]) -> f64;

    /// `weights += factor·x`; both have the same length.
    fn add(weights: &mut [Self], factor: f64, x: &[f32]);
}

/// Running sums of a product in f32: two registers of 512 bits, eight of 128.
const LANES: usize = 32;

/// The same of a product in f64.
const WIDE_LANES: usize = 16;

impl Real for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn dot(x: &[f32], weights: &[Self]) -> f64 {
        let mut sums = [0.0; LANES];
        let (x_chunks, x_rest) = x.as_chunks::<LANES>();
        let (w_chunks, w_rest) = weights.as_chunks::<LANES>();
        for (x, w) in x_chunks.iter().zip(w_chunks) {
            for lane in 0..LANES {
                sums[lane] += x[lane] * w[lane];
            }
        }
        let rest: f32 = x_rest.iter().zip(w_rest).map(|(x, w)| x * w).sum();
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
            width /= 2;
        }
        f64::from(sums[0] + rest)
    }

    #[inline(always)]
    fn add(weights: &mut [Self], factor: f64, x: &[f32]) {
        let factor = factor as f32;
        for (w, x) in weights.iter_mut().zip(x) {
            *w += factor * x;
        }
    }
}

impl Real for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn dot(x: &[f32], weights: &[Self]) -> f64 {
        let mut sums = [0.0; WIDE_LANES];
        let (x_chunks, x_rest) = x.as_chunks::<WIDE_LANES>();
        let (w_chunks, w_rest) = weights.as_chunks::<WIDE_LANES>();
        for (x, w) in x_chunks.iter().zip(w_chunks) {
            for lane in 0..WIDE_LANES {
                sums[lane] += f64::from(x[lane]) * w[lane];
            }
        }
        let rest: f64 = x_rest.iter().zip(w_rest).map(|(x, w)| f64::from(*x) * w).sum();
        let mut width = WIDE_LANES / 2;
        while width > 0 {
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
            width /= 2;
        }
        sums[0] + rest
    }

    #[inline(always)]
    fn add(weights: &mut [Self], factor: f64, x: &[f32]) {
        for (w, x) in weights.iter_mut().zip(x) {
            *w += factor * f64::from(*x);
        }
    }
}

/// Something to compute; `run` and what it calls are inlined, so that they are compiled for the registers at hand.
pub(super) trait Work {
    /// What comes out.
    type Output;

    /// Computes it.
    fn run(self) -> Self::Output;
}

/// Runs `work` compiled for the widest registers that this machine has.
pub(super) fn on_widest_registers<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512vl") {
            #[expect(unsafe_code, reason = "the machine has the instructions, as the line above has asked")]
            return unsafe { with_avx512(work) };
        }
        if std::is_x86_feature_detected!("avx2") {
            #[expect(unsafe_code, reason = "the machine has the instructions, as the line above has asked")]
            return unsafe { with_avx2(work) };
        }
    }
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl")]
fn with_avx512<W: Work>(work: W) -> W::Output {
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<W: Work>(work: W) -> W::Output {
    work.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dots<'a>(&'a [f32], &'a [f32], &'a [f64]);

    impl Work for Dots<'_> {
        type Output = (f64, f64);

        #[inline(always)]
        fn run(self) -> (f64, f64) {
            (f32::dot(self.0, self.1), f64::dot(self.0, self.2))
        }
    }

    #[test]
    fn all_registers_give_the_same_bits() {
        for dim in [0, 1, 7, 31, 32, 48, 385, 1000] {
            let x: Vec<f32> = (0..dim).map(|at| ((at * 37 % 101) as f32).sin()).collect();
            let single: Vec<f32> = (0..dim).map(|at| ((at * 53 % 89) as f32).cos()).collect();
            let double: Vec<f64> = single.iter().map(|&w| f64::from(w)).collect();
            let (narrow, narrow_double) = Dots(&x, &single, &double).run();
            let (wide, wide_double) = on_widest_registers(Dots(&x, &single, &double));
            assert_eq!((narrow.to_bits(), narrow_double.to_bits()), (wide.to_bits(), wide_double.to_bits()));
            let plain: f64 = x.iter().zip(&double).map(|(x, w)| f64::from(*x) * w).sum();
            assert!((narrow_double - plain).abs() < 1e-12, "{narrow_double} is not {plain}");
            assert!((narrow - plain).abs() < 1e-4, "{narrow} is not {plain}");
        }
    }

    #[test]
    fn adds_a_multiple_of_a_row() {
        let (x, mut single, mut double) = ([1.0, -2.0, 0.5], [1.0_f32; 3], [1.0_f64; 3]);
        f32::add(&mut single, 2.0, &x);
        f64::add(&mut double, 2.0, &x);
        assert_eq!(single, [3.0, -3.0, 2.0]);
        assert_eq!(double, [3.0, -3.0, 2.0]);
    }
}
