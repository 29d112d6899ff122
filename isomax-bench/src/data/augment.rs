//! What training does to images before a network sees them.

use chacha20::ChaCha8Rng;
use isomax_bundle::{CHANNELS, NormalizationTable, Part};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// What is done to training images at random, differently in each epoch.
///
/// ```
/// use isomax_bench::data::Augmentation;
///
/// let published: Augmentation = serde_json::from_str(r#"{"padding": 4, "flip": true}"#)?;
/// assert_eq!(published, Augmentation::PUBLISHED);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
#[non_exhaustive]
pub enum Augmentation {
    /// Crops of images of the size that the network sees, as the published experiments make them.
    CropAndFlip {
        /// Black pixels put around an image before a part of its own size is cut out at random.
        padding: u8,
        /// Whether every second image is mirrored, at random.
        flip: bool,
    },
    /// Parts of photos, brought to the size that the network sees: `RandomResizedCrop` of torchvision
    /// ([arXiv:1409.4842](https://arxiv.org/abs/1409.4842), section 6).
    ResizedCrop {
        /// Smallest and largest share of the photo's area.
        scale: [f64; 2],
        /// Smallest and largest width by height.
        ratio: [f64; 2],
        /// Whether every second image is mirrored, at random.
        flip: bool,
    },
}

impl Augmentation {
    /// As published: four pixels and flips, on digits too.
    pub const PUBLISHED: Self = Self::CropAndFlip { padding: 4, flip: true };
    /// For photos with pretrained weights: 40 to 100 % of the area, 3:4 to 4:3, and flips. Trainings from
    /// the beginning on many photos use as little as 8 % of the area.
    pub const PHOTOS: Self =
        Self::ResizedCrop { scale: [0.4, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0], flip: true };

    /// Whether it can be done.
    pub fn is_usable(&self) -> bool {
        match *self {
            Self::CropAndFlip { .. } => true,
            Self::ResizedCrop { scale: [least, most], ratio: [narrow, wide], .. } => {
                0.0 < least
                    && least <= most
                    && most <= 1.0
                    && 0.01 <= narrow
                    && narrow <= wide
                    && wide <= 100.0
            }
        }
    }
}

/// Draws a part of a photo, as torchvision does it.
pub(super) fn draw_part(
    [width, height]: [u32; 2],
    scale: [f64; 2],
    ratio: [f64; 2],
    rng: &mut ChaCha8Rng,
) -> Part {
    let (area, [narrow, wide]) = (f64::from(width) * f64::from(height), ratio);
    for _ in 0..10 {
        let area = area * uniform(scale, rng);
        let ratio = uniform([narrow.ln(), wide.ln()], rng).exp();
        let part = [(area * ratio).sqrt(), (area / ratio).sqrt()].map(|side| side.round() as u32);
        if (1..=width).contains(&part[0]) && (1..=height).contains(&part[1]) {
            let left = rng.random_range(0..=width - part[0]);
            let top = rng.random_range(0..=height - part[1]);
            return Part { left, top, width: part[0], height: part[1] };
        }
    }
    // The middle, as wide or as high as it may be.
    let found = f64::from(width) / f64::from(height);
    let [columns, rows] = if found < narrow {
        [width, (f64::from(width) / narrow).round() as u32]
    } else if found > wide {
        [(f64::from(height) * wide).round() as u32, height]
    } else {
        [width, height]
    };
    let [columns, rows] = [columns.clamp(1, width), rows.clamp(1, height)];
    Part { left: (width - columns) / 2, top: (height - rows) / 2, width: columns, height: rows }
}

fn uniform([least, most]: [f64; 2], rng: &mut ChaCha8Rng) -> f64 {
    least + (most - least) * rng.random::<f64>()
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
    pub(super) fn draw(padding: u8, flip: bool, rng: &mut ChaCha8Rng) -> Self {
        let mut shift = || {
            isize::from(rng.random_range(0..=2 * u16::from(padding)) as i16) - isize::from(padding)
        };
        let shift = [shift(), shift()];
        Self { shift, flipped: flip && rng.random::<bool>() }
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
            let shift_and_flip = ShiftAndFlip::draw(4, true, &mut rng);
            counts[(shift_and_flip.shift[0] + 4) as usize] += 1;
            assert!((-4..=4).contains(&shift_and_flip.shift[1]));
            flips += usize::from(shift_and_flip.flipped);
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert!((4200..4800).contains(&flips), "{flips}");
    }

    #[test]
    fn parts_lie_within_and_have_the_shares_that_are_asked_for() {
        let Augmentation::ResizedCrop { scale, ratio, .. } = Augmentation::PHOTOS else {
            panic!("photos are cut")
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut areas, mut ratios) = (Vec::new(), Vec::new());
        for _ in 0..2_000 {
            let part = draw_part([320, 240], scale, ratio, &mut rng);
            assert!(part.left + part.width <= 320 && part.top + part.height <= 240, "{part:?}");
            areas.push(f64::from(part.width * part.height) / (320.0 * 240.0));
            ratios.push(f64::from(part.width) / f64::from(part.height));
        }
        assert!(areas.iter().all(|area| (0.39..=1.01).contains(area)));
        assert!(ratios.iter().all(|ratio| (0.74..1.35).contains(ratio)));
        let mean = areas.iter().sum::<f64>() / areas.len() as f64;
        // Uniform between 0.4 and 1, less the large ones that do not fit.
        assert!((0.6..0.7).contains(&mean), "{mean}");
        // What fits nowhere is cut from the middle.
        let line = draw_part([1_000, 1], scale, ratio, &mut rng);
        assert_eq!(line, Part { left: 499, top: 0, width: 1, height: 1 });
        let column = draw_part([3, 1_000], scale, ratio, &mut rng);
        assert_eq!((column.left, column.width, column.height), (0, 3, 4));
    }

    #[test]
    fn files_keep_their_meaning() -> Result<(), serde_json::Error> {
        for augmentation in [Augmentation::PUBLISHED, Augmentation::PHOTOS] {
            let text = serde_json::to_string(&augmentation)?;
            assert_eq!(serde_json::from_str::<Augmentation>(&text)?, augmentation, "{text}");
            assert!(augmentation.is_usable());
        }
        let empty = Augmentation::ResizedCrop { scale: [0.0, 1.0], ratio: [1.0, 1.0], flip: false };
        assert!(!empty.is_usable());
        Ok(())
    }
}
