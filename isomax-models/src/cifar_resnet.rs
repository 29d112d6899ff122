use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, backend::Backend};
use isomax_burn::{Head, HeadConfig, HeadKind};

use crate::layers::{
    Activation, BatchNorm, BatchNormConfig, ConvNorm, concat_channels, conv3x3, subsample,
};
use crate::stages::{Stages, backbone_of_stages};

/// Channels of the three stages.
const CHANNELS: [usize; 3] = [16, 32, 64];

/// Configuration of a [`CifarResNet`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct CifarResNetConfig {
    /// Number of layers: `6 n + 2`, such as 20, 32, 44, 56 or 110.
    pub depth: usize,
    /// Number of ID classes.
    pub num_classes: usize,
    /// Number of channels of the images.
    #[config(default = 3)]
    pub in_channels: usize,
    /// The last layer.
    #[config(default = "HeadKind::SoftMax")]
    pub head: HeadKind,
}

impl CifarResNetConfig {
    /// Initializes the network.
    ///
    /// # Panics
    ///
    /// If the depth is not `6 n + 2` with `n ≥ 1`.
    pub fn init<B: Backend>(&self, device: &B::Device) -> CifarResNet<B> {
        let depth = self.depth;
        assert!(
            depth >= 8 && depth % 6 == 2,
            "The depth of a CIFAR ResNet must be 6 n + 2 with n ≥ 1, got {depth}"
        );
        let blocks = (depth - 2) / 6;
        let stage = |channels_in, channels_out, stride| -> Vec<_> {
            let first = BasicBlock::new([channels_in, channels_out], stride, device);
            let others = (1..blocks).map(|_| BasicBlock::new([channels_out; 2], 1, device));
            std::iter::once(first).chain(others).collect()
        };
        CifarResNet {
            conv1: conv3x3([self.in_channels, CHANNELS[0]], 1, false, device),
            bn1: BatchNormConfig::new(CHANNELS[0]).init(device),
            layer1: stage(CHANNELS[0], CHANNELS[0], 1),
            layer2: stage(CHANNELS[0], CHANNELS[1], 2),
            layer3: stage(CHANNELS[1], CHANNELS[2], 2),
            classifier: HeadConfig::new(self.head, CHANNELS[2], self.num_classes).init(device),
        }
    }
}

/// The residual network for 32 × 32 images of He et al.
/// ([arXiv:1512.03385](https://arxiv.org/abs/1512.03385), section 4.2), with shortcuts that have no
/// parameters (option A).
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::{Backbone, CifarResNetConfig};
///
/// let device = Default::default();
/// let network = CifarResNetConfig::new(8, 10).init::<Flex>(&device);
/// let features = network.forward_features(Tensor::zeros([2, 3, 32, 32], &device));
/// assert_eq!(features.dims(), [2, 64]);
/// ```
#[derive(Module, Debug)]
pub struct CifarResNet<B: Backend> {
    /// From the image to 16 channels.
    pub conv1: Conv2d<B>,
    /// Its normalisation.
    pub bn1: BatchNorm<B>,
    /// 16 channels at full size.
    pub layer1: Vec<BasicBlock<B>>,
    /// 32 channels at half size.
    pub layer2: Vec<BasicBlock<B>>,
    /// 64 channels at a quarter of the size.
    pub layer3: Vec<BasicBlock<B>>,
    /// The last layer.
    pub classifier: Head<B>,
}

impl<B: Backend> Stages<B> for CifarResNet<B> {
    fn forward_stages(
        &self,
        images: Tensor<B, 4>,
        show: &mut dyn FnMut(&Tensor<B, 4>),
    ) -> Tensor<B, 4> {
        let stem = ConvNorm::new(&self.conv1, &self.bn1).with_activation(Activation::Relu);
        let mut maps = stem.forward(images);
        show(&maps);
        for stage in [&self.layer1, &self.layer2, &self.layer3] {
            maps = stage.iter().fold(maps, |maps, block| block.forward(maps));
            show(&maps);
        }
        maps
    }

    fn in_channels(&self) -> usize {
        self.conv1.weight.dims()[1]
    }

    fn total_stride(&self) -> usize {
        4
    }

    fn classifier(&self) -> &Head<B> {
        &self.classifier
    }

    fn batch_norms_mut(&mut self) -> Vec<&mut BatchNorm<B>> {
        let Self { bn1, layer1, layer2, layer3, .. } = self;
        let blocks = layer1.iter_mut().chain(layer2).chain(layer3);
        let of_blocks = blocks.flat_map(|block| [&mut block.bn1, &mut block.bn2]);
        std::iter::once(bn1).chain(of_blocks).collect()
    }
}

backbone_of_stages!(CifarResNet);

/// Two convolutions and a shortcut around them.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::CifarResNetConfig;
///
/// let device = Default::default();
/// let network = CifarResNetConfig::new(8, 10).init::<Flex>(&device);
/// let maps = network.layer2[0].forward(Tensor::zeros([1, 16, 32, 32], &device));
/// assert_eq!(maps.dims(), [1, 32, 16, 16]);
/// ```
#[derive(Module, Debug)]
pub struct BasicBlock<B: Backend> {
    /// First convolution, which halves the size if the block does.
    pub conv1: Conv2d<B>,
    /// Its normalisation.
    pub bn1: BatchNorm<B>,
    /// Second convolution.
    pub conv2: Conv2d<B>,
    /// Its normalisation.
    pub bn2: BatchNorm<B>,
}

impl<B: Backend> BasicBlock<B> {
    fn new(channels: [usize; 2], stride: usize, device: &B::Device) -> Self {
        let norm = || BatchNormConfig::new(channels[1]).init(device);
        Self {
            conv1: conv3x3(channels, stride, false, device),
            bn1: norm(),
            conv2: conv3x3([channels[1]; 2], 1, false, device),
            bn2: norm(),
        }
    }

    /// `[batch_size, channels_in, height, width]` to `[batch_size, channels_out, …]`, of half the
    /// height and width if the channels double.
    pub fn forward(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        let [channels, ..] = self.conv2.weight.dims();
        let first = ConvNorm::new(&self.conv1, &self.bn1).with_activation(Activation::Relu);
        let inner = first.forward(maps.clone());
        ConvNorm::new(&self.conv2, &self.bn2)
            .with_shortcut(shortcut(maps, channels))
            .with_activation(Activation::Relu)
            .forward(inner)
    }
}

/// Option A: every second row and column, and channels of zeros on both sides.
fn shortcut<B: Backend>(maps: Tensor<B, 4>, channels: usize) -> Tensor<B, 4> {
    let [batch_size, given, ..] = maps.dims();
    if channels == given {
        return maps;
    }
    let halved = subsample(maps, 2);
    let [_, _, height, width] = halved.dims();
    let padding = (channels - given) / 2;
    let shape = [batch_size, padding, height, width];
    let zeros = Tensor::zeros(shape, (&halved.device(), halved.dtype()));
    concat_channels(vec![zeros.clone(), halved, zeros])
}
