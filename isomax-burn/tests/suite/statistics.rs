//! Streaming statistics against the textbook formulas.

use burn::tensor::backend::AutodiffBackend;
use isomax_burn::{LogitStatistics, Moments};
use proptest::prelude::*;

use crate::support::{ints, matrix};

on_every_backend!(batches_add_up);

fn textbook(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / (values.len() - 1) as f64).sqrt())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn moments_match_the_textbook(values in prop::collection::vec(-1e3..1e3, 2..200), at in 0_usize..200) {
        let (mean, std) = textbook(&values);
        let (left, right) = values.split_at(at % values.len());
        let mut merged: Moments = left.iter().copied().collect();
        merged.merge(&right.iter().copied().collect());
        for moments in [merged, values.iter().copied().collect()] {
            prop_assert_eq!(moments.count(), values.len() as u64);
            prop_assert!((moments.mean().unwrap() - mean).abs() < 1e-9);
            prop_assert!((moments.std().unwrap() - std).abs() < 1e-8);
        }
    }
}

#[test]
fn too_few_numbers_have_no_moments() {
    let mut moments = Moments::default();
    assert_eq!((moments.mean(), moments.std()), (None, None));
    moments.push(3.0);
    assert_eq!((moments.mean(), moments.std()), (Some(3.0), None));
}

fn batches_add_up<B: AutodiffBackend>() {
    let rows = [vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0], vec![0.0, 0.0, 0.0], vec![2.0, 9.0, 1.0]];
    let targets = [0, 2, 2, 1];
    let mut whole = LogitStatistics::new(3);
    whole.update(matrix::<B>(&rows), ints(&targets));
    let mut parts = LogitStatistics::new(3);
    parts.update(matrix::<B>(&rows[..1]), ints(&targets[..1]));
    parts.update(matrix::<B>(&rows[1..]), ints(&targets[1..]));
    assert_eq!(parts, whole);

    let intra = whole.intra();
    let (mean, std) = textbook(&[1.0, 6.0, 0.0, 9.0]);
    assert_eq!((intra.count(), intra.mean()), (4, Some(mean)));
    assert!((intra.std().unwrap() - std).abs() < 1e-12);
    assert_eq!(whole.inter().count(), 8);
    assert_eq!(whole.classes()[2].intra.mean(), Some(3.0));
    assert_eq!(whole.classes()[2].inter.mean(), Some(2.0));
    let entropy = whole.mean_normalized_entropy().unwrap();
    assert!(entropy > 0.25 && entropy < 1.0, "{entropy}");

    whole.reset();
    assert_eq!(whole, LogitStatistics::new(3));
}

#[test]
#[should_panic(expected = "Logits of shape [1, 2] do not fit targets of shape [1] and 3 classes")]
fn other_numbers_of_classes_are_refused() {
    LogitStatistics::new(3).update(matrix::<burn::backend::Flex>(&[vec![1.0, 2.0]]), ints(&[0]));
}

#[test]
#[should_panic(expected = "Target 2 of row 0 is out of range for 2 classes")]
fn targets_out_of_range_are_refused() {
    LogitStatistics::new(2).update(matrix::<burn::backend::Flex>(&[vec![1.0, 2.0]]), ints(&[2]));
}
