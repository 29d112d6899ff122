//! The published initialisation of convolutions.

use burn::module::Initializer;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::backend::Backend;

/// A 3 × 3 convolution without bias, padded by 1, drawn from a Kaiming normal distribution over the
/// fan-out: standard deviation `√(2 / (9 · channels_out))`.
pub(crate) fn conv3x3<B: Backend>(
    channels: [usize; 2],
    stride: usize,
    device: &B::Device,
) -> Conv2d<B> {
    let std = (2.0 / (9 * channels[1]) as f64).sqrt();
    Conv2dConfig::new(channels, [3, 3])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_bias(false)
        .with_initializer(Initializer::Normal { mean: 0.0, std })
        .init(device)
}
