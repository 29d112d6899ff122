//! From the bytes of a PNG or JPEG file to pixels.

use image::imageops::{self, FilterType};
use image::{ImageFormat, RgbImage};
use libjpeg_turbo_rs::{DecodeLimits, Decoder, PixelFormat};

/// Why bytes are no image.
pub type DecodeError = Box<dyn std::error::Error + Send + Sync>;

/// Red, green and blue of each pixel.
pub type Picture = RgbImage;

/// How JPEG files begin.
const JPEG: &[u8] = b"\xff\xd8\xff";

/// Decodes a PNG or JPEG image; what is transparent or grey becomes plain colour.
///
/// # Errors
///
/// What the decoder says of bytes that are no whole image.
pub fn decode(bytes: &[u8]) -> Result<Picture, DecodeError> {
    if bytes.is_empty() {
        return Err("it is empty".into());
    }
    if bytes.starts_with(JPEG) { decode_jpeg(bytes) } else { decode_png(bytes) }
}

/// Brings an image to `[height, width]`: as it is if it has that size, else by bilinear
/// interpolation over all the pixels that a new one covers, as Pillow's `BILINEAR` does. The sides
/// are scaled each for itself, nothing is cut off.
pub fn resize(picture: Picture, [height, width]: [usize; 2]) -> Picture {
    let size = (width as u32, height as u32);
    if picture.dimensions() == size {
        return picture;
    }
    imageops::resize(&picture, size.0, size.1, FilterType::Triangle)
}

/// Pixel by pixel what libjpeg-turbo decodes, and with it Pillow and torchvision: a network sees the
/// images here that it sees there. Other decoders round differently, which moves accuracies in the
/// second digit.
fn decode_jpeg(bytes: &[u8]) -> Result<Picture, DecodeError> {
    let decoder = Decoder::new_with_limits(bytes, DecodeLimits::strict())?;
    let decoder = decoder.with_output_format(PixelFormat::Rgb).with_stop_on_warning(true);
    let image = decoder.decode_image()?;
    RgbImage::from_raw(u32::try_from(image.width)?, u32::try_from(image.height)?, image.data)
        .ok_or_else(|| "it has fewer pixels than it says".into())
}

fn decode_png(bytes: &[u8]) -> Result<Picture, DecodeError> {
    Ok(image::load_from_memory_with_format(bytes, ImageFormat::Png)?.into_rgb8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resizing_averages_what_a_pixel_covers() {
        let picture = RgbImage::from_fn(4, 2, |x, _| image::Rgb([if x < 2 { 0 } else { 200 }; 3]));
        let small = resize(picture.clone(), [1, 2]);
        assert_eq!(small.dimensions(), (2, 1));
        assert!(small.get_pixel(0, 0)[0] < 40 && small.get_pixel(1, 0)[0] > 160);
        assert_eq!(resize(picture.clone(), [2, 4]), picture);
        let plain = RgbImage::from_pixel(7, 5, image::Rgb([9, 8, 7]));
        assert!(resize(plain, [32, 32]).pixels().all(|pixel| pixel.0 == [9, 8, 7]));
    }
}
