use std::hint::black_box;
use std::time::Instant;

use crate::simd::arch;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Measurements.
const ROUNDS: usize = 10;
/// Steps of each part of a measurement.
const STEPS: usize = 100_000;
/// Sums side by side: enough to hide that each addition waits for the one before.
const SUMS: usize = 12;

/// Operations a second that the threads reach together with nothing but multiplications and additions: the limit
/// of every kernel on this machine, now. Takes a tenth of a second.
///
/// ```
/// assert!(isomax_kernels::peak_flops() > 1e6);
/// ```
pub fn peak_flops() -> f64 {
    let threads = rayon::current_num_threads();
    let once = || {
        let start = Instant::now();
        let operations: f64 =
            (0..16 * threads).into_par_iter().map(|_| arch().dispatch(Sums)).sum();
        operations / start.elapsed().as_secs_f64()
    };
    // The best of some, since other programs come in between.
    (0..ROUNDS).map(|_| once()).fold(0.0, f64::max)
}

struct Sums;

impl WithSimd for Sums {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let mut sums = [simd.splat_f32s(0.0); SUMS];
        let factor = simd.splat_f32s(black_box(0.5));
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(factor, factor, *sum);
            }
            black_box(());
        }
        black_box(sums);
        (2 * STEPS * SUMS * S::F32_LANES) as f64
    }
}
