//! ODIN against numbers in double precision, and that it leaves the network as it is.

use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Param};
use burn::prelude::*;
use burn::tensor::Distribution;
use burn::tensor::backend::AutodiffBackend;
use isomax_burn::{HeadKind, SoftMaxHead, SoftMaxHeadConfig};
use isomax_models::{Architecture, Backbone, ModelConfig, Odin};
use serde::Deserialize;

use super::support::{device, values};

#[derive(Deserialize)]
struct Golden {
    images: Vec<Vec<Vec<Vec<f64>>>>,
    hidden_weights: Vec<Vec<f64>>,
    hidden_bias: Vec<f64>,
    weights: Vec<Vec<f64>>,
    bias: Vec<f64>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    temperature: f64,
    noise: f64,
    std: Vec<f64>,
    scores: Vec<f64>,
}

/// Two layers.
#[derive(Module, Debug)]
struct Net<B: Backend> {
    weights: Param<Tensor<B, 2>>,
    bias: Param<Tensor<B, 1>>,
    head: SoftMaxHead<B>,
}

impl<B: Backend> Backbone<B> for Net<B> {
    type Input = Tensor<B, 4>;
    type Head = SoftMaxHead<B>;

    fn forward_features(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let flat: Tensor<B, 2> = images.flatten(1, 3);
        let hidden = flat.matmul(self.weights.val().transpose()) + self.bias.val().unsqueeze();
        burn::tensor::activation::relu(hidden)
    }

    fn head(&self) -> &SoftMaxHead<B> {
        &self.head
    }
}

fn matrix<B: Backend>(rows: &[Vec<f64>]) -> Tensor<B, 2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), &device())
}

fn scores_are_the_golden_ones<B: AutodiffBackend>() {
    let golden: Golden = serde_json::from_str(include_str!("../fixtures/odin.json")).unwrap();
    let mut head = SoftMaxHeadConfig::new(10, 5).init::<B>(&device());
    head.weights = Param::from_tensor(matrix(&golden.weights));
    head.bias = Param::from_tensor(Tensor::from_data(golden.bias.as_slice(), &device()));
    let net = Net::<B> {
        weights: Param::from_tensor(matrix(&golden.hidden_weights)),
        bias: Param::from_tensor(Tensor::from_data(golden.hidden_bias.as_slice(), &device())),
        head,
    };
    let flat: Vec<f64> = golden.images.iter().flatten().flatten().flatten().copied().collect();
    let images = TensorData::new(flat, [golden.images.len(), 3, 2, 2]);
    assert_eq!(golden.cases.len(), 4);
    for case in &golden.cases {
        let odin = Odin::new().with_temperature(case.temperature).with_noise(case.noise);
        let images = Tensor::from_data(images.clone(), &device());
        let scores = odin.with_std(&case.std).scores(&net, images).into_data();
        for (found, expected) in scores.iter::<f64>().zip(&case.scores) {
            let size = expected.abs().max(0.2);
            assert!((found - expected).abs() <= 2e-5 * size, "{found} is not {expected}");
        }
    }
}

fn the_network_stays_as_it_is<B: AutodiffBackend>() {
    for architecture in ["resnet-8", "densenet-bc-10", "wrn-10-1"] {
        let architecture: Architecture = architecture.parse().unwrap();
        for head in [HeadKind::SoftMax, HeadKind::IsoMaxPlus] {
            let network = ModelConfig::new(architecture, 3).with_head(head).init::<B>(&device());
            let before = values(&network);
            let images = Tensor::random([2, 3, 8, 8], Distribution::Default, &device());
            let odin = Odin::new().with_temperature(1.0).with_noise(0.1);
            let scores = odin.scores(&network, images.clone());
            assert!(before == values(&network), "{architecture}: running statistics moved");
            // Towards the class of the image, so that it becomes more probable.
            let logits = network.valid().forward(images);
            let plain = burn::tensor::activation::softmax(logits, 1).max_dim(1);
            let gain = (scores - plain.squeeze_dim(1)).mean().into_scalar().elem::<f32>();
            assert!(gain > 0.0, "{architecture}: {gain}");
        }
    }
}

/// Scores of an image depend on nothing else, in networks that drop a half of everything in training.
fn nothing_is_drawn_by<B: AutodiffBackend>(architecture: &str, side: usize) {
    let config = ModelConfig::new(architecture.parse().unwrap(), 3).with_dropout(Some(0.5));
    let network = config.with_drop_connect(Some(0.5)).init::<B>(&device());
    let images = Tensor::random([3, 3, side, side], Distribution::Default, &device());
    let scores = |images: Tensor<B::InnerBackend, 4>| -> Vec<f64> {
        let odin = Odin::new().with_temperature(1.0).with_noise(0.01);
        odin.scores(&network, images).into_data().iter::<f64>().collect()
    };
    let all = scores(images.clone());
    assert_eq!(all, scores(images.clone()), "{architecture}");
    let one = scores(images.narrow(0, 1, 1))[0];
    assert!((one - all[1]).abs() < 1e-4, "{architecture}: {one} alone, {} among others", all[1]);
}

fn nothing_is_drawn<B: AutodiffBackend>() {
    nothing_is_drawn_by::<B>("wrn-10-1", 8);
}

// Large, and slow on the other backends.
#[test]
fn nothing_is_drawn_by_large_networks() {
    nothing_is_drawn_by::<Autodiff<Flex>>("densenet-bc-10", 8);
    nothing_is_drawn_by::<Autodiff<Flex>>("efficientnet-lite0", 32);
}

on_every_backend!(scores_are_the_golden_ones, the_network_stays_as_it_is, nothing_is_drawn);
