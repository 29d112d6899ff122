//! How the maps of a convolution lie on lines, and what each weight reads of them.

use super::Conv;
use super::lines::{Phase, Placement, Sharing, padded, phases, row_stride};

/// The lines of one channel.
pub(super) struct Plan {
    /// Length of all lines of a channel.
    pub channel: usize,
    pub placements: Vec<Placement>,
    /// Where the reading of each tap begins, within a channel.
    pub taps: Vec<usize>,
    /// From a row of outputs to the next one.
    pub stride: usize,
    pub output: [usize; 2],
}

impl Plan {
    pub(super) fn new(conv: &Conv) -> Self {
        let output = conv.output_size();
        let along = |axis: usize| {
            phases(
                conv.size[axis],
                output[axis],
                conv.kernel[axis],
                conv.stride,
                conv.padding[axis][0],
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

    /// What each weight of a kernel over some channels reads, on lines of a length that so many images share.
    pub(super) fn columns(&self, channels: usize, line: usize, images: usize) -> Vec<usize> {
        let channel =
            |channel: usize| self.taps.iter().map(move |tap| channel * line + tap * images);
        (0..channels).flat_map(channel).collect()
    }
}

/// Writes channels of a size to lines.
pub(super) fn write(
    placements: &[Placement],
    maps: &[f32],
    [height, width]: [usize; 2],
    lines: &mut [f32],
    line: usize,
    sharing: Sharing,
) {
    let channels = maps.chunks_exact(height * width);
    for (pixels, line) in channels.zip(lines.chunks_exact_mut(line)) {
        placements.iter().for_each(|placement| placement.write(pixels, width, line, sharing));
    }
}
