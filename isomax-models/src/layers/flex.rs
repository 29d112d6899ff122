//! Layers on Burn's backend flex, by the kernels of `isomax-kernels`.
//!
//! Each function is handed tensors of any backend and answers `None` unless they are `f32` on flex, with or
//! without gradients: no bound of a network narrows.

use core::any::Any;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData, TensorPrimitive};
use burn_flex::FlexTensor;
use isomax_kernels::batch_norm::{self, Moments, Normalization, Rows};
use isomax_kernels::conv::{self, Conv};

use super::fast_backends::Normalized;

/// A convolution without bias, dilation and groups, if the kernels have it.
pub(super) fn convolve<B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    stride: usize,
    padding: [usize; 2],
) -> Option<Tensor<B, 4>> {
    let [batch_size, channels_in, height, width] = maps.dims();
    let [channels_out, .., kernel_height, kernel_width] = weight.dims();
    let conv = Conv {
        batch_size,
        channels: [channels_in, channels_out],
        size: [height, width],
        kernel: [kernel_height, kernel_width],
        stride,
        padding,
    };
    let forward = |maps: &FlexTensor, weight: &FlexTensor| {
        let output = conv::forward(conv, maps.storage(), weight.storage());
        let [height, width] = conv.output_size();
        primitive(output, [batch_size, channels_out, height, width])
    };
    if let Some((maps, weight)) = without_gradients(maps).zip(without_gradients(weight)) {
        return same(tensor::<4>(forward(&maps, &weight)));
    }
    let (maps, weight) = (with_gradients(maps)?, with_gradients(weight)?);
    let state = (contiguous(&maps.primitive)?, contiguous(&weight.primitive)?);
    let output = forward(&state.0, &state.1);
    let nodes = [maps.node, weight.node];
    let output =
        match Convolution(conv).prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(state, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        };
    same(Tensor::<Autodiff<Flex>, 4>::from_primitive(TensorPrimitive::Float(output)))
}

#[derive(Debug)]
struct Convolution(Conv);

impl Backward<Flex, 2> for Convolution {
    type State = (FlexTensor, FlexTensor);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let (maps, weight) = ops.state;
        let [of_maps, of_weight] = ops.parents;
        let shape = |tensor: &FlexTensor| tensor.layout().shape().dims::<4>();
        if let Some(node) = of_maps {
            let gradient = conv::maps_gradient(self.0, upstream.storage(), weight.storage());
            gradients.register::<Flex>(node.id, primitive(gradient, shape(&maps)));
        }
        if let Some(node) = of_weight {
            let gradient = conv::weight_gradient(self.0, maps.storage(), upstream.storage());
            gradients.register::<Flex>(node.id, primitive(gradient, shape(&weight)));
        }
    }
}

/// Normalizes by the statistics of the batch, with a ReLU behind it or not.
pub(super) fn normalize<B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 1>,
    bias: &Tensor<B, 1>,
    epsilon: f64,
    relu: bool,
) -> Option<Normalized<B>> {
    let shape @ [batch_size, channels, height, width] = maps.dims();
    let rows = Rows { batch_size, channels, pixels: height * width };
    let nodes = [with_gradients(maps)?, with_gradients(weight)?, with_gradients(bias)?];
    let [maps, weight, bias] = nodes.each_ref().map(|node| contiguous(&node.primitive));
    let state = State { maps: maps?, weight: weight?, bias: bias?, moments: Vec::new() };
    let moments = batch_norm::statistics(rows, state.maps.storage());
    let state = State { moments, ..state };
    let operation = BatchNorm { rows, epsilon: epsilon as f32, relu };
    let (scale, shift) = operation.normalization(&state).affine();
    let output = batch_norm::affine(rows, state.maps.storage(), &scale, &shift, relu);
    let output = primitive(output, shape);
    let of_channels = |value: fn(&Moments) -> f32| {
        let values = state.moments.iter().map(value).collect();
        same(Tensor::<Autodiff<Flex>, 1>::from_inner(tensor(primitive(values, [channels]))))
    };
    let (mean, variance) = (of_channels(|m| m.mean)?, of_channels(|m| m.variance)?);
    let nodes = nodes.map(|node| node.node);
    let output = match operation.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(state, output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    };
    let maps = Tensor::<Autodiff<Flex>, 4>::from_primitive(TensorPrimitive::Float(output));
    Some(Normalized { maps: same(maps)?, mean, variance })
}

/// Computes `maps · scale + shift` for each channel, with a ReLU behind it or not; without gradients.
pub(super) fn affine<B: Backend>(
    maps: &Tensor<B, 4>,
    scale: &Tensor<B, 1>,
    shift: &Tensor<B, 1>,
    relu: bool,
) -> Option<Tensor<B, 4>> {
    let shape @ [batch_size, channels, height, width] = maps.dims();
    let rows = Rows { batch_size, channels, pixels: height * width };
    let (maps, scale) = without_gradients(maps).zip(without_gradients(scale))?;
    let shift = without_gradients(shift)?;
    let output = batch_norm::affine(rows, maps.storage(), scale.storage(), shift.storage(), relu);
    same(tensor::<4>(primitive(output, shape)))
}

#[derive(Debug, Clone, Copy)]
struct BatchNorm {
    rows: Rows,
    epsilon: f32,
    relu: bool,
}

#[derive(Debug, Clone)]
struct State {
    maps: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    moments: Vec<Moments>,
}

impl BatchNorm {
    fn normalization<'a>(&self, state: &'a State) -> Normalization<'a> {
        Normalization {
            moments: &state.moments,
            weight: state.weight.storage(),
            bias: state.bias.storage(),
            epsilon: self.epsilon,
            relu: self.relu,
        }
    }
}

impl Backward<Flex, 3> for BatchNorm {
    type State = State;

    fn backward(
        self,
        ops: Ops<State, 3>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let Rows { channels, .. } = self.rows;
        let upstream = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let state = ops.state;
        let shape: [usize; 4] = state.maps.layout().shape().dims();
        let normalization = self.normalization(&state);
        let ours = batch_norm::backward(
            self.rows,
            state.maps.storage(),
            upstream.storage(),
            &normalization,
        );
        let [of_maps, of_weight, of_bias] = ops.parents;
        if let Some(node) = of_maps {
            gradients.register::<Flex>(node.id, primitive(ours.maps, shape));
        }
        if let Some(node) = of_weight {
            gradients.register::<Flex>(node.id, primitive(ours.weight, [channels]));
        }
        if let Some(node) = of_bias {
            gradients.register::<Flex>(node.id, primitive(ours.bias, [channels]));
        }
    }
}

fn primitive<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

fn tensor<const D: usize>(primitive: FlexTensor) -> Tensor<Flex, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// The values in order, if they are `f32`.
fn contiguous(tensor: &FlexTensor) -> Option<FlexTensor> {
    (tensor.dtype() == DType::F32).then(|| tensor.to_contiguous())
}

/// The values of a tensor of flex without gradients.
fn without_gradients<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<FlexTensor> {
    let tensor = (tensor as &dyn Any).downcast_ref::<Tensor<Flex, D>>()?;
    contiguous(&tensor.clone().into_primitive().tensor())
}

type WithGradients = <Autodiff<Flex> as burn::tensor::backend::BackendTypes>::FloatTensorPrimitive;

/// A tensor of flex with gradients.
fn with_gradients<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<WithGradients> {
    let tensor = (tensor as &dyn Any).downcast_ref::<Tensor<Autodiff<Flex>, D>>()?;
    Some(tensor.clone().into_primitive().tensor())
}

/// The same tensor by the name of its type that the caller has.
fn same<From: Backend, To: Backend, const D: usize>(
    tensor: Tensor<From, D>,
) -> Option<Tensor<To, D>> {
    (&tensor as &dyn Any).downcast_ref::<Tensor<To, D>>().cloned()
}
