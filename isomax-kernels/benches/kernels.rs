//! GFLOP/s of each kernel, and the share of what these cores can do.
//!
//! ```text
//! cargo bench -p isomax-kernels
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use isomax_kernels::Finish;
use isomax_kernels::conv::{Conv, forward, maps_gradient, weight_gradient};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Channels in and out, side, kernel, stride and groups, at batch 64.
const SHAPES: [[usize; 6]; 19] = [
    [3, 16, 32, 3, 1, 1],
    [16, 16, 32, 3, 1, 1],
    [32, 32, 16, 3, 1, 1],
    [64, 64, 8, 3, 1, 1],
    [48, 12, 32, 3, 1, 1],
    [48, 12, 16, 3, 1, 1],
    [48, 12, 8, 3, 1, 1],
    [128, 128, 16, 3, 1, 1],
    [16, 32, 32, 3, 2, 1],
    [32, 64, 16, 3, 2, 1],
    [96, 48, 32, 1, 1, 1],
    [200, 48, 16, 1, 1, 1],
    [300, 48, 8, 1, 1, 1],
    [3, 64, 64, 7, 2, 1],
    [96, 96, 56, 3, 2, 96],
    [144, 144, 28, 3, 1, 144],
    [144, 144, 28, 5, 2, 144],
    [480, 480, 14, 5, 1, 480],
    [1152, 1152, 7, 3, 1, 1152],
];
const ROUNDS: usize = 7;

fn main() {
    let peak = peak();
    println!("{} threads, peak {:.0} GFLOP/s", rayon::current_num_threads(), peak);
    println!(
        "{:>32} {:>24} {:>24} {:>24}",
        "", "forward", "gradient of maps", "gradient of weights"
    );
    for [channels_in, channels_out, side, kernel, stride, groups] in SHAPES {
        let conv = Conv {
            stride,
            groups,
            padding: [[kernel / 2; 2]; 2],
            ..Conv::new(64, [channels_in, channels_out], [side; 2], [kernel; 2])
        };
        let [rows, columns] = conv.output_size();
        let maps = vec![0.5; 64 * channels_in * side * side];
        let upstream = vec![0.25; 64 * channels_out * rows * columns];
        let weight = vec![0.1; channels_out * channels_in / groups * kernel * kernel];
        let operations = 2.0 * (weight.len() * 64 * rows * columns) as f64;
        let kernels: [&dyn Fn() -> Vec<f32>; 3] = [
            &|| forward(conv, &maps, &weight, Finish::default()),
            &|| maps_gradient(conv, &upstream, &weight),
            &|| weight_gradient(conv, &maps, &upstream),
        ];
        let kind = if groups == 1 { "" } else { " depthwise" };
        let name = format!("{kernel}² {channels_in}→{channels_out}, {side}² / {stride}{kind}");
        print!("{name:>32}");
        for run in kernels {
            let seconds = median_seconds(|| drop(black_box(run())));
            let rate = operations / seconds / 1e9;
            let shown = format!("{:.2} ms {rate:.0} ({:.0} %)", 1e3 * seconds, 100.0 * rate / peak);
            print!(" {shown:>24}");
        }
        println!();
    }
}

fn median_seconds(mut work: impl FnMut()) -> f64 {
    let mut once = || {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let one = once().max(Duration::from_micros(1));
    let count = (Duration::from_millis(60).as_secs_f64() / one.as_secs_f64()).ceil() as u32;
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| (0..count).map(|_| once()).sum::<Duration>().as_secs_f64() / f64::from(count))
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// GFLOP/s of nothing but multiplications and additions, on all threads.
fn peak() -> f64 {
    const STEPS: usize = 100_000;
    const SUMS: usize = 12;
    struct Sums;
    impl WithSimd for Sums {
        type Output = f64;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> f64 {
            let mut sums = [simd.splat_f32s(0.0); SUMS];
            let factor = simd.splat_f32s(black_box(0.5));
            for _ in 0..STEPS {
                for sum in &mut sums {
                    *sum = simd.mul_add_f32s(factor, factor, *sum);
                }
                black_box(());
            }
            black_box(sums);
            (2 * STEPS * SUMS * S::F32_LANES) as f64
        }
    }
    let threads = rayon::current_num_threads();
    let start = Instant::now();
    let operations: f64 =
        (0..64 * threads).into_par_iter().map(|_| Arch::new().dispatch(Sums)).sum();
    operations / start.elapsed().as_secs_f64() / 1e9
}
