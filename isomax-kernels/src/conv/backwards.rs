//! Which outputs of a convolution its maps have gone into, for the gradient of the maps.

use super::Conv;

/// Along one axis, which outputs each pixel has gone into.
pub(super) struct Backwards {
    /// Zeros before and behind the gradients.
    pub before: usize,
    pub behind: usize,
    pub phases: Vec<BackwardsPhase>,
}

/// The pixels of one remainder.
pub(super) struct BackwardsPhase {
    pub first: usize,
    pub count: usize,
    /// Where each tap reads, and which one it is.
    pub taps: Vec<(usize, usize)>,
}

impl Backwards {
    /// A pixel at `y` lies under tap `t` of output `q - j`, where `y + padding = stride · q + r` and
    /// `t = r + stride · j`.
    pub(super) fn new(conv: &Conv, axis: usize, outputs: usize) -> Self {
        let (kernel, stride, padding) = (conv.kernel[axis], conv.stride, conv.padding[axis][0]);
        let size = conv.size[axis];
        let first_quotient = |r: usize| padding.saturating_sub(r).div_ceil(stride);
        let taps = |r: usize| (r..kernel).step_by(stride).enumerate();
        let mut before = 0;
        for r in 0..stride {
            let most = taps(r).map(|(j, _)| j).max().unwrap_or(0);
            before = before.max(most.saturating_sub(first_quotient(r)));
        }
        let mut behind = 0;
        let phases = (0..stride)
            .map(|r| {
                let quotient = first_quotient(r);
                let first = stride * quotient + r - padding;
                let count = size.saturating_sub(first).div_ceil(stride);
                let taps: Vec<(usize, usize)> =
                    taps(r).map(|(j, tap)| (before + quotient - j, tap)).collect();
                let last = taps.iter().map(|tap| tap.0).max().unwrap_or(0) + count;
                behind = behind.max(last.saturating_sub(before + outputs));
                BackwardsPhase { first, count, taps }
            })
            .collect();
        Self { before, behind, phases }
    }
}
