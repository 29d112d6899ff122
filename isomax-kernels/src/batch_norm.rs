//! Batch normalisation, forward and backward, with the activation that follows it.
//!
//! ```
//! use isomax_kernels::Activation;
//! use isomax_kernels::batch_norm::{Rows, affine, statistics};
//!
//! let rows = Rows { batch_size: 2, channels: 1, pixels: 2 };
//! let maps = [1.0, 3.0, 5.0, 7.0];
//! let batch = statistics(rows, &maps);
//! assert_eq!((batch[0].mean, batch[0].variance), (4.0, 5.0));
//! assert_eq!(affine(rows, &maps, &[2.0], &[-8.0], None, Activation::Relu), [0.0, 0.0, 2.0, 6.0]);
//! ```

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::finish::{Activation, clamp, clamp_vector, passed, passed_vector};
use crate::simd::arch;

/// Maps as rows, one for each image and channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// Number of images.
    pub batch_size: usize,
    /// Number of channels.
    pub channels: usize,
    /// Number of pixels of a channel of an image.
    pub pixels: usize,
}

impl Rows {
    /// Values of a channel in the whole batch.
    fn count(self) -> usize {
        self.batch_size * self.pixels
    }

    #[track_caller]
    fn check(self, values: &[f32], of_channels: &[&[f32]]) {
        let expected = self.batch_size * self.channels * self.pixels;
        assert!(
            values.len() == expected && of_channels.iter().all(|c| c.len() == self.channels),
            "{} values do not fit {self:?}, which takes {expected}, and one number for each channel",
            values.len()
        );
    }

    /// Rows that a thread takes at once: enough work to be worth it.
    fn at_once(self) -> usize {
        (16_384 / self.pixels.max(1)).clamp(1, (self.batch_size * self.channels).max(1))
    }
}

/// Mean and biased variance of a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    /// Mean.
    pub mean: f32,
    /// Variance, divided by the number of values.
    pub variance: f32,
}

/// The moments of each channel over a batch, in 64 bits but for the sum over each row.
///
/// # Panics
///
/// If the maps do not have the size of the rows.
pub fn statistics(rows: Rows, maps: &[f32]) -> Vec<Moments> {
    rows.check(maps, &[]);
    if rows.pixels == 0 {
        return vec![Moments::default(); rows.channels];
    }
    let parts: Vec<[f32; 2]> = maps
        .par_chunks_exact(rows.pixels)
        .with_min_len(rows.at_once())
        .map(|row| arch().dispatch(RowMoments { row }))
        .collect();
    let count = rows.count() as f64;
    let channel = |channel: usize| {
        let of_channel = || parts.iter().skip(channel).step_by(rows.channels);
        let mean =
            of_channel().map(|part| f64::from(part[0])).sum::<f64>() / rows.batch_size as f64;
        let squares = of_channel().map(|&[row_mean, squares]| {
            f64::from(squares) + rows.pixels as f64 * (f64::from(row_mean) - mean).powi(2)
        });
        Moments { mean: mean as f32, variance: (squares.sum::<f64>() / count) as f32 }
    };
    (0..rows.channels).map(channel).collect()
}

/// Mean of a row, and the sum of the squared distances from it.
struct RowMoments<'a> {
    row: &'a [f32],
}

impl WithSimd for RowMoments<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f32; 2] {
        let count = self.row.len() as f32;
        let mean = sum(simd, self.row, |x, sum| simd.add_f32s(x, sum), |x| x) / count;
        let means = simd.splat_f32s(mean);
        let squares = sum(
            simd,
            self.row,
            |x, sum| {
                let distance = simd.sub_f32s(x, means);
                simd.mul_add_e_f32s(distance, distance, sum)
            },
            |x| (x - mean) * (x - mean),
        );
        [mean, squares]
    }
}

/// A sum in vectors, four at a time, the rest one by one.
#[inline(always)]
fn sum<S: Simd>(
    simd: S,
    row: &[f32],
    add: impl Fn(S::f32s, S::f32s) -> S::f32s,
    of_one: impl Fn(f32) -> f32,
) -> f32 {
    let (vectors, rest) = S::as_simd_f32s(row);
    let mut sums = [simd.splat_f32s(0.0); 4];
    let mut chunks = vectors.chunks_exact(4);
    for chunk in &mut chunks {
        for (sum, &vector) in sums.iter_mut().zip(chunk) {
            *sum = add(vector, *sum);
        }
    }
    for (sum, &vector) in sums.iter_mut().zip(chunks.remainder()) {
        *sum = add(vector, *sum);
    }
    let [a, b, c, d] = sums;
    let total = simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)));
    rest.iter().fold(total, |total, &x| total + of_one(x))
}

/// Computes `maps · scale + shift` for each channel, adds other maps of the same shape, and takes the activation
/// of it.
///
/// # Panics
///
/// If the slices do not have the sizes of the rows.
pub fn affine(
    rows: Rows,
    maps: &[f32],
    scale: &[f32],
    shift: &[f32],
    residual: Option<&[f32]>,
    activation: Activation,
) -> Vec<f32> {
    rows.check(maps, &[scale, shift]);
    residual.inspect(|residual| rows.check(residual, &[]));
    let mut output = vec![0.0; maps.len()];
    if rows.pixels == 0 {
        return output;
    }
    let bounds = activation.bounds();
    output
        .par_chunks_exact_mut(rows.pixels)
        .zip(maps.par_chunks_exact(rows.pixels))
        .with_min_len(rows.at_once())
        .enumerate()
        .for_each(|(row, (output, maps))| {
            let channel = row % rows.channels;
            let (scale, shift) = (scale[channel], shift[channel]);
            let residual = residual.map(|maps| &maps[row * rows.pixels..][..rows.pixels]);
            arch().dispatch(Affine { maps, output, scale, shift, residual, bounds });
        });
    output
}

struct Affine<'a> {
    maps: &'a [f32],
    output: &'a mut [f32],
    scale: f32,
    shift: f32,
    residual: Option<&'a [f32]>,
    bounds: [f32; 2],
}

impl WithSimd for Affine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { maps, output, scale, shift, residual, bounds } = self;
        let [scales, shifts] = [scale, shift].map(|x| simd.splat_f32s(x));
        let vector_bounds = bounds.map(|bound| simd.splat_f32s(bound));
        let (vectors, rest) = S::as_simd_f32s(maps);
        let (places, rest_places) = S::as_mut_simd_f32s(output);
        if let Some(residual) = residual {
            let (added, rest_added) = S::as_simd_f32s(residual);
            for ((place, &x), &added) in places.iter_mut().zip(vectors).zip(added) {
                let value = simd.add_f32s(simd.mul_add_e_f32s(x, scales, shifts), added);
                *place = clamp_vector(simd, value, vector_bounds);
            }
            for ((place, &x), &added) in rest_places.iter_mut().zip(rest).zip(rest_added) {
                *place = clamp(x.mul_add(scale, shift) + added, bounds);
            }
        } else {
            for (place, &x) in places.iter_mut().zip(vectors) {
                *place = clamp_vector(simd, simd.mul_add_e_f32s(x, scales, shifts), vector_bounds);
            }
            for (place, &x) in rest_places.iter_mut().zip(rest) {
                *place = clamp(x.mul_add(scale, shift), bounds);
            }
        }
    }
}

/// The gradients of a batch normalisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// Of the maps, `[batch_size, channels, pixels]`.
    pub maps: Vec<f32>,
    /// Of the scale of each channel.
    pub weight: Vec<f32>,
    /// Of the offset of each channel.
    pub bias: Vec<f32>,
}

/// What the forward pass of a normalisation by the statistics of a batch computed with.
#[derive(Debug, Clone, Copy)]
pub struct Normalization<'a> {
    /// Moments of each channel, of [`statistics`].
    pub moments: &'a [Moments],
    /// Scale of each channel.
    pub weight: &'a [f32],
    /// Offset of each channel.
    pub bias: &'a [f32],
    /// Added to variances.
    pub epsilon: f32,
    /// What follows.
    pub activation: Activation,
}

impl Normalization<'_> {
    /// Scale and shift of each channel, for [`affine`].
    pub fn affine(&self) -> (Vec<f32>, Vec<f32>) {
        let channels = self.moments.iter().zip(self.weight).zip(self.bias);
        channels
            .map(|((moments, &weight), &bias)| {
                let scale = weight * self.inverse_deviation(moments);
                (scale, (-moments.mean).mul_add(scale, bias))
            })
            .unzip()
    }

    fn inverse_deviation(&self, moments: &Moments) -> f32 {
        1.0 / (moments.variance + self.epsilon).sqrt()
    }
}

/// The gradients, from that of the output.
///
/// # Panics
///
/// If the slices do not have the sizes of the rows.
pub fn backward(
    rows: Rows,
    maps: &[f32],
    upstream: &[f32],
    normalization: &Normalization<'_>,
) -> Gradients {
    rows.check(maps, &[normalization.weight, normalization.bias]);
    rows.check(upstream, &[]);
    let mut gradients = Gradients {
        maps: vec![0.0; maps.len()],
        weight: vec![0.0; rows.channels],
        bias: vec![0.0; rows.channels],
    };
    if maps.is_empty() {
        return gradients;
    }
    let (scale, shift) = normalization.affine();
    let inverse: Vec<f32> =
        normalization.moments.iter().map(|m| normalization.inverse_deviation(m)).collect();
    let bounds = normalization.activation.bounds();
    let row = |row: usize| {
        let channel = row % rows.channels;
        let pixels = row * rows.pixels..(row + 1) * rows.pixels;
        Backward {
            maps: &maps[pixels.clone()],
            upstream: &upstream[pixels],
            mean: normalization.moments[channel].mean,
            scale: scale[channel],
            shift: shift[channel],
            bounds,
        }
    };
    let parts: Vec<[f32; 2]> = (0..rows.batch_size * rows.channels)
        .into_par_iter()
        .with_min_len(rows.at_once())
        .map(|index| arch().dispatch(Sums(row(index))))
        .collect();
    let count = rows.count() as f64;
    // What is taken from each gradient: a constant, and a multiple of the distance from the mean.
    let mut taken = Vec::with_capacity(rows.channels);
    for channel in 0..rows.channels {
        let of_channel = || parts.iter().skip(channel).step_by(rows.channels);
        let sum = of_channel().map(|part| f64::from(part[0])).sum::<f64>();
        let product = of_channel().map(|part| f64::from(part[1])).sum::<f64>();
        let inverse = f64::from(inverse[channel]);
        gradients.bias[channel] = sum as f32;
        gradients.weight[channel] = (product * inverse) as f32;
        taken.push([(sum / count) as f32, (product * inverse * inverse / count) as f32]);
    }
    gradients
        .maps
        .par_chunks_exact_mut(rows.pixels)
        .with_min_len(rows.at_once())
        .enumerate()
        .for_each(|(index, output)| {
            let [constant, slope] = taken[index % rows.channels];
            arch().dispatch(OfMaps { row: row(index), constant, slope, output });
        });
    gradients
}

/// One row of the backward pass.
#[derive(Clone, Copy)]
struct Backward<'a> {
    maps: &'a [f32],
    upstream: &'a [f32],
    mean: f32,
    scale: f32,
    shift: f32,
    /// Outputs at and beyond them have no gradient.
    bounds: [f32; 2],
}

impl Backward<'_> {
    /// The gradient that passes the activation.
    #[inline(always)]
    fn passed(self, x: f32, gradient: f32) -> f32 {
        passed(x.mul_add(self.scale, self.shift), gradient, self.bounds)
    }

    /// The same for vectors.
    #[inline(always)]
    fn pass<S: Simd>(self, simd: S) -> impl Fn(S::f32s, S::f32s) -> S::f32s {
        let [scale, shift] = [self.scale, self.shift].map(|x| simd.splat_f32s(x));
        let bounds = self.bounds.map(|bound| simd.splat_f32s(bound));
        move |x, gradient| {
            passed_vector(simd, simd.mul_add_e_f32s(x, scale, shift), gradient, bounds)
        }
    }
}

/// The sum of the gradients of a row, and that of their products with the distance from the mean.
struct Sums<'a>(Backward<'a>);

impl WithSimd for Sums<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f32; 2] {
        let row = self.0;
        let pass = row.pass(simd);
        let mean = simd.splat_f32s(row.mean);
        let (maps, rest) = S::as_simd_f32s(row.maps);
        let (upstream, rest_upstream) = S::as_simd_f32s(row.upstream);
        let mut sums = [[simd.splat_f32s(0.0); 2]; 2];
        let pairs = maps.chunks(2).zip(upstream.chunks(2));
        for (maps, upstream) in pairs {
            for ((sums, &x), &gradient) in sums.iter_mut().zip(maps).zip(upstream) {
                let gradient = pass(x, gradient);
                sums[0] = simd.add_f32s(sums[0], gradient);
                sums[1] = simd.mul_add_e_f32s(simd.sub_f32s(x, mean), gradient, sums[1]);
            }
        }
        let [even, odd] = sums;
        let mut totals = [0, 1].map(|i| simd.reduce_sum_f32s(simd.add_f32s(even[i], odd[i])));
        for (&x, &gradient) in rest.iter().zip(rest_upstream) {
            let gradient = row.passed(x, gradient);
            totals[0] += gradient;
            totals[1] += (x - row.mean) * gradient;
        }
        totals
    }
}

/// The gradients of a row of maps.
struct OfMaps<'a> {
    row: Backward<'a>,
    constant: f32,
    slope: f32,
    output: &'a mut [f32],
}

impl WithSimd for OfMaps<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { row, constant, slope, output } = self;
        let pass = row.pass(simd);
        // scale · (gradient − constant − slope · (x − mean)), in one multiplication and addition each.
        let offset = slope.mul_add(row.mean, -constant);
        let [slopes, offsets, scales] =
            [-slope, offset, row.scale].map(|value| simd.splat_f32s(value));
        let (maps, rest) = S::as_simd_f32s(row.maps);
        let (upstream, rest_upstream) = S::as_simd_f32s(row.upstream);
        let (places, rest_places) = S::as_mut_simd_f32s(output);
        for ((place, &x), &gradient) in places.iter_mut().zip(maps).zip(upstream) {
            let gradient =
                simd.add_f32s(pass(x, gradient), simd.mul_add_e_f32s(x, slopes, offsets));
            *place = simd.mul_f32s(gradient, scales);
        }
        for ((place, &x), &gradient) in rest_places.iter_mut().zip(rest).zip(rest_upstream) {
            *place = row.scale * (row.passed(x, gradient) + (-slope).mul_add(x, offset));
        }
    }
}
