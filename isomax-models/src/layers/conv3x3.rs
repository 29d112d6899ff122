//! Gradients of 3 × 3 convolutions that are fast on Burn's backend of libtorch.
//!
//! Burn derives them for all backends in a way that costs it several times the convolution itself:
//! the gradient of the weights is a convolution with maps for a kernel. Here it is nine matrix products
//! over views of the padded maps, and that of the maps a convolution like the forward one. Burn's
//! automatic differentiation takes them as an operation of its own. Which backends have it,
//! [`fast_backends`](super::fast_backends) says; all others keep Burn's.

use core::any::Any;
use core::marker::PhantomData;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::backend::Backend;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, TensorPrimitive};

/// The convolution if `B` is `Autodiff<Fast>`.
pub(super) fn conv3x3_on<Fast: Backend, B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
) -> Option<Tensor<B, 4>> {
    let with_gradients = |tensor: &Tensor<B, 4>| -> Option<Tensor<Autodiff<Fast>, 4>> {
        (tensor as &dyn Any).downcast_ref::<Tensor<Autodiff<Fast>, 4>>().cloned()
    };
    let output = convolve(with_gradients(maps)?, with_gradients(weight)?);
    (&output as &dyn Any).downcast_ref::<Tensor<B, 4>>().cloned()
}

/// Convolves maps, `[batch_size, channels_in, height, width]`, with weights,
/// `[channels_out, channels_in, 3, 3]`, at stride 1 and padding 1.
fn convolve<B: Backend>(
    maps: Tensor<Autodiff<B>, 4>,
    weight: Tensor<Autodiff<B>, 4>,
) -> Tensor<Autodiff<B>, 4> {
    let (maps, weight) = (maps.into_primitive().tensor(), weight.into_primitive().tensor());
    let output = forward::<B>(tensor(maps.primitive.clone()), tensor(weight.primitive.clone()));
    let output = output.into_primitive().tensor();
    let nodes = [maps.node.clone(), weight.node.clone()];
    let operation = Conv3x3::<B>(PhantomData);
    let output = match operation.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((maps.primitive, weight.primitive), output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    };
    Tensor::from_primitive(TensorPrimitive::Float(output))
}

fn tensor<B: Backend>(primitive: B::FloatTensorPrimitive) -> Tensor<B, 4> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

fn forward<B: Backend>(maps: Tensor<B, 4>, weight: Tensor<B, 4>) -> Tensor<B, 4> {
    conv2d(maps, weight, None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1))
}

#[derive(Debug)]
struct Conv3x3<B>(PhantomData<B>);

impl<B: Backend> Backward<B, 2> for Conv3x3<B> {
    type State = (B::FloatTensorPrimitive, B::FloatTensorPrimitive);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let output = tensor::<B>(gradients.consume::<B>(&ops.node));
        let (maps, weight) = ops.state;
        let [of_maps, of_weight] = ops.parents;
        if let Some(node) = of_maps {
            let turned = tensor::<B>(weight).flip([2, 3]).swap_dims(0, 1);
            let gradient = forward(output.clone(), turned);
            gradients.register::<B>(node.id, gradient.into_primitive().tensor());
        }
        if let Some(node) = of_weight {
            let gradient = weight_gradient(tensor::<B>(maps), output);
            gradients.register::<B>(node.id, gradient.into_primitive().tensor());
        }
    }
}

/// With images padded by zeros and seen as one line, line after line, a shift by a row and a column is
/// a shift along the line: each of the nine weights sees a view of the same memory, and what is shifted
/// across an edge meets the zeros of the padding.
fn weight_gradient<B: Backend>(maps: Tensor<B, 4>, output: Tensor<B, 4>) -> Tensor<B, 4> {
    let [_, channels_in, height, width] = maps.dims();
    let [_, channels_out, ..] = output.dims();
    let line = width + 2;
    let length = line * (height + 2);
    // The first pixel inside of the padding, seen from either end.
    let margin = line + 1;
    let span = length - 2 * margin;
    if span < channels_in.max(channels_out) {
        // Products of each image would be larger than what they sum: one sum over all images, by a
        // convolution in which images and channels change places, is faster then.
        let gradient = forward(maps.swap_dims(0, 1), output.swap_dims(0, 1));
        return gradient.swap_dims(0, 1);
    }
    let (maps, output) = (pad_to_lines(maps), pad_to_lines(output));
    let output = output.narrow(2, margin, span);
    let of_tap = |row, column| {
        let shifted = maps.clone().narrow(2, row * line + column, span);
        output.clone().matmul(shifted.swap_dims(1, 2)).sum_dim(0)
    };
    let taps = (0..9).map(|tap| of_tap(tap / 3, tap % 3)).collect();
    Tensor::cat(taps, 0).reshape([3, 3, channels_out, channels_in]).permute([2, 3, 0, 1])
}

/// `[batch_size, channels, height, width]` to `[batch_size, channels, (height + 2) · (width + 2)]`.
fn pad_to_lines<B: Backend>(maps: Tensor<B, 4>) -> Tensor<B, 3> {
    let [batch_size, channels, height, width] = maps.dims();
    let padded = [batch_size, channels, height + 2, width + 2];
    let inside = [0..batch_size, 0..channels, 1..height + 1, 1..width + 1];
    let zeros = Tensor::zeros(padded, (&maps.device(), maps.dtype()));
    zeros.slice_assign(inside, maps).flatten(2, 3)
}
