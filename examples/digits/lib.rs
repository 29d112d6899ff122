//! Handwritten digits, embedded: 1,797 images of 8 × 8 pixels, real data for a first run.
//!
//! Source: E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine
//! Learning Repository, 1998, <https://doi.org/10.24432/C50P49>, licence CC BY 4.0; the test part,
//! as scikit-learn ships it.

use std::io::Read;

use burn::data::dataloader::batcher::Batcher;
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// Height and width of an image, in pixels.
pub const SIDE: usize = 8;
/// Pixels of an image.
pub const PIXELS: usize = SIDE * SIDE;

static ARCHIVE: &[u8] = include_bytes!("digits.csv.gz");

/// An image with its label.
#[derive(Debug, Clone, PartialEq)]
pub struct Digit {
    /// Row after row, black 0 to white 1.
    pub pixels: [f32; PIXELS],
    /// The digit that is shown, 0 to 9; of an image that shows none, of no meaning.
    pub label: u8,
}

/// Reads all images, in the order of the source.
pub fn load() -> Vec<Digit> {
    let mut text = String::new();
    let read = flate2::read::GzDecoder::new(ARCHIVE).read_to_string(&mut text);
    read.expect("the embedded archive is whole");
    text.lines().map(digit).collect()
}

/// 64 counts of dark pixels, 0 to 16, each of a block of 4 × 4, and the label.
fn digit(line: &str) -> Digit {
    let mut numbers = line.split(',').map(|number| number.parse::<u8>().expect("a small number"));
    let mut next = || numbers.next().expect("65 numbers in a line");
    Digit { pixels: std::array::from_fn(|_| f32::from(next()) / 16.0), label: next() }
}

/// A training, a validation and a test part.
#[derive(Debug, Clone)]
pub struct DigitSplits {
    /// 60 % of the images.
    pub train: Vec<Digit>,
    /// 15 %.
    pub valid: Vec<Digit>,
    /// 25 %.
    pub test: Vec<Digit>,
}

impl DigitSplits {
    /// Splits at random; the same seed gives the same parts.
    pub fn new(mut digits: Vec<Digit>, seed: u64) -> Self {
        digits.shuffle(&mut StdRng::seed_from_u64(seed));
        let test = digits.split_off(digits.len() * 75 / 100);
        let valid = digits.split_off(digits.len() * 80 / 100);
        Self { train: digits, valid, test }
    }
}

/// Images whose pixels have been put into a random order, each in its own: the grey values of
/// digits without their shapes.
pub fn shuffle_pixels(digits: &[Digit], seed: u64) -> Vec<Digit> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut shuffled = digits.to_vec();
    shuffled.iter_mut().for_each(|digit| digit.pixels.shuffle(&mut rng));
    shuffled
}

/// Images of independent pixels, uniform over the grey values.
pub fn noise(count: usize, seed: u64) -> Vec<Digit> {
    let mut rng = StdRng::seed_from_u64(seed);
    let pixels = |_| Digit { pixels: std::array::from_fn(|_| rng.random()), label: 0 };
    (0..count).map(pixels).collect()
}

/// A batch of images.
#[derive(Debug, Clone)]
pub struct DigitBatch<B: Backend> {
    /// `[batch_size, 1, 8, 8]`.
    pub images: Tensor<B, 4>,
    /// `[batch_size]`.
    pub targets: Tensor<B, 1, Int>,
}

/// Makes batches of images.
#[derive(Debug, Clone, Copy, Default)]
pub struct DigitBatcher;

impl<B: Backend> Batcher<B, Digit, DigitBatch<B>> for DigitBatcher {
    fn batch(&self, items: Vec<Digit>, device: &B::Device) -> DigitBatch<B> {
        let count = items.len();
        let pixels: Vec<f32> = items.iter().flat_map(|item| item.pixels).collect();
        let labels: Vec<i32> = items.iter().map(|item| i32::from(item.label)).collect();
        DigitBatch {
            images: Tensor::from_data(TensorData::new(pixels, [count, 1, SIDE, SIDE]), device),
            targets: Tensor::from_data(TensorData::new(labels, [count]), device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_images_are_there() {
        let digits = load();
        assert_eq!(digits.len(), 1797);
        let of = |label| digits.iter().filter(|digit| digit.label == label).count();
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(of),
            [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
        );
        assert!(digits.iter().flat_map(|d| d.pixels).all(|p| (0.0..=1.0).contains(&p)));
        assert_eq!(digits[0].pixels[..8], [0.0, 0.0, 0.3125, 0.8125, 0.5625, 0.0625, 0.0, 0.0]);
    }

    #[test]
    fn splits_are_whole_and_follow_their_seed() {
        let split = |seed| DigitSplits::new(load(), seed);
        let parts = split(1);
        assert_eq!((parts.train.len(), parts.valid.len(), parts.test.len()), (1077, 270, 450));
        assert_eq!(parts.test, split(1).test);
        assert_ne!(parts.test, split(2).test);
        let mut all = [parts.train, parts.valid, parts.test].concat();
        let mut source = load();
        let key = |digit: &Digit| (digit.label, digit.pixels.map(|p| (p * 16.0) as u8));
        all.sort_by_key(key);
        source.sort_by_key(key);
        assert!(all == source);
    }
}
