//! Images of any size, brought to the one that networks take: one rule for training, evaluation and
//! prediction.
//!
//! It is the usual one, `Resize` and `CenterCrop` of torchvision on images of Pillow: the
//! shorter side gets a given length and the longer one keeps the proportion, by bilinear interpolation
//! over all the pixels that a new one covers; then a square is cut out of the middle. Smaller images
//! are enlarged in the same way; what has the right size stays as it is.
//!
//! All values are those of Pillow up to version 12, bit by bit. Version 13 takes the two passes in the
//! other order for tall images, which changes single values by one.

use std::ops::Range;

use super::decode::Picture;
use super::normalization::CHANNELS;

/// Bits behind the point of weights, as `Resample.c` of Pillow has them.
const PRECISION: u32 = 32 - 8 - 2;

/// A part of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Columns before it.
    pub left: u32,
    /// Rows above it.
    pub top: u32,
    /// Its columns.
    pub width: u32,
    /// Its rows.
    pub height: u32,
}

/// Brings the shorter side of a picture to `resize` pixels by bilinear interpolation over all the
/// pixels that a new one covers, its longer side in proportion, and cuts `size` × `size` pixels out of
/// the middle. The values are those of `Resize(resize)` and `CenterCrop(size)` of torchvision on an
/// image of Pillow.
///
/// ```
/// use isomax_bundle::{Picture, resize_and_crop};
///
/// let photo = Picture::new(640, 480);
/// assert_eq!(resize_and_crop(photo, 256, 224).dimensions(), (224, 224));
/// ```
///
/// # Panics
///
/// If a size is zero, `size` is above `resize`, or the picture has no pixels.
pub fn resize_and_crop(picture: Picture, resize: u32, size: u32) -> Picture {
    let (width, height) = picture.dimensions();
    assert!(
        0 < size && size <= resize && width > 0 && height > 0,
        "no pixels: {width} × {height} to {resize} and {size}"
    );
    if (width, height) == (size, size) && resize == size {
        return picture;
    }
    let new = |length: u32| u64::from(resize) * u64::from(length) / u64::from(width.min(height));
    let taps = |length: u32| taps(0, length, new(length), middle(new(length), size.into()));
    resample(&picture, &taps(width), taps(height))
}

/// Brings a part of a picture to `size` × `size` pixels, by bilinear interpolation over all the pixels
/// that a new one covers: `resized_crop` of torchvision.
///
/// # Panics
///
/// If `size` is zero, or the part is empty or not within the picture.
pub fn resize_part(picture: &Picture, part: Part, size: u32) -> Picture {
    let (width, height) = picture.dimensions();
    let Part { left, top, width: columns, height: rows } = part;
    let is_within = |first: u32, length: u32, whole: u32| {
        length > 0 && first.checked_add(length).is_some_and(|end| end <= whole)
    };
    assert!(
        size > 0 && is_within(left, columns, width) && is_within(top, rows, height),
        "{part:?} is no part of {width} × {height} pixels"
    );
    let new = u64::from(size);
    resample(picture, &taps(left, columns, new, 0..new), taps(top, rows, new, 0..new))
}

/// A picture of new pixels, each made of some of the old ones.
fn resample(picture: &Picture, columns: &[Taps], mut rows: Vec<Taps>) -> Picture {
    // Only those rows are computed that the new ones depend on.
    let first = rows.iter().map(|row| row.first).min().unwrap_or(0);
    let last = rows.iter().map(|row| row.first + row.weights.len()).max().unwrap_or(0);
    rows.iter_mut().for_each(|row| row.first -= first);
    let line = picture.width() as usize * CHANNELS;
    let new_line = columns.len() * CHANNELS;
    let mut narrow = Vec::with_capacity((last - first) * new_line);
    for pixels in picture.as_raw()[first * line..last * line].chunks_exact(line) {
        columns.iter().for_each(|column| narrow.extend(column.of(pixels, CHANNELS)));
    }
    let mut small = Picture::new(columns.len() as u32, rows.len() as u32);
    for (row, pixels) in rows.iter().zip(small.chunks_exact_mut(new_line)) {
        for (x, pixel) in pixels.chunks_exact_mut(CHANNELS).enumerate() {
            pixel.copy_from_slice(&row.of(&narrow[x * CHANNELS..], new_line));
        }
    }
    small
}

/// The pixels of a line that a new one is made of.
#[derive(Debug)]
struct Taps {
    first: usize,
    weights: Vec<i64>,
}

impl Taps {
    /// A new pixel, of pixels that lie `step` bytes apart.
    fn of(&self, pixels: &[u8], step: usize) -> [u8; CHANNELS] {
        let mut sums = [1_i64 << (PRECISION - 1); CHANNELS];
        for (pixel, weight) in pixels[self.first * step..].chunks(step).zip(&self.weights) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum += i64::from(value) * weight;
            }
        }
        sums.map(|sum| (sum >> PRECISION).clamp(0, 255) as u8)
    }
}

/// What a range of `new` pixels is made of, into which a part of a line is turned.
fn taps(first: u32, length: u32, new: u64, range: Range<u64>) -> Vec<Taps> {
    let scale = f64::from(length) / new as f64;
    // Where an image grows, a new pixel lies between two old ones; where it shrinks, over several.
    let support = scale.max(1.0);
    let tap = |at: u64| {
        let center = (at as f64 + 0.5) * scale;
        let begin = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(length as usize);
        let distance = |pixel: usize| ((pixel as f64 - center + 0.5) * (1.0 / support)).abs();
        let weights: Vec<f64> = (begin..end).map(|p| (1.0 - distance(p)).max(0.0)).collect();
        let total: f64 = weights.iter().sum();
        let fixed = |weight: &f64| (0.5 + weight / total * f64::from(1 << PRECISION)) as i64;
        let first = first as usize + begin;
        Taps { first, weights: weights.iter().map(fixed).collect() }
    };
    range.map(tap).collect()
}

/// The middle part of a length. Half a pixel is rounded to an even number, as Python does it.
fn middle(length: u64, part: u64) -> Range<u64> {
    let twice = length - part;
    let first = match twice % 4 {
        3 => twice / 2 + 1,
        _ => twice / 2,
    };
    first..first + part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> Picture {
        Picture::from_fn(width, height, |x, y| {
            let value = x * x * 7 + y * 13 * (x + 1) + y * y;
            image::Rgb([0, 91, 182].map(|more| ((value + more) % 256) as u8))
        })
    }

    /// What `Resize(4)` and `CenterCrop(4)` make of [`picture`] with Pillow 12.1.
    const PILLOW: [(u32, u32, [u8; 48]); 5] = [
        (
            45,
            37,
            [
                124, 128, 128, 132, 127, 127, 127, 131, 132, 123, 132, 131, 126, 119, 129, 130,
                127, 122, 123, 131, 128, 128, 130, 130, 129, 120, 132, 137, 118, 134, 125, 131,
                122, 133, 131, 124, 131, 129, 127, 130, 124, 121, 129, 130, 122, 123, 133, 127,
            ],
        ),
        (
            37,
            90,
            [
                129, 123, 130, 139, 114, 134, 125, 128, 127, 129, 134, 118, 127, 133, 131, 128,
                123, 123, 130, 128, 122, 127, 129, 126, 131, 134, 120, 134, 137, 118, 126, 123,
                130, 114, 141, 118, 130, 134, 126, 134, 126, 126, 131, 123, 121, 123, 132, 126,
            ],
        ),
        (
            3,
            2,
            [
                2, 93, 184, 5, 96, 187, 12, 103, 194, 23, 114, 205, 6, 97, 188, 11, 102, 193, 20,
                111, 202, 32, 123, 214, 15, 106, 197, 23, 114, 205, 35, 126, 217, 51, 142, 233, 19,
                110, 201, 29, 120, 211, 43, 134, 225, 60, 151, 242,
            ],
        ),
        (
            1,
            50,
            [
                128, 187, 54, 128, 187, 54, 128, 187, 54, 128, 187, 54, 143, 138, 69, 143, 138, 69,
                143, 138, 69, 143, 138, 69, 159, 90, 85, 159, 90, 85, 159, 90, 85, 159, 90, 85,
                174, 41, 100, 174, 41, 100, 174, 41, 100, 174, 41, 100,
            ],
        ),
        (
            5,
            4,
            [
                0, 91, 182, 7, 98, 189, 28, 119, 210, 63, 154, 245, 14, 105, 196, 34, 125, 216, 68,
                159, 250, 116, 207, 42, 30, 121, 212, 63, 154, 245, 110, 201, 36, 171, 6, 97, 48,
                139, 230, 94, 185, 20, 154, 245, 80, 228, 63, 154,
            ],
        ),
    ];

    #[test]
    fn values_are_those_of_pillow() {
        for (width, height, expected) in PILLOW {
            let small = resize_and_crop(picture(width, height), 4, 4);
            assert_eq!(small.as_raw().as_slice(), expected, "{width} × {height}");
        }
        let values = resize_and_crop(picture(640, 300), 32, 32).into_raw();
        assert_eq!(values[..6], [117, 126, 132, 127, 119, 128]);
        assert_eq!(values.iter().map(|&value| u32::from(value)).sum::<u32>(), 390_888);
    }

    #[test]
    fn the_size_that_is_asked_for_stays() {
        assert_eq!(resize_and_crop(picture(4, 4), 4, 4), picture(4, 4));
        let plain = Picture::from_pixel(7, 50, image::Rgb([9, 8, 7]));
        let resized = resize_and_crop(plain, 32, 32);
        assert_eq!(resized.dimensions(), (32, 32));
        assert!(resized.pixels().all(|pixel| pixel.0 == [9, 8, 7]));
    }

    #[test]
    fn long_lines_take_no_memory() {
        for (width, height) in [(1, 3_000_000), (3_000_000, 1)] {
            let line = Picture::from_pixel(width, height, image::Rgb([1, 2, 3]));
            assert!(resize_and_crop(line, 32, 32).pixels().all(|pixel| pixel.0 == [1, 2, 3]));
        }
    }

    #[test]
    fn the_middle_is_that_of_python() {
        let firsts = [32, 33, 34, 35, 36, 37, 38, 39].map(|length| middle(length, 32).start);
        // round((n - 32) / 2) with halves to even.
        assert_eq!(firsts, [0, 0, 1, 2, 2, 2, 3, 4]);
    }
}
