//! The correlation of maps with weights: a convolution forward, and backward to its maps.

use std::ops::Range;

use rayon::prelude::*;

use super::Conv;
use super::lines::{Placement, padded, positions};
use super::loops::Correlate;
use super::plan::write;
use crate::Finish;
use crate::simd::arch;

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
    /// From a row of outputs to the next one.
    pub stride: usize,
    /// Where the outputs belong.
    pub read: Placement,
}

/// A job with its weights.
struct Packed<const O: usize> {
    columns: Vec<usize>,
    at_once: usize,
    /// `[group][block of outputs][column][output]`: the order in which they are read, with zeros for outputs
    /// that are not there.
    weight: Vec<[f32; O]>,
    positions: usize,
    line: usize,
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
            jobs: vec![Job { taps: vec![(0, 0)], stride: pixels, read }],
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

    fn run_with<const O: usize>(
        &self,
        maps: &[f32],
        weight: impl Fn(usize, usize, usize, usize) -> f32 + Sync,
        finish: Finish<'_>,
    ) -> Vec<f32> {
        let [of_maps, of_output] = self.pixels();
        let [inputs, outputs] = self.channels;
        let units = self.batch_size * self.groups;
        let mut output = vec![0.0; units * outputs * of_output];
        if output.is_empty() {
            return output;
        }
        let jobs: Vec<Packed<O>> = self.jobs.iter().map(|job| self.pack(job, &weight)).collect();
        let blocks = outputs.div_ceil(O);
        // Threads share images and groups; where these are too few, they share the outputs of one as well.
        let shares = rayon::current_num_threads().div_ceil(units).min(blocks);
        let at_once = blocks.div_ceil(shares);
        let parts =
            output.chunks_exact_mut(outputs * of_output).enumerate().flat_map(|(unit, output)| {
                output.chunks_mut(at_once * O * of_output).enumerate().map(
                    move |(share, output)| {
                        let first = share * at_once;
                        (unit, first..blocks.min(first + at_once), output)
                    },
                )
            });
        let parts: Vec<(usize, Range<usize>, &mut [f32])> = parts.collect();
        let columns: usize = jobs.iter().map(|job| job.columns.len()).sum();
        let least = (WORK / (columns * at_once * O * of_output).max(1)).max(1);
        let lines = if self.placements.is_empty() { 0 } else { inputs * self.line };
        let longest = jobs.iter().map(|job| job.line).max().unwrap_or(0);
        let memory = || (vec![0.0; lines], vec![0.0; at_once * O * longest]);
        parts.into_par_iter().with_min_len(least).for_each_init(
            memory,
            |(lines, sums), (unit, share, output)| {
                let group = unit % self.groups;
                let channel = group * outputs + share.start * O;
                let place = (unit * outputs + share.start * O) * of_output;
                let maps = &maps[unit * inputs * of_maps..][..inputs * of_maps];
                if maps.is_empty() {
                    return finish.apply(output, of_output, channel, place);
                }
                let input = if self.placements.is_empty() {
                    maps
                } else {
                    write(&self.placements, maps, self.sizes[0], lines, self.line);
                    lines
                };
                for (job, packed) in self.jobs.iter().zip(&jobs) {
                    let first = group * blocks + share.start;
                    let columns = packed.columns.len();
                    let weight = &packed.weight[first * columns..][..share.len() * columns];
                    // Whole blocks of outputs are written where they belong, if they lie there as on lines.
                    let length = share.len() * O * packed.line;
                    let is_direct = self.placements.is_empty() && output.len() == length;
                    arch().dispatch(Correlate {
                        input,
                        columns: &packed.columns,
                        at_once: packed.at_once,
                        weight,
                        sums: if is_direct { output } else { &mut sums[..length] },
                        line: packed.line,
                        positions: packed.positions,
                    });
                    if !is_direct {
                        let channels = output.chunks_exact_mut(of_output);
                        for (line, pixels) in sums.chunks_exact(packed.line).zip(channels) {
                            job.read.read(line, self.sizes[1][1], pixels);
                        }
                    }
                }
                finish.apply(output, of_output, channel, place);
            },
        );
        output
    }

    fn pack<const O: usize>(
        &self,
        job: &Job,
        weight: &(impl Fn(usize, usize, usize, usize) -> f32 + Sync),
    ) -> Packed<O> {
        let [inputs, outputs] = self.channels;
        let taps = job.taps.len();
        let channel = |channel: usize| job.taps.iter().map(move |tap| channel * self.line + tap.0);
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
        let positions = positions(job.read.count, job.stride);
        let line = if self.placements.is_empty() { self.line } else { padded(positions) };
        Packed { columns, at_once: INPUTS * taps.max(1), weight: packed, positions, line }
    }
}
