//! Losses beyond the golden cases: their definition, hostile logits, impossible labels.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Distribution, Tensor};
use isomax_burn::{
    DisMaxLossConfig, HeadKind, IsoMaxLossConfig, Loss, LossConfig, SoftMaxLossConfig,
};
use proptest::prelude::*;

use crate::support::{assert_close, device, few_cases, ints, matrix, values};

on_every_backend!(
    cross_entropy_of_scaled_logits,
    finite_for_gaps_of_a_thousand,
    validation_leaves_the_scale_out_for_dismax_only,
    targets_out_of_range_make_the_loss_nan,
);

fn all() -> [Loss; 3] {
    [HeadKind::SoftMax, HeadKind::IsoMax, HeadKind::DisMax].map(|kind| LossConfig::new(kind).init())
}

fn cross_entropy_of_scaled_logits<B: AutodiffBackend>() {
    let mut runner = proptest::test_runner::TestRunner::new(few_cases());
    let case =
        (prop::collection::vec(-4.0_f32..4.0, 12), prop::array::uniform3(0_i64..4), 0.1..20.0);
    runner
        .run(&case, |(logits, targets, scale)| {
            let logits = matrix::<B>(&logits.chunks(4).map(<[f32]>::to_vec).collect::<Vec<_>>());
            let ours = IsoMaxLossConfig::new()
                .with_entropic_scale(scale)
                .init()
                .forward(logits.clone(), ints(&targets));
            let stock = CrossEntropyLossConfig::new()
                .init(&device())
                .forward(logits * scale, ints(&targets));
            assert_close("loss", &values(ours), &values(stock), 1e-4);
            Ok(())
        })
        .unwrap();
}

fn finite_for_gaps_of_a_thousand<B: AutodiffBackend>() {
    let rows = [vec![-1000.0, 0.0, -3.0], vec![0.0, -1000.0, 500.0], vec![-1e3; 3]];
    for loss in all() {
        let logits = matrix::<B>(&rows).require_grad();
        let value = loss.forward(logits.clone(), ints(&[0, 1, 2]));
        let gradients = values(logits.grad(&value.backward()).unwrap());
        let value = values(value)[0];
        assert!(value.is_finite() && value > 100.0, "{loss:?}: {value}");
        assert!(gradients.iter().all(|g| g.is_finite()), "{loss:?}: {gradients:?}");
    }
    // Gaps whose scaled values, and whose sums over a batch, would overflow.
    let widest = [vec![f32::MAX, f32::MIN, 0.0], vec![f32::MIN, f32::MAX, f32::MAX]];
    for loss in all() {
        let logits = matrix::<B>(&widest).require_grad();
        let value = loss.forward(logits.clone(), ints(&[1, 0]));
        let gradients = values(logits.grad(&value.backward()).unwrap());
        let value = values(value)[0];
        assert!(value.is_finite() && value > 1e18, "{loss:?}: {value}");
        assert!(gradients.iter().all(|g| g.is_finite()), "{loss:?}: {gradients:?}");
    }
    let far = matrix::<B>(&rows).require_grad();
    let value = DisMaxLossConfig::new().init().forward_fpr(far.clone(), ints(&[0, 1, 2]));
    let gradients = values(far.grad(&value.backward()).unwrap());
    assert!(values(value)[0].is_finite() && gradients.iter().all(|g| g.is_finite()));
}

fn validation_leaves_the_scale_out_for_dismax_only<B: AutodiffBackend>() {
    let logits = Tensor::<B, 2>::random([4, 3], Distribution::Default, &device());
    let targets = || ints(&[0, 1, 2, 0]);
    let unscaled = values(SoftMaxLossConfig::new().init().forward(logits.clone(), targets()));
    for loss in all() {
        let expected = match &loss {
            Loss::DisMax(_) => unscaled.clone(),
            loss => values(loss.forward(logits.clone(), targets())),
        };
        assert_eq!(values(loss.forward_valid(logits.clone(), targets())), expected);
    }
}

type Host = burn::backend::Flex;

#[test]
#[should_panic(expected = "Logits of shape [2, 3] need one target for each row, and at least one \
                           row; the targets have shape [3]")]
fn other_numbers_of_targets_are_refused() {
    let loss = IsoMaxLossConfig::new().init();
    loss.forward::<Host>(Tensor::zeros([2, 3], &device()), ints(&[0, 1, 2]));
}

#[test]
#[should_panic(expected = "An entropic scale must be a positive finite number, got 0")]
fn impossible_entropic_scales_are_refused() {
    IsoMaxLossConfig::new().with_entropic_scale(0.0).init();
}

fn targets_out_of_range_make_the_loss_nan<B: AutodiffBackend>() {
    let logits = || Tensor::<B, 2>::zeros([4, 3], &device());
    for targets in [[0, 3, 1, 2], [0, 1, 2, -1], [i64::from(i32::MAX), 0, 0, 0]] {
        for loss in all() {
            assert!(values(loss.forward(logits(), ints(&targets)))[0].is_nan(), "{targets:?}");
            assert!(values(loss.forward_valid(logits(), ints(&targets)))[0].is_nan());
        }
        let fpr = DisMaxLossConfig::new().init().forward_fpr(logits(), ints(&targets));
        assert!(values(fpr)[0].is_nan(), "{targets:?}");
    }
}
