//! What training does to images before a network sees them.

use chacha20::ChaCha8Rng;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::normalization::{CHANNELS, NormalizationTable};

/// Random crops and flips, as the published experiments make them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Augmentation {
    /// Black pixels put around an image before a part of its own size is cut out at random.
    pub padding: u8,
    /// Whether every second image is mirrored, at random.
    pub flip: bool,
}

impl Augmentation {
    /// As published: four pixels and flips, on digits too.
    pub const PUBLISHED: Self = Self { padding: 4, flip: true };
}

/// How one image is changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ShiftAndFlip {
    /// How far down and right the part lies that is cut out, from the image itself.
    pub shift: [isize; 2],
    /// Whether it is mirrored.
    pub flipped: bool,
}

impl ShiftAndFlip {
    pub(super) fn draw(augmentation: Augmentation, rng: &mut ChaCha8Rng) -> Self {
        let padding = isize::from(augmentation.padding);
        let mut shift = || {
            isize::from(rng.random_range(0..=2 * u16::from(augmentation.padding)) as i16) - padding
        };
        let shift = [shift(), shift()];
        Self { shift, flipped: augmentation.flip && rng.random::<bool>() }
    }
}

/// Writes a changed and normalised image, channel after channel.
pub(super) fn write_image(
    image: &[u8],
    [height, width]: [usize; 2],
    shift_and_flip: ShiftAndFlip,
    table: &NormalizationTable,
    out: &mut [f32],
) {
    let [down, right] = shift_and_flip.shift;
    // The columns of the image that the part shows, and where they begin in it.
    let first = right.clamp(0, width as isize) as usize;
    let last = (width as isize + right).clamp(0, width as isize) as usize;
    let begin = ((first as isize - right).max(0) as usize).min(width);
    for (channel, (table, plane)) in
        table.iter().zip(out.chunks_exact_mut(height * width)).enumerate()
    {
        let black = table[0];
        for (y, row) in plane.chunks_exact_mut(width).enumerate() {
            let source = y as isize + down;
            if source < 0 || source >= height as isize {
                row.fill(black);
                continue;
            }
            let pixels = &image[source as usize * width * CHANNELS..][..width * CHANNELS];
            let visible = pixels[first * CHANNELS..last * CHANNELS].chunks_exact(CHANNELS);
            let values = visible.map(|pixel| table[usize::from(pixel[channel])]);
            let end = begin + (last - first);
            row[..begin].fill(black);
            row[end..].fill(black);
            row[begin..end].iter_mut().zip(values).for_each(|(out, value)| *out = value);
            if shift_and_flip.flipped {
                row.reverse();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// Bytes as they are, but black is −1.
    fn table() -> NormalizationTable {
        std::array::from_fn(|_| std::array::from_fn(|b| if b == 0 { -1.0 } else { b as f32 }))
    }

    fn red(shift: [isize; 2], flipped: bool) -> Vec<f32> {
        // Reds 1 to 6 in two rows of three; green and blue follow from them.
        let image: Vec<u8> = (1..=6).flat_map(|r| [r, r + 10, r + 20]).collect();
        let mut out = vec![0.0; 18];
        write_image(&image, [2, 3], ShiftAndFlip { shift, flipped }, &table(), &mut out);
        let shown = |value: f32, more: f32| if value < 0.0 { -1.0 } else { value + more };
        for (i, value) in out[..6].iter().enumerate() {
            assert_eq!(out[6 + i], shown(*value, 10.0));
            assert_eq!(out[12 + i], shown(*value, 20.0));
        }
        out[..6].to_vec()
    }

    #[test]
    fn parts_are_cut_and_mirrored() {
        assert_eq!(red([0, 0], false), [1., 2., 3., 4., 5., 6.]);
        assert_eq!(red([0, 0], true), [3., 2., 1., 6., 5., 4.]);
        assert_eq!(red([1, 0], false), [4., 5., 6., -1., -1., -1.]);
        assert_eq!(red([-1, 1], false), [-1., -1., -1., 2., 3., -1.]);
        assert_eq!(red([0, -2], true), [1., -1., -1., 4., -1., -1.]);
        for far in [[5, -5], [0, -5], [0, 5], [0, 3], [0, -3]] {
            assert_eq!(red(far, false), [-1.; 6], "{far:?}");
        }
    }

    #[test]
    fn all_shifts_are_drawn_alike() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [0_usize; 9];
        let mut flips = 0;
        for _ in 0..9000 {
            let shift_and_flip = ShiftAndFlip::draw(Augmentation::PUBLISHED, &mut rng);
            counts[(shift_and_flip.shift[0] + 4) as usize] += 1;
            assert!((-4..=4).contains(&shift_and_flip.shift[1]));
            flips += usize::from(shift_and_flip.flipped);
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert!((4200..4800).contains(&flips), "{flips}");
    }
}
