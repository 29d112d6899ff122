//! How the pixels of a channel lie on a line.
//!
//! At stride 1 and padding `p`, a channel is one line: rows of zeros above, its rows with `p` zeros after each,
//! rows of zeros below. The zeros after a row are the padding to its right, and that to the left of the next
//! one. At a larger stride `s`, pixels whose row and column leave the same remainders by `s` lie on a line of
//! their own, a *phase*, so that each weight still reads pixels that lie side by side.

use super::loops::SLACK;

/// Which of the images that lie on the same lines, the first pixels of all, then their second ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sharing {
    pub index: usize,
    pub images: usize,
}

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

    /// Copies pixels to their line.
    pub(super) fn write(self, pixels: &[f32], width: usize, line: &mut [f32], sharing: Sharing) {
        let (Sharing { index, images }, columns) = (sharing, self.count[1]);
        match (self.step, images) {
            (1, 1) => self.rows(width, 1, |at, pixel| {
                line[at..][..columns].copy_from_slice(&pixels[pixel..][..columns]);
            }),
            (1, 2) => self.rows(width, 2, |at, pixel| {
                let places = line[at..][..2 * columns].chunks_exact_mut(2);
                places.zip(&pixels[pixel..]).for_each(|(to, &x)| to[index] = x);
            }),
            (step, images) => self.rows(width, images, |at, pixel| {
                let places = line[at + index..].iter_mut().step_by(images).take(columns);
                places.zip(pixels[pixel..].iter().step_by(step)).for_each(|(to, &x)| *to = x);
            }),
        }
    }

    /// Copies pixels from their line.
    pub(super) fn read(self, line: &[f32], width: usize, pixels: &mut [f32], sharing: Sharing) {
        let (Sharing { index, images }, columns) = (sharing, self.count[1]);
        match (self.step, images) {
            (1, 1) => self.rows(width, 1, |at, pixel| {
                pixels[pixel..][..columns].copy_from_slice(&line[at..][..columns]);
            }),
            (1, 2) => self.rows(width, 2, |at, pixel| {
                let places = line[at..][..2 * columns].chunks_exact(2);
                pixels[pixel..].iter_mut().zip(places).for_each(|(to, from)| *to = from[index]);
            }),
            (step, images) => self.rows(width, images, |at, pixel| {
                let places = line[at + index..].iter().step_by(images).take(columns);
                pixels[pixel..].iter_mut().step_by(step).zip(places).for_each(|(to, &x)| *to = x);
            }),
        }
    }

    /// Calls a function with where each row begins on a line, and its first pixel.
    #[inline(always)]
    fn rows(self, width: usize, images: usize, mut row: impl FnMut(usize, usize)) {
        let rows = if self.count[1] == 0 { 0 } else { self.count[0] };
        for index in 0..rows {
            let pixel = (self.first[0] + index * self.step) * width + self.first[1];
            row((self.at + index * self.stride) * images, pixel);
        }
    }
}

/// From the first position of an output to behind its last one.
pub(super) fn positions([rows, columns]: [usize; 2], stride: usize) -> usize {
    if rows * columns == 0 { 0 } else { (rows - 1) * stride + columns }
}

/// The vectors that go over all positions of outputs.
pub(super) struct Vectors {
    /// Where each begins, on a line.
    pub starts: Vec<usize>,
    /// From a row of outputs to the next one, in positions, where the vectors lie one after the other.
    pub stride: usize,
}

impl Vectors {
    /// Those that run across the ends of rows, or those of one row after the other, if these are fewer.
    ///
    /// # Arguments
    ///
    /// - `stride`: from a row of outputs to the next one, in positions on a line
    /// - `images`: how many share the line
    /// - `lanes`: values of a vector
    pub(super) fn new(
        [rows, columns]: [usize; 2],
        stride: usize,
        images: usize,
        lanes: usize,
    ) -> Self {
        let across = (positions([rows, columns], stride) * images).div_ceil(lanes);
        let of_row = (columns * images).div_ceil(lanes);
        if across <= rows * of_row {
            return Self { starts: (0..across).map(|vector| vector * lanes).collect(), stride };
        }
        let row =
            |row: usize| (0..of_row).map(move |vector| row * stride * images + vector * lanes);
        Self { starts: (0..rows).flat_map(row).collect(), stride: of_row * lanes / images }
    }
}

/// How many images share lines, of at most so many: as many as make the fewest vectors.
///
/// # Arguments
///
/// - `vectors`: how many vectors so many images on a line make
pub(super) fn images_on_a_line(
    batch_size: usize,
    most: usize,
    vectors: impl Fn(usize) -> usize,
) -> usize {
    let of_batch = |images: usize| batch_size.div_ceil(images) * vectors(images);
    // More images are more copying, and fill the caches: they must be worth it.
    let better =
        |best, images| if 20 * of_batch(images) < 19 * of_batch(best) { images } else { best };
    [2, 4].into_iter().filter(|&images| images <= most).fold(1, better)
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
