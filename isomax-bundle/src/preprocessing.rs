use burn::tensor::{Tensor, TensorData, backend::Backend};
use serde::{Deserialize, Serialize};

use crate::decode::{DecodeError, JpegDecoder, Orientation, Picture, decode};
use crate::normalization::{CHANNELS, Normalization};
use crate::preprocess::resize_and_crop;

/// What is done to an image before a network sees it: the same in training, evaluation and prediction, and
/// therefore a part of every record of a training.
///
/// ```
/// use isomax_bundle::{Normalization, Picture, Preprocessing};
///
/// let preprocessing = Preprocessing::photos(224, Normalization::IMAGENET);
/// assert_eq!((preprocessing.resize, preprocessing.size), (256, 224));
/// assert_eq!(preprocessing.pixels(Picture::new(640, 480)).len(), 224 * 224 * 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Height and width of what the network sees, in pixels, cut out of the middle.
    pub size: u32,
    /// Length that the shorter side of an image is brought to before.
    pub resize: u32,
    /// How bytes become values.
    pub normalization: Normalization,
    /// Whether images are turned as their EXIF data says.
    pub orientation: Orientation,
    /// What decodes JPEG images.
    pub jpeg_decoder: JpegDecoder,
}

/// A preprocessing that none can do. See [`Preprocessing::check`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "expected images of 1 to {max} pixels along each side, cut out of a shorter side that is no less, and positive \
     deviations, but found {found:?}",
    max = Preprocessing::MAX_SIZE
)]
pub struct InvalidPreprocessing {
    /// What it is.
    pub found: Preprocessing,
}

impl Preprocessing {
    /// Largest height and width: far beyond what networks for images take.
    pub const MAX_SIZE: u32 = 4_096;

    /// As for the sets of the papers: the shorter side gets the length that the network sees, files are
    /// taken as they are stored.
    pub fn whole(size: u32, normalization: Normalization) -> Self {
        Self {
            size,
            resize: size,
            normalization,
            orientation: Orientation::AsStored,
            jpeg_decoder: JpegDecoder::default(),
        }
    }

    /// As the field does it for photos: the shorter side gets 8/7 of the length that the network sees, 256 for 224,
    /// and images are turned upright as their EXIF data says.
    pub fn photos(size: u32, normalization: Normalization) -> Self {
        let resize = (u64::from(size) * 8 + 3) / 7;
        Self {
            resize: u32::try_from(resize).unwrap_or(u32::MAX),
            orientation: Orientation::Upright,
            ..Self::whole(size, normalization)
        }
    }

    /// Makes sure that it can be done.
    ///
    /// # Errors
    ///
    /// [`InvalidPreprocessing`].
    pub fn check(self) -> Result<Self, InvalidPreprocessing> {
        let Self { size, resize, normalization, .. } = self;
        let fits =
            (1..=Self::MAX_SIZE).contains(&size) && (size..=2 * Self::MAX_SIZE).contains(&resize);
        if fits && normalization.is_usable() {
            Ok(self)
        } else {
            Err(InvalidPreprocessing { found: self })
        }
    }

    /// Decodes an image file.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(&self, file: &[u8]) -> Result<Picture, DecodeError> {
        decode(file, self.jpeg_decoder, self.orientation)
    }

    /// Brings a picture to the size that the network takes: red, green and blue of each pixel, row after row.
    pub fn pixels(&self, picture: Picture) -> Vec<u8> {
        resize_and_crop(picture, self.resize, self.size).into_raw()
    }

    /// Normalised images, `[images.len(), 3, size, size]`, of [`pixels`](Self::pixels).
    ///
    /// # Panics
    ///
    /// If an image has another number of bytes.
    pub fn tensor<B: Backend>(&self, images: &[&[u8]], device: &B::Device) -> Tensor<B, 4> {
        let (side, table) = (self.size as usize, self.normalization.table());
        let plane = side * side;
        let mut values = vec![0.0; images.len() * plane * CHANNELS];
        for (image, out) in images.iter().zip(values.chunks_exact_mut(plane * CHANNELS)) {
            assert_eq!(image.len(), plane * CHANNELS, "an image of another size");
            for (at, pixel) in image.chunks_exact(CHANNELS).enumerate() {
                for (channel, &byte) in pixel.iter().enumerate() {
                    out[channel * plane + at] = table[channel][usize::from(byte)];
                }
            }
        }
        Tensor::from_data(TensorData::new(values, [images.len(), CHANNELS, side, side]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_are_resized_as_the_field_does_it() {
        for (size, resize) in
            [(224, 256), (160, 183), (240, 274), (300, 343), (96, 110), (192, 219)]
        {
            assert_eq!(
                Preprocessing::photos(size, Normalization::IMAGENET).resize,
                resize,
                "{size}"
            );
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let good = Preprocessing::photos(224, Normalization::IMAGENET);
        assert_eq!(good.check(), Ok(good));
        let flat = Normalization { std: [0.2, 0.0, 0.2], ..Normalization::IMAGENET };
        for bad in [
            Preprocessing { size: 0, ..good },
            Preprocessing { resize: 223, ..good },
            Preprocessing { resize: u32::MAX, ..good },
            Preprocessing { size: 5_000, resize: 5_000, ..good },
            Preprocessing { normalization: flat, ..good },
        ] {
            assert_eq!(bad.check(), Err(InvalidPreprocessing { found: bad }));
        }
    }
}
