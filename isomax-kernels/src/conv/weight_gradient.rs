use rayon::prelude::*;

use super::Conv;
use super::lines::{Placement, Sharing, images_on_a_line, padded, positions};
use super::loops::WeightGradient;
use super::plan::{Plan, write};
use crate::simd::{arch, lanes};

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
    let of_group = outputs * inputs * conv.taps();
    let mut total = vec![0.0; conv.groups * of_group];
    if total.is_empty() || maps.is_empty() {
        return total;
    }
    // Maps are lines as they are, unless groups lie between those of one image and the next.
    let is_direct = conv.is_pointwise() && conv.groups == 1;
    // So many images at once as fit the second-level cache.
    let bytes = 4 * (inputs * plan.channel + outputs * out_pixels);
    let at_once = (CACHE / bytes).clamp(1, conv.batch_size.div_ceil(PARTS));
    // Across the ends of rows, where gradients of outputs have zeros: more work than row by row, but one loop.
    let positions = match is_direct {
        true => out_pixels,
        false => positions(plan.output, plan.stride),
    };
    let lanes = lanes();
    let most = if is_direct || conv.groups > 1 { 1 } else { at_once };
    let images = images_on_a_line(at_once, most, |images| (positions * images).div_ceil(lanes));
    let positions = positions * images;
    let channel = match images {
        _ if is_direct => in_pixels,
        1 => plan.channel,
        images => padded(plan.channel * images),
    };
    let line = if is_direct { out_pixels } else { padded(positions) };
    let columns = if is_direct {
        (0..inputs).map(|input| input * channel).collect()
    } else {
        plan.columns(inputs, channel, images)
    };
    let placement = Placement::all(plan.output, 0, plan.stride);
    // Each part has a gradient of its own, so that wide layers are cut into few.
    let most = (MEMORY / (4 * total.len())).max(PARTS);
    let of_part = at_once.max(conv.batch_size.div_ceil(most));
    let parts = conv.batch_size.div_ceil(of_part);
    // What lies between pixels stays zero, however often this is used.
    let memory = || {
        let lines = if is_direct { 0 } else { at_once.div_ceil(images) };
        (vec![0.0; lines * inputs * channel], vec![0.0; lines * outputs * line])
    };
    let [maps_length, upstream_length] = [inputs * in_pixels, outputs * out_pixels];
    let gradients: Vec<Vec<f32>> = (0..conv.groups * parts)
        .into_par_iter()
        .map_init(memory, |(lines, upstreams), index| {
            let (group, first) = (index / parts, index % parts * of_part);
            let end = conv.batch_size.min(first + of_part);
            let mut gradient = vec![0.0; of_group];
            for first in (first..end).step_by(at_once) {
                let end = end.min(first + at_once);
                let count = end - first;
                let (input, upstream) = if is_direct {
                    let maps = &maps[first * maps_length..][..count * maps_length];
                    (maps, &upstream[first * upstream_length..][..count * upstream_length])
                } else {
                    let used = count.div_ceil(images);
                    let lines = &mut lines[..used * inputs * channel];
                    let upstreams = &mut upstreams[..used * outputs * line];
                    if !count.is_multiple_of(images) {
                        // Of images that were there before.
                        upstreams[(used - 1) * outputs * line..].fill(0.0);
                    }
                    let of_lines = lines.chunks_exact_mut(inputs * channel);
                    let of_lines = of_lines.zip(upstreams.chunks_exact_mut(outputs * line));
                    for (first, (lines, upstreams)) in (first..).step_by(images).zip(of_lines) {
                        for index in 0..images.min(end - first) {
                            let sharing = Sharing { index, images };
                            let unit = (first + index) * conv.groups + group;
                            let maps = &maps[unit * maps_length..][..maps_length];
                            write(&plan.placements, maps, conv.size, lines, channel, sharing);
                            let upstream = &upstream[unit * upstream_length..][..upstream_length];
                            write(&[placement], upstream, plan.output, upstreams, line, sharing);
                        }
                    }
                    (&*lines, &*upstreams)
                };
                arch().dispatch(WeightGradient {
                    input,
                    input_image: inputs * channel,
                    columns: &columns,
                    positions,
                    upstream,
                    outputs,
                    line,
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
