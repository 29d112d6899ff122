use burn::module::{Initializer, Module};
use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

use crate::layers::{
    Activation, BatchNorm, BatchNormConfig, Conv1x1, Conv1x1Config, ConvNorm, conv3x3,
};

/// How many times as many channels leave a bottleneck block as its 3 × 3 convolution has.
const BOTTLENECK_EXPANSION: usize = 4;

/// Which blocks a [`ResNet`](crate::ResNet) has.
///
/// ```
/// use burn::backend::Flex;
/// use isomax_models::{BlockKind, ResNetConfig};
///
/// let config = ResNetConfig::new([1, 1, 1, 1], 10).with_block(BlockKind::Bottleneck);
/// let network = config.init::<Flex>(&Default::default());
/// assert_eq!(network.layer1.len(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum BlockKind {
    /// [`ProjectedBlock`], two 3 × 3 convolutions, as in ResNet-18 and ResNet-34.
    Basic,
    /// [`BottleneckBlock`], a 3 × 3 convolution between two of 1 × 1, as in ResNet-50.
    Bottleneck,
}

impl BlockKind {
    /// How many times as many channels leave a block as a 3 × 3 convolution of it has.
    pub(crate) fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => BOTTLENECK_EXPANSION,
        }
    }
}

/// A block of a [`ResNet`](crate::ResNet), of either kind. Its name is no part of the names of tensors.
///
/// ```
/// use burn::backend::Flex;
/// use isomax_models::{BlockKind, ResNetConfig, ResidualBlock};
///
/// let config = ResNetConfig::new([1, 1, 1, 1], 10).with_block(BlockKind::Bottleneck);
/// let network = config.init::<Flex>(&Default::default());
/// assert!(matches!(network.layer1[0], ResidualBlock::Bottleneck(_)));
/// ```
// There are some dozens of them, nearly all of whose memory is that of their tensors.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
#[non_exhaustive]
pub enum ResidualBlock<B: Backend> {
    /// Two 3 × 3 convolutions.
    Basic(ProjectedBlock<B>),
    /// A 3 × 3 convolution between two of 1 × 1.
    Bottleneck(BottleneckBlock<B>),
}

impl<B: Backend> ResidualBlock<B> {
    /// A block by its channels in, and those of its 3 × 3 convolutions.
    pub(crate) fn new(
        kind: BlockKind,
        channels: [usize; 2],
        stride: usize,
        device: &B::Device,
    ) -> Self {
        match kind {
            BlockKind::Basic => Self::Basic(ProjectedBlock::new(channels, stride, device)),
            BlockKind::Bottleneck => {
                Self::Bottleneck(BottleneckBlock::new(channels, stride, device))
            }
        }
    }

    /// `[batch_size, channels_in, height, width]` to `[batch_size, channels_out, …]`, of half the
    /// height and width, rounded up, if the block halves them.
    pub fn forward(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        match self {
            Self::Basic(block) => block.forward(maps),
            Self::Bottleneck(block) => block.forward(maps),
        }
    }

    /// Its batch normalisations.
    pub(crate) fn batch_norms_mut(&mut self) -> Vec<&mut BatchNorm<B>> {
        let (mut norms, shortcut) = match self {
            Self::Basic(ProjectedBlock { bn1, bn2, shortcut, .. }) => (vec![bn1, bn2], shortcut),
            Self::Bottleneck(BottleneckBlock { bn1, bn2, bn3, shortcut, .. }) => {
                (vec![bn1, bn2, bn3], shortcut)
            }
        };
        norms.extend(shortcut.iter_mut().map(|(_, norm)| norm));
        norms
    }
}

/// Two convolutions, and a shortcut around them that is projected where the shape changes.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::{ResNetConfig, ResidualBlock};
///
/// let device = Default::default();
/// let network = ResNetConfig::resnet18(10).init::<Flex>(&device);
/// let ResidualBlock::Basic(block) = &network.layer2[0] else { unreachable!() };
/// let maps = block.forward(Tensor::zeros([1, 64, 8, 8], &device));
/// assert_eq!(maps.dims(), [1, 128, 4, 4]);
/// ```
#[derive(Module, Debug)]
pub struct ProjectedBlock<B: Backend> {
    /// First convolution, which halves the size if the block does.
    pub conv1: Conv2d<B>,
    /// Its normalisation.
    pub bn1: BatchNorm<B>,
    /// Second convolution.
    pub conv2: Conv2d<B>,
    /// Its normalisation.
    pub bn2: BatchNorm<B>,
    /// A 1 × 1 convolution and its normalisation.
    pub shortcut: Option<(Conv1x1<B>, BatchNorm<B>)>,
}

impl<B: Backend> ProjectedBlock<B> {
    fn new(channels: [usize; 2], stride: usize, device: &B::Device) -> Self {
        let [_, channels_out] = channels;
        Self {
            conv1: conv3x3(channels, stride, false, device),
            bn1: norm(channels_out, device),
            conv2: conv3x3([channels_out; 2], 1, false, device),
            bn2: norm_from_zero(channels_out, device),
            shortcut: projection(channels, stride, device),
        }
    }

    /// `[batch_size, channels_in, height, width]` to `[batch_size, channels_out, …]`, of half the
    /// height and width, rounded up, if the block halves them.
    pub fn forward(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        let first = ConvNorm::new(&self.conv1, &self.bn1).with_activation(Activation::Relu);
        let inner = first.forward(maps.clone());
        ConvNorm::new(&self.conv2, &self.bn2)
            .with_shortcut(around(&self.shortcut, maps))
            .with_activation(Activation::Relu)
            .forward(inner)
    }
}

/// A 3 × 3 convolution of few channels between two 1 × 1 convolutions, to these few and to four times as
/// many, and a shortcut around them that is projected where the shape changes.
///
/// The 3 × 3 convolution halves the size, as in
/// [torchvision](https://github.com/pytorch/vision/blob/main/torchvision/models/resnet.py), which calls it
/// ResNet v1.5; in the paper the first convolution does.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::{BlockKind, ResNetConfig, ResidualBlock};
///
/// let device = Default::default();
/// let config = ResNetConfig::new([1, 1, 1, 1], 10).with_block(BlockKind::Bottleneck);
/// let network = config.init::<Flex>(&device);
/// let ResidualBlock::Bottleneck(block) = &network.layer2[0] else { unreachable!() };
/// let maps = block.forward(Tensor::zeros([1, 256, 8, 8], &device));
/// assert_eq!(maps.dims(), [1, 512, 4, 4]);
/// ```
#[derive(Module, Debug)]
pub struct BottleneckBlock<B: Backend> {
    /// 1 × 1 convolution to few channels.
    pub conv1: Conv1x1<B>,
    /// Its normalisation.
    pub bn1: BatchNorm<B>,
    /// 3 × 3 convolution, which halves the size if the block does.
    pub conv2: Conv2d<B>,
    /// Its normalisation.
    pub bn2: BatchNorm<B>,
    /// 1 × 1 convolution to four times as many channels.
    pub conv3: Conv1x1<B>,
    /// Its normalisation.
    pub bn3: BatchNorm<B>,
    /// A 1 × 1 convolution and its normalisation.
    pub shortcut: Option<(Conv1x1<B>, BatchNorm<B>)>,
}

impl<B: Backend> BottleneckBlock<B> {
    fn new([channels_in, width]: [usize; 2], stride: usize, device: &B::Device) -> Self {
        let channels_out = BOTTLENECK_EXPANSION * width;
        Self {
            conv1: Conv1x1Config::new([channels_in, width]).init(device),
            bn1: norm(width, device),
            conv2: conv3x3([width; 2], stride, false, device),
            bn2: norm(width, device),
            conv3: Conv1x1Config::new([width, channels_out]).init(device),
            bn3: norm_from_zero(channels_out, device),
            shortcut: projection([channels_in, channels_out], stride, device),
        }
    }

    /// `[batch_size, channels_in, height, width]` to `[batch_size, channels_out, …]`, of half the
    /// height and width, rounded up, if the block halves them.
    pub fn forward(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        let first = ConvNorm::new(&self.conv1, &self.bn1).with_activation(Activation::Relu);
        let second = ConvNorm::new(&self.conv2, &self.bn2).with_activation(Activation::Relu);
        let inner = second.forward(first.forward(maps.clone()));
        ConvNorm::new(&self.conv3, &self.bn3)
            .with_shortcut(around(&self.shortcut, maps))
            .with_activation(Activation::Relu)
            .forward(inner)
    }
}

fn norm<B: Backend>(channels: usize, device: &B::Device) -> BatchNorm<B> {
    BatchNormConfig::new(channels).init(device)
}

/// The last normalisation of a block, with which it begins as an identity.
fn norm_from_zero<B: Backend>(channels: usize, device: &B::Device) -> BatchNorm<B> {
    BatchNorm { weight: Initializer::Zeros.init([channels], device), ..norm(channels, device) }
}

/// What the shortcut needs where the shape changes.
fn projection<B: Backend>(
    channels: [usize; 2],
    stride: usize,
    device: &B::Device,
) -> Option<(Conv1x1<B>, BatchNorm<B>)> {
    let [channels_in, channels_out] = channels;
    (stride != 1 || channels_in != channels_out).then(|| {
        let conv = Conv1x1Config::new(channels).with_stride(stride);
        (conv.init(device), norm(channels_out, device))
    })
}

/// What the shortcut makes of maps.
fn around<B: Backend>(
    shortcut: &Option<(Conv1x1<B>, BatchNorm<B>)>,
    maps: Tensor<B, 4>,
) -> Tensor<B, 4> {
    match shortcut {
        Some((conv, norm)) => ConvNorm::new(conv, norm).forward(maps),
        None => maps,
    }
}
