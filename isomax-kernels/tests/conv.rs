//! The convolutions against their definition.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use isomax_kernels::conv::{Conv, forward, maps_gradient, weight_gradient};
use isomax_kernels::{Activation, Finish};
use proptest::prelude::*;

/// Values that are not random, but look so.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Calls `visit` with the indices of output, map and weight of every product.
fn products(conv: Conv, mut visit: impl FnMut(usize, usize, usize)) {
    let Conv { batch_size, channels: [inputs, outputs], size, kernel, stride, padding, groups } =
        conv;
    let [inputs_of_group, outputs_of_group] = [inputs / groups, outputs / groups];
    let [rows, columns] = conv.output_size();
    // Where a tap of an output lies in the maps.
    let place = |axis: usize, output: usize, tap: usize| {
        let padded = output * stride + tap;
        padded.checked_sub(padding[axis][0]).filter(|&place| place < size[axis])
    };
    for n in 0..batch_size {
        for (o, c) in (0..outputs).flat_map(|o| (0..inputs_of_group).map(move |c| (o, c))) {
            for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
                for tap in 0..kernel[0] * kernel[1] {
                    let (row, column) =
                        (place(0, y, tap / kernel[1]), place(1, x, tap % kernel[1]));
                    if let (Some(row), Some(column)) = (row, column) {
                        visit(
                            ((n * outputs + o) * rows + y) * columns + x,
                            ((n * inputs + o / outputs_of_group * inputs_of_group + c) * size[0]
                                + row)
                                * size[1]
                                + column,
                            (o * inputs_of_group + c) * kernel[0] * kernel[1] + tap,
                        );
                    }
                }
            }
        }
    }
}

fn close(ours: &[f32], definition: &[f64], magnitude: &[f64]) {
    assert_eq!(ours.len(), definition.len());
    for ((&ours, &definition), &magnitude) in ours.iter().zip(definition).zip(magnitude) {
        let error = (f64::from(ours) - definition).abs();
        assert!(error <= 1e-6 * magnitude + 1e-6, "{ours} is not {definition}");
    }
}

fn check(conv: Conv, seed: u64) {
    let [rows, columns] = conv.output_size();
    let [inputs, outputs] = conv.channels;
    let maps = values(conv.batch_size * inputs * conv.size[0] * conv.size[1], seed);
    let weight = values(outputs * inputs / conv.groups * conv.kernel[0] * conv.kernel[1], seed + 1);
    let upstream = values(conv.batch_size * outputs * rows * columns, seed + 2);
    // Each with the sum of the magnitudes of what was added.
    let mut output = vec![[0.0; 2]; upstream.len()];
    let mut of_maps = vec![[0.0; 2]; maps.len()];
    let mut of_weight = vec![[0.0; 2]; weight.len()];
    let add = |sums: &mut [f64; 2], a: f32, b: f32| {
        let product = f64::from(a) * f64::from(b);
        sums[0] += product;
        sums[1] += product.abs();
    };
    products(conv, |o, m, w| {
        add(&mut output[o], maps[m], weight[w]);
        add(&mut of_maps[m], upstream[o], weight[w]);
        add(&mut of_weight[w], upstream[o], maps[m]);
    });
    for (ours, definition) in [
        (forward(conv, &maps, &weight, Finish::default()), &output),
        (maps_gradient(conv, &upstream, &weight), &of_maps),
        (weight_gradient(conv, &maps, &upstream), &of_weight),
    ] {
        let (sums, magnitudes): (Vec<f64>, Vec<f64>) =
            definition.iter().map(|sums| (sums[0], sums[1])).unzip();
        close(&ours, &sums, &magnitudes);
    }
}

/// A convolution of 3 × 3 that keeps the size.
fn same(batch_size: usize, channels: [usize; 2], size: [usize; 2]) -> Conv {
    Conv { padding: [[1, 1]; 2], ..Conv::new(batch_size, channels, size, [3, 3]) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn convolutions_are_their_definition(
        batch_size in 1..4_usize,
        channels in [1..10_usize, 1..10_usize],
        groups in prop_oneof![Just(1), 2..6_usize],
        size in [1..14_usize, 1..14_usize],
        kernel in [1..8_usize, 1..8_usize],
        stride in 1..4_usize,
        padding in [[0..7_usize, 0..7], [0..7, 0..7]],
        seed in 0..u64::MAX / 2,
    ) {
        let padding = [0, 1].map(|axis| padding[axis].map(|side| side % kernel[axis]));
        let fits = |axis: usize| kernel[axis] <= size[axis] + padding[axis].iter().sum::<usize>();
        prop_assume!((0..2).all(fits));
        let channels = channels.map(|channels| if groups == 1 { channels } else { channels.div_ceil(3) * groups });
        check(Conv { stride, padding, groups, ..Conv::new(batch_size, channels, size, kernel) }, seed);
    }
}

/// Sizes at which the work is cut: over many channels, over wide lines, over the images of a batch.
#[test]
fn large_convolutions_are_their_definition() {
    check(same(2, [100, 7], [5, 4]), 1);
    check(same(1, [48, 49], [3, 3]), 2);
    check(same(1, [3, 64], [1, 200]), 3);
    check(same(1, [2, 2], [200, 1]), 4);
    check(same(1, [3, 16], [32, 32]), 5);
    check(same(40, [3, 5], [8, 8]), 6);
    // Images that share lines, also where some are left over.
    for (batch_size, side) in [(40, 4), (41, 4), (21, 2), (16, 8), (7, 8), (5, 16)] {
        for stride in [1, 2] {
            check(Conv { stride, ..same(batch_size, [6, 5], [side; 2]) }, 14);
            check(Conv { stride, ..same(batch_size, [3, 2], [2 * side, side]) }, 15);
        }
    }
    check(Conv { stride: 2, ..same(9, [50, 9], [16, 16]) }, 7);
    check(Conv { kernel: [1, 1], padding: [[0; 2]; 2], ..same(3, [100, 20], [9, 9]) }, 8);
    for channels in [[100, 20], [7, 9], [1, 1]] {
        check(Conv { kernel: [1, 1], padding: [[0; 2]; 2], ..same(3, channels, [4, 8]) }, 10);
    }
    let stem =
        Conv { kernel: [7, 7], stride: 2, padding: [[3, 3]; 2], ..same(2, [3, 8], [33, 32]) };
    check(stem, 9);
    let depthwise = Conv { groups: 40, ..same(20, [40, 40], [7, 7]) };
    check(depthwise, 11);
    let tensorflow = Conv { kernel: [5, 5], stride: 2, padding: [[1, 2]; 2], ..depthwise };
    check(Conv { size: [14, 14], ..tensorflow }, 12);
    check(Conv { groups: 4, kernel: [1, 1], padding: [[0; 2]; 2], ..same(3, [8, 16], [4, 8]) }, 13);
}

/// Offsets, shortcuts and activations, on convolutions on lines and on those without.
#[test]
fn outputs_are_finished() {
    for (kernel, padding) in [([3, 3], [[1, 1]; 2]), ([1, 1], [[0; 2]; 2])] {
        for (channels, groups) in [([3, 5], 1), ([4, 4], 4), ([2, 8], 1)] {
            for size in [[4, 8], [3, 5]] {
                let conv = Conv { padding, groups, ..Conv::new(2, channels, size, kernel) };
                let pixels = size[0] * size[1];
                let maps = values(2 * channels[0] * pixels, 1);
                let weight = values(channels[1] * channels[0] / groups * kernel[0] * kernel[1], 2);
                let (bias, residual) =
                    (values(channels[1], 3), values(2 * channels[1] * pixels, 4));
                let sums = forward(conv, &maps, &weight, Finish::default());
                for activation in [Activation::Identity, Activation::Relu, Activation::Relu6] {
                    for (bias, residual) in [
                        (Some(&bias), None),
                        (None, Some(&residual)),
                        (Some(&bias), Some(&residual)),
                        (None, None),
                    ] {
                        // Values of either side of all bounds.
                        let scaled: Option<Vec<f32>> =
                            residual.map(|maps| maps.iter().map(|x| 20.0 * x).collect());
                        let finish = Finish {
                            bias: bias.map(Vec::as_slice),
                            residual: scaled.as_deref(),
                            activation,
                        };
                        let ours = forward(conv, &maps, &weight, finish);
                        for (index, (ours, sum)) in ours.iter().zip(&sums).enumerate() {
                            let bias = bias.map_or(0.0, |bias| bias[index / pixels % channels[1]]);
                            let value =
                                sum + bias + scaled.as_ref().map_or(0.0, |maps| maps[index]);
                            let expected = match activation {
                                Activation::Identity => value,
                                Activation::Relu => value.max(0.0),
                                Activation::Relu6 => value.clamp(0.0, 6.0),
                            };
                            assert!((ours - expected).abs() < 1e-5, "{ours} is not {expected}");
                        }
                    }
                }
            }
        }
    }
}

/// Threads share the work, not the result.
#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    threads_share(same(33, [5, 13], [9, 7]));
    threads_share(same(1, [5, 13], [9, 7]));
    // Images that share lines if there are few threads.
    threads_share(same(8, [5, 13], [8, 8]));
    threads_share(Conv { groups: 5, ..same(9, [5, 5], [9, 7]) });
}

fn threads_share(conv: Conv) {
    let [inputs, outputs] = conv.channels;
    let pixels = conv.size[0] * conv.size[1];
    let maps = values(conv.batch_size * inputs * pixels, 1);
    let weight = values(outputs * inputs / conv.groups * 9, 2);
    let upstream = values(conv.batch_size * outputs * pixels, 3);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let results = pool.install(|| {
            [
                forward(conv, &maps, &weight, Finish::default()),
                maps_gradient(conv, &upstream, &weight),
                weight_gradient(conv, &maps, &upstream),
            ]
        });
        results.map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
    };
    assert!(run(1) == run(2));
    assert!(run(1) == run(5));
}

#[test]
fn nothing_gives_nothing() {
    let empty = same(0, [2, 3], [4, 4]);
    assert!(forward(empty, &[], &[0.0; 54], Finish::default()).is_empty());
    assert!(maps_gradient(empty, &[], &[0.0; 54]).is_empty());
    assert_eq!(weight_gradient(empty, &[], &[]), [0.0; 54]);
    let none = same(2, [0, 1], [2, 2]);
    assert_eq!(forward(none, &[], &[], Finish::default()), [0.0; 8]);
    let pointwise = Conv { kernel: [1, 1], padding: [[0; 2]; 2], ..same(2, [0, 1], [4, 4]) };
    assert_eq!(forward(pointwise, &[], &[], Finish::default()), [0.0; 32]);
}

#[test]
#[should_panic(expected = "Maps of 3 values do not fit")]
fn maps_of_another_size_are_refused() {
    forward(same(1, [1, 1], [2, 2]), &[0.0; 3], &[0.0; 9], Finish::default());
}

#[test]
#[should_panic(expected = "is no convolution")]
fn kernels_that_do_not_fit_are_refused() {
    forward(
        Conv { padding: [[0; 2]; 2], ..same(1, [1, 1], [2, 2]) },
        &[0.0; 4],
        &[0.0; 9],
        Finish::default(),
    );
}
