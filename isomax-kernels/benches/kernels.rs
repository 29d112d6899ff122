//! GFLOP/s of each kernel, and the share of what these cores can do.
//!
//! ```text
//! cargo bench -p isomax-kernels
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use isomax_kernels::conv::{Conv, forward, maps_gradient, weight_gradient};
use isomax_kernels::cross_entropy::cross_entropy;
use isomax_kernels::distance::{Gradient, Pairs, backward, distances, squared_norms};
use isomax_kernels::{Finish, peak_flops};

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
    let peak = peak_flops() / 1e9;
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
    for shape in [[256, 512, 100], [256, 2048, 1000]] {
        heads(shape);
    }
}

/// What heads and losses add to their products, for a batch, features and classes.
fn heads([batch_size, num_features, num_classes]: [usize; 3]) {
    let wave = |count: usize| (0..count).map(|i| (i as f32).sin()).collect::<Vec<_>>();
    let (rows, prototypes) = (wave(batch_size * num_features), wave(num_classes * num_features));
    let norms = [&rows, &prototypes].map(|rows| squared_norms(rows, num_features));
    let factors = norms.each_ref().map(|norms| vec![1.0; norms.len()]);
    let pairs = Pairs {
        num_features,
        rows: &rows,
        row_factors: &factors[0],
        row_norms: &norms[0],
        prototypes: &prototypes,
        prototype_factors: &factors[1],
        prototype_norms: &norms[1],
    };
    let mut matrix = wave(batch_size * num_classes);
    let targets = vec![0; batch_size];
    let upstream = wave(matrix.len());
    let mut times = vec![
        (
            "squared norms",
            median_seconds(|| drop(black_box(squared_norms(&prototypes, num_features)))),
        ),
        ("distances", median_seconds(|| distances(pairs, black_box(&mut matrix)))),
    ];
    times.push((
        "distances, backward",
        median_seconds(|| {
            drop(black_box(backward(pairs, &matrix, &upstream, Gradient::OfDirections)))
        }),
    ));
    times.push((
        "cross-entropy",
        median_seconds(|| drop(black_box(cross_entropy(&matrix, num_classes, &targets, 1.0)))),
    ));
    for (name, seconds) in times {
        let shape = format!("[{batch_size}, {num_features}, {num_classes}]");
        println!("{name:>20} {shape:>18}: {:.3} ms", 1e3 * seconds);
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
