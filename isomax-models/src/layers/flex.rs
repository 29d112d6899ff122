//! Layers on Burn's backend flex, by the kernels of `isomax-kernels`.
//!
//! Each function is handed tensors of any backend and answers `None` unless they are `f32` on flex, with or
//! without gradients: no bound of a network narrows.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use isomax_burn::flex::{
    FlexTensor, WithGradients, constant, contiguous, primitive, same, tensor, untracked,
    with_backward, with_gradients,
};
use isomax_kernels::activation_gradient;
use isomax_kernels::batch_norm::{self, Moments, Normalization, Rows};
use isomax_kernels::conv::{self, Conv};

use super::Activation;
use super::conv::{Finish, Geometry};
use super::fast_backends::{BatchNormalization, Normalized};

/// A convolution.
pub(super) fn convolve<B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    geometry: Geometry,
) -> Option<Tensor<B, 4>> {
    let (conv, shape) = sizes(maps, weight, geometry)?;
    let (maps, weight) = (with_gradients(maps)?, with_gradients(weight)?);
    let values = (contiguous(&maps.primitive)?, contiguous(&weight.primitive)?);
    let finish = isomax_kernels::Finish::default();
    let output = conv::forward(conv, values.0.storage(), values.1.storage(), finish);
    let output = primitive(output, shape);
    // Each is needed for the gradient of the other.
    let state = ConvolutionState {
        maps: takes_gradient(&weight).then_some(values.0),
        weight: takes_gradient(&maps).then_some(values.1),
    };
    same(with_backward::<2, 4, _>(Convolution(conv), [maps, weight], state, output))
}

/// A convolution of which nothing takes a gradient, and what is done to its sums.
pub(super) fn convolve_and_finish<B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    geometry: Geometry,
    finish: &Finish<B>,
) -> Option<Tensor<B, 4>> {
    let (conv, shape) = sizes(maps, weight, geometry)?;
    let (maps, weight) = untracked(maps).zip(untracked(weight))?;
    let bias = if_present(finish.bias.as_ref().map(untracked))?;
    let shortcut = if_present(finish.shortcut.as_ref().map(|maps| of_shape(maps, shape)))?;
    let finish = isomax_kernels::Finish {
        bias: bias.as_ref().map(FlexTensor::storage),
        residual: shortcut.as_ref().map(FlexTensor::storage),
        activation: finish.activation.into(),
    };
    let output = conv::forward(conv, maps.storage(), weight.storage(), finish);
    constant(primitive(output, shape))
}

/// The sizes of a convolution and of its output, if it is one that the kernels have.
fn sizes<B: Backend>(
    maps: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    Geometry { stride, padding, groups }: Geometry,
) -> Option<(Conv, [usize; 4])> {
    let [batch_size, channels_in, height, width] = maps.dims();
    let [channels_out, of_group, kernel_height, kernel_width] = weight.dims();
    let conv = Conv {
        batch_size,
        channels: [channels_in, channels_out],
        size: [height, width],
        kernel: [kernel_height, kernel_width],
        stride,
        padding,
        groups,
    };
    // What does not fit is left to Burn, and to what it says.
    if of_group * groups != channels_in || !conv.is_valid() {
        return None;
    }
    let [height, width] = conv.output_size();
    Some((conv, [batch_size, channels_out, height, width]))
}

impl From<Activation> for isomax_kernels::Activation {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Identity => Self::Identity,
            Activation::Relu => Self::Relu,
            Activation::Relu6 => Self::Relu6,
        }
    }
}

#[derive(Debug)]
struct Convolution(Conv);

#[derive(Debug, Clone)]
struct ConvolutionState {
    maps: Option<FlexTensor>,
    weight: Option<FlexTensor>,
}

impl Backward<Flex, 2> for Convolution {
    type State = ConvolutionState;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let ConvolutionState { maps, weight } = ops.state;
        let [of_maps, of_weight] = ops.parents;
        let Conv { batch_size, channels: [inputs, outputs], size, kernel, groups, .. } = self.0;
        if let Some((node, weight)) = of_maps.zip(weight) {
            let gradient = conv::maps_gradient(self.0, upstream.storage(), weight.storage());
            let shape = [batch_size, inputs, size[0], size[1]];
            gradients.register::<Flex>(node.id, primitive(gradient, shape));
        }
        if let Some((node, maps)) = of_weight.zip(maps) {
            let gradient = conv::weight_gradient(self.0, maps.storage(), upstream.storage());
            let shape = [outputs, inputs / groups, kernel[0], kernel[1]];
            gradients.register::<Flex>(node.id, primitive(gradient, shape));
        }
    }
}

/// Normalizes by the statistics of the batch, adds maps, and takes an activation.
pub(super) fn normalize<B: Backend>(
    maps: &Tensor<B, 4>,
    norm: &BatchNormalization<'_, B>,
) -> Option<Normalized<B>> {
    let BatchNormalization { weight, bias, epsilon, shortcut, activation } = *norm;
    let shape @ [batch_size, channels, height, width] = maps.dims();
    let rows = Rows { batch_size, channels, pixels: height * width };
    let shortcut = if_present(shortcut.map(|maps| {
        let maps = (maps.dims() == shape).then(|| with_gradients(maps)).flatten()?;
        Some((contiguous(&maps.primitive)?, maps))
    }))?;
    let nodes = [with_gradients(maps)?, with_gradients(weight)?, with_gradients(bias)?];
    let [maps, weight, bias] = nodes.each_ref().map(|node| contiguous(&node.primitive));
    let (maps, weight, bias) = (maps?, weight?, bias?);
    let moments = batch_norm::statistics(rows, maps.storage());
    let state = State { maps, weight, bias, moments, output: None };
    let operation = BatchNorm { rows, epsilon: epsilon as f32, activation };
    let (scale, shift) = operation.normalization(&state).affine();
    let output = batch_norm::affine(
        rows,
        state.maps.storage(),
        &scale,
        &shift,
        shortcut.as_ref().map(|(maps, _)| maps.storage()),
        activation.into(),
    );
    let output = primitive(output, shape);
    let of_channels = |value: fn(&Moments) -> f32| {
        let values = state.moments.iter().map(value).collect();
        same(Tensor::<Autodiff<Flex>, 1>::from_inner(tensor(primitive(values, [channels]))))
    };
    let (mean, variance) = (of_channels(|m| m.mean)?, of_channels(|m| m.variance)?);
    let count = (batch_size * height * width) as f64;
    let unbiased_variance = variance * (count / (count - 1.0));
    let output = match shortcut {
        None => with_backward::<3, 4, _>(operation, nodes, state, output),
        Some((_, shortcut)) => {
            let [maps, weight, bias] = nodes;
            // The mask of the activation is read from the output, which the next layer keeps anyway.
            let has_mask = activation != Activation::Identity;
            let state = State { output: has_mask.then(|| output.clone()), ..state };
            with_backward::<4, 4, _>(operation, [maps, weight, bias, shortcut], state, output)
        }
    };
    Some(Normalized { maps: same(output)?, mean, unbiased_variance })
}

/// Computes `maps · scale + shift` for each channel, of which nothing takes a gradient, adds maps, and takes an activation.
pub(super) fn affine<B: Backend>(
    maps: &Tensor<B, 4>,
    scale: &Tensor<B, 1>,
    shift: &Tensor<B, 1>,
    shortcut: Option<&Tensor<B, 4>>,
    activation: Activation,
) -> Option<Tensor<B, 4>> {
    let shape @ [batch_size, channels, height, width] = maps.dims();
    let rows = Rows { batch_size, channels, pixels: height * width };
    let shortcut = if_present(shortcut.map(|maps| of_shape(maps, shape)))?;
    let (maps, scale) = untracked(maps).zip(untracked(scale))?;
    let shift = untracked(shift)?;
    let output = batch_norm::affine(
        rows,
        maps.storage(),
        scale.storage(),
        shift.storage(),
        shortcut.as_ref().map(FlexTensor::storage),
        activation.into(),
    );
    constant(primitive(output, shape))
}

#[derive(Debug, Clone, Copy)]
struct BatchNorm {
    rows: Rows,
    epsilon: f32,
    activation: Activation,
}

#[derive(Debug, Clone)]
struct State {
    maps: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    moments: Vec<Moments>,
    /// Kept if a shortcut was added before an activation: then it cannot be computed again from the maps.
    output: Option<FlexTensor>,
}

impl BatchNorm {
    fn normalization<'a>(&self, state: &'a State) -> Normalization<'a> {
        Normalization {
            moments: &state.moments,
            weight: state.weight.storage(),
            bias: state.bias.storage(),
            epsilon: self.epsilon,
            activation: match state.output {
                None => self.activation.into(),
                Some(_) => isomax_kernels::Activation::Identity,
            },
        }
    }
}

/// The parents are maps, weight, bias, and the shortcut if there is one.
impl<const N: usize> Backward<Flex, N> for BatchNorm {
    type State = State;

    fn backward(
        self,
        ops: Ops<State, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let channels = [self.rows.channels];
        let upstream = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let state = ops.state;
        let shape: [usize; 4] = state.maps.layout().shape().dims();
        let upstream = match &state.output {
            Some(output) => primitive(
                activation_gradient(self.activation.into(), output.storage(), upstream.storage()),
                shape,
            ),
            None => upstream,
        };
        let ours = batch_norm::backward(
            self.rows,
            state.maps.storage(),
            upstream.storage(),
            &self.normalization(&state),
        );
        let mut parents = ops.parents.into_iter();
        let mut next = || parents.next().flatten();
        if let Some(node) = next() {
            gradients.register::<Flex>(node.id, primitive(ours.maps, shape));
        }
        if let Some(node) = next() {
            gradients.register::<Flex>(node.id, primitive(ours.weight, channels));
        }
        if let Some(node) = next() {
            gradients.register::<Flex>(node.id, primitive(ours.bias, channels));
        }
        if let Some(node) = next() {
            gradients.register::<Flex>(node.id, upstream);
        }
    }
}

fn takes_gradient(tensor: &WithGradients) -> bool {
    !tensor.node.requirement.is_none()
}

/// The values of a tensor that takes no gradient, if it is of a shape.
fn of_shape<B: Backend>(tensor: &Tensor<B, 4>, shape: [usize; 4]) -> Option<FlexTensor> {
    if tensor.dims() == shape { untracked(tensor) } else { None }
}

/// `None` if something is there that cannot be had.
fn if_present<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    value.map_or(Some(None), |value| value.map(Some))
}
