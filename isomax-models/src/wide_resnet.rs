use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Tensor, backend::Backend};
use isomax_burn::{Head, HeadConfig, HeadKind};

use crate::layers::{
    Activation, BatchNorm, BatchNormConfig, Conv1x1, Conv1x1Config, ConvNorm, conv3x3, convolve,
};
use crate::stages::{Stages, backbone_of_stages};

/// Channels before the stages, and of each stage at widen factor 1.
const CHANNELS: [usize; 4] = [16, 16, 32, 64];

/// Momentum of the last normalisation in the published code, as PyTorch counts it.
const LAST_MOMENTUM: f64 = 0.9;

/// Configuration of a [`WideResNet`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct WideResNetConfig {
    /// Number of layers: `6 n + 4`, such as 16, 28 or 40.
    pub depth: usize,
    /// How often wider than the ResNets for CIFAR the stages are.
    pub widen_factor: usize,
    /// Number of ID classes.
    pub num_classes: usize,
    /// Probability of dropping a value between the convolutions of a block, in [0, 1).
    #[config(default = 0.0)]
    pub dropout: f64,
    /// Number of channels of the images.
    #[config(default = 3)]
    pub in_channels: usize,
    /// The last layer.
    #[config(default = "HeadKind::SoftMax")]
    pub head: HeadKind,
}

impl WideResNetConfig {
    /// Initializes the network.
    ///
    /// # Panics
    ///
    /// If the depth is not `6 n + 4` with `n ≥ 1`, the widen factor is 0, or the dropout lies
    /// outside of its range.
    pub fn init<B: Backend>(&self, device: &B::Device) -> WideResNet<B> {
        let Self { depth, widen_factor, dropout, .. } = *self;
        assert!(
            depth >= 10 && depth % 6 == 4,
            "The depth of a wide ResNet must be 6 n + 4 with n ≥ 1, got {depth}"
        );
        assert!(widen_factor > 0, "The widen factor of a wide ResNet must be positive");
        assert!((0.0..1.0).contains(&dropout), "Dropout must lie in [0, 1), got {dropout}");

        let [first, widths @ ..] = CHANNELS;
        let widths = widths.map(|width| width * widen_factor);
        let stage = |channels_in, channels_out, stride| -> Vec<_> {
            let block =
                |channels, stride| PreactivatedBlock::new(channels, stride, dropout, device);
            let first = block([channels_in, channels_out], stride);
            let others = (1..(depth - 4) / 6).map(|_| block([channels_out; 2], 1));
            std::iter::once(first).chain(others).collect()
        };
        WideResNet {
            conv1: conv3x3([self.in_channels, first], 1, true, device),
            layer1: stage(first, widths[0], 1),
            layer2: stage(widths[0], widths[1], 2),
            layer3: stage(widths[1], widths[2], 2),
            bn1: BatchNormConfig::new(widths[2]).with_momentum(LAST_MOMENTUM).init(device),
            classifier: HeadConfig::new(self.head, widths[2], self.num_classes).init(device),
        }
    }
}

/// The wide residual network of Zagoruyko and Komodakis
/// ([arXiv:1605.07146](https://arxiv.org/abs/1605.07146)), in the form of the code published with
/// DisMax: convolutions with a bias, strides in the second convolution of a block, and a momentum of
/// 0.9 in the last normalisation.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::{Backbone, WideResNetConfig};
///
/// let device = Default::default();
/// let network = WideResNetConfig::new(16, 2, 10).init::<Flex>(&device);
/// let features = network.forward_features(Tensor::zeros([2, 3, 32, 32], &device));
/// assert_eq!(features.dims(), [2, 128]);
/// ```
#[derive(Module, Debug)]
pub struct WideResNet<B: Backend> {
    /// From the image to 16 channels.
    pub conv1: Conv2d<B>,
    /// Blocks at full size.
    pub layer1: Vec<PreactivatedBlock<B>>,
    /// Blocks at half size.
    pub layer2: Vec<PreactivatedBlock<B>>,
    /// Blocks at a quarter of the size.
    pub layer3: Vec<PreactivatedBlock<B>>,
    /// The last normalisation.
    pub bn1: BatchNorm<B>,
    /// The last layer.
    pub classifier: Head<B>,
}

impl<B: Backend> Stages<B> for WideResNet<B> {
    fn forward_stages(
        &self,
        images: Tensor<B, 4>,
        show: &mut dyn FnMut(&Tensor<B, 4>),
    ) -> Tensor<B, 4> {
        let mut maps = convolve(&self.conv1, images);
        show(&maps);
        for stage in [&self.layer1, &self.layer2] {
            maps = stage.iter().fold(maps, |maps, block| block.forward(maps));
            show(&maps);
        }
        maps = self.layer3.iter().fold(maps, |maps, block| block.forward(maps));
        maps = self.bn1.forward_with(maps, Activation::Relu);
        show(&maps);
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
        let Self { layer1, layer2, layer3, bn1, .. } = self;
        let blocks = layer1.iter_mut().chain(layer2).chain(layer3);
        let of_blocks = blocks.flat_map(|block| [&mut block.bn1, &mut block.bn2]);
        of_blocks.chain([bn1]).collect()
    }

    fn drop_probabilities_mut(&mut self) -> Vec<&mut f64> {
        let Self { layer1, layer2, layer3, .. } = self;
        let blocks = layer1.iter_mut().chain(layer2).chain(layer3);
        blocks.map(|block| &mut block.dropout.prob).collect()
    }
}

backbone_of_stages!(WideResNet);

/// Two convolutions, each after its normalisation, and a shortcut around them.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::WideResNetConfig;
///
/// let device = Default::default();
/// let network = WideResNetConfig::new(16, 2, 10).init::<Flex>(&device);
/// let maps = network.layer2[0].forward(Tensor::zeros([1, 32, 8, 8], &device));
/// assert_eq!(maps.dims(), [1, 64, 4, 4]);
/// ```
#[derive(Module, Debug)]
pub struct PreactivatedBlock<B: Backend> {
    /// Normalisation of what comes in.
    pub bn1: BatchNorm<B>,
    /// First convolution.
    pub conv1: Conv2d<B>,
    /// Normalisation between the convolutions.
    pub bn2: BatchNorm<B>,
    /// Second convolution, which halves the size if the block does.
    pub conv2: Conv2d<B>,
    /// A 1 × 1 convolution where the shape changes, else empty.
    pub shortcut: Vec<Conv1x1<B>>,
    /// Applied between the convolutions in training.
    pub dropout: Dropout,
}

impl<B: Backend> PreactivatedBlock<B> {
    fn new(channels: [usize; 2], stride: usize, dropout: f64, device: &B::Device) -> Self {
        let [channels_in, channels_out] = channels;
        let projection =
            || Conv1x1Config::new(channels).with_stride(stride).with_bias(true).init(device);
        let is_projected = stride != 1 || channels_in != channels_out;
        Self {
            bn1: BatchNormConfig::new(channels_in).init(device),
            conv1: conv3x3(channels, 1, true, device),
            bn2: BatchNormConfig::new(channels_out).init(device),
            conv2: conv3x3([channels_out; 2], stride, true, device),
            shortcut: is_projected.then(projection).into_iter().collect(),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }

    /// `[batch_size, channels_in, height, width]` to `[batch_size, channels_out, …]`, of half the
    /// height and width, rounded up, if the block halves them.
    pub fn forward(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        let inner = self.bn1.forward_with(maps.clone(), Activation::Relu);
        let inner = ConvNorm::new(&self.conv1, &self.bn2)
            .with_dropout(&self.dropout)
            .with_activation(Activation::Relu)
            .forward(inner);
        let inner = convolve(&self.conv2, inner);
        inner + self.shortcut.iter().fold(maps, |maps, conv| conv.forward(maps))
    }
}
