use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Distribution, Tensor, backend::Backend};
use isomax_burn::{Head, HeadConfig, HeadKind};

use crate::layers::{
    Activation, BatchNorm, BatchNormConfig, Conv1x1, Conv1x1Config, ConvNorm, conv_same,
};
use crate::stages::{Stages, backbone_of_stages};

/// Channels before the blocks, and of the features.
const CHANNELS: [usize; 2] = [32, 1280];

/// The stages of variant 0: blocks, kernel, stride of the first block, expansion, channels.
const STAGES: [[usize; 5]; 7] = [
    [1, 3, 1, 1, 16],
    [2, 3, 2, 6, 24],
    [2, 5, 2, 6, 40],
    [3, 3, 2, 6, 80],
    [3, 5, 1, 6, 112],
    [4, 5, 2, 6, 192],
    [1, 3, 1, 6, 320],
];

/// How often wider and deeper each variant is than variant 0, the side of its images, and its dropout.
const VARIANTS: [(f64, f64, usize, f64); 5] = [
    (1.0, 1.0, 224, 0.2),
    (1.0, 1.1, 240, 0.2),
    (1.1, 1.2, 260, 0.3),
    (1.2, 1.4, 280, 0.3),
    (1.4, 1.8, 300, 0.3),
];

/// Configuration of an [`EfficientNetLite`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct EfficientNetLiteConfig {
    /// From 0, the smallest, to 4.
    pub variant: usize,
    /// Number of ID classes.
    pub num_classes: usize,
    /// Probability of dropping a feature in training, in [0, 1); by default as published, 0.2 for variants 0 and
    /// 1, 0.3 for the others.
    pub dropout: Option<f64>,
    /// Probability of leaving out the last block of an image in training, in [0, 1); blocks before it have shares
    /// of it that grow with their number.
    #[config(default = 0.2)]
    pub drop_connect: f64,
    /// Number of channels of the images.
    #[config(default = 3)]
    pub in_channels: usize,
    /// The last layer.
    #[config(default = "HeadKind::SoftMax")]
    pub head: HeadKind,
}

impl EfficientNetLiteConfig {
    /// Number of variants.
    pub const VARIANTS: usize = VARIANTS.len();

    /// Height and width of the images that a variant was published for; other sizes work as well.
    ///
    /// # Panics
    ///
    /// If there is no such variant.
    pub fn image_size(&self) -> usize {
        self.numbers().2
    }

    fn numbers(&self) -> (f64, f64, usize, f64) {
        let variant = VARIANTS.get(self.variant).copied();
        variant.unwrap_or_else(|| {
            panic!("The variant of an EfficientNet-Lite must be 0 to 4, got {}", self.variant)
        })
    }

    /// Initializes the network.
    ///
    /// # Panics
    ///
    /// If there is no such variant, or a probability lies outside of its range.
    pub fn init<B: Backend>(&self, device: &B::Device) -> EfficientNetLite<B> {
        let (width, depth, _, dropout) = self.numbers();
        let dropout = self.dropout.unwrap_or(dropout);
        for probability in [dropout, self.drop_connect] {
            assert!(
                (0.0..1.0).contains(&probability),
                "Dropout and drop-connect must lie in [0, 1), got {probability}"
            );
        }
        let [stem, features] = CHANNELS;
        let mut sizes = Vec::new();
        let mut before = stem;
        for (index, [blocks, kernel, stride, expansion, channels]) in STAGES.into_iter().enumerate()
        {
            // The first and the last stage have one block in every variant.
            let is_fixed = index == 0 || index + 1 == STAGES.len();
            let blocks = if is_fixed { blocks } else { (blocks as f64 * depth).ceil() as usize };
            let channels = scaled(channels, width);
            for block in 0..blocks {
                sizes.push((
                    before,
                    expansion,
                    kernel,
                    if block == 0 { stride } else { 1 },
                    channels,
                ));
                before = channels;
            }
        }
        let count = sizes.len() as f64;
        let blocks = sizes.into_iter().enumerate().map(
            |(index, (channels_in, expansion, kernel, stride, channels))| {
                let drop_connect = self.drop_connect * index as f64 / count;
                InvertedResidual::new(
                    [channels_in, channels],
                    expansion,
                    [kernel, stride],
                    drop_connect,
                    device,
                )
            },
        );
        EfficientNetLite {
            conv_stem: conv_same([self.in_channels, stem], 3, 2, 1, device),
            bn0: norm(stem, device),
            blocks: blocks.collect(),
            conv_head: Conv1x1Config::new([before, features]).init(device),
            bn1: norm(features, device),
            dropout: DropoutConfig::new(dropout).init(),
            classifier: HeadConfig::new(self.head, features, self.num_classes).init(device),
        }
    }
}

/// Channels of a wider variant: a multiple of 8, and no less than nine tenths of what was asked for.
fn scaled(channels: usize, width: f64) -> usize {
    let wanted = channels as f64 * width;
    let rounded = ((wanted + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * wanted { rounded + 8 } else { rounded }
}

fn norm<B: Backend>(channels: usize, device: &B::Device) -> BatchNorm<B> {
    BatchNormConfig::new(channels).with_epsilon(1e-3).with_momentum(0.01).init(device)
}

/// The EfficientNets for small devices: those of Tan and Le ([arXiv:1905.11946](https://arxiv.org/abs/1905.11946))
/// without squeeze-and-excitation, with ReLU6, and with a stem and a head that do not grow
/// ([TensorFlow](https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite)).
///
/// Paddings are those of TensorFlow, which the published weights need. These also need images as
/// `(pixel - 127) / 128`, pixels from 0 to 255.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::{Backbone, EfficientNetLiteConfig};
///
/// let device = Default::default();
/// let network = EfficientNetLiteConfig::new(0, 10).init::<Flex>(&device);
/// let features = network.forward_features(Tensor::zeros([1, 3, 64, 64], &device));
/// assert_eq!(features.dims(), [1, 1280]);
/// ```
#[derive(Module, Debug)]
pub struct EfficientNetLite<B: Backend> {
    /// From the image to 32 channels at half the size.
    pub conv_stem: Conv2d<B>,
    /// Its normalisation.
    pub bn0: BatchNorm<B>,
    /// The blocks.
    pub blocks: Vec<InvertedResidual<B>>,
    /// To 1,280 channels.
    pub conv_head: Conv1x1<B>,
    /// Its normalisation.
    pub bn1: BatchNorm<B>,
    /// Applied to the features in training.
    pub dropout: Dropout,
    /// The last layer.
    pub classifier: Head<B>,
}

impl<B: Backend> Stages<B> for EfficientNetLite<B> {
    fn forward_stages(
        &self,
        images: Tensor<B, 4>,
        show: &mut dyn FnMut(&Tensor<B, 4>),
    ) -> Tensor<B, 4> {
        let stem = ConvNorm::new(&self.conv_stem, &self.bn0).with_activation(Activation::Relu6);
        let mut maps = stem.forward(images);
        for block in &self.blocks {
            // A stage ends where the size changes.
            if block.depthwise_conv.stride != [1, 1] {
                show(&maps);
            }
            maps = block.forward(maps);
        }
        let head = ConvNorm::new(&self.conv_head, &self.bn1).with_activation(Activation::Relu6);
        let maps = head.forward(maps);
        show(&maps);
        maps
    }

    fn in_channels(&self) -> usize {
        self.conv_stem.weight.dims()[1]
    }

    fn total_stride(&self) -> usize {
        32
    }

    fn classifier(&self) -> &Head<B> {
        &self.classifier
    }

    fn batch_norms_mut(&mut self) -> Vec<&mut BatchNorm<B>> {
        let Self { bn0, blocks, bn1, .. } = self;
        let of_blocks = blocks.iter_mut().flat_map(|block| {
            let InvertedResidual { bn0, bn1, bn2, .. } = block;
            bn0.iter_mut().chain([bn1, bn2])
        });
        std::iter::once(bn0).chain(of_blocks).chain([bn1]).collect()
    }

    fn drop_probabilities_mut(&mut self) -> Vec<&mut f64> {
        let of_blocks = self.blocks.iter_mut().map(|block| &mut block.drop_connect);
        of_blocks.chain([&mut self.dropout.prob]).collect()
    }

    fn dropout(&self) -> Option<&Dropout> {
        Some(&self.dropout)
    }
}

backbone_of_stages!(EfficientNetLite);

/// A 1 × 1 convolution to more channels, a depthwise convolution of these, and a 1 × 1 convolution to few
/// ([arXiv:1801.04381](https://arxiv.org/abs/1801.04381)), with a shortcut where the shape stays the same.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::EfficientNetLiteConfig;
///
/// let device = Default::default();
/// let network = EfficientNetLiteConfig::new(0, 10).init::<Flex>(&device);
/// let maps = network.blocks[1].forward(Tensor::zeros([1, 16, 8, 8], &device));
/// assert_eq!(maps.dims(), [1, 24, 4, 4]);
/// ```
#[derive(Module, Debug)]
pub struct InvertedResidual<B: Backend> {
    /// To more channels, if there are to be more.
    pub expand_conv: Option<Conv1x1<B>>,
    /// Its normalisation.
    pub bn0: Option<BatchNorm<B>>,
    /// Each channel for itself; halves the size if the block does.
    pub depthwise_conv: Conv2d<B>,
    /// Its normalisation.
    pub bn1: BatchNorm<B>,
    /// To few channels.
    pub project_conv: Conv1x1<B>,
    /// Its normalisation.
    pub bn2: BatchNorm<B>,
    /// Probability of leaving out what is beside the shortcut, for each image, in training.
    pub drop_connect: f64,
}

impl<B: Backend> InvertedResidual<B> {
    fn new(
        channels: [usize; 2],
        expansion: usize,
        [kernel, stride]: [usize; 2],
        drop_connect: f64,
        device: &B::Device,
    ) -> Self {
        let [channels_in, channels_out] = channels;
        let wide = channels_in * expansion;
        let expands = expansion > 1;
        Self {
            expand_conv: expands.then(|| Conv1x1Config::new([channels_in, wide]).init(device)),
            bn0: expands.then(|| norm(wide, device)),
            depthwise_conv: conv_same([wide; 2], kernel, stride, wide, device),
            bn1: norm(wide, device),
            project_conv: Conv1x1Config::new([wide, channels_out]).init(device),
            bn2: norm(channels_out, device),
            drop_connect,
        }
    }

    /// `[batch_size, channels_in, height, width]` to `[batch_size, channels_out, …]`, of half the height and width,
    /// rounded up, if the block halves them.
    pub fn forward(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        let wide = match (&self.expand_conv, &self.bn0) {
            (Some(conv), Some(norm)) => {
                ConvNorm::new(conv, norm).with_activation(Activation::Relu6).forward(maps.clone())
            }
            _ => maps.clone(),
        };
        let wide = ConvNorm::new(&self.depthwise_conv, &self.bn1)
            .with_activation(Activation::Relu6)
            .forward(wide);
        let narrow = ConvNorm::new(&self.project_conv, &self.bn2);
        let [channels_out, ..] = self.project_conv.weight.dims();
        let is_same = self.depthwise_conv.stride == [1, 1] && maps.dims()[1] == channels_out;
        if !is_same {
            narrow.forward(wide)
        } else if self.drop_connect > 0.0 && B::ad_enabled(&maps.device()) {
            maps + left_out(narrow.forward(wide), self.drop_connect)
        } else {
            narrow.with_shortcut(maps).forward(wide)
        }
    }
}

/// Zeros for some images, and more of the others, so that the expectation is the same.
fn left_out<B: Backend>(maps: Tensor<B, 4>, probability: f64) -> Tensor<B, 4> {
    let shape @ [batch_size, channels, height, width] = maps.dims();
    let kept = Distribution::Bernoulli(1.0 - probability);
    let kept = Tensor::<B, 2>::random([batch_size, 1], kept, (&maps.device(), maps.dtype()));
    let rows = maps.reshape([batch_size, channels * height * width]);
    (rows * (kept / (1.0 - probability))).reshape(shape)
}
