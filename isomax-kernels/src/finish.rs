//! What is done to the values of a layer before they are written: an offset, a shortcut, an activation.

use crate::simd::arch;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Values that a thread takes at once.
const AT_ONCE: usize = 16_384;

/// A function on every value that needs nothing but bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activation {
    /// Values as they are.
    #[default]
    Identity,
    /// Nothing below 0.
    Relu,
    /// Nothing below 0 or above 6.
    Relu6,
}

impl Activation {
    /// The lowest and the highest value.
    pub(crate) fn bounds(self) -> [f32; 2] {
        match self {
            Self::Identity => [f32::NEG_INFINITY, f32::INFINITY],
            Self::Relu => [0.0, f32::INFINITY],
            Self::Relu6 => [0.0, 6.0],
        }
    }
}

/// The gradient before an activation, from the output of the activation and the gradient of that. An output at
/// a bound passes none, as in PyTorch.
///
/// ```
/// use isomax_kernels::{Activation, activation_gradient};
///
/// let gradient = activation_gradient(Activation::Relu6, &[0.0, 2.0, 6.0], &[1.0, 1.0, 1.0]);
/// assert_eq!(gradient, [0.0, 1.0, 0.0]);
/// ```
///
/// # Panics
///
/// If the slices differ in length.
pub fn activation_gradient(activation: Activation, output: &[f32], upstream: &[f32]) -> Vec<f32> {
    assert!(
        output.len() == upstream.len(),
        "{} gradients do not fit {} outputs",
        upstream.len(),
        output.len()
    );
    let mut gradient = vec![0.0; output.len()];
    gradient
        .par_chunks_mut(AT_ONCE)
        .zip(output.par_chunks(AT_ONCE).zip(upstream.par_chunks(AT_ONCE)))
        .for_each(|(gradient, (output, upstream))| {
            let bounds = activation.bounds();
            arch().dispatch(Passed { gradient, output, upstream, bounds });
        });
    gradient
}

struct Passed<'a> {
    gradient: &'a mut [f32],
    output: &'a [f32],
    upstream: &'a [f32],
    bounds: [f32; 2],
}

impl WithSimd for Passed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { gradient, output, upstream, bounds } = self;
        let vector_bounds = bounds.map(|bound| simd.splat_f32s(bound));
        let (places, rest) = S::as_mut_simd_f32s(gradient);
        let (outputs, rest_outputs) = S::as_simd_f32s(output);
        let (upstream, rest_upstream) = S::as_simd_f32s(upstream);
        for ((place, &output), &upstream) in places.iter_mut().zip(outputs).zip(upstream) {
            *place = passed_vector(simd, output, upstream, vector_bounds);
        }
        for ((place, &output), &upstream) in rest.iter_mut().zip(rest_outputs).zip(rest_upstream) {
            *place = passed(output, upstream, bounds);
        }
    }
}

/// The gradient that passes bounds at a value.
#[inline(always)]
pub(crate) fn passed(value: f32, gradient: f32, [low, high]: [f32; 2]) -> f32 {
    if low < value && value < high { gradient } else { 0.0 }
}

/// The same for vectors.
#[inline(always)]
pub(crate) fn passed_vector<S: Simd>(
    simd: S,
    value: S::f32s,
    gradient: S::f32s,
    [low, high]: [S::f32s; 2],
) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    let passed = simd.select_f32s(simd.less_than_f32s(low, value), gradient, zero);
    simd.select_f32s(simd.less_than_f32s(value, high), passed, zero)
}

/// What is done to the output of a convolution, in this order; by default nothing.
///
/// ```
/// use isomax_kernels::conv::{Conv, forward};
/// use isomax_kernels::{Activation, Finish};
///
/// let conv = Conv::new(1, [1, 2], [1, 2], [1, 1]);
/// let finish = Finish {
///     bias: Some(&[1.0, -2.0]),
///     residual: Some(&[0.0, 10.0, 0.5, 0.0]),
///     activation: Activation::Relu6,
/// };
/// assert_eq!(forward(conv, &[1.0, 2.0], &[1.0, 1.0], finish), [2.0, 6.0, 0.0, 0.0]);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Finish<'a> {
    /// Offset of each channel.
    pub bias: Option<&'a [f32]>,
    /// Maps of the shape of the output, which are added.
    pub residual: Option<&'a [f32]>,
    /// The activation.
    pub activation: Activation,
}

impl Finish<'_> {
    /// Finishes whole channels: those from `channel` on, which begin at `place` in the output.
    pub(crate) fn apply(&self, output: &mut [f32], pixels: usize, channel: usize, place: usize) {
        if *self == Self::default() {
            return;
        }
        for (index, output) in output.chunks_exact_mut(pixels).enumerate() {
            let place = place + index * pixels;
            arch().dispatch(Channel {
                bias: self.bias.map_or(0.0, |bias| bias[channel + index]),
                residual: self.residual.map(|maps| &maps[place..place + pixels]),
                bounds: self.activation.bounds(),
                output,
            });
        }
    }
}

struct Channel<'a> {
    output: &'a mut [f32],
    bias: f32,
    residual: Option<&'a [f32]>,
    bounds: [f32; 2],
}

impl WithSimd for Channel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { output, bias, residual, bounds } = self;
        let biases = simd.splat_f32s(bias);
        let vector_bounds = bounds.map(|bound| simd.splat_f32s(bound));
        let (places, rest) = S::as_mut_simd_f32s(output);
        if let Some(residual) = residual {
            let (added, rest_added) = S::as_simd_f32s(residual);
            for (place, &added) in places.iter_mut().zip(added) {
                let value = simd.add_f32s(simd.add_f32s(*place, biases), added);
                *place = clamp_vector(simd, value, vector_bounds);
            }
            for (place, &added) in rest.iter_mut().zip(rest_added) {
                *place = clamp(*place + bias + added, bounds);
            }
        } else {
            for place in places {
                *place = clamp_vector(simd, simd.add_f32s(*place, biases), vector_bounds);
            }
            for place in rest {
                *place = clamp(*place + bias, bounds);
            }
        }
    }
}

/// A value within bounds. NaN stays NaN: a comparison with it is false.
#[inline(always)]
pub(crate) fn clamp(value: f32, [low, high]: [f32; 2]) -> f32 {
    let value = if value < low { low } else { value };
    if high < value { high } else { value }
}

/// The same for vectors.
#[inline(always)]
pub(crate) fn clamp_vector<S: Simd>(simd: S, value: S::f32s, [low, high]: [S::f32s; 2]) -> S::f32s {
    let value = simd.select_f32s(simd.less_than_f32s(value, low), low, value);
    simd.select_f32s(simd.less_than_f32s(high, value), high, value)
}
