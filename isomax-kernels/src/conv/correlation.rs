//! The correlation of maps with weights: a convolution forward, and backward to its maps.

use std::ops::Range;

use rayon::prelude::*;

use super::Conv;
use super::lines::{Placement, Sharing, Vectors, images_on_a_line, padded};
use super::loops::Correlate;
use super::plan::write;
use crate::Finish;
use crate::simd::{arch, lanes};

/// Channels after which sums are put down.
const INPUTS: usize = 48;
/// Outputs that are computed at once, where there are so many.
const OUTPUTS: usize = 4;
/// Operations that are worth a thread's while.
const WORK: usize = 16_384;

/// Which outputs are made of what.
pub(super) struct Correlation {
    pub batch_size: usize,
    pub groups: usize,
    /// Channels of a group that are read and written.
    pub channels: [usize; 2],
    /// Sizes of what is read and written.
    pub sizes: [[usize; 2]; 2],
    /// Length of the lines of a channel.
    pub line: usize,
    /// How a channel lies on its lines; none where it is its own line.
    pub placements: Vec<Placement>,
    pub jobs: Vec<Job>,
}

/// One set of outputs: all of them, or those of one phase.
pub(super) struct Job {
    /// Where each tap reads, on the lines of a channel, and which one it is.
    pub taps: Vec<(usize, usize)>,
    /// Where the outputs belong, and from a row of them to the next one on the lines.
    pub read: Placement,
}

impl Job {
    fn vectors(&self, images: usize, lanes: usize) -> Vectors {
        Vectors::new(self.read.count, self.read.stride, images, lanes)
    }
}

/// A job with its weights.
struct Packed<const O: usize> {
    columns: Vec<usize>,
    at_once: usize,
    /// `[group][block of outputs][column][output]`: the order in which they are read, with zeros for outputs
    /// that are not there.
    weight: Vec<[f32; O]>,
    /// Where each vector begins.
    starts: Vec<usize>,
    /// Length of the vectors of an output, and where it belongs.
    line: usize,
    read: Placement,
}

impl Correlation {
    /// A convolution of 1 × 1, which needs no lines but the maps themselves.
    pub(super) fn pointwise(conv: &Conv, channels: [usize; 2]) -> Self {
        let pixels = conv.size[0] * conv.size[1];
        let read = Placement::all([1, pixels], 0, pixels);
        Self {
            batch_size: conv.batch_size,
            groups: conv.groups,
            channels,
            sizes: [conv.size; 2],
            line: pixels,
            placements: Vec::new(),
            jobs: vec![Job { taps: vec![(0, 0)], read }],
        }
    }

    fn pixels(&self) -> [usize; 2] {
        self.sizes.map(|[height, width]| height * width)
    }

    /// Correlates; `weight` is that of a group, an output, a channel and a tap.
    pub(super) fn run(
        &self,
        maps: &[f32],
        weight: impl Fn(usize, usize, usize, usize) -> f32 + Sync,
        finish: Finish<'_>,
    ) -> Vec<f32> {
        match self.channels[1] {
            0..3 => self.run_with::<1>(maps, weight, finish),
            _ => self.run_with::<OUTPUTS>(maps, weight, finish),
        }
    }

    /// How many images share lines. With few images, or with groups, each has lines of its own.
    fn images_on_a_line(&self, lanes: usize) -> usize {
        let is_shared = self.groups == 1 && !self.placements.is_empty();
        let most = if is_shared { self.batch_size / rayon::current_num_threads() } else { 1 };
        images_on_a_line(self.batch_size, most, |images| {
            let of_job = |job: &Job| job.taps.len() * job.vectors(images, lanes).starts.len();
            self.jobs.iter().map(of_job).sum()
        })
    }

    fn run_with<const O: usize>(
        &self,
        maps: &[f32],
        weight: impl Fn(usize, usize, usize, usize) -> f32 + Sync,
        finish: Finish<'_>,
    ) -> Vec<f32> {
        let [of_maps, of_output] = self.pixels();
        let [inputs, outputs] = self.channels;
        let mut output = vec![0.0; self.batch_size * self.groups * outputs * of_output];
        if output.is_empty() {
            return output;
        }
        let lanes = lanes();
        let images = self.images_on_a_line(lanes);
        let line = match images {
            1 => self.line,
            images => padded(self.line * images),
        };
        let jobs: Vec<Packed<O>> =
            self.jobs.iter().map(|job| self.pack(job, &weight, images, line, lanes)).collect();
        let blocks = outputs.div_ceil(O);
        let units = self.batch_size.div_ceil(images) * self.groups;
        // Threads share images and groups; where these are too few, they share the outputs of one as well.
        let shares = rayon::current_num_threads().div_ceil(units).min(blocks);
        let at_once = blocks.div_ceil(shares);
        // Images that share lines leave units for all threads, so that theirs have a single share.
        let share = images * at_once * O * of_output;
        let parts = output.chunks_mut(images * outputs * of_output).enumerate().flat_map(
            |(unit, output)| {
                output.chunks_mut(share).enumerate().map(move |(share, output)| {
                    let first = share * at_once;
                    (unit, first..blocks.min(first + at_once), output)
                })
            },
        );
        let parts: Vec<(usize, Range<usize>, &mut [f32])> = parts.collect();
        let columns: usize = jobs.iter().map(|job| job.columns.len()).sum();
        let least = (WORK / (columns * at_once * O * of_output * images).max(1)).max(1);
        let lines = if self.placements.is_empty() { 0 } else { inputs * line };
        let longest = jobs.iter().map(|job| job.line).max().unwrap_or(0);
        let memory = || (vec![0.0; lines], vec![0.0; at_once * O * longest]);
        parts.into_par_iter().with_min_len(least).for_each_init(
            memory,
            |(lines, sums), (unit, share, output)| {
                let group = unit % self.groups;
                let channel = group * outputs + share.start * O;
                let of_image = output.len().min(outputs * of_output);
                let place = |image: usize| {
                    ((unit * images + image) * outputs + share.start * O) * of_output
                };
                let mut maps =
                    maps[unit * images * inputs * of_maps..].chunks((inputs * of_maps).max(1));
                let input = if self.placements.is_empty() {
                    maps.next().unwrap_or_default()
                } else {
                    for (index, maps) in maps.take(images).enumerate() {
                        let sharing = Sharing { index, images };
                        write(&self.placements, maps, self.sizes[0], lines, line, sharing);
                    }
                    lines
                };
                for packed in &jobs {
                    let first = group * blocks + share.start;
                    let columns = packed.columns.len();
                    let weight = &packed.weight[first * columns..][..share.len() * columns];
                    // Whole blocks of outputs are written where they belong, if their vectors are their pixels.
                    let length = share.len() * O * packed.line;
                    let is_direct = images == 1
                        && packed.read.step == 1
                        && packed.line == of_output
                        && output.len() == length;
                    arch().dispatch(Correlate {
                        input,
                        columns: &packed.columns,
                        at_once: packed.at_once,
                        weight,
                        starts: &packed.starts,
                        sums: if is_direct { output } else { &mut sums[..length] },
                        line: packed.line,
                    });
                    if is_direct || length == 0 {
                        continue;
                    }
                    for (index, output) in output.chunks_mut(of_image).enumerate() {
                        let channels = output.chunks_mut(of_output);
                        for (sums, pixels) in sums.chunks(packed.line).zip(channels) {
                            let sharing = Sharing { index, images };
                            packed.read.read(sums, self.sizes[1][1], pixels, sharing);
                        }
                    }
                }
                for (image, output) in output.chunks_mut(of_image).enumerate() {
                    finish.apply(output, of_output, channel, place(image));
                }
            },
        );
        output
    }

    fn pack<const O: usize>(
        &self,
        job: &Job,
        weight: &(impl Fn(usize, usize, usize, usize) -> f32 + Sync),
        images: usize,
        line: usize,
        lanes: usize,
    ) -> Packed<O> {
        let [inputs, outputs] = self.channels;
        let taps = job.taps.len();
        let channel =
            |channel: usize| job.taps.iter().map(move |tap| channel * line + tap.0 * images);
        let columns: Vec<usize> = (0..inputs).flat_map(channel).collect();
        let blocks = outputs.div_ceil(O);
        let mut packed = vec![[0.0; O]; self.groups * blocks * columns.len()];
        if !packed.is_empty() {
            let least = (WORK / (O * columns.len())).max(1);
            let of_block = |(index, packed): (usize, &mut [[f32; O]])| {
                let (group, block) = (index / blocks, index % blocks);
                for (column, packed) in packed.iter_mut().enumerate() {
                    let (channel, tap) = (column / taps, job.taps[column % taps].1);
                    for (output, packed) in packed.iter_mut().enumerate() {
                        let output = block * O + output;
                        if output < outputs {
                            *packed = weight(group, output, channel, tap);
                        }
                    }
                }
            };
            let chunks = packed.par_chunks_exact_mut(columns.len());
            chunks.enumerate().with_min_len(least).for_each(of_block);
        }
        let Vectors { starts, stride } = job.vectors(images, lanes);
        let line = starts.len() * lanes;
        let read = Placement { stride, ..job.read };
        Packed {
            columns,
            at_once: INPUTS / images * taps.max(1),
            weight: packed,
            starts,
            line,
            read,
        }
    }
}
