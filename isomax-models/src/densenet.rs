use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Tensor, backend::Backend};
use isomax_burn::{Head, HeadConfig, HeadKind};

use crate::layers::{
    Activation, BatchNorm, BatchNormConfig, Conv1x1, Conv1x1Config, ConvNorm, average_2x2,
    concat_channels, conv3x3, convolve,
};
use crate::stages::{Stages, backbone_of_stages};

/// Width of a bottleneck, in growth rates.
const BOTTLENECK: usize = 4;

/// Configuration of a [`DenseNetBc`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct DenseNetBcConfig {
    /// Number of layers: `6 n + 4`, such as 40, 100 or 190.
    pub depth: usize,
    /// Number of ID classes.
    pub num_classes: usize,
    /// Channels that each layer adds.
    #[config(default = 12)]
    pub growth_rate: usize,
    /// Share of the channels that a transition keeps, in (0, 1].
    #[config(default = 0.5)]
    pub reduction: f64,
    /// Probability of dropping a value after each convolution but the first, in [0, 1).
    #[config(default = 0.0)]
    pub dropout: f64,
    /// Number of channels of the images.
    #[config(default = 3)]
    pub in_channels: usize,
    /// The last layer.
    #[config(default = "HeadKind::SoftMax")]
    pub head: HeadKind,
}

impl DenseNetBcConfig {
    /// Initializes the network.
    ///
    /// # Panics
    ///
    /// If the depth is not `6 n + 4` with `n ≥ 1`, the growth rate is 0, or the reduction or the
    /// dropout lies outside of its range.
    pub fn init<B: Backend>(&self, device: &B::Device) -> DenseNetBc<B> {
        let Self { depth, growth_rate, reduction, dropout, .. } = *self;
        assert!(
            depth >= 10 && depth % 6 == 4,
            "The depth of a DenseNet-BC must be 6 n + 4 with n ≥ 1, got {depth}"
        );
        assert!(growth_rate > 0, "The growth rate of a DenseNet-BC must be positive");
        assert!(
            reduction > 0.0 && reduction <= 1.0,
            "The reduction of a DenseNet-BC must lie in (0, 1], got {reduction}"
        );
        assert!((0.0..1.0).contains(&dropout), "Dropout must lie in [0, 1), got {dropout}");

        let layers = (depth - 4) / 6;
        let mut channels = 2 * growth_rate;
        let conv1 = conv3x3([self.in_channels, channels], 1, false, device);
        let block = |channels: &mut usize| {
            let layer = (0..layers).map(|i| {
                BottleneckLayer::new(*channels + i * growth_rate, growth_rate, dropout, device)
            });
            let layer = layer.collect();
            *channels += layers * growth_rate;
            DenseBlock { layer }
        };
        let transition = |channels: &mut usize| {
            let kept = (*channels as f64 * reduction).floor() as usize;
            assert!(kept > 0, "A reduction of {reduction} leaves nothing of {channels} channels");
            let transition = Transition::new([*channels, kept], dropout, device);
            *channels = kept;
            transition
        };
        DenseNetBc {
            conv1,
            block1: block(&mut channels),
            trans1: transition(&mut channels),
            block2: block(&mut channels),
            trans2: transition(&mut channels),
            block3: block(&mut channels),
            bn1: BatchNormConfig::new(channels).init(device),
            classifier: HeadConfig::new(self.head, channels, self.num_classes).init(device),
        }
    }
}

/// The densely connected network with bottlenecks and compression of Huang et al.
/// ([arXiv:1608.06993](https://arxiv.org/abs/1608.06993)): every layer sees the maps of all layers
/// before it in its block.
///
/// ```
/// use burn::backend::{Autodiff, Flex};
/// use isomax_burn::HeadKind;
/// use isomax_models::{DenseNetBcConfig, num_trainable_params};
///
/// let config = DenseNetBcConfig::new(100, 10).with_head(HeadKind::IsoMaxPlus);
/// let network = config.init::<Autodiff<Flex>>(&Default::default());
/// assert_eq!(num_trainable_params(&network), 769_153);
/// ```
#[derive(Module, Debug)]
pub struct DenseNetBc<B: Backend> {
    /// From the image to two growth rates of channels.
    pub conv1: Conv2d<B>,
    /// Layers at full size.
    pub block1: DenseBlock<B>,
    /// To half the size.
    pub trans1: Transition<B>,
    /// Layers at half size.
    pub block2: DenseBlock<B>,
    /// To a quarter of the size.
    pub trans2: Transition<B>,
    /// Layers at a quarter of the size.
    pub block3: DenseBlock<B>,
    /// The last normalisation.
    pub bn1: BatchNorm<B>,
    /// The last layer.
    pub classifier: Head<B>,
}

impl<B: Backend> Stages<B> for DenseNetBc<B> {
    fn forward_stages(
        &self,
        images: Tensor<B, 4>,
        show: &mut dyn FnMut(&Tensor<B, 4>),
    ) -> Tensor<B, 4> {
        let maps = convolve(&self.conv1, images);
        show(&maps);
        let maps = self.trans1.forward(self.block1.forward(maps));
        show(&maps);
        let maps = self.trans2.forward(self.block2.forward(maps));
        show(&maps);
        let maps = self.bn1.forward_with(self.block3.forward(maps), Activation::Relu);
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
        let Self { block1, trans1, block2, trans2, block3, bn1, .. } = self;
        let layers = block1.layer.iter_mut().chain(&mut block2.layer).chain(&mut block3.layer);
        let of_layers = layers.flat_map(|layer| [&mut layer.bn1, &mut layer.bn2]);
        of_layers.chain([&mut trans1.bn1, &mut trans2.bn1, bn1]).collect()
    }

    fn drop_probabilities_mut(&mut self) -> Vec<&mut f64> {
        let Self { block1, trans1, block2, trans2, block3, .. } = self;
        let layers = block1.layer.iter_mut().chain(&mut block2.layer).chain(&mut block3.layer);
        let of_layers = layers.map(|layer| &mut layer.dropout.prob);
        of_layers.chain([&mut trans1.dropout.prob, &mut trans2.dropout.prob]).collect()
    }
}

backbone_of_stages!(DenseNetBc);

/// Layers that each add their maps to those before them.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::DenseNetBcConfig;
///
/// let device = Default::default();
/// let network = DenseNetBcConfig::new(16, 10).init::<Flex>(&device);
/// // At depth 16, a block has two layers. Each adds 12 channels.
/// let maps = network.block1.forward(Tensor::zeros([1, 24, 8, 8], &device));
/// assert_eq!(maps.dims(), [1, 48, 8, 8]);
/// ```
#[derive(Module, Debug)]
pub struct DenseBlock<B: Backend> {
    /// The layers.
    pub layer: Vec<BottleneckLayer<B>>,
}

impl<B: Backend> DenseBlock<B> {
    /// `[batch_size, channels, height, width]` to one growth rate of channels more for each layer.
    pub fn forward(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        self.layer.iter().fold(maps, |maps, layer| layer.forward(maps))
    }
}

/// A 1 × 1 convolution to few channels, and a 3 × 3 convolution of these.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::DenseNetBcConfig;
///
/// let device = Default::default();
/// let network = DenseNetBcConfig::new(16, 10).init::<Flex>(&device);
/// let maps = network.block1.layer[0].forward(Tensor::zeros([1, 24, 8, 8], &device));
/// assert_eq!(maps.dims(), [1, 36, 8, 8]);
/// ```
#[derive(Module, Debug)]
pub struct BottleneckLayer<B: Backend> {
    /// Normalisation of all maps before.
    pub bn1: BatchNorm<B>,
    /// To four growth rates of channels.
    pub conv1: Conv1x1<B>,
    /// Its normalisation.
    pub bn2: BatchNorm<B>,
    /// To one growth rate of channels.
    pub conv2: Conv2d<B>,
    /// Applied after each convolution in training.
    pub dropout: Dropout,
}

impl<B: Backend> BottleneckLayer<B> {
    fn new(channels: usize, growth_rate: usize, dropout: f64, device: &B::Device) -> Self {
        let width = BOTTLENECK * growth_rate;
        Self {
            bn1: BatchNormConfig::new(channels).init(device),
            conv1: Conv1x1Config::new([channels, width]).init(device),
            bn2: BatchNormConfig::new(width).init(device),
            conv2: conv3x3([width, growth_rate], 1, false, device),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }

    /// `[batch_size, channels, height, width]` to one growth rate of channels more.
    pub fn forward(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        let new = self.bn1.forward_with(maps.clone(), Activation::Relu);
        let new = ConvNorm::new(&self.conv1, &self.bn2)
            .with_dropout(&self.dropout)
            .with_activation(Activation::Relu)
            .forward(new);
        let new = convolve(&self.conv2, new);
        concat_channels(vec![maps, self.dropout.forward(new)])
    }
}

/// Between two blocks: fewer channels, and half the size.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::DenseNetBcConfig;
///
/// let device = Default::default();
/// let network = DenseNetBcConfig::new(16, 10).init::<Flex>(&device);
/// let maps = network.trans1.forward(Tensor::zeros([1, 48, 8, 8], &device));
/// assert_eq!(maps.dims(), [1, 24, 4, 4]);
/// ```
#[derive(Module, Debug)]
pub struct Transition<B: Backend> {
    /// Normalisation of all maps before.
    pub bn1: BatchNorm<B>,
    /// To fewer channels.
    pub conv1: Conv1x1<B>,
    /// Applied after the convolution in training.
    pub dropout: Dropout,
}

impl<B: Backend> Transition<B> {
    fn new(channels: [usize; 2], dropout: f64, device: &B::Device) -> Self {
        Self {
            bn1: BatchNormConfig::new(channels[0]).init(device),
            conv1: Conv1x1Config::new(channels).init(device),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }

    /// `[batch_size, channels, height, width]` to `[batch_size, kept, ⌊height / 2⌋, ⌊width / 2⌋]`.
    pub fn forward(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        let maps = self.conv1.forward(self.bn1.forward_with(maps, Activation::Relu));
        average_2x2(self.dropout.forward(maps))
    }
}
