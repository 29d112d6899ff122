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
    if let Some(output) = super::libtorch::convolve(maps, weight, geometry) {
        return Some(output);
    }
    let _ = (maps, weight, geometry);
    None
}

/// A convolution of which nothing takes a gradient, and what is done to its sums.
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

/// Scale and offset of each channel of a batch normalisation, and what follows it.
// Read by none where there is no faster way.
#[cfg_attr(not(any(feature = "flex", feature = "tch")), expect(dead_code))]
pub(super) struct BatchNormalization<'a, B: Backend> {
    pub weight: &'a Tensor<B, 1>,
    pub bias: &'a Tensor<B, 1>,
    pub epsilon: f64,
    /// Maps that are added.
    pub shortcut: Option<&'a Tensor<B, 4>>,
    pub activation: Activation,
}

/// Maps that were normalized by the statistics of their batch, and these.
pub(super) struct Normalized<B: Backend> {
    pub maps: Tensor<B, 4>,
    /// Mean of each channel, `[channels]`.
    pub mean: Tensor<B, 1>,
    /// Unbiased variance of each channel, `[channels]`.
    pub unbiased_variance: Tensor<B, 1>,
}

/// Batch normalisation by the statistics of the batch.
pub(super) fn normalize<B: Backend>(
    maps: &Tensor<B, 4>,
    norm: &BatchNormalization<'_, B>,
) -> Option<Normalized<B>> {
    #[cfg(feature = "flex")]
    if let Some(normalized) = super::flex::normalize(maps, norm) {
        return Some(normalized);
    }
    #[cfg(feature = "tch")]
    if let Some(normalized) = super::libtorch::normalize(maps, None, norm) {
        return Some(normalized);
    }
    let _ = (maps, norm);
    None
}

/// A convolution without offsets, and batch normalisation by the statistics of its output, as one operation.
pub(super) fn convolve_and_normalize<B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    geometry: Geometry,
    norm: &BatchNormalization<'_, B>,
) -> Option<Normalized<B>> {
    #[cfg(feature = "tch")]
    if let Some(normalized) = super::libtorch::normalize(maps, Some((weight, geometry)), norm) {
        return Some(normalized);
    }
    let _ = (maps, weight, geometry, norm);
    None
}

/// `maps · scale + shift` for each channel, of which nothing takes a gradient, plus other maps, and an activation.
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
