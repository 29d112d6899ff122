//! What depends on which backend computes: the one place of this crate that asks.
//!
//! A faster operation is written for one type of tensors and reached by looking at the type at run time,
//! so that no bound of a network narrows. Each function answers `None` where there is no faster way.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::Activation;
use super::conv::{Finish, Geometry};

/// A convolution.
pub(super) fn convolve<B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    geometry: Geometry,
) -> Option<Tensor<B, 4>> {
    #[cfg(feature = "flex")]
    if let Some(output) = super::flex::convolve(maps, weight, geometry) {
        return Some(output);
    }
    #[cfg(feature = "tch")]
    if geometry == (Geometry { stride: 1, padding: [[1, 1]; 2], groups: 1 })
        && weight.dims()[2..] == [3, 3]
    {
        return super::conv3x3::conv3x3_on::<burn::backend::LibTorch, B>(maps, weight);
    }
    let _ = (maps, weight, geometry);
    None
}

/// A convolution without gradients, and what is done to its sums.
pub(super) fn convolve_and_finish<B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    geometry: Geometry,
    finish: &Finish<B>,
) -> Option<Tensor<B, 4>> {
    #[cfg(feature = "flex")]
    return super::flex::convolve_and_finish(maps, weight, geometry, finish);
    #[cfg(not(feature = "flex"))]
    {
        let _ = (maps, weight, geometry, finish);
        None
    }
}

/// Maps that were normalized by the statistics of their batch, and these.
pub(super) struct Normalized<B: Backend> {
    pub maps: Tensor<B, 4>,
    /// Mean of each channel, `[channels]`.
    pub mean: Tensor<B, 1>,
    /// Biased variance of each channel, `[channels]`.
    pub variance: Tensor<B, 1>,
}

/// Batch normalisation by the statistics of the batch, with scale and offset of each channel, maps that are
/// added, and an activation.
pub(super) fn normalize<B: Backend>(
    maps: &Tensor<B, 4>,
    affine: [&Tensor<B, 1>; 2],
    epsilon: f64,
    shortcut: Option<&Tensor<B, 4>>,
    activation: Activation,
) -> Option<Normalized<B>> {
    #[cfg(feature = "flex")]
    return super::flex::normalize(maps, affine, epsilon, shortcut, activation);
    #[cfg(not(feature = "flex"))]
    {
        let _ = (maps, affine, epsilon, shortcut, activation);
        None
    }
}

/// `maps · scale + shift` for each channel without gradients, plus other maps, and an activation.
pub(super) fn affine<B: Backend>(
    maps: &Tensor<B, 4>,
    scale: &Tensor<B, 1>,
    shift: &Tensor<B, 1>,
    shortcut: Option<&Tensor<B, 4>>,
    activation: Activation,
) -> Option<Tensor<B, 4>> {
    #[cfg(feature = "flex")]
    return super::flex::affine(maps, scale, shift, shortcut, activation);
    #[cfg(not(feature = "flex"))]
    {
        let _ = (maps, scale, shift, shortcut, activation);
        None
    }
}
