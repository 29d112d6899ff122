//! FPR beyond the golden cases: small and odd batches and images, targets that sum to 1.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Distribution, Tensor, activation::log_softmax};
use isomax_burn::{DisMaxLossConfig, fpr};
use proptest::prelude::*;

use crate::support::{assert_close, device, few_cases, ints, values};

on_every_backend!(
    any_size_from_two_up,
    loss_is_a_divergence_from_the_targets,
    targets_sum_to_one,
    shuffle_keeps_pairs,
    one_call_prepares_a_batch,
);

fn any_size_from_two_up<B: AutodiffBackend>() {
    for batch in 2..9 {
        for (height, width) in [(2, 2), (3, 5), (8, 7)] {
            let shape = [batch, 3, height, width];
            let images = Tensor::<B, 4>::random(shape, Distribution::Default, &device());
            let mixed = fpr::mix_second_half(images.clone());
            assert_eq!(mixed.dims(), shape);
            let half = batch / 2;
            let (before, after) = (values(images), values(mixed));
            let at =
                |i: usize, c: usize, y: usize, x: usize| ((i * 3 + c) * height + y) * width + x;
            let indices = (0..batch).flat_map(|i| (0..3).map(move |c| (i, c)));
            for (i, c) in indices {
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    let places = match (y < height / 2, x < width / 2) {
                        _ if i < half => 0,
                        (true, true) => 0,
                        (true, false) => 2,
                        (false, true) => 1,
                        (false, false) => 3,
                    };
                    let n = batch - half;
                    let source = if i < half { i } else { half + (i - half + 4 * n - places) % n };
                    assert_eq!(after[at(i, c, y, x)], before[at(source, c, y, x)]);
                }
            }
        }
    }
}

/// Targets of the library against ones counted by hand.
fn targets_sum_to_one<B: AutodiffBackend>() {
    let mut runner = proptest::test_runner::TestRunner::new(few_cases());
    runner
        .run(&prop::collection::vec(0_i64..4, 2..12), |labels| {
            let targets = values(fpr::mixed_targets::<B>(ints(&labels), 4));
            let second = &labels[labels.len() / 2..];
            let n = second.len();
            prop_assert_eq!(targets.len(), n * 4);
            for (row, target) in targets.chunks(4).enumerate() {
                prop_assert_eq!(target.iter().sum::<f32>(), 1.0);
                let mut expected = [0.0; 4];
                for places in 0..4 {
                    expected[second[(row + 4 * n - places) % n] as usize] += 0.25;
                }
                prop_assert_eq!(target, expected);
            }
            Ok(())
        })
        .unwrap();
}

/// The loss against one built from explicit targets of the mixed half.
fn loss_is_a_divergence_from_the_targets<B: AutodiffBackend>() {
    let mut runner = proptest::test_runner::TestRunner::new(few_cases());
    let case = (2_usize..9).prop_flat_map(|batch| {
        (prop::collection::vec(-2.0_f32..2.0, batch * 3), prop::collection::vec(0_i64..3, batch))
    });
    runner
        .run(&case, |(logits, labels)| {
            let (batch, half) = (labels.len(), labels.len() / 2);
            let logits =
                Tensor::<B, 1>::from_floats(logits.as_slice(), &device()).reshape([batch, 3]);
            let log_p = values(log_softmax(logits.clone() * 10.0, 1));
            let second = &labels[half..];
            let mut expected = 0.0;
            for (row, &label) in labels[..half].iter().enumerate() {
                expected -= log_p[row * 3 + label as usize] / half as f32;
            }
            for row in 0..second.len() {
                let mut target = [0.0_f32; 3];
                for places in [0, 1, 2, 3] {
                    let n = second.len();
                    target[second[(row + 4 * n - places) % n] as usize] += 0.25;
                }
                for (class, share) in target.into_iter().enumerate().filter(|(_, t)| *t > 0.0) {
                    let log_q = log_p[(half + row) * 3 + class];
                    expected += share * (share.ln() - log_q) / second.len() as f32;
                }
            }
            let loss = DisMaxLossConfig::new().init().forward_fpr(logits, ints(&labels));
            assert_close("loss", &values(loss), &[expected / 2.0], 1e-4);
            Ok(())
        })
        .unwrap();
}

fn shuffle_keeps_pairs<B: AutodiffBackend>() {
    let labels: Vec<i64> = (0..32).collect();
    let images = ints::<B>(&labels).float().reshape([32, 1, 1, 1]).repeat(&[1, 2, 2, 2]);
    let (images, targets) = fpr::shuffle(images, ints(&labels));
    let targets: Vec<i64> = targets.into_data().iter::<i64>().collect();
    let pixels = values(images);
    assert!(pixels.chunks(8).zip(&targets).all(|(image, &t)| image.iter().all(|&p| p == t as f32)));
    assert_ne!(targets, labels, "32 labels stayed in order");
    let mut sorted = targets;
    sorted.sort_unstable();
    assert_eq!(sorted, labels);
}

/// Images that show their labels, so that both halves can be checked against the targets.
fn one_call_prepares_a_batch<B: AutodiffBackend>() {
    let labels: Vec<i64> = (0..32).collect();
    let images = ints::<B>(&labels).float().reshape([32, 1, 1, 1]).repeat(&[1, 1, 2, 2]);
    let (images, targets) = DisMaxLossConfig::new().init().prepare_fpr(images, ints(&labels));
    let targets: Vec<f32> = targets.float().into_data().iter::<f32>().collect();
    assert_ne!(targets, labels.iter().map(|&l| l as f32).collect::<Vec<_>>(), "not shuffled");
    for (row, quadrants) in values(images).chunks(4).enumerate() {
        let source =
            |places: usize| if row < 16 { row } else { 16 + (row - 16 + 16 - places) % 16 };
        let expected = [0, 2, 1, 3].map(|places| targets[source(places)]);
        assert_eq!(quadrants, expected, "image {row}");
    }
}

#[test]
#[should_panic(expected = "FPR needs a batch of at least 2 samples, got 1")]
fn a_single_sample_cannot_be_mixed() {
    let images = Tensor::<burn::backend::Flex, 4>::zeros([1, 3, 4, 4], &device());
    fpr::mix_second_half(images);
}

#[test]
#[should_panic(expected = "they need 2 rows and 2 columns, got 1 × 4")]
fn a_single_row_has_no_quadrants() {
    let images = Tensor::<burn::backend::Flex, 4>::zeros([4, 3, 1, 4], &device());
    fpr::mix_second_half(images);
}
