//! Batch normalisation against Burn's own, and networks against their published sizes.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use burn::backend::{Autodiff, Flex, NdArray};
use burn::module::AutodiffModule;
use burn::nn;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Distribution, Tensor, Tolerance};
use isomax_burn::HeadKind;
use isomax_models::{BatchNormConfig, CifarResNetConfig};

/// The stock layer differs in one thing, its running variance, which is the biased one.
fn batch_norm_is_that_of_burn<B: AutodiffBackend>() {
    let device = Default::default();
    let (ours, stock) = (
        BatchNormConfig::new(3).init::<B>(&device),
        nn::BatchNormConfig::new(3).init::<B>(&device),
    );
    let images = Tensor::<B, 4>::random([4, 3, 5, 6], Distribution::Normal(2.0, 3.0), &device);
    let weights = Tensor::<B, 4>::random([4, 3, 5, 6], Distribution::Default, &device);
    let inputs = [images.clone().require_grad(), images.require_grad()];
    let outputs = [ours.forward(inputs[0].clone()), stock.forward(inputs[1].clone())];
    let gradients = outputs.clone().map(|y| (y * weights.clone()).sum().backward());
    let close = |a: Tensor<B::InnerBackend, 4>, b: Tensor<B::InnerBackend, 4>| {
        a.into_data().assert_approx_eq::<f32>(&b.into_data(), Tolerance::absolute(1e-4));
    };
    close(outputs[0].clone().inner(), outputs[1].clone().inner());
    close(inputs[0].grad(&gradients[0]).unwrap(), inputs[1].grad(&gradients[1]).unwrap());
    let of_weight = [
        ours.weight.val().grad(&gradients[0]).unwrap(),
        stock.gamma.val().grad(&gradients[1]).unwrap(),
    ]
    .map(|gradient| gradient.into_data());
    of_weight[0].assert_approx_eq::<f32>(&of_weight[1], Tolerance::absolute(1e-3));

    let count = (4 * 5 * 6) as f32;
    let running = |state: Tensor<B, 1>| state.into_data().iter::<f32>().collect::<Vec<_>>();
    let means = running(ours.running_mean.value_sync()).into_iter();
    for (ours, stock) in means.zip(running(stock.running_mean.value_sync())) {
        assert!((ours - stock).abs() < 1e-5);
    }
    let variances = running(ours.running_var.value_sync()).into_iter();
    for (ours, stock) in variances.zip(running(stock.running_var.value_sync())) {
        let expected = 0.9 + (stock - 0.9) * count / (count - 1.0);
        assert!((ours - expected).abs() < 1e-4, "{ours} ≠ {expected}");
    }

    let images = Tensor::<B::InnerBackend, 4>::ones([1, 3, 2, 2], &device);
    let running_mean = ours.running_mean.value_sync().inner().unsqueeze_dims::<4>(&[0, 2, 3]);
    let running_var = ours.running_var.value_sync().inner().unsqueeze_dims::<4>(&[0, 2, 3]);
    let expected = (images.clone() - running_mean) / (running_var + 1e-5).sqrt();
    close(ours.valid().forward(images), expected);
}

#[test]
fn batch_norm_is_that_of_burn_on_flex() {
    batch_norm_is_that_of_burn::<Autodiff<Flex>>();
}

#[test]
fn batch_norm_is_that_of_burn_on_ndarray() {
    batch_norm_is_that_of_burn::<Autodiff<NdArray>>();
}

#[test]
fn every_head_trains() {
    type B = Autodiff<Flex>;
    let device = Default::default();
    for kind in HeadKind::ALL {
        let model = CifarResNetConfig::new(8, 4).with_head(kind).init::<B>(&device);
        let images = Tensor::random([2, 3, 16, 16], Distribution::Default, &device);
        let features = model.forward_features(images.clone());
        assert_eq!(features.dims(), [2, 64]);
        let gradients = model.forward(images).sum().backward();
        let of_first = model.conv1.weight.val().grad(&gradients).unwrap();
        assert!(of_first.into_data().iter::<f32>().all(|g| g.is_finite()));
        assert_eq!(model.valid().forward(Tensor::zeros([1, 3, 8, 8], &device)).dims(), [1, 4]);
    }
}

#[test]
#[should_panic(expected = "The depth of a CIFAR ResNet must be 6 n + 2 with n ≥ 1, got 21")]
fn impossible_depths_are_refused() {
    CifarResNetConfig::new(21, 10).init::<Flex>(&Default::default());
}

#[test]
#[should_panic(expected = "do not fit a batch normalisation of 3 channels")]
fn images_of_other_channels_are_refused() {
    let norm = BatchNormConfig::new(3).init::<Flex>(&Default::default());
    norm.forward(Tensor::zeros([1, 4, 2, 2], &Default::default()));
}
