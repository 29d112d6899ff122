//! What depends on which backend computes: the one place of this crate that asks.
//!
//! A faster operation is written for one type of tensors and reached by looking at the type at run time,
//! so that no bound of a network narrows.

use core::any::Any;

use burn::backend::Autodiff;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::conv3x3::convolve;

/// A 3 × 3 convolution at stride 1 and padding 1 with gradients of our own, if the tensors are of a
/// backend that has them.
pub(super) fn conv3x3<B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
) -> Option<Tensor<B, 4>> {
    #[cfg(feature = "flex")]
    if let Some(output) = conv3x3_on::<burn::backend::Flex, B>(maps, weight) {
        return Some(output);
    }
    #[cfg(feature = "tch")]
    if let Some(output) = conv3x3_on::<burn::backend::LibTorch, B>(maps, weight) {
        return Some(output);
    }
    None
}

/// The convolution if `B` is `Autodiff<Fast>`.
fn conv3x3_on<Fast: Backend, B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
) -> Option<Tensor<B, 4>> {
    let with_gradients = |tensor: &Tensor<B, 4>| -> Option<Tensor<Autodiff<Fast>, 4>> {
        (tensor as &dyn Any).downcast_ref::<Tensor<Autodiff<Fast>, 4>>().cloned()
    };
    let output = convolve(with_gradients(maps)?, with_gradients(weight)?);
    (&output as &dyn Any).downcast_ref::<Tensor<B, 4>>().cloned()
}
