use rayon::prelude::*;

use super::Conv;
use super::lines::{Placement, padded, positions};
use super::loops::WeightGradient;
use super::plan::Plan;
use crate::simd::arch;

/// Bytes that a core has near.
const CACHE: usize = 512 * 1024;
/// Parts into which a batch is cut at least, if it has so many images.
const PARTS: usize = 8;

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
    let part = |input: &[f32], upstream: &[f32], [channel, line]: [usize; 2]| {
        let mut gradient = vec![0.0; of_group];
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
        gradient
    };
    // So many images at once as fit the second-level cache, but enough parts for the threads.
    let bytes = 4 * (inputs * plan.channel + outputs * line);
    let images = (CACHE / bytes).clamp(1, conv.batch_size.div_ceil(PARTS));
    let parts = conv.batch_size.div_ceil(images);
    // What lies between pixels stays zero, however often this is used.
    let memory = || match is_direct {
        true => (Vec::new(), Vec::new()),
        false => (vec![0.0; images * inputs * plan.channel], vec![0.0; images * outputs * line]),
    };
    let [maps_length, upstream_length] = [inputs * in_pixels, outputs * out_pixels];
    let gradients: Vec<Vec<f32>> = (0..conv.groups * parts)
        .into_par_iter()
        .map_init(memory, |(lines, upstreams), index| {
            let (group, first) = (index / parts, index % parts * images);
            let count = images.min(conv.batch_size - first);
            if is_direct {
                let maps = &maps[first * maps_length..][..count * maps_length];
                let upstream = &upstream[first * upstream_length..][..count * upstream_length];
                return part(maps, upstream, [in_pixels; 2]);
            }
            let of_image = lines.chunks_exact_mut(inputs * plan.channel);
            for (image, (lines, upstreams)) in
                of_image.zip(upstreams.chunks_exact_mut(outputs * line)).take(count).enumerate()
            {
                let unit = (first + image) * conv.groups + group;
                plan.write(&maps[unit * maps_length..][..maps_length], conv.size, lines);
                let upstream = &upstream[unit * upstream_length..][..upstream_length];
                let channels = upstream.chunks_exact(out_pixels);
                for (pixels, line) in channels.zip(upstreams.chunks_exact_mut(line)) {
                    placement.write(pixels, plan.output[1], line);
                }
            }
            part(
                &lines[..count * inputs * plan.channel],
                &upstreams[..count * outputs * line],
                [plan.channel, line],
            )
        })
        .collect();
    // In the order of the images, however many threads there are.
    for (index, gradient) in gradients.into_iter().enumerate() {
        let total = &mut total[index / parts * of_group..][..of_group];
        total.iter_mut().zip(gradient).for_each(|(total, part)| *total += part);
    }
    total
}
