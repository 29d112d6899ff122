use burn::config::Config;
use burn::module::{Content, DisplaySettings, Initializer, Module, ModuleDisplay, Param};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::module::conv2d;
use burn::tensor::ops::PaddedConvOptions;
use burn::tensor::{Tensor, backend::Backend};

use super::pool::subsample;
use super::rows::add_bias;
use super::{Activation, fast_backends};

/// A 3 × 3 convolution padded by 1.
pub(crate) fn conv3x3<B: Backend>(
    channels: [usize; 2],
    stride: usize,
    bias: bool,
    device: &B::Device,
) -> Conv2d<B> {
    conv(channels, 3, stride, bias, device)
}

/// A convolution of the EfficientNets: padded as in TensorFlow, without bias.
pub(crate) fn conv_same<B: Backend>(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
    device: &B::Device,
) -> Conv2d<B> {
    Conv2dConfig::new(channels, [kernel; 2])
        .with_stride([stride; 2])
        .with_groups(groups)
        .with_padding(PaddingConfig2d::Same)
        .with_bias(false)
        .with_initializer(kaiming_fan_out(channels[1] / groups, kernel))
        .init(device)
}

/// A 7 × 7 convolution padded by 3, without bias.
pub(crate) fn conv7x7<B: Backend>(
    channels: [usize; 2],
    stride: usize,
    device: &B::Device,
) -> Conv2d<B> {
    conv(channels, 7, stride, false, device)
}

fn conv<B: Backend>(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    bias: bool,
    device: &B::Device,
) -> Conv2d<B> {
    let padding = kernel / 2;
    let mut conv = Conv2dConfig::new(channels, [kernel; 2])
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
        .with_bias(false)
        .with_initializer(kaiming_fan_out(channels[1], kernel))
        .init(device);
    conv.bias = bias.then(|| bias_like_pytorch(channels, kernel, device));
    conv
}

/// Computes [`Conv2d::forward`], in the fastest way that gives its values and gradients.
///
/// ```
/// use burn::backend::Flex;
/// use burn::nn::{PaddingConfig2d, conv::Conv2dConfig};
/// use burn::tensor::Tensor;
/// use isomax_models::layers::convolve;
///
/// let device = Default::default();
/// let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
/// let conv = Conv2dConfig::new([3, 16], [3, 3]).with_padding(padding).init::<Flex>(&device);
/// let maps = convolve(&conv, Tensor::zeros([2, 3, 32, 32], &device));
/// assert_eq!(maps.dims(), [2, 16, 32, 32]);
/// ```
///
/// # Shapes
///
/// - maps: `[batch_size, channels_in, height, width]`
/// - output: `[batch_size, channels_out, …]`, as of the layer
pub fn convolve<B: Backend>(conv: &Conv2d<B>, maps: Tensor<B, 4>) -> Tensor<B, 4> {
    AnyConv::from(conv).forward(maps)
}

/// A convolution, whichever of the two layers it is, as [`ConvNorm`](super::ConvNorm) takes it.
#[derive(Debug, Clone, Copy)]
pub enum AnyConv<'a, B: Backend> {
    /// Burn's.
    Conv2d(&'a Conv2d<B>),
    /// The one of this crate.
    Conv1x1(&'a Conv1x1<B>),
}

impl<'a, B: Backend> From<&'a Conv2d<B>> for AnyConv<'a, B> {
    fn from(conv: &'a Conv2d<B>) -> Self {
        Self::Conv2d(conv)
    }
}

impl<'a, B: Backend> From<&'a Conv1x1<B>> for AnyConv<'a, B> {
    fn from(conv: &'a Conv1x1<B>) -> Self {
        Self::Conv1x1(conv)
    }
}

/// How weights move over maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub stride: usize,
    /// Before and behind, along height and width.
    pub padding: [[usize; 2]; 2],
    pub groups: usize,
}

/// What is done to the sums of a convolution, in this order.
#[derive(Debug, Clone)]
pub(super) struct Finish<B: Backend> {
    /// Offset of each channel.
    pub bias: Option<Tensor<B, 1>>,
    /// Maps that are added.
    pub shortcut: Option<Tensor<B, 4>>,
    pub activation: Activation,
}

impl<B: Backend> AnyConv<'_, B> {
    pub(super) fn weight(&self) -> Tensor<B, 4> {
        match self {
            Self::Conv2d(conv) => conv.weight.val(),
            Self::Conv1x1(conv) => conv.weight.val(),
        }
    }

    pub(super) fn bias(&self) -> Option<Tensor<B, 1>> {
        let bias = match self {
            Self::Conv2d(conv) => &conv.bias,
            Self::Conv1x1(conv) => &conv.bias,
        };
        bias.as_ref().map(Param::val)
    }

    /// The convolution as it is.
    pub(super) fn forward(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        let activation = Activation::Identity;
        self.run(maps, self.weight(), Finish { bias: self.bias(), shortcut: None, activation })
    }

    /// The convolution with other weights, and another end.
    pub(super) fn run(
        &self,
        maps: Tensor<B, 4>,
        weight: Tensor<B, 4>,
        finish: Finish<B>,
    ) -> Tensor<B, 4> {
        let [_, _, height, width] = maps.dims();
        let geometry = self.geometry([height, width]);
        let whole =
            geometry.and_then(|g| fast_backends::convolve_and_finish(&maps, &weight, g, &finish));
        if let Some(output) = whole {
            return output;
        }
        let Finish { bias, shortcut, activation } = finish;
        let sums = geometry.and_then(|g| fast_backends::convolve(&maps, &weight, g));
        let output = match (sums, self) {
            (Some(sums), _) => with_bias(sums, bias),
            (None, Self::Conv2d(conv)) => {
                let [[top, bottom], [left, right]] = padding(conv, [height, width]);
                let options = PaddedConvOptions::asymmetric(
                    conv.stride,
                    [top, left],
                    [bottom, right],
                    conv.dilation,
                    conv.groups,
                );
                conv2d(maps, weight, bias, options)
            }
            (None, Self::Conv1x1(conv)) => with_bias(products(maps, weight, conv.stride), bias),
        };
        let output = match shortcut {
            Some(shortcut) => output + shortcut,
            None => output,
        };
        activation.forward(output)
    }

    /// On maps of a size; unless it is a convolution with dilation, or with a stride or a padding that kernels do
    /// not have.
    pub(super) fn geometry(&self, size: [usize; 2]) -> Option<Geometry> {
        let conv = match self {
            Self::Conv2d(conv) => conv,
            Self::Conv1x1(conv) => {
                return Some(Geometry { stride: conv.stride, padding: [[0; 2]; 2], groups: 1 });
            }
        };
        let padding = padding(conv, size);
        let [vertical, horizontal] = conv.stride;
        let inside = padding
            .iter()
            .zip(conv.kernel_size)
            .all(|(sides, kernel)| sides.iter().all(|&side| side < kernel));
        let has = conv.dilation == [1, 1] && vertical == horizontal && inside;
        has.then_some(Geometry { stride: vertical, padding, groups: conv.groups })
    }
}

/// Zeros before and behind maps of a size, along height and width.
fn padding<B: Backend>(conv: &Conv2d<B>, size: [usize; 2]) -> [[usize; 2]; 2] {
    match conv.padding {
        PaddingConfig2d::Valid => [[0; 2]; 2],
        PaddingConfig2d::Explicit(top, left, bottom, right) => [[top, bottom], [left, right]],
        PaddingConfig2d::Same => {
            [0, 1].map(|axis| same_padding(size[axis], conv.kernel_size[axis], conv.stride[axis]))
        }
    }
}

/// Zeros before and behind an axis, so that there are `⌈size / stride⌉` outputs; the odd one is behind.
fn same_padding(size: usize, kernel: usize, stride: usize) -> [usize; 2] {
    let Some(strides) = size.div_ceil(stride).checked_sub(1) else { return [0; 2] };
    let needed = (strides * stride + kernel).saturating_sub(size);
    [needed / 2, needed - needed / 2]
}

fn with_bias<B: Backend>(maps: Tensor<B, 4>, bias: Option<Tensor<B, 1>>) -> Tensor<B, 4> {
    match bias {
        Some(bias) => add_bias(maps, bias),
        None => maps,
    }
}

/// A 1 × 1 convolution as one matrix product for each image.
fn products<B: Backend>(maps: Tensor<B, 4>, weight: Tensor<B, 4>, stride: usize) -> Tensor<B, 4> {
    let maps = subsample(maps, stride);
    let [batch_size, channels_in, height, width] = maps.dims();
    let channels_out = weight.dims()[0];
    weight
        .reshape([1, channels_out, channels_in])
        .matmul(maps.reshape([batch_size, channels_in, height * width]))
        .reshape([batch_size, channels_out, height, width])
}

/// Kaiming normal over the fan-out, `N(0, 2 / (kernel² · channels_out))`: the published
/// initialisation of all convolutions ([arXiv:1502.01852](https://arxiv.org/abs/1502.01852)).
fn kaiming_fan_out(channels_out: usize, kernel: usize) -> Initializer {
    let fan_out = kernel * kernel * channels_out;
    Initializer::Normal { mean: 0.0, std: (2.0 / fan_out as f64).sqrt() }
}

/// Uniform within `±1 / √fan_in`, to which PyTorch sets biases and the published code leaves them.
fn bias_like_pytorch<B: Backend>(
    channels: [usize; 2],
    kernel: usize,
    device: &B::Device,
) -> Param<Tensor<B, 1>> {
    let bound = 1.0 / ((kernel * kernel * channels[0]) as f64).sqrt();
    Initializer::Uniform { min: -bound, max: bound }.init([channels[1]], device)
}

/// Configuration of a [`Conv1x1`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct Conv1x1Config {
    /// Number of channels in and out.
    pub channels: [usize; 2],
    /// Distance between the pixels that are used.
    #[config(default = 1)]
    pub stride: usize,
    /// Whether an offset is added to each channel.
    #[config(default = false)]
    pub bias: bool,
}

impl Conv1x1Config {
    /// Initializes the layer: weights Kaiming normal over the fan-out, the bias as PyTorch does.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Conv1x1<B> {
        let [channels_in, channels_out] = self.channels;
        Conv1x1 {
            weight: kaiming_fan_out(channels_out, 1)
                .init([channels_out, channels_in, 1, 1], device),
            bias: self.bias.then(|| bias_like_pytorch(self.channels, 1, device)),
            stride: self.stride,
        }
    }
}

/// A 1 × 1 convolution, computed as one matrix product for each image.
///
/// The same numbers as [`Conv2d`] with a kernel of 1, several times faster on the CPU
/// backends, above all in training.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::layers::Conv1x1Config;
///
/// let device = Default::default();
/// let conv = Conv1x1Config::new([16, 32]).with_stride(2).init::<Flex>(&device);
/// let maps = conv.forward(Tensor::zeros([2, 16, 8, 8], &device));
/// assert_eq!(maps.dims(), [2, 32, 4, 4]);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Conv1x1<B: Backend> {
    /// Weights, `[channels_out, channels_in, 1, 1]`.
    pub weight: Param<Tensor<B, 4>>,
    /// Offset of each channel, `[channels_out]`.
    pub bias: Option<Param<Tensor<B, 1>>>,
    /// Distance between the pixels that are used.
    pub stride: usize,
}

impl<B: Backend> Conv1x1<B> {
    /// Convolves a batch.
    ///
    /// # Shapes
    ///
    /// - maps: `[batch_size, channels_in, height, width]`
    /// - output: `[batch_size, channels_out, ⌈height / stride⌉, ⌈width / stride⌉]`
    ///
    /// # Panics
    ///
    /// If the maps have another number of channels than the layer.
    pub fn forward(&self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        let channels_in = self.weight.dims()[1];
        let shape @ [_, channels, ..] = maps.dims();
        assert!(
            channels == channels_in,
            "Maps of shape {shape:?} do not fit a convolution of {channels_in} channels"
        );
        AnyConv::from(self).forward(maps)
    }
}

impl<B: Backend> ModuleDisplay for Conv1x1<B> {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [channels_out, channels_in, _, _] = self.weight.shape().dims();
        content
            .add("channels_in", &channels_in)
            .add("channels_out", &channels_out)
            .add("stride", &self.stride)
            .add("bias", &self.bias.is_some())
            .optional()
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::{Distribution, Tolerance};

    type B = Autodiff<Flex>;

    /// The gradients of Burn itself, for all ways in which they are computed here.
    #[test]
    fn gradients_are_those_of_burn() {
        let device = Default::default();
        let shapes = [
            ([2, 3], [5, 7]),
            ([4, 1], [1, 1]),
            ([1, 6], [32, 32]),
            ([40, 3], [2, 3]),
            ([3, 40], [3, 2]),
            ([16, 16], [8, 8]),
        ];
        for (channels, [height, width]) in shapes {
            for bias in [false, true] {
                let conv = conv3x3::<B>(channels, 1, bias, &device);
                let shape = [3, channels[0], height, width];
                let maps = Tensor::<B, 4>::random(shape, Distribution::Default, &device);
                let shape = [3, channels[1], height, width];
                let upstream = Tensor::<B, 4>::random(shape, Distribution::Default, &device);
                let run = |forward: &dyn Fn(Tensor<B, 4>) -> Tensor<B, 4>| {
                    let maps = maps.clone().require_grad();
                    let output = forward(maps.clone());
                    let gradients = (output.clone() * upstream.clone()).sum().backward();
                    let of_bias = conv.bias.as_ref().map(|bias| bias.val().grad(&gradients));
                    [
                        Some(output.into_data()),
                        maps.grad(&gradients).map(Tensor::into_data),
                        conv.weight.val().grad(&gradients).map(Tensor::into_data),
                        of_bias.flatten().map(Tensor::into_data),
                    ]
                };
                let ours = run(&|maps| convolve(&conv, maps));
                let stock = run(&|maps| conv.forward(maps));
                for (ours, stock) in ours.into_iter().zip(stock) {
                    match (ours, stock) {
                        (Some(ours), Some(stock)) => {
                            ours.assert_approx_eq::<f32>(&stock, Tolerance::rel_abs(1e-5, 1e-5));
                        }
                        (ours, stock) => assert!(ours.is_none() && stock.is_none() && !bias),
                    }
                }
            }
        }
    }

    /// Maps or weights without a gradient have none.
    #[test]
    fn gradients_flow_where_they_are_wanted() {
        let device = Default::default();
        let conv = conv3x3::<B>([2, 2], 1, false, &device);
        let maps = Tensor::<B, 4>::ones([1, 2, 4, 4], &device);
        let gradients = convolve(&conv, maps.clone()).sum().backward();
        assert!(conv.weight.val().grad(&gradients).is_some());
        assert!(maps.grad(&gradients).is_none());
        let frozen = conv.no_grad();
        let maps = maps.require_grad();
        let gradients = convolve(&frozen, maps.clone()).sum().backward();
        assert!(maps.grad(&gradients).is_some());
        assert!(frozen.weight.val().grad(&gradients).is_none());
    }

    /// Weights that are no leaf of the graph, and frozen ones, where Burn's own convolution computes.
    #[test]
    fn other_weights_keep_their_gradients() {
        let device = Default::default();
        let conv = Conv2dConfig::new([2, 3], [3, 3]).with_dilation([2, 2]).init::<B>(&device);
        let conv = conv.no_grad();
        let maps = Tensor::<B, 4>::ones([1, 2, 6, 6], &device);
        let factor = Tensor::<B, 4>::ones([1, 1, 1, 1], &device).require_grad();
        let any = AnyConv::from(&conv);
        let run = |weight: Tensor<B, 4>| {
            let activation = Activation::Identity;
            any.run(maps.clone(), weight, Finish { bias: None, shortcut: None, activation })
        };
        let gradients = run(any.weight() * factor.clone()).sum().backward();
        assert!(factor.grad(&gradients).is_some());
        let output = run(any.weight());
        assert!(!output.is_require_grad());
    }

    /// Gradients of groups, and of paddings that differ, are those of Burn; so is all that keeps Burn's way.
    #[test]
    fn other_convolutions_have_the_gradients_of_burn() {
        let device = Default::default();
        let maps = Tensor::<B, 4>::random([3, 4, 6, 5], Distribution::Default, &device);
        let config = || Conv2dConfig::new([4, 8], [3, 3]);
        let sides = |[top, left, bottom, right]: [usize; 4]| {
            PaddingConfig2d::Explicit(top, left, bottom, right)
        };
        for config in [
            config(),
            config().with_padding(sides([1; 4])).with_dilation([2, 2]),
            config().with_padding(sides([1; 4])).with_groups(2),
            config().with_padding(sides([0, 0, 1, 1])).with_stride([2, 2]).with_groups(4),
            config().with_padding(sides([2, 0, 0, 1])),
            config().with_padding(PaddingConfig2d::Same),
            config().with_padding(sides([1; 4])).with_stride([1, 2]),
        ] {
            let conv = config.init::<B>(&device);
            let run = |forward: &dyn Fn(Tensor<B, 4>) -> Tensor<B, 4>| {
                let maps = maps.clone().require_grad();
                let output = forward(maps.clone());
                let gradients = output.clone().powi_scalar(2).sum().backward();
                let of_weight = conv.weight.val().grad(&gradients);
                let of_bias = conv.bias.as_ref().and_then(|bias| bias.val().grad(&gradients));
                [
                    output.into_data(),
                    maps.grad(&gradients).expect("gradient").into_data(),
                    of_weight.expect("gradient").into_data(),
                    of_bias.expect("gradient").into_data(),
                ]
            };
            let (ours, stock) = (run(&|x| convolve(&conv, x)), run(&|x| conv.forward(x)));
            for (ours, stock) in ours.iter().zip(&stock) {
                ours.assert_approx_eq::<f32>(stock, Tolerance::rel_abs(1e-4, 1e-4));
            }
        }
    }
}
