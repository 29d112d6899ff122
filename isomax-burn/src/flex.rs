//! The tensors of Burn's backend flex behind generic code, for operations of your own on it.
//!
//! A function that is generic over backends looks at the type of a tensor at run time, and takes its own way if it
//! is `f32` on [`Flex`] or on `Autodiff<Flex>`; no bound narrows.
//!
//! ```
//! use burn::backend::Flex;
//! use burn::tensor::{Tensor, backend::Backend};
//! use isomax_burn::flex::{primitive, same, tensor, without_gradients};
//!
//! /// Doubles the values, if it knows how to on this backend.
//! fn double<B: Backend>(values: &Tensor<B, 1>) -> Option<Tensor<B, 1>> {
//!     let values = without_gradients(values)?;
//!     let doubled: Vec<f32> = values.storage().iter().map(|value: &f32| 2.0 * value).collect();
//!     let shape = [doubled.len()];
//!     same(tensor::<1>(primitive(doubled, shape)))
//! }
//!
//! let values = Tensor::<Flex, 1>::from_floats([1.0, 2.0], &Default::default());
//! let doubled = double(&values).map(|doubled| doubled.into_data().iter::<f32>().collect::<Vec<_>>());
//! assert_eq!(doubled, Some(vec![2.0, 4.0]));
//! ```

use core::any::Any;

use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::ops::{Backward, OpsKind};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::{Backend, BackendTypes};
use burn::tensor::{DType, Tensor, TensorData, TensorPrimitive};

pub use burn_flex::FlexTensor;

/// What a tensor of flex with gradients is made of.
pub type WithGradients = <Autodiff<Flex> as BackendTypes>::FloatTensorPrimitive;

/// Values of a shape.
pub fn primitive<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The tensor of these values.
pub fn tensor<const D: usize>(primitive: FlexTensor) -> Tensor<Flex, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// The values in order, if they are `f32`.
pub fn contiguous(tensor: &FlexTensor) -> Option<FlexTensor> {
    (tensor.dtype() == DType::F32).then(|| tensor.to_contiguous())
}

/// The values, in order, of an `f32` tensor of flex without gradients.
pub fn without_gradients<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<FlexTensor> {
    let tensor = (tensor as &dyn Any).downcast_ref::<Tensor<Flex, D>>()?;
    contiguous(&tensor.clone().into_primitive().tensor())
}

/// A tensor of flex with gradients, of any type of numbers and any layout: [`contiguous`] gives its values. Not one of
/// an `Autodiff` with checkpointing, which keeps Burn's way.
pub fn with_gradients<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<WithGradients> {
    let tensor = (tensor as &dyn Any).downcast_ref::<Tensor<Autodiff<Flex>, D>>()?;
    Some(tensor.clone().into_primitive().tensor())
}

/// The values, in order, of an `f32` tensor of flex that takes no gradient: one without gradients, or one with
/// them to which none flows back, such as the maps behind layers that are frozen.
pub fn untracked<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<FlexTensor> {
    if let Some(values) = without_gradients(tensor) {
        return Some(values);
    }
    let tensor = with_gradients(tensor)?;
    if tensor.node.requirement.is_none() { contiguous(&tensor.primitive) } else { None }
}

/// Values that take no gradient, on the backend that the caller has.
pub fn constant<B: Backend, const D: usize>(values: FlexTensor) -> Option<Tensor<B, D>> {
    let values = tensor::<D>(values);
    same(values.clone()).or_else(|| same(Tensor::<Autodiff<Flex>, D>::from_inner(values)))
}

/// The same tensor by the name of its type that the caller has.
pub fn same<From: Backend, To: Backend, const D: usize>(
    tensor: Tensor<From, D>,
) -> Option<Tensor<To, D>> {
    (&tensor as &dyn Any).downcast_ref::<Tensor<To, D>>().cloned()
}

/// Makes the output of an operation a tensor with gradients, which the operation's backward step takes from its
/// state.
pub fn with_backward<const N: usize, const D: usize, O: Backward<Flex, N>>(
    operation: O,
    parents: [WithGradients; N],
    state: O::State,
    output: FlexTensor,
) -> Tensor<Autodiff<Flex>, D> {
    let nodes = parents.map(|parent| parent.node);
    let output = match operation.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(state, output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    };
    Tensor::from_primitive(TensorPrimitive::Float(output))
}
