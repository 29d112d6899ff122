//! Batch normalisation against its definition.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use isomax_kernels::Activation;
use isomax_kernels::batch_norm::{Normalization, Rows, affine, backward, statistics};
use proptest::prelude::*;

const EPSILON: f32 = 1e-5;

/// The loss Σ upstream · output, in 64 bits.
fn loss(
    rows: Rows,
    maps: &[f64],
    weight: &[f64],
    bias: &[f64],
    upstream: &[f32],
    activation: Activation,
) -> f64 {
    let count = (rows.batch_size * rows.pixels) as f64;
    let index = |n: usize, c: usize, p: usize| (n * rows.channels + c) * rows.pixels + p;
    let mut loss = 0.0;
    for c in 0..rows.channels {
        let all = || {
            (0..rows.batch_size).flat_map(move |n| (0..rows.pixels).map(move |p| index(n, c, p)))
        };
        let mean = all().map(|i| maps[i]).sum::<f64>() / count;
        let variance = all().map(|i| (maps[i] - mean).powi(2)).sum::<f64>() / count;
        for i in all() {
            let value =
                (maps[i] - mean) / (variance + f64::from(EPSILON)).sqrt() * weight[c] + bias[c];
            let value = match activation {
                Activation::Identity => value,
                Activation::Relu => value.max(0.0),
                Activation::Relu6 => value.clamp(0.0, 6.0),
            };
            loss += f64::from(upstream[i]) * value;
        }
    }
    loss
}

/// The slope of a function along one of its arguments.
fn slope(values: &mut [f64], index: usize, function: impl Fn(&[f64]) -> f64) -> f64 {
    let (value, step) = (values[index], 1e-6);
    values[index] = value + step;
    let above = function(values);
    values[index] = value - step;
    let below = function(values);
    values[index] = value;
    (above - below) / (2.0 * step)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn gradients_are_slopes(
        batch_size in 2..4_usize,
        channels in 1..4_usize,
        pixels in 1..40_usize,
        activation in prop_oneof![
            Just(Activation::Identity),
            Just(Activation::Relu),
            Just(Activation::Relu6),
        ],
        values in proptest::collection::vec(-2.0..2.0_f32, 3 * 3 * 39 * 2 + 6),
    ) {
        let rows = Rows { batch_size, channels, pixels };
        let size = batch_size * channels * pixels;
        let (maps, rest) = values.split_at(size);
        let (upstream, rest) = rest.split_at(size);
        // Some outputs lie above 6.
        let weight: Vec<f32> = rest[..channels].iter().map(|w| 3.0 * w).collect();
        let (weight, bias) = (&weight[..], &rest[channels..2 * channels]);
        let moments = statistics(rows, maps);
        let normalization = Normalization { moments: &moments, weight, bias, epsilon: EPSILON, activation };
        let ours = backward(rows, maps, upstream, &normalization);
        let (scale, shift) = normalization.affine();
        let output = affine(rows, maps, &scale, &shift, None, activation);
        let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let (mut maps, mut weight, mut bias) = (wide(maps), wide(weight), wide(bias));
        let total: f64 = output.iter().zip(upstream).map(|(&o, &u)| f64::from(o) * f64::from(u)).sum();
        let expected = loss(rows, &maps, &weight, &bias, upstream, activation);
        prop_assert!((total - expected).abs() < 1e-3 * (1.0 + size as f64), "{total} {expected}");
        // Where an activation has its corners there is no slope.
        let far = |o: &f32| [0.0, 6.0].contains(o) || (1e-3..6.0 - 1e-3).contains(o);
        prop_assume!(activation == Activation::Identity || output.iter().all(far));
        let near = |ours: f32, slope: f64| (f64::from(ours) - slope).abs() < 2e-3 * (1.0 + slope.abs());
        for index in 0..size.min(12) {
            let (w, b) = (weight.clone(), bias.clone());
            let s = slope(&mut maps, index, |m| loss(rows, m, &w, &b, upstream, activation));
            prop_assert!(near(ours.maps[index], s), "map {index}: {} {s}", ours.maps[index]);
        }
        for channel in 0..channels {
            let (m, b) = (maps.clone(), bias.clone());
            let s = slope(&mut weight, channel, |w| loss(rows, &m, w, &b, upstream, activation));
            prop_assert!(near(ours.weight[channel], s), "weight: {} {s}", ours.weight[channel]);
            let (m, w) = (maps.clone(), weight.clone());
            let s = slope(&mut bias, channel, |b| loss(rows, &m, &w, b, upstream, activation));
            prop_assert!(near(ours.bias[channel], s), "bias: {} {s}", ours.bias[channel]);
        }
    }
}

/// Far from zero, where the mean of the squares less the square of the mean is rounding.
#[test]
fn variances_of_shifted_maps_are_theirs() {
    let rows = Rows { batch_size: 8, channels: 2, pixels: 35 };
    let maps: Vec<f32> = (0..560).map(|i| 10_000.0 + (i % 7) as f32).collect();
    for moments in statistics(rows, &maps) {
        assert!((moments.mean - 10_003.0).abs() < 1e-2 && (moments.variance - 4.0).abs() < 1e-3);
    }
}

#[test]
fn not_a_number_stays_so() {
    let rows = Rows { batch_size: 1, channels: 1, pixels: 18 };
    let mut maps = [1.0; 18];
    (maps[3], maps[17]) = (f32::NAN, f32::NAN);
    let output = affine(rows, &maps, &[1.0], &[0.0], None, Activation::Relu);
    assert!(output[3].is_nan() && output[17].is_nan() && output[4] == 1.0);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let rows = Rows { batch_size: 64, channels: 3, pixels: 100 };
    let maps: Vec<f32> = (0..19_200).map(|i| ((i * 7919) % 1013) as f32 / 500.0 - 1.0).collect();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let moments = statistics(rows, &maps);
            let (weight, bias) = ([1.0, 0.5, 2.0], [0.0, 0.1, -0.2]);
            let normalization = Normalization {
                moments: &moments,
                weight: &weight,
                bias: &bias,
                epsilon: EPSILON,
                activation: Activation::Relu,
            };
            (moments.clone(), backward(rows, &maps, &maps, &normalization))
        })
    };
    assert!(run(1) == run(2) && run(1) == run(5));
}

#[test]
fn nothing_gives_nothing() {
    let rows = Rows { batch_size: 0, channels: 2, pixels: 4 };
    assert!(affine(rows, &[], &[1.0; 2], &[0.0; 2], None, Activation::Relu6).is_empty());
    let moments = statistics(rows, &[]);
    let (weight, bias) = ([1.0; 2], [0.0; 2]);
    let normalization = Normalization {
        moments: &moments,
        weight: &weight,
        bias: &bias,
        epsilon: EPSILON,
        activation: Activation::Identity,
    };
    assert_eq!(backward(rows, &[], &[], &normalization).bias, [0.0; 2]);
}

/// Maps that are added, in whole vectors and in what is left of a row.
#[test]
fn shortcuts_are_added() {
    let rows = Rows { batch_size: 2, channels: 2, pixels: 37 };
    let maps: Vec<f32> = (0..148).map(|i| (i % 11) as f32 - 5.0).collect();
    let residual: Vec<f32> = (0..148).map(|i| (i % 7) as f32 - 3.0).collect();
    let output = affine(rows, &maps, &[1.0, 2.0], &[0.5, -1.0], Some(&residual), Activation::Relu6);
    for index in 0..148 {
        let (scale, shift) = [(1.0, 0.5), (2.0, -1.0)][index / 37 % 2];
        let expected = (maps[index] * scale + shift + residual[index]).clamp(0.0, 6.0);
        assert_eq!(output[index], expected);
    }
}
