use burn::config::Config;
use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::{Tensor, backend::Backend};
use isomax_burn::{Head, HeadConfig, HeadKind};
use serde::{Deserialize, Serialize};

use crate::layers::{Activation, BatchNorm, BatchNormConfig, ConvNorm, conv3x3, conv7x7};
use crate::residual_block::{BlockKind, ResidualBlock};
use crate::stages::{Stages, backbone_of_stages};

/// Channels of the 3 × 3 convolutions in the four stages. The stem has as many as the first.
const WIDTHS: [usize; 4] = [64, 128, 256, 512];

/// How a [`ResNet`] takes its images. See there for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stem {
    /// A 3 × 3 convolution at full size, for images of about 32 × 32.
    Cifar,
    /// A 7 × 7 convolution and a maximum over 3 × 3, each halving the size, for images of about
    /// 224 × 224.
    ImageNet,
}

/// Configuration of a [`ResNet`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct ResNetConfig {
    /// Blocks in each of the four stages.
    pub blocks: [usize; 4],
    /// Number of ID classes.
    pub num_classes: usize,
    /// What the stages consist of.
    #[config(default = "BlockKind::Basic")]
    pub block: BlockKind,
    /// How images come in.
    #[config(default = "Stem::Cifar")]
    pub stem: Stem,
    /// Number of channels of the images.
    #[config(default = 3)]
    pub in_channels: usize,
    /// The last layer.
    #[config(default = "HeadKind::SoftMax")]
    pub head: HeadKind,
}

impl ResNetConfig {
    /// 18 layers.
    pub fn resnet18(num_classes: usize) -> Self {
        Self::new([2, 2, 2, 2], num_classes)
    }

    /// 34 layers.
    pub fn resnet34(num_classes: usize) -> Self {
        Self::new([3, 4, 6, 3], num_classes)
    }

    /// 50 layers, in bottleneck blocks.
    pub fn resnet50(num_classes: usize) -> Self {
        Self::new([3, 4, 6, 3], num_classes).with_block(BlockKind::Bottleneck)
    }

    /// Initializes the network. The last normalisation of every block starts at weight 0, so that
    /// blocks begin as identities, as in the code published with DisMax
    /// ([arXiv:1706.02677](https://arxiv.org/abs/1706.02677)).
    ///
    /// # Panics
    ///
    /// If a stage has no block.
    pub fn init<B: Backend>(&self, device: &B::Device) -> ResNet<B> {
        assert!(
            !self.blocks.contains(&0),
            "Every stage of a ResNet needs a block, got {:?}",
            self.blocks
        );
        let expansion = self.block.expansion();
        let block = |channels_in: usize, width: usize, stride: usize| {
            ResidualBlock::new(self.block, [channels_in, width], stride, device)
        };
        let stage = |index: usize| -> Vec<_> {
            let width = WIDTHS[index];
            let (before, stride) =
                if index == 0 { (WIDTHS[0], 1) } else { (expansion * WIDTHS[index - 1], 2) };
            let first = block(before, width, stride);
            let others = (1..self.blocks[index]).map(|_| block(expansion * width, width, 1));
            std::iter::once(first).chain(others).collect()
        };
        let into_stem = [self.in_channels, WIDTHS[0]];
        let (conv1, maxpool) = match self.stem {
            Stem::Cifar => (conv3x3(into_stem, 1, false, device), None),
            Stem::ImageNet => {
                let maxpool = MaxPool2dConfig::new([3, 3])
                    .with_strides([2, 2])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
                (conv7x7(into_stem, 2, device), Some(maxpool.init()))
            }
        };
        let features = expansion * WIDTHS[3];
        ResNet {
            conv1,
            bn1: BatchNormConfig::new(WIDTHS[0]).init(device),
            maxpool,
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            layer4: stage(3),
            classifier: HeadConfig::new(self.head, features, self.num_classes).init(device),
        }
    }
}

/// The residual network of He et al. ([arXiv:1512.03385](https://arxiv.org/abs/1512.03385), table 1)
/// with projections where shapes change.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::{Backbone, ResNetConfig, Stem};
///
/// let device = Default::default();
/// let network = ResNetConfig::resnet18(10).with_stem(Stem::ImageNet).init::<Flex>(&device);
/// let features = network.forward_features(Tensor::zeros([1, 3, 64, 64], &device));
/// assert_eq!(features.dims(), [1, 512]);
/// ```
#[derive(Module, Debug)]
pub struct ResNet<B: Backend> {
    /// From the image to 64 channels.
    pub conv1: Conv2d<B>,
    /// Its normalisation.
    pub bn1: BatchNorm<B>,
    /// After it, with the stem for large images.
    pub maxpool: Option<MaxPool2d>,
    /// 64 channels, or 256 with bottlenecks.
    pub layer1: Vec<ResidualBlock<B>>,
    /// 128 channels at half the size, or 512 with bottlenecks.
    pub layer2: Vec<ResidualBlock<B>>,
    /// 256 channels at a quarter of the size, or 1,024 with bottlenecks.
    pub layer3: Vec<ResidualBlock<B>>,
    /// 512 channels at an eighth of the size, or 2,048 with bottlenecks.
    pub layer4: Vec<ResidualBlock<B>>,
    /// The last layer.
    pub classifier: Head<B>,
}

impl<B: Backend> Stages<B> for ResNet<B> {
    fn forward_stages(
        &self,
        images: Tensor<B, 4>,
        show: &mut dyn FnMut(&Tensor<B, 4>),
    ) -> Tensor<B, 4> {
        let stem = ConvNorm::new(&self.conv1, &self.bn1).with_activation(Activation::Relu);
        let mut maps = stem.forward(images);
        if let Some(maxpool) = &self.maxpool {
            maps = maxpool.forward(maps);
        }
        show(&maps);
        for stage in [&self.layer1, &self.layer2, &self.layer3, &self.layer4] {
            maps = stage.iter().fold(maps, |maps, block| block.forward(maps));
            show(&maps);
        }
        maps
    }

    fn in_channels(&self) -> usize {
        self.conv1.weight.dims()[1]
    }

    fn total_stride(&self) -> usize {
        if self.maxpool.is_some() { 32 } else { 8 }
    }

    fn classifier(&self) -> &Head<B> {
        &self.classifier
    }

    fn batch_norms_mut(&mut self) -> Vec<&mut BatchNorm<B>> {
        let Self { bn1, layer1, layer2, layer3, layer4, .. } = self;
        let blocks = layer1.iter_mut().chain(layer2).chain(layer3).chain(layer4);
        let of_blocks = blocks.flat_map(ResidualBlock::batch_norms_mut);
        std::iter::once(bn1).chain(of_blocks).collect()
    }
}

backbone_of_stages!(ResNet);
