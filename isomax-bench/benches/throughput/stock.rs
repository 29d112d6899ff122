//! Networks of Burn's own modules, as one would write them without this project: `nn::Conv2d`, `nn::BatchNorm`,
//! `nn::Linear`, `CrossEntropyLoss`.

use burn::module::{AutodiffModule, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::AvgPool2dConfig;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, s};
use isomax_bench::backend::{self, InferenceBackend, TrainingBackend};
use isomax_models::Architecture;

use crate::Network;

/// A ResNet for CIFAR, or a DenseNet-BC.
#[derive(Module, Debug)]
pub struct StockNetwork<B: Backend> {
    stem: Conv2d<B>,
    stem_norm: Option<BatchNorm<B>>,
    stages: Vec<Stage<B>>,
    last_norm: Option<BatchNorm<B>>,
    classifier: Linear<B>,
}

pub type Stock = StockNetwork<TrainingBackend>;

#[derive(Module, Debug)]
struct Stage<B: Backend> {
    layers: Vec<Layer<B>>,
    transition: Option<(BatchNorm<B>, Conv2d<B>)>,
}

/// Two convolutions, each with its normalisation.
#[derive(Module, Debug)]
struct Layer<B: Backend> {
    dense: bool,
    convs: [Conv2d<B>; 2],
    norms: [BatchNorm<B>; 2],
}

fn conv<B: Backend>(channels: [usize; 2], kernel: usize, stride: usize) -> Conv2d<B> {
    let padding = kernel / 2;
    Conv2dConfig::new(channels, [kernel; 2])
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
        .with_bias(false)
        .init(&B::Device::default())
}

fn norm<B: Backend>(channels: usize) -> BatchNorm<B> {
    BatchNormConfig::new(channels).init(&B::Device::default())
}

impl Stock {
    pub fn new(network: Architecture) -> Option<Self> {
        let classifier = |channels| LinearConfig::new(channels, 10).init(&backend::device());
        match network {
            Architecture::CifarResNet { depth } => {
                let stage = |before: usize, channels: usize, stride: usize| {
                    let layer = |index: usize| {
                        let first = index == 0;
                        let (before, stride) = if first { (before, stride) } else { (channels, 1) };
                        Layer {
                            dense: false,
                            convs: [conv([before, channels], 3, stride), conv([channels; 2], 3, 1)],
                            norms: [norm(channels), norm(channels)],
                        }
                    };
                    Stage { layers: (0..(depth - 2) / 6).map(layer).collect(), transition: None }
                };
                Some(Self {
                    stem: conv([3, 16], 3, 1),
                    stem_norm: Some(norm(16)),
                    stages: vec![stage(16, 16, 1), stage(16, 32, 2), stage(32, 64, 2)],
                    last_norm: None,
                    classifier: classifier(64),
                })
            }
            Architecture::DenseNetBc { depth } => {
                let mut channels = 24;
                let stage = |index: usize| {
                    let layer = |_| {
                        channels += 12;
                        Layer {
                            dense: true,
                            convs: [conv([channels - 12, 48], 1, 1), conv([48, 12], 3, 1)],
                            norms: [norm(channels - 12), norm(48)],
                        }
                    };
                    let layers = (0..(depth - 4) / 6).map(layer).collect();
                    let transition = (index < 2).then(|| {
                        let before = channels;
                        channels /= 2;
                        (norm(before), conv([before, channels], 1, 1))
                    });
                    Stage { layers, transition }
                };
                let stages = (0..3).map(stage).collect();
                Some(Self {
                    stem: conv([3, 24], 3, 1),
                    stem_norm: None,
                    stages,
                    last_norm: Some(norm(channels)),
                    classifier: classifier(channels),
                })
            }
            _ => None,
        }
    }
}

impl<B: Backend> StockNetwork<B> {
    fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let mut maps = self.stem.forward(images);
        if let Some(norm) = &self.stem_norm {
            maps = relu(norm.forward(maps));
        }
        for stage in &self.stages {
            maps = stage.layers.iter().fold(maps, |maps, layer| layer.forward(maps));
            if let Some((norm, conv)) = &stage.transition {
                let pool = AvgPool2dConfig::new([2, 2]).init();
                maps = pool.forward(conv.forward(relu(norm.forward(maps))));
            }
        }
        if let Some(norm) = &self.last_norm {
            maps = relu(norm.forward(maps));
        }
        let features = maps.mean_dim(3).mean_dim(2).flatten(1, 3);
        self.classifier.forward(features)
    }
}

impl<B: Backend> Layer<B> {
    fn forward(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        let ([conv1, conv2], [norm1, norm2]) = (&self.convs, &self.norms);
        if self.dense {
            let new = conv1.forward(relu(norm1.forward(maps.clone())));
            let new = conv2.forward(relu(norm2.forward(new)));
            return Tensor::cat(vec![maps, new], 1);
        }
        let inner = relu(norm1.forward(conv1.forward(maps.clone())));
        let inner = norm2.forward(conv2.forward(inner));
        let [batch_size, channels, height, width] = inner.dims();
        let given = maps.dims()[1];
        let around = if channels == given {
            maps
        } else {
            let zeros = Tensor::zeros([batch_size, given / 2, height, width], &inner.device());
            let halved = maps.slice(s![.., .., ..;2, ..;2]);
            Tensor::cat(vec![zeros.clone(), halved, zeros], 1)
        };
        relu(inner + around)
    }
}

impl Network for Stock {
    fn loss(
        &self,
        images: Tensor<TrainingBackend, 4>,
        targets: Tensor<TrainingBackend, 1, Int>,
    ) -> Tensor<TrainingBackend, 1> {
        let loss = CrossEntropyLossConfig::new().init(&images.device());
        loss.forward(self.forward(images), targets)
    }

    fn infer(
        fixed: &<Self as AutodiffModule<TrainingBackend>>::InnerModule,
        images: Tensor<InferenceBackend, 4>,
    ) {
        fixed.forward(images);
    }
}
