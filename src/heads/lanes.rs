//! Vector registers of floats behind one trait, and the widest kind that this machine has.
//!
//! Knows no rows and no objective. Invariant: registers of a kind are made only inside [`with_widest`], which asks the
//! processor first; the same machine always gives the same kind, so that results are the same bits on every run.

#![expect(
    unsafe_code,
    reason = "registers are wider than the baseline processor's; each kind is used only where found"
)]

use std::ops::AddAssign;

use ndarray::LinalgScalar;

/// f32 or f64.
pub(super) trait Number: LinalgScalar + PartialOrd + Send + Sync + AddAssign {
    const ZERO: Self;
    const ONE: Self;
    type Wide: Lanes<Self>;
    type Half: Lanes<Self>;
    type Narrow: Lanes<Self>;
    /// The nearest number.
    fn of(value: f64) -> Self;
    /// The same number.
    fn wide(self) -> f64;
    /// The same number.
    fn from_row(value: f32) -> Self;
    /// e to the power of a number that is not above 0: within 2·10⁻⁷ of it (f32), 10⁻¹⁴ (f64), never below the
    /// smallest normal number. NaN gives NaN.
    fn exp(self) -> Self;
}

/// A register of numbers. What is read and written lies in memory of its width.
pub(super) trait Lanes<T>: Copy {
    /// Numbers in it.
    const WIDTH: usize;
    /// Columns of a tile, so that four rows or vectors of sums for each fit in the registers.
    const COLUMNS: usize;
    fn splat(value: T) -> Self;
    /// # Safety
    /// `WIDTH` numbers must lie at `from`.
    unsafe fn load(from: *const T) -> Self;
    /// # Safety
    /// `WIDTH` numbers must lie at `to`, and nothing else refer to them.
    unsafe fn store(self, to: *mut T);
    /// self · factor + addend
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    fn add(self, other: Self) -> Self;
    /// Of all its numbers.
    fn sum(self) -> T;
}

/// What is done in registers; `run` must be `#[inline(always)]`, so that it is compiled for each kind of them.
pub(super) trait Work<T: Number> {
    type Output;
    fn run<V: Lanes<T>>(self) -> Self::Output;
}

/// Does the work in the widest registers that there are.
pub(super) fn with_widest<T: Number, W: Work<T>>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        let half = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        if half && is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor was asked.
            return unsafe { x86::wide(work) };
        }
        if half {
            // SAFETY: the processor was asked.
            return unsafe { x86::half(work) };
        }
    }
    work.run::<T::Narrow>()
}

/// e^x = 2^n · e^r with |r| ≤ ln 2 / 2, e^r by its Taylor series. `$magic` is a number whose last bit counts ones, so
/// that adding it rounds to an integer that lies in the last bits.
macro_rules! exponential {
    ($name:ident, $float:ty, $bits:ty, $magic:expr, $lowest:expr, $high:expr, $mantissa:expr, $bias:expr, [$($factor:expr),*]) => {
        #[inline(always)]
        fn $name(x: $float) -> $float {
            const HIGH: $float = $high;
            const LOW: $float = (std::f64::consts::LN_2 - HIGH as f64) as $float;
            const LOG2_E: $float = std::f64::consts::LOG2_E as $float;
            let x = if x < $lowest { $lowest } else { x };
            let shifted = x * LOG2_E + $magic;
            let n = shifted - $magic;
            let r = (x - n * HIGH) - n * LOW;
            let mut series: $float = 0.0;
            $( series = series * r + (1.0 / $factor) as $float; )*
            let power = <$float>::from_bits((shifted.to_bits() << $mantissa).wrapping_add($bias << $mantissa));
            series * power
        }
    };
}

exponential!(
    exp32,
    f32,
    u32,
    12_582_912.0,
    -87.0,
    f32::from_bits(std::f32::consts::LN_2.to_bits() & 0xffff_f000),
    23,
    127_u32,
    [5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0]
);
exponential!(
    exp64,
    f64,
    u64,
    6_755_399_441_055_744.0,
    -708.0,
    f64::from_bits(std::f64::consts::LN_2.to_bits() & 0xffff_ffff_0000_0000),
    52,
    1023_u64,
    [
        6_227_020_800.0,
        479_001_600.0,
        39_916_800.0,
        3_628_800.0,
        362_880.0,
        40_320.0,
        5040.0,
        720.0,
        120.0,
        24.0,
        6.0,
        2.0,
        1.0,
        1.0
    ]
);

macro_rules! number {
    ($float:ty, $wide:ty, $half:ty, $exp:ident) => {
        impl Number for $float {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[cfg(target_arch = "x86_64")]
            type Wide = $wide;
            #[cfg(target_arch = "x86_64")]
            type Half = $half;
            #[cfg(not(target_arch = "x86_64"))]
            type Wide = Plain<Self>;
            #[cfg(not(target_arch = "x86_64"))]
            type Half = Plain<Self>;
            type Narrow = Plain<Self>;

            #[inline(always)]
            fn of(value: f64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn wide(self) -> f64 {
                f64::from(self)
            }

            #[inline(always)]
            fn from_row(value: f32) -> Self {
                Self::from(value)
            }

            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
        }
    };
}

number!(f32, x86::Wide32, x86::Half32, exp32);
number!(f64, x86::Wide64, x86::Half64, exp64);

/// Four numbers that the compiler puts where it can.
#[derive(Clone, Copy)]
pub(super) struct Plain<T>([T; 4]);

impl<T: Number> Lanes<T> for Plain<T> {
    const WIDTH: usize = 4;
    const COLUMNS: usize = 2;

    #[inline(always)]
    fn splat(value: T) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { from.cast::<[T; 4]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[T; 4]>().write(self.0) }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        let ([a, b, c, d], [i, j, k, l], [p, q, r, s]) = (self.0, factor.0, addend.0);
        Self([a * i + p, b * j + q, c * k + r, d * l + s])
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let ([a, b, c, d], [i, j, k, l]) = (self.0, other.0);
        Self([a + i, b + j, c + k, d + l])
    }

    #[inline(always)]
    fn sum(self) -> T {
        let [a, b, c, d] = self.0;
        (a + b) + (c + d)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Registers of 512 and 256 bits.

    use std::arch::x86_64 as intel;

    use super::{Lanes, Number, Work};

    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(super) fn wide<T: Number, W: Work<T>>(work: W) -> W::Output {
        work.run::<T::Wide>()
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn half<T: Number, W: Work<T>>(work: W) -> W::Output {
        work.run::<T::Half>()
    }

    macro_rules! register {
        ($name:ident, $number:ty, $register:ident, $width:expr, $columns:expr,
         [$splat:ident, $load:ident, $store:ident, $mul_add:ident, $add:ident], $whole:ident => $sum:expr) => {
            #[derive(Clone, Copy)]
            pub struct $name(intel::$register);

            // SAFETY of all: `with_widest` has asked for the instructions; loads and stores are the caller's promise.
            impl Lanes<$number> for $name {
                const WIDTH: usize = $width;
                const COLUMNS: usize = $columns;

                #[inline(always)]
                fn splat(value: $number) -> Self {
                    Self(unsafe { intel::$splat(value) })
                }

                #[inline(always)]
                unsafe fn load(from: *const $number) -> Self {
                    Self(unsafe { intel::$load(from) })
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut $number) {
                    unsafe { intel::$store(to, self.0) }
                }

                #[inline(always)]
                fn mul_add(self, factor: Self, addend: Self) -> Self {
                    Self(unsafe { intel::$mul_add(self.0, factor.0, addend.0) })
                }

                #[inline(always)]
                fn add(self, other: Self) -> Self {
                    Self(unsafe { intel::$add(self.0, other.0) })
                }

                #[inline(always)]
                fn sum(self) -> $number {
                    let $whole = self;
                    $sum
                }
            }
        };
    }

    register!(
        Wide32,
        f32,
        __m512,
        16,
        6,
        [_mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_add_ps],
        register => unsafe { intel::_mm512_reduce_add_ps(register.0) }
    );
    register!(
        Wide64,
        f64,
        __m512d,
        8,
        6,
        [_mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd, _mm512_add_pd],
        register => unsafe { intel::_mm512_reduce_add_pd(register.0) }
    );
    register!(
        Half32,
        f32,
        __m256,
        8,
        3,
        [_mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_add_ps],
        register => {
            let mut lanes = [0.0; 8];
            unsafe { register.store(lanes.as_mut_ptr()) };
            let [a, b, c, d, e, f, g, h] = lanes;
            ((a + e) + (c + g)) + ((b + f) + (d + h))
        }
    );
    register!(
        Half64,
        f64,
        __m256d,
        4,
        3,
        [_mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd, _mm256_add_pd],
        register => {
            let mut lanes = [0.0; 4];
            unsafe { register.store(lanes.as_mut_ptr()) };
            let [a, b, c, d] = lanes;
            (a + c) + (b + d)
        }
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sum<'a, T>(&'a [T]);

    impl<T: Number> Work<T> for Sum<'_, T> {
        type Output = T;

        #[inline(always)]
        fn run<V: Lanes<T>>(self) -> T {
            let mut sum = V::splat(T::ZERO);
            for chunk in self.0.chunks_exact(V::WIDTH) {
                // SAFETY: the chunk is as wide as the register.
                let lanes = unsafe { V::load(chunk.as_ptr()) };
                sum = lanes.mul_add(V::splat(T::of(2.0)), sum).add(V::splat(T::ZERO));
            }
            sum.sum()
        }
    }

    fn kinds<T: Number>(values: &[T]) -> Vec<T> {
        let mut sums = vec![with_widest(Sum(values)), Sum(values).run::<Plain<T>>()];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor was asked.
            sums.push(unsafe { x86::half(Sum(values)) });
        }
        sums
    }

    #[test]
    fn every_kind_of_register_adds_up() {
        let values: Vec<f64> = (0..64_u8).map(f64::from).collect();
        assert!(kinds(&values).iter().all(|&sum| sum == 4032.0));
        let values: Vec<f32> = (0..64_u8).map(f32::from).collect();
        assert!(kinds(&values).iter().all(|&sum| sum == 4032.0));
    }

    #[test]
    fn exponentials_are_exact_to_their_precision() {
        for step in 0..200_000_u32 {
            let x = -f64::from(step) * 4.3e-4;
            let want = x.exp();
            assert!((Number::exp(x) - want).abs() <= 1e-14 * want, "{x}");
            let (x, want) = (x as f32, f64::from(x as f32).exp());
            assert!((f64::from(Number::exp(x)) - want).abs() <= 2e-7 * want, "{x}");
        }
        assert!(Number::exp(-1e30_f32) < 1e-37 && Number::exp(-1e300) < 1e-300 && Number::exp(f32::NEG_INFINITY) > 0.0);
        assert_eq!((Number::exp(0.0_f32), Number::exp(0.0_f64)), (1.0, 1.0));
        assert!(Number::exp(f32::NAN).is_nan() && Number::exp(f64::NAN).is_nan());
    }
}
