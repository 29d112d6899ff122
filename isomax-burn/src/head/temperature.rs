//! The stored temperature that every head divides its logits by: how to make one, read it and replace
//! it, for heads of your own.
//!
//! ```
//! use burn::backend::Flex;
//! use burn::tensor::Tensor;
//! use isomax_burn::head::temperature;
//!
//! let device = Default::default();
//! let param = temperature::replace(temperature::unit::<Flex>(&device), 2.0);
//! let logits = temperature::divide(Tensor::from_floats([[-4.0, -6.0]], &device), &param);
//! let logits: Vec<f32> = logits.into_data().iter().collect();
//! assert_eq!(logits, [-2.0, -3.0]);
//! ```
//!
//! [`OodHead`](super::OodHead) has a whole head that does so.

use burn::module::Param;
use burn::tensor::{ElementConversion, Tensor, backend::Backend};

/// A temperature of 1, which leaves logits as they are. It is a parameter so that every recorder
/// and tensor format carries it, without a gradient so that no optimizer moves it.
///
/// ```
/// # use burn::backend::Flex;
/// # use isomax_burn::head::temperature;
/// let param = temperature::unit::<Flex>(&Default::default());
/// assert_eq!(temperature::value(&param), 1.0);
/// ```
pub fn unit<B: Backend>(device: &B::Device) -> Param<Tensor<B, 1>> {
    Param::from_tensor(Tensor::ones([1], device)).set_require_grad(false)
}

/// Logits divided by a temperature, which no gradient reaches.
///
/// ```
/// # use burn::backend::Flex;
/// # use burn::tensor::Tensor;
/// # use isomax_burn::head::temperature;
/// let param = temperature::unit::<Flex>(&Default::default());
/// let logits = Tensor::from_floats([[-4.0, -6.0]], &Default::default());
/// let unchanged: Vec<f32> = temperature::divide(logits, &param).into_data().iter().collect();
/// assert_eq!(unchanged, [-4.0, -6.0]);
/// ```
///
/// # Shapes
///
/// - logits: `[batch_size, num_classes]`
/// - output: as given
pub fn divide<B: Backend>(logits: Tensor<B, 2>, temperature: &Param<Tensor<B, 1>>) -> Tensor<B, 2> {
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

/// The number that a temperature parameter holds, read back from the device.
///
/// ```
/// # use burn::backend::Flex;
/// # use isomax_burn::head::temperature;
/// let param = temperature::unit::<Flex>(&Default::default());
/// assert_eq!(temperature::value(&param), 1.0);
/// ```
pub fn value<B: Backend>(temperature: &Param<Tensor<B, 1>>) -> f32 {
    temperature.val().into_scalar().elem()
}

/// The same parameter with another value.
///
/// ```
/// # use burn::backend::Flex;
/// # use isomax_burn::head::temperature;
/// let param = temperature::unit::<Flex>(&Default::default());
/// assert_eq!(temperature::value(&temperature::replace(param, 1.5)), 1.5);
/// ```
///
/// # Panics
///
/// If `value` is not a positive finite number.
pub fn replace<B: Backend>(temperature: Param<Tensor<B, 1>>, value: f32) -> Param<Tensor<B, 1>> {
    assert!(
        value > 0.0 && value.is_finite(),
        "A temperature must be a positive finite number, got {value}"
    );
    temperature.map(|tensor| Tensor::full_like(&tensor, value))
}
