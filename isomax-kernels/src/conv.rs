//! Convolutions: forward, and the gradients of maps and of weights.
//!
//! ```
//! use isomax_kernels::conv::{Conv, forward};
//!
//! let conv = Conv {
//!     batch_size: 1,
//!     channels: [1, 1],
//!     size: [2, 2],
//!     kernel: [3, 3],
//!     stride: 1,
//!     padding: [1, 1],
//! };
//! let sums = forward(conv, &[1.0, 2.0, 3.0, 4.0], &[1.0; 9]);
//! assert_eq!(sums, [10.0; 4]);
//! ```

use pulp::Arch;
use rayon::prelude::*;

use crate::backwards::Backwards;
use crate::correlate::{Correlate, OUTPUTS, WeightGradient};
use crate::lines::{Phase, Placement, padded, phases, positions, row_stride};

/// Input channels after which sums are put down.
const INPUTS: usize = 48;
/// Bytes that a core has near.
const CACHE: usize = 512 * 1024;
/// Parts into which a batch is cut at least for the gradient of weights, if it has so many images.
const PARTS: usize = 8;

/// Pixels by which a channel must be divisible to be read and written in whole vectors, whatever their width.
const WHOLE: usize = 16;

/// The sizes of a convolution without dilation and groups. Arrays of two are height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Number of images.
    pub batch_size: usize,
    /// Number of channels in and out.
    pub channels: [usize; 2],
    /// Size of the maps.
    pub size: [usize; 2],
    /// Size of the kernel, at least 1.
    pub kernel: [usize; 2],
    /// Distance between the places of the kernel, at least 1.
    pub stride: usize,
    /// Zeros around the maps, fewer than the size of the kernel.
    pub padding: [usize; 2],
}

impl Conv {
    /// Size of the output.
    ///
    /// # Panics
    ///
    /// If kernel or stride are zero, the padding is as large as the kernel, or the maps are smaller than it.
    pub fn output_size(&self) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let (kernel, padding) = (self.kernel[axis], self.padding[axis]);
            let padded = self.size[axis] + 2 * padding;
            assert!(
                self.stride > 0 && kernel > padding && kernel <= padded,
                "{self:?} is no convolution: expected a stride and kernels of at least 1, less padding than \
                 the kernel, and a kernel that fits the padded maps"
            );
            (padded - kernel) / self.stride + 1
        })
    }

    /// Whether each output pixel is made of one pixel, and maps are lines as they are.
    fn is_pointwise(&self) -> bool {
        let pixels = self.size[0] * self.size[1];
        self.kernel == [1, 1] && self.stride == 1 && pixels.is_multiple_of(WHOLE)
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    #[track_caller]
    fn check(&self, what: &str, values: &[f32], expected: usize) {
        assert!(
            values.len() == expected,
            "{what} of {} values do not fit {self:?}, which takes {expected}",
            values.len()
        );
    }

    #[track_caller]
    fn check_maps(&self, maps: &[f32]) {
        self.check("Maps", maps, self.batch_size * self.channels[0] * self.size[0] * self.size[1]);
    }

    #[track_caller]
    fn check_output(&self, upstream: &[f32]) {
        let [height, width] = self.output_size();
        let expected = self.batch_size * self.channels[1] * height * width;
        self.check("Gradients", upstream, expected);
    }

    #[track_caller]
    fn check_weight(&self, weight: &[f32]) {
        self.check("Weights", weight, self.channels[0] * self.channels[1] * self.taps());
    }
}

/// How the maps of a convolution lie on lines, and what each weight reads of them.
struct Plan {
    /// Length of all lines of a channel.
    channel: usize,
    placements: Vec<Placement>,
    /// Where the reading of each tap begins, within a channel.
    taps: Vec<usize>,
    /// From a row of outputs to the next one.
    stride: usize,
    output: [usize; 2],
}

impl Plan {
    fn new(conv: &Conv) -> Self {
        let output = conv.output_size();
        let along = |axis: usize| {
            phases(
                conv.size[axis],
                output[axis],
                conv.kernel[axis],
                conv.stride,
                conv.padding[axis],
            )
        };
        let (rows, columns) = (along(0), along(1));
        let stride = row_stride(&columns, output[1]);
        let lines = |row: &Phase| row.needed.max(row.lead + row.count);
        let length = rows.iter().map(lines).max().unwrap_or(0) * stride;
        let line = padded(length + columns.iter().map(|c| c.lead).max().unwrap_or(0));
        let start = |row: usize, column: usize| (row * columns.len() + column) * line;
        let mut placements = Vec::new();
        for (y, row) in rows.iter().enumerate() {
            for (x, column) in columns.iter().enumerate() {
                placements.push(Placement {
                    first: [row.first, column.first],
                    step: conv.stride,
                    count: [row.count, column.count],
                    at: start(y, x) + row.lead * stride + column.lead,
                    stride,
                });
            }
        }
        let tap = |tap: usize| {
            let [y, x] = [tap / conv.kernel[1], tap % conv.kernel[1]];
            let shift = y / conv.stride * stride + x / conv.stride;
            start(y % conv.stride, x % conv.stride) + shift
        };
        let taps = (0..conv.taps()).map(tap).collect();
        let channel = rows.len() * columns.len() * line;
        Self { channel, placements, taps, stride, output }
    }

    /// What each weight of a kernel over all channels reads.
    fn columns(&self, channels: usize) -> Vec<usize> {
        let channel =
            |channel: usize| self.taps.iter().map(move |tap| channel * self.channel + tap);
        (0..channels).flat_map(channel).collect()
    }

    fn write(&self, maps: &[f32], [height, width]: [usize; 2], lines: &mut [f32]) {
        let channels = maps.chunks_exact(height * width);
        for (pixels, line) in channels.zip(lines.chunks_exact_mut(self.channel)) {
            self.placements.iter().for_each(|placement| placement.write(pixels, width, line));
        }
    }
}

/// Convolves maps.
///
/// # Shapes
///
/// - maps: `[batch_size, channels_in, height, width]`
/// - weight: `[channels_out, channels_in, kernel_height, kernel_width]`
/// - output: `[batch_size, channels_out, …]`, of the [size](Conv::output_size) of the output
///
/// # Panics
///
/// If the slices do not have the sizes of the convolution, or as [`Conv::output_size`].
pub fn forward(conv: Conv, maps: &[f32], weight: &[f32]) -> Vec<f32> {
    conv.check_maps(maps);
    conv.check_weight(weight);
    let plan = Plan::new(&conv);
    let [channels_in, channels_out] = conv.channels;
    if conv.is_pointwise() {
        let weight =
            pack(channels_out, channels_in, |out, input| weight[out * channels_in + input]);
        return pointwise(conv.batch_size, conv.channels, conv.size, maps, &weight);
    }
    let columns = plan.columns(channels_in);
    let job = Job {
        weight: pack(channels_out, columns.len(), |out, column| {
            weight[out * columns.len() + column]
        }),
        columns,
        at_once: INPUTS * conv.taps(),
        stride: plan.stride,
        read: Placement::all(plan.output, 0, plan.stride),
    };
    convolve(
        conv.batch_size,
        [channels_in * conv.size[0] * conv.size[1], channels_in * plan.channel],
        maps,
        |maps, lines| plan.write(maps, conv.size, lines),
        &[job],
        channels_out,
        plan.output,
    )
}

/// The gradient of the maps, from that of the output.
///
/// # Shapes
///
/// - upstream: `[batch_size, channels_out, …]`, of the [size](Conv::output_size) of the output
/// - weight: `[channels_out, channels_in, kernel_height, kernel_width]`
/// - output: `[batch_size, channels_in, height, width]`
///
/// # Panics
///
/// If the slices do not have the sizes of the convolution, or as [`Conv::output_size`].
pub fn maps_gradient(conv: Conv, upstream: &[f32], weight: &[f32]) -> Vec<f32> {
    conv.check_output(upstream);
    conv.check_weight(weight);
    let size = conv.output_size();
    if conv.is_pointwise() {
        let [channels_in, channels_out] = conv.channels;
        let weight =
            pack(channels_in, channels_out, |out, input| weight[input * channels_in + out]);
        return pointwise(conv.batch_size, [channels_out, channels_in], size, upstream, &weight);
    }
    let axes = [0, 1].map(|axis| Backwards::new(&conv, axis, size[axis]));
    let [rows, columns] = &axes;
    let stride = size[1] + columns.before.max(columns.behind);
    let line = padded((rows.before + size[0] + rows.behind + 1) * stride);
    let placement = Placement::all(size, rows.before * stride + columns.before, stride);
    let [channels_in, channels_out] = conv.channels;
    let mut jobs = Vec::new();
    for row in &rows.phases {
        for column in &columns.phases {
            // Pairs of where a tap reads, and which one it is.
            let taps: Vec<(usize, usize)> =
                row.taps
                    .iter()
                    .flat_map(|&(y, tap_y)| {
                        column.taps.iter().map(move |&(x, tap_x)| {
                            (y * stride + x, tap_y * conv.kernel[1] + tap_x)
                        })
                    })
                    .collect();
            let weight = pack(channels_in, channels_out * taps.len(), |out, column| {
                let (channel, tap) = (column / taps.len().max(1), column % taps.len().max(1));
                weight[(channel * channels_in + out) * conv.taps() + taps[tap].1]
            });
            let channel = |channel: usize| taps.iter().map(move |tap| channel * line + tap.0);
            jobs.push(Job {
                weight,
                columns: (0..channels_out).flat_map(channel).collect(),
                at_once: INPUTS * taps.len().max(1),
                stride,
                read: Placement {
                    first: [row.first, column.first],
                    step: conv.stride,
                    count: [row.count, column.count],
                    at: 0,
                    stride,
                },
            });
        }
    }
    let pixels = size[0] * size[1];
    convolve(
        conv.batch_size,
        [channels_out * pixels, channels_out * line],
        upstream,
        |upstream, lines| {
            let channels = upstream.chunks_exact(pixels).zip(lines.chunks_exact_mut(line));
            channels.for_each(|(pixels, line)| placement.write(pixels, size[1], line));
        },
        &jobs,
        channels_in,
        conv.size,
    )
}

/// One set of outputs of an image: all of them, or those of one phase.
struct Job {
    columns: Vec<usize>,
    weight: Vec<[f32; OUTPUTS]>,
    at_once: usize,
    /// From a row of outputs to the next one.
    stride: usize,
    /// Where the outputs belong.
    read: Placement,
}

/// Weights in the order in which they are read: `[block of outputs][column][output]`, with zeros for outputs
/// that are not there.
fn pack(
    outputs: usize,
    columns: usize,
    weight: impl Fn(usize, usize) -> f32,
) -> Vec<[f32; OUTPUTS]> {
    let of_block = |block: usize| {
        let weight = &weight;
        (0..columns).map(move |column| {
            std::array::from_fn(|output| match block * OUTPUTS + output {
                output if output < outputs => weight(output, column),
                _ => 0.0,
            })
        })
    };
    (0..outputs.div_ceil(OUTPUTS)).flat_map(of_block).collect()
}

/// Runs the jobs on every image; `lengths` are those of an image in the maps and on lines.
fn convolve(
    batch_size: usize,
    lengths: [usize; 2],
    maps: &[f32],
    write: impl Fn(&[f32], &mut [f32]) + Sync,
    jobs: &[Job],
    channels_out: usize,
    size: [usize; 2],
) -> Vec<f32> {
    let pixels = size[0] * size[1];
    let mut output = vec![0.0; batch_size * channels_out * pixels];
    if output.is_empty() || maps.is_empty() {
        return output;
    }
    let line = |job: &Job| padded(positions(job.read.count, job.stride));
    let longest = jobs.iter().map(line).max().unwrap_or(0);
    let blocks = channels_out.div_ceil(OUTPUTS);
    let memory = || (vec![0.0; lengths[1]], vec![0.0; blocks * OUTPUTS * longest]);
    output
        .par_chunks_exact_mut(channels_out * pixels)
        .zip(maps.par_chunks_exact(lengths[0]))
        .for_each_init(memory, |(lines, sums), (output, maps)| {
            write(maps, lines);
            for job in jobs {
                let line = line(job);
                let sums = &mut sums[..blocks * OUTPUTS * line];
                Arch::new().dispatch(Correlate {
                    input: lines,
                    columns: &job.columns,
                    at_once: job.at_once,
                    weight: &job.weight,
                    sums,
                    line,
                    positions: positions(job.read.count, job.stride),
                });
                for (line, pixels) in sums.chunks_exact(line).zip(output.chunks_exact_mut(pixels)) {
                    job.read.read(line, size[1], pixels);
                }
            }
        });
    output
}

/// A convolution of 1 × 1, which needs no lines but the maps themselves.
fn pointwise(
    batch_size: usize,
    [channels_in, channels_out]: [usize; 2],
    [height, width]: [usize; 2],
    maps: &[f32],
    weight: &[[f32; OUTPUTS]],
) -> Vec<f32> {
    let pixels = height * width;
    let mut output = vec![0.0; batch_size * channels_out * pixels];
    if output.is_empty() || maps.is_empty() {
        return output;
    }
    let columns: Vec<usize> = (0..channels_in).map(|channel| channel * pixels).collect();
    // Whole blocks of outputs are written where they belong.
    let blocks = channels_out.div_ceil(OUTPUTS) * OUTPUTS;
    let spare = if blocks == channels_out { 0 } else { blocks * pixels };
    output
        .par_chunks_exact_mut(channels_out * pixels)
        .zip(maps.par_chunks_exact(channels_in * pixels))
        .for_each_init(
            || vec![0.0; spare],
            |sums, (output, input)| {
                Arch::new().dispatch(Correlate {
                    input,
                    columns: &columns,
                    at_once: INPUTS,
                    weight,
                    sums: if spare == 0 { output } else { sums },
                    line: pixels,
                    positions: pixels,
                });
                if spare > 0 {
                    output.copy_from_slice(&sums[..output.len()]);
                }
            },
        );
    output
}

/// The gradient of the weights, from that of the output.
///
/// # Shapes
///
/// - maps: `[batch_size, channels_in, height, width]`
/// - upstream: `[batch_size, channels_out, …]`, of the [size](Conv::output_size) of the output
/// - output: `[channels_out, channels_in, kernel_height, kernel_width]`
///
/// # Panics
///
/// If the slices do not have the sizes of the convolution, or as [`Conv::output_size`].
pub fn weight_gradient(conv: Conv, maps: &[f32], upstream: &[f32]) -> Vec<f32> {
    conv.check_maps(maps);
    conv.check_output(upstream);
    let plan = Plan::new(&conv);
    let [channels_in, channels_out] = conv.channels;
    let columns = if conv.is_pointwise() {
        (0..channels_in).map(|channel| channel * conv.size[0] * conv.size[1]).collect()
    } else {
        plan.columns(channels_in)
    };
    let positions = positions(plan.output, plan.stride);
    let line = padded(positions);
    let placement = Placement::all(plan.output, 0, plan.stride);
    let [in_pixels, out_pixels] = [conv.size, plan.output].map(|size| size[0] * size[1]);
    let mut total = vec![0.0; channels_out * columns.len()];
    if total.is_empty() || maps.is_empty() {
        return total;
    }
    let part = |input: &[f32], upstream: &[f32], [channel, line]: [usize; 2]| {
        let mut gradient = vec![0.0; channels_out * columns.len()];
        Arch::new().dispatch(WeightGradient {
            input,
            input_image: channels_in * channel,
            columns: &columns,
            upstream,
            outputs: channels_out,
            line,
            positions,
            gradient: &mut gradient,
        });
        gradient
    };
    // So many images at once as fit the second-level cache, but enough parts for the threads.
    let bytes = 4 * (channels_in * plan.channel + channels_out * line);
    let images = (CACHE / bytes).clamp(1, conv.batch_size.div_ceil(PARTS));
    let parts = maps
        .par_chunks(images * channels_in * in_pixels)
        .zip(upstream.par_chunks(images * channels_out * out_pixels));
    let parts: Vec<Vec<f32>> = if conv.is_pointwise() {
        parts.map(|(maps, upstream)| part(maps, upstream, [in_pixels; 2])).collect()
    } else {
        parts
            .map_init(
                // What lies between pixels stays zero, however often this is used.
                || {
                    (
                        vec![0.0; images * channels_in * plan.channel],
                        vec![0.0; images * channels_out * line],
                    )
                },
                |(lines, upstreams), (maps, upstream)| {
                    let images = maps.len() / (channels_in * in_pixels);
                    plan.write(maps, conv.size, lines);
                    let channels = upstream.chunks_exact(out_pixels);
                    for (pixels, line) in channels.zip(upstreams.chunks_exact_mut(line)) {
                        placement.write(pixels, plan.output[1], line);
                    }
                    part(
                        &lines[..images * channels_in * plan.channel],
                        &upstreams[..images * channels_out * line],
                        [plan.channel, line],
                    )
                },
            )
            .collect()
    };
    // In the order of the images, however many threads there are.
    for part in parts {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}
