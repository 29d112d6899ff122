use rayon::prelude::*;

use super::Conv;
use super::lines::{Placement, padded, positions};
use super::loops::WeightGradient;
use super::plan::Plan;
use crate::simd::arch;

/// Bytes that a core has near.
const CACHE: usize = 512 * 1024;
/// Parts into which a batch is cut at least, if it has so many images. Each is one thread's work, and the parts, not the
/// threads, say in which order is summed.
const PARTS: usize = 8;
/// Bytes that the gradients of all parts may take, unless so few parts take more.
const MEMORY: usize = 32 << 20;
/// Weights whose gradients a thread sums at a time.
const SUMMED: usize = 8 * 1024;

/// The gradient of the weights, from that of the output.
///
/// # Shapes
///
/// - maps: `[batch_size, channels_in, height, width]`
/// - upstream: `[batch_size, channels_out, …]`, of the [size](Conv::output_size) of the output
/// - output: `[channels_out, channels_in / groups, kernel_height, kernel_width]`
///
/// # Panics
///
/// If the slices do not have the sizes of the convolution, or as [`Conv::output_size`].
pub fn weight_gradient(conv: Conv, maps: &[f32], upstream: &[f32]) -> Vec<f32> {
    conv.check_maps(maps);
    conv.check_output("Gradients", upstream);
    let plan = Plan::new(&conv);
    let [inputs, outputs] = conv.channels_of_group();
    let [in_pixels, out_pixels] = [conv.size, plan.output].map(|size| size[0] * size[1]);
    // Maps are lines as they are, unless groups lie between those of one image and the next.
    let is_direct = conv.is_pointwise() && conv.groups == 1;
    let columns = if is_direct {
        (0..inputs).map(|channel| channel * in_pixels).collect()
    } else {
        plan.columns(inputs)
    };
    let positions = positions(plan.output, plan.stride);
    let line = padded(positions);
    let placement = Placement::all(plan.output, 0, plan.stride);
    let of_group = outputs * columns.len();
    let mut total = vec![0.0; conv.groups * of_group];
    if total.is_empty() || maps.is_empty() {
        return total;
    }
    // So many images at once as fit the second-level cache.
    let bytes = 4 * (inputs * plan.channel + outputs * line);
    let at_once = (CACHE / bytes).clamp(1, conv.batch_size.div_ceil(PARTS));
    // Each part has a gradient of its own, so that wide layers are cut into few.
    let most = (MEMORY / (4 * total.len())).max(PARTS);
    let images = at_once.max(conv.batch_size.div_ceil(most));
    let parts = conv.batch_size.div_ceil(images);
    // What lies between pixels stays zero, however often this is used.
    let memory = || match is_direct {
        true => (Vec::new(), Vec::new()),
        false => (vec![0.0; at_once * inputs * plan.channel], vec![0.0; at_once * outputs * line]),
    };
    let [maps_length, upstream_length] = [inputs * in_pixels, outputs * out_pixels];
    let gradients: Vec<Vec<f32>> = (0..conv.groups * parts)
        .into_par_iter()
        .map_init(memory, |(lines, upstreams), index| {
            let (group, first) = (index / parts, index % parts * images);
            let end = conv.batch_size.min(first + images);
            let mut gradient = vec![0.0; of_group];
            for first in (first..end).step_by(at_once) {
                let count = at_once.min(end - first);
                let (input, upstream, [channel, line]) = if is_direct {
                    let maps = &maps[first * maps_length..][..count * maps_length];
                    let upstream = &upstream[first * upstream_length..][..count * upstream_length];
                    (maps, upstream, [in_pixels; 2])
                } else {
                    let of_image = lines.chunks_exact_mut(inputs * plan.channel);
                    for (image, (lines, upstreams)) in of_image
                        .zip(upstreams.chunks_exact_mut(outputs * line))
                        .take(count)
                        .enumerate()
                    {
                        let unit = (first + image) * conv.groups + group;
                        plan.write(&maps[unit * maps_length..][..maps_length], conv.size, lines);
                        let upstream = &upstream[unit * upstream_length..][..upstream_length];
                        let channels = upstream.chunks_exact(out_pixels);
                        for (pixels, line) in channels.zip(upstreams.chunks_exact_mut(line)) {
                            placement.write(pixels, plan.output[1], line);
                        }
                    }
                    let lines = &lines[..count * inputs * plan.channel];
                    (lines, &upstreams[..count * outputs * line], [plan.channel, line])
                };
                arch().dispatch(WeightGradient {
                    input,
                    input_image: inputs * channel,
                    columns: &columns,
                    upstream,
                    outputs,
                    line,
                    positions,
                    gradient: &mut gradient,
                });
            }
            gradient
        })
        .collect();
    // In the order of the images, however many threads there are.
    total.par_chunks_mut(of_group).zip(gradients.par_chunks(parts)).for_each(|(total, parts)| {
        total.par_chunks_mut(SUMMED).enumerate().for_each(|(index, total)| {
            for part in parts {
                let part = &part[index * SUMMED..][..total.len()];
                total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
            }
        });
    });
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wide layers are cut into parts of more images than are computed at once.
    #[test]
    fn the_parts_of_wide_layers_have_all_images() {
        let values = |count: usize, step: f32| -> Vec<f32> {
            (0..count).map(|index| (index as f32 * step).sin()).collect()
        };
        for (kernel, padding) in [([1, 1], 0), ([3, 3], 1)] {
            let batch_size = 21;
            let conv = Conv {
                padding: [[padding; 2]; 2],
                ..Conv::new(batch_size, [512, 1024], [3, 3], kernel)
            };
            assert!(4 * 512 * 1024 * kernel[0] * kernel[1] * batch_size > MEMORY);
            let (maps, upstream) =
                (values(batch_size * 512 * 9, 0.37), values(batch_size * 1024 * 9, 0.91));
            let whole = weight_gradient(conv, &maps, &upstream);
            let mut sum = vec![0.0; whole.len()];
            for (maps, upstream) in maps.chunks(512 * 9).zip(upstream.chunks(1024 * 9)) {
                let one = weight_gradient(Conv { batch_size: 1, ..conv }, maps, upstream);
                sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
            }
            let worst = whole.iter().zip(&sum).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{worst}");
        }
    }
}
