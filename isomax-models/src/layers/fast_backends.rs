//! What depends on which backend computes: the one place of this crate that asks.
//!
//! A faster operation is written for one type of tensors and reached by looking at the type at run time,
//! so that no bound of a network narrows. Each function answers `None` where there is no faster way.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// A convolution without bias, dilation and groups; `padding` is that of each side, along height and width.
pub(super) fn convolve<B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    stride: usize,
    padding: [usize; 2],
) -> Option<Tensor<B, 4>> {
    #[cfg(feature = "flex")]
    if let Some(output) = super::flex::convolve(maps, weight, stride, padding) {
        return Some(output);
    }
    #[cfg(feature = "tch")]
    if ([stride, padding[0], padding[1]], weight.dims()[2..] == [3, 3]) == ([1; 3], true) {
        return super::conv3x3::conv3x3_on::<burn::backend::LibTorch, B>(maps, weight);
    }
    let _ = (maps, weight, stride, padding);
    None
}

/// Maps that were normalized by the statistics of their batch, and these.
pub(super) struct Normalized<B: Backend> {
    pub maps: Tensor<B, 4>,
    /// Mean of each channel, `[channels]`.
    pub mean: Tensor<B, 1>,
    /// Biased variance of each channel, `[channels]`.
    pub variance: Tensor<B, 1>,
}

/// Batch normalisation by the statistics of the batch, with a ReLU behind it or not.
pub(super) fn normalize<B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 1>,
    bias: &Tensor<B, 1>,
    epsilon: f64,
    relu: bool,
) -> Option<Normalized<B>> {
    #[cfg(feature = "flex")]
    return super::flex::normalize(maps, weight, bias, epsilon, relu);
    #[cfg(not(feature = "flex"))]
    {
        let _ = (maps, weight, bias, epsilon, relu);
        None
    }
}

/// `maps · scale + shift` for each channel without gradients, with a ReLU behind it or not.
pub(super) fn affine<B: Backend>(
    maps: &Tensor<B, 4>,
    scale: &Tensor<B, 1>,
    shift: &Tensor<B, 1>,
    relu: bool,
) -> Option<Tensor<B, 4>> {
    #[cfg(feature = "flex")]
    return super::flex::affine(maps, scale, shift, relu);
    #[cfg(not(feature = "flex"))]
    {
        let _ = (maps, scale, shift, relu);
        None
    }
}
