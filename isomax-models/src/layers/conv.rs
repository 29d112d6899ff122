use burn::config::Config;
use burn::module::{Content, DisplaySettings, Initializer, Module, ModuleDisplay, Param};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Tensor, backend::Backend};

use super::fast_backends;
use super::pool::subsample;
use super::rows::add_bias;

/// A 3 × 3 convolution padded by 1.
pub(crate) fn conv3x3<B: Backend>(
    channels: [usize; 2],
    stride: usize,
    bias: bool,
    device: &B::Device,
) -> Conv2d<B> {
    conv(channels, 3, stride, bias, device)
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
    let output = symmetric_padding(conv).and_then(|padding| {
        fast_backends::convolve(&maps, &conv.weight.val(), conv.stride[0], padding)
    });
    match output {
        Some(output) => with_bias(output, &conv.bias),
        None => conv.forward(maps),
    }
}

fn with_bias<B: Backend>(maps: Tensor<B, 4>, bias: &Option<Param<Tensor<B, 1>>>) -> Tensor<B, 4> {
    match bias {
        Some(bias) => add_bias(maps, bias.val()),
        None => maps,
    }
}

/// The padding of each side, along height and width, of a convolution with nothing else but a stride.
fn symmetric_padding<B: Backend>(conv: &Conv2d<B>) -> Option<[usize; 2]> {
    let padding = match conv.padding {
        PaddingConfig2d::Valid => [0, 0],
        PaddingConfig2d::Explicit(top, left, bottom, right) if top == bottom && left == right => {
            [top, left]
        }
        _ => return None,
    };
    let [vertical, horizontal] = conv.stride;
    let plain = conv.dilation == [1, 1] && conv.groups == 1 && vertical == horizontal;
    let inside = (0..2).all(|axis| padding[axis] < conv.kernel_size[axis]);
    (plain && inside).then_some(padding)
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
        let [channels_out, channels_in, ..] = self.weight.dims();
        let shape @ [_, channels, ..] = maps.dims();
        assert!(
            channels == channels_in,
            "Maps of shape {shape:?} do not fit a convolution of {channels_in} channels"
        );
        if let Some(output) =
            fast_backends::convolve(&maps, &self.weight.val(), self.stride, [0, 0])
        {
            return with_bias(output, &self.bias);
        }
        let maps = subsample(maps, self.stride);
        let [batch_size, _, height, width] = maps.dims();
        let weight = self.weight.val().reshape([1, channels_out, channels_in]);
        let output = weight
            .matmul(maps.reshape([batch_size, channels_in, height * width]))
            .reshape([batch_size, channels_out, height, width]);
        with_bias(output, &self.bias)
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

    /// Maps or weights without a gradient have none, and evaluation takes Burn's own way.
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

    /// A layer that is more than its sizes keeps Burn's way.
    #[test]
    fn other_convolutions_are_left_alone() {
        let device = Default::default();
        let maps = Tensor::<B, 4>::ones([1, 2, 6, 6], &device);
        let config = Conv2dConfig::new([2, 2], [3, 3]);
        let same = || PaddingConfig2d::Explicit(1, 1, 1, 1);
        for config in [
            config.clone(),
            config.clone().with_padding(same()).with_dilation([2, 2]),
            config.clone().with_padding(same()).with_groups(2),
            config.with_padding(same()).with_stride([2, 2]),
        ] {
            let conv = config.init::<B>(&device);
            let (ours, stock) = (convolve(&conv, maps.clone()), conv.forward(maps.clone()));
            assert_eq!(ours.into_data(), stock.into_data());
        }
    }
}
