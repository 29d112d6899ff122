//! Vectors from anywhere in a slice, and loops of which the compiler makes vectors.

use std::sync::OnceLock;

use pulp::{Arch, Simd, WithSimd};

/// The instructions that kernels use: the best that the CPU has, or, for comparisons, those that the environment
/// variable `ISOMAX_SIMD` names, `none` or `avx2`, if it has these.
pub(crate) fn arch() -> Arch {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    *ARCH.get_or_init(|| match std::env::var("ISOMAX_SIMD").as_deref() {
        Ok("none") => Arch::Scalar,
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Ok("avx2") => pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3),
        _ => Arch::new(),
    })
}

/// Values of a vector of the instructions that kernels use.
pub(crate) fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) -> usize {
            S::F32_LANES
        }
    }
    arch().dispatch(Lanes)
}

/// Values that are taken side by side.
const LANES: usize = 32;

/// The first `N` vectors of a slice.
///
/// # Panics
///
/// If the slice is shorter.
#[inline(always)]
pub(crate) fn load<S: Simd, const N: usize>(values: &[f32]) -> [S::f32s; N] {
    let (vectors, _) = S::as_simd_f32s(&values[..N * S::F32_LANES]);
    std::array::from_fn(|index| vectors[index])
}

/// Writes `N` vectors to the begin of a slice.
///
/// # Panics
///
/// If the slice is shorter.
#[inline(always)]
pub(crate) fn store<S: Simd, const N: usize>(values: &mut [f32], vectors: [S::f32s; N]) {
    let (places, _) = S::as_mut_simd_f32s(&mut values[..N * S::F32_LANES]);
    places.copy_from_slice(&vectors);
}

/// A sum over pairs, in an order that lets vectors take part.
#[inline(always)]
pub(crate) fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(&a, &b)| term(a, b)).sum();
    for (a, b) in a.zip(b) {
        for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += term(a, b);
        }
    }
    // In halves, which is more exact than one after the other.
    let mut half = LANES / 2;
    while half > 0 {
        for index in 0..half {
            sums[index] += sums[index + half];
        }
        half /= 2;
    }
    sums[0] + rest
}

/// The largest value; NaN does not count.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, larger);
    for chunk in chunks {
        for (most, &value) in most.iter_mut().zip(chunk) {
            *most = larger(*most, value);
        }
    }
    most.into_iter().fold(rest, larger)
}

/// `eˣ` of a number that is not positive, to 2 units in the last place; 0 where that is no normal number.
///
/// `x = n ln 2 + r` with a whole `n`, so that `eˣ = 2ⁿ eʳ`, and `|r| ≤ ½ ln 2` is small enough for a polynomial
/// (Cody and Waite, *Software Manual for the Elementary Functions*, 1980).
#[inline(always)]
pub(crate) fn exp_of_negative(x: f32) -> f32 {
    // Adding it rounds to a whole number, which then is the lowest bits.
    const WHOLE: f32 = 12_582_912.0;
    // ln 2 in two parts, of which whole numbers up to 2¹⁰ times the first one are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const SMALLEST: f32 = -87.0;
    let shifted = x * std::f32::consts::LOG2_E + WHOLE;
    let n = shifted - WHOLE;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let mut power = 1.0 / 5_040.0;
    for divisor in [720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        power = power * r + 1.0 / divisor;
    }
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < SMALLEST { 0.0 } else { power * scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_exact() {
        let mut worst = 0.0_f64;
        for step in 0..870_000 {
            let x = -1e-4 * step as f32;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp_of_negative(x)) - exact).abs() / exact);
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "{worst}");
        assert_eq!(exp_of_negative(0.0), 1.0);
        assert_eq!(exp_of_negative(-88.0), 0.0);
        assert_eq!(exp_of_negative(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_of_negative(-1e30), 0.0);
        assert!(exp_of_negative(f32::NAN).is_nan());
    }

    #[test]
    fn the_largest_is_found_anywhere() {
        for count in [1, 31, 32, 33, 100] {
            for index in 0..count {
                let mut values = vec![-2.0; count];
                values[index] = -1.0;
                values[(index + 1) % count] = if count > 1 { f32::NAN } else { -1.0 };
                assert_eq!(largest(&values), -1.0);
            }
        }
    }
}
