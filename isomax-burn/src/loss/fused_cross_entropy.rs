//! The cross-entropy on Burn's backend flex: loss and gradient in one pass over the logits.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};
use isomax_kernels::cross_entropy::cross_entropy;

use crate::flex::{
    FlexTensor, contiguous, primitive, same, tensor, with_backward, with_gradients,
    without_gradients,
};

/// The mean cross-entropy of `softmax(scale · logits)`, `[1]`, if the logits are on flex.
pub(super) fn cross_entropy_on_flex<B: Backend>(
    logits: &Tensor<B, 2>,
    targets: &Tensor<B, 1, Int>,
    scale: f64,
) -> Option<Tensor<B, 1>> {
    let [_, num_classes] = logits.dims();
    let losses = |logits: &FlexTensor| {
        let targets: Vec<i64> = targets.to_data().iter().collect();
        let (losses, gradients) =
            cross_entropy(logits.storage(), num_classes, &targets, scale as f32);
        let sum: f64 = losses.iter().copied().map(f64::from).sum();
        (primitive(vec![(sum / losses.len() as f64) as f32], [1]), gradients)
    };
    if let Some(logits) = without_gradients(logits) {
        return same(tensor::<1>(losses(&logits).0));
    }
    let logits = with_gradients(logits)?;
    let (loss, slopes) = losses(&contiguous(&logits.primitive)?);
    let slopes = primitive(slopes, logits.primitive.layout().shape().dims::<2>());
    same(with_backward::<1, 1, _>(MeanCrossEntropy, [logits], slopes, loss))
}

#[derive(Debug)]
struct MeanCrossEntropy;

impl Backward<Flex, 1> for MeanCrossEntropy {
    /// The gradient of each row's loss.
    type State = FlexTensor;

    fn backward(
        self,
        ops: Ops<FlexTensor, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = tensor::<1>(gradients.consume::<Flex>(&ops.node));
        let slopes = tensor::<2>(ops.state);
        let [of_logits] = ops.parents;
        if let Some(node) = of_logits {
            let factor = upstream.into_scalar() / slopes.dims()[0] as f32;
            gradients.register::<Flex>(node.id, (slopes * factor).into_primitive().tensor());
        }
    }
}
