//! How the pixels of a channel lie on a line.
//!
//! At stride 1 and padding `p`, a channel is one line: rows of zeros above, its rows with `p` zeros after each,
//! rows of zeros below. The zeros after a row are the padding to its right, and that to the left of the next
//! one. At a larger stride `s`, pixels whose row and column leave the same remainders by `s` lie on a line of
//! their own, a *phase*, so that each weight still reads pixels that lie side by side.

use super::loops::SLACK;

/// Some pixels of a channel, every `step`-th along both axes, and where they lie on a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placement {
    /// Row and column of the first one.
    pub first: [usize; 2],
    pub step: usize,
    /// Rows and columns of them.
    pub count: [usize; 2],
    /// Where the first one lies.
    pub at: usize,
    /// From a row to the next one, on the line.
    pub stride: usize,
}

impl Placement {
    /// All pixels of a channel.
    pub(super) fn all(size: [usize; 2], at: usize, stride: usize) -> Self {
        Self { first: [0; 2], step: 1, count: size, at, stride }
    }

    fn rows(self) -> usize {
        if self.count[1] == 0 { 0 } else { self.count[0] }
    }

    /// Copies pixels to their line.
    pub(super) fn write(self, pixels: &[f32], width: usize, line: &mut [f32]) {
        for row in 0..self.rows() {
            let place = &mut line[self.at + row * self.stride..][..self.count[1]];
            let pixels = &pixels[(self.first[0] + row * self.step) * width + self.first[1]..];
            match self.step {
                1 => place.copy_from_slice(&pixels[..self.count[1]]),
                step => {
                    place.iter_mut().zip(pixels.iter().step_by(step)).for_each(|(to, &x)| *to = x);
                }
            }
        }
    }

    /// Copies pixels from their line.
    pub(super) fn read(self, line: &[f32], width: usize, pixels: &mut [f32]) {
        for row in 0..self.rows() {
            let place = &line[self.at + row * self.stride..][..self.count[1]];
            let pixels = &mut pixels[(self.first[0] + row * self.step) * width + self.first[1]..];
            match self.step {
                1 => pixels[..self.count[1]].copy_from_slice(place),
                step => {
                    pixels.iter_mut().step_by(step).zip(place).for_each(|(to, &x)| *to = x);
                }
            }
        }
    }
}

/// From the first position of an output to behind its last one.
pub(super) fn positions([rows, columns]: [usize; 2], stride: usize) -> usize {
    if rows * columns == 0 { 0 } else { (rows - 1) * stride + columns }
}

/// Length of a line on which vectors may begin at any position: an odd number of cache lines, so that channels
/// do not fall on the same places of a cache.
pub(super) fn padded(length: usize) -> usize {
    ((length + SLACK).div_ceil(16) | 1) * 16
}

/// Along one axis, the pixels of one remainder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Phase {
    /// Zeros of the padding before the first pixel.
    pub lead: usize,
    /// The first pixel.
    pub first: usize,
    /// Number of pixels.
    pub count: usize,
    /// Number of places that are read.
    pub needed: usize,
}

/// The phases of an axis of `size` pixels for `outputs` outputs.
pub(super) fn phases(
    size: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Vec<Phase> {
    let phase = |remainder: usize| {
        let lead = padding.saturating_sub(remainder).div_ceil(stride);
        let first = lead * stride + remainder - padding;
        let shifts = (kernel - 1 - remainder) / stride;
        let needed = outputs + shifts;
        // Pixels behind the last one that is read need no place.
        let count = size.saturating_sub(first).div_ceil(stride).min(needed.saturating_sub(lead));
        Phase { lead, first, count, needed }
    };
    (0..stride.min(kernel)).map(phase).collect()
}

/// From a row to the next one on lines of these phases: what follows the pixels of a row are the zeros before
/// those of the next.
pub(super) fn row_stride(phases: &[Phase], outputs: usize) -> usize {
    let needed = |phase: &Phase| {
        let behind = phase.needed.saturating_sub(phase.lead + phase.count);
        phase.count + phase.lead.max(behind)
    };
    phases.iter().map(needed).fold(outputs, usize::max)
}
