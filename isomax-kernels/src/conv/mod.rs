//! Convolutions: forward, and the gradients of maps and of weights.
//!
//! ```
//! use isomax_kernels::Finish;
//! use isomax_kernels::conv::{Conv, forward};
//!
//! let conv = Conv { padding: [[1, 1]; 2], ..Conv::new(1, [1, 1], [2, 2], [3, 3]) };
//! let sums = forward(conv, &[1.0, 2.0, 3.0, 4.0], &[1.0; 9], Finish::default());
//! assert_eq!(sums, [10.0; 4]);
//! ```

mod backwards;
mod correlation;
mod lines;
mod loops;
mod plan;
mod weight_gradient;

use backwards::Backwards;
use correlation::{Correlation, Job};
use lines::{Placement, padded};
use plan::Plan;

use crate::Finish;

pub use weight_gradient::weight_gradient;

/// Pixels by which a channel must be divisible to be read and written in whole vectors, whatever their width.
const WHOLE: usize = 16;

/// The sizes of a convolution without dilation. Arrays of two are height and width.
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
    /// Zeros before and behind the maps, fewer than the size of the kernel.
    pub padding: [[usize; 2]; 2],
    /// Parts of the channels that do not see each other; a divisor of both numbers of channels.
    pub groups: usize,
}

impl Conv {
    /// A convolution with stride 1, without padding and groups.
    pub fn new(
        batch_size: usize,
        channels: [usize; 2],
        size: [usize; 2],
        kernel: [usize; 2],
    ) -> Self {
        Self { batch_size, channels, size, kernel, stride: 1, padding: [[0; 2]; 2], groups: 1 }
    }

    /// Size of the output.
    ///
    /// # Panics
    ///
    /// If kernel, stride or groups are zero, the padding of a side is as large as the kernel, the maps are
    /// smaller than it, or the groups do not divide the channels.
    pub fn output_size(&self) -> [usize; 2] {
        assert!(
            self.is_valid(),
            "{self:?} is no convolution: expected a stride and kernels of at least 1, less padding than \
             the kernel, a kernel that fits the padded maps, and groups that divide the channels"
        );
        [0, 1].map(|axis| (self.padded(axis) - self.kernel[axis]) / self.stride + 1)
    }

    /// Whether there is such a convolution: whether [`output_size`](Self::output_size) does not panic.
    pub fn is_valid(&self) -> bool {
        let fits = |axis: usize| {
            let kernel = self.kernel[axis];
            self.padding[axis].iter().all(|&padding| padding < kernel)
                && kernel <= self.padded(axis)
        };
        let whole = |channels: &usize| channels.checked_rem(self.groups) == Some(0);
        self.stride > 0 && (0..2).all(fits) && self.channels.iter().all(whole)
    }

    /// Size along an axis, with the padding.
    fn padded(&self, axis: usize) -> usize {
        self.size[axis] + self.padding[axis].iter().sum::<usize>()
    }

    /// Channels in and out of one group.
    fn channels_of_group(&self) -> [usize; 2] {
        self.channels.map(|channels| channels / self.groups)
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
    fn check_output(&self, what: &str, values: &[f32]) {
        let [height, width] = self.output_size();
        self.check(what, values, self.batch_size * self.channels[1] * height * width);
    }

    #[track_caller]
    fn check_weight(&self, weight: &[f32]) {
        let expected = self.channels_of_group()[0] * self.channels[1] * self.taps();
        self.check("Weights", weight, expected);
    }

    /// Where the weight of an output lies.
    fn weight_at(&self, output: usize, channel: usize, tap: usize) -> usize {
        (output * self.channels_of_group()[0] + channel) * self.taps() + tap
    }
}

/// Convolves maps, and finishes what comes out.
///
/// # Shapes
///
/// - maps: `[batch_size, channels_in, height, width]`
/// - weight: `[channels_out, channels_in / groups, kernel_height, kernel_width]`
/// - output: `[batch_size, channels_out, …]`, of the [size](Conv::output_size) of the output
///
/// # Panics
///
/// If the slices do not have the sizes of the convolution, or as [`Conv::output_size`].
pub fn forward(conv: Conv, maps: &[f32], weight: &[f32], finish: Finish<'_>) -> Vec<f32> {
    let size = conv.output_size();
    conv.check_maps(maps);
    conv.check_weight(weight);
    if let Some(bias) = finish.bias {
        conv.check("Offsets", bias, conv.channels[1]);
    }
    if let Some(residual) = finish.residual {
        conv.check_output("Shortcuts", residual);
    }
    let channels = conv.channels_of_group();
    let weight = |group: usize, output: usize, channel: usize, tap: usize| {
        weight[conv.weight_at(group * channels[1] + output, channel, tap)]
    };
    if conv.is_pointwise() {
        return Correlation::pointwise(&conv, channels).run(maps, weight, finish);
    }
    let plan = Plan::new(&conv);
    let correlation = Correlation {
        batch_size: conv.batch_size,
        groups: conv.groups,
        channels,
        sizes: [conv.size, size],
        line: plan.channel,
        placements: plan.placements,
        jobs: vec![Job {
            taps: plan.taps.into_iter().enumerate().map(|(tap, at)| (at, tap)).collect(),
            read: Placement::all(size, 0, plan.stride),
        }],
    };
    correlation.run(maps, weight, finish)
}

/// The gradient of the maps, from that of the output.
///
/// # Shapes
///
/// - upstream: `[batch_size, channels_out, …]`, of the [size](Conv::output_size) of the output
/// - weight: `[channels_out, channels_in / groups, kernel_height, kernel_width]`
/// - output: `[batch_size, channels_in, height, width]`
///
/// # Panics
///
/// If the slices do not have the sizes of the convolution, or as [`Conv::output_size`].
pub fn maps_gradient(conv: Conv, upstream: &[f32], weight: &[f32]) -> Vec<f32> {
    let size = conv.output_size();
    conv.check_output("Gradients", upstream);
    conv.check_weight(weight);
    let [channels_in, channels_out] = conv.channels_of_group();
    let channels = [channels_out, channels_in];
    let weight = |group: usize, output: usize, channel: usize, tap: usize| {
        weight[conv.weight_at(group * channels_out + channel, output, tap)]
    };
    if conv.is_pointwise() {
        return Correlation::pointwise(&conv, channels).run(upstream, weight, Finish::default());
    }
    let axes = [0, 1].map(|axis| Backwards::new(&conv, axis, size[axis]));
    let [rows, columns] = &axes;
    let stride = size[1] + columns.before.max(columns.behind);
    let mut jobs = Vec::new();
    for row in &rows.phases {
        for column in &columns.phases {
            let of_row = |&(y, tap_y): &(usize, usize)| {
                let tap = move |&(x, tap_x): &(usize, usize)| {
                    (y * stride + x, tap_y * conv.kernel[1] + tap_x)
                };
                column.taps.iter().map(tap)
            };
            jobs.push(Job {
                taps: row.taps.iter().flat_map(of_row).collect(),
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
    let correlation = Correlation {
        batch_size: conv.batch_size,
        groups: conv.groups,
        channels,
        sizes: [size, conv.size],
        line: padded((rows.before + size[0] + rows.behind + 1) * stride),
        placements: vec![Placement::all(size, rows.before * stride + columns.before, stride)],
        jobs,
    };
    correlation.run(upstream, weight, Finish::default())
}
