//! The stored temperature that every head divides its logits by.

use burn::module::Param;
use burn::tensor::{ElementConversion, Tensor, backend::Backend};

/// A temperature of 1, which leaves logits as they are. It is a parameter so that every recorder
/// and tensor format carries it, without a gradient so that no optimizer moves it.
pub(super) fn unit<B: Backend>(device: &B::Device) -> Param<Tensor<B, 1>> {
    Param::from_tensor(Tensor::ones([1], device)).set_require_grad(false)
}

pub(super) fn divide<B: Backend>(
    logits: Tensor<B, 2>,
    temperature: &Param<Tensor<B, 1>>,
) -> Tensor<B, 2> {
    logits / temperature.val().detach().unsqueeze()
}

/// `-scale · distances / T`, with all factors made one before the large tensor is touched.
pub(super) fn negate_and_scale<B: Backend>(
    distances: Tensor<B, 2>,
    scale: Tensor<B, 1>,
    temperature: &Param<Tensor<B, 1>>,
) -> Tensor<B, 2> {
    distances * (scale.neg() / temperature.val().detach()).unsqueeze()
}

pub(super) fn value<B: Backend>(temperature: &Param<Tensor<B, 1>>) -> f32 {
    temperature.val().into_scalar().elem()
}

/// The same parameter with another value.
///
/// # Panics
///
/// If `value` is not a positive finite number.
pub(super) fn replace<B: Backend>(
    temperature: Param<Tensor<B, 1>>,
    value: f32,
) -> Param<Tensor<B, 1>> {
    assert!(
        value > 0.0 && value.is_finite(),
        "A temperature must be a positive finite number, got {value}"
    );
    temperature.map(|tensor| Tensor::full_like(&tensor, value))
}
