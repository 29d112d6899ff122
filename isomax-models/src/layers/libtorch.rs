//! Layers on Burn's backend of libtorch, with libtorch's own gradients.
//!
//! Burn derives gradients from those of single operations, which costs convolutions and batch normalisation
//! several times what libtorch's own backward steps do. Here a layer is one operation for Burn: forward it is
//! computed with libtorch's automatic differentiation, backward that is asked for the gradients.

use core::any::Any;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, LibTorch};
use burn::tensor::backend::{Backend, BackendTypes};
use burn::tensor::{Tensor, TensorPrimitive};
use burn_tch::TchTensor;

use super::Activation;
use super::conv::Geometry;
use super::fast_backends::{BatchNormalization, Normalized};

type WithGradients = <Autodiff<LibTorch> as BackendTypes>::FloatTensorPrimitive;

/// A convolution.
pub(super) fn convolve<B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    geometry: Geometry,
) -> Option<Tensor<B, 4>> {
    let padding = symmetric(geometry)?;
    let parents = [with_gradients(maps)?, with_gradients(weight)?];
    same(differentiate(parents, |[maps, weight]| conv2d(maps, weight, geometry, padding)))
}

/// A batch normalisation, after a convolution or not.
pub(super) fn normalize<B: Backend>(
    maps: &Tensor<B, 4>,
    conv: Option<(&Tensor<B, 4>, Geometry)>,
    norm: &BatchNormalization<'_, B>,
) -> Option<Normalized<B>> {
    let maps = with_gradients(maps)?;
    let [weight, bias] = [with_gradients(norm.weight)?, with_gradients(norm.bias)?];
    let conv = match conv {
        Some((weight, geometry)) => Some((with_gradients(weight)?, geometry, symmetric(geometry)?)),
        None => None,
    };
    let shortcut = match norm.shortcut {
        Some(shortcut) => Some(with_gradients(shortcut)?),
        None => None,
    };
    // Filled by libtorch with the moments of the batch: it is told to forget what was before.
    let moments = [0, 1].map(|_| weight.primitive.tensor.zeros_like().set_requires_grad(false));
    let finish = |maps: &tch::Tensor,
                  weight: &tch::Tensor,
                  bias: &tch::Tensor,
                  shortcut: Option<&tch::Tensor>| {
        let [mean, variance] = moments.each_ref().map(Some);
        let (weight, bias) = (Some(weight), Some(bias));
        let maps = maps.batch_norm(weight, bias, mean, variance, true, 1.0, norm.epsilon, true);
        let maps = match shortcut {
            Some(shortcut) => maps + shortcut,
            None => maps,
        };
        match norm.activation {
            Activation::Identity => maps,
            Activation::Relu => maps.relu(),
            Activation::Relu6 => maps.relu6(),
        }
    };
    let output = match (conv, shortcut) {
        (None, None) => differentiate([maps, weight, bias], |[maps, weight, bias]| {
            finish(maps, weight, bias, None)
        }),
        (None, Some(shortcut)) => {
            differentiate([maps, weight, bias, shortcut], |[maps, weight, bias, shortcut]| {
                finish(maps, weight, bias, Some(shortcut))
            })
        }
        (Some((kernel, geometry, padding)), None) => {
            differentiate([maps, weight, bias, kernel], |[maps, weight, bias, kernel]| {
                finish(&conv2d(maps, kernel, geometry, padding), weight, bias, None)
            })
        }
        (Some((kernel, geometry, padding)), Some(shortcut)) => differentiate(
            [maps, weight, bias, kernel, shortcut],
            |[maps, weight, bias, kernel, shortcut]| {
                finish(&conv2d(maps, kernel, geometry, padding), weight, bias, Some(shortcut))
            },
        ),
    };
    // Copies, since libtorch keeps them for the backward step, and Burn writes over what it alone holds.
    let [mean, variance] = moments.map(|moments| {
        let moments = TensorPrimitive::Float(TchTensor::new(moments.copy()));
        same(Tensor::<Autodiff<LibTorch>, 1>::from_inner(Tensor::from_primitive(moments)))
    });
    Some(Normalized { maps: same(output)?, mean: mean?, unbiased_variance: variance? })
}

/// The padding of each side along height and width: libtorch has the same on both sides.
fn symmetric(geometry: Geometry) -> Option<[i64; 2]> {
    let symmetric = geometry.padding.iter().all(|[before, behind]| before == behind);
    symmetric.then(|| geometry.padding.map(|[side, _]| side as i64))
}

fn conv2d(
    maps: &tch::Tensor,
    weight: &tch::Tensor,
    geometry: Geometry,
    padding: [i64; 2],
) -> tch::Tensor {
    let stride = [geometry.stride as i64; 2];
    maps.conv2d(weight, None::<tch::Tensor>, stride, padding, [1, 1], geometry.groups as i64)
}

/// What a backward step needs. Tensors are wrapped, so that they are counted: Burn writes over memory that
/// nobody else holds.
#[derive(Debug, Clone)]
struct Graph {
    /// What libtorch takes gradients of.
    leaves: Vec<TchTensor>,
    /// With libtorch's graph.
    output: TchTensor,
    /// What Burn holds: the inputs, and the output without that graph.
    _held: Vec<TchTensor>,
}

/// Makes one operation of all that happens to the parents.
fn differentiate<const N: usize, const D: usize>(
    parents: [WithGradients; N],
    compute: impl FnOnce([&tch::Tensor; N]) -> tch::Tensor,
) -> Tensor<Autodiff<LibTorch>, D> {
    let inputs = parents.each_ref().map(|parent| parent.primitive.clone());
    let wanted = parents.each_ref().map(|parent| parent.node.clone_if_require_grad().is_some());
    let nodes = parents.map(|parent| parent.node);
    let output = match Native.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => {
            let output = compute(inputs.each_ref().map(|input| &input.tensor));
            prep.finish(TchTensor::new(output))
        }
        OpsKind::Tracked(prep) => {
            let leaf =
                |index: usize| inputs[index].tensor.detach().set_requires_grad(wanted[index]);
            let leaves: [tch::Tensor; N] = core::array::from_fn(leaf);
            let output = tch::with_grad(|| compute(leaves.each_ref()));
            let without_graph = TchTensor::new(output.detach());
            let graph = Graph {
                leaves: leaves.into_iter().map(TchTensor::new).collect(),
                output: TchTensor::new(output),
                _held: inputs.into_iter().chain([without_graph.clone()]).collect(),
            };
            prep.finish(graph, without_graph)
        }
    };
    Tensor::from_primitive(TensorPrimitive::Float(output))
}

#[derive(Debug)]
struct Native;

impl<const N: usize> Backward<LibTorch, N> for Native {
    type State = Graph;

    fn backward(
        self,
        ops: Ops<Graph, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = gradients.consume::<LibTorch>(&ops.node).tensor;
        let Graph { leaves, output, _held } = ops.state;
        let parents = leaves.iter().zip(ops.parents);
        let wanted: Vec<_> =
            parents.filter_map(|(leaf, node)| Some((&leaf.tensor, node?))).collect();
        let leaves: Vec<_> = wanted.iter().map(|(leaf, _)| *leaf).collect();
        let found = tch::with_grad(|| {
            // A number whose gradient by the output is the one from upstream, since libtorch starts from numbers.
            let start = output.tensor.flatten(0, -1).dot(&upstream.flatten(0, -1));
            tch::Tensor::run_backward(&[start], &leaves, false, false)
        });
        for ((_, node), gradient) in wanted.into_iter().zip(found) {
            gradients.register::<LibTorch>(node.id, TchTensor::new(gradient));
        }
    }
}

fn with_gradients<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<WithGradients> {
    let tensor = (tensor as &dyn Any).downcast_ref::<Tensor<Autodiff<LibTorch>, D>>()?;
    Some(tensor.clone().into_primitive().tensor())
}

fn same<From: Backend, To: Backend, const D: usize>(
    tensor: Tensor<From, D>,
) -> Option<Tensor<To, D>> {
    (&tensor as &dyn Any).downcast_ref::<Tensor<To, D>>().cloned()
}
